/* Pages of other origins that --allow-origin names: what their browsers want to be told (CORS), so that they may ask. */
#ifndef SRV_ORIGINS_H
#define SRV_ORIGINS_H

#include <stdbool.h>

#include "runtime/base/status.h"

struct MHD_Connection;
struct MHD_Response;

typedef struct srv_origins {
    const char *const *names; /* borrowed: "https://chat.example:3000"; "*" is any */
    int n;
} srv_origins;

/* RT_EUSAGE  one is no origin, or any may ask and no key is needed */
RT_MUST_CHECK rt_status srv_origins_check(const srv_origins *origins, bool has_key);

bool srv_origins_have(const srv_origins *origins, const char *origin);

/* A browser asks, before its page may, whether that may: OPTIONS, which has no key, of one of the origins. */
bool srv_origins_is_preflight(
        const srv_origins *origins, struct MHD_Connection *connection, const char *method);

/* The answer to it, once srv_origins_tell has been called too; NULL: no memory. */
struct MHD_Response *srv_origins_preflight(struct MHD_Connection *connection);

/* Add to any answer that the page may read it. */
void srv_origins_tell(const srv_origins *origins, struct MHD_Connection *connection,
        struct MHD_Response *response);

#endif
