#include "standin_nccl.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

static standin_nccl nccl;

/* The one communicator. */
struct ncclComm {
    _Atomic int is_open;
    _Atomic int is_aborted;
    _Atomic int is_finalized;
    _Atomic int polls_left;
    _Atomic int n_inside; /* threads in a function that one thread at a time may be in */
    pthread_t caller;
};
static struct ncclComm communicator;

standin_nccl *standin_nccl_reset(void) {
    memset(&nccl, 0, sizeof nccl);
    memset(&communicator, 0, sizeof communicator);
    nccl.version = 22809;
    nccl.fail_at = nccl.hang_at = nccl.linger_at = STANDIN_NEVER;
    communicator.caller = pthread_self();
    return &nccl;
}

static void misused(const char *how) {
    atomic_store(&nccl.misuse, how);
}

static void nap(void) {
    (void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

/* Write a call down and do what the script says of it. */
static nccl_result call(standin_call what) {
    const int i = atomic_fetch_add(&nccl.n_calls, 1);
    if (i < STANDIN_CALLS_MAX) nccl.calls[i] = what;
    if (atomic_load(&communicator.polls_left) != 0) misused("a call while another is in progress");
    if (i == nccl.hang_at) {
        while (!atomic_load(&communicator.is_aborted)) nap();
        return NCCL_INTERNAL_ERROR;
    }
    if (i == nccl.fail_at) return nccl.fail_with;
    if (i != nccl.linger_at) return NCCL_SUCCESS;
    atomic_store(&communicator.polls_left, nccl.linger_polls);
    return NCCL_IN_PROGRESS;
}

/* One with a communicator, which must be whole. */
static nccl_result call_with(nccl_comm comm, standin_call what) {
    if (comm != &communicator || !atomic_load(&communicator.is_open))
        misused("a call without a communicator");
    if (atomic_load(&communicator.is_aborted)) misused("a call after ncclCommAbort");
    if (atomic_load(&communicator.is_finalized)) misused("a call after ncclCommFinalize");
    if (atomic_fetch_add(&communicator.n_inside, 1) != 0) misused("two threads at once");
    const nccl_result result = call(what);
    (void)atomic_fetch_sub(&communicator.n_inside, 1);
    return result;
}

#define EXPORT __attribute__((visibility("default")))

EXPORT nccl_result ncclGetVersion(int *version);
EXPORT nccl_result ncclGetVersion(int *version) {
    *version = nccl.version;
    return NCCL_SUCCESS;
}

EXPORT nccl_result ncclGetUniqueId(nccl_id *id);
EXPORT nccl_result ncclGetUniqueId(nccl_id *id) {
    memset(id->bytes, 'u', sizeof id->bytes);
    return call((standin_call){.name = "ncclGetUniqueId"});
}

EXPORT nccl_result ncclCommInitRankConfig(
        nccl_comm *comm, int n_ranks, nccl_id id, int rank, nccl_config *config);
EXPORT nccl_result ncclCommInitRankConfig(
        nccl_comm *comm, int n_ranks, nccl_id id, int rank, nccl_config *config) {
    nccl.n_ranks = n_ranks;
    nccl.rank = rank;
    nccl.id = id;
    nccl.config = *config;
    atomic_store(&communicator.is_open, 1);
    __atomic_store_n(comm, &communicator, __ATOMIC_RELEASE);
    return call((standin_call){.name = "ncclCommInitRankConfig"});
}

EXPORT nccl_result ncclCommGetAsyncError(nccl_comm comm, nccl_result *error);
EXPORT nccl_result ncclCommGetAsyncError(nccl_comm comm, nccl_result *error) {
    if (comm != &communicator || !atomic_load(&communicator.is_open) ||
            atomic_load(&communicator.is_aborted))
        misused("ncclCommGetAsyncError without a communicator");
    if (atomic_fetch_add(&communicator.n_inside, 1) != 0) misused("two threads at once");
    *error = (nccl_result)atomic_load(&nccl.error);
    const int left = atomic_load(&communicator.polls_left);
    if (*error == NCCL_SUCCESS && left != 0) *error = NCCL_IN_PROGRESS;
    if (left > 0) atomic_store(&communicator.polls_left, left - 1);
    (void)atomic_fetch_sub(&communicator.n_inside, 1);
    return NCCL_SUCCESS;
}

EXPORT nccl_result ncclCommFinalize(nccl_comm comm);
EXPORT nccl_result ncclCommFinalize(nccl_comm comm) {
    const nccl_result result = call_with(comm, (standin_call){.name = "ncclCommFinalize"});
    atomic_store(&communicator.is_finalized, 1);
    return result;
}

EXPORT nccl_result ncclCommDestroy(nccl_comm comm);
EXPORT nccl_result ncclCommDestroy(nccl_comm comm) {
    if (comm != &communicator || !atomic_load(&communicator.is_finalized))
        misused("ncclCommDestroy before ncclCommFinalize");
    if (atomic_load(&communicator.polls_left) != 0)
        misused("ncclCommDestroy while ncclCommFinalize is in progress");
    if (atomic_load(&communicator.is_aborted)) misused("ncclCommDestroy after ncclCommAbort");
    atomic_store(&communicator.is_open, 0);
    (void)atomic_fetch_add(&nccl.n_destroyed, 1);
    return NCCL_SUCCESS;
}

EXPORT nccl_result ncclCommAbort(nccl_comm comm);
EXPORT nccl_result ncclCommAbort(nccl_comm comm) {
    if (comm != &communicator || !atomic_load(&communicator.is_open))
        misused("ncclCommAbort without a communicator");
    (void)atomic_fetch_add(&nccl.n_aborts, 1);
    while (atomic_load(&nccl.abort_hangs)) nap();
    atomic_store(&communicator.is_aborted, 1);
    return NCCL_SUCCESS;
}

EXPORT const char *ncclGetErrorString(nccl_result result);
EXPORT const char *ncclGetErrorString(nccl_result result) {
    static const char *const texts[] = {"no error", "unhandled cuda error",
            "unhandled system error", "internal error", "invalid argument", "invalid usage",
            "remote process exited or there was a network error", "operation in progress"};
    return (size_t)result < sizeof texts / sizeof *texts ? texts[result] : "unknown result code";
}

EXPORT const char *ncclGetLastError(nccl_comm comm);
EXPORT const char *ncclGetLastError(nccl_comm comm) {
    (void)comm;
    return "as the script said";
}

EXPORT nccl_result ncclAllReduce(const void *from, void *to, size_t count, nccl_type type,
        nccl_op op, nccl_comm comm, nccl_stream stream);
EXPORT nccl_result ncclAllReduce(const void *from, void *to, size_t count, nccl_type type,
        nccl_op op, nccl_comm comm, nccl_stream stream) {
    if (op != NCCL_SUM) misused("not a sum");
    return call_with(
            comm, (standin_call){"ncclAllReduce", from, to, (int64_t)count, (int)type, 0, stream});
}

EXPORT nccl_result ncclAllGather(const void *from, void *to, size_t count, nccl_type type,
        nccl_comm comm, nccl_stream stream);
EXPORT nccl_result ncclAllGather(const void *from, void *to, size_t count, nccl_type type,
        nccl_comm comm, nccl_stream stream) {
    return call_with(
            comm, (standin_call){"ncclAllGather", from, to, (int64_t)count, (int)type, 0, stream});
}

EXPORT nccl_result ncclBroadcast(const void *from, void *to, size_t count, nccl_type type, int root,
        nccl_comm comm, nccl_stream stream);
EXPORT nccl_result ncclBroadcast(const void *from, void *to, size_t count, nccl_type type, int root,
        nccl_comm comm, nccl_stream stream) {
    return call_with(comm,
            (standin_call){"ncclBroadcast", from, to, (int64_t)count, (int)type, root, stream});
}

EXPORT nccl_result ncclSend(const void *from, size_t count, nccl_type type, int peer,
        nccl_comm comm, nccl_stream stream);
EXPORT nccl_result ncclSend(const void *from, size_t count, nccl_type type, int peer,
        nccl_comm comm, nccl_stream stream) {
    return call_with(
            comm, (standin_call){"ncclSend", from, NULL, (int64_t)count, (int)type, peer, stream});
}

EXPORT nccl_result ncclRecv(
        void *to, size_t count, nccl_type type, int peer, nccl_comm comm, nccl_stream stream);
EXPORT nccl_result ncclRecv(
        void *to, size_t count, nccl_type type, int peer, nccl_comm comm, nccl_stream stream) {
    return call_with(
            comm, (standin_call){"ncclRecv", NULL, to, (int64_t)count, (int)type, peer, stream});
}
