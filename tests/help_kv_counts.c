#include "help_kv_counts.h"

#include <string.h>

#include "help_kv.h"

static kvh_counts seen;
static kv_io_engine inner;
static const char *suffix;
static bool is_named;

static int count_sync(void *self, int fd) {
    seen.n_syncs++;
    seen.n_waits++;
    seen.n_after += is_named;
    return inner.table->sync(self, fd);
}

static int count_sync_dir(void *self, const char *path) {
    seen.n_dir_syncs++;
    seen.n_waits++;
    seen.n_after += is_named;
    return inner.table->sync_dir(self, path);
}

static void count_all(void *self, kv_io_sync *syncs, int n) {
    const int64_t n_waits = seen.n_waits + rt_div_up(n, KV_IO_SYNCS_AT_ONCE);
    for (int i = 0; i < n; i++)
        syncs[i].result =
                syncs[i].dir ? count_sync_dir(self, syncs[i].dir) : count_sync(self, syncs[i].fd);
    seen.n_waits = n_waits;
}

static int count_open(void *self, const char *path, int flags) {
    seen.n_opens++;
    return inner.table->open(self, path, flags);
}

static int count_look(void *self, const char *path, kv_io_stat *out) {
    seen.n_looks++;
    return inner.table->stat(self, path, out);
}

static int count_list(void *self, const char *path, char **names) {
    seen.n_lists++;
    return inner.table->list_dir(self, path, names);
}

static int count_submit(void *self, const kv_io_request *requests, int n_requests) {
    const int n = inner.table->submit(self, requests, n_requests);
    for (int i = 0; i < n; i++) {
        seen.n_writes += requests[i].is_write;
        seen.bytes_read += requests[i].is_write ? 0 : requests[i].n_bytes;
    }
    return n;
}

static int look_at_rename(void *self, const char *from, const char *to) {
    const size_t n = strlen(to), n_suffix = strlen(suffix);
    is_named = is_named || (n > n_suffix && strcmp(to + n - n_suffix, suffix) == 0);
    return inner.table->rename(self, from, to);
}

kv_io *kvh_counting_io(kvh_memfs *fs) {
    static const kv_io_table counting = {.sync = count_sync,
            .sync_dir = count_sync_dir,
            .submit = count_submit,
            .sync_all = count_all,
            .rename = look_at_rename,
            .open = count_open,
            .stat = count_look,
            .list_dir = count_list};
    kvh_begin_counting(".kvs");
    return kvh_memfs_io_instead(fs, &counting, &inner);
}

void kvh_begin_counting(const char *name_ends_so) {
    seen = (kvh_counts){0};
    is_named = false;
    suffix = name_ends_so;
}

kvh_counts kvh_counted(void) {
    return seen;
}
