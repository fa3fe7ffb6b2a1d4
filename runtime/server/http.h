/* One HTTP request and its answer, for the routes. */
#ifndef SRV_HTTP_H
#define SRV_HTTP_H

#include <microhttpd.h>

#include "acceptor.h"
#include "connections.h"
#include "guard.h"
#include "jobs.h"
#include "listener.h"
#include "options.h"
#include "page.h"
#include "readings.h"
#include "scheduler.h"
#include "stream.h"
#include "uploads.h"

struct srv_server {
    srv_options options;
    srv_scheduler *scheduler;
    srv_connections *connections;
    srv_jobs *jobs;
    srv_readings *readings;
    srv_uploads *uploads;
    srv_guard guard;
    struct MHD_Daemon *daemon;
    srv_listener listener;
    srv_acceptor *acceptor;
    char page_policy[SRV_PAGE_POLICY_BYTES];
    int64_t started_at; /* seconds since 1970 */
    atomic_int n_open;  /* exchanges */
};

typedef struct srv_server srv_server;
/* What continues a route's path: a model's name at most, each byte as %2F. */
enum { SRV_REST_BYTES = 3 * SRV_MODEL_NAME_BYTES };

typedef struct srv_exchange srv_exchange;

/* What a route does: it calls srv_reply, srv_reply_text, srv_generate or srv_fail, once. `body` is NULL for a GET. */
typedef void (*srv_handler)(srv_exchange *exchange, const json_t *body);

typedef struct srv_route {
    const char *method;
    const char *path; /* where it ends in a /, one more part follows: exchange->rest */
    srv_handler handler;
    srv_shape shape;
    bool is_public; /* needs no key */
    bool is_page;   /* shown by a browser, which is made to ask its user for the key */
} srv_route;

struct srv_exchange {
    srv_server *server;
    srv_connection *connection;
    struct MHD_Connection *handle;
    const srv_route *route;
    srv_shape shape; /* of errors; also where there is no route */
    char rest[SRV_REST_BYTES];
    bool is_preflight; /* there may be no route: the browser then asks for it, and its page is told */
    bool is_file;      /* the body is a file: it goes into `upload`, not into `body` */
    glm_text body;
    srv_upload *upload;
    int64_t n_received;
    bool is_too_large;

    /* The answer: a response, or a request that will have one. */
    struct MHD_Response *response;
    srv_request *request;

    int http;
    int retry_after_s;
    double asked_s; /* when the request was made of the scheduler */
    bool is_answered;
    bool closes;
};

/* The route of a method and a path. NULL: `error` says 404 or 405. */
const srv_route *srv_route_find(
        const char *method, const char *path, char rest[SRV_REST_BYTES], srv_error *error);
/* The shape of errors for a path, by the API that it belongs to, even if there is no such route. */
srv_shape srv_route_shape(const char *path);

/* Answer with JSON; `value` is released. NULL, which is what jansson gives without memory: 503. */
void srv_reply(srv_exchange *exchange, int http, json_t *value);
void srv_reply_text(srv_exchange *exchange, int http, const char *type, const char *text);
void srv_fail(srv_exchange *exchange, const srv_error *error);
/* Submit a request, whose answer is then this exchange's; takes over the caller's reference. */
void srv_generate(srv_exchange *exchange, srv_request *request);

#endif
