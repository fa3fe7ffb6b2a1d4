/* Forks that go on to the same tokens side by side, as choices of a prompt do that all take the most probable, are kept once: one
 * of them writes a segment, and all hold what they should, also where the pages of those that do not write it leave memory.
 *
 * Method: a parent that ends shortly before its second segment does, and forks; a token of each in every step over that end,
 * then the same span of all beyond the next. In memory, overflowing and parked. What the disk has is found by another
 * process. */
#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum {
    LAYERS = 2,
    N = KV_SEGMENT_TOKENS,
    FORKS = 3,
    PARENT = 2 * N - 4,
    STEPS = 8,
    TEXT = 3 * N + 60
};
enum { IN_MEMORY, OVERFLOWING, PARKED, BUDGETS };

static const uint64_t value = 1 << 30;
static int32_t ids[TEXT];

static kvh_kept begin(kvh_memfs *fs, int budget) {
    const int64_t n_all = 2 * (FORKS + 1) * TEXT / KVH_PAGE_TOKENS * LAYERS;
    const int64_t n_tail = 2 * N / KVH_PAGE_TOKENS * LAYERS;
    const int64_t n_pages = budget == IN_MEMORY ? n_all : budget == OVERFLOWING ? n_tail : 0;
    return kvh_kept_begin_beyond(kvh_memfs_io(fs), LAYERS, (FORKS + 1) * TEXT, n_pages);
}

static void append_together(kv_store *store, kv_seq *const *seqs, int64_t n) {
    int64_t n_each[FORKS];
    const int64_t first = kv_seq_length(seqs[0]);
    for (int i = 0; i < FORKS; i++) {
        n_each[i] = n;
        CHECK(kv_span_begin(seqs[i], ids + first, n) == RT_OK);
    }
    for (int32_t layer = 0; layer < LAYERS; layer++)
        CHECK(kvh_try_write_together(store, seqs, FORKS, layer, n_each, value) == RT_OK);
    for (int i = 0; i < FORKS; i++) kv_span_commit(seqs[i]);
}

static void write_all(kvh_memfs *fs, int budget) {
    kvh_kept p = begin(fs, budget);
    kv_seq *forks[FORKS] = {NULL};
    CHECK(kv_span_begin(p.seq, ids, PARENT) == RT_OK);
    kvh_write(p.store, p.seq, LAYERS, 0, PARENT, value);
    kv_span_commit(p.seq);
    for (int i = 0; i < FORKS; i++) {
        CHECK(kv_seq_fork(p.seq, PARENT, TEXT, &forks[i]) == RT_OK);
        CHECK(kv_seq_is_in_memory(forks[i]) == (budget == IN_MEMORY));
    }
    for (int i = 0; i < STEPS; i++) append_together(p.store, forks, 1);
    append_together(p.store, forks, TEXT - PARENT - STEPS);
    CHECK(*kv_store_keep_failure(p.store) == 0);
    CHECK(kvh_memfs_count(fs, ".kvs") == 3 && kvh_memfs_count(fs, ".tmp") == 0);
    for (int i = 0; i < FORKS; i++) {
        CHECK(kvh_holds(p.store, forks[i], LAYERS, 0, TEXT, value));
        CHECK(kv_seq_kept(forks[i]) == 3 * N);
        kv_seq_free(forks[i]);
    }
    kvh_kept_end(&p);
}

static void find_all(kvh_memfs *fs, int budget) {
    kvh_kept p = begin(fs, budget);
    kv_found found;
    CHECK(kv_seq_find(p.seq, ids, TEXT, &found) == RT_OK && found.n_tokens == 3 * N);
    CHECK(kvh_holds(p.store, p.seq, LAYERS, 0, 3 * N, value));
    kvh_kept_end(&p);
}

int main(void) {
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    for (int budget = IN_MEMORY; budget < BUDGETS; budget++) {
        kvh_memfs *fs = kvh_memfs_new();
        write_all(fs, budget);
        find_all(fs, budget);
        kvh_memfs_free(fs);
    }
    return 0;
}
