/* A reservation makes appending infallible: whatever else is created, forked and freed meanwhile, a
 * sequence that was granted max_tokens gets there.
 *
 * Method: sequences and a fork share a pool without one spare page, grow a token at a time in turn,
 * shrink and grow again; each begin must succeed, each token must be there at the end. Where it overflows, with a disk that
 * holds just what is not pinned in memory, and with one cell less. */
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

/* Cells are for what leaves memory, not for what is pinned there. */
static void check_pinned(bool is_short) {
    enum { EXTENT = 2 * KVH_PAGE_TOKENS, N_EXTENTS = 6, N_PINNED = 2 };
    kv_config config = kvh_overflow_config(LAYERS, (int64_t)(N_PINNED + 1) * 2 * LAYERS,
            (int64_t)(N_EXTENTS - N_PINNED) * LAYERS - is_short);
    kv_store *store = NULL;
    kv_seq *seq = NULL;
    config.overflow.pinned_tokens = N_PINNED * EXTENT;
    CHECK(kv_store_open(&config, &store) == RT_OK);
    CHECK(kv_seq_create(store, N_EXTENTS * EXTENT, &seq) == (is_short ? RT_ENOFIT : RT_OK));
    for (int i = 0; seq && i < N_EXTENTS; i++) kvh_append(store, seq, LAYERS, EXTENT, 3);
    CHECK(!seq || kvh_holds(store, seq, LAYERS, 0, N_EXTENTS * EXTENT, 3));
    kv_seq_free(seq);
    kv_store_close(store);
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
    check_pinned(false);
    check_pinned(true);
    return 0;
}
