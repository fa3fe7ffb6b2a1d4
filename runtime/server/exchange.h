/* libmicrohttpd's callbacks, of http.c for server.c. */
#ifndef SRV_EXCHANGE_H
#define SRV_EXCHANGE_H

#include "http.h"
#include "json_in.h"

/* A request's next part (MHD_AccessHandlerCallback), and its end (MHD_RequestCompletedCallback); `context` is the
 * server's, *place the exchange's. */
enum MHD_Result srv_http_request(void *context, struct MHD_Connection *connection, const char *path,
        const char *method, const char *version, const char *bytes, size_t *n_bytes, void **place);
void srv_http_completed(void *context, struct MHD_Connection *connection, void **place,
        enum MHD_RequestTerminationCode code);

#endif
