/* What plays libnccl.so.2 in tests without a GPU: ranks are processes of one machine, and what they sum and gather goes
 * through shared memory that the unique id names, in the order of the streams of standin_cuda.cpp, so also inside a
 * graph. Sums begin with another rank in each block of numbers: an order of their own, the same on all ranks, as
 * NCCL's is. A rank that does not come is waited for until ncclCommAbort, as NCCL's kernels do.
 *
 * From the environment, for the rank that STANDIN_NCCL_FAIL_RANK names, or all: STANDIN_NCCL_FAIL_AT=N, the N-th call
 * fails: 0 is ncclGetUniqueId, 1 ncclCommInitRankConfig, then those that are queued, ncclCommFinalize last;
 * STANDIN_NCCL_BREAK_AT=N, the N-th is taken, never ends, and is told of by ncclCommGetAsyncError;
 * STANDIN_NCCL_KILL_AT=N, in the N-th meeting of the ranks, from 1, the process dies.
 *
 * What a program must not do ends the process with exit code 3. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <vector>

#include "parallel/comm_nccl_library.h"
#include "standin_cuda.h"

namespace {

enum { RANKS_MAX = 8, BLOCK = 64 };
const size_t SLOT_BYTES = 1 << 18;

struct seat {
    std::atomic<int64_t> arrived; /* its slot is written, for this meeting and all before */
    std::atomic<int64_t> left;    /* the others' slots are read */
    int64_t kind, count;          /* what it came for */
    alignas(64) char slot[SLOT_BYTES];
};

struct room {
    std::atomic<int32_t> n_joined;
    seat seats[RANKS_MAX];
};

} // namespace

struct ncclComm {
    room *shared;
    int n_ranks;
    int rank;
    int64_t n_meetings;
    nccl_id id;
    std::atomic<bool> is_aborted, is_broken, is_finalized;
    std::atomic<int> n_inside;
};

namespace {

[[noreturn]] void found(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "standin_nccl: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    _Exit(STANDIN_EXIT_FOUND);
}

int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : -1;
}

int n_calls; /* of this communicator before this one, ncclGetUniqueId not counted */

bool is_at(const char *name, int64_t place, int rank) {
    const int which = number("STANDIN_NCCL_FAIL_RANK");
    return place == number(name) && (which < 0 || which == rank);
}

/* A call that can fail is made. */
bool fails(const ncclComm *comm) {
    n_calls++;
    return is_at("STANDIN_NCCL_FAIL_AT", n_calls, comm->rank);
}

/* ---- meetings -------------------------------------------------------------------------------- */

void nap(int64_t tries) {
    const struct timespec time = {0, 50000};
    if (tries < 50)
        (void)sched_yield();
    else
        (void)nanosleep(&time, NULL);
}

/* False: aborted. */
bool wait_for_all(const ncclComm *comm, std::atomic<int64_t> seat::*what, int64_t meeting) {
    for (int r = 0; r < comm->n_ranks; r++)
        for (int64_t tries = 0; (comm->shared->seats[r].*what).load() < meeting; tries++) {
            if (comm->is_aborted.load()) return false;
            nap(tries);
        }
    return true;
}

/* All write `bytes`, then read(every slot). */
template <typename READ>
bool meet(ncclComm *comm, int64_t kind, const void *mine, size_t bytes, READ read) {
    room *shared = comm->shared;
    seat *own = &shared->seats[comm->rank];
    const int64_t meeting = ++comm->n_meetings;
    if (is_at("STANDIN_NCCL_KILL_AT", meeting, comm->rank)) (void)raise(SIGKILL);
    if (!wait_for_all(comm, &seat::left, meeting - 1)) return false;
    own->kind = kind;
    own->count = (int64_t)bytes;
    memcpy(own->slot, mine, bytes);
    own->arrived.store(meeting);
    if (!wait_for_all(comm, &seat::arrived, meeting)) return false;
    for (int r = 0; r < comm->n_ranks; r++)
        if (shared->seats[r].kind != kind || shared->seats[r].count != (int64_t)bytes)
            found("rank %d comes for %lld bytes of kind %lld, rank %d for %lld of %lld", comm->rank,
                    (long long)bytes, (long long)kind, r, (long long)shared->seats[r].count,
                    (long long)shared->seats[r].kind);
    read();
    own->left.store(meeting);
    return true;
}

struct work {
    ncclComm *comm;
    const char *from;
    char *to;
    size_t count;
};

const float *numbers_of(const ncclComm *comm, int rank) {
    return (const float *)comm->shared->seats[rank].slot;
}

void sum(void *context) {
    const work *w = (const work *)context;
    ncclComm *comm = w->comm;
    const size_t step = SLOT_BYTES / sizeof(float);
    for (size_t at = 0; at < w->count; at += step) {
        const size_t n = w->count - at < step ? w->count - at : step;
        float *to = (float *)w->to + at;
        const bool is_over = !meet(comm, 1, (const float *)w->from + at, n * sizeof(float), [&] {
            for (size_t i = 0; i < n; i++) {
                const int first = (int)(i / BLOCK % (size_t)comm->n_ranks);
                float total = numbers_of(comm, first)[i];
                for (int k = 1; k < comm->n_ranks; k++)
                    total += numbers_of(comm, (first + k) % comm->n_ranks)[i];
                to[i] = total;
            }
        });
        if (is_over) return;
    }
}

void gather(void *context) {
    const work *w = (const work *)context;
    ncclComm *comm = w->comm;
    for (size_t at = 0; at < w->count; at += SLOT_BYTES) {
        const size_t n = w->count - at < SLOT_BYTES ? w->count - at : SLOT_BYTES;
        const bool is_over = !meet(comm, 2, w->from + at, n, [&] {
            for (int r = 0; r < comm->n_ranks; r++)
                memcpy(w->to + (size_t)r * w->count + at, comm->shared->seats[r].slot, n);
        });
        if (is_over) return;
    }
}

/* Never ends by itself. */
void hang(void *context) {
    const work *w = (const work *)context;
    for (int64_t tries = 0; !w->comm->is_aborted.load(); tries++) nap(tries);
}

void run(void *context, void (*what)(void *context)) {
    ncclComm *comm = ((const work *)context)->comm;
    comm->n_inside++;
    if (!comm->is_aborted.load()) what(context);
    comm->n_inside--;
}
void run_sum(void *context) {
    run(context, sum);
}
void run_gather(void *context) {
    run(context, gather);
}
void run_hang(void *context) {
    run(context, hang);
}

nccl_result queue(
        const char *what, const work &one, void (*how)(void *context), nccl_stream stream) {
    if (!one.comm || one.comm->is_finalized) found("%s without a communicator", what);
    if (one.comm->is_aborted) found("%s after ncclCommAbort", what);
    if (fails(one.comm)) return NCCL_SYSTEM_ERROR;
    if (is_at("STANDIN_NCCL_BREAK_AT", n_calls, one.comm->rank)) one.comm->is_broken = true;
    work *copy = (work *)malloc(sizeof *copy);
    if (!copy) return NCCL_SYSTEM_ERROR;
    *copy = one;
    return standin_cuda_queue_meeting(stream, what, one.comm->is_broken ? run_hang : how, copy)
                   ? NCCL_SUCCESS
                   : NCCL_CUDA_ERROR;
}

void require_device(const void *at, size_t bytes, const char *what) {
    if (!standin_cuda_is_on_device(at, (int64_t)bytes)) found("%s: not memory of the device", what);
}

room *enter(const nccl_id *id) {
    const int fd = shm_open(id->bytes, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(room)) != 0) return NULL;
    void *at = mmap(NULL, sizeof(room), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    return at == MAP_FAILED ? NULL : (room *)at;
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

nccl_result ncclCommGetAsyncError(nccl_comm comm, nccl_result *error) {
    *error = comm->is_broken                          ? NCCL_REMOTE_ERROR
             : comm->shared->n_joined < comm->n_ranks ? NCCL_IN_PROGRESS
                                                      : NCCL_SUCCESS;
    return NCCL_SUCCESS;
}

nccl_result ncclCommFinalize(nccl_comm comm) {
    if (fails(comm)) return NCCL_SYSTEM_ERROR;
    comm->is_finalized = true;
    return NCCL_SUCCESS;
}

nccl_result ncclCommDestroy(nccl_comm comm) {
    if (!comm->is_finalized || comm->n_inside > 0) found("ncclCommDestroy while it is used");
    (void)munmap(comm->shared, sizeof(room));
    delete comm;
    return NCCL_SUCCESS;
}

/* What is queued may still ask it: it is not freed. */
nccl_result ncclCommAbort(nccl_comm comm) {
    static auto *aborted = new std::vector<ncclComm *>; /* reachable: no leak */
    comm->is_aborted = true;
    for (int64_t tries = 0; comm->n_inside > 0; tries++) nap(tries);
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
    if (type != NCCL_FLOAT32 || op != NCCL_SUM) found("an ncclAllReduce that is not played");
    require_device(from, count * sizeof(float), "ncclAllReduce");
    require_device(to, count * sizeof(float), "ncclAllReduce");
    return queue("ncclAllReduce", {comm, (const char *)from, (char *)to, count}, run_sum, stream);
}

nccl_result ncclAllGather(const void *from, void *to, size_t count, nccl_type type, nccl_comm comm,
        nccl_stream stream) {
    if (type != NCCL_INT8) found("an ncclAllGather that is not played");
    require_device(from, count, "ncclAllGather");
    require_device(to, count * (size_t)comm->n_ranks, "ncclAllGather");
    return queue(
            "ncclAllGather", {comm, (const char *)from, (char *)to, count}, run_gather, stream);
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
