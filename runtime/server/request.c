#include "request.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "runtime/base/memory.h"

static void make_id(srv_api api, char id[SRV_ID_BYTES]) {
    static const char *const prefixes[] = {"chatcmpl-", "cmpl-", "msg_", "resp_"};
    uint64_t random[2] = {0, 0};
    (void)getrandom(random, sizeof random, 0);
    (void)snprintf(id, SRV_ID_BYTES, "%s%016" PRIx64 "%08" PRIx32, prefixes[api], random[0],
            (uint32_t)random[1]);
}

rt_status srv_request_create(srv_api api, srv_request **out) {
    srv_request *request = NULL;
    RT_TRY(rt_calloc(1, sizeof *request, "a request", &request));
    atomic_init(&request->n_references, 1);
    atomic_init(&request->is_cancelled, false);
    (void)pthread_mutex_init(&request->lock, NULL);
    request->api = api;
    request->created_s = (int64_t)time(NULL);
    request->settings.max_tokens = -1;
    request->settings.n_choices = 1;
    request->progress.eta_s = -1.0;
    make_id(api, request->id);
    *out = request;
    return RT_OK;
}

void srv_request_hold(srv_request *request) {
    (void)atomic_fetch_add(&request->n_references, 1);
}

static void free_settings(srv_settings *settings) {
    for (int i = 0; i < settings->n_stop; i++) free(settings->stop[i]);
    free(settings->stop);
    free(settings->forced_call);
    glm_bias_free(&settings->bias);
    glm_schema_free(settings->schema);
    glm_tools_free(settings->tools);
}

void srv_request_drop(srv_request *request) {
    if (!request || atomic_fetch_sub(&request->n_references, 1) > 1) return;
    rt_assert(!request->waiter);
    for (int i = 0; i < request->n_parts; i++) srv_request_drop(request->parts[i]);
    free(request->parts);
    free_settings(&request->settings);
    glm_ids_free(&request->prompt);
    for (int i = 0; i < SRV_CHOICES_MAX; i++) {
        free(request->choices[i].events);
        free(request->choices[i].tokens);
        free(request->choices[i].text.bytes);
    }
    (void)pthread_mutex_destroy(&request->lock);
    free(request);
}

static rt_status add_event(srv_choice *choice, srv_event event) {
    RT_TRY(rt_make_room(
            &choice->events, sizeof event, choice->n_events, &choice->events_room, "an answer"));
    choice->events[choice->n_events++] = event;
    return RT_OK;
}

rt_status srv_choice_add(
        srv_choice *choice, srv_event_kind kind, const char *bytes, int64_t n_bytes) {
    const int64_t begin = choice->text.n;
    RT_TRY(glm_text_add(&choice->text, bytes, n_bytes));
    if (kind == SRV_EVENT_CALL) choice->n_calls++;
    return add_event(choice, (srv_event){kind, begin, n_bytes});
}

rt_status srv_choice_add_token(srv_choice *choice, const srv_token *token) {
    RT_TRY(rt_make_room(
            &choice->tokens, sizeof *token, choice->n_tokens, &choice->tokens_room, "an answer"));
    choice->tokens[choice->n_tokens] = *token;
    return add_event(choice, (srv_event){SRV_EVENT_TOKEN, choice->n_tokens++, 0});
}

bool srv_request_judges_prompt(const srv_request *request) {
    return request->settings.echoes && request->settings.has_logprobs;
}

int64_t srv_request_generated(const srv_request *request) {
    int64_t n = 0;
    for (int i = 0; i < request->settings.n_choices; i++) n += request->choices[i].n_generated;
    return n;
}

srv_request *srv_request_prompt(srv_request *request, int i) {
    return i < request->n_parts ? request->parts[i] : request;
}

void srv_request_wake(srv_request *request) {
    if (!request->waiter) return;
    MHD_resume_connection(request->waiter);
    request->waiter = NULL;
}
