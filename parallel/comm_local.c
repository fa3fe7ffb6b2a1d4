/* Ranks on one machine: shared memory for payload (local_data.c), Unix sockets for what rank 0 tells and
 * for heartbeats (local_beat.c), processes that rank 0 starts (local_launch.c). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xxhash.h>

#include "local.h"
#include "runtime/base/log.h"
#include "runtime/base/machine.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

static const uint64_t told_magic = 0x676c6d31746f6c64; /* "glm1told" */

/* How long to wait for whoever has ended the group to have said why. */
static const double words_s = 1.0;

/* ---- the end of a group ---------------------------------------------------------------------- */

void local_end(local_comm *local, const char *why) {
    uint32_t none = 0;
    if (atomic_compare_exchange_strong(&local->head->ended, &none, 1)) {
        (void)snprintf(local->head->why, sizeof local->head->why, "%s", why);
        atomic_store(&local->head->ended, 2);
    }
    local_wake(local);
    for (int r = 0; r < local->comm.n_ranks; r++)
        if (local->peers[r].control_fd >= 0) (void)shutdown(local->peers[r].control_fd, SHUT_RDWR);
}

/* Why the group is over. Whoever was about to say it may have been killed, or stopped, between two bytes of that. */
static const char *await_words(local_comm *local) {
    local_head *head = local->head;
    const double since = rt_now();
    while (atomic_load(&head->ended) == 1 && rt_now() - since < words_s) (void)usleep(1000);
    atomic_store(&head->ended, 2);
    return head->why[0] ? head->why : "a rank was lost before it could say why it ended the group";
}

rt_status local_ended(local_comm *local) {
    const char *why = await_words(local);
    if (!local->is_over) /* later calls are clean-up: what counts is where it happened */
        (void)snprintf(local->why, sizeof local->why, "%s (at step %" PRId64 ", %s, on rank %d)",
                why, local->comm.step, local->comm.step_name, local->comm.rank);
    local->is_over = true;
    return rt_fail(RT_EPEER, "parallel: %s", local->why);
}

rt_status local_blame(local_comm *local, int rank, const char *what) {
    char who[128];
    char why[768];
    (void)snprintf(
            why, sizeof why, "%s sent what is not due: %s", local_who(local, rank, who), what);
    local_end(local, why);
    return local_ended(local);
}

/* ---- tell ------------------------------------------------------------------------------------ */

static rt_status write_all(local_comm *local, int rank, const void *bytes, int64_t n_bytes) {
    const char *at = bytes;
    char who[128];
    char why[256];
    for (int64_t left = n_bytes; left > 0;) {
        const ssize_t n = send(local->peers[rank].control_fd, at, (size_t)left, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            (void)snprintf(why, sizeof why, "%s is gone", local_who(local, rank, who));
            if (!local_has_ended(local)) (void)usleep(20000); /* the heartbeat knows more */
            local_end(local, why);
            return local_ended(local);
        }
        at += n;
        left -= n;
    }
    return RT_OK;
}

static rt_status read_all(local_comm *local, void *bytes, int64_t n_bytes) {
    char *at = bytes;
    char who[128];
    char why[256];
    for (int64_t left = n_bytes; left > 0;) {
        const ssize_t n = recv(local->peers[0].control_fd, at, (size_t)left, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            (void)snprintf(why, sizeof why, "%s is gone", local_who(local, 0, who));
            if (!local_has_ended(local)) (void)usleep(20000);
            local_end(local, why);
            return local_ended(local);
        }
        at += n;
        left -= n;
    }
    return RT_OK;
}

static rt_status tell_all(local_comm *local, const void *bytes, int64_t n_bytes) {
    const local_told header = {.magic = told_magic,
            .serial = ++local->told,
            .n_bytes = n_bytes,
            .hash = XXH3_64bits(bytes, (size_t)n_bytes)};
    for (int r = 1; r < local->comm.n_ranks; r++) {
        RT_TRY(write_all(local, r, &header, sizeof header));
        RT_TRY(write_all(local, r, bytes, n_bytes));
    }
    return RT_OK;
}

static rt_status be_told(local_comm *local, void *bytes, int64_t n_bytes) {
    local_told header;
    char what[256];
    RT_TRY(read_all(local, &header, sizeof header));
    if (header.magic != told_magic || header.serial != ++local->told || header.n_bytes != n_bytes) {
        (void)snprintf(what, sizeof what,
                "message %" PRIu64 " of %" PRId64 " bytes; due is message %" PRIu64 " of %" PRId64,
                header.serial, header.n_bytes, local->told, n_bytes);
        return local_blame(local, 0, what);
    }
    RT_TRY(read_all(local, bytes, n_bytes));
    return local_check_hash(local, 0, bytes, n_bytes, header.hash);
}

static rt_status tell(par_comm *comm, void *bytes, int64_t n_bytes) {
    local_comm *local = local_of(comm);
    local->last_kind = 0;
    if (local_has_ended(local)) return local_ended(local);
    return comm->rank == 0 ? tell_all(local, bytes, n_bytes) : be_told(local, bytes, n_bytes);
}

/* ---- open and close -------------------------------------------------------------------------- */

int64_t par_local_bytes(int32_t n_ranks) {
    return rt_round_up((int64_t)sizeof(local_head), 4096) +
           (n_ranks + 1) * (int64_t)LOCAL_SLOT_BYTES + n_ranks * (int64_t)LOCAL_MAIL_BYTES;
}

static rt_status check(par_comm *comm) {
    local_comm *local = local_of(comm);
    if (!local_has_ended(local)) return RT_OK;
    return rt_fail(RT_EPEER, "parallel: %s", await_words(local));
}

static void abort_group(par_comm *comm, const char *why) {
    local_comm *local = local_of(comm);
    char who[128];
    char text[768];
    (void)snprintf(text, sizeof text, "%s gave up: %s", local_who(local, comm->rank, who), why);
    local_end(local, text);
}

static void free_local(local_comm *local) {
    for (int r = 0; r < PAR_RANKS_MAX; r++) {
        if (local->peers[r].control_fd >= 0) (void)close(local->peers[r].control_fd);
        if (local->peers[r].beat_fd >= 0) (void)close(local->peers[r].beat_fd);
    }
    if (local->wake_fd >= 0) (void)close(local->wake_fd);
    if (local->head) (void)munmap(local->head, (size_t)local->mapped_bytes);
    free(local);
}

static void close_group(par_comm *comm) {
    local_comm *local = local_of(comm);
    const bool is_orderly = local_is_at_barrier(local) && !local->is_over;
    if (!is_orderly) abort_group(comm, "it ended without the others");
    local_beat_stop(local, is_orderly);
    if (comm->rank == 0) local_reap(local);
    free_local(local);
}

static rt_status map(local_comm *local, int memory_fd) {
    local->mapped_bytes = par_local_bytes(local->comm.n_ranks);
    void *memory = mmap(
            NULL, (size_t)local->mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    if (memory == MAP_FAILED)
        return rt_fail_errno(RT_ENOMEM, "parallel: cannot map %" PRId64 " bytes of shared memory",
                local->mapped_bytes);
    local->head = memory;
    local->slots = (char *)memory + rt_round_up((int64_t)sizeof(local_head), 4096);
    local->sum = (float *)(void *)(local->slots + local->comm.n_ranks * (int64_t)LOCAL_SLOT_BYTES);
    local->mails = local->slots + (local->comm.n_ranks + 1) * (int64_t)LOCAL_SLOT_BYTES;
    return RT_OK;
}

rt_status local_create(int32_t rank, int32_t n_ranks, int memory_fd, local_comm **out) {
    local_comm *local = NULL;
    RT_TRY(rt_calloc(1, sizeof *local, "a group of ranks", &local));
    local->comm = (par_comm){.transport = "local",
            .rank = rank,
            .n_ranks = n_ranks,
            .memory = PAR_HOST,
            .step_name = "start",
            .all_reduce = local_all_reduce,
            .all_gather = local_all_gather,
            .broadcast = local_broadcast,
            .send = local_send,
            .recv = local_recv,
            .tell = tell,
            .share = local_share,
            .barrier = local_barrier,
            .check = check,
            .abort = abort_group,
            .close = close_group};
    local->wake_fd = -1;
    local->n_spins = n_ranks <= rt_machine_cores() ? LOCAL_SPINS_MAX : 0;
    for (int r = 0; r < PAR_RANKS_MAX; r++)
        local->peers[r].control_fd = local->peers[r].beat_fd = -1;
    for (int r = 0; r < n_ranks; r++)
        (void)gethostname(local->comm.hosts[r], sizeof local->comm.hosts[r] - 1);
    const rt_status status = map(local, memory_fd);
    if (status == RT_OK)
        *out = local;
    else
        free_local(local);
    return status;
}
