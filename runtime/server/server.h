/* The HTTP server: libmicrohttpd with a few threads, in front of one scheduler.
 *
 *   listener.c acceptor.c   where clients find us; who is let in, and who is told why not
 *   guard.c connections.c   what is refused before it is read; what is too slow, or gone
 *   http.c                  a request's header, its body, its answer
 *   routes*.c               what a path does: fields -> a request of the scheduler, or an answer
 *   stream.c format_*.c     a request's events -> the bytes of one API
 *   jobs.c                  requests that need no client
 *   readings.c uploads.c page.c   texts that are asked about, files they come from, the web page
 *   schedule.h              the engine's thread, and its files
 *
 * No field of a request ever becomes the name of a file. */
#ifndef SRV_SERVER_H
#define SRV_SERVER_H

#include "options.h"
#include "scheduler.h"

typedef struct srv_server srv_server;

/* Listen and answer. What `options` and `scheduler` point at outlives the server.
 *
 * Errors: RT_EUSAGE  an address that is no loopback's, without a key
 *         RT_EIO     the address cannot be had; RT_ENOMEM */
RT_MUST_CHECK rt_status srv_server_start(
        const srv_options *options, srv_scheduler *scheduler, srv_server **out);
/* "http://127.0.0.1:8000" */
const char *srv_server_url(const srv_server *server);
/* To be called when the scheduler has stopped. Waits for answers that are still being sent, a few seconds at most. Accepts
 * NULL. */
void srv_server_stop(srv_server *server);

#endif
