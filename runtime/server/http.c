#include "http.h"

#include <stdlib.h>
#include <string.h>

#include "exchange.h"
#include "limits.h"
#include "routes.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/json_file.h"

/* For so long the header of an answer that is one JSON value is held back: until then its status can still tell of a
 * failure. */
static const double quiet_s = 10.0;

/* ---- answers --------------------------------------------------------------------------------- */

void srv_reply_text(srv_exchange *exchange, int http, const char *type, const char *text) {
    exchange->http = http;
    exchange->response = MHD_create_response_from_buffer(
            strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (exchange->response)
        (void)MHD_add_response_header(exchange->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
}

void srv_reply(srv_exchange *exchange, int http, json_t *value) {
    static const char no_memory[] =
            "{\"error\":{\"message\":\"no memory for the answer\",\"type\":\"server_error\","
            "\"param\":null,\"code\":\"out_of_memory\"}}";
    char *text = glm_json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(value);
    srv_reply_text(exchange, text ? http : 503, "application/json", text ? text : no_memory);
    free(text);
}

void srv_fail(srv_exchange *exchange, const srv_error *error) {
    exchange->retry_after_s = error->retry_after_s;
    srv_reply(exchange, error->http, srv_error_json(error, exchange->shape));
    if (error->allow[0] && exchange->response)
        (void)MHD_add_response_header(exchange->response, MHD_HTTP_HEADER_ALLOW, error->allow);
}

void srv_generate(srv_exchange *exchange, srv_request *request) {
    srv_error error;
    if (!srv_scheduler_submit(exchange->server->scheduler, request, &error)) {
        srv_request_drop(request);
        srv_fail(exchange, &error);
        return;
    }
    exchange->request = request;
    exchange->asked_s = rt_now();
    srv_connection_answer(exchange->server->connections, exchange->connection, request);
}

static void add_number(struct MHD_Response *response, const char *name, int number) {
    char text[16];
    (void)snprintf(text, sizeof text, "%d", number);
    (void)MHD_add_response_header(response, name, text);
}

static void log_answer(const srv_exchange *exchange) {
    rt_log(RT_LOG_INFO, "serve", "%s %s status=%d", exchange->route ? exchange->route->method : "-",
            exchange->route ? exchange->route->path : "-", exchange->http);
}

static enum MHD_Result queue(srv_exchange *exchange) {
    struct MHD_Response *response = exchange->response;
    if (!response) return MHD_NO;
    if (exchange->retry_after_s > 0)
        add_number(response, MHD_HTTP_HEADER_RETRY_AFTER, exchange->retry_after_s);
    if (exchange->http == 401)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                exchange->route && exchange->route->is_page
                        ? "Basic realm=\"glm1m: any name, and the key\", charset=\"UTF-8\""
                        : "Bearer");
    /* libmicrohttpd would notice that the client has closed its end only at the connection's timeout. */
    if (exchange->connection && srv_connection_is_ending(exchange->connection))
        exchange->closes = true;
    if (exchange->closes)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    srv_origins_tell(&exchange->server->guard.origins, exchange->handle, response);
    log_answer(exchange);
    const enum MHD_Result result =
            MHD_queue_response(exchange->handle, (unsigned)exchange->http, response);
    MHD_destroy_response(response);
    exchange->response = NULL;
    exchange->is_answered = true;
    return result;
}

/* ---- answers of the model -------------------------------------------------------------------- */

static enum MHD_Result begin_stream(srv_exchange *exchange, bool is_whole) {
    const srv_options *options = &exchange->server->options;
    exchange->http = 200;
    exchange->response = srv_stream_respond(
            exchange->request, is_whole, options->model_name, options->tokenizer, exchange->handle);
    return queue(exchange);
}

static void take_answer(srv_exchange *exchange) {
    const srv_options *options = &exchange->server->options;
    const srv_request *request = exchange->request;
    exchange->retry_after_s = request->error.retry_after_s;
    srv_reply(exchange, request->error.http ? request->error.http : 200,
            srv_answer_json(request, options->model_name, options->tokenizer));
}

/* Answer with one JSON value once the request is done; until then the connection is suspended, after quiet_s a stream. */
static enum MHD_Result await(srv_exchange *exchange) {
    srv_request *request = exchange->request;
    if (atomic_load(&request->is_cancelled)) return MHD_NO; /* the client has gone */
    (void)pthread_mutex_lock(&request->lock);
    const bool is_done = request->phase == SRV_DONE;
    const bool is_late = rt_now() - exchange->asked_s > quiet_s;
    if (is_done) {
        take_answer(exchange);
    } else if (!is_late) {
        rt_assert(!request->waiter);
        request->waiter = exchange->handle;
        MHD_suspend_connection(exchange->handle);
    }
    (void)pthread_mutex_unlock(&request->lock);
    if (is_done) return queue(exchange);
    return is_late ? begin_stream(exchange, true) : MHD_YES;
}

static enum MHD_Result answer(srv_exchange *exchange) {
    if (exchange->is_answered) return MHD_YES;
    if (!exchange->request) {
        srv_connection_answer(exchange->server->connections, exchange->connection, NULL);
        return queue(exchange);
    }
    return exchange->request->settings.streams ? begin_stream(exchange, false) : await(exchange);
}

/* ---- the request ----------------------------------------------------------------------------- */

static int64_t declared_length(struct MHD_Connection *handle) {
    const char *text =
            MHD_lookup_connection_value(handle, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return text ? strtoll(text, NULL, 10) : 0;
}

/* The body of /v1/read is a file where its target has a name. */
static bool is_file(const srv_exchange *exchange) {
    return exchange->route && exchange->route->handler == srv_route_read &&
           MHD_lookup_connection_value(exchange->handle, MHD_GET_ARGUMENT_KIND, "name");
}

static int64_t body_limit(const srv_exchange *exchange) {
    return srv_limit_of(exchange->is_file ? SRV_UPLOAD_BYTES : SRV_BODY_BYTES);
}

static bool refuse_size(const srv_exchange *exchange, srv_error *error) {
    return srv_refuse(error, 413, "body_too_large", NULL, "the body has more than %lld bytes",
            (long long)body_limit(exchange));
}

static bool is_taken(const srv_exchange *exchange, const char *version, srv_error *error) {
    const srv_server *server = exchange->server;
    const srv_route *route = exchange->route;
    if (exchange->connection &&
            srv_connection_target(exchange->connection) > srv_limit_of(SRV_REQUEST_LINE_BYTES))
        return srv_refuse(error, 414, "uri_too_long", NULL, "the request's target is too long");
    if (!srv_guard_framing(exchange->handle, version, error) ||
            !srv_guard_origin(&server->guard, exchange->handle, error))
        return false;
    if (!exchange->is_preflight && (!route || !route->is_public) &&
            !srv_guard_key(&server->guard, exchange->handle, route && route->is_page, error))
        return false;
    return declared_length(exchange->handle) <= body_limit(exchange) ||
           refuse_size(exchange, error);
}

static srv_shape shape_of(const srv_exchange *exchange, const char *path) {
    const srv_shape shape = exchange->route ? exchange->route->shape : srv_route_shape(path);
    if (shape != SRV_SHAPE_ASKED) return shape;
    return MHD_lookup_connection_value(exchange->handle, MHD_HEADER_KIND, "anthropic-version")
                   ? SRV_SHAPE_ANTHROPIC
                   : SRV_SHAPE_OPENAI;
}

/* The header is complete: find the route, and refuse what can be refused before the body is read. */
static enum MHD_Result begin(
        srv_exchange *exchange, const char *method, const char *path, const char *version) {
    srv_error error = {0};
    srv_error no_route = {0};
    exchange->route = srv_route_find(method, path, exchange->rest, &no_route);
    exchange->shape = shape_of(exchange, path);
    srv_connection_body(exchange->server->connections, exchange->connection);
    exchange->is_file = is_file(exchange);
    exchange->is_preflight =
            srv_origins_is_preflight(&exchange->server->guard.origins, exchange->handle, method);
    bool is_right =
            is_taken(exchange, version, &error) && (exchange->route || exchange->is_preflight);
    if (is_right && exchange->is_file) {
        exchange->upload = srv_upload_begin(exchange->server->uploads, &error);
        is_right = exchange->upload != NULL;
    }
    if (is_right) return MHD_YES;
    exchange->closes = true; /* its body is not read */
    srv_fail(exchange, error.http ? &error : &no_route);
    return answer(exchange);
}

static enum MHD_Result take_body(srv_exchange *exchange, const char *bytes, size_t n_bytes) {
    srv_connection_received(exchange->server->connections, exchange->connection, (int64_t)n_bytes);
    exchange->n_received += (int64_t)n_bytes;
    if (exchange->n_received > body_limit(exchange)) exchange->is_too_large = true;
    if (exchange->is_too_large)
        return MHD_YES; /* read on: a client that still sends does not read the answer */
    if (exchange->upload)
        return srv_upload_add(exchange->upload, bytes, (int64_t)n_bytes) == RT_OK ? MHD_YES
                                                                                  : MHD_NO;
    return glm_text_add(&exchange->body, bytes, (int64_t)n_bytes) == RT_OK ? MHD_YES : MHD_NO;
}

/* The body is complete. */
static void handle(srv_exchange *exchange) {
    srv_error error;
    const srv_route *route = exchange->route;
    if (exchange->is_too_large) {
        (void)refuse_size(exchange, &error);
        srv_fail(exchange, &error);
        return;
    }
    if (exchange->is_preflight) {
        exchange->http = MHD_HTTP_NO_CONTENT;
        exchange->response = srv_origins_preflight(exchange->handle);
        return;
    }
    if (strcmp(route->method, "POST") != 0 || (exchange->rest[0] && exchange->body.n == 0)) {
        route->handler(exchange, NULL);
        return;
    }
    json_t *body = srv_json_read(
            exchange->body.n > 0 ? exchange->body.bytes : "", exchange->body.n, &error);
    if (!body && route->handler == srv_route_read)
        srv_error_add(&error, "; a file is sent to /v1/read?name=NAME");
    if (body)
        route->handler(exchange, body);
    else
        srv_fail(exchange, &error);
    json_decref(body);
    free(exchange->body.bytes); /* up to 16 MiB that the answer does not need */
    exchange->body = (glm_text){0};
}

static void read_file(void *context) {
    srv_read_file(context);
}

static void awake(void *context) {
    const srv_exchange *exchange = context;
    MHD_resume_connection(exchange->handle);
}

/* The body is a file, and complete: the connection is suspended until a thread has read it. */
static enum MHD_Result read_upload(srv_exchange *exchange) {
    srv_error error;
    if (srv_upload_is_read(exchange->upload)) return answer(exchange);
    srv_connection_work(
            exchange->server->connections, exchange->connection, srv_upload_stop(exchange->upload));
    MHD_suspend_connection(exchange->handle);
    if (srv_upload_read(exchange->upload, read_file, awake, exchange)) return MHD_YES;
    (void)srv_refuse(&error, 503, "no_thread", NULL, "nothing is there to read the file");
    srv_fail(exchange, &error);
    MHD_resume_connection(exchange->handle);
    return MHD_YES;
}

enum MHD_Result srv_http_request(void *context, struct MHD_Connection *connection, const char *path,
        const char *method, const char *version, const char *bytes, size_t *n_bytes, void **place) {
    srv_server *server = context;
    srv_exchange *exchange = *place;
    if (!exchange) {
        if (rt_calloc(1, sizeof *exchange, "an exchange", &exchange) != RT_OK) return MHD_NO;
        (void)atomic_fetch_add(&server->n_open, 1);
        *place = exchange;
        exchange->server = server;
        exchange->handle = connection;
        exchange->connection =
                MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
                        ->socket_context;
        exchange->closes = exchange->connection && srv_connection_is_last(exchange->connection);
        return begin(exchange, method, path, version);
    }
    if (*n_bytes > 0) {
        const size_t n = *n_bytes;
        *n_bytes = 0;
        return take_body(exchange, bytes, n);
    }
    if (exchange->upload && !exchange->is_too_large) return read_upload(exchange);
    if (!exchange->request && !exchange->response && !exchange->is_answered) handle(exchange);
    return answer(exchange);
}

void srv_http_completed(void *context, struct MHD_Connection *connection, void **place,
        enum MHD_RequestTerminationCode code) {
    srv_server *server = context;
    srv_exchange *exchange = *place;
    (void)connection, (void)code;
    if (!exchange) return;
    srv_request *request = exchange->request;
    if (request) {
        (void)pthread_mutex_lock(&request->lock);
        const bool is_done = request->phase == SRV_DONE;
        rt_assert(!request->waiter);
        (void)pthread_mutex_unlock(&request->lock);
        if (!is_done) srv_scheduler_cancel(server->scheduler, request);
        srv_request_drop(request);
    }
    if (exchange->response) MHD_destroy_response(exchange->response);
    srv_connection_idle(server->connections, exchange->connection);
    srv_upload_end(exchange->upload);
    free(exchange->body.bytes);
    free(exchange);
    *place = NULL;
    (void)atomic_fetch_sub(&server->n_open, 1);
}
