/* Of a span whose segments cannot all be made durable, those before the first that cannot are kept; what is said to be
 * kept is found, nothing half-written stays, and the next process keeps the rest.
 *
 * Method: spans of several extents over a file system in memory; in the commit the sync of the k-th file fails, or its
 * new name is refused, or the k-th directory's sync fails, after which none of the names may count. Then each call of the
 * commit fails once. */
#include <errno.h>
#include <string.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 2, EXTENTS = 4 };
typedef enum trouble { NO_TROUBLE, AT_SYNC, AT_NAME, AT_DIR_SYNC } trouble;

static int32_t ids[EXTENTS * N];
static kv_io_engine inner;
static trouble kind;
static int64_t n_left; /* before it happens */

static bool happens(trouble here) {
    return kind == here && n_left-- == 0;
}

static int fail_sync(void *self, int fd) {
    return happens(AT_SYNC) ? -EIO : inner.table->sync(self, fd);
}

static int fail_sync_dir(void *self, const char *path) {
    return happens(AT_DIR_SYNC) ? -EIO : inner.table->sync_dir(self, path);
}

static int fail_rename(void *self, const char *from, const char *to) {
    const size_t n = strlen(to);
    const bool is_segment = n > 4 && strcmp(to + n - 4, ".kvs") == 0;
    return is_segment && happens(AT_NAME) ? -ENOSPC : inner.table->rename(self, from, to);
}

static kv_io *io_over(kvh_memfs *fs) {
    static const kv_io_table failing = {
            .sync = fail_sync, .sync_dir = fail_sync_dir, .rename = fail_rename};
    return kvh_memfs_io_instead(fs, &failing, &inner);
}

/* Extents that a process finds; it keeps the rest. */
static int64_t found_and_finished(kvh_memfs *fs) {
    kv_found found = {0};
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, EXTENTS * N);
    CHECK(kv_seq_find(p.seq, ids, EXTENTS * N, &found) == RT_OK);
    const int64_t n = found.n_tokens;
    CHECK(kvh_memfs_count(fs, ".tmp") == 0 && n % N == 0);
    if (n > 0) CHECK(kvh_holds(p.store, p.seq, LAYERS, 0, n, 77));
    if (n < EXTENTS * N) {
        CHECK(kv_span_begin(p.seq, ids + n, EXTENTS * N - n) == RT_OK);
        kvh_write(p.store, p.seq, LAYERS, n, EXTENTS * N - n, 77);
        kv_span_commit(p.seq);
    }
    CHECK(kv_seq_kept(p.seq) == EXTENTS * N);
    kvh_kept_end(&p);
    return n / N;
}

/* In a commit `what` goes wrong after `n` of its kind, or the call numbered `call` fails. Extents that are kept. */
static int64_t commit(kvh_memfs *fs, trouble what, int64_t n, int64_t call, int error) {
    const kv_suspension all = {.end = EXTENTS * N, .layer = LAYERS};
    kvh_kept p = kvh_kept_begin(io_over(fs), LAYERS, EXTENTS * N);
    kvh_kept_write(&p, ids, &all);
    kind = what;
    n_left = n;
    kvh_memfs_fail(fs, kvh_memfs_n_calls(fs) + call, error, false);
    kv_span_commit(p.seq);
    kvh_memfs_fail(fs, 0, 0, false);
    kind = NO_TROUBLE;
    CHECK(kvh_holds(p.store, p.seq, LAYERS, 0, EXTENTS * N, 77)); /* in memory */
    const int64_t kept = kv_seq_kept(p.seq);
    CHECK((kept < EXTENTS * N) == (*kv_store_keep_failure(p.store) != 0));
    kvh_kept_end(&p);
    return kept / N;
}

static int64_t kept_with(trouble what, int64_t n) {
    kvh_memfs *fs = kvh_memfs_new();
    const int64_t kept = commit(fs, what, n, 0, 0);
    CHECK(kvh_memfs_count(fs, ".kvs") == kept && kvh_memfs_count(fs, ".tmp") == 0);
    CHECK(found_and_finished(fs) == kept);
    CHECK(found_and_finished(fs) == EXTENTS);
    kvh_memfs_free(fs);
    return kept;
}

/* Calls of one commit, seen with a failure that never comes. */
static int64_t n_calls(void) {
    kvh_memfs *fs = kvh_memfs_new();
    const kv_suspension all = {.end = EXTENTS * N, .layer = LAYERS};
    kvh_kept p = kvh_kept_begin(io_over(fs), LAYERS, EXTENTS * N);
    kvh_kept_write(&p, ids, &all);
    const int64_t before = kvh_memfs_n_calls(fs);
    kv_span_commit(p.seq);
    const int64_t n = kvh_memfs_n_calls(fs) - before;
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    return n;
}

int main(void) {
    for (int64_t i = 0; i < EXTENTS * N; i++) ids[i] = (int32_t)(i * 2654435761u % 151000);
    CHECK(kept_with(NO_TROUBLE, 0) == EXTENTS);
    for (int64_t k = 0; k < EXTENTS; k++) {
        CHECK(kept_with(AT_SYNC, k) == k);
        CHECK(kept_with(AT_NAME, k) == k);
        CHECK(kept_with(AT_DIR_SYNC, k) == 0);
    }
    int64_t n_less = 0;
    for (int64_t call = n_calls() - 1; call >= 0; call--) {
        kvh_memfs *fs = kvh_memfs_new();
        const int64_t kept = commit(fs, NO_TROUBLE, 0, call, call % 2 ? EIO : ENOSPC);
        CHECK(found_and_finished(fs) >= kept);
        CHECK(found_and_finished(fs) == EXTENTS);
        n_less += kept < EXTENTS;
        kvh_memfs_free(fs);
    }
    CHECK(n_less > 2 * EXTENTS);
    return 0;
}
