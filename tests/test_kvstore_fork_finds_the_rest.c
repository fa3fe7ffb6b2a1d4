/* A fork at the end of a whole segment is filled up with what the disk has behind it, of another text than its parent's: it
 * shares the parent's pages before that, and has no others but for what it found. How far that will be is known beforehand,
 * by the files that are there.
 *
 * Method: two texts that part inside the second segment. A process has the first of them in memory, and forks it for the
 * second one, of which the disk has all, or a part, or only what is the first one's, too; and appends the rest. */
#include <string.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { LAYERS = 2, N = KV_SEGMENT_TOKENS, PARTED = N + 300, TEXT = 3 * N };

static int32_t ids[2][TEXT];

static uint64_t value_of(int text) {
    return (uint64_t)(text + 1) << 30;
}

static void append(kvh_kept *p, kv_seq *seq, int text, int64_t end) {
    const int64_t first = kv_seq_length(seq);
    CHECK(kv_span_begin(seq, ids[text] + first, end - first) == RT_OK);
    kvh_write(p->store, seq, LAYERS, first, end - first, value_of(text));
    kv_span_commit(seq);
}

static int64_t pages_of(int64_t n_tokens) {
    return n_tokens / KVH_PAGE_TOKENS * LAYERS;
}

static kvh_kept begin(kvh_memfs *fs) {
    return kvh_kept_begin_beyond(kvh_memfs_io(fs), LAYERS, TEXT, 2 * pages_of(TEXT));
}

/* n tokens of the second text, as a process leaves them that knows nothing of the first one. */
static void write_second(kvh_memfs *fs, int64_t n) {
    kvh_kept p = begin(fs);
    append(&p, p.seq, 0, PARTED);
    append(&p, p.seq, 1, n);
    kvh_kept_end(&p);
}

/* For the second text, of which the disk has n tokens, n_whole of them in whole segments. */
static void check_fork(kvh_kept *p, int64_t n_whole, int64_t n) {
    kv_seq *fork = NULL;
    kv_found found;
    int64_t n_tokens = 0;
    const int64_t n_used = kv_store_stats(p->store).pages_used;
    CHECK(kv_seq_find_after(p->seq, PARTED, ids[1], TEXT, &n_tokens) == RT_OK);
    CHECK(n_tokens == n_whole);
    CHECK(kv_seq_fork(p->seq, N, TEXT, &fork) == RT_OK);
    CHECK(kv_seq_find(fork, ids[1], TEXT, &found) == RT_OK);
    CHECK(found.n_tokens == n && kv_seq_length(fork) == n);
    CHECK(memcmp(kv_seq_ids(fork), ids[1], (size_t)n * sizeof **ids) == 0);
    CHECK(kvh_holds(p->store, fork, LAYERS, 0, PARTED, value_of(0)));
    CHECK(kvh_holds(p->store, fork, LAYERS, PARTED, n - PARTED, value_of(1)));
    CHECK(kv_store_stats(p->store).pages_used == n_used + pages_of(n - N));
    if (n < TEXT) append(p, fork, 1, TEXT);
    CHECK(kvh_holds(p->store, fork, LAYERS, PARTED, TEXT - PARTED, value_of(1)));
    kv_seq_free(fork);
    CHECK(kv_store_stats(p->store).pages_used == n_used);
    CHECK(kvh_holds(p->store, p->seq, LAYERS, 0, TEXT, value_of(0)));
}

static void check(int64_t n_written, int64_t n_whole, int64_t n) {
    kvh_memfs *fs = kvh_memfs_new();
    if (n_written > 0) write_second(fs, n_written);
    kvh_kept p = begin(fs);
    append(&p, p.seq, 0, TEXT);
    check_fork(&p, n_whole, n);
    check_fork(&p, TEXT, TEXT); /* that fork was kept */
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
}

int main(void) {
    for (int64_t i = 0; i < TEXT; i++) {
        ids[0][i] = (int32_t)(i % 1000);
        ids[1][i] = ids[0][i] + (i < PARTED ? 0 : 1000);
    }
    check(TEXT, TEXT, TEXT);
    check(2 * N + 700, 2 * N, 2 * N);
    check(0, N, PARTED);
    return 0;
}
