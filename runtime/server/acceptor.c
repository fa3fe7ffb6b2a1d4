#include "acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/thread.h"
#include "runtime/json_file.h"

enum {
    REFUSAL_BYTES = 768,
    RETRY_S = 5,
    AT_ONCE = 64,      /* connections accepted before refused ones are looked after again */
    REFUSED_MAX = 64,  /* refused sockets kept open, so that their clients can read why */
    LINGER_MS = 100,   /* how often those are looked after */
    LINGER_S = 1,      /* how long each is kept open at most */
    EXHAUSTED_MS = 100 /* pause after an accept that found no memory or descriptor */
};

/* A socket that was refused. It stays open until its client has had time to read why. */
typedef struct refused {
    int fd;
    double since_s;
} refused;

struct srv_acceptor {
    int listen_fd;
    int stop_fd;
    int spare_fd; /* kept so that one client can be told that no descriptor is left; -1: none could be had */
    struct MHD_Daemon *daemon;
    srv_connections *connections;
    pthread_t thread;
    refused refused[REFUSED_MAX]; /* the oldest first */
    int n_refused;
    char refusals[SRV_N_ENTRIES][REFUSAL_BYTES]; /* HTTP answers */
};

/* ---- refusals -------------------------------------------------------------------------------- */

static void write_refusal(char text[REFUSAL_BYTES], const char *reason, const srv_error *error) {
    json_t *value = srv_error_json(error, SRV_SHAPE_OPENAI);
    char *body = glm_json_dumps(value, JSON_COMPACT);
    json_decref(value);
    (void)snprintf(text, REFUSAL_BYTES,
            "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
            "Retry-After: %d\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n%s",
            error->http, reason, body ? strlen(body) : 0, RETRY_S, body ? body : "");
    free(body);
}

static void write_refusals(srv_acceptor *acceptor) {
    static const char unavailable[] = "Service Unavailable";
    srv_error error;
    (void)srv_refuse(&error, 503, "too_many_connections", NULL,
            "%lld connections are open, more are not taken",
            (long long)srv_connections_max(acceptor->connections));
    write_refusal(acceptor->refusals[SRV_ENTRY_FULL], unavailable, &error);
    (void)srv_refuse(&error, 429, "too_many_connections", NULL,
            "%lld connections of this address are open, more are not taken",
            (long long)srv_limit_of(SRV_CONNECTIONS_PER_ADDRESS));
    write_refusal(acceptor->refusals[SRV_ENTRY_ADDRESS_FULL], "Too Many Requests", &error);
    (void)srv_refuse(
            &error, 503, "no_descriptors", NULL, "the server has no descriptor for a connection");
    write_refusal(acceptor->refusals[SRV_ENTRY_EXHAUSTED], unavailable, &error);
}

static void close_refused(srv_acceptor *acceptor, int place) {
    (void)close(acceptor->refused[place].fd);
    acceptor->n_refused--;
    memmove(&acceptor->refused[place], &acceptor->refused[place + 1],
            (size_t)(acceptor->n_refused - place) * sizeof acceptor->refused[0]);
}

/* A new socket's send buffer has room for the refusal: the send cannot block. */
static void refuse(srv_acceptor *acceptor, int fd, srv_entry why) {
    const char *text = acceptor->refusals[why];
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    if (acceptor->n_refused == REFUSED_MAX) close_refused(acceptor, 0);
    acceptor->refused[acceptor->n_refused++] = (refused){fd, rt_now()};
}

/* Read and drop what their clients have sent, since closing a socket with unread bytes resets the connection. Those that
 * are done, or have had LINGER_S, are closed. */
static void look_after_refused(srv_acceptor *acceptor) {
    char bytes[4096];
    for (int i = acceptor->n_refused - 1; i >= 0; i--) {
        const refused *one = &acceptor->refused[i];
        const ssize_t n = recv(one->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        const bool goes_on = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
        if (!goes_on || rt_now() - one->since_s > LINGER_S) close_refused(acceptor, i);
    }
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void let_in(srv_acceptor *acceptor, int fd, const struct sockaddr *address, socklen_t n) {
    const srv_entry entry = srv_connection_enter(acceptor->connections, fd, address);
    if (entry != SRV_ENTRY_FREE) {
        refuse(acceptor, fd, entry);
        return;
    }
    if (MHD_add_connection(acceptor->daemon, fd, address, n) != MHD_YES) /* which has closed it */
        srv_connection_drop(acceptor->connections, fd);
}

/* No descriptor is left. Close the refused sockets; where there are none, tell one client so by the spare descriptor. False:
 * nobody could be accepted. */
static bool refuse_by_spare(srv_acceptor *acceptor) {
    if (acceptor->n_refused > 0) {
        while (acceptor->n_refused > 0) close_refused(acceptor, 0);
        return true;
    }
    if (acceptor->spare_fd < 0) return false;
    (void)close(acceptor->spare_fd);
    const int fd = accept4(acceptor->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        const char *text = acceptor->refusals[SRV_ENTRY_EXHAUSTED];
        char bytes[4096];
        (void)send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)shutdown(fd, SHUT_WR);
        (void)recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        (void)close(fd);
    }
    acceptor->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

/* False: nobody is left to be accepted, or nobody can be now. */
static bool accept_one(srv_acceptor *acceptor) {
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    const int fd = accept4(
            acceptor->listen_fd, (struct sockaddr *)&address, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        let_in(acceptor, fd, (const struct sockaddr *)&address, n);
        return true;
    }
    if (errno == EAGAIN) return false;
    if ((errno == EMFILE || errno == ENFILE) && refuse_by_spare(acceptor)) return true;
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        struct pollfd stop = {.fd = acceptor->stop_fd, .events = POLLIN};
        (void)poll(&stop, 1, EXHAUSTED_MS);
        return false;
    }
    return true; /* a client that has gone again */
}

static void *run(void *argument) {
    srv_acceptor *acceptor = argument;
    struct pollfd ends[] = {{.fd = acceptor->listen_fd, .events = POLLIN},
            {.fd = acceptor->stop_fd, .events = POLLIN}};
    for (;;) {
        (void)poll(ends, 2, acceptor->n_refused > 0 ? LINGER_MS : -1);
        if (ends[1].revents) return NULL;
        for (int i = 0; ends[0].revents && i < AT_ONCE && accept_one(acceptor); i++) {
        }
        look_after_refused(acceptor);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static void release(srv_acceptor *acceptor) {
    if (acceptor->stop_fd >= 0) (void)close(acceptor->stop_fd);
    if (acceptor->spare_fd >= 0) (void)close(acceptor->spare_fd);
    while (acceptor->n_refused > 0) close_refused(acceptor, 0);
    free(acceptor);
}

static rt_status open_descriptors(srv_acceptor *acceptor) {
    acceptor->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (acceptor->stop_fd >= 0) acceptor->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (acceptor->spare_fd >= 0) return RT_OK;
    return rt_fail_errno(RT_EIO, "serve: cannot accept connections");
}

rt_status srv_acceptor_start(int listen_fd, struct MHD_Daemon *daemon, srv_connections *connections,
        srv_acceptor **out) {
    srv_acceptor *acceptor = NULL;
    RT_TRY(rt_calloc(1, sizeof *acceptor, "the acceptor", &acceptor));
    acceptor->listen_fd = listen_fd;
    acceptor->daemon = daemon;
    acceptor->connections = connections;
    acceptor->stop_fd = acceptor->spare_fd = -1;
    write_refusals(acceptor);
    rt_status status = open_descriptors(acceptor);
    if (status == RT_OK)
        status = rt_thread_start(&acceptor->thread, run, acceptor,
                "serve: cannot start a thread that accepts connections");
    if (status != RT_OK) {
        release(acceptor);
        return status;
    }
    *out = acceptor;
    return RT_OK;
}

void srv_acceptor_stop(srv_acceptor *acceptor) {
    if (!acceptor) return;
    const uint64_t one = 1;
    const ssize_t ignored = write(acceptor->stop_fd, &one, sizeof one);
    (void)ignored;
    (void)pthread_join(acceptor->thread, NULL);
    release(acceptor);
}
