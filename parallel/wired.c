#include "wired.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "tcp.h"

static const double connect_s = 30.0;

/* ---- the end --------------------------------------------------------------------------------- */

/* text: "parallel: ..." */
static rt_status ended(par_wired *wired, const char *text) {
    const par_comm *comm = &wired->comm;
    if (!wired->why[0])
        (void)snprintf(wired->why, sizeof wired->why,
                "%s (at step %" PRId64 ", %s, on rank %" PRId32 ")", text, comm->step,
                comm->step_name, comm->rank);
    return rt_fail(RT_EPEER, "%s", wired->why);
}

rt_status par_wired_broken(par_wired *wired, int32_t peer, const char *doing, const char *why) {
    static const char room[] = "parallel: ";
    const par_comm *comm = &wired->comm;
    char text[512];
    (void)snprintf(text, sizeof text,
            "%srank %" PRId32 " on %s: %s rank %" PRId32 " on %s failed: %s", room, comm->rank,
            comm->hosts[comm->rank], doing, peer, comm->hosts[peer], why);
    if (wired->watch) par_watch_end(wired->watch, text + sizeof room - 1);
    return ended(wired, text);
}

rt_status par_wired_check(par_wired *wired) {
    char text[700];
    if (wired->why[0]) return rt_fail(RT_EPEER, "%s", wired->why);
    if (!wired->watch || par_watch_check(wired->watch) == RT_OK) return RT_OK;
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    return ended(wired, text);
}

/* ---- the wire -------------------------------------------------------------------------------- */

rt_status par_wired_progress(par_wire *wire) {
    par_wired *wired = par_wired_of_wire(wire);
    RT_TRY(par_wired_check(wired));
    for (uint64_t left = wire->receiving; left; left &= left - 1)
        RT_TRY(wired->move_recv(wire, __builtin_ctzll(left)));
    for (uint64_t left = wire->sending; left; left &= left - 1)
        RT_TRY(wired->move_send(wire, __builtin_ctzll(left)));
    return RT_OK;
}

/* ---- the operations -------------------------------------------------------------------------- */

static rt_status counted(par_comm *comm, int64_t n_bytes, double begin, rt_status status) {
    par_wired_of(comm)->is_at_barrier = false;
    comm->stats.n_calls++;
    comm->stats.n_bytes += n_bytes;
    comm->stats.move_s += rt_now() - begin;
    return status;
}

static rt_status all_reduce(par_comm *comm, float *data, int64_t n, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(comm, n * (int64_t)sizeof *data, begin,
            par_exchange_all_reduce(
                    &par_wired_of(comm)->wire, data, n, par_wired_of(comm)->scratch));
}

static rt_status all_gather(
        par_comm *comm, const void *mine, int64_t n_bytes, void *all, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(comm, n_bytes, begin,
            par_exchange_all_gather(&par_wired_of(comm)->wire, mine, n_bytes, all));
}

static rt_status broadcast(
        par_comm *comm, void *data, int64_t n_bytes, int32_t root, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(comm, n_bytes, begin,
            par_exchange_broadcast(&par_wired_of(comm)->wire, data, n_bytes, root));
}

static rt_status send_data(
        par_comm *comm, const void *data, int64_t n_bytes, int32_t to, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(
            comm, n_bytes, begin, par_exchange_send(&par_wired_of(comm)->wire, data, n_bytes, to));
}

static rt_status recv_data(
        par_comm *comm, void *data, int64_t n_bytes, int32_t from, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(comm, n_bytes, begin,
            par_exchange_recv(&par_wired_of(comm)->wire, data, n_bytes, from));
}

static rt_status tell(par_comm *comm, void *bytes, int64_t n_bytes) {
    par_wired_of(comm)->is_at_barrier = false;
    return par_exchange_tell(&par_wired_of(comm)->wire, bytes, n_bytes);
}

static rt_status share(par_comm *comm, const void *mine, int64_t n_bytes, void *all) {
    rt_assert(n_bytes <= PAR_SHARE_BYTES_MAX);
    par_wired_of(comm)->is_at_barrier = false;
    return par_exchange_all_gather(&par_wired_of(comm)->wire, mine, n_bytes, all);
}

static rt_status barrier(par_comm *comm) {
    RT_TRY(par_exchange_barrier(&par_wired_of(comm)->wire));
    par_wired_of(comm)->is_at_barrier = true;
    return RT_OK;
}

static rt_status check(par_comm *comm) {
    return par_watch_check(par_wired_of(comm)->watch);
}

static void abort_group(par_comm *comm, const char *why) {
    char text[512];
    (void)snprintf(text, sizeof text, "rank %" PRId32 " on %s gave up: %s", comm->rank,
            comm->hosts[comm->rank], why);
    par_watch_end(par_wired_of(comm)->watch, text);
}

void par_wired_init(par_wired *wired, const char *transport) {
    wired->comm = (par_comm){.transport = transport,
            .memory = PAR_HOST,
            .step_name = "start",
            .all_reduce = all_reduce,
            .all_gather = all_gather,
            .broadcast = broadcast,
            .send = send_data,
            .recv = recv_data,
            .tell = tell,
            .share = share,
            .barrier = barrier,
            .check = check,
            .abort = abort_group};
}

bool par_wired_stop(par_wired *wired) {
    const bool is_orderly = wired->is_at_barrier && par_wired_check(wired) == RT_OK;
    par_watch_stop(wired->watch, is_orderly);
    wired->watch = NULL;
    return is_orderly;
}

/* ---- heartbeats ------------------------------------------------------------------------------ */

static bool is_one_machine(const par_comm *comm) {
    for (int32_t r = 1; r < comm->n_ranks; r++)
        if (strncmp(comm->hosts[r], comm->hosts[0], PAR_NAME_BYTES) != 0) return false;
    return true;
}

static rt_status find_hosts(par_wired *wired) {
    char name[PAR_NAME_BYTES] = "";
    (void)gethostname(name, sizeof name - 1);
    return par_exchange_all_gather(&wired->wire, name, sizeof name, wired->comm.hosts);
}

/* What rank 0 made of it, told to all, so that nobody waits for a rank 0 that cannot listen. */
typedef struct invitation_message {
    tcp_invitation invitation;
    int32_t status;
    char text[200];
} invitation_message;

/* A rank without a heartbeat would be one that is gone: the others are told why, all of them before one goes. */
static rt_status start_watch(par_wired *wired, const int fds[PAR_RANKS_MAX]) {
    par_comm *comm = &wired->comm;
    char why[512];
    const rt_status status = par_agree(comm,
            par_watch_start(comm->rank, comm->n_ranks, comm->hosts, fds, &wired->watch), NULL);
    if (status == RT_OK) return RT_OK;
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    const bool have_all_heard = par_exchange_barrier(&wired->wire) == RT_OK;
    par_watch_stop(wired->watch, have_all_heard);
    wired->watch = NULL;
    return rt_fail(status, "%s", why);
}

static rt_status connect_all(par_wired *wired, int listener, invitation_message *message) {
    const par_comm *comm = &wired->comm;
    int fds[PAR_RANKS_MAX];
    RT_TRY(par_exchange_tell(&wired->wire, message, sizeof *message));
    if (message->status != RT_OK) return rt_fail((rt_status)message->status, "%s", message->text);
    for (int r = 0; r < PAR_RANKS_MAX; r++) fds[r] = -1;
    const int *joined = wired->fds ? wired->fds : fds;
    rt_status status = RT_OK;
    if (comm->rank == 0)
        status = tcp_accept_all(
                listener, &message->invitation, 1, comm->n_ranks, connect_s, joined, fds);
    else
        status = tcp_connect(&message->invitation, comm->rank, connect_s, joined, &fds[0]);
    if (status == RT_OK) return start_watch(wired, fds);
    for (int r = 0; r < PAR_RANKS_MAX; r++)
        if (fds[r] >= 0) (void)close(fds[r]);
    return status;
}

rt_status par_wired_start(par_wired *wired) {
    invitation_message message = {.status = RT_OK};
    int listener = -1;
    RT_TRY(find_hosts(wired));
    RT_TRY(rt_malloc(
            par_exchange_scratch_bytes(wired->wire.n_ranks), "sums over ranks", &wired->scratch));
    if (wired->comm.rank == 0) {
        const bool is_local = is_one_machine(&wired->comm);
        message.status = (int32_t)tcp_listen(is_local, &message.invitation, &listener);
        if (message.status != RT_OK)
            (void)snprintf(message.text, sizeof message.text, "%s", rt_error_text());
    }
    const rt_status status = connect_all(wired, listener, &message);
    if (listener >= 0) (void)close(listener);
    return status;
}
