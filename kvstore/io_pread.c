/* The engine that is always to be had: threads that call pread and pwrite. Also what engines share:
 * opening, closing, reserving and syncing files.
 *
 * Requests wait in a ring for each urgency, answers in one more; none can overflow, since at most
 * `depth` requests are unanswered. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "io_engine.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "runtime/base/thread.h"

/* As many as keep one NVMe drive busy; they sleep in the kernel, not on a core. */
enum { THREADS_MAX = 8 };

/* Counted on for ever; modulo depth in the ring. */
typedef struct ring {
    int64_t first, end;
    kv_io_request *requests;
} ring;

typedef struct engine {
    pthread_mutex_t mutex;
    pthread_cond_t has_request;
    pthread_cond_t has_answer;
    bool is_stopping;
    int depth;
    int n_unanswered; /* requests taken whose answers nobody has fetched */
    ring waiting[KV_IO_URGENCIES];
    kv_io_answer *answers;
    int64_t first_answer, end_answer; /* as a ring's */
    int n_threads;
    pthread_t threads[THREADS_MAX];
} engine;

/* ---- what engines share ---------------------------------------------------------------------- */

static int result_of(int result) {
    return result < 0 ? -errno : result;
}

int kv_io_posix_open(void *self, const char *path, int flags) {
    (void)self;
    return result_of(open(path, flags, 0600));
}

int kv_io_posix_close(void *self, int fd) {
    (void)self;
    return result_of(close(fd));
}

int kv_io_posix_reserve(void *self, int fd, int64_t n_bytes) {
    (void)self;
    return result_of(fallocate(fd, 0, 0, n_bytes));
}

int kv_io_posix_sync(void *self, int fd) {
    (void)self;
    return result_of(fdatasync(fd));
}

int kv_io_posix_make_buffered(void *self, int fd) {
    (void)self;
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    return result_of(fcntl(fd, F_SETFL, flags & ~O_DIRECT));
}

/* ---- the threads ----------------------------------------------------------------------------- */

static int64_t move_bytes(const kv_io_request *r) {
    const ssize_t n = r->is_write ? pwrite(r->fd, r->bytes, (size_t)r->n_bytes, r->offset)
                                  : pread(r->fd, r->bytes, (size_t)r->n_bytes, r->offset);
    return n < 0 ? -errno : n;
}

/* The ring to take the next request from; NULL: there is none. */
static ring *most_urgent(engine *e) {
    for (int urgency = 0; urgency < KV_IO_URGENCIES; urgency++)
        if (e->waiting[urgency].first < e->waiting[urgency].end) return &e->waiting[urgency];
    return NULL;
}

static void *thread_main(void *argument) {
    engine *e = argument;
    (void)pthread_mutex_lock(&e->mutex);
    for (;;) {
        ring *from = NULL;
        while (!e->is_stopping && !(from = most_urgent(e)))
            (void)pthread_cond_wait(&e->has_request, &e->mutex);
        if (e->is_stopping) break;
        const kv_io_request request = from->requests[from->first++ % e->depth];
        (void)pthread_mutex_unlock(&e->mutex);
        const kv_io_answer answer = {.tag = request.tag, .result = move_bytes(&request)};
        (void)pthread_mutex_lock(&e->mutex);
        e->answers[e->end_answer++ % e->depth] = answer;
        (void)pthread_cond_signal(&e->has_answer);
    }
    (void)pthread_mutex_unlock(&e->mutex);
    return NULL;
}

/* ---- the table ------------------------------------------------------------------------------- */

static int submit(void *self, const kv_io_request *requests, int n_requests) {
    engine *e = self;
    (void)pthread_mutex_lock(&e->mutex);
    const int n = (int)rt_min64(n_requests, e->depth - e->n_unanswered);
    for (int i = 0; i < n; i++) {
        ring *to = &e->waiting[requests[i].urgency];
        to->requests[to->end++ % e->depth] = requests[i];
    }
    e->n_unanswered += n;
    (void)pthread_cond_broadcast(&e->has_request);
    (void)pthread_mutex_unlock(&e->mutex);
    return n ? n : -EAGAIN;
}

static struct timespec after_ms(int ms) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    const int64_t ns = time.tv_nsec + (int64_t)ms * 1000000;
    time.tv_sec += ns / 1000000000;
    time.tv_nsec = ns % 1000000000;
    return time;
}

static int complete(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    engine *e = self;
    const struct timespec until = after_ms(timeout_ms);
    (void)pthread_mutex_lock(&e->mutex);
    int error = timeout_ms > 0 ? 0 : ETIMEDOUT;
    while (e->first_answer == e->end_answer && error == 0)
        error = pthread_cond_timedwait(&e->has_answer, &e->mutex, &until);
    int n = 0;
    while (n < n_max && e->first_answer < e->end_answer)
        answers[n++] = e->answers[e->first_answer++ % e->depth];
    e->n_unanswered -= n;
    (void)pthread_mutex_unlock(&e->mutex);
    return n;
}

static int lend(void *self, void *base, int64_t n_bytes) {
    (void)self, (void)base, (void)n_bytes;
    return -EOPNOTSUPP;
}

static void free_engine(void *self) {
    engine *e = self;
    (void)pthread_mutex_lock(&e->mutex);
    e->is_stopping = true;
    (void)pthread_cond_broadcast(&e->has_request);
    (void)pthread_mutex_unlock(&e->mutex);
    for (int i = 0; i < e->n_threads; i++) (void)pthread_join(e->threads[i], NULL);
    (void)pthread_cond_destroy(&e->has_request);
    (void)pthread_cond_destroy(&e->has_answer);
    (void)pthread_mutex_destroy(&e->mutex);
    for (int urgency = 0; urgency < KV_IO_URGENCIES; urgency++) free(e->waiting[urgency].requests);
    free(e->answers);
    free(e);
}

static const kv_io_table table = {.open = kv_io_posix_open,
        .close = kv_io_posix_close,
        .reserve = kv_io_posix_reserve,
        .sync = kv_io_posix_sync,
        .make_buffered = kv_io_posix_make_buffered,
        .lend = lend,
        .submit = submit,
        .complete = complete,
        .free = free_engine,
        KV_IO_POSIX_NAMES};

static void init_locks(engine *e) {
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&e->mutex, NULL);
    (void)pthread_cond_init(&e->has_request, NULL);
    (void)pthread_cond_init(&e->has_answer, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

static rt_status alloc_rings(engine *e) {
    for (int urgency = 0; urgency < KV_IO_URGENCIES; urgency++) {
        ring *waiting = &e->waiting[urgency];
        RT_TRY(rt_calloc(e->depth, sizeof *waiting->requests, "I/O requests", &waiting->requests));
    }
    return rt_calloc(e->depth, sizeof *e->answers, "I/O answers", &e->answers);
}

static rt_status start_threads(engine *e) {
    const int n_threads = (int)rt_min64(e->depth, THREADS_MAX);
    for (; e->n_threads < n_threads; e->n_threads++) {
        const rt_status status = rt_thread_start(
                &e->threads[e->n_threads], thread_main, e, "kvstore: cannot start an I/O thread");
        if (status != RT_OK)
            return e->n_threads > 0 ? RT_OK : status; /* fewer are slower, not wrong */
    }
    return RT_OK;
}

/* Signals are for the threads that know what to do with them; a file too large is an errno. */
static rt_status start_without_signals(engine *e) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const rt_status status = start_threads(e);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

rt_status kv_io_pread_create(int depth, kv_io_engine *out) {
    rt_assert(depth > 0);
    engine *e = NULL;
    RT_TRY(rt_calloc(1, sizeof *e, "disk I/O", &e));
    e->depth = depth;
    init_locks(e);
    rt_status status = RT_OK;
    RT_TRY_GOTO(status, alloc_rings(e), out);
    RT_TRY_GOTO(status, start_without_signals(e), out);
    *out = (kv_io_engine){.table = &table, .self = e};
    return RT_OK;
out:
    free_engine(e);
    return status;
}
