#include "listener.h"

#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "limits.h"

enum { BACKLOG = 1024 };

static bool is_loopback(const struct sockaddr *one) {
    if (one->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, one, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, one, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

static rt_status check_address(const srv_options *options, const srv_listener *listener) {
    if (listener->is_loopback || options->api_key) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "--host %s: whoever reaches that address could use the model; give --api-key (or "
            "GLM_API_KEY) for it, or bind to 127.0.0.1",
            options->host);
}

static void name_url(const srv_options *options, srv_listener *listener) {
    struct sockaddr_storage bound = {0};
    socklen_t n_bytes = sizeof bound;
    char port[NI_MAXSERV] = "";
    if (getsockname(listener->fd, (struct sockaddr *)&bound, &n_bytes) == 0)
        (void)getnameinfo(
                (struct sockaddr *)&bound, n_bytes, NULL, 0, port, sizeof port, NI_NUMERICSERV);
    (void)snprintf(listener->url, sizeof listener->url,
            bound.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s", options->host, port);
}

/* Connections inherit the bounds of what the kernel keeps for a client that does not read: how much, and
 * how long, also when we have closed it. */
static bool open_socket(const struct addrinfo *where, srv_listener *listener) {
    const int on = 1;
    const int stall_ms = 1000 * (int)srv_limit_of(SRV_STALL_S);
    const int send_bytes = (int)srv_limit_of(SRV_SEND_BYTES);
    listener->fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0) return false;
    (void)setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)setsockopt(listener->fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    (void)setsockopt(listener->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stall_ms, sizeof stall_ms);
    if (where->ai_family == AF_INET6)
        (void)setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    return bind(listener->fd, where->ai_addr, where->ai_addrlen) == 0 &&
           listen(listener->fd, BACKLOG) == 0;
}

rt_status srv_listen(const srv_options *options, srv_listener *out) {
    char service[16];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    (void)snprintf(service, sizeof service, "%" PRId32, options->port);
    const int failure = getaddrinfo(options->host, service, &hints, &found);
    if (failure) return rt_fail(RT_EUSAGE, "--host %s: %s", options->host, gai_strerror(failure));
    *out = (srv_listener){.fd = -1, .is_loopback = is_loopback(found->ai_addr)};
    rt_status status = check_address(options, out);
    if (status == RT_OK && !open_socket(found, out))
        status = rt_fail_errno(
                RT_EIO, "serve: cannot listen on %s port %" PRId32, options->host, options->port);
    freeaddrinfo(found);
    if (status == RT_OK)
        name_url(options, out);
    else
        srv_listener_close(out);
    return status;
}

void srv_listener_close(srv_listener *listener) {
    if (listener->fd >= 0) (void)close(listener->fd);
    listener->fd = -1;
}
