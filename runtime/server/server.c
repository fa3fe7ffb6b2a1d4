#include "server.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"
#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { HTTP_THREADS = 4, OUR_DESCRIPTORS = 128, STOP_MS = 5000 };

/* ---- the address ----------------------------------------------------------------------------- */

typedef struct address {
    struct sockaddr_storage bytes;
    bool is_ipv6;
    bool is_loopback;
} address;

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

static rt_status resolve(const char *host, int32_t port, address *out) {
    char service[16];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    (void)snprintf(service, sizeof service, "%" PRId32, port);
    const int failure = getaddrinfo(host, service, &hints, &found);
    if (failure) return rt_fail(RT_EUSAGE, "--host %s: %s", host, gai_strerror(failure));
    *out = (address){
            .is_ipv6 = found->ai_family == AF_INET6, .is_loopback = is_loopback(found->ai_addr)};
    memcpy(&out->bytes, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return RT_OK;
}

static rt_status check_address(const srv_options *options, const address *where) {
    if (where->is_loopback || options->api_key) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "--host %s: whoever reaches that address could use the model; give --api-key (or "
            "GLM_API_KEY) for it, or bind to 127.0.0.1",
            options->host);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static void on_connection(void *context, struct MHD_Connection *connection, void **place,
        enum MHD_ConnectionNotificationCode code) {
    srv_server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *place = srv_connection_open(server->connections, connection);
    else
        srv_connection_close(server->connections, *place);
}

/* The context of the request stays NULL: its header may never come. */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection) {
    (void)context;
    srv_connection *one =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (one) srv_connection_set_target(one, (int64_t)strlen(target));
    return NULL;
}

/* Paths are compared as they come: no route has a % in it, and a decoded NUL would end one early. */
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text) {
    (void)context, (void)connection;
    return strlen(text);
}

static void on_log(void *context, const char *format, va_list arguments) {
    char text[256];
    (void)context;
    (void)vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\n")] = '\0';
    rt_log(RT_LOG_DEBUG, "http", "%s", text);
}

/* As many connections as the limit says, or as there are descriptors for. */
static unsigned connections_max(void) {
    struct rlimit files;
    const int64_t limit = srv_limit_of(SRV_CONNECTIONS);
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return (unsigned)limit;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    const int64_t granted =
            files.rlim_max == RLIM_INFINITY ? limit : (int64_t)files.rlim_max - OUR_DESCRIPTORS;
    return (unsigned)rt_max64(rt_min64(limit, granted), HTTP_THREADS);
}

static rt_status open_daemon(srv_server *server, const address *where) {
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                           MHD_USE_ERROR_LOG | (where->is_ipv6 ? MHD_USE_IPv6 : 0);
    server->daemon = MHD_start_daemon(flags, 0, NULL, NULL, srv_http_request, server,
            MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_SOCK_ADDR, &where->bytes,
            MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT,
            connections_max(), MHD_OPTION_PER_IP_CONNECTION_LIMIT,
            (unsigned)srv_limit_of(SRV_CONNECTIONS_PER_ADDRESS), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
            (size_t)srv_limit_of(SRV_HEADER_BYTES), MHD_OPTION_CONNECTION_TIMEOUT,
            (unsigned)srv_limit_of(SRV_STALL_S), MHD_OPTION_STRICT_FOR_CLIENT, 1,
            MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
            srv_http_completed, server, MHD_OPTION_URI_LOG_CALLBACK, on_target, server,
            MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_END);
    if (server->daemon) return RT_OK;
    return rt_fail_errno(RT_EIO, "serve: cannot listen on %s port %" PRId32, server->options.host,
            server->options.port);
}

static void name_url(srv_server *server, const address *where) {
    const union MHD_DaemonInfo *port =
            MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    (void)snprintf(server->url, sizeof server->url,
            where->is_ipv6 ? "http://[%s]:%u" : "http://%s:%u", server->options.host,
            (unsigned)port->port);
}

static rt_status open_all(srv_server *server) {
    address where;
    RT_TRY(resolve(server->options.host, server->options.port, &where));
    RT_TRY(check_address(&server->options, &where));
    RT_TRY(srv_guard_init(
            &server->guard, server->options.host, where.is_loopback, server->options.api_key));
    RT_TRY(srv_jobs_create(server->scheduler, &server->jobs));
    RT_TRY(srv_readings_create(&server->readings));
    RT_TRY(srv_uploads_create(&server->uploads));
    RT_TRY(srv_page_policy(server->page_policy));
    RT_TRY(srv_connections_create(server->scheduler, &server->connections));
    RT_TRY(open_daemon(server, &where));
    name_url(server, &where);
    return RT_OK;
}

static void release(srv_server *server) {
    srv_uploads_stop(server->uploads); /* no connection sleeps behind this line */
    if (server->daemon) MHD_stop_daemon(server->daemon);
    srv_connections_free(server->connections);
    srv_jobs_free(server->jobs);
    srv_readings_free(server->readings);
    srv_uploads_free(server->uploads);
    free(server);
}

rt_status srv_server_start(const srv_options *options, srv_scheduler *scheduler, srv_server **out) {
    srv_server *server = NULL;
    RT_TRY(rt_calloc(1, sizeof *server, "the server", &server));
    server->options = *options;
    server->scheduler = scheduler;
    server->started_at = (int64_t)time(NULL);
    atomic_init(&server->n_open, 0);
    const rt_status status = open_all(server);
    if (status != RT_OK) {
        release(server);
        return status;
    }
    *out = server;
    return RT_OK;
}

const char *srv_server_url(const srv_server *server) {
    return server->url;
}

void srv_server_stop(srv_server *server) {
    if (!server) return;
    srv_uploads_stop(server->uploads);
    for (int waited_ms = 0; atomic_load(&server->n_open) > 0 && waited_ms < STOP_MS;
            waited_ms += 10)
        (void)usleep(10000);
    release(server);
}
