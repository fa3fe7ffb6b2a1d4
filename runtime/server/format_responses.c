/* OpenAI's responses: one message of one text, in events or whole. */
#include <string.h>

#include "stream.h"

static bool is_cut(const srv_request *request) {
    return request->choices[0].finish == SRV_FINISH_LENGTH;
}

static json_t *whole_text(const srv_request *request) {
    const srv_choice *choice = &request->choices[0];
    return srv_joined_text(choice, 0, choice->n_events, SRV_EVENT_TEXT);
}

static json_t *part(json_t *text) {
    return json_pack("{s:s, s:o, s:[], s:[]}", "type", "output_text", "text", text, "annotations",
            "logprobs");
}

/* "msg_" and the request's own part of its id. */
static json_t *item_id(const srv_request *request) {
    return json_sprintf("msg_%s", strchr(request->id, '_') + 1);
}

static json_t *message(const srv_request *request, const char *status, json_t *parts) {
    return json_pack("{s:o, s:s, s:s, s:s, s:o}", "id", item_id(request), "type", "message",
            "status", status, "role", "assistant", "content", parts);
}

static const char *status_of(const srv_request *request) {
    return is_cut(request) ? "incomplete" : "completed";
}

static json_t *whole_message(const srv_request *request) {
    return message(
            request, status_of(request), srv_append(json_array(), part(whole_text(request))));
}

static json_t *usage(const srv_request *request) {
    const json_int_t n_answer = srv_request_generated(request);
    return json_pack("{s:I, s:{s:I}, s:I, s:{s:i}, s:I}", "input_tokens",
            (json_int_t)request->prompt.n, "input_tokens_details", "cached_tokens",
            (json_int_t)request->progress.n_cached, "output_tokens", n_answer,
            "output_tokens_details", "reasoning_tokens", 0, "total_tokens",
            (json_int_t)request->prompt.n + n_answer);
}

/* The response's object; `output` and `how_much`, its usage, are taken over. */
static json_t *response(const srv_request *request, const char *model_name, const char *status,
        json_t *output, json_t *how_much) {
    json_t *cut = strcmp(status, "incomplete") == 0
                          ? json_pack("{s:s}", "reason", "max_output_tokens")
                          : json_null();
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:n, s:o, s:o, s:o, s:b, s:s, s:[]}", "id",
            request->id, "object", "response", "created_at", (json_int_t)request->created_s,
            "status", status, "model", model_name, "system_fingerprint",
            request->system_fingerprint, "error", "incomplete_details", cut, "output", output,
            "usage", how_much, "parallel_tool_calls", 1, "tool_choice", "auto", "tools");
}

json_t *srv_responses_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer) {
    (void)tokenizer;
    return response(request, model_name, status_of(request),
            srv_append(json_array(), whole_message(request)), usage(request));
}

/* ---- events ---------------------------------------------------------------------------------- */

/* Events are numbered. */
static rt_status put(srv_stream *stream, const char *type, json_t *value) {
    value = srv_set(value, "type", json_string(type));
    value = srv_set(value, "sequence_number", json_integer(++stream->block_index));
    return srv_stream_put(stream, type, value);
}

static json_t *so_far(const srv_stream *stream) {
    return json_pack("{s:o}", "response",
            response(
                    stream->request, stream->model_name, "in_progress", json_array(), json_null()));
}

/* Of the message's only text: `name` has what there is of it. */
static rt_status put_text(srv_stream *stream, const char *type, const char *name, json_t *value) {
    json_t *event = json_pack("{s:o, s:i, s:i}", "item_id", item_id(stream->request),
            "output_index", 0, "content_index", 0);
    return put(stream, type, srv_set(event, name, value));
}

static rt_status put_item(srv_stream *stream, const char *type, json_t *item) {
    return put(stream, type, json_pack("{s:i, s:o}", "output_index", 0, "item", item));
}

static rt_status begin(srv_stream *stream) {
    RT_TRY(put(stream, "response.created", so_far(stream)));
    RT_TRY(put(stream, "response.in_progress", so_far(stream)));
    RT_TRY(put_item(stream, "response.output_item.added",
            message(stream->request, "in_progress", json_array())));
    return put_text(stream, "response.content_part.added", "part", part(json_string("")));
}

static rt_status put_event(srv_stream *stream, int index, const srv_event *event) {
    if (event->kind != SRV_EVENT_TEXT) return RT_OK;
    return put_text(stream, "response.output_text.delta", "delta",
            srv_event_text(&stream->request->choices[index], event));
}

static rt_status put_progress(srv_stream *stream) {
    return put(stream, "response.in_progress",
            srv_set(so_far(stream), "prompt_progress", srv_prompt_progress_json(stream->request)));
}

/* A comment of server-sent events. */
static rt_status put_heartbeat(srv_stream *stream) {
    return glm_text_add(&stream->out, ":\n\n", 3);
}

/* As it is documented; and with "error", by which OpenAI's client raises it. */
static rt_status put_error(srv_stream *stream) {
    const srv_error *error = &stream->request->error;
    json_t *event = srv_error_json(error, SRV_SHAPE_OPENAI);
    event = srv_set(event, "code", error->code ? json_string(error->code) : json_null());
    event = srv_set(event, "param", error->param[0] ? json_string(error->param) : json_null());
    json_t *said = json_object_get(json_object_get(event, "error"), "message");
    return put(stream, "error", srv_set(event, "message", json_incref(said)));
}

static rt_status put_end(srv_stream *stream) {
    const srv_request *request = stream->request;
    if (request->error.http) return put_error(stream);
    RT_TRY(put_text(stream, "response.output_text.done", "text", whole_text(request)));
    RT_TRY(put_text(stream, "response.content_part.done", "part", part(whole_text(request))));
    RT_TRY(put_item(stream, "response.output_item.done", whole_message(request)));
    return put(stream, is_cut(request) ? "response.incomplete" : "response.completed",
            json_pack("{s:o}", "response",
                    srv_responses_json(request, stream->model_name, stream->tokenizer)));
}

const srv_format srv_format_responses = {.begin = begin,
        .event = put_event,
        .progress = put_progress,
        .heartbeat = put_heartbeat,
        .end = put_end,
        .type = "text/event-stream; charset=utf-8"};
