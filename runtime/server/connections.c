#include "connections.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"

/* How often the clock is looked at. */
enum { TICK_MS = 200, TICKS_TO_WAKE = 5 };

typedef enum phase { HEADER, BODY, ANSWER } phase;

struct srv_connection {
    srv_connection *next;
    srv_connection *previous;
    int fd;
    phase now;
    double since_s;
    int64_t body_bytes;
    bool is_ending; /* as of the last look */
    int64_t n_answers;
    int64_t target_bytes; /* the connection's own thread only */
    srv_request *request;
    atomic_bool *gone; /* NULL: nobody asks */
};

struct srv_connections {
    srv_scheduler *scheduler;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stopping;
    bool is_stopping;
    srv_connection *first;
};

/* ---- the clock ------------------------------------------------------------------------------- */

static bool is_late(const srv_connection *one, double now) {
    const double waited_s = now - one->since_s;
    if (one->now == HEADER)
        return waited_s > (double)srv_limit_of(one->n_answers ? SRV_IDLE_S : SRV_HEADER_S);
    if (one->now != BODY) return false;
    const double granted_s = (double)srv_limit_of(SRV_BODY_S) +
                             (double)one->body_bytes / (double)srv_limit_of(SRV_BODY_BYTES_PER_S);
    const double rate_grace_s = (double)srv_limit_of(SRV_HEADER_S);
    const bool is_slow = waited_s > rate_grace_s &&
                         (double)one->body_bytes < (waited_s - rate_grace_s) *
                                                           (double)srv_limit_of(SRV_BODY_RATE_MIN);
    return waited_s > granted_s || is_slow;
}

bool srv_connection_is_ending(const srv_connection *one) {
    struct pollfd end = {.fd = one->fd, .events = POLLRDHUP};
    return poll(&end, 1, 0) > 0 && (end.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

static void look_after(srv_connections *connections, srv_connection *one, bool is_time_to_wake) {
    srv_request *request = one->request;
    if (one->gone && srv_connection_is_ending(one)) atomic_store(one->gone, true);
    if (!request) return;
    const bool was_cancelled = atomic_load(&request->is_cancelled);
    const bool gone = srv_connection_is_ending(one);
    if (gone && !was_cancelled) srv_scheduler_cancel(connections->scheduler, request);
    if (!gone && !is_time_to_wake) return;
    (void)pthread_mutex_lock(&request->lock);
    srv_request_wake(request);
    (void)pthread_mutex_unlock(&request->lock);
}

/* An end that came together with the last bytes is missed by libmicrohttpd, which is told of changes
 * only. What was sent before it has had a second to be read. */
static bool has_ended(srv_connection *one, bool is_time_to_look) {
    if (one->now == ANSWER || !is_time_to_look) return false;
    const bool was_ending = one->is_ending;
    one->is_ending = srv_connection_is_ending(one);
    return was_ending && one->is_ending;
}

/* With the lock: a descriptor is not closed, and so not another's, before its connection has left. */
static void tick(srv_connections *connections, bool is_time_to_wake) {
    const double now = rt_now();
    for (srv_connection *one = connections->first; one; one = one->next) {
        look_after(connections, one, is_time_to_wake);
        if (is_late(one, now) || has_ended(one, is_time_to_wake))
            (void)shutdown(one->fd, SHUT_RDWR);
    }
}

static void *watch(void *argument) {
    srv_connections *connections = argument;
    (void)pthread_mutex_lock(&connections->lock);
    for (int n_ticks = 1; !connections->is_stopping; n_ticks++) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&connections->stopping, &connections->lock, &until);
        tick(connections, n_ticks % TICKS_TO_WAKE == 0);
    }
    (void)pthread_mutex_unlock(&connections->lock);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

rt_status srv_connections_create(srv_scheduler *scheduler, srv_connections **out) {
    srv_connections *connections = NULL;
    RT_TRY(rt_calloc(1, sizeof *connections, "connections", &connections));
    connections->scheduler = scheduler;
    (void)pthread_mutex_init(&connections->lock, NULL);
    (void)pthread_cond_init(&connections->stopping, NULL);
    if (pthread_create(&connections->thread, NULL, watch, connections) != 0) {
        free(connections);
        return rt_fail(RT_EIO, "serve: cannot start a thread");
    }
    *out = connections;
    return RT_OK;
}

void srv_connections_free(srv_connections *connections) {
    if (!connections) return;
    (void)pthread_mutex_lock(&connections->lock);
    connections->is_stopping = true;
    (void)pthread_cond_signal(&connections->stopping);
    (void)pthread_mutex_unlock(&connections->lock);
    (void)pthread_join(connections->thread, NULL);
    rt_assert(!connections->first);
    (void)pthread_cond_destroy(&connections->stopping);
    (void)pthread_mutex_destroy(&connections->lock);
    free(connections);
}

srv_connection *srv_connection_open(srv_connections *connections, struct MHD_Connection *handle) {
    srv_connection *one = NULL;
    if (rt_calloc(1, sizeof *one, "a connection", &one) != RT_OK) return NULL;
    one->fd = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    one->since_s = rt_now();
    (void)pthread_mutex_lock(&connections->lock);
    one->next = connections->first;
    if (one->next) one->next->previous = one;
    connections->first = one;
    (void)pthread_mutex_unlock(&connections->lock);
    return one;
}

void srv_connection_close(srv_connections *connections, srv_connection *one) {
    if (!one) return;
    (void)pthread_mutex_lock(&connections->lock);
    if (one->next) one->next->previous = one->previous;
    if (one->previous) one->previous->next = one->next;
    if (connections->first == one) connections->first = one->next;
    (void)pthread_mutex_unlock(&connections->lock);
    srv_request_drop(one->request);
    free(one);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void enter(srv_connections *connections, srv_connection *one, phase now,
        srv_request *request, atomic_bool *gone) {
    if (!one) return;
    if (request) srv_request_hold(request);
    (void)pthread_mutex_lock(&connections->lock);
    srv_request *last = one->request;
    one->request = request;
    one->gone = gone;
    one->now = now;
    one->since_s = rt_now();
    one->is_ending = false;
    if (now != BODY) one->body_bytes = 0;
    (void)pthread_mutex_unlock(&connections->lock);
    srv_request_drop(last);
}

void srv_connection_body(srv_connections *connections, srv_connection *one) {
    enter(connections, one, BODY, NULL, NULL);
}

void srv_connection_received(srv_connections *connections, srv_connection *one, int64_t n_bytes) {
    if (!one) return;
    (void)pthread_mutex_lock(&connections->lock);
    one->body_bytes += n_bytes;
    (void)pthread_mutex_unlock(&connections->lock);
}

void srv_connection_answer(
        srv_connections *connections, srv_connection *one, srv_request *request) {
    enter(connections, one, ANSWER, request, NULL);
}

void srv_connection_work(srv_connections *connections, srv_connection *one, atomic_bool *gone) {
    enter(connections, one, ANSWER, NULL, gone);
}

void srv_connection_idle(srv_connections *connections, srv_connection *one) {
    if (!one) return;
    (void)pthread_mutex_lock(&connections->lock);
    one->n_answers++;
    (void)pthread_mutex_unlock(&connections->lock);
    enter(connections, one, HEADER, NULL, NULL);
}

void srv_connection_set_target(srv_connection *one, int64_t n_bytes) {
    one->target_bytes = n_bytes;
}

int64_t srv_connection_target(const srv_connection *one) {
    return one->target_bytes;
}

bool srv_connection_is_last(const srv_connection *one) {
    return one->n_answers + 1 >= srv_limit_of(SRV_CONNECTION_REQUESTS);
}
