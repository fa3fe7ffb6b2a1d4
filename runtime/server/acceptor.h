/* A thread accepts connections and hands them to libmicrohttpd. Left to itself that would not answer
 * those beyond its limit, and would spin where there is no descriptor for one. A client that is not let
 * in is told so at once: an HTTP status, and when to try again. */
#ifndef SRV_ACCEPTOR_H
#define SRV_ACCEPTOR_H

#include "connections.h"

typedef struct srv_acceptor srv_acceptor;

/* Accept on `listen_fd`, borrowed, until srv_acceptor_stop. RT_ENOMEM, RT_EIO */
RT_MUST_CHECK rt_status srv_acceptor_start(
        int listen_fd, struct MHD_Daemon *daemon, srv_connections *connections, srv_acceptor **out);
/* Accepts NULL. */
void srv_acceptor_stop(srv_acceptor *acceptor);

#endif
