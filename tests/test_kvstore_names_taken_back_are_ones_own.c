/* Where the names of a span's segments cannot be made durable they are taken back, and never those that another process
 * has given meanwhile to segments of the same text: what it was told is kept stays. So for segments that are suspended.
 *
 * Method: a file system in memory. In a commit, or a suspension, the k-th sync of a directory fails; as soon as the vault's
 * lock is given back another store does the same with the same text, whole, and only then the first one goes on. */
#include <errno.h>
#include <string.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum {
    N = KV_SEGMENT_TOKENS,
    LAYERS = 2,
    EXTENTS = 3,
    TEXT = EXTENTS * N,
    STOPPED = 300,
    HIDDEN = 5000
};

static int32_t ids[TEXT];
static kvh_memfs *fs;
static kv_io_engine inner;
static int lock_fd = -1;
static int64_t n_left = -1; /* syncs of directories before one fails; -1: none does */
static bool has_failed, is_suspended;
static int64_t n_others; /* that another store has kept, or suspended */

/* ---- the other one --------------------------------------------------------------------------- */

static rt_status keep(kvh_kept *p) {
    static char hidden[HIDDEN];
    const kv_suspension s = {.n_ids = TEXT,
            .end = TEXT,
            .layer = is_suspended ? LAYERS - 1 : LAYERS,
            .layer_end = STOPPED,
            .hidden = hidden,
            .hidden_bytes = HIDDEN};
    kvh_kept_write(p, ids, &s);
    if (is_suspended) return kvh_suspend(p->store, p->seq, LAYERS, ids, &s);
    kv_span_commit(p->seq);
    return kv_seq_kept(p->seq) == TEXT ? RT_OK : RT_EIO;
}

static void keep_by_another(void) {
    kvh_kept other = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, TEXT);
    CHECK(keep(&other) == RT_OK);
    kvh_kept_end(&other);
    n_others++;
}

/* ---- the first one --------------------------------------------------------------------------- */

static int look_at_open(void *self, const char *path, int flags) {
    const int fd = inner.table->open(self, path, flags);
    if (fd >= 0 && strcmp(path, "/disk/vault/lock") == 0) lock_fd = fd;
    return fd;
}

static int look_at_close(void *self, int fd) {
    const bool is_lock = fd == lock_fd;
    const int result = inner.table->close(self, fd);
    if (is_lock) lock_fd = -1;
    if (is_lock && has_failed) {
        has_failed = false;
        keep_by_another();
    }
    return result;
}

static int fail_sync_dir(void *self, const char *path) {
    if (n_left < 0 || n_left-- > 0) return inner.table->sync_dir(self, path);
    has_failed = true;
    return -EIO;
}

static kv_io *io_over(void) {
    static const kv_io_table looking = {
            .open = look_at_open, .close = look_at_close, .sync_dir = fail_sync_dir};
    return kvh_memfs_io_instead(fs, &looking, &inner);
}

static void check(int64_t k) {
    fs = kvh_memfs_new();
    kvh_kept first = kvh_kept_begin(io_over(), LAYERS, TEXT);
    CHECK(kv_span_begin(first.seq, ids, TEXT) == RT_OK);
    kv_span_abort(first.seq); /* all directories are there */
    n_others = 0;
    n_left = k;
    CHECK(keep(&first) != RT_OK && n_others == 1);
    n_left = -1;
    CHECK(kvh_memfs_count(fs, is_suspended ? ".part" : ".kvs") == EXTENTS);
    kvh_kept_end(&first);
    kvh_memfs_free(fs);
}

int main(void) {
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    for (int64_t k = 0; k < EXTENTS; k++) {
        is_suspended = false;
        check(k);
        is_suspended = true;
        check(k);
    }
    return 0;
}
