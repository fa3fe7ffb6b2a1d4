/* Every open connection, and the clock over them: a header, a body or a reader that is too slow ends
 * its connection, a client that went away its request. libmicrohttpd knows the time since the last
 * byte only, and does not watch a connection that is suspended.
 *
 * States:   HEADER --srv_connection_body--> BODY --srv_connection_answer--> ANSWER
 *             ^                                                               |
 *             +------------------------srv_connection_idle--------------------+ */
#ifndef SRV_CONNECTIONS_H
#define SRV_CONNECTIONS_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "scheduler.h"

typedef struct srv_connections srv_connections;
typedef struct srv_connection srv_connection;

/* Starts the thread that watches; at most n_max are let in. RT_ENOMEM, RT_EIO */
RT_MUST_CHECK rt_status srv_connections_create(
        srv_scheduler *scheduler, int64_t n_max, srv_connections **out);
/* All of them closed. Accepts NULL. */
void srv_connections_free(srv_connections *connections);

/* n_max, as it was given. */
int64_t srv_connections_max(const srv_connections *connections);

/* Whether a connection is let in, or why not. */
typedef enum srv_entry {
    SRV_ENTRY_FREE,
    SRV_ENTRY_FULL,
    SRV_ENTRY_ADDRESS_FULL,
    SRV_ENTRY_EXHAUSTED, /* no memory or no descriptor for it */
    SRV_N_ENTRIES
} srv_entry;

/* One was accepted: it is counted, and watched, where it is let in. */
srv_entry srv_connection_enter(
        srv_connections *connections, int fd, const struct sockaddr *address);
/* It was closed before libmicrohttpd told of it. */
void srv_connection_drop(srv_connections *connections, int fd);
/* As libmicrohttpd tells of them: the connection of a descriptor, and its end. */
srv_connection *srv_connection_find(srv_connections *connections, int fd);
void srv_connection_close(srv_connections *connections, srv_connection *one);

/* Accept NULL for `one`. */
void srv_connection_body(srv_connections *connections, srv_connection *one);
void srv_connection_received(srv_connections *connections, srv_connection *one, int64_t n_bytes);
/* `request` is cancelled when the client goes, and woken once a second; NULL: none, the answer is on
 * its way. A reference is held. */
void srv_connection_answer(srv_connections *connections, srv_connection *one, srv_request *request);
/* The body is there, and what is made of it takes time: *gone is set when the client goes. It lives until the
 * next state. */
void srv_connection_work(srv_connections *connections, srv_connection *one, atomic_bool *gone);
/* The answer is out. */
void srv_connection_idle(srv_connections *connections, srv_connection *one);

/* By the connection's own thread: bytes of the request's target, as it came; and whether this request
 * is the last one taken. */
void srv_connection_set_target(srv_connection *one, int64_t n_bytes);
int64_t srv_connection_target(const srv_connection *one);
bool srv_connection_is_last(const srv_connection *one);
/* The client has closed its end, or the whole connection. */
bool srv_connection_is_ending(const srv_connection *one);

#endif
