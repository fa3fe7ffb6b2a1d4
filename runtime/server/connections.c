#include "connections.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/thread.h"

/* The clock ticks every TICK_MS. Every TICKS_TO_LOOK ticks it looks for connections that have ended, every
 * TICKS_TO_WAKE ticks it wakes those that sleep. */
enum { TICK_MS = 200, TICKS_TO_LOOK = 2, TICKS_TO_WAKE = 5 };
enum { N_BUCKETS = 1024 }; /* of addresses */

/* connections.h draws its changes. */
typedef enum connection_state { HEADER, BODY, ANSWER } connection_state;

struct srv_connection {
    srv_connection *next;
    srv_connection *previous;
    srv_connection *next_of_bucket;
    uint64_t address;
    int fd;
    connection_state state;
    double since_s;     /* rt_now() when that began */
    int64_t body_bytes; /* received so far, in BODY */
    bool is_ending;     /* when the clock last looked, srv_connection_is_ending() */
    int64_t n_answers;
    int64_t target_bytes; /* the connection's own thread only */
    srv_request *request; /* in ANSWER; a reference, or NULL */
    atomic_bool *gone;    /* in ANSWER: set when the client goes; NULL: nobody asks */
};

struct srv_connections {
    srv_scheduler *scheduler;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stopping;
    bool is_stopping;
    int64_t n_max;
    int64_t n_open;
    srv_connection *first;
    srv_connection *buckets[N_BUCKETS]; /* by address */
    srv_connection **by_fd;
    int64_t fd_capacity;
};

/* ---- the clock ------------------------------------------------------------------------------- */

static bool is_late(const srv_connection *one, double now) {
    const double waited_s = now - one->since_s;
    if (one->state == HEADER)
        return waited_s > (double)srv_limit_of(one->n_answers ? SRV_IDLE_S : SRV_HEADER_S);
    if (one->state != BODY) return false;
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

static void wake(srv_request *request) {
    (void)pthread_mutex_lock(&request->lock);
    srv_request_wake(request);
    (void)pthread_mutex_unlock(&request->lock);
}

/* A stream waits for that one of the request's prompts which it shows. */
static void look_after(srv_connections *connections, srv_connection *one, bool is_time_to_wake) {
    srv_request *request = one->request;
    if (one->gone && srv_connection_is_ending(one)) atomic_store(one->gone, true);
    if (!request) return;
    const bool was_cancelled = atomic_load(&request->is_cancelled);
    const bool gone = srv_connection_is_ending(one);
    if (gone && !was_cancelled) srv_scheduler_cancel(connections->scheduler, request);
    if (!gone && !is_time_to_wake) return;
    for (int i = 0; i <= request->n_parts; i++) wake(srv_request_prompt(request, i));
}

/* The client has closed its end while libmicrohttpd still waits for a header or a body. Libmicrohttpd misses an end that
 * arrives together with the last bytes, since epoll tells it of changes only. Two looks in a row must see the end: in the
 * time between them what was sent before it is read. */
static bool has_ended(srv_connection *one, bool is_time_to_look) {
    if (one->state == ANSWER || !is_time_to_look) return false;
    const bool was_ending = one->is_ending;
    one->is_ending = srv_connection_is_ending(one);
    return was_ending && one->is_ending;
}

/* With the lock: a descriptor is not closed, and so not another's, before its connection has left. */
static void tick(srv_connections *connections, int n_ticks) {
    const double now = rt_now();
    const bool is_time_to_look = n_ticks % TICKS_TO_LOOK == 0;
    const bool is_time_to_wake = n_ticks % TICKS_TO_WAKE == 0;
    for (srv_connection *one = connections->first; one; one = one->next) {
        look_after(connections, one, is_time_to_wake);
        if (is_late(one, now) || has_ended(one, is_time_to_look))
            (void)shutdown(one->fd, SHUT_RDWR);
    }
}

static void *watch(void *argument) {
    srv_connections *connections = argument;
    (void)pthread_mutex_lock(&connections->lock);
    for (int n_ticks = 1; !connections->is_stopping; n_ticks++) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&connections->stopping, &connections->lock, &until);
        tick(connections, n_ticks);
    }
    (void)pthread_mutex_unlock(&connections->lock);
    return NULL;
}

/* ---- who there is ---------------------------------------------------------------------------- */

/* The parts of an address that a client cannot choose: all of IPv4's, an IPv6 network's. */
static uint64_t key_of(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return v4.sin_addr.s_addr;
    }
    uint64_t network = 0;
    struct sockaddr_in6 v6;
    if (address->sa_family != AF_INET6) return 0;
    memcpy(&v6, address, sizeof v6);
    memcpy(&network, &v6.sin6_addr, sizeof network);
    return network;
}

static srv_connection **bucket_of(srv_connections *connections, uint64_t address) {
    return &connections->buckets[address * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

static int64_t n_of_address(srv_connections *connections, uint64_t address) {
    int64_t n = 0;
    for (const srv_connection *one = *bucket_of(connections, address); one;
            one = one->next_of_bucket)
        n += one->address == address;
    return n;
}

static bool has_place(srv_connections *connections, int fd) {
    if (fd < connections->fd_capacity) return true;
    const int64_t capacity = 2 * (int64_t)fd + 64;
    srv_connection **larger = realloc(connections->by_fd, (size_t)capacity * sizeof(void *));
    if (!larger) return false;
    memset(larger + connections->fd_capacity, 0,
            (size_t)(capacity - connections->fd_capacity) * sizeof(void *));
    connections->by_fd = larger;
    connections->fd_capacity = capacity;
    return true;
}

static void link_in(srv_connections *connections, srv_connection *one) {
    srv_connection **bucket = bucket_of(connections, one->address);
    one->next_of_bucket = *bucket;
    *bucket = one;
    one->next = connections->first;
    if (one->next) one->next->previous = one;
    connections->first = one;
    connections->by_fd[one->fd] = one;
    connections->n_open++;
}

static void unlink_one(srv_connections *connections, srv_connection *one) {
    srv_connection **link = bucket_of(connections, one->address);
    while (*link != one) link = &(*link)->next_of_bucket;
    *link = one->next_of_bucket;
    if (one->next) one->next->previous = one->previous;
    if (one->previous) one->previous->next = one->next;
    if (connections->first == one) connections->first = one->next;
    if (connections->by_fd[one->fd] == one) connections->by_fd[one->fd] = NULL;
    connections->n_open--;
}

/* With the lock. */
static srv_entry enter_one(srv_connections *connections, srv_connection *one) {
    if (connections->n_open >= connections->n_max) return SRV_ENTRY_FULL;
    if (n_of_address(connections, one->address) >= srv_limit_of(SRV_CONNECTIONS_PER_ADDRESS))
        return SRV_ENTRY_ADDRESS_FULL;
    if (!has_place(connections, one->fd)) return SRV_ENTRY_EXHAUSTED;
    srv_connection *stale = connections->by_fd[one->fd];
    if (stale) { /* libmicrohttpd had no memory for it, and said nothing */
        unlink_one(connections, stale);
        free(stale);
    }
    link_in(connections, one);
    return SRV_ENTRY_FREE;
}

srv_entry srv_connection_enter(
        srv_connections *connections, int fd, const struct sockaddr *address) {
    srv_connection *one = NULL;
    if (rt_calloc(1, sizeof *one, "a connection", &one) != RT_OK) return SRV_ENTRY_EXHAUSTED;
    one->fd = fd;
    one->address = key_of(address);
    one->since_s = rt_now();
    (void)pthread_mutex_lock(&connections->lock);
    const srv_entry entry = enter_one(connections, one);
    (void)pthread_mutex_unlock(&connections->lock);
    if (entry != SRV_ENTRY_FREE) free(one);
    return entry;
}

srv_connection *srv_connection_find(srv_connections *connections, int fd) {
    (void)pthread_mutex_lock(&connections->lock);
    srv_connection *one = fd < connections->fd_capacity ? connections->by_fd[fd] : NULL;
    (void)pthread_mutex_unlock(&connections->lock);
    return one;
}

void srv_connection_close(srv_connections *connections, srv_connection *one) {
    if (!one) return;
    (void)pthread_mutex_lock(&connections->lock);
    unlink_one(connections, one);
    (void)pthread_mutex_unlock(&connections->lock);
    srv_request_drop(one->request);
    free(one);
}

void srv_connection_drop(srv_connections *connections, int fd) {
    srv_connection_close(connections, srv_connection_find(connections, fd));
}

int64_t srv_connections_max(const srv_connections *connections) {
    return connections->n_max;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Whoever sets the machine's clock back must not stop the ticks. */
static void init_locks(srv_connections *connections) {
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&connections->lock, NULL);
    (void)pthread_cond_init(&connections->stopping, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

rt_status srv_connections_create(srv_scheduler *scheduler, int64_t n_max, srv_connections **out) {
    srv_connections *connections = NULL;
    RT_TRY(rt_calloc(1, sizeof *connections, "connections", &connections));
    connections->scheduler = scheduler;
    connections->n_max = n_max;
    init_locks(connections);
    const rt_status status = rt_thread_start(&connections->thread, watch, connections,
            "serve: cannot start a thread that watches connections");
    if (status != RT_OK)
        free(connections);
    else
        *out = connections;
    return status;
}

void srv_connections_free(srv_connections *connections) {
    if (!connections) return;
    (void)pthread_mutex_lock(&connections->lock);
    connections->is_stopping = true;
    (void)pthread_cond_signal(&connections->stopping);
    (void)pthread_mutex_unlock(&connections->lock);
    (void)pthread_join(connections->thread, NULL);
    rt_assert(!connections->first);
    free(connections->by_fd);
    (void)pthread_cond_destroy(&connections->stopping);
    (void)pthread_mutex_destroy(&connections->lock);
    free(connections);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void enter(srv_connections *connections, srv_connection *one, connection_state state,
        srv_request *request, atomic_bool *gone) {
    if (!one) return;
    if (request) srv_request_hold(request);
    (void)pthread_mutex_lock(&connections->lock);
    srv_request *last = one->request;
    one->request = request;
    one->gone = gone;
    one->state = state;
    one->since_s = rt_now();
    one->is_ending = false;
    if (state != BODY) one->body_bytes = 0;
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
