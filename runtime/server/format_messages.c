/* Anthropic's messages: content blocks of text and of calls, in events or whole. */
#include <stdio.h>
#include <string.h>

#include "runtime/json_file.h"
#include "stream.h"

enum { CALL_ID_BYTES = SRV_ID_BYTES + 16 };

static const char *call_id(const srv_request *request, int index, char id[CALL_ID_BYTES]) {
    (void)snprintf(id, CALL_ID_BYTES, "toolu_%s%d", strchr(request->id, '_') + 1, index);
    return id;
}

static const char *stop_reason(const srv_request *request) {
    const srv_choice *choice = &request->choices[0];
    if (choice->finish == SRV_FINISH_LENGTH) return "max_tokens";
    if (choice->n_calls > 0) return "tool_use";
    return choice->finish == SRV_FINISH_STOP_TEXT ? "stop_sequence" : "end_turn";
}

static json_t *stop_sequence(const srv_request *request) {
    const srv_choice *choice = &request->choices[0];
    if (choice->finish != SRV_FINISH_STOP_TEXT) return json_null();
    return json_string(request->settings.stop[choice->stop_index]);
}

/* What was reused is counted apart. */
static json_t *usage(const srv_request *request) {
    const srv_progress *progress = &request->progress;
    return json_pack("{s:I, s:I, s:i, s:I}", "input_tokens",
            (json_int_t)(request->prompt.n - progress->n_cached), "cache_read_input_tokens",
            (json_int_t)progress->n_cached, "cache_creation_input_tokens", 0, "output_tokens",
            (json_int_t)srv_request_generated(request));
}

/* ---- events ---------------------------------------------------------------------------------- */

static rt_status put_ping(srv_stream *stream) {
    return srv_stream_put(stream, "ping", json_pack("{s:s}", "type", "ping"));
}

static rt_status begin(srv_stream *stream) {
    const srv_request *request = stream->request;
    json_t *message = json_pack("{s:s, s:s, s:s, s:s, s:s, s:[], s:n, s:n, s:o}", "id", request->id,
            "type", "message", "role", "assistant", "model", stream->model_name,
            "system_fingerprint", request->system_fingerprint, "content", "stop_reason",
            "stop_sequence", "usage", usage(request));
    RT_TRY(srv_stream_put(stream, "message_start",
            json_pack("{s:s, s:o}", "type", "message_start", "message", message)));
    return put_ping(stream);
}

static rt_status close_block(srv_stream *stream) {
    if (!stream->open_block) return RT_OK;
    stream->open_block = 0;
    return srv_stream_put(stream, "content_block_stop",
            json_pack("{s:s, s:i}", "type", "content_block_stop", "index", stream->block_index));
}

static rt_status open_block(srv_stream *stream, srv_event_kind kind, json_t *block) {
    stream->open_block = (int)kind;
    return srv_stream_put(stream, "content_block_start",
            json_pack("{s:s, s:i, s:o}", "type", "content_block_start", "index",
                    ++stream->block_index, "content_block", block));
}

static rt_status put_delta(srv_stream *stream, const char *type, const char *name, json_t *text) {
    return srv_stream_put(stream, "content_block_delta",
            json_pack("{s:s, s:i, s:{s:s, s:o}}", "type", "content_block_delta", "index",
                    stream->block_index, "delta", "type", type, name, text));
}

static rt_status put_event(srv_stream *stream, int index, const srv_event *event) {
    const srv_request *request = stream->request;
    const srv_choice *choice = &request->choices[index];
    char id[CALL_ID_BYTES];
    switch (event->kind) {
    case SRV_EVENT_TOKEN:
        return RT_OK;
    case SRV_EVENT_TEXT:
        if (stream->open_block != SRV_EVENT_TEXT) {
            RT_TRY(close_block(stream));
            RT_TRY(open_block(
                    stream, SRV_EVENT_TEXT, json_pack("{s:s, s:s}", "type", "text", "text", "")));
        }
        return put_delta(stream, "text_delta", "text", srv_event_text(choice, event));
    case SRV_EVENT_CALL:
        RT_TRY(close_block(stream));
        return open_block(stream, SRV_EVENT_CALL,
                json_pack("{s:s, s:s, s:o, s:{}}", "type", "tool_use", "id",
                        call_id(request, ++stream->choices[index].call_index, id), "name",
                        srv_event_text(choice, event), "input"));
    case SRV_EVENT_ARGUMENTS:
        return put_delta(stream, "input_json_delta", "partial_json", srv_event_text(choice, event));
    }
    return RT_OK;
}

/* A ping that says how far the prefill is. */
static rt_status put_progress(srv_stream *stream) {
    return srv_stream_put(stream, "ping",
            json_pack("{s:s, s:o}", "type", "ping", "prompt_progress",
                    srv_prompt_progress_json(stream->request)));
}

static rt_status put_end(srv_stream *stream) {
    const srv_request *request = stream->request;
    if (request->error.http)
        return srv_stream_put(
                stream, "error", srv_error_json(&request->error, SRV_SHAPE_ANTHROPIC));
    RT_TRY(close_block(stream));
    RT_TRY(srv_stream_put(stream, "message_delta",
            json_pack("{s:s, s:{s:s, s:o}, s:o}", "type", "message_delta", "delta", "stop_reason",
                    stop_reason(request), "stop_sequence", stop_sequence(request), "usage",
                    usage(request))));
    return srv_stream_put(stream, "message_stop", json_pack("{s:s}", "type", "message_stop"));
}

const srv_format srv_format_messages = {.begin = begin,
        .event = put_event,
        .progress = put_progress,
        .heartbeat = put_ping,
        .end = put_end,
        .type = "text/event-stream; charset=utf-8"};

/* ---- whole ----------------------------------------------------------------------------------- */

/* Arguments that are no JSON object stay a text, under "text"; none are an empty object, as in a stream. */
static json_t *call_input(const srv_choice *choice, int64_t from, int64_t to) {
    json_t *text = srv_joined_text(choice, from, to, SRV_EVENT_ARGUMENTS);
    const char *bytes = json_string_length(text) > 0 ? json_string_value(text) : "{}";
    json_error_t ignored;
    bool lacks_memory = !text;
    json_t *input =
            text ? glm_json_parse_lax(bytes, (int64_t)strlen(bytes), &ignored, &lacks_memory)
                 : NULL;
    if (json_is_object(input) || lacks_memory) {
        json_decref(text);
        return input;
    }
    json_decref(input);
    return json_pack("{s:o}", "text", text);
}

json_t *srv_messages_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer) {
    const srv_choice *choice = &request->choices[0];
    json_t *content = json_array();
    int n_calls = 0;
    (void)tokenizer;
    for (int64_t i = 0; i < choice->n_events;) {
        const srv_event_kind kind = choice->events[i].kind;
        int64_t end = i + 1;
        while (end < choice->n_events && choice->events[end].kind != SRV_EVENT_CALL &&
                (kind == SRV_EVENT_CALL ? choice->events[end].kind == SRV_EVENT_ARGUMENTS : true))
            end++;
        char id[CALL_ID_BYTES];
        if (kind == SRV_EVENT_CALL)
            content = srv_append(content, json_pack("{s:s, s:s, s:o, s:o}", "type", "tool_use",
                                                  "id", call_id(request, n_calls++, id), "name",
                                                  srv_event_text(choice, &choice->events[i]),
                                                  "input", call_input(choice, i, end)));
        else
            content = srv_append(content, json_pack("{s:s, s:o}", "type", "text", "text",
                                                  srv_joined_text(choice, i, end, SRV_EVENT_TEXT)));
        i = end;
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:o, s:o}", "id", request->id, "type",
            "message", "role", "assistant", "model", model_name, "system_fingerprint",
            request->system_fingerprint, "content", content, "stop_reason", stop_reason(request),
            "stop_sequence", stop_sequence(request), "usage", usage(request));
}
