/* The end of a group of devices: a thread that finds it, and aborts NCCL, because only ncclCommAbort
 * makes kernels return that wait for a dead peer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "comm_nccl_group.h"
#include "runtime/base/log.h"

enum { WATCH_MS = 100, PATIENCE_S = 1 };

/* ---- the end --------------------------------------------------------------------------------- */

void nccl_end(nccl_group *group, const char *why) {
    (void)pthread_mutex_lock(&group->why_lock);
    if (!atomic_load(&group->is_over)) {
        (void)snprintf(group->why, sizeof group->why, "%s", why);
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

/* ---- the watcher ----------------------------------------------------------------------------- */

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

/* A call that does not come back. */
static void look_at_call(nccl_group *group) {
    const int64_t since_ms = atomic_load(&group->call_since_ms);
    if (since_ms == 0 || rt_now() - (double)since_ms * 1e-3 < group->timeout_s + 0.5) return;
    const rt_status ignored = nccl_timed_out(group);
    (void)ignored;
}

static void look(nccl_group *group) {
    if (group->control->check(group->control) != RT_OK)
        nccl_end(group, rt_error_text());
    else
        ask_nccl(group);
    look_at_call(group);
}

/* By our own clock: pthread_mutex_timedlock goes by the one that may be set. */
static bool lock_in_time(nccl_group *group) {
    static const struct timespec a_while = {.tv_nsec = 10000000};
    const double deadline = rt_now() + PATIENCE_S;
    while (pthread_mutex_trylock(&group->lock) != 0) {
        if (rt_now() >= deadline) return false;
        (void)nanosleep(&a_while, NULL);
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

static void sleep_until_woken(nccl_group *group) {
    const struct timespec deadline = from_now(WATCH_MS);
    (void)pthread_mutex_lock(&group->why_lock);
    if (!atomic_load(&group->is_over) && !atomic_load(&group->is_closing))
        (void)pthread_cond_timedwait(&group->wake, &group->why_lock, &deadline);
    (void)pthread_mutex_unlock(&group->why_lock);
}

static void *watch(void *context) {
    nccl_group *group = context;
    while (!atomic_load(&group->is_over) && !atomic_load(&group->is_closing)) {
        look(group);
        sleep_until_woken(group);
    }
    if (atomic_load(&group->is_over)) {
        char why[NCCL_WHY_BYTES];
        copy_why(group, why);
        group->control->abort(group->control, why);
        abort_nccl(group);
    }
    atomic_store(&group->is_watcher_done, true);
    return NULL;
}

rt_status nccl_watch_start(nccl_group *group) {
    const int error = pthread_create(&group->watcher, NULL, watch, group);
    if (error) return rt_fail(RT_ENOMEM, "parallel: no thread to watch NCCL: error %d", error);
    group->has_watcher = true;
    return RT_OK;
}

bool nccl_watch_stop(nccl_group *group) {
    if (!group->has_watcher) return true;
    (void)pthread_mutex_lock(&group->why_lock);
    atomic_store(&group->is_closing, true);
    (void)pthread_cond_broadcast(&group->wake);
    (void)pthread_mutex_unlock(&group->why_lock);
    const double deadline = rt_now() + 2 * PATIENCE_S;
    while (!atomic_load(&group->is_watcher_done) && rt_now() < deadline)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    const bool is_done = atomic_load(&group->is_watcher_done);
    if (is_done)
        (void)pthread_join(group->watcher, NULL);
    else
        (void)pthread_detach(group->watcher);
    return is_done;
}
