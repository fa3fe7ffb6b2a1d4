/* Device memory, by NCCL, beside a group that carries everything else (comm_local, comm_mpi).
 *
 * NCCL is used without blocking: its calls return NCCL_IN_PROGRESS and are asked after, so that a peer
 * that never comes is a message after timeout_s and not a hang. One thread calls it at a time, under
 * `lock`; beside it two (comm_nccl_watch.c) look for failures.
 *
 *             open           a call, or a watcher,
 *   (nothing) ----> RUNNING  fails; abort()          ----> OVER: NCCL is aborted
 *                      |
 *                      +---- close: finalize, destroy
 *
 * A call that fails ends the group for every rank: control->abort() carries the reason. ncclCommAbort
 * itself may hang. What it uses is then left behind, and the process is about to end: by itself, or, where
 * the GPU does not let it, by comm_nccl_watch.c.
 *
 * Source: NCCL user guide, "Creating a communicator with options", "Error handling and communicator
 * abort", "Thread Safety". */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm_nccl_group.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"

static const double default_timeout_s = 120.0;
static const double default_leave_s = 15.0;

static nccl_group *of(par_comm *comm) {
    return (nccl_group *)(void *)comm;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Until what NCCL has begun is done. Called with the lock held and `handle` set. */
static rt_status finish(nccl_group *group) {
    const double deadline = rt_now() + group->timeout_s;
    int64_t nap_ns = 1000;
    for (;;) {
        nccl_result error = NCCL_SUCCESS;
        const nccl_result asked = group->nccl.CommGetAsyncError(group->handle, &error);
        if (asked != NCCL_SUCCESS) return nccl_failed(group, asked);
        if (error == NCCL_SUCCESS) return RT_OK;
        if (error != NCCL_IN_PROGRESS) return nccl_failed(group, error);
        if (atomic_load(&group->is_over)) return nccl_ended(group);
        if (group->control->check(group->control) != RT_OK) {
            nccl_end(group, rt_error_text());
            return nccl_ended(group);
        }
        if (rt_now() > deadline) return nccl_timed_out(group);
        (void)nanosleep(&(struct timespec){.tv_nsec = nap_ns}, NULL);
        if (nap_ns < 1000000) nap_ns *= 2;
    }
}

/* Take the lock for a call; RT_EPEER, without it, where the group is over. */
static rt_status begin_call(nccl_group *group, const char *name) {
    (void)pthread_mutex_lock(&group->lock);
    if (atomic_load(&group->is_over)) {
        (void)pthread_mutex_unlock(&group->lock);
        return nccl_ended(group);
    }
    atomic_store(&group->step, group->comm.step);
    atomic_store(&group->step_name, group->comm.step_name);
    atomic_store(&group->call_name, name);
    atomic_store(&group->call_since_ms, (int64_t)(rt_now() * 1e3) + 1);
    return RT_OK;
}

/* What became of it, once NCCL has taken it over. */
static rt_status end_call(nccl_group *group, nccl_result result) {
    rt_status status = RT_OK;
    if (result == NCCL_IN_PROGRESS)
        status = finish(group);
    else if (result != NCCL_SUCCESS)
        status = nccl_failed(group, result);
    atomic_store(&group->call_since_ms, 0);
    (void)pthread_mutex_unlock(&group->lock);
    return status;
}

/* ---- data ------------------------------------------------------------------------------------ */

static rt_status begin_data(par_comm *comm, const char *name, int64_t n_bytes) {
    comm->stats.n_calls++;
    comm->stats.n_bytes += n_bytes;
    return begin_call(of(comm), name);
}

static rt_status all_reduce(par_comm *comm, float *data, int64_t n, void *stream) {
    nccl_group *group = of(comm);
    RT_TRY(begin_data(comm, "ncclAllReduce", n * (int64_t)sizeof *data));
    return end_call(group, group->nccl.AllReduce(data, data, (size_t)n, NCCL_FLOAT32, NCCL_SUM,
                                   group->handle, stream));
}

static rt_status all_gather(
        par_comm *comm, const void *mine, int64_t n_bytes, void *all, void *stream) {
    nccl_group *group = of(comm);
    RT_TRY(begin_data(comm, "ncclAllGather", n_bytes));
    return end_call(group,
            group->nccl.AllGather(mine, all, (size_t)n_bytes, NCCL_INT8, group->handle, stream));
}

static rt_status broadcast(
        par_comm *comm, void *data, int64_t n_bytes, int32_t root, void *stream) {
    nccl_group *group = of(comm);
    RT_TRY(begin_data(comm, "ncclBroadcast", n_bytes));
    return end_call(group, group->nccl.Broadcast(data, data, (size_t)n_bytes, NCCL_INT8, root,
                                   group->handle, stream));
}

static rt_status send_to(
        par_comm *comm, const void *data, int64_t n_bytes, int32_t to, void *stream) {
    nccl_group *group = of(comm);
    RT_TRY(begin_data(comm, "ncclSend", n_bytes));
    return end_call(
            group, group->nccl.Send(data, (size_t)n_bytes, NCCL_INT8, to, group->handle, stream));
}

static rt_status recv_from(
        par_comm *comm, void *data, int64_t n_bytes, int32_t from, void *stream) {
    nccl_group *group = of(comm);
    RT_TRY(begin_data(comm, "ncclRecv", n_bytes));
    return end_call(
            group, group->nccl.Recv(data, (size_t)n_bytes, NCCL_INT8, from, group->handle, stream));
}

/* ---- control --------------------------------------------------------------------------------- */

/* What the other group knows of the step, for its messages. */
static par_comm *control_of(par_comm *comm) {
    par_comm *control = of(comm)->control;
    control->step = comm->step;
    control->step_name = comm->step_name;
    return control;
}

static rt_status tell(par_comm *comm, void *bytes, int64_t n_bytes) {
    if (atomic_load(&of(comm)->is_over)) return nccl_ended(of(comm));
    par_comm *control = control_of(comm);
    return control->tell(control, bytes, n_bytes);
}

static rt_status share(par_comm *comm, const void *mine, int64_t n_bytes, void *all) {
    if (atomic_load(&of(comm)->is_over)) return nccl_ended(of(comm));
    par_comm *control = control_of(comm);
    return control->share(control, mine, n_bytes, all);
}

static rt_status barrier(par_comm *comm) {
    if (atomic_load(&of(comm)->is_over)) return nccl_ended(of(comm));
    par_comm *control = control_of(comm);
    return control->barrier(control);
}

static rt_status check(par_comm *comm) {
    return atomic_load(&of(comm)->is_over) ? nccl_ended(of(comm)) : RT_OK;
}

static void abort_group(par_comm *comm, const char *why) {
    nccl_end(of(comm), why);
}

/* ---- open and close -------------------------------------------------------------------------- */

/* What was queued is flushed, and NCCL let go of. */
static void finalize(nccl_group *group) {
    if (begin_call(group, "ncclCommFinalize") != RT_OK) return;
    if (end_call(group, group->nccl.CommFinalize(group->handle)) != RT_OK) return;
    (void)pthread_mutex_lock(&group->lock);
    if (group->handle) (void)group->nccl.CommDestroy(group->handle);
    group->handle = NULL;
    (void)pthread_mutex_unlock(&group->lock);
}

static void release(nccl_group *group) {
    (void)pthread_mutex_destroy(&group->lock);
    (void)pthread_mutex_destroy(&group->why_lock);
    (void)pthread_cond_destroy(&group->wake);
    free(group);
}

/* What watchers that hang still use: reachable, so that it is not taken for a leak. */
static nccl_group *volatile left_behind;

static void close_group(par_comm *comm) {
    nccl_group *group = of(comm);
    atomic_store(&comm->is_idle, false);
    finalize(group);
    if (!nccl_watch_stop(group)) {
        left_behind = group;
        return;
    }
    group->control->close(group->control);
    release(group);
}

/* The same library on every rank: builds of one version have differed in whether they hang. */
static rt_status compare_libraries(const nccl_group *group) {
    par_comm *control = group->control;
    char names[PAR_RANKS_MAX][PAR_NAME_BYTES];
    const par_comm *comm = &group->comm;
    RT_TRY(control->share(control, comm->library, PAR_NAME_BYTES, names));
    for (int32_t r = 1; r < control->n_ranks; r++)
        if (strncmp(names[r], names[0], PAR_NAME_BYTES) != 0)
            return rt_fail(RT_EPEER,
                    "parallel: rank %" PRId32 " on %s has %.63s, rank 0 on %s %.63s", r,
                    control->hosts[r], names[r], control->hosts[0], names[0]);
    return RT_OK;
}

static rt_status make_id(const nccl_group *group, nccl_id *id) {
    const nccl_result result = group->nccl.GetUniqueId(id);
    if (result == NCCL_SUCCESS) return RT_OK;
    const char *last = group->nccl.GetLastError(NULL);
    return rt_fail(RT_EPEER, "parallel: ncclGetUniqueId: %s: %s",
            group->nccl.GetErrorString(result), last ? last : "");
}

static rt_status connect(nccl_group *group) {
    par_comm *control = group->control;
    nccl_id id = {{0}};
    nccl_config config = {.size = sizeof config,
            .magic = NCCL_CONFIG_MAGIC,
            .version = NCCL_CONFIG_VERSION,
            .blocking = 0};
    RT_TRY(compare_libraries(group));
    RT_TRY(par_agree(control, control->rank == 0 ? make_id(group, &id) : RT_OK, NULL));
    RT_TRY(control->tell(control, &id, sizeof id));
    RT_TRY(begin_call(group, "ncclCommInitRankConfig"));
    return end_call(group, group->nccl.CommInitRankConfig(
                                   &group->handle, control->n_ranks, id, control->rank, &config));
}

static void fill(nccl_group *group, par_comm *control) {
    par_comm *comm = &group->comm;
    *comm = *control;
    comm->transport = "nccl";
    comm->memory = PAR_DEVICE;
    comm->stats = (par_stats){0};
    (void)snprintf(comm->library, sizeof comm->library, "%s", group->nccl.name);
    comm->all_reduce = all_reduce;
    comm->all_gather = all_gather;
    comm->broadcast = broadcast;
    comm->send = send_to;
    comm->recv = recv_from;
    comm->tell = tell;
    comm->share = share;
    comm->barrier = barrier;
    comm->check = check;
    comm->abort = abort_group;
    comm->close = close_group;
    group->control = control;
    atomic_store(&group->step_name, control->step_name);
    (void)pthread_mutex_init(&group->lock, NULL);
    (void)pthread_mutex_init(&group->why_lock, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&group->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

/* All of NCCL that was begun is aborted; `control` stays the caller's. */
static rt_status open_failed(nccl_group *group, rt_status status) {
    char why[NCCL_WHY_BYTES];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    nccl_end(group, why);
    if (nccl_watch_stop(group))
        release(group);
    else
        left_behind = group;
    return rt_fail(status, "%s", why);
}

rt_status par_comm_nccl_open(par_comm *control, const par_nccl_options *options, par_comm **out) {
    nccl_group *group = NULL;
    RT_TRY(rt_calloc(1, sizeof *group, "a group of devices", &group));
    rt_status status = nccl_library_open(options ? options->path : NULL, &group->nccl);
    group->timeout_s = options && options->timeout_s > 0.0 ? options->timeout_s : default_timeout_s;
    group->leave_s = options && options->leave_s > 0.0 ? options->leave_s : default_leave_s;
    status = par_agree(control, status, NULL);
    if (status != RT_OK) {
        free(group);
        return status;
    }
    fill(group, control);
    status = nccl_watch_start(group);
    if (status == RT_OK) status = connect(group);
    if (status != RT_OK) return open_failed(group, status);
    *out = &group->comm;
    return RT_OK;
}

rt_status par_nccl_describe(char *text, int64_t text_bytes) {
    nccl_library nccl;
    RT_TRY(nccl_library_open(NULL, &nccl));
    (void)snprintf(text, (size_t)text_bytes, "%s", nccl.name);
    return RT_OK;
}
