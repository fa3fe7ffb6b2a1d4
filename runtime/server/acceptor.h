/* Who is let in. A thread accepts connections and hands them to libmicrohttpd, which would leave those
 * beyond its limit unanswered, and spins where there is no descriptor for one. Whoever is not let in is
 * told so at once, with a status and when to come again. */
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
