/* Ranks on any machines, host memory, by TCP: where torchrun or a script sets RANK, WORLD_SIZE,
 * MASTER_ADDR and MASTER_PORT. Every two ranks have a connection.
 *
 * Rank 0 listens at MASTER_ADDR; the others connect, say where they listen, and hear where everybody
 * does; then each connects to those between rank 0 and itself. A message is a header and its bytes;
 * the receiver knows what is due, and checks the number, the size and a checksum, because TCP's own
 * is weak. Neither is encrypted: the network is taken for the cluster's, as MPI and NCCL take it. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "tcp.h"
#include "wired.h"

/* The others may be started by hand, or wait for their machines. */
static const double join_s = 120.0;

/* How long to wait for what the heartbeats know of a connection that ended. */
static const double known_s = 0.1;
static const double doubt_s_max = 8.0;

typedef struct tcp_header {
    uint64_t serial; /* of this sender's messages to this receiver, from 1 on */
    int64_t n_bytes;
    uint64_t hash;
} tcp_header;

/* One direction of a connection. */
typedef struct tcp_message {
    tcp_header header;
    char *bytes;
    int64_t n_bytes;
    int64_t done; /* of header and bytes together */
    uint64_t serial;
} tcp_message;

typedef struct tcp_comm {
    par_wired wired; /* first */
    int fds[PAR_RANKS_MAX];
    tcp_message sends[PAR_RANKS_MAX];
    tcp_message recvs[PAR_RANKS_MAX];
} tcp_comm;

static tcp_comm *of_wire(par_wire *wire) {
    return (tcp_comm *)(void *)par_wired_of_wire(wire);
}

/* ---- the wire -------------------------------------------------------------------------------- */

/* A connection that ended: the heartbeats know more, a moment later; or once they know of a rank that has
 * been silent whether that is why another one left. */
static rt_status lost(tcp_comm *tcp, int32_t peer, const char *doing, const char *why) {
    par_watch *watch = tcp->wired.watch;
    const double begin = rt_now();
    while (watch && rt_now() - begin < (par_watch_is_in_doubt(watch) ? doubt_s_max : known_s)) {
        RT_TRY(par_wired_check(&tcp->wired));
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    return par_wired_broken(&tcp->wired, peer, doing, why);
}

/* What is left of header and bytes, as two pieces. */
static int pieces(tcp_message *message, struct iovec two[2]) {
    const int64_t header = (int64_t)sizeof message->header;
    int n = 0;
    if (message->done < header)
        two[n++] = (struct iovec){.iov_base = (char *)&message->header + message->done,
                .iov_len = (size_t)(header - message->done)};
    const int64_t done = message->done > header ? message->done - header : 0;
    if (done < message->n_bytes)
        two[n++] = (struct iovec){
                .iov_base = message->bytes + done, .iov_len = (size_t)(message->n_bytes - done)};
    return n;
}

static bool is_whole(const tcp_message *message) {
    return message->done == (int64_t)sizeof message->header + message->n_bytes;
}

static rt_status move_send(par_wire *wire, int32_t peer) {
    tcp_comm *tcp = of_wire(wire);
    tcp_message *message = &tcp->sends[peer];
    while (!is_whole(message)) {
        struct iovec two[2];
        const struct msghdr what = {.msg_iov = two, .msg_iovlen = (size_t)pieces(message, two)};
        const ssize_t n = sendmsg(tcp->fds[peer], &what, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return RT_OK;
        if (n < 0) return lost(tcp, peer, "sending to", strerror(errno));
        message->done += n;
    }
    wire->sending &= ~(UINT64_C(1) << peer);
    return RT_OK;
}

static rt_status check_message(tcp_comm *tcp, int32_t peer, const tcp_message *message) {
    char text[160];
    const tcp_header *header = &message->header;
    if (header->serial != message->serial || header->n_bytes != message->n_bytes) {
        (void)snprintf(text, sizeof text,
                "message %" PRIu64 " of %" PRId64 " bytes came, due is %" PRIu64 " of %" PRId64
                ": it is at another step",
                header->serial, header->n_bytes, message->serial, message->n_bytes);
        return par_wired_broken(&tcp->wired, peer, "receiving from", text);
    }
    if (!is_whole(message)) return RT_OK;
    if (XXH3_64bits(message->bytes, (size_t)message->n_bytes) == header->hash) return RT_OK;
    return par_wired_broken(
            &tcp->wired, peer, "receiving from", "its bytes do not match their checksum");
}

/* The header first: bytes of a message that is not due must not go where due ones belong. */
static rt_status move_recv(par_wire *wire, int32_t peer) {
    tcp_comm *tcp = of_wire(wire);
    tcp_message *message = &tcp->recvs[peer];
    while (!is_whole(message)) {
        struct iovec two[2];
        (void)pieces(message, two);
        const ssize_t n = recv(tcp->fds[peer], two[0].iov_base, two[0].iov_len, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return RT_OK;
        if (n <= 0)
            return lost(tcp, peer, "receiving from", n ? strerror(errno) : "its connection ended");
        message->done += n;
        if (message->done >= (int64_t)sizeof message->header)
            RT_TRY(check_message(tcp, peer, message));
    }
    wire->receiving &= ~(UINT64_C(1) << peer);
    return RT_OK;
}

static rt_status post_send(par_wire *wire, int32_t to, const void *bytes, int64_t n_bytes) {
    tcp_comm *tcp = of_wire(wire);
    tcp_message *message = &tcp->sends[to];
    RT_TRY(par_wired_check(&tcp->wired));
    rt_assert(n_bytes <= PAR_MESSAGE_BYTES_MAX && !(wire->sending >> to & 1));
    message->header = (tcp_header){.serial = ++message->serial,
            .n_bytes = n_bytes,
            .hash = XXH3_64bits(bytes, (size_t)n_bytes)};
    message->bytes = (char *)(uintptr_t)bytes;
    message->n_bytes = n_bytes;
    message->done = 0;
    wire->sending |= UINT64_C(1) << to;
    return move_send(wire, to);
}

static rt_status post_recv(par_wire *wire, int32_t from, void *bytes, int64_t n_bytes) {
    tcp_comm *tcp = of_wire(wire);
    tcp_message *message = &tcp->recvs[from];
    RT_TRY(par_wired_check(&tcp->wired));
    rt_assert(n_bytes <= PAR_MESSAGE_BYTES_MAX && !(wire->receiving >> from & 1));
    message->serial++;
    message->bytes = bytes;
    message->n_bytes = n_bytes;
    message->done = 0;
    wire->receiving |= UINT64_C(1) << from;
    return RT_OK;
}

/* Until a socket can go on, or the time is over. */
static void sleep_on(par_wire *wire, int64_t microseconds) {
    const tcp_comm *tcp = of_wire(wire);
    struct pollfd fds[PAR_RANKS_MAX];
    const struct timespec time = {.tv_nsec = microseconds * 1000};
    int n = 0;
    for (int32_t r = 0; r < wire->n_ranks; r++) {
        const short events = (short)((wire->receiving >> r & 1 ? POLLIN : 0) |
                                     (wire->sending >> r & 1 ? POLLOUT : 0));
        if (events) fds[n++] = (struct pollfd){.fd = tcp->fds[r], .events = events};
    }
    (void)ppoll(fds, (nfds_t)n, &time, NULL);
}

/* ---- finding each other ---------------------------------------------------------------------- */

/* Blocking, while the group is being made. */
static rt_status move_all(int fd, void *bytes, int64_t n_bytes, bool is_send, const char *what) {
    for (int64_t done = 0; done < n_bytes;) {
        struct pollfd one = {.fd = fd, .events = is_send ? POLLOUT : POLLIN};
        const int n_ready = poll(&one, 1, (int)(join_s * 1e3));
        if (n_ready < 0 && errno == EINTR) continue;
        if (n_ready <= 0) return rt_fail(RT_EPEER, "parallel: %s does not come", what);
        char *at = (char *)bytes + done;
        const size_t left = (size_t)(n_bytes - done);
        const ssize_t n = is_send ? send(fd, at, left, MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : recv(fd, at, left, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (n <= 0) return rt_fail(RT_EPEER, "parallel: a rank left while %s was due", what);
        done += n;
    }
    return RT_OK;
}

static rt_status meet_rank_0(
        tcp_comm *tcp, const tcp_invitation *master, tcp_invitation all[PAR_RANKS_MAX]) {
    const par_wire *wire = &tcp->wired.wire;
    const int64_t n_bytes = wire->n_ranks * (int64_t)sizeof all[0];
    RT_TRY(tcp_connect(master, wire->rank, join_s, tcp->fds, &tcp->fds[0]));
    RT_TRY(move_all(tcp->fds[0], &all[wire->rank], sizeof all[0], true, "an address"));
    return move_all(tcp->fds[0], all, n_bytes, false, "the addresses of all ranks");
}

static rt_status meet_others(tcp_comm *tcp, int listener, const tcp_invitation *master,
        tcp_invitation all[PAR_RANKS_MAX]) {
    const int32_t n_ranks = tcp->wired.wire.n_ranks;
    RT_TRY(tcp_accept_all(listener, master, 1, n_ranks, join_s, tcp->fds, tcp->fds));
    for (int32_t r = 1; r < n_ranks; r++)
        RT_TRY(move_all(tcp->fds[r], &all[r], sizeof all[r], false, "a rank's address"));
    for (int32_t r = 1; r < n_ranks; r++)
        RT_TRY(move_all(tcp->fds[r], all, n_ranks * (int64_t)sizeof all[0], true, "the addresses"));
    return RT_OK;
}

static rt_status join_rank_0(tcp_comm *tcp, const tcp_invitation *master) {
    tcp_invitation all[PAR_RANKS_MAX];
    memset(all, 0, sizeof all);
    int listener = -1;
    RT_TRY(tcp_listen_at(master, &listener));
    const rt_status status = meet_others(tcp, listener, master, all);
    (void)close(listener);
    return status;
}

static rt_status join_others(tcp_comm *tcp, const tcp_invitation *master) {
    const par_wire *wire = &tcp->wired.wire;
    tcp_invitation all[PAR_RANKS_MAX];
    memset(all, 0, sizeof all);
    int listener = -1;
    RT_TRY(tcp_listen(tcp_is_local(master), &all[wire->rank], &listener));
    const tcp_invitation mine = all[wire->rank];
    rt_status status = meet_rank_0(tcp, master, all);
    for (int32_t r = 1; r < wire->rank && status == RT_OK; r++)
        status = tcp_connect(&all[r], wire->rank, join_s, tcp->fds, &tcp->fds[r]);
    if (status == RT_OK)
        status = tcp_accept_all(
                listener, &mine, wire->rank + 1, wire->n_ranks, join_s, tcp->fds, tcp->fds);
    (void)close(listener);
    return status;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void free_group(tcp_comm *tcp) {
    for (int r = 0; r < PAR_RANKS_MAX; r++)
        if (tcp->fds[r] >= 0) (void)close(tcp->fds[r]);
    free(tcp->wired.scratch);
    free(tcp);
}

static void close_group(par_comm *comm) {
    tcp_comm *tcp = (tcp_comm *)(void *)comm;
    (void)par_wired_stop(&tcp->wired);
    free_group(tcp);
}

static rt_status join(tcp_comm *tcp, const char *address) {
    tcp_invitation master;
    RT_TRY(tcp_resolve(address, tcp->wired.wire.n_ranks, &master));
    RT_TRY(tcp->wired.wire.rank == 0 ? join_rank_0(tcp, &master) : join_others(tcp, &master));
    return par_wired_start(&tcp->wired);
}

rt_status par_comm_tcp_open(const par_world *world, par_comm **out) {
    tcp_comm *tcp = NULL;
    RT_TRY(rt_calloc(1, sizeof *tcp, "a group of ranks", &tcp));
    for (int r = 0; r < PAR_RANKS_MAX; r++) tcp->fds[r] = -1;
    par_wired_init(&tcp->wired, "tcp");
    par_comm *comm = &tcp->wired.comm;
    comm->close = close_group;
    tcp->wired.fds = tcp->fds;
    tcp->wired.move_recv = move_recv;
    tcp->wired.move_send = move_send;
    comm->rank = world->rank;
    comm->n_ranks = world->n_ranks;
    tcp->wired.wire = (par_wire){.rank = world->rank,
            .n_ranks = world->n_ranks,
            .post_send = post_send,
            .post_recv = post_recv,
            .progress = par_wired_progress,
            .sleep = sleep_on};
    const rt_status status = join(tcp, world->address);
    if (status != RT_OK) {
        free_group(tcp);
        return status;
    }
    *out = comm;
    return RT_OK;
}
