/* An engine that injects faults. */
#include "help_kv_io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { HELD_MAX = 2 * KV_IO_DEPTH_MAX, ANSWERS_MAX = 4 * KV_IO_DEPTH_MAX, PLACES = 16 };

struct kvh_faults {
    kv_io_engine inner;
    kvh_fault fault;
    int64_t at;
    bool for_ever;
    bool is_direct;
    bool is_released;
    int64_t n_events;
    int64_t n_injected;
    int n_closed;
    kv_io_answer made_up[ANSWERS_MAX]; /* answers the inner engine knows nothing of */
    int n_made_up;
    kv_io_answer held[HELD_MAX];
    int n_held;
    kv_io_request kept[KV_IO_DEPTH_MAX]; /* late: the inner engine has not seen them */
    int n_kept;
    bool is_untold;                   /* that an answer was lost */
    uint64_t marked[KV_IO_DEPTH_MAX]; /* by slot: the tag whose answer goes wrong */
    kv_io_request flipped[KV_IO_DEPTH_MAX];
    int64_t places[PLACES]; /* where the last requests were */
    int64_t n_places;
};

static const char *const fault_names[KVH_N_FAULTS] = {[KVH_NONE] = "none",
        [KVH_EIO] = "EIO",
        [KVH_ENOSPC] = "ENOSPC",
        [KVH_EINTR] = "EINTR",
        [KVH_EAGAIN] = "EAGAIN",
        [KVH_ECANCELED] = "ECANCELED",
        [KVH_EINVAL] = "EINVAL",
        [KVH_ZERO] = "zero",
        [KVH_SHORT] = "short",
        [KVH_MORE] = "more",
        [KVH_STALE] = "stale",
        [KVH_TWICE] = "twice",
        [KVH_REORDERED] = "reordered",
        [KVH_LATE] = "late",
        [KVH_LOST] = "lost",
        [KVH_SUBMIT_EAGAIN] = "submit EAGAIN",
        [KVH_SUBMIT_EBUSY] = "submit EBUSY",
        [KVH_SUBMIT_EIO] = "submit EIO",
        [KVH_SUBMIT_HALF] = "submit half",
        [KVH_SUBMIT_NONE] = "submit none",
        [KVH_COMPLETE_EINTR] = "complete EINTR",
        [KVH_COMPLETE_EBADR] = "complete EBADR",
        [KVH_OPEN_EINTR] = "open EINTR",
        [KVH_OPEN_EMFILE] = "open EMFILE",
        [KVH_RESERVE_ENOSPC] = "reserve ENOSPC",
        [KVH_RESERVE_EOPNOTSUPP] = "reserve EOPNOTSUPP",
        [KVH_SYNC_EIO] = "sync EIO",
        [KVH_STOPPED] = "stopped",
        [KVH_FLIPPED] = "flipped",
        [KVH_UNWRITTEN] = "unwritten",
        [KVH_ELSEWHERE] = "elsewhere"};

const char *kvh_fault_name(kvh_fault fault) {
    return fault_names[fault];
}

bool kvh_is_harmless_once(kvh_fault fault) {
    return fault != KVH_EIO && fault != KVH_ENOSPC && fault != KVH_MORE && fault != KVH_LATE &&
           fault != KVH_LOST && fault != KVH_SUBMIT_EIO;
}

bool kvh_is_silent(kvh_fault fault, bool for_ever) {
    return fault == KVH_LATE || fault == KVH_LOST || (fault == KVH_COMPLETE_EINTR && for_ever);
}

/* Count an event of the fault's kind; whether it goes wrong. */
static bool goes_wrong(kvh_faults *f) {
    if (f->is_released) return false;
    const int64_t event = f->n_events++;
    const bool is_hit = f->for_ever ? event >= f->at : event == f->at;
    f->n_injected += is_hit;
    return is_hit;
}

static int error_of(kvh_fault fault) {
    switch (fault) {
    case KVH_EIO:
        return -EIO;
    case KVH_ENOSPC:
        return -ENOSPC;
    case KVH_EINTR:
        return -EINTR;
    case KVH_EAGAIN:
        return -EAGAIN;
    case KVH_ECANCELED:
        return -ECANCELED;
    case KVH_EINVAL:
        return -EINVAL;
    default:
        return 0;
    }
}

static void make_up(kvh_faults *f, uint64_t tag, int64_t result) {
    CHECK(f->n_made_up < ANSWERS_MAX);
    f->made_up[f->n_made_up++] = (kv_io_answer){.tag = tag, .result = result};
}

static bool is_taken_over(const kvh_faults *f) {
    if (f->fault == KVH_EINVAL) return f->is_direct;
    return error_of(f->fault) || f->fault == KVH_ZERO;
}

/* Answers that lie: they say all is done before anything is. */
static void make_up_stale(kvh_faults *f, const kv_io_request *r) {
    make_up(f, r->tag - 256, r->n_bytes);
    make_up(f, r->tag + (300 << 8), r->n_bytes);
    make_up(f, UINT64_MAX, r->n_bytes);
}

static void keep(kvh_faults *f, const kv_io_request *r) {
    CHECK(f->n_kept < KV_IO_DEPTH_MAX);
    f->kept[f->n_kept++] = *r;
    f->is_untold = f->fault == KVH_LOST;
}

/* Memory of a request without an answer is nobody else's. */
static void check_memory(const kvh_faults *f, const kv_io_request *r) {
    for (int i = 0; i < f->n_kept; i++) {
        const char *kept = f->kept[i].bytes;
        const char *bytes = r->bytes;
        CHECK(bytes + r->n_bytes <= kept || kept + f->kept[i].n_bytes <= bytes);
    }
}

/* Some other place that was asked for lately; the same one where there is none. */
static int64_t elsewhere(kvh_faults *f, int64_t offset) {
    int64_t other = offset;
    for (int64_t i = 0; i < rt_min64(f->n_places, PLACES) && other == offset; i++)
        other = f->places[(f->n_places - 1 - i) % PLACES];
    return other;
}

/* The disk says that all is well. */
static int submit_silently_wrong(kvh_faults *f, kv_io_request r) {
    const bool is_hit = r.is_write == (f->fault == KVH_UNWRITTEN) && goes_wrong(f);
    const int64_t other = elsewhere(f, r.offset);
    f->places[f->n_places++ % PLACES] = r.offset;
    if (is_hit && f->fault == KVH_UNWRITTEN) {
        make_up(f, r.tag, r.n_bytes);
        return 1;
    }
    if (is_hit && f->fault == KVH_ELSEWHERE) r.offset = other;
    if (is_hit && f->fault == KVH_FLIPPED) {
        f->marked[r.tag % KV_IO_DEPTH_MAX] = r.tag;
        f->flipped[r.tag % KV_IO_DEPTH_MAX] = r;
    }
    return f->inner.table->submit(f->inner.self, &r, 1);
}

static int submit_one(kvh_faults *f, const kv_io_request *request) {
    kv_io_request r = *request;
    check_memory(f, &r);
    if (f->fault >= KVH_SILENT_FAULTS) return submit_silently_wrong(f, r);
    if (f->fault != KVH_NONE && f->fault < KVH_REQUEST_FAULTS && goes_wrong(f)) {
        if (is_taken_over(f)) {
            make_up(f, r.tag, error_of(f->fault));
            return 1;
        }
        if (f->fault == KVH_LATE || f->fault == KVH_LOST) {
            keep(f, &r);
            return 1;
        }
        if (f->fault == KVH_STALE) make_up_stale(f, &r);
        if (f->fault == KVH_SHORT) r.n_bytes = r.n_bytes / 2 + 100;
        f->marked[r.tag % KV_IO_DEPTH_MAX] = r.tag;
    }
    return f->inner.table->submit(f->inner.self, &r, 1);
}

static int faulty_submit(void *self, const kv_io_request *requests, int n_requests) {
    kvh_faults *f = self;
    if (f->fault >= KVH_SUBMIT_EAGAIN && f->fault <= KVH_SUBMIT_NONE && goes_wrong(f)) {
        if (f->fault == KVH_SUBMIT_EAGAIN) return -EAGAIN;
        if (f->fault == KVH_SUBMIT_EBUSY) return -EBUSY;
        if (f->fault == KVH_SUBMIT_EIO) return -EIO;
        if (f->fault == KVH_SUBMIT_NONE) return 0;
        n_requests = (n_requests + 1) / 2;
    }
    for (int i = 0; i < n_requests; i++)
        if (submit_one(f, &requests[i]) <= 0) return i ? i : -EAGAIN;
    return n_requests;
}

/* Another one each time; the first ones more often: padding follows. */
static void flip_bit(kvh_faults *f, uint64_t tag) {
    const kv_io_request *r = &f->flipped[tag % KV_IO_DEPTH_MAX];
    uint64_t random = tag;
    const uint64_t n_bits = (uint64_t)r->n_bytes * 8 >> random_next(&random) % 8;
    const uint64_t bit = random_next(&random) % n_bits;
    ((uint8_t *)r->bytes)[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* What becomes of one answer of the inner engine. */
static void pass_on(kvh_faults *f, kv_io_answer answer) {
    const bool is_marked = f->marked[answer.tag % KV_IO_DEPTH_MAX] == answer.tag;
    if (is_marked && f->fault == KVH_MORE) answer.result += 4096;
    if (is_marked && f->fault == KVH_FLIPPED) flip_bit(f, answer.tag);
    if (is_marked && f->fault == KVH_REORDERED) {
        CHECK(f->n_held < HELD_MAX);
        f->held[f->n_held++] = answer;
        return;
    }
    make_up(f, answer.tag, answer.result);
    if (is_marked && f->fault == KVH_TWICE) make_up(f, answer.tag, answer.result);
}

/* Held answers go out, the last first, when nothing else comes. */
static void let_go(kvh_faults *f) {
    while (f->n_held > 0) {
        f->n_held--;
        make_up(f, f->held[f->n_held].tag, f->held[f->n_held].result);
    }
}

/* The late are begun. */
static void begin_kept(kvh_faults *f) {
    const int n = f->n_kept ? f->inner.table->submit(f->inner.self, f->kept, f->n_kept) : 0;
    if (n <= 0) return;
    f->n_kept -= n;
    memmove(f->kept, f->kept + n, (size_t)f->n_kept * sizeof *f->kept);
}

static int take_made_up(kvh_faults *f, kv_io_answer *answers, int n_max) {
    const int n = f->n_made_up < n_max ? f->n_made_up : n_max;
    memcpy(answers, f->made_up, (size_t)n * sizeof *answers);
    f->n_made_up -= n;
    memmove(f->made_up, f->made_up + n, (size_t)f->n_made_up * sizeof *answers);
    return n;
}

static int error_instead(kvh_faults *f) {
    const bool was_untold = f->is_untold;
    f->is_untold = false;
    if (was_untold) return -EBADR;
    if (f->fault == KVH_STOPPED && goes_wrong(f)) {
        (void)usleep(30000);
        return -EINTR;
    }
    if (f->fault == KVH_COMPLETE_EINTR && goes_wrong(f)) return -EINTR;
    if (f->fault == KVH_COMPLETE_EBADR && goes_wrong(f)) return -EBADR;
    return 0;
}

static int faulty_complete(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    kvh_faults *f = self;
    const int error = error_instead(f);
    if (error) return error;
    if (f->n_made_up > 0) return take_made_up(f, answers, n_max);
    if (f->is_released) begin_kept(f);
    kv_io_answer some[8];
    const bool is_idle = f->n_held > 0 || f->n_kept > 0;
    const int n = f->inner.table->complete(f->inner.self, some, 8, is_idle ? 0 : timeout_ms);
    if (n < 0 && !is_idle) return n;
    for (int i = 0; i < n; i++) pass_on(f, some[i]);
    if (n <= 0) let_go(f);
    return take_made_up(f, answers, n_max);
}

static int faulty_open(void *self, const char *path, int flags) {
    kvh_faults *f = self;
    f->is_direct = flags & O_DIRECT;
    if (f->fault == KVH_OPEN_EINTR && goes_wrong(f)) return -EINTR;
    if (f->fault == KVH_OPEN_EMFILE && goes_wrong(f)) return -EMFILE;
    return f->inner.table->open(f->inner.self, path, flags);
}

static int faulty_close(void *self, int fd) {
    kvh_faults *f = self;
    f->n_closed++;
    return f->inner.table->close(f->inner.self, fd);
}

static int faulty_reserve(void *self, int fd, int64_t n_bytes) {
    kvh_faults *f = self;
    if (f->fault == KVH_RESERVE_ENOSPC && goes_wrong(f)) return -ENOSPC;
    if (f->fault == KVH_RESERVE_EOPNOTSUPP && goes_wrong(f)) return -EOPNOTSUPP;
    return f->inner.table->reserve(f->inner.self, fd, n_bytes);
}

static int faulty_sync(void *self, int fd) {
    kvh_faults *f = self;
    if (f->fault == KVH_SYNC_EIO && goes_wrong(f)) return -EIO;
    return f->inner.table->sync(f->inner.self, fd);
}

static int faulty_make_buffered(void *self, int fd) {
    kvh_faults *f = self;
    f->is_direct = false;
    return f->inner.table->make_buffered(f->inner.self, fd);
}

static int faulty_lend(void *self, void *base, int64_t n_bytes) {
    kvh_faults *f = self;
    return f->inner.table->lend(f->inner.self, base, n_bytes);
}

static void faulty_free(void *self) {
    kvh_faults *f = self;
    f->inner.table->free(f->inner.self);
    free(f);
}

/* Names, sizes and locks are not disturbed. */
#define PASS(name, parameters, arguments)      \
    static int faulty_##name parameters {      \
        const kvh_faults *f = self;            \
        return f->inner.table->name arguments; \
    }
PASS(truncate, (void *self, int fd, int64_t n_bytes), (f->inner.self, fd, n_bytes))
PASS(lock, (void *self, int fd, kv_io_lock lock), (f->inner.self, fd, lock))
PASS(stat_file, (void *self, int fd, kv_io_stat *out), (f->inner.self, fd, out))
PASS(stat, (void *self, const char *path, kv_io_stat *out), (f->inner.self, path, out))
PASS(rename, (void *self, const char *from, const char *to), (f->inner.self, from, to))
PASS(unlink, (void *self, const char *path), (f->inner.self, path))
PASS(touch, (void *self, const char *path), (f->inner.self, path))
PASS(make_dir, (void *self, const char *path), (f->inner.self, path))
PASS(sync_dir, (void *self, const char *path), (f->inner.self, path))
PASS(list_dir, (void *self, const char *path, char **names), (f->inner.self, path, names))

kv_io_engine kvh_inject(
        kv_io_engine inner, kvh_fault fault, int64_t at, bool for_ever, kvh_faults **out) {
    static const kv_io_table table = {.open = faulty_open,
            .close = faulty_close,
            .reserve = faulty_reserve,
            .sync = faulty_sync,
            .make_buffered = faulty_make_buffered,
            .lend = faulty_lend,
            .submit = faulty_submit,
            .complete = faulty_complete,
            .free = faulty_free,
            .truncate = faulty_truncate,
            .lock = faulty_lock,
            .stat_file = faulty_stat_file,
            .stat = faulty_stat,
            .rename = faulty_rename,
            .unlink = faulty_unlink,
            .touch = faulty_touch,
            .make_dir = faulty_make_dir,
            .sync_dir = faulty_sync_dir,
            .list_dir = faulty_list_dir};
    kvh_faults *f = calloc(1, sizeof *f);
    CHECK(f);
    f->inner = inner;
    f->fault = fault;
    f->at = at;
    f->for_ever = for_ever;
    *out = f;
    return (kv_io_engine){.table = &table, .self = f};
}

int64_t kvh_faults_injected(const kvh_faults *faults) {
    return faults->n_injected;
}

int64_t kvh_faults_events(const kvh_faults *faults) {
    return faults->n_events;
}

int kvh_faults_closed(const kvh_faults *faults) {
    return faults->n_closed;
}

void kvh_faults_release(kvh_faults *faults) {
    faults->is_released = true;
}
