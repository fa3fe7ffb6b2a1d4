/* What forks hold on to of a sequence's pages costs it its place in memory, and no more: it goes on, and has
 * its place again when they are gone. Forks of one tail that have no place either go on together.
 *
 * Method: budgets of as many pages as the sequences were promised, not one more; one writes far past what its
 * idle fork shares; then six forks of an unfinished page, more than there are pages to work in, append in
 * one walk. Both where new tokens are appended all at once and by windows. */
#include "help_kv.h"

enum { LAYERS = 4, FORKS = 6, TOKENS = 60 };

/* Sequences that overflow have two pages in every layer. */
static kv_store *open(int n_overflow, bool by_windows) {
    kv_config config = kvh_overflow_config(LAYERS, 0, 400);
    kv_store *store = NULL;
    config.overflow.append_tokens = KVH_PAGE_TOKENS; /* three pages to work in, by windows two */
    config.overflow.appends_by_windows = by_windows;
    config.host_bytes_max =
            kv_overflow_bytes(&config) + n_overflow * kv_overflow_tail_bytes(&config);
    CHECK(kv_store_open(&config, &store) == RT_OK);
    return store;
}

/* One token after another, each layer by layer. */
static void grow(kv_store *store, kv_seq *seq, int64_t n, uint64_t value) {
    for (int64_t i = 0; i < n; i++) kvh_append(store, seq, LAYERS, 1, value);
}

static int64_t bytes_written_by(kv_store *store, kv_seq *seq, int64_t n, uint64_t value) {
    const int64_t before = kv_store_stats(store).raw_bytes_written;
    grow(store, seq, n, value);
    return kv_store_stats(store).raw_bytes_written - before;
}

static void check_idle_fork(bool by_windows) {
    kv_store *store = open(2, by_windows);
    kv_seq *seq = kvh_seq(store, TOKENS), *fork = NULL;
    grow(store, seq, 7, 1000);
    CHECK(kv_seq_fork(seq, 7, TOKENS, &fork) == RT_OK);
    CHECK(bytes_written_by(store, seq, 20, 1000) > 0); /* beyond what they share */
    CHECK(bytes_written_by(store, seq, 1, 1000) > 0);  /* the tail, as it has no place */
    grow(store, fork, 20, 5000);
    CHECK(kvh_holds(store, seq, LAYERS, 0, 28, 1000));
    CHECK(kvh_holds(store, fork, LAYERS, 0, 7, 1000) &&
            kvh_holds(store, fork, LAYERS, 7, 20, 5000));
    kv_seq_free(fork);
    grow(store, seq, 1, 1000);
    CHECK(bytes_written_by(store, seq, 1, 1000) == 0);
    CHECK(kvh_holds(store, seq, LAYERS, 0, 30, 1000));
    kv_seq_free(seq);
    kv_store_close(store);
}

static void check_forks_together(bool by_windows) {
    kv_store *store = open(1, by_windows);
    kv_seq *seq = kvh_seq(store, TOKENS), *forks[FORKS];
    int64_t n_tokens[FORKS];
    grow(store, seq, 5, 1000);
    for (int i = 0; i < FORKS; i++) {
        CHECK(kv_seq_fork(seq, 5, TOKENS, &forks[i]) == RT_OK);
        CHECK(kv_span_begin(forks[i], NULL, 1) == RT_OK);
        n_tokens[i] = 1;
    }
    for (int32_t layer = 0; layer < LAYERS; layer++)
        CHECK(kvh_try_write_together(store, forks, FORKS, layer, n_tokens, 5000) == RT_OK);
    for (int i = 0; i < FORKS; i++) {
        kv_span_commit(forks[i]);
        grow(store, forks[i], 1 + i, 6000 + 1000 * (uint64_t)i);
    }
    grow(store, seq, 4, 1000);
    CHECK(kvh_holds(store, seq, LAYERS, 0, 9, 1000));
    for (int i = 0; i < FORKS; i++) {
        CHECK(kvh_holds(store, forks[i], LAYERS, 0, 5, 1000));
        CHECK(kvh_holds(store, forks[i], LAYERS, 5, 1, 5000));
        CHECK(kvh_holds(store, forks[i], LAYERS, 6, 1 + i, 6000 + 1000 * (uint64_t)i));
        kv_seq_free(forks[i]);
    }
    kv_seq_free(seq);
    kv_store_close(store);
}

int main(void) {
    for (int by_windows = 0; by_windows < 2; by_windows++) {
        check_idle_fork(by_windows);
        check_forks_together(by_windows);
    }
    return 0;
}
