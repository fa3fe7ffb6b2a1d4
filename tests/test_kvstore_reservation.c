/* A reservation makes appending infallible: whatever else is created, forked and freed meanwhile, a
 * sequence that was granted max_tokens gets there.
 *
 * Method: sequences and a fork share a pool without one spare page, grow a token at a time in turn,
 * shrink and grow again; each begin must succeed, each token must be there at the end. */
#include "help_kv.h"

enum { LAYERS = 3, TOKENS = 16, SEQS = 4 };

static void grow_in_turn(kv_store *store, kv_seq **seqs, int64_t n_tokens) {
    for (int64_t t = 0; t < n_tokens; t++)
        for (int i = 0; i < SEQS; i++)
            if (kv_seq_length(seqs[i]) < TOKENS)
                kvh_append(store, seqs[i], LAYERS, 1, (uint64_t)(1000 * i));
}

static void check_full(kv_store *store, kv_seq **seqs) {
    kv_seq *none = NULL;
    CHECK(kv_seq_create(store, 1, &none) == RT_ENOFIT);
    CHECK(kv_store_stats(store).pages_reserved == kv_store_stats(store).pages_total);
    for (int i = 0; i < SEQS; i++) CHECK(kv_seq_max_tokens(seqs[i]) == TOKENS);
}

int main(void) {
    kv_store *store = kvh_open(LAYERS, (int64_t)SEQS * LAYERS * TOKENS / KVH_PAGE_TOKENS);
    kv_seq *seqs[SEQS];
    for (int i = 0; i < SEQS; i++) seqs[i] = kvh_seq(store, TOKENS);
    check_full(store, seqs);
    grow_in_turn(store, seqs, 7);
    for (int i = 0; i < SEQS; i++) kv_seq_truncate(seqs[i], i);
    check_full(store, seqs);
    grow_in_turn(store, seqs, TOKENS);
    check_full(store, seqs);
    for (int i = 0; i < SEQS; i++)
        CHECK(kvh_holds(store, seqs[i], LAYERS, 0, TOKENS, (uint64_t)(1000 * i)));

    /* A fork in place of a sequence: it reserves what it does not share, and reaches its end
     * though its parent is gone. */
    kv_seq_free(seqs[0]);
    CHECK(kv_seq_fork(seqs[1], 10, TOKENS, &seqs[0]) == RT_OK);
    kv_seq_free(seqs[1]);
    seqs[1] = kvh_seq(store, TOKENS);
    check_full(store, seqs);
    grow_in_turn(store, seqs, TOKENS);
    CHECK(kvh_holds(store, seqs[0], LAYERS, 0, 10, 1000) &&
            kvh_holds(store, seqs[0], LAYERS, 10, 6, 0));
    for (int i = 0; i < SEQS; i++) kv_seq_free(seqs[i]);
    CHECK(kv_store_stats(store).pages_reserved == 0);
    kv_store_close(store);
    return 0;
}
