#include "server.h"

#include <inttypes.h>
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

/* ---- the daemon ------------------------------------------------------------------------------ */

static void on_connection(void *context, struct MHD_Connection *connection, void **place,
        enum MHD_ConnectionNotificationCode code) {
    srv_server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *place = srv_connection_find(server->connections,
                MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
    else
        srv_connection_close(server->connections, *place);
}

/* An MHD_OPTION_URI_LOG_CALLBACK. The request's own context stays NULL: its header may never be complete. */
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
static int64_t connections_max(void) {
    struct rlimit files;
    const int64_t limit = srv_limit_of(SRV_CONNECTIONS);
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return limit;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    const int64_t granted =
            files.rlim_max == RLIM_INFINITY ? limit : (int64_t)files.rlim_max - OUR_DESCRIPTORS;
    return rt_max64(rt_min64(limit, granted), HTTP_THREADS);
}

/* libmicrohttpd's own limit of connections is never reached: the acceptor's is lower. */
static rt_status open_daemon(srv_server *server) {
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                           MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG;
    server->daemon = MHD_start_daemon(flags, 0, NULL, NULL, srv_http_request, server,
            MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_THREAD_POOL_SIZE,
            (unsigned)HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT,
            2 * (unsigned)srv_connections_max(server->connections) + HTTP_THREADS,
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)srv_limit_of(SRV_HEADER_BYTES),
            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)srv_limit_of(SRV_STALL_S),
            MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
            MHD_OPTION_NOTIFY_COMPLETED, srv_http_completed, server, MHD_OPTION_URI_LOG_CALLBACK,
            on_target, server, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_END);
    if (server->daemon) return RT_OK;
    return rt_fail_errno(RT_EIO, "serve: cannot start the threads that speak HTTP");
}

static rt_status open_all(srv_server *server) {
    RT_TRY(srv_listen(&server->options, &server->listener));
    RT_TRY(srv_guard_init(&server->guard, server->options.host, server->listener.is_loopback,
            server->options.api_key, &server->options.origins));
    RT_TRY(srv_jobs_create(server->scheduler, &server->jobs));
    RT_TRY(srv_readings_create(&server->readings));
    RT_TRY(srv_uploads_create(&server->uploads));
    RT_TRY(srv_page_policy(server->page_policy));
    RT_TRY(srv_connections_create(server->scheduler, connections_max(), &server->connections));
    RT_TRY(open_daemon(server));
    RT_TRY(srv_acceptor_start(
            server->listener.fd, server->daemon, server->connections, &server->acceptor));
    return RT_OK;
}

static void release(srv_server *server) {
    srv_acceptor_stop(server->acceptor);
    srv_listener_close(&server->listener);
    srv_uploads_stop(server->uploads); /* no connection is suspended for one from here on */
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
    server->listener.fd = -1;
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
    return server->listener.url;
}

void srv_server_stop(srv_server *server) {
    if (!server) return;
    srv_uploads_stop(server->uploads);
    for (int waited_ms = 0; atomic_load(&server->n_open) > 0 && waited_ms < STOP_MS;
            waited_ms += 10)
        (void)usleep(10000);
    release(server);
}
