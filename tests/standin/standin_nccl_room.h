/* What standin_nccl.cpp, which is called, and standin_nccl_sums.cpp, where ranks meet, share. */
#ifndef STANDIN_NCCL_ROOM_H
#define STANDIN_NCCL_ROOM_H

#include <atomic>
#include <functional>

#include "parallel/comm_nccl_library.h"

namespace standin_nccl {

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

/* What has been called, and is in progress. */
struct called {
    const char *what;
    std::function<bool()> work; /* false: it failed */
    int n_asked;
};

} // namespace standin_nccl

struct ncclComm {
    standin_nccl::room *shared;
    int n_ranks;
    int rank;
    int64_t n_meetings;
    nccl_id id;
    standin_nccl::called now; /* `what` NULL: nothing is */
    std::atomic<bool> is_aborted, is_broken, is_finalized;
    std::atomic<int> n_inside;
    std::atomic<int> n_captured; /* calls of it that graphs have */
};

namespace standin_nccl {

/* A finding: the process ends. */
[[noreturn]] void found(const char *format, ...);
/* Whether the environment names this place, and this rank. */
bool is_at(const char *name, int64_t place, int rank);
void nap(int64_t tries);

/* The room that the id names; NULL: there is no memory. */
room *enter(const nccl_id *id);

/* What a stream is given; its context, which drop() frees. */
struct work {
    ncclComm *comm;
    const char *from;
    char *to;
    size_t count;
    bool is_captured;
};
void run_sum(void *context);
void run_gather(void *context);
void run_hang(void *context); /* until ncclCommAbort */
void drop(void *context);

} // namespace standin_nccl

#endif
