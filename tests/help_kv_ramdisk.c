/* A disk in memory, for tests of disk I/O. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "help_kv_io.h"

enum { RAM_FD = 1000, RAM_BYTES = 4 << 20, RAM_DEPTH = KV_IO_DEPTH_MAX };

typedef struct ramdisk {
    char *bytes;
    bool is_direct;
    int n_waiting;
    kv_io_request waiting[RAM_DEPTH];
} ramdisk;

static int ram_open(void *self, const char *path, int flags) {
    (void)path;
    ((ramdisk *)self)->is_direct = flags & O_DIRECT;
    return RAM_FD;
}

static int ram_close(void *self, int fd) {
    (void)self;
    CHECK(fd == RAM_FD);
    return 0;
}

static int ram_reserve(void *self, int fd, int64_t n_bytes) {
    (void)self;
    CHECK(fd == RAM_FD);
    return n_bytes <= RAM_BYTES ? 0 : -ENOSPC;
}

static int ram_truncate(void *self, int fd, int64_t n_bytes) {
    (void)self;
    CHECK(fd == RAM_FD);
    return n_bytes <= RAM_BYTES ? 0 : -EFBIG;
}

static int ram_stat_file(void *self, int fd, kv_io_stat *out) {
    (void)self;
    CHECK(fd == RAM_FD);
    *out = (kv_io_stat){.is_file = true, .n_bytes = RAM_BYTES};
    return 0;
}

static int ram_sync(void *self, int fd) {
    (void)self;
    CHECK(fd == RAM_FD);
    return 0;
}

static int ram_make_buffered(void *self, int fd) {
    CHECK(fd == RAM_FD);
    ((ramdisk *)self)->is_direct = false;
    return 0;
}

static int ram_lend(void *self, void *base, int64_t n_bytes) {
    (void)self, (void)base, (void)n_bytes;
    return 0;
}

static int ram_submit(void *self, const kv_io_request *requests, int n_requests) {
    ramdisk *disk = self;
    int n = 0;
    for (; n < n_requests && disk->n_waiting < RAM_DEPTH; n++)
        disk->waiting[disk->n_waiting++] = requests[n];
    return n ? n : -EAGAIN;
}

static int64_t ram_move(ramdisk *disk, const kv_io_request *r) {
    CHECK(r->fd == RAM_FD && r->offset >= 0 && r->n_bytes >= 0);
    if (r->offset + r->n_bytes > RAM_BYTES) return r->is_write ? -ENOSPC : 0;
    if (r->is_write)
        memcpy(disk->bytes + r->offset, r->bytes, (size_t)r->n_bytes);
    else
        memcpy(r->bytes, disk->bytes + r->offset, (size_t)r->n_bytes);
    return r->n_bytes;
}

static int ram_complete(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    (void)timeout_ms;
    ramdisk *disk = self;
    const int n = disk->n_waiting < n_max ? disk->n_waiting : n_max;
    for (int i = 0; i < n; i++)
        answers[i] = (kv_io_answer){
                .tag = disk->waiting[i].tag, .result = ram_move(disk, &disk->waiting[i])};
    disk->n_waiting -= n;
    memmove(disk->waiting, disk->waiting + n, (size_t)disk->n_waiting * sizeof *disk->waiting);
    return n;
}

static void ram_free(void *self) {
    ramdisk *disk = self;
    CHECK(disk->n_waiting == 0);
    free(disk->bytes);
    free(disk);
}

kv_io_engine kvh_ramdisk(void) {
    static const kv_io_table table = {.open = ram_open,
            .close = ram_close,
            .reserve = ram_reserve,
            .sync = ram_sync,
            .make_buffered = ram_make_buffered,
            .lend = ram_lend,
            .submit = ram_submit,
            .complete = ram_complete,
            .free = ram_free,
            .truncate = ram_truncate,
            .stat_file = ram_stat_file};
    ramdisk *disk = calloc(1, sizeof *disk);
    CHECK(disk);
    disk->bytes = calloc(1, RAM_BYTES);
    CHECK(disk->bytes);
    return (kv_io_engine){.table = &table, .self = disk};
}
