/* The end of a group of devices: two threads that find it.
 *
 * The asker asks NCCL for errors, and aborts it at the end, because only ncclCommAbort makes kernels return that wait
 * for a dead peer. It may hang in NCCL. Then those kernels stay on the GPU, and whatever of CUDA waits for a
 * stream, frees memory or lets go of the device hangs, too, in the thread that uses the group. So
 * the watcher, which looks at the control group and at the time that calls take, calls neither NCCL nor CUDA;
 * and where NCCL has not come back leave_s after the end, it says so and ends the process. Not while the group is
 * idle: ncclCommAbort also waits for the graphs that have its kernels, which go when the group is closed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm_nccl_group.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"

enum { WATCH_MS = 100, NAP_MS = 10, PATIENCE_S = 1, EXIT_RANK_LOST = 6 };

/* ---- the end --------------------------------------------------------------------------------- */

/* The others hear of it before NCCL is aborted, and so before they find out by themselves that it was. */
void nccl_end(nccl_group *group, const char *why) {
    (void)pthread_mutex_lock(&group->why_lock);
    if (!atomic_load(&group->is_over)) {
        (void)snprintf(group->why, sizeof group->why, "%s", why);
        group->control->abort(group->control, group->why);
        atomic_store(&group->is_over, true);
    }
    (void)pthread_cond_broadcast(&group->wake);
    (void)pthread_mutex_unlock(&group->why_lock);
}

static void copy_why(nccl_group *group, char why[NCCL_WHY_BYTES]) {
    (void)pthread_mutex_lock(&group->why_lock);
    memcpy(why, group->why, NCCL_WHY_BYTES);
    (void)pthread_mutex_unlock(&group->why_lock);
}

rt_status nccl_ended(nccl_group *group) {
    char why[NCCL_WHY_BYTES];
    copy_why(group, why);
    return rt_fail(RT_EPEER, "%s", why);
}

/* End it for what became of the call: who, where, when, what, why. */
static rt_status end_call(nccl_group *group, const char *what) {
    const par_comm *comm = &group->comm;
    char why[NCCL_WHY_BYTES];
    (void)snprintf(why, sizeof why,
            "parallel: rank %" PRId32 " on %s, step %" PRId64 " (%s): %s %s", comm->rank,
            comm->hosts[comm->rank], atomic_load(&group->step), atomic_load(&group->step_name),
            atomic_load(&group->call_name), what);
    nccl_end(group, why);
    return nccl_ended(group);
}

rt_status nccl_failed(nccl_group *group, nccl_result result) {
    const char *last = group->nccl.GetLastError(NULL);
    char what[NCCL_WHY_BYTES / 2];
    (void)snprintf(what, sizeof what, "failed: %s%s%s", group->nccl.GetErrorString(result),
            last && *last ? ": " : "", last ? last : "");
    return end_call(group, what);
}

rt_status nccl_timed_out(nccl_group *group) {
    char what[64];
    (void)snprintf(what, sizeof what, "took longer than %g s", group->timeout_s);
    return end_call(group, what);
}

/* ---- sleep ----------------------------------------------------------------------------------- */

static struct timespec from_now(int64_t milliseconds) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += milliseconds / 1000;
    time.tv_nsec += milliseconds % 1000 * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

static void sleep_until_woken(nccl_group *group) {
    const struct timespec deadline = from_now(WATCH_MS);
    (void)pthread_mutex_lock(&group->why_lock);
    if (!atomic_load(&group->is_over) && !atomic_load(&group->is_closing))
        (void)pthread_cond_timedwait(&group->wake, &group->why_lock, &deadline);
    (void)pthread_mutex_unlock(&group->why_lock);
}

static void nap(int64_t milliseconds) {
    const struct timespec time = {
            .tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

static bool goes_on(const nccl_group *group) {
    return !atomic_load(&group->is_over) && !atomic_load(&group->is_closing);
}

/* Whether the control group is over; it knows best who is lost, so it is asked before NCCL. */
static bool is_lost(nccl_group *group) {
    if (group->control->check(group->control) == RT_OK) return false;
    nccl_end(group, rt_error_text());
    return true;
}

/* ---- the asker ------------------------------------------------------------------------------- */

static void ask_nccl(nccl_group *group) {
    nccl_result error = NCCL_SUCCESS;
    nccl_result asked = NCCL_SUCCESS;
    if (pthread_mutex_trylock(&group->lock) != 0) return; /* a call that runs asks by itself */
    if (group->handle) asked = group->nccl.CommGetAsyncError(group->handle, &error);
    (void)pthread_mutex_unlock(&group->lock);
    if (asked != NCCL_SUCCESS) error = asked;
    if (error != NCCL_SUCCESS && error != NCCL_IN_PROGRESS) {
        const rt_status ignored = nccl_failed(group, error);
        (void)ignored;
    }
}

/* By our own clock: pthread_mutex_timedlock goes by the one that may be set. */
static bool lock_in_time(nccl_group *group) {
    const double deadline = rt_now() + PATIENCE_S;
    while (pthread_mutex_trylock(&group->lock) != 0) {
        if (rt_now() >= deadline) return false;
        nap(NAP_MS);
    }
    return true;
}

/* Also where a call does not come back: that is what it is for. */
static void abort_nccl(nccl_group *group) {
    const bool has_lock = lock_in_time(group);
    const nccl_comm handle = __atomic_load_n(&group->handle, __ATOMIC_ACQUIRE);
    if (has_lock) {
        group->handle = NULL;
        (void)pthread_mutex_unlock(&group->lock);
    }
    if (handle) (void)group->nccl.CommAbort(handle);
}

static void *ask(void *context) {
    nccl_group *group = context;
    while (goes_on(group)) {
        if (!is_lost(group)) ask_nccl(group);
        sleep_until_woken(group);
    }
    if (atomic_load(&group->is_over)) abort_nccl(group);
    atomic_store(&group->is_asker_done, true);
    return NULL;
}

/* ---- the watcher ----------------------------------------------------------------------------- */

/* A call that does not come back. */
static void look_at_call(nccl_group *group) {
    const int64_t since_ms = atomic_load(&group->call_since_ms);
    if (since_ms == 0 || rt_now() - (double)since_ms * 1e-3 < group->timeout_s + 0.5) return;
    const rt_status ignored = nccl_timed_out(group);
    (void)ignored;
}

static bool is_nccl_back(const nccl_group *group) {
    return atomic_load(&group->is_asker_done) && atomic_load(&group->call_since_ms) == 0;
}

/* Whatever becomes of what is said meanwhile. */
static void *leave_soon(void *context) {
    (void)context;
    nap(PATIENCE_S * 1000);
    _exit(EXIT_RANK_LOST);
}

/* What is on disk is as after a kill. Nothing is freed: that may wait for the GPU, too. Nor is it waited for long that
 * somebody reads what is said: a pipe may be full, or another thread wait for one. */
_Noreturn static void leave_behind(nccl_group *group) {
    const par_comm *comm = &group->comm;
    char why[NCCL_WHY_BYTES];
    pthread_t leaver;
    (void)pthread_create(&leaver, NULL, leave_soon, NULL); /* without one, as long as it takes */
    copy_why(group, why);
    rt_log(RT_LOG_ERROR, "nccl",
            "rank %" PRId32 " on %s, step %" PRId64
            " (%s): NCCL has not come back for %g s, and its GPU may wait "
            "for ever: the process ends, because %s",
            comm->rank, comm->hosts[comm->rank], atomic_load(&group->step),
            atomic_load(&group->step_name), group->leave_s, why);
    _exit(EXIT_RANK_LOST);
}

/* By naps, and not by the clock, which goes on where the process does not. */
static void wait_for_nccl(nccl_group *group) {
    double left_s = group->leave_s;
    while (!is_nccl_back(group)) {
        if (left_s <= 0.0) leave_behind(group);
        nap(NAP_MS);
        left_s = atomic_load(&group->comm.is_idle) ? group->leave_s : left_s - NAP_MS * 1e-3;
    }
}

static void *watch(void *context) {
    nccl_group *group = context;
    while (goes_on(group)) {
        if (!is_lost(group)) look_at_call(group);
        sleep_until_woken(group);
    }
    if (atomic_load(&group->is_over)) wait_for_nccl(group);
    return NULL;
}

/* ---- begin and end --------------------------------------------------------------------------- */

static rt_status start(
        nccl_group *group, void *(*work)(void *), pthread_t *thread, bool *is_there) {
    RT_TRY(rt_thread_start(thread, work, group, "parallel: no thread to watch NCCL"));
    *is_there = true;
    return RT_OK;
}

rt_status nccl_watch_start(nccl_group *group) {
    RT_TRY(start(group, ask, &group->asker, &group->has_asker));
    return start(group, watch, &group->watcher, &group->has_watcher);
}

static void let_go(bool is_there, pthread_t thread, bool is_done) {
    if (!is_there) return;
    if (is_done)
        (void)pthread_join(thread, NULL);
    else
        (void)pthread_detach(thread);
}

bool nccl_watch_stop(nccl_group *group) {
    if (!group->has_asker) return true;
    (void)pthread_mutex_lock(&group->why_lock);
    atomic_store(&group->is_closing, true);
    (void)pthread_cond_broadcast(&group->wake);
    (void)pthread_mutex_unlock(&group->why_lock);
    const double deadline = rt_now() + 2 * PATIENCE_S;
    while (!is_nccl_back(group) && rt_now() < deadline) nap(1);
    const bool is_back = is_nccl_back(group);
    let_go(group->has_asker, group->asker, is_back);
    let_go(group->has_watcher, group->watcher, is_back);
    return is_back;
}
