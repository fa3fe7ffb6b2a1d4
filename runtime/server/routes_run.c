/* Routes that run the model, at once or as a job. */
#include <string.h>

#include "ask.h"
#include "json_out.h"
#include "routes.h"

typedef srv_request *(*asker)(const json_t *body, const srv_options *options, srv_error *error);

static void run(srv_exchange *exchange, const json_t *body, asker ask) {
    srv_error error;
    srv_request *request = ask(body, &exchange->server->options, &error);
    if (request)
        srv_generate(exchange, request);
    else
        srv_fail(exchange, &error);
}

void srv_route_chat(srv_exchange *exchange, const json_t *body) {
    run(exchange, body, srv_ask_chat);
}

void srv_route_completion(srv_exchange *exchange, const json_t *body) {
    run(exchange, body, srv_ask_completion);
}

void srv_route_messages(srv_exchange *exchange, const json_t *body) {
    run(exchange, body, srv_ask_messages);
}

void srv_route_responses(srv_exchange *exchange, const json_t *body) {
    run(exchange, body, srv_ask_responses);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static asker find_endpoint(const json_t *body, srv_error *error) {
    const char *name = "";
    if (!srv_get_text(body, "endpoint", &name, error)) return NULL;
    if (strcmp(name, "/v1/chat/completions") == 0) return srv_ask_chat;
    if (strcmp(name, "/v1/completions") == 0) return srv_ask_completion;
    if (strcmp(name, "/v1/messages") == 0) return srv_ask_messages;
    if (strcmp(name, "/v1/responses") == 0) return srv_ask_responses;
    (void)srv_refuse_field(error, "endpoint",
            "endpoint is \"%.40s\": /v1/chat/completions, /v1/completions, /v1/messages and "
            "/v1/responses are run",
            name);
    return NULL;
}

void srv_route_submit_job(srv_exchange *exchange, const json_t *body) {
    srv_server *server = exchange->server;
    srv_error error;
    char id[SRV_ID_BYTES];
    const asker ask = find_endpoint(body, &error);
    const json_t *inner = json_object_get(body, "body");
    srv_request *request = NULL;
    if (ask && !json_is_object(inner))
        (void)srv_refuse_field(&error, "body", "body must be an object: what endpoint takes");
    else if (ask)
        request = ask(inner, &server->options, &error);
    if (request) {
        srv_request_hold(request);
        const bool is_added = srv_jobs_add(server->jobs, request, id, &error);
        if (is_added) srv_reply(exchange, 202, srv_job_json(request, id));
        srv_request_drop(request);
        if (is_added) return;
    }
    srv_fail(exchange, &error);
}

void srv_route_list_jobs(srv_exchange *exchange, const json_t *body) {
    (void)body;
    srv_reply(exchange, 200, srv_jobs_json(exchange->server->jobs));
}

/* The job of the path, with a reference; NULL: 404 is on its way. */
static srv_request *find_job(srv_exchange *exchange) {
    srv_error error;
    srv_request *request = srv_jobs_find(exchange->server->jobs, exchange->rest);
    if (request) return request;
    (void)srv_refuse(&error, 404, "job_not_found", "id", "there is no such job");
    srv_fail(exchange, &error);
    return NULL;
}

/* With its answer, once it has one. */
static void reply_job(srv_exchange *exchange, srv_request *request, bool is_deleted) {
    const srv_options *options = &exchange->server->options;
    json_t *job = srv_job_json(request, exchange->rest);
    (void)pthread_mutex_lock(&request->lock);
    if (request->phase == SRV_DONE && !atomic_load(&request->is_cancelled))
        job = srv_set(job, "response",
                json_pack("{s:i, s:o}", "status_code",
                        request->error.http ? request->error.http : 200, "body",
                        srv_answer_json(request, options->model_name, options->tokenizer)));
    (void)pthread_mutex_unlock(&request->lock);
    if (is_deleted) job = srv_set(job, "deleted", json_true());
    srv_reply(exchange, 200, job);
}

void srv_route_poll_job(srv_exchange *exchange, const json_t *body) {
    srv_request *request = find_job(exchange);
    (void)body;
    if (!request) return;
    reply_job(exchange, request, false);
    srv_request_drop(request);
}

/* One that is over is forgotten. Any other is cancelled, and stays, so that its client sees how it ends. */
void srv_route_cancel_job(srv_exchange *exchange, const json_t *body) {
    srv_request *request = find_job(exchange);
    (void)body;
    if (!request) return;
    (void)pthread_mutex_lock(&request->lock);
    const bool is_done = request->phase == SRV_DONE;
    (void)pthread_mutex_unlock(&request->lock);
    if (!is_done) srv_scheduler_cancel(exchange->server->scheduler, request);
    reply_job(exchange, request, is_done);
    if (is_done && exchange->http == 200) srv_jobs_forget(exchange->server->jobs, exchange->rest);
    srv_request_drop(request);
}
