/* The engine for Linux with io_uring: one ring, registered files, registered memory where the
 * limits allow it. liburing 2.3 has all of it; Linux 5.11 does, 5.19 does it with fewer
 * interruptions. Older or forbidden (containers, kernel.io_uring_disabled) is RT_EUNSUPPORTED, and
 * io.c takes the other engine.
 *
 * A request is taken once its entry is in the submission ring. What the kernel does not accept at
 * once (EAGAIN, EBUSY) stays there and goes with the next call. The completion ring holds twice
 * `depth`, so it cannot overflow; should an answer be lost all the same (EBADR), its operation is
 * late and its memory stays in flight. Nothing is cancelled: the kernel cannot take back what a
 * drive has been given. */
#include "io_engine.h"

#ifdef KV_WITH_URING

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { FILES_MAX = 256, SLICES_MAX = 1024, PEEK_MAX = 64, TRIES_MAX = 64 };

/* One registered buffer may not be larger (EFAULT, whatever the memlock limit). */
static const int64_t slice_bytes = RT_GIB;

typedef struct engine {
    struct io_uring ring;
    bool has_files;              /* a table of registered files, indexed by descriptor */
    bool is_in_table[FILES_MAX]; /* by descriptor */
    char *lent;                  /* registered memory, in slices of slice_bytes */
    int64_t lent_bytes;
} engine;

/* ---- files and memory ------------------------------------------------------------------------ */

static int open_file(void *self, const char *path, int flags) {
    engine *e = self;
    const int fd = kv_io_posix_open(NULL, path, flags);
    if (fd >= 0 && fd < FILES_MAX && e->has_files)
        e->is_in_table[fd] = io_uring_register_files_update(&e->ring, (unsigned)fd, &fd, 1) == 1;
    return fd;
}

static int close_file(void *self, int fd) {
    engine *e = self;
    const int none = -1;
    if (fd < FILES_MAX && e->is_in_table[fd]) {
        (void)io_uring_register_files_update(&e->ring, (unsigned)fd, &none, 1);
        e->is_in_table[fd] = false;
    }
    return kv_io_posix_close(NULL, fd);
}

static int lend(void *self, void *base, int64_t n_bytes) {
    engine *e = self;
    struct iovec slices[SLICES_MAX];
    const int64_t n_slices = rt_div_up(n_bytes, slice_bytes);
    if (e->lent || n_slices > SLICES_MAX) return -EINVAL;
    for (int64_t i = 0; i < n_slices; i++) {
        const int64_t at = i * slice_bytes;
        slices[i] = (struct iovec){.iov_base = (char *)base + at,
                .iov_len = (size_t)rt_min64(n_bytes - at, slice_bytes)};
    }
    const int result = io_uring_register_buffers(&e->ring, slices, (unsigned)n_slices);
    if (result < 0) return result;
    e->lent = base;
    e->lent_bytes = n_bytes;
    return 0;
}

/* The registered slice that holds all of a request's memory; -1 when none does. */
static int slice_of(const engine *e, const kv_io_request *request) {
    if (!e->lent) return -1;
    const uintptr_t from = (uintptr_t)request->bytes - (uintptr_t)e->lent;
    if (from >= (uintptr_t)e->lent_bytes) return -1;
    const int64_t first = (int64_t)from;
    const int64_t last = first + request->n_bytes - 1;
    if (last >= e->lent_bytes || first / slice_bytes != last / slice_bytes) return -1;
    return (int)(first / slice_bytes);
}

/* ---- requests and answers -------------------------------------------------------------------- */

static void fill_entry(const engine *e, struct io_uring_sqe *entry, const kv_io_request *r) {
    const int slice = slice_of(e, r);
    const unsigned n = (unsigned)r->n_bytes;
    const uint64_t at = (uint64_t)r->offset;
    if (slice >= 0 && r->is_write)
        io_uring_prep_write_fixed(entry, r->fd, r->bytes, n, at, slice);
    else if (slice >= 0)
        io_uring_prep_read_fixed(entry, r->fd, r->bytes, n, at, slice);
    else if (r->is_write)
        io_uring_prep_write(entry, r->fd, r->bytes, n, at);
    else
        io_uring_prep_read(entry, r->fd, r->bytes, n, at);
    if (r->fd < FILES_MAX && e->is_in_table[r->fd]) io_uring_sqe_set_flags(entry, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data64(entry, r->tag);
}

static int submit(void *self, const kv_io_request *requests, int n_requests) {
    engine *e = self;
    int n = 0;
    for (; n < n_requests; n++) {
        struct io_uring_sqe *entry = io_uring_get_sqe(&e->ring);
        if (!entry) break;
        fill_entry(e, entry, &requests[n]);
    }
    (void)io_uring_submit(&e->ring);
    return n ? n : -EAGAIN;
}

/* Submit what has stayed behind, and wait for an answer if there is time to. */
static int wait_for_one(struct io_uring *ring, int timeout_ms) {
    if (timeout_ms <= 0) return io_uring_sq_ready(ring) > 0 ? io_uring_submit(ring) : 0;
    struct __kernel_timespec wait = {
            .tv_sec = timeout_ms / 1000, .tv_nsec = (long long)(timeout_ms % 1000) * 1000000};
    struct io_uring_cqe *first = NULL;
    const int result = io_uring_submit_and_wait_timeout(ring, &first, 1, &wait, NULL);
    return result == -ETIME || result == -EAGAIN ? 0 : result;
}

static int complete(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    engine *e = self;
    struct io_uring_cqe *entries[PEEK_MAX];
    const unsigned room = (unsigned)rt_min64(n_max, PEEK_MAX);
    unsigned n = io_uring_peek_batch_cqe(&e->ring, entries, room);
    if (n == 0) {
        const int result = wait_for_one(&e->ring, timeout_ms);
        n = io_uring_peek_batch_cqe(&e->ring, entries, room);
        if (n == 0 && result < 0) return result;
    }
    for (unsigned i = 0; i < n; i++)
        answers[i] = (kv_io_answer){
                .tag = io_uring_cqe_get_data64(entries[i]), .result = entries[i]->res};
    io_uring_cq_advance(&e->ring, n);
    return (int)n;
}

static void free_engine(void *self) {
    engine *e = self;
    /* At once; with the ring it would be some time later, and count as locked until then. */
    if (e->lent) (void)io_uring_unregister_buffers(&e->ring);
    io_uring_queue_exit(&e->ring);
    free(e);
}

static const kv_io_table table = {.open = open_file,
        .close = close_file,
        .reserve = kv_io_posix_reserve,
        .sync = kv_io_posix_sync,
        .make_buffered = kv_io_posix_make_buffered,
        .lend = lend,
        .submit = submit,
        .complete = complete,
        .free = free_engine,
        KV_IO_POSIX_NAMES};

/* ---- creation -------------------------------------------------------------------------------- */

/* Best flags first; EINVAL says that this kernel is older than the flag. */
static int init_ring(struct io_uring *ring, int depth) {
    static const unsigned flags[] = {
            IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
            IORING_SETUP_SUBMIT_ALL, 0};
    int result = -EINVAL;
    for (size_t i = 0; i < sizeof flags / sizeof *flags && result == -EINVAL; i++) {
        struct io_uring_params params = {.flags = flags[i]};
        result = io_uring_queue_init_params((unsigned)depth, ring, &params);
    }
    return result;
}

/* No answer may be dropped, a wait must take a time limit, and the four operations must be there. */
static bool is_recent(struct io_uring *ring) {
    const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    if ((ring->features & needed) != needed) return false;
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (!probe) return false;
    const bool has_all = io_uring_opcode_supported(probe, IORING_OP_READ) &&
                         io_uring_opcode_supported(probe, IORING_OP_WRITE) &&
                         io_uring_opcode_supported(probe, IORING_OP_READ_FIXED) &&
                         io_uring_opcode_supported(probe, IORING_OP_WRITE_FIXED);
    io_uring_free_probe(probe);
    return has_all;
}

/* One operation there and back: a sandbox may allow a ring to be made and not to be used. */
static int try_out(struct io_uring *ring) {
    struct io_uring_sqe *entry = io_uring_get_sqe(ring);
    struct io_uring_cqe *answer = NULL;
    io_uring_prep_nop(entry);
    int result = -EINTR;
    for (int i = 0; i < TRIES_MAX && (result == -EINTR || result == -EAGAIN || result == -EBUSY);
            i++)
        result = io_uring_submit_and_wait(ring, 1);
    if (result >= 0) result = io_uring_peek_cqe(ring, &answer);
    if (result < 0) return result;
    io_uring_cqe_seen(ring, answer);
    return 0;
}

static rt_status create_ring(int depth, struct io_uring *ring) {
    int result = init_ring(ring, depth);
    if (result < 0) {
        errno = -result;
        return rt_fail_errno(RT_EUNSUPPORTED, "kvstore: io_uring is not available");
    }
    result = try_out(ring);
    if (result == 0 && is_recent(ring)) return RT_OK;
    io_uring_queue_exit(ring);
    if (result == 0) return rt_fail(RT_EUNSUPPORTED, "kvstore: io_uring of this kernel is too old");
    errno = -result;
    return rt_fail_errno(RT_EUNSUPPORTED, "kvstore: io_uring is there but may not be used");
}

rt_status kv_io_uring_create(int depth, kv_io_engine *out) {
    engine *e = NULL;
    RT_TRY(rt_calloc(1, sizeof *e, "disk I/O", &e));
    const rt_status status = create_ring(depth, &e->ring);
    if (status != RT_OK) {
        free(e);
        return status;
    }
    e->has_files = io_uring_register_files_sparse(&e->ring, FILES_MAX) == 0;
    *out = (kv_io_engine){.table = &table, .self = e};
    return RT_OK;
}

#else

rt_status kv_io_uring_create(int depth, kv_io_engine *out) {
    (void)depth, (void)out;
    return rt_fail(RT_EUNSUPPORTED, "kvstore: io_uring is not in this build (liburing was absent)");
}

#endif
