/* What the commit of a span waits for on a slow disk is two syncs, of its segments' files and then of their names,
 * however many segments it completes up to as many as are synced side by side; and with more a few more. No file is
 * synced after one of them has its name.
 *
 * Method: an engine before a file system in memory, which counts. Spans of 1, 17 and 40 extents are committed; they are
 * found again. And where one of the files cannot be synced, or one of the names not be given, those before it are kept. */
#include <inttypes.h>

#include "help_kv_counts.h"
#include "help_kv_kept.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 2, MANY = 2 * KV_IO_SYNCS_AT_ONCE + 6 };

static int32_t ids[MANY * N];

/* A span of so many extents is written in `p`. */
static void write_span(kvh_kept *p, int64_t n_extents) {
    const kv_suspension all = {.end = n_extents * N, .layer = LAYERS};
    kvh_kept_write(p, ids, &all);
}

static int64_t found_on(kvh_memfs *fs) {
    kv_found found = {0};
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, MANY * N);
    CHECK(kv_seq_find(p.seq, ids, MANY * N, &found) == RT_OK);
    for (int32_t layer = 0; layer < LAYERS && found.n_tokens > 0; layer++)
        CHECK(kvh_holds(p.store, p.seq, LAYERS, 0, found.n_tokens, 77));
    kvh_kept_end(&p);
    return found.n_tokens;
}

static kvh_counts commit(int64_t n_extents) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin(kvh_counting_io(fs), LAYERS, n_extents * N);
    write_span(&p, n_extents);
    kvh_begin_counting(".kvs");
    kv_span_commit(p.seq);
    const kvh_counts counts = kvh_counted();
    CHECK(kv_seq_kept(p.seq) == n_extents * N);
    kvh_kept_end(&p);
    CHECK(kvh_memfs_count(fs, ".kvs") == n_extents && kvh_memfs_count(fs, ".tmp") == 0);
    CHECK(found_on(fs) == n_extents * N);
    kvh_memfs_free(fs);
    (void)printf("%" PRId64 " extents: %" PRId64 " waits for %" PRId64
                 " syncs of files and %" PRId64 " of directories\n",
            n_extents, counts.n_waits, counts.n_syncs, counts.n_dir_syncs);
    CHECK(counts.n_syncs == n_extents && counts.n_after == counts.n_dir_syncs);
    return counts;
}

int main(void) {
    for (int64_t i = 0; i < MANY * N; i++) ids[i] = (int32_t)(i * 2654435761u % 151000);
    CHECK(commit(1).n_waits == 2);
    CHECK(commit(KV_IO_SYNCS_AT_ONCE).n_waits == 2);
    CHECK(commit(MANY).n_waits == 6);
    return 0;
}
