/* The socket that clients find us at. */
#ifndef SRV_LISTENER_H
#define SRV_LISTENER_H

#include "options.h"

typedef struct srv_listener {
    int fd; /* does not block; -1: none */
    bool is_loopback;
    char url[320]; /* "http://127.0.0.1:8000" */
} srv_listener;

/* Bind and listen.
 *
 * Errors: RT_EUSAGE  no such address, or one that is no loopback's, without a key
 *         RT_EIO     the address cannot be had */
RT_MUST_CHECK rt_status srv_listen(const srv_options *options, srv_listener *out);
void srv_listener_close(srv_listener *listener);

#endif
