/* What the beginning of a span waits for on a slow disk does not become more with its segments, but for their own files:
 * the vault is scanned once, and what new folders are in is synced once. Where any of that fails, no file is left, and the
 * span is as whole as one that is not kept.
 *
 * Method: an engine before a file system in memory, which counts; then every call of a beginning fails once. */
#include <errno.h>
#include <inttypes.h>

#include "help_kv_counts.h"
#include "help_kv_kept.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 2, MANY = 24, FEW = 3, ALWAYS = 6 };

static int32_t ids[MANY * N];

static kvh_counts begin(int64_t n_extents) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin(kvh_counting_io(fs), LAYERS, n_extents * N);
    kvh_begin_counting(".kvs");
    CHECK(kv_span_begin(p.seq, ids, n_extents * N) == RT_OK);
    const kvh_counts counts = kvh_counted();
    (void)printf("%" PRId64 " extents: %" PRId64 " lists, %" PRId64 " looks, %" PRId64
                 " opens, %" PRId64 " syncs of directories\n",
            n_extents, counts.n_lists, counts.n_looks, counts.n_opens, counts.n_dir_syncs);
    CHECK(kvh_memfs_count(fs, ".tmp") == n_extents);
    kv_span_abort(p.seq);
    CHECK(kvh_memfs_count(fs, ".tmp") == 0);
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    return counts;
}

/* Call number `at` of the beginning fails; false: there were not so many. */
static bool fail_at(int64_t at, int64_t *n_given_up) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, FEW * N);
    const int64_t first = kvh_memfs_n_calls(fs);
    kvh_memfs_fail(fs, first + at, EIO, false);
    CHECK(kv_span_begin(p.seq, ids, FEW * N) == RT_OK);
    const bool was_there = kvh_memfs_n_calls(fs) > first + at;
    kvh_memfs_fail(fs, 0, 0, false);
    const int64_t n_begun = kvh_memfs_count(fs, ".tmp");
    if (was_there) CHECK(n_begun == FEW || n_begun == 0 || *kv_store_keep_failure(p.store));
    CHECK(kvh_try_write(p.store, p.seq, 0, 0, FEW * N, 77) == RT_OK);
    CHECK(kvh_try_write(p.store, p.seq, 1, 0, FEW * N, 77) == RT_OK);
    kv_span_commit(p.seq);
    const bool is_kept = kv_seq_kept(p.seq) == FEW * N;
    CHECK(kvh_memfs_count(fs, ".kvs") == (is_kept ? FEW : 0));
    CHECK(is_kept || *kv_store_keep_failure(p.store));
    *n_given_up += !is_kept;
    for (int32_t layer = 0; layer < LAYERS; layer++)
        CHECK(kvh_holds(p.store, p.seq, LAYERS, 0, FEW * N, 77));
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    return was_there;
}

int main(void) {
    int64_t n_failed = 0, n_given_up = 0;
    for (int64_t i = 0; i < MANY * N; i++) ids[i] = (int32_t)(i * 2654435761u % 151000);
    const kvh_counts one = begin(1), many = begin(MANY);
    CHECK(many.n_lists <= one.n_lists && many.n_dir_syncs <= one.n_dir_syncs);
    CHECK(many.n_opens - one.n_opens == MANY - 1);
    CHECK(many.n_looks <= one.n_looks + 2 * MANY);
    while (fail_at(n_failed, &n_given_up)) n_failed++;
    (void)printf("%" PRId64 " calls, %" PRId64 " of them needed\n", n_failed, n_given_up);
    CHECK(n_failed > 10 && n_given_up > 5);
    return 0;
}
