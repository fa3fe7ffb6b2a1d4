/* What is checked before a request's body is read: how it is framed, which host it is for, which origin it comes from, and
 * whether it has the key. */
#ifndef SRV_GUARD_H
#define SRV_GUARD_H

#include <microhttpd.h>

#include "error.h"
#include "origins.h"

typedef struct srv_guard {
    bool is_loopback; /* Host must then name this machine */
    char host[256];   /* as --host says it: also taken */
    bool has_key;
    unsigned char key[32]; /* SHA-256 of it */
    srv_origins origins;
} srv_guard;

/* RT_ENOMEM */
RT_MUST_CHECK rt_status srv_guard_init(srv_guard *guard, const char *host, bool is_loopback,
        const char *api_key, const srv_origins *origins);

/* The header: no more fields than allowed, one length or one chunked body, HTTP/1.0 or 1.1. */
bool srv_guard_framing(struct MHD_Connection *connection, const char *version, srv_error *error);
/* Host is ours, Origin is the page that we serve, one that is allowed, or absent. */
bool srv_guard_origin(const srv_guard *guard, struct MHD_Connection *connection, srv_error *error);
/* "Authorization: Bearer KEY", "X-Api-Key: KEY", or the password of "Authorization: Basic", which a
 * browser asks for and then adds by itself: it counts for the page and for what the page asks. Compared in
 * constant time. */
bool srv_guard_key(
        const srv_guard *guard, struct MHD_Connection *connection, bool is_page, srv_error *error);

#endif
