/* What plays libnccl.so.2 in tests without a GPU: ranks are processes of one machine, and what they sum and gather goes
 * through shared memory that the unique id names, in the order of the streams of standin_cuda.cpp, so also inside a
 * graph. Sums begin with another rank in each block of numbers: an order of their own, the same on all ranks, as
 * NCCL's is. A rank that does not come is waited for until ncclCommAbort, as NCCL's kernels do.
 *
 * A call is taken, and does something, queues a sum for one, when ncclCommGetAsyncError has been asked until it says so:
 * what is called or queued before is wrong. A communicator ends after the graphs that have its sums: ncclCommFinalize
 * would wait for them for ever, and ncclCommAbort does.
 *
 * From the environment, for the rank that STANDIN_NCCL_FAIL_RANK names, or all: STANDIN_NCCL_FAIL_AT=N, the N-th call
 * fails: 0 is ncclGetUniqueId, 1 ncclCommInitRankConfig, then those that are queued, ncclCommFinalize last;
 * STANDIN_NCCL_BREAK_AT=N, the N-th is taken, never ends, and is told of by ncclCommGetAsyncError;
 * STANDIN_NCCL_KILL_AT=N, in the N-th meeting of the ranks, from 1, the process dies. STANDIN_NCCL_ABORT_HANGS=1, on
 * all: ncclCommAbort never returns, and nothing of what is queued does.
 *
 * What a program must not do ends the process with exit code 3. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <vector>

#include "standin_cuda.h"
#include "standin_nccl_room.h"

using namespace standin_nccl;

namespace {

int n_calls; /* of this communicator before this one, ncclGetUniqueId not counted */

/* A call that can fail is made. */
bool fails(const ncclComm *comm) {
    n_calls++;
    return is_at("STANDIN_NCCL_FAIL_AT", n_calls, comm->rank);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* A call of this communicator, by a thread whose device is the right one, when the last one is done. */
void begin(const char *what, const ncclComm *comm) {
    standin_cuda_begin_call(what);
    if (!comm || comm->is_finalized) found("%s without a communicator", what);
    if (comm->is_aborted) found("%s after ncclCommAbort", what);
    if (comm->now.what) found("%s while %s is in progress", what, comm->now.what);
}

nccl_result go_on(ncclComm *comm, const char *what, std::function<bool()> work) {
    comm->now = {what, work, 0};
    return NCCL_IN_PROGRESS;
}

/* Asked for the second time, the work is begun. */
nccl_result progress_of(ncclComm *comm) {
    if (!comm->now.what) return NCCL_SUCCESS;
    if (comm->now.n_asked++ == 0) return NCCL_IN_PROGRESS;
    const bool is_begun = comm->now.work();
    comm->now = {};
    return is_begun ? NCCL_SUCCESS : NCCL_CUDA_ERROR;
}

nccl_result queue(
        const char *what, const work &one, void (*how)(void *context), nccl_stream stream) {
    ncclComm *comm = one.comm;
    if (fails(comm)) return NCCL_SYSTEM_ERROR;
    if (is_at("STANDIN_NCCL_BREAK_AT", n_calls, comm->rank)) comm->is_broken = true;
    if (comm->is_broken) how = run_hang;
    const auto begin_work = [=] {
        work *copy = (work *)malloc(sizeof *copy);
        if (!copy) return false;
        *copy = one;
        copy->is_captured = standin_cuda_is_capturing(stream);
        comm->n_captured += copy->is_captured;
        return standin_cuda_queue_meeting(stream, {what, how, copy, drop});
    };
    if (!comm->is_broken) return go_on(comm, what, begin_work);
    (void)begin_work();
    return NCCL_IN_PROGRESS;
}

/* In place means: where the result has it. */
void require_apart(const char *what, const void *from, size_t from_bytes, const void *to,
        size_t to_bytes, size_t place) {
    const uintptr_t x = (uintptr_t)from, y = (uintptr_t)to;
    if (x < y + to_bytes && y < x + from_bytes && x != y + place)
        found("%s from and to memory that overlaps", what);
}

void require_device(const void *at, size_t bytes, const char *what) {
    if (!standin_cuda_is_on_device(at, (int64_t)bytes)) found("%s: not memory of the device", what);
}

} // namespace

/* ---- NCCL ------------------------------------------------------------------------------------ */

extern "C" {

nccl_result ncclGetVersion(int *version) {
    *version = 22809;
    return NCCL_SUCCESS;
}

nccl_result ncclGetUniqueId(nccl_id *id) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    memset(id->bytes, 0, sizeof id->bytes);
    snprintf(id->bytes, sizeof id->bytes, "/glm1m-nccl-%d-%lld", (int)getpid(),
            (long long)now.tv_sec * 1000000000 + now.tv_nsec);
    return is_at("STANDIN_NCCL_FAIL_AT", 0, 0) ? NCCL_SYSTEM_ERROR : NCCL_SUCCESS;
}

nccl_result ncclCommInitRankConfig(
        nccl_comm *out, int n_ranks, nccl_id id, int rank, nccl_config *config) {
    standin_cuda_begin_call("ncclCommInitRankConfig");
    if (config->size < sizeof *config || config->magic != NCCL_CONFIG_MAGIC ||
            config->version < NCCL_VERSION_MIN)
        found("a configuration that was not initialised");
    if (config->blocking) found("a communicator that blocks");
    if (n_ranks > RANKS_MAX || rank >= n_ranks) return NCCL_INVALID_ARGUMENT;
    ncclComm *comm = new ncclComm();
    comm->n_ranks = n_ranks;
    comm->rank = rank;
    comm->id = id;
    n_calls = 0;
    if (!fails(comm)) comm->shared = enter(&id);
    if (!comm->shared) {
        delete comm;
        return NCCL_SYSTEM_ERROR;
    }
    if (++comm->shared->n_joined == n_ranks) (void)shm_unlink(id.bytes);
    __atomic_store_n(out, comm, __ATOMIC_RELEASE);
    return NCCL_IN_PROGRESS;
}

/* From any thread. */
nccl_result ncclCommGetAsyncError(nccl_comm comm, nccl_result *error) {
    if (comm->is_aborted) found("ncclCommGetAsyncError after ncclCommAbort");
    *error = comm->is_broken                          ? NCCL_REMOTE_ERROR
             : comm->shared->n_joined < comm->n_ranks ? NCCL_IN_PROGRESS
                                                      : progress_of(comm);
    return NCCL_SUCCESS;
}

nccl_result ncclCommFinalize(nccl_comm comm) {
    begin("ncclCommFinalize", comm);
    if (fails(comm)) return NCCL_SYSTEM_ERROR;
    if (comm->n_captured > 0) found("ncclCommFinalize while graphs have what was called");
    return go_on(comm, "ncclCommFinalize", [=] { return comm->is_finalized = true; });
}

nccl_result ncclCommDestroy(nccl_comm comm) {
    standin_cuda_begin_call("ncclCommDestroy");
    if (!comm->is_finalized || comm->n_inside > 0) found("ncclCommDestroy while it is used");
    (void)munmap(comm->shared, sizeof(room));
    delete comm;
    return NCCL_SUCCESS;
}

/* From any thread. What is queued may still ask it: it is not freed. */
nccl_result ncclCommAbort(nccl_comm comm) {
    static auto *aborted = new std::vector<ncclComm *>; /* reachable: no leak */
    if (getenv("STANDIN_NCCL_ABORT_HANGS")) {
        for (int64_t tries = 0;; tries++) nap(tries);
    }
    comm->is_aborted = true;
    for (int64_t tries = 0; comm->n_inside > 0 || comm->n_captured > 0; tries++) nap(tries);
    (void)shm_unlink(comm->id.bytes); /* where not all have come */
    aborted->push_back(comm);
    return NCCL_SUCCESS;
}

const char *ncclGetErrorString(nccl_result result) {
    return result == NCCL_REMOTE_ERROR ? "remote process exited or there was a network error"
                                       : "unhandled system error";
}

const char *ncclGetLastError(nccl_comm) {
    return "as the environment said";
}

nccl_result ncclAllReduce(const void *from, void *to, size_t count, nccl_type type, nccl_op op,
        nccl_comm comm, nccl_stream stream) {
    const size_t bytes = count * sizeof(float);
    begin("ncclAllReduce", comm);
    if (type != NCCL_FLOAT32 || op != NCCL_SUM) found("an ncclAllReduce that is not played");
    require_device(from, bytes, "ncclAllReduce");
    require_device(to, bytes, "ncclAllReduce");
    require_apart("ncclAllReduce", from, bytes, to, bytes, 0);
    return queue(
            "ncclAllReduce", {comm, (const char *)from, (char *)to, count, false}, run_sum, stream);
}

nccl_result ncclAllGather(const void *from, void *to, size_t count, nccl_type type, nccl_comm comm,
        nccl_stream stream) {
    begin("ncclAllGather", comm);
    const size_t bytes = count * (size_t)comm->n_ranks;
    if (type != NCCL_INT8) found("an ncclAllGather that is not played");
    require_device(from, count, "ncclAllGather");
    require_device(to, bytes, "ncclAllGather");
    require_apart("ncclAllGather", from, count, to, bytes, (size_t)comm->rank * count);
    return queue("ncclAllGather", {comm, (const char *)from, (char *)to, count, false}, run_gather,
            stream);
}

nccl_result ncclBroadcast(const void *, void *, size_t, nccl_type, int, nccl_comm, nccl_stream) {
    found("ncclBroadcast is not played");
}
nccl_result ncclSend(const void *, size_t, nccl_type, int, nccl_comm, nccl_stream) {
    found("ncclSend is not played");
}
nccl_result ncclRecv(void *, size_t, nccl_type, int, nccl_comm, nccl_stream) {
    found("ncclRecv is not played");
}

} // extern "C"
