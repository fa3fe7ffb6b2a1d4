/* Disk I/O: operations that end in exactly one of two ways, all bytes moved or a named error.
 *
 * An operation belongs to the caller, who fills in the first six fields and starts it. The more urgent
 * go first, and each urgency has a depth of its own, so that neither prefetch nor writes can hold up
 * a read that attention waits for. Offsets, sizes and memory are multiples of 4096
 * (O_DIRECT, where the file system has it). One thread at a time uses a kv_io, and only the process
 * that made it; fork(2) while nothing is in flight. Private to kvstore.
 *
 *   idle --kv_io_start--> queued --> in flight --> done
 *                           ^-- short or transient --|        late: done by its deadline, but still in
 *                                                             flight until the answer comes */
#ifndef KV_IO_H
#define KV_IO_H

#include "io_engine.h"

enum { KV_IO_ALIGN = 4096, KV_IO_DEPTH_MAX = 64 };

typedef enum kv_io_mode { KV_IO_AUTO, KV_IO_URING, KV_IO_PREAD } kv_io_mode;

typedef struct kv_io_config {
    kv_io_mode mode;
    int32_t depth
            [KV_IO_URGENCIES]; /* in flight at most; their sum <= KV_IO_DEPTH_MAX; 0: 16, 8, 8 */
    double timeout_s; /* of an operation, while somebody asks; 0: 30 s and 1 s for every 10 MB */
} kv_io_config;

typedef struct kv_io kv_io;
typedef struct kv_file kv_file; /* io_files.h */

/* Errors: RT_EUNSUPPORTED  KV_IO_URING was asked for and is not to be had
 *         RT_ENOMEM */
RT_MUST_CHECK rt_status kv_io_create(const kv_io_config *config, kv_io **out);
/* The same over an engine of the caller's choice, which the kv_io frees, also on failure. */
RT_MUST_CHECK rt_status kv_io_create_on(
        kv_io_engine engine, const kv_io_config *config, kv_io **out);
/* "io_uring", "pread" or "pread, because io_uring: ...": for the one line that says it. */
const char *kv_io_describe(const kv_io *io);

/* Wait for everything in flight, then free. Files must be closed. Accepts NULL.
 * Errors: RT_EIO  operations were never answered; nothing is freed, and their memory must be kept */
RT_MUST_CHECK rt_status kv_io_close(kv_io *io);

/* Memory that most operations will use, until kv_io_close: registered where the engine can and
 * RLIMIT_MEMLOCK lets it. True if it is; operations elsewhere, or across a GiB, are right but dearer.
 * Once. */
bool kv_io_lend(kv_io *io, void *base, int64_t n_bytes);

typedef struct kv_io_op {
    kv_file *file;
    bool is_write;
    kv_io_urgency urgency;
    void *bytes;
    int64_t n_bytes;
    int64_t offset;

    /* Kept by kv_io from the start on. */
    bool is_done;
    bool is_in_flight; /* the operation and its memory must stay, even when it is done */
    int64_t n_done;
    bool was_direct; /* how the file was when it was last submitted */
    int error;       /* errno, or a kv_io_error */
    int n_tries;
    int n_stuck;     /* answers in a row without progress */
    double deadline; /* in watched time */
    struct kv_io_op *next;
} kv_io_op;

/* Ways to fail that errno has no word for. */
typedef enum kv_io_error { KV_IO_EENDED = -1, KV_IO_ELATE = -2, KV_IO_ELIES = -3 } kv_io_error;

/* Queue an operation. Does not block and does not fail; errors come from the wait. */
void kv_io_start(kv_io *io, kv_io_op *op);
/* Until the operation is done.
 * Errors: RT_EIO     the disk failed, the file ends inside, or no answer came in time
 *         RT_ENOFIT  the disk is full (ENOSPC, EDQUOT, EFBIG) */
RT_MUST_CHECK rt_status kv_io_wait(kv_io *io, kv_io_op *op);
/* The same of one that nobody asks for any more: what became of it is not told, and the last error's text stays. */
void kv_io_settle(kv_io *io, const kv_io_op *op);
/* Start what can start and take what answers there are, without waiting. */
void kv_io_poll(kv_io *io);

typedef struct kv_io_stats {
    int64_t n_done;
    int64_t n_failed;
    int64_t n_strays; /* answers to nothing that was asked */
    int64_t n_late;
    int64_t bytes_read;
    int64_t bytes_written;
} kv_io_stats;
kv_io_stats kv_io_stats_of(const kv_io *io);

#endif
