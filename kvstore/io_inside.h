/* What io.c, io_create.c and io_files.c know of one another. */
#ifndef KV_IO_INSIDE_H
#define KV_IO_INSIDE_H

#include <errno.h>
#include <sys/types.h>

#include "io.h"

enum { KV_IO_TRIES_MAX = 64, KV_IO_DESCRIPTION = 256 };

typedef struct kv_io_slot {
    kv_io_op *op; /* NULL: free */
    uint64_t tag;
} kv_io_slot;

typedef struct kv_io_queue {
    kv_io_op *first, *last;
} kv_io_queue;

struct kv_io {
    kv_io_engine engine;
    char description[KV_IO_DESCRIPTION];
    pid_t owner;
    double timeout_s;
    double watched_s; /* time that passed while somebody asked for answers */
    double looked_at;
    int32_t depth[KV_IO_URGENCIES];
    int32_t n_in_flight[KV_IO_URGENCIES];
    int32_t n_late[KV_IO_URGENCIES]; /* in flight, but given up */
    kv_io_queue queued[KV_IO_URGENCIES];
    kv_io_slot slots[KV_IO_DEPTH_MAX];
    uint64_t serial;
    int n_deaf;      /* failures to ask for answers, in a row */
    bool is_refused; /* an operation has been tried in vain TRIES_AT_ONCE times: not too fast */
    int32_t n_files;
    kv_io_stats stats;
};

struct kv_file {
    kv_io *io;
    int fd;
    bool is_direct;
    bool is_dead;
    bool is_closed;      /* but for the answers to come */
    int32_t n_undone;    /* operations */
    int32_t n_in_flight; /* operations, the late ones too */
    char path[];
};

/* Close the descriptor of a file that is closed and has nothing in flight, and free it. */
void kv_file_release(kv_file *file);

static inline bool kv_io_is_disk_full(int error) {
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

#endif
