/* Operations over an engine. Always true:
 *
 *   1. An operation is in one place: the queue of its urgency, or a slot, or with the caller.
 *   2. A slot's tag is (serial, slot number) and every submission has a new serial, so an answer
 *      counts only for the submission it belongs to; any other is a stray, counted and dropped.
 *   3. Memory in a slot is the engine's until that slot's own answer, also when the operation has
 *      failed meanwhile because its deadline passed.
 *   4. Every operation ends: transient errors and submissions refused are tried again KV_IO_TRIES_MAX
 *      times, the later ones a millisecond apart, answers without progress once, and a deadline
 *      runs from the first submission.
 *   5. A descriptor is closed only when no request that names it is unanswered. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "io_inside.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"

enum { TRIES_AT_ONCE = 16, WAIT_MS = 20, SLOT_BITS = 8 };

/* Which rule is broken, for the test that must notice: 1 the tag, 2 late memory, 3 short answers. */
#ifndef KV_MUTANT_IO
#define KV_MUTANT_IO 0
#endif

/* A file system of a cluster may be silent for seconds and mean nothing by it; a prefill of hours must not end so. */
static const double timeout_usual_s = 30;

/* Time between two looks counts up to this. */
static const double unwatched_s_max = 0.1;

static const int64_t op_bytes_max = RT_GIB;

/* ---- queues ---------------------------------------------------------------------------------- */

static void push_last(kv_io_queue *q, kv_io_op *op) {
    op->next = NULL;
    if (q->last)
        q->last->next = op;
    else
        q->first = op;
    q->last = op;
}

static void push_first(kv_io_queue *q, kv_io_op *op) {
    op->next = q->first;
    q->first = op;
    if (!q->last) q->last = op;
}

static kv_io_op *pop(kv_io_queue *q) {
    kv_io_op *op = q->first;
    q->first = op->next;
    if (!q->first) q->last = NULL;
    op->next = NULL;
    return op;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void finish(kv_io *io, kv_io_op *op, int error) {
    op->error = error;
    op->is_done = true;
    op->file->n_undone--;
    if (error)
        io->stats.n_failed++;
    else
        io->stats.n_done++;
}

static bool is_transient(int error) {
    return error == EINTR || error == EAGAIN || error == EBUSY || error == ENOMEM ||
           error == ECANCELED;
}

static rt_status outcome(const kv_io_op *op) {
    if (!op->error) return RT_OK;
    const char *verb = op->is_write ? "write" : "read";
    const char *path = op->file->path;
    const int64_t at = op->offset + op->n_done;
    const int64_t n_left = op->n_bytes - op->n_done;
    if (op->error == KV_IO_EENDED)
        return rt_fail(RT_EIO,
                "kvstore: %s ends at byte %" PRId64 ", %" PRId64 " more were to be %s", path, at,
                n_left, op->is_write ? "written" : "read");
    if (op->error == KV_IO_ELATE)
        return rt_fail(RT_EIO,
                "kvstore: %s %s: no answer for %" PRId64 " bytes at byte %" PRId64 " in time", verb,
                path, n_left, at);
    if (op->error == KV_IO_ELIES)
        return rt_fail(RT_EIO,
                "kvstore: %s %s: more than the %" PRId64 " bytes asked for at byte %" PRId64, verb,
                path, n_left, at);
    errno = op->error;
    return rt_fail_errno(kv_io_is_disk_full(op->error) ? RT_ENOFIT : RT_EIO,
            "kvstore: %s %s: %" PRId64 " bytes at byte %" PRId64, verb, path, n_left, at);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void try_again(kv_io *io, kv_io_op *op) {
    push_first(&io->queued[op->urgency], op);
}

/* O_DIRECT that the file system accepted at open and refuses now (overlays do): do without. */
static bool goes_on_buffered(kv_io *io, const kv_io_op *op) {
    if (!op->was_direct) return false;
    if (op->file->is_direct && io->engine.table->make_buffered(io->engine.self, op->file->fd) < 0)
        return false;
    op->file->is_direct = false;
    return true;
}

static void on_error(kv_io *io, kv_io_op *op, int error) {
    const bool is_worth_it = is_transient(error) || (error == EINVAL && goes_on_buffered(io, op));
    if (!is_worth_it || ++op->n_tries > KV_IO_TRIES_MAX) {
        finish(io, op, error);
        return;
    }
    if (op->n_tries > TRIES_AT_ONCE) io->is_refused = true;
    try_again(io, op);
}

static void on_progress(kv_io *io, kv_io_op *op, int64_t n_moved) {
    const int64_t reached = KV_MUTANT_IO == 3 ? op->n_bytes : op->n_done + n_moved;
    const int64_t n_done = reached == op->n_bytes ? reached : reached / KV_IO_ALIGN * KV_IO_ALIGN;
    op->n_stuck = n_done > op->n_done ? 0 : op->n_stuck + 1;
    op->n_done = n_done;
    if (n_done == op->n_bytes) {
        *(op->is_write ? &io->stats.bytes_written : &io->stats.bytes_read) += op->n_bytes;
        finish(io, op, 0);
    } else if (op->n_stuck > 1) {
        finish(io, op, KV_IO_EENDED);
    } else {
        try_again(io, op);
    }
}

static uint64_t number_of(uint64_t tag) {
    return tag & ((1u << SLOT_BITS) - 1);
}

static kv_io_op *leave_slot(kv_io *io, kv_io_slot *s) {
    kv_io_op *op = s->op;
    *s = (kv_io_slot){0};
    op->is_in_flight = false;
    op->file->n_in_flight--;
    io->n_in_flight[op->urgency]--;
    return op;
}

static void forget_late(kv_io *io, kv_io_op *op) {
    io->n_late[op->urgency]--;
    if (op->file->is_closed && op->file->n_in_flight == 0) kv_file_release(op->file);
}

static void on_answer(kv_io *io, const kv_io_answer *answer) {
    const uint64_t number = number_of(answer->tag);
    kv_io_slot *s = number < KV_IO_DEPTH_MAX ? &io->slots[number] : NULL;
    if (!s || !s->op || (s->tag != answer->tag && KV_MUTANT_IO != 1)) {
        io->stats.n_strays++;
        return;
    }
    kv_io_op *op = leave_slot(io, s);
    if (op->is_done)
        forget_late(io, op);
    else if (answer->result < 0)
        on_error(io, op, (int)-answer->result);
    else if (answer->result > op->n_bytes - op->n_done)
        finish(io, op, KV_IO_ELIES);
    else
        on_progress(io, op, answer->result);
}

static void give_up(kv_io *io, kv_io_op *op) {
    io->stats.n_late++;
    io->n_late[op->urgency]++;
    if (KV_MUTANT_IO == 2) op->is_in_flight = false;
    finish(io, op, KV_IO_ELATE);
}

static void give_up_all(kv_io *io) {
    for (int i = 0; i < KV_IO_DEPTH_MAX; i++)
        if (io->slots[i].op && !io->slots[i].op->is_done) give_up(io, io->slots[i].op);
}

static void pause_ms(long ms) {
    const struct timespec pause = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* Returns how many there were. */
static int take_answers(kv_io *io, int timeout_ms) {
    kv_io_answer answers[KV_IO_DEPTH_MAX];
    const int n = io->engine.table->complete(io->engine.self, answers, KV_IO_DEPTH_MAX, timeout_ms);
    rt_assert(n <= KV_IO_DEPTH_MAX);
    for (int i = 0; i < n; i++) on_answer(io, &answers[i]);
    if (n >= 0 || n == -EINTR || n == -EAGAIN || n == -ETIME) {
        io->n_deaf = 0;
    } else if (timeout_ms > 0) {
        if (++io->n_deaf > KV_IO_TRIES_MAX) give_up_all(io);
        pause_ms(1);
    }
    return n;
}

/* A process that was stopped, or busy elsewhere, is to find its answers and not its deadlines. */
static void watch(kv_io *io) {
    const double now = rt_now();
    const double passed = now - io->looked_at;
    io->watched_s += passed < unwatched_s_max ? passed : unwatched_s_max;
    io->looked_at = now;
}

static bool is_late(const kv_io *io, const kv_io_op *op) {
    return op && !op->is_done && io->watched_s > op->deadline;
}

static bool has_late(const kv_io *io) {
    for (int i = 0; i < KV_IO_DEPTH_MAX; i++)
        if (is_late(io, io->slots[i].op)) return true;
    return false;
}

/* Fail what is late when there is no more answer to take, and what waits behind nothing but late
 * operations. */
static void expire(kv_io *io) {
    watch(io);
    while (has_late(io) && take_answers(io, 0) > 0) continue;
    for (int i = 0; i < KV_IO_DEPTH_MAX; i++)
        if (is_late(io, io->slots[i].op)) give_up(io, io->slots[i].op);
    for (int urgency = 0; urgency < KV_IO_URGENCIES; urgency++)
        while (io->n_late[urgency] == io->depth[urgency] && io->queued[urgency].first)
            finish(io, pop(&io->queued[urgency]), KV_IO_ELATE);
}

/* ---- submissions ----------------------------------------------------------------------------- */

static int free_slot(const kv_io *io) {
    for (int i = 0; i < KV_IO_DEPTH_MAX; i++)
        if (!io->slots[i].op) return i;
    rt_assert(false); /* the depths add up to no more than the slots */
    return -1;
}

static double deadline_of(const kv_io *io, const kv_io_op *op) {
    const double timeout_s =
            io->timeout_s > 0 ? io->timeout_s : timeout_usual_s + (double)op->n_bytes * 1e-7;
    return io->watched_s + timeout_s;
}

static kv_io_request put_in_slot(kv_io *io, kv_io_op *op) {
    const int number = free_slot(io);
    const uint64_t tag = ++io->serial << SLOT_BITS | (uint64_t)number;
    io->slots[number] = (kv_io_slot){.op = op, .tag = tag};
    io->n_in_flight[op->urgency]++;
    op->file->n_in_flight++;
    op->is_in_flight = true;
    op->was_direct = op->file->is_direct;
    if (op->deadline == 0) op->deadline = deadline_of(io, op);
    return (kv_io_request){.fd = op->file->fd,
            .is_write = op->is_write,
            .bytes = (char *)op->bytes + op->n_done,
            .n_bytes = op->n_bytes - op->n_done,
            .offset = op->offset + op->n_done,
            .tag = tag,
            .urgency = op->urgency};
}

/* As many queued operations as depths allow, the most urgent first. */
static int fill_batch(kv_io *io, kv_io_request *batch) {
    int n = 0;
    for (int urgency = 0; urgency < KV_IO_URGENCIES; urgency++)
        while (io->queued[urgency].first && io->n_in_flight[urgency] < io->depth[urgency])
            batch[n++] = put_in_slot(io, pop(&io->queued[urgency]));
    return n;
}

static void submit(kv_io *io) {
    kv_io_request batch[KV_IO_DEPTH_MAX];
    const int n = fill_batch(io, batch);
    if (n == 0) return;
    const int result = io->engine.table->submit(io->engine.self, batch, n);
    rt_assert(result <= n);
    for (int i = n - 1; i >= rt_max64(result, 0); i--) {
        kv_io_op *op = leave_slot(io, &io->slots[number_of(batch[i].tag)]);
        if (result > 0)
            try_again(io, op); /* full, not broken: no try is lost */
        else
            on_error(io, op, result ? -result : EAGAIN);
    }
}

static bool has_in_flight(const kv_io *io) {
    for (int urgency = 0; urgency < KV_IO_URGENCIES; urgency++)
        if (io->n_in_flight[urgency] > 0) return true;
    return false;
}

static bool has_work(const kv_io *io) {
    for (int urgency = 0; urgency < KV_IO_URGENCIES; urgency++)
        if (io->queued[urgency].first || io->n_in_flight[urgency] > io->n_late[urgency])
            return true;
    return false;
}

static void drive(kv_io *io, int timeout_ms) {
    rt_assert(io->owner == getpid());
    if (io->is_refused && timeout_ms > 0) (void)take_answers(io, 1);
    io->is_refused = false;
    submit(io);
    if (has_in_flight(io))
        (void)take_answers(io, timeout_ms);
    else if (timeout_ms > 0 && has_work(io))
        (void)take_answers(io, 1); /* refused: not at full speed again */
    expire(io);
}

/* ---- the interface --------------------------------------------------------------------------- */

rt_status kv_io_close(kv_io *io) {
    if (!io) return RT_OK;
    rt_assert(io->n_files == 0);
    while (has_work(io)) drive(io, WAIT_MS);
    const double patience = rt_now() + (io->timeout_s > 0 ? io->timeout_s : 2);
    while (has_in_flight(io) && rt_now() < patience) drive(io, WAIT_MS);
    if (has_in_flight(io))
        return rt_fail(RT_EIO, "kvstore: disk operations were never answered (%" PRId64 " late)",
                io->stats.n_late);
    io->engine.table->free(io->engine.self);
    free(io);
    return RT_OK;
}

void kv_io_start(kv_io *io, kv_io_op *op) {
    rt_assert(op->file && op->file->io == io && !op->is_in_flight);
    rt_assert(op->n_bytes > 0 && op->n_bytes <= op_bytes_max && op->n_bytes % KV_IO_ALIGN == 0);
    rt_assert(op->offset >= 0 && op->offset % KV_IO_ALIGN == 0);
    rt_assert((uintptr_t)op->bytes % KV_IO_ALIGN == 0 && op->urgency < KV_IO_URGENCIES);
    op->is_done = false;
    op->n_done = 0;
    op->error = op->n_tries = op->n_stuck = 0;
    op->deadline = 0;
    op->file->n_undone++;
    if (op->file->is_dead)
        finish(io, op, EIO);
    else
        push_last(&io->queued[op->urgency], op);
}

void kv_io_settle(kv_io *io, const kv_io_op *op) {
    while (!op->is_done) {
        rt_assert(has_work(io)); /* it was started */
        drive(io, WAIT_MS);
    }
}

rt_status kv_io_wait(kv_io *io, kv_io_op *op) {
    kv_io_settle(io, op);
    return outcome(op);
}

void kv_io_poll(kv_io *io) {
    drive(io, 0);
}

kv_io_stats kv_io_stats_of(const kv_io *io) {
    return io->stats;
}
