#include "origins.h"

#include <microhttpd.h>
#include <string.h>
#include <strings.h>

static const char any[] = "*";

/* A scheme, a host, perhaps a port, as browsers send them: no path, not even a slash. */
static bool is_origin(const char *text) {
    const char *host = strstr(text, "://");
    if (!host || host == text) return false;
    host += 3;
    return host[0] && strcspn(host, "/?#@* \t\r\n") == strlen(host);
}

rt_status srv_origins_check(const srv_origins *origins, bool has_key) {
    for (int i = 0; i < origins->n; i++) {
        const char *name = origins->names[i];
        if (strcmp(name, any) == 0 && !has_key)
            return rt_fail(RT_EUSAGE,
                    "--allow-origin *: with no --api-key any page that a browser here shows could ask");
        if (strcmp(name, any) != 0 && !is_origin(name))
            return rt_fail(RT_EUSAGE,
                    "--allow-origin %.200s: an origin is a scheme, a host and perhaps a port, as "
                    "http://localhost:3000, and nothing behind them",
                    name);
    }
    return RT_OK;
}

bool srv_origins_have(const srv_origins *origins, const char *origin) {
    for (int i = 0; i < origins->n; i++)
        if (strcmp(origins->names[i], any) == 0 || strcasecmp(origins->names[i], origin) == 0)
            return true;
    return false;
}

static const char *field(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static bool has_body(struct MHD_Connection *connection) {
    const char *length = field(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return field(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
           (length && strcmp(length, "0") != 0);
}

bool srv_origins_is_preflight(
        const srv_origins *origins, struct MHD_Connection *connection, const char *method) {
    const char *origin = field(connection, MHD_HTTP_HEADER_ORIGIN);
    if (has_body(connection)) return false; /* nobody's body is read without a key */
    return strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0 && origin &&
           field(connection, MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_METHOD) &&
           srv_origins_have(origins, origin);
}

/* Clients of OpenAI's API send some ten fields of their own: whatever they are, they may. A page of the Internet that asks a
 * machine at home is asked about once more (Private Network Access). */
struct MHD_Response *srv_origins_preflight(struct MHD_Connection *connection) {
    struct MHD_Response *response =
            MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    const char *fields = field(connection, MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_HEADERS);
    if (!response) return NULL;
    (void)MHD_add_response_header(
            response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE");
    if (fields)
        (void)MHD_add_response_header(
                response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS, fields);
    if (field(connection, "Access-Control-Request-Private-Network"))
        (void)MHD_add_response_header(response, "Access-Control-Allow-Private-Network", "true");
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_MAX_AGE, "600");
    return response;
}

void srv_origins_tell(const srv_origins *origins, struct MHD_Connection *connection,
        struct MHD_Response *response) {
    const char *origin = field(connection, MHD_HTTP_HEADER_ORIGIN);
    if (origins->n == 0) return;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ORIGIN);
    if (!origin || !srv_origins_have(origins, origin)) return;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    (void)MHD_add_response_header(
            response, MHD_HTTP_HEADER_ACCESS_CONTROL_EXPOSE_HEADERS, MHD_HTTP_HEADER_RETRY_AFTER);
}
