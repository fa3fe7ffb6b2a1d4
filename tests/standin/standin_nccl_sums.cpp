/* Where ranks meet: memory that they share, and what they sum and gather through it. */
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

#include "standin_cuda.h"
#include "standin_nccl_room.h"

namespace standin_nccl {

[[noreturn]] void found(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "standin_nccl: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    _Exit(STANDIN_EXIT_FOUND);
}

static int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : -1;
}

bool is_at(const char *name, int64_t place, int rank) {
    const int which = number("STANDIN_NCCL_FAIL_RANK");
    return place == number(name) && (which < 0 || which == rank);
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
static bool wait_for_all(const ncclComm *comm, std::atomic<int64_t> seat::*what, int64_t meeting) {
    for (int r = 0; r < comm->n_ranks; r++)
        for (int64_t tries = 0; (comm->shared->seats[r].*what).load() < meeting; tries++) {
            if (comm->is_aborted.load()) return false;
            nap(tries);
        }
    return true;
}

/* All write `bytes`, then read(every slot). */
template <typename READ>
static bool meet(ncclComm *comm, int64_t kind, const void *mine, size_t bytes, READ read) {
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

static const float *numbers_of(const ncclComm *comm, int rank) {
    return (const float *)comm->shared->seats[rank].slot;
}

static void sum(void *context) {
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

static void gather(void *context) {
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
static void hang(void *context) {
    const work *w = (const work *)context;
    for (int64_t tries = 0; !w->comm->is_aborted.load(); tries++) nap(tries);
}

static void run(void *context, void (*what)(void *context)) {
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

void drop(void *context) {
    const work *w = (const work *)context;
    if (w->is_captured) w->comm->n_captured--;
    free(context);
}

room *enter(const nccl_id *id) {
    const int fd = shm_open(id->bytes, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(room)) != 0) return NULL;
    void *at = mmap(NULL, sizeof(room), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    return at == MAP_FAILED ? NULL : (room *)at;
}

} // namespace standin_nccl
