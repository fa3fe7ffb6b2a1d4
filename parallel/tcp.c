#include "tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <math.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xxhash.h>

#include "runtime/base/interrupt.h"
#include "runtime/base/log.h"

/* The first bytes on a connection; where rank 0 invites by its launcher's address, also back. */
typedef struct tcp_greeting {
    unsigned char token[TCP_TOKEN_BYTES];
    int32_t rank;
    int32_t n_ranks; /* WORLD_SIZE, 0 where that is known to be alike */
    char host[PAR_NAME_BYTES];
} tcp_greeting;

enum { TRY_MS = 2000, GREETING_MS = 2000, RETRY_MS = 50, LOOK_MS = 200, GUESTS_MAX = 64 };
static const double refused_s = 2.0; /* also after somebody asked to stop */

static tcp_greeting make_greeting(const tcp_invitation *invitation, int32_t rank) {
    tcp_greeting greeting = {.rank = rank, .n_ranks = invitation->n_ranks};
    memcpy(greeting.token, invitation->token, TCP_TOKEN_BYTES);
    (void)gethostname(greeting.host, sizeof greeting.host - 1);
    return greeting;
}

/* RT_EPEER unless both say the same size of the group. */
static rt_status check_sizes(const tcp_greeting *other, const tcp_greeting *first) {
    if (other->n_ranks == first->n_ranks) return RT_OK;
    return rt_fail(RT_EPEER,
            "parallel: the ranks differ: rank %" PRId32 " on %.63s has WORLD_SIZE=%" PRId32
            ", rank 0 on %.63s has WORLD_SIZE=%" PRId32,
            other->rank, other->host, other->n_ranks, first->host, first->n_ranks);
}

/* ---- listening ------------------------------------------------------------------------------- */

static void add_address(tcp_invitation *out, int family, const void *address) {
    char *text = out->addresses[out->n_addresses];
    if (inet_ntop(family, address, text, INET6_ADDRSTRLEN)) out->n_addresses++;
}

/* Addresses of interfaces that are up; link-local ones lead nowhere from elsewhere. */
static void find_addresses(tcp_invitation *out, int family) {
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) return;
    for (const struct ifaddrs *a = all; a && out->n_addresses < TCP_ADDRESSES_MAX;
            a = a->ifa_next) {
        if (!a->ifa_addr || a->ifa_addr->sa_family != family || (a->ifa_flags & IFF_LOOPBACK) ||
                !(a->ifa_flags & IFF_UP))
            continue;
        const void *socket = a->ifa_addr;
        const struct in6_addr *six = &((const struct sockaddr_in6 *)socket)->sin6_addr;
        if (family == AF_INET)
            add_address(out, family, &((const struct sockaddr_in *)socket)->sin_addr);
        else if (!IN6_IS_ADDR_LINKLOCAL(six))
            add_address(out, family, six);
    }
    freeifaddrs(all);
}

static int bind_one(const struct sockaddr *name, socklen_t length) {
    const int on = 1;
    const int off = 0;
    const int fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (name->sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, name, length) == 0) return fd;
    const int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

/* All addresses, or this machine's alone; port 0: a free one. */
static int bind_any(bool is_local, int32_t port) {
    const struct sockaddr_in6 six = {
            .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any};
    const struct sockaddr_in four = {.sin_family = AF_INET,
            .sin_port = htons((uint16_t)port),
            .sin_addr.s_addr = htonl(is_local ? INADDR_LOOPBACK : INADDR_ANY)};
    const int fd =
            is_local ? -1 : bind_one((const struct sockaddr *)(const void *)&six, sizeof six);
    return fd >= 0 ? fd : bind_one((const struct sockaddr *)(const void *)&four, sizeof four);
}

static int port_of(int fd) {
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    if (getsockname(fd, (struct sockaddr *)(void *)&name, &length) != 0) return -1;
    const void *socket = &name;
    return ntohs(name.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)socket)->sin6_port
                                            : ((const struct sockaddr_in *)socket)->sin_port);
}

rt_status tcp_listen(bool is_local, tcp_invitation *out, int *fd) {
    *out = (tcp_invitation){0};
    if (getrandom(out->token, sizeof out->token, 0) != (ssize_t)sizeof out->token)
        return rt_fail_errno(RT_EIO, "parallel: no random bytes");
    const int listener = bind_any(is_local, 0);
    if (listener < 0 || listen(listener, PAR_RANKS_MAX) != 0) {
        if (listener >= 0) (void)close(listener);
        return rt_fail_errno(RT_EIO, "parallel: cannot listen for other ranks");
    }
    out->port = port_of(listener);
    if (is_local) {
        (void)snprintf(out->addresses[0], sizeof out->addresses[0], "127.0.0.1");
        out->n_addresses = 1;
    } else {
        find_addresses(out, AF_INET);
        find_addresses(out, AF_INET6);
    }
    *fd = listener;
    return RT_OK;
}

/* ---- the launcher's address ------------------------------------------------------------------- */

static void make_token(tcp_invitation *out) {
    const char *job = getenv("TORCHELASTIC_RUN_ID");
    char text[256];
    const int n =
            snprintf(text, sizeof text, "glm1m %" PRId32 " %.100s", out->port, job ? job : "");
    const XXH128_hash_t hash = XXH3_128bits(text, (size_t)n);
    memcpy(out->token, &hash, sizeof out->token);
}

rt_status tcp_resolve(const char *address, int32_t n_ranks, tcp_invitation *out) {
    char host[PAR_ADDRESS_BYTES];
    struct addrinfo *all = NULL;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    *out = (tcp_invitation){.n_ranks = n_ranks};
    (void)snprintf(host, sizeof host, "%s", address);
    char *colon = strrchr(host, ':');
    if (!colon) return rt_fail(RT_EUSAGE, "parallel: %s is not HOST:PORT", address);
    *colon = '\0';
    out->port = (int32_t)strtol(colon + 1, NULL, 10);
    const int error = getaddrinfo(host, NULL, &hints, &all);
    if (error) return rt_fail(RT_EUSAGE, "parallel: MASTER_ADDR=%s: %s", host, gai_strerror(error));
    for (const struct addrinfo *a = all; a && out->n_addresses < TCP_ADDRESSES_MAX;
            a = a->ai_next) {
        const void *name = a->ai_addr;
        if (a->ai_family == AF_INET)
            add_address(out, AF_INET, &((const struct sockaddr_in *)name)->sin_addr);
        else if (a->ai_family == AF_INET6)
            add_address(out, AF_INET6, &((const struct sockaddr_in6 *)name)->sin6_addr);
    }
    freeaddrinfo(all);
    make_token(out);
    return RT_OK;
}

bool tcp_is_local(const tcp_invitation *invitation) {
    for (int32_t i = 0; i < invitation->n_addresses; i++)
        if (strcmp(invitation->addresses[i], "127.0.0.1") != 0 &&
                strcmp(invitation->addresses[i], "::1") != 0)
            return false;
    return invitation->n_addresses > 0;
}

rt_status tcp_listen_at(const tcp_invitation *invitation, int *fd) {
    const int listener = bind_any(tcp_is_local(invitation), invitation->port);
    if (listener < 0 || listen(listener, PAR_RANKS_MAX) != 0) {
        const char *given = getenv("MASTER_PORT");
        const int error = errno;
        if (listener >= 0) (void)close(listener);
        errno = error;
        return rt_fail_errno(RT_EIO, "parallel: cannot listen on port %" PRId32 " (MASTER_PORT=%s)",
                invitation->port, given ? given : "");
    }
    *fd = listener;
    return RT_OK;
}

/* ---- accepting ------------------------------------------------------------------------------- */

/* All of it within the time; false otherwise. */
static bool read_within(int fd, void *bytes, size_t n_bytes, int timeout_ms) {
    const double deadline = rt_now() + timeout_ms * 1e-3;
    for (size_t done = 0; done < n_bytes;) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        const int left_ms = (int)((deadline - rt_now()) * 1e3);
        const int n_ready = left_ms > 0 ? poll(&one, 1, left_ms) : 0;
        if (n_ready < 0 && errno == EINTR) continue; /* Ctrl-Z and fg */
        if (n_ready <= 0) return false;
        const ssize_t n = recv(fd, (char *)bytes + done, n_bytes - done, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
        if (n > 0) done += (size_t)n;
    }
    return true;
}

static void set_options(int fd) {
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* Say to a guest of ours what its size of the group is compared with. RT_EPEER: it has another. */
static rt_status welcome(
        int guest, const tcp_invitation *invitation, const tcp_greeting *greeting) {
    const tcp_greeting mine = make_greeting(invitation, 0);
    if (invitation->n_ranks == 0) return RT_OK;
    (void)send(guest, &mine, sizeof mine, MSG_NOSIGNAL);
    return check_sizes(greeting, &mine);
}

/* Somebody whose greeting is not whole yet. */
typedef struct tcp_guest {
    int fd;
    double until; /* rt_now() at which he is a stranger */
    size_t done;  /* bytes of the greeting */
    tcp_greeting greeting;
} tcp_guest;

/* Where guests are let in: who says nothing, as a scanner of ports does, keeps nobody waiting. */
typedef struct tcp_door {
    int listener;
    const tcp_invitation *invitation;
    int32_t first, n_ranks;
    int *fds; /* [PAR_RANKS_MAX]: of those that came */
    tcp_guest guests[GUESTS_MAX];
    int n_guests;
    int32_t n_refused;
    char refusal[512]; /* of the first one */
} tcp_door;

static bool is_awaited(const tcp_door *door, int32_t rank) {
    return rank >= door->first && rank < door->n_ranks && door->fds[rank] < 0;
}

/* His greeting is whole; who does not know the token, or is here already, is a stranger. */
static void judge(tcp_door *door, const tcp_guest *guest) {
    const tcp_greeting *greeting = &guest->greeting;
    if (memcmp(greeting->token, door->invitation->token, TCP_TOKEN_BYTES) == 0) {
        const rt_status status = welcome(guest->fd, door->invitation, greeting);
        if (status == RT_OK && is_awaited(door, greeting->rank)) {
            set_options(guest->fd);
            door->fds[greeting->rank] = guest->fd;
            return;
        }
        if (status != RT_OK && door->n_refused++ == 0)
            (void)snprintf(door->refusal, sizeof door->refusal, "%s", rt_error_text());
    }
    (void)close(guest->fd);
}

/* More of his greeting. False: there is no more to come, and he is one of us or gone. */
static bool hear(tcp_door *door, tcp_guest *guest) {
    char *at = (char *)&guest->greeting + guest->done;
    const ssize_t n = recv(guest->fd, at, sizeof guest->greeting - guest->done, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n <= 0) {
        (void)close(guest->fd);
        return false;
    }
    guest->done += (size_t)n;
    if (guest->done < sizeof guest->greeting) return true;
    judge(door, guest);
    return false;
}

/* Those that `ready` has something of; who has been silent for too long goes. */
static void hear_all(tcp_door *door, const struct pollfd *ready) {
    int n = 0;
    for (int i = 0; i < door->n_guests; i++) {
        tcp_guest guest = door->guests[i];
        if (ready[i].revents && !hear(door, &guest)) continue;
        if (rt_now() < guest.until)
            door->guests[n++] = guest;
        else
            (void)close(guest.fd);
    }
    door->n_guests = n;
}

static void let_in(tcp_door *door) {
    const int fd = accept4(door->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    door->guests[door->n_guests++] = (tcp_guest){.fd = fd, .until = rt_now() + GREETING_MS * 1e-3};
}

/* False: nothing has come within the time. */
static bool attend(tcp_door *door, int timeout_ms) {
    struct pollfd ready[GUESTS_MAX + 1];
    const int n = door->n_guests;
    for (int i = 0; i < n; i++)
        ready[i] = (struct pollfd){.fd = door->guests[i].fd, .events = POLLIN};
    ready[n] = (struct pollfd){.fd = n < GUESTS_MAX ? door->listener : -1, .events = POLLIN};
    const bool has_come = poll(ready, (nfds_t)n + 1, timeout_ms) > 0;
    for (int i = 0; i <= n && !has_come; i++) ready[i].revents = 0;
    hear_all(door, ready);
    if (ready[n].revents) let_in(door);
    return has_come;
}

static void close_door(tcp_door *door) {
    for (int i = 0; i < door->n_guests; i++) (void)close(door->guests[i].fd);
}

/* The lowest rank that is missing, -1: none; *n: how many are. */
static int32_t missing(int32_t first, int32_t n_ranks, const int fds[PAR_RANKS_MAX], int32_t *n) {
    int32_t lowest = -1;
    *n = 0;
    for (int32_t r = n_ranks - 1; r >= first; r--) {
        if (fds[r] >= 0) continue;
        lowest = r;
        ++*n;
    }
    return lowest;
}

static rt_status not_all(const tcp_invitation *invitation, int32_t rank, double timeout_s) {
    if (atomic_load(&rt_interrupted_by))
        return rt_fail(RT_EINTERRUPTED,
                "parallel: stopped while rank %" PRId32 " was waited for, on port %" PRId32
                " of this machine",
                rank, invitation->port);
    return rt_fail(RT_EPEER,
            "parallel: rank %" PRId32 " did not connect within %g s (port %" PRId32
            " of this machine)",
            rank, timeout_s, invitation->port);
}

/* The lowest rank that has closed a connection of these, -1: none. */
static int32_t find_left(int32_t n_ranks, const int *joined) {
    struct pollfd fds[PAR_RANKS_MAX];
    for (int32_t r = 0; r < n_ranks; r++)
        fds[r] = (struct pollfd){.fd = joined[r], .events = POLLRDHUP};
    if (poll(fds, (nfds_t)n_ranks, 0) <= 0) return -1;
    for (int32_t r = 0; r < n_ranks; r++)
        if (fds[r].revents & (POLLRDHUP | POLLHUP | POLLERR)) return r;
    return -1;
}

static rt_status has_left(int32_t left, int32_t rank) {
    return rt_fail(RT_EPEER,
            "parallel: rank %" PRId32 " left, its connection ended, while rank %" PRId32
            " was waited for and the group was not made yet",
            left, rank);
}

/* Where one is refused, or somebody asked to stop, the others are still let in, for a moment, so that they need not
 * wait to learn that it is over. */
static rt_status attend_until_all(tcp_door *door, double timeout_s, const int *joined) {
    double deadline = rt_now() + timeout_s;
    bool is_stopping = false;
    int32_t left = -1;
    int32_t n_missing = 0;
    for (;;) {
        const int32_t n_refused = door->n_refused;
        const int32_t lowest = missing(door->first, door->n_ranks, door->fds, &n_missing);
        if (!is_stopping && atomic_load(&rt_interrupted_by)) {
            is_stopping = true;
            deadline = fmin(deadline, rt_now() + refused_s);
        }
        const int left_ms = (int)((deadline - rt_now()) * 1e3);
        if (n_missing <= n_refused || (left_ms <= 0 && n_refused > 0)) break;
        if (left_ms <= 0) return not_all(door->invitation, lowest, timeout_s);
        if (attend(door, left_ms < LOOK_MS ? left_ms : LOOK_MS)) {
            if (n_refused == 0 && door->n_refused > 0) deadline = rt_now() + refused_s;
            continue;
        }
        if (is_stopping || n_refused > 0) continue;
        if (left >= 0)
            return has_left(left, lowest); /* still not asked to stop, as it may have been */
        left = find_left(door->n_ranks, joined);
    }
    return door->n_refused > 0 ? rt_fail(RT_EPEER, "%s", door->refusal) : RT_OK;
}

rt_status tcp_accept_all(int fd, const tcp_invitation *invitation, int32_t first, int32_t n_ranks,
        double timeout_s, const int *joined, int fds[PAR_RANKS_MAX]) {
    tcp_door door = {.listener = fd,
            .invitation = invitation,
            .first = first,
            .n_ranks = n_ranks,
            .fds = fds};
    const rt_status status = attend_until_all(&door, timeout_s, joined);
    close_door(&door);
    return status;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static int connect_to(const char *address, int port) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
    if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1) return -1;
    const int fd =
            socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const struct sockaddr *name = is_six ? (const struct sockaddr *)(const void *)&six
                                         : (const struct sockaddr *)(const void *)&four;
    if (fd < 0) return -1;
    if (connect(fd, name, is_six ? sizeof six : sizeof four) == 0) return fd;
    struct pollfd one = {.fd = fd, .events = POLLOUT};
    int error = errno;
    socklen_t length = sizeof error;
    if (error == EINPROGRESS && poll(&one, 1, TRY_MS) == 1 &&
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* Say who we are, and hear whether the group is of one size. */
static rt_status greet(int fd, const tcp_invitation *invitation, int32_t rank, int timeout_ms) {
    const tcp_greeting mine = make_greeting(invitation, rank);
    tcp_greeting first;
    if (send(fd, &mine, sizeof mine, MSG_NOSIGNAL) != (ssize_t)sizeof mine)
        return rt_fail_errno(RT_EIO, "parallel: cannot greet");
    if (invitation->n_ranks == 0) return RT_OK;
    if (!read_within(fd, &first, sizeof first, timeout_ms))
        return rt_fail(RT_EPEER,
                "parallel: rank 0 on port %" PRId32 " turns rank %" PRId32
                " away: it is of another job, or another build",
                invitation->port, rank);
    return check_sizes(&mine, &first);
}

rt_status tcp_connect(const tcp_invitation *invitation, int32_t rank, double timeout_s,
        const int joined[PAR_RANKS_MAX], int *fd) {
    const double deadline = rt_now() + timeout_s;
    int32_t left = -1;
    do {
        for (int32_t i = 0; i < invitation->n_addresses; i++) {
            const int peer = connect_to(invitation->addresses[i], invitation->port);
            if (peer < 0) continue;
            set_options(peer);
            const rt_status status = greet(peer, invitation, rank, (int)(timeout_s * 1e3));
            if (status == RT_OK) {
                *fd = peer;
                return RT_OK;
            }
            (void)close(peer);
            if (status == RT_EPEER) return status;
        }
        if (left >= 0)
            return rt_fail(RT_EPEER,
                    "parallel: rank %" PRId32 " left, its connection ended, while rank %" PRId32
                    " tried to reach port %" PRId32 " and the group was not made yet",
                    left, rank, invitation->port);
        left = find_left(PAR_RANKS_MAX, joined); /* one more try: it may have got this far */
        (void)usleep(RETRY_MS * 1000);
    } while (rt_now() < deadline);
    return rt_fail(RT_EPEER,
            "parallel: rank %" PRId32 " cannot reach rank 0 at %s port %" PRId32 " (%" PRId32
            " addresses tried for %g s)",
            rank, invitation->n_addresses > 0 ? invitation->addresses[0] : "no address",
            invitation->port, invitation->n_addresses, timeout_s);
}
