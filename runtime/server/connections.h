/* Every open connection, and a thread that watches them with a clock. It shuts a connection down whose
 * header or body comes too slowly, and cancels the request of a client that went away. libmicrohttpd
 * knows only the time since the last byte, and does not watch a connection that is suspended.
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
/* Every connection must have been closed. Accepts NULL. */
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

/* A connection was accepted. Where it is let in (SRV_ENTRY_FREE) it is counted and watched from now on. */
srv_entry srv_connection_enter(
        srv_connections *connections, int fd, const struct sockaddr *address);
/* Forget a connection that entered, but that libmicrohttpd did not take. */
void srv_connection_drop(srv_connections *connections, int fd);
/* For libmicrohttpd's notices: the connection of a descriptor (NULL: none); and the end of one, which frees it. Accepts
 * NULL. */
srv_connection *srv_connection_find(srv_connections *connections, int fd);
void srv_connection_close(srv_connections *connections, srv_connection *one);

/* The header is complete, the body is awaited; n_bytes more of it have come. These and the next ones accept NULL for
 * `one`. */
void srv_connection_body(srv_connections *connections, srv_connection *one);
void srv_connection_received(srv_connections *connections, srv_connection *one, int64_t n_bytes);
/* The answer is being made by `request`, to which a reference is held: it is cancelled when the client goes, and its
 * waiter is woken once a second. NULL: the answer is complete, and on its way. */
void srv_connection_answer(srv_connections *connections, srv_connection *one, srv_request *request);
/* The answer is being made by a thread that takes its time: *gone is set when the client goes. `gone` must live until the
 * next change of state. */
void srv_connection_work(srv_connections *connections, srv_connection *one, atomic_bool *gone);
/* The answer is out: the next header is awaited. */
void srv_connection_idle(srv_connections *connections, srv_connection *one);

/* By the connection's own thread: note the bytes of the request's target, as it came, and read them back; and whether this
 * request is the last one that the connection may make. */
void srv_connection_set_target(srv_connection *one, int64_t n_bytes);
int64_t srv_connection_target(const srv_connection *one);
bool srv_connection_is_last(const srv_connection *one);
/* Whether the client has closed its end, or the whole connection. */
bool srv_connection_is_ending(const srv_connection *one);

#endif
