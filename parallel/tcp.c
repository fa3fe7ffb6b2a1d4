#include "tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/log.h"

/* The first bytes on a connection. */
typedef struct tcp_greeting {
    unsigned char token[TCP_TOKEN_BYTES];
    int32_t rank;
    int32_t zero;
} tcp_greeting;

enum { TRY_MS = 2000, GREETING_MS = 2000, RETRY_MS = 50 };

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

static int bind_any(bool is_local) {
    const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int off = 0;
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    if (fd >= 0 && !is_local && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0 &&
            bind(fd, (const struct sockaddr *)(const void *)&any, sizeof any) == 0)
        return fd;
    if (fd >= 0) (void)close(fd);
    const int fd4 = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in any4 = {.sin_family = AF_INET,
            .sin_addr.s_addr = htonl(is_local ? INADDR_LOOPBACK : INADDR_ANY)};
    if (fd4 >= 0 && bind(fd4, (const struct sockaddr *)(const void *)&any4, sizeof any4) == 0)
        return fd4;
    if (fd4 >= 0) (void)close(fd4);
    return -1;
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
    const int listener = bind_any(is_local);
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

/* ---- accepting ------------------------------------------------------------------------------- */

/* All of it within the time; false otherwise. */
static bool read_within(int fd, void *bytes, size_t n_bytes, int timeout_ms) {
    const double deadline = rt_now() + timeout_ms * 1e-3;
    for (size_t done = 0; done < n_bytes;) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        const int left_ms = (int)((deadline - rt_now()) * 1e3);
        if (left_ms <= 0 || poll(&one, 1, left_ms) <= 0) return false;
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

/* One connection; who does not know the token, or is here already, is a stranger. */
static void accept_one(int fd, const tcp_invitation *invitation, int32_t rank, int32_t n_ranks,
        int fds[PAR_RANKS_MAX]) {
    tcp_greeting greeting;
    const int guest = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (guest < 0) return;
    const bool is_one_of_us = read_within(guest, &greeting, sizeof greeting, GREETING_MS) &&
                              memcmp(greeting.token, invitation->token, TCP_TOKEN_BYTES) == 0 &&
                              greeting.rank >= 0 && greeting.rank < n_ranks &&
                              greeting.rank != rank && fds[greeting.rank] < 0;
    if (!is_one_of_us) {
        (void)close(guest);
        return;
    }
    set_options(guest);
    fds[greeting.rank] = guest;
}

static int32_t missing(int32_t rank, int32_t n_ranks, const int fds[PAR_RANKS_MAX]) {
    for (int32_t r = 0; r < n_ranks; r++)
        if (r != rank && fds[r] < 0) return r;
    return -1;
}

rt_status tcp_accept_all(int fd, const tcp_invitation *invitation, int32_t rank, int32_t n_ranks,
        double timeout_s, int fds[PAR_RANKS_MAX]) {
    const double deadline = rt_now() + timeout_s;
    for (int r = 0; r < PAR_RANKS_MAX; r++) fds[r] = -1;
    while (missing(rank, n_ranks, fds) >= 0) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        const int left_ms = (int)((deadline - rt_now()) * 1e3);
        if (left_ms <= 0)
            return rt_fail(RT_EPEER,
                    "parallel: rank %" PRId32 " did not connect to rank %" PRId32
                    " within %g s (port %" PRId32 ")",
                    missing(rank, n_ranks, fds), rank, timeout_s, invitation->port);
        if (poll(&one, 1, left_ms) > 0) accept_one(fd, invitation, rank, n_ranks, fds);
    }
    return RT_OK;
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

rt_status tcp_connect(const tcp_invitation *invitation, int32_t rank, double timeout_s, int *fd) {
    const double deadline = rt_now() + timeout_s;
    tcp_greeting greeting = {.rank = rank};
    memcpy(greeting.token, invitation->token, TCP_TOKEN_BYTES);
    do {
        for (int32_t i = 0; i < invitation->n_addresses; i++) {
            const int peer = connect_to(invitation->addresses[i], invitation->port);
            if (peer < 0) continue;
            set_options(peer);
            if (send(peer, &greeting, sizeof greeting, MSG_NOSIGNAL) == (ssize_t)sizeof greeting) {
                *fd = peer;
                return RT_OK;
            }
            (void)close(peer);
        }
        (void)usleep(RETRY_MS * 1000);
    } while (rt_now() < deadline);
    return rt_fail(RT_EPEER,
            "parallel: rank %" PRId32 " cannot reach rank 0 at %s port %" PRId32 " (%" PRId32
            " addresses tried for %g s)",
            rank, invitation->n_addresses > 0 ? invitation->addresses[0] : "no address",
            invitation->port, invitation->n_addresses, timeout_s);
}
