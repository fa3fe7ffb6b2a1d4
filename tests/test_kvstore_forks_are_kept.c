/* Where forks are kept, what is written of one is found again by another process, and holds the same tokens; of what it
 * shares with its parent no whole segment is written again. Where they are not kept, only that is found.
 *
 * Method: a parent of one segment and a half, and forks of it in the middle of its first segment, at that one's end, and in
 * the middle of the second, that go on to other texts; each of them forked again, as servers do, and gone on with. In
 * memory, overflowing and parked, each with forks of a parent that is gone by then, too. */
#include <string.h>

#include "help_kv.h"
#include "help_kv_memfs.h"
#include "kvstore/store_impl.h"

enum { LAYERS = 2, N = KV_SEGMENT_TOKENS, PARENT = N + N / 2, TEXT = 3 * N, HALF = 2 * N + 100 };
enum { IN_MEMORY, OVERFLOWING, PARKED, BUDGETS };

static const int64_t fork_at[] = {N / 2, N, N + 300, PARENT};
enum { FORKS = 4, OF_PARENT = FORKS, N_SEGMENTS = 1 + 3 + 2 + 2 + 2 };

/* Of the parent as far as a text has not parted from it. */
static int32_t ids[FORKS + 1][TEXT];

static uint64_t value_of(int text) {
    return (uint64_t)(text + 1) << 30;
}

static kv_store *open_store(kvh_memfs *fs, int budget, bool keeps_forks) {
    static const uint8_t fingerprint[32] = {4, 5, 6};
    static const char *dirs[] = {"/disk"};
    static const char *scratch[] = {"/"};
    kv_config config = kvh_overflow_config(LAYERS, 0, 0);
    config.overflow.dirs = scratch;
    config.overflow.extent_tokens = N;
    config.overflow.append_tokens = TEXT;
    config.overflow.bytes_max = kv_overflow_disk_bytes(&config, 4 * TEXT);
    config.host_bytes_max = kv_overflow_bytes(&config);
    if (budget == OVERFLOWING) config.host_bytes_max += kv_overflow_tail_bytes(&config);
    if (budget == IN_MEMORY)
        config.host_bytes_max += 3 * kv_pages_for(&config, TEXT) * KVH_PAGE_BYTES;
    const kv_keep keep = {.fingerprint = fingerprint,
            .fingerprint_text = "kv=bf16\n",
            .dirs = dirs,
            .n_dirs = 1,
            .bytes_max = 1 << 26,
            .keeps_forks = keeps_forks};
    const kv_io_config io_config = {.timeout_s = 30};
    kv_io *io = NULL;
    kv_store *store = NULL;
    CHECK(kv_io_create_on(kvh_memfs_engine(fs), &io_config, &io) == RT_OK);
    CHECK(kv_store_open_over(&config, io, &store) == RT_OK);
    CHECK(kv_store_keep(store, &keep) == RT_OK);
    return store;
}

static void append(kv_store *store, kv_seq *seq, int text, int64_t end) {
    const int64_t first = kv_seq_length(seq);
    CHECK(kv_span_begin(seq, ids[text] + first, end - first) == RT_OK);
    kvh_write(store, seq, LAYERS, first, end - first, value_of(text));
    kv_span_commit(seq);
}

static void check_holds(kv_store *store, kv_seq *seq, int text) {
    CHECK(kv_seq_length(seq) == TEXT);
    CHECK(memcmp(kv_seq_ids(seq), ids[text], sizeof ids[text]) == 0);
    CHECK(kvh_holds(store, seq, LAYERS, 0, fork_at[text], value_of(OF_PARENT)));
    CHECK(kvh_holds(store, seq, LAYERS, fork_at[text], TEXT - fork_at[text], value_of(text)));
}

/* A fork that is forked again at HALF. The last one's parent is gone before anything is appended. */
static void write_fork(kv_store *store, kv_seq **parent, int text) {
    kv_seq *fork = NULL, *again = NULL;
    CHECK(kv_seq_fork(*parent, fork_at[text], HALF, &fork) == RT_OK);
    if (text == FORKS - 1) kv_seq_free(*parent);
    if (text == FORKS - 1) *parent = NULL;
    append(store, fork, text, N + 700 > fork_at[text] ? N + 700 : PARENT + 1);
    append(store, fork, text, HALF);
    CHECK(kv_seq_fork(fork, HALF, TEXT, &again) == RT_OK);
    kv_seq_free(fork);
    append(store, again, text, TEXT);
    check_holds(store, again, text);
    kv_seq_free(again);
}

static void write_all(kvh_memfs *fs, int budget, bool keeps_forks) {
    kv_store *store = open_store(fs, budget, keeps_forks);
    kv_seq *parent = kvh_seq(store, PARENT);
    CHECK(kv_seq_is_in_memory(parent) == (budget == IN_MEMORY));
    append(store, parent, OF_PARENT, 700);
    append(store, parent, OF_PARENT, PARENT);
    for (int text = 0; text < FORKS; text++) write_fork(store, &parent, text);
    CHECK(*kv_store_keep_failure(store) == 0);
    kv_store_close(store);
}

static void find_all(kvh_memfs *fs, int budget, bool keeps_forks) {
    kv_store *store = open_store(fs, budget, keeps_forks);
    for (int text = 0; text < FORKS; text++) {
        kv_seq *seq = kvh_seq(store, TEXT);
        kv_found found;
        CHECK(kv_seq_find(seq, ids[text], TEXT, &found) == RT_OK);
        CHECK(found.n_tokens == (keeps_forks ? TEXT : rt_min64(fork_at[text], N)));
        if (keeps_forks) check_holds(store, seq, text);
        kv_seq_free(seq);
    }
    kv_store_close(store);
}

int main(void) {
    for (int text = 0; text <= FORKS; text++)
        for (int64_t i = 0; i < TEXT; i++)
            ids[text][i] = (int32_t)(i % 1000) +
                           (text < FORKS && i >= fork_at[text] ? 1000 * (text + 1) : 0);
    for (int i = 0; i < 2 * BUDGETS; i++) {
        const bool keeps_forks = i < BUDGETS;
        kvh_memfs *fs = kvh_memfs_new();
        write_all(fs, i % BUDGETS, keeps_forks);
        CHECK(kvh_memfs_count(fs, ".kvs") == (keeps_forks ? N_SEGMENTS : 1));
        find_all(fs, (i + 1) % BUDGETS, keeps_forks);
        kvh_memfs_free(fs);
    }
    return 0;
}
