/* Names, sizes and locks with errors that have texts, and transfers that are waited for.
 *
 * A transfer that was late stays in flight: its memory and its file wait in `late` until the answer
 * comes, since a number closed too early would soon be another file's. */
#include "io_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { TRIES_MAX = 64, TRANSFER_BYTES = 1 << 20 };

/* ---- names, sizes, locks --------------------------------------------------------------------- */

static bool is_again(int result) {
    return result == -EINTR || result == -EAGAIN;
}

/* The call until it is no longer told to come again. */
#define TRY_AGAIN(result, call)                   \
    do {                                          \
        int n_left = TRIES_MAX;                   \
        do (result) = (call);                     \
        while (is_again(result) && --n_left > 0); \
    } while (0)

static rt_status outcome(int result, const char *what, const char *path) {
    if (result >= 0) return RT_OK;
    errno = -result;
    const bool is_full = result == -ENOSPC || result == -EDQUOT || result == -EFBIG;
    return rt_fail_errno(is_full ? RT_ENOFIT : RT_EIO, "kvstore: cannot %s %s", what, path);
}

rt_status kv_file_truncate(kv_file *file, int64_t n_bytes) {
    const kv_io_engine *e = kv_io_engine_of(kv_file_io(file));
    int result;
    TRY_AGAIN(result, e->table->truncate(e->self, kv_file_number(file), n_bytes));
    return outcome(result, "set the size of", kv_file_path(file));
}

rt_status kv_file_stat(const kv_file *file, kv_io_stat *out) {
    const kv_io_engine *e = kv_io_engine_of(kv_file_io(file));
    int result;
    TRY_AGAIN(result, e->table->stat_file(e->self, kv_file_number(file), out));
    return outcome(result, "look at", kv_file_path(file));
}

rt_status kv_file_lock(kv_file *file, kv_io_lock lock, bool *got) {
    const kv_io_engine *e = kv_io_engine_of(kv_file_io(file));
    int result = -EINTR; /* EAGAIN is the answer here */
    for (int i = 0; i < TRIES_MAX && result == -EINTR; i++)
        result = e->table->lock(e->self, kv_file_number(file), lock);
    *got = result >= 0;
    return result == -EWOULDBLOCK ? RT_OK : outcome(result, "lock", kv_file_path(file));
}

rt_status kv_path_rename(kv_io *io, const char *from, const char *to) {
    const kv_io_engine *e = kv_io_engine_of(io);
    int result;
    TRY_AGAIN(result, e->table->rename(e->self, from, to));
    return outcome(result, "rename", from);
}

rt_status kv_path_unlink(kv_io *io, const char *path) {
    const kv_io_engine *e = kv_io_engine_of(io);
    int result;
    TRY_AGAIN(result, e->table->unlink(e->self, path));
    return result == -ENOENT ? RT_OK : outcome(result, "remove", path);
}

rt_status kv_path_sync_dir(kv_io *io, const char *path) {
    const kv_io_engine *e = kv_io_engine_of(io);
    const int result = e->table->sync_dir(e->self, path);
    return outcome(result, "sync the directory", path);
}

rt_status kv_path_make_dir(kv_io *io, const char *path) {
    const kv_io_engine *e = kv_io_engine_of(io);
    int result;
    TRY_AGAIN(result, e->table->make_dir(e->self, path));
    if (result == -EEXIST) return RT_OK;
    RT_TRY(outcome(result, "make the directory", path));
    const char *slash = strrchr(path, '/');
    if (!slash) return kv_path_sync_dir(io, ".");
    if (slash == path) return kv_path_sync_dir(io, "/");
    char *parent = strndup(path, (size_t)(slash - path));
    if (!parent) return rt_fail(RT_ENOMEM, "kvstore: no memory for the path %s", path);
    const rt_status status = kv_path_sync_dir(io, parent);
    free(parent);
    return status;
}

rt_status kv_path_stat(kv_io *io, const char *path, kv_io_stat *out, bool *exists) {
    const kv_io_engine *e = kv_io_engine_of(io);
    int result;
    *out = (kv_io_stat){0};
    TRY_AGAIN(result, e->table->stat(e->self, path, out));
    *exists = result >= 0;
    return result == -ENOENT || result == -ENOTDIR ? RT_OK : outcome(result, "look at", path);
}

void kv_path_touch(kv_io *io, const char *path) {
    const kv_io_engine *e = kv_io_engine_of(io);
    (void)e->table->touch(e->self, path);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

rt_status kv_path_list(kv_io *io, const char *path, kv_names *out) {
    const kv_io_engine *e = kv_io_engine_of(io);
    *out = (kv_names){0};
    int result;
    TRY_AGAIN(result, e->table->list_dir(e->self, path, &out->memory));
    if (result == -ENOENT || result == -ENOTDIR) return RT_OK;
    RT_TRY(outcome(result, "list", path));
    if (rt_calloc(result, sizeof(char *), "names of a directory", &out->names) != RT_OK) {
        kv_names_free(out);
        return RT_ENOMEM;
    }
    const char *at = out->memory;
    for (out->n_names = 0; out->n_names < result; at += strlen(at) + 1)
        out->names[out->n_names++] = out->memory + (at - out->memory);
    if (result > 0) qsort(out->names, (size_t)result, sizeof(char *), compare_names);
    return RT_OK;
}

void kv_names_free(kv_names *names) {
    free(names->names);
    free(names->memory);
    *names = (kv_names){0};
}

/* ---- transfers ------------------------------------------------------------------------------- */

typedef struct transfer {
    kv_io_op op;
    struct transfer *next; /* in `late` */
    bool closes_file;      /* once answered */
    char *bytes;           /* TRANSFER_BYTES */
} transfer;

struct kv_blocks {
    kv_io *io;
    transfer *ready; /* NULL after one was late */
    transfer *late;
};

static void free_transfer(transfer *t) {
    if (!t) return;
    free(t->bytes);
    free(t);
}

static rt_status new_transfer(transfer **out) {
    transfer *t = NULL;
    RT_TRY(rt_calloc(1, sizeof *t, "a transfer", &t));
    t->bytes = aligned_alloc(KV_IO_ALIGN, TRANSFER_BYTES);
    if (!t->bytes) {
        free(t);
        return rt_fail(RT_ENOMEM, "kvstore: no memory for a transfer, %d bytes", TRANSFER_BYTES);
    }
    *out = t;
    return RT_OK;
}

rt_status kv_blocks_create(kv_io *io, kv_blocks **out) {
    kv_blocks *blocks = NULL;
    RT_TRY(rt_calloc(1, sizeof *blocks, "block transfers", &blocks));
    blocks->io = io;
    const rt_status status = new_transfer(&blocks->ready);
    if (status != RT_OK) {
        free(blocks);
        return status;
    }
    *out = blocks;
    return RT_OK;
}

static bool has_other_late(const kv_blocks *blocks, const transfer *but) {
    for (const transfer *t = blocks->late; t; t = t->next)
        if (t != but && t->op.file == but->op.file) return true;
    return false;
}

/* Let go of what has been answered meanwhile. */
static void reap(kv_blocks *blocks) {
    for (transfer **link = &blocks->late; *link;) {
        transfer *t = *link;
        if (t->op.is_in_flight || (t->closes_file && has_other_late(blocks, t))) {
            link = &t->next;
            continue;
        }
        *link = t->next;
        if (t->closes_file) kv_file_close(t->op.file);
        free_transfer(t);
    }
}

void kv_blocks_free(kv_blocks *blocks) {
    if (!blocks) return;
    const double patience = rt_now() + 2;
    while (blocks->late && rt_now() < patience) {
        kv_io_poll(blocks->io);
        reap(blocks);
        const struct timespec pause = {.tv_nsec = 1000000};
        if (blocks->late) (void)nanosleep(&pause, NULL);
    }
    for (transfer *t = blocks->late; t; t = t->next)   /* what is still late stays the kernel's, */
        if (t->closes_file) kv_file_close(t->op.file); /* its file is closed with the answer */
    free_transfer(blocks->ready);
    free(blocks);
}

void kv_blocks_close_file(kv_blocks *blocks, kv_file *file) {
    if (!file) return;
    reap(blocks);
    for (transfer *t = blocks->late; t; t = t->next)
        if (t->op.file == file) {
            t->closes_file = true;
            return;
        }
    kv_file_close(file);
}

static rt_status ensure_ready(kv_blocks *blocks) {
    reap(blocks);
    return blocks->ready ? RT_OK : new_transfer(&blocks->ready);
}

/* n_bytes of whole blocks between blocks->ready and the file. */
static rt_status move(
        kv_blocks *blocks, kv_file *file, bool is_write, int64_t offset, int64_t n_bytes) {
    transfer *t = blocks->ready;
    t->op = (kv_io_op){.file = file,
            .is_write = is_write,
            .urgency = is_write ? KV_IO_BEHIND : KV_IO_NOW,
            .bytes = t->bytes,
            .n_bytes = n_bytes,
            .offset = offset};
    kv_io_start(blocks->io, &t->op);
    const rt_status status = kv_io_wait(blocks->io, &t->op);
    if (t->op.is_in_flight) {
        t->next = blocks->late;
        blocks->late = t;
        blocks->ready = NULL;
    }
    return status;
}

rt_status kv_blocks_read(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, void *bytes) {
    for (int64_t done = 0; done < n_bytes; done += TRANSFER_BYTES) {
        const int64_t n = rt_min64(n_bytes - done, TRANSFER_BYTES);
        RT_TRY(ensure_ready(blocks));
        RT_TRY(move(blocks, file, false, offset + done, rt_round_up(n, KV_IO_ALIGN)));
        memcpy((char *)bytes + done, blocks->ready->bytes, (size_t)n);
    }
    return RT_OK;
}

rt_status kv_blocks_write(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, const void *bytes) {
    for (int64_t done = 0; done < n_bytes; done += TRANSFER_BYTES) {
        const int64_t n = rt_min64(n_bytes - done, TRANSFER_BYTES);
        const int64_t n_padded = rt_round_up(n, KV_IO_ALIGN);
        RT_TRY(ensure_ready(blocks));
        memcpy(blocks->ready->bytes, (const char *)bytes + done, (size_t)n);
        memset(blocks->ready->bytes + n, 0, (size_t)(n_padded - n));
        RT_TRY(move(blocks, file, true, offset + done, n_padded));
    }
    return RT_OK;
}
