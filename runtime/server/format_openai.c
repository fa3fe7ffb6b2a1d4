/* OpenAI's two APIs: chat completions and completions, in chunks or whole, of one or more choices. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream.h"

enum { CALL_ID_BYTES = SRV_ID_BYTES + 16 };

static const char *finish_text(const srv_choice *choice) {
    if (choice->finish == SRV_FINISH_LENGTH) return "length";
    return choice->n_calls > 0 ? "tool_calls" : "stop";
}

/* "call_", the request's own part of its id, which choice but for the first, and which call. */
static const char *call_id(
        const srv_request *request, int choice, int index, char id[CALL_ID_BYTES]) {
    const char *own = strchr(request->id, '-') + 1;
    if (choice > 0)
        (void)snprintf(id, CALL_ID_BYTES, "call_%s%d_%d", own, choice, index);
    else
        (void)snprintf(id, CALL_ID_BYTES, "call_%s%d", own, index);
    return id;
}

/* ---- logprobs -------------------------------------------------------------------------------- */

/* A token's text may be part of a character: bytes say it exactly. */
static json_t *token_text(const glm_tokenizer *tokenizer, int32_t id) {
    char *text = NULL;
    int64_t n_bytes = 0;
    if (glm_tokenizer_decode(tokenizer, &id, 1, true, &text, &n_bytes) != RT_OK) return NULL;
    json_t *value = json_stringn(text, (size_t)n_bytes);
    free(text);
    return value;
}

static json_t *token_bytes(const glm_tokenizer *tokenizer, int32_t id) {
    int64_t n_bytes = 0;
    const char *bytes = glm_tokenizer_bytes(tokenizer, id, &n_bytes, NULL);
    json_t *list = json_array();
    for (int64_t i = 0; i < n_bytes; i++)
        list = srv_append(list, json_integer((unsigned char)bytes[i]));
    return list;
}

static json_t *one_logprob(const glm_tokenizer *tokenizer, int32_t id, float logprob) {
    return json_pack("{s:o, s:f, s:o}", "token", token_text(tokenizer, id), "logprob",
            (double)logprob, "bytes", token_bytes(tokenizer, id));
}

static json_t *chat_logprob(const glm_tokenizer *tokenizer, const srv_token *token) {
    json_t *top = json_array();
    for (int i = 0; i < token->n_top; i++)
        top = srv_append(top, one_logprob(tokenizer, token->top_ids[i], token->top_logprobs[i]));
    return srv_set(one_logprob(tokenizer, token->id, token->logprob), "top_logprobs", top);
}

static json_t *empty_completion_logprobs(void) {
    return json_pack(
            "{s:[], s:[], s:[], s:[]}", "tokens", "token_logprobs", "top_logprobs", "text_offset");
}

/* The older API has no bytes, and the alternatives' texts are keys. So a token that is not whole characters is spelled
 * "bytes:\xe4\xbd", as OpenAI has it: no two of them have one name. */
static json_t *token_name(const glm_tokenizer *tokenizer, int32_t id) {
    int64_t n_bytes = 0;
    const char *bytes = glm_tokenizer_bytes(tokenizer, id, &n_bytes, NULL);
    json_t *text = token_text(tokenizer, id);
    if (!text) return NULL;
    const bool is_whole = (int64_t)json_string_length(text) == n_bytes && n_bytes > 0 &&
                          memcmp(json_string_value(text), bytes, (size_t)n_bytes) == 0;
    if (is_whole && !memchr(bytes, '\0', (size_t)n_bytes)) return text;
    json_decref(text);
    glm_text name = {0};
    rt_status status = glm_text_add(&name, "bytes:", 6);
    for (int64_t i = 0; i < n_bytes && status == RT_OK; i++) {
        char byte[5];
        (void)snprintf(byte, sizeof byte, "\\x%02x", (unsigned)(unsigned char)bytes[i]);
        status = glm_text_add(&name, byte, 4);
    }
    json_t *value = status == RT_OK ? json_stringn(name.bytes, (size_t)name.n) : NULL;
    free(name.bytes);
    return value;
}

/* One more in the list of that name. NULL, and all freed, without memory. */
static json_t *add_to_list(json_t *lists, const char *name, json_t *value) {
    if (json_array_append_new(json_object_get(lists, name), value) == 0) return lists;
    json_decref(lists);
    return NULL;
}

/* The older API: one list of each. */
static json_t *add_completion_logprob(
        json_t *lists, const glm_tokenizer *tokenizer, const srv_token *token, int64_t offset) {
    const bool is_first = isnan(token->logprob); /* of an echoed prompt */
    json_t *top = is_first ? json_null() : json_object();
    for (int i = 0; i < token->n_top; i++) {
        json_t *name = token_name(tokenizer, token->top_ids[i]);
        top = srv_set(top, json_string_value(name), json_real((double)token->top_logprobs[i]));
        json_decref(name);
    }
    lists = add_to_list(lists, "tokens", token_name(tokenizer, token->id));
    lists = add_to_list(
            lists, "token_logprobs", is_first ? json_null() : json_real((double)token->logprob));
    lists = add_to_list(lists, "top_logprobs", top);
    return add_to_list(lists, "text_offset", json_integer(offset));
}

static int64_t n_characters(const srv_choice *choice, const srv_event *event) {
    int64_t n = 0;
    for (int64_t i = 0; i < event->n_bytes; i++)
        n += (choice->text.bytes[event->index + i] & 0xc0) != 0x80;
    return n;
}

/* Kept until there is a chunk to carry it. */
static rt_status hold_logprob(srv_stream *stream, srv_shown *shown, const srv_token *token) {
    const bool is_chat = stream->request->api == SRV_CHAT;
    if (!shown->logprobs)
        shown->logprobs = is_chat ? json_pack("{s:[]}", "content") : empty_completion_logprobs();
    shown->logprobs = is_chat ? add_to_list(shown->logprobs, "content",
                                        chat_logprob(stream->tokenizer, token))
                              : add_completion_logprob(shown->logprobs, stream->tokenizer, token,
                                        shown->n_characters);
    return shown->logprobs ? RT_OK : rt_fail(RT_ENOMEM, "serve: no memory for logprobs");
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* A chunk of one choice, of those of the prompt that is shown; `piece` is its delta, or its text. What is held of logprobs
 * goes with it. */
static json_t *chunk(srv_stream *stream, int of_prompt, json_t *piece, const char *finish) {
    const srv_request *request = stream->whole;
    const bool is_chat = request->api == SRV_CHAT;
    const int index = stream->part * request->settings.n_choices + of_prompt;
    srv_shown *shown = &stream->choices[of_prompt];
    json_t *logprobs = shown->logprobs ? shown->logprobs : json_null();
    shown->logprobs = NULL;
    json_t *choice = json_pack("{s:i, s:o, s:o, s:s?}", "index", index, is_chat ? "delta" : "text",
            piece, "logprobs", logprobs, "finish_reason", finish);
    json_t *value = json_pack("{s:s, s:s, s:I, s:s, s:s, s:[o]}", "id", request->id, "object",
            is_chat ? "chat.completion.chunk" : "text_completion", "created",
            (json_int_t)request->created_s, "model", stream->model_name, "system_fingerprint",
            request->system_fingerprint, "choices", choice);
    return request->settings.has_running_usage
                   ? srv_set(value, "usage", srv_usage_json(request, stream->part))
                   : value;
}

static json_t *nothing(const srv_stream *stream) {
    return stream->request->api == SRV_CHAT ? json_object() : json_string("");
}

static rt_status begin_chat(srv_stream *stream) {
    for (int i = 0; i < stream->request->settings.n_choices; i++)
        RT_TRY(srv_stream_put(stream, NULL,
                chunk(stream, i, json_pack("{s:s, s:s}", "role", "assistant", "content", ""),
                        NULL)));
    return RT_OK;
}

static rt_status begin_completion(srv_stream *stream) {
    return srv_stream_put(stream, NULL, chunk(stream, 0, nothing(stream), NULL));
}

static json_t *call_delta(const srv_stream *stream, int index, const srv_event *event) {
    char id[CALL_ID_BYTES];
    const int call = stream->choices[index].call_index;
    return json_pack("{s:[{s:i, s:s, s:s, s:{s:o, s:s}}]}", "tool_calls", "index", call, "id",
            call_id(stream->request, index, call, id), "type", "function", "function", "name",
            srv_event_text(&stream->request->choices[index], event), "arguments", "");
}

static rt_status put_event(srv_stream *stream, int index, const srv_event *event) {
    const srv_choice *choice = &stream->request->choices[index];
    srv_shown *shown = &stream->choices[index];
    json_t *piece = NULL;
    switch (event->kind) {
    case SRV_EVENT_TOKEN:
        return hold_logprob(stream, shown, &choice->tokens[event->index]);
    case SRV_EVENT_TEXT:
        piece = srv_event_text(choice, event);
        if (stream->request->api == SRV_CHAT) piece = json_pack("{s:o}", "content", piece);
        shown->n_characters += n_characters(choice, event);
        break;
    case SRV_EVENT_CALL:
        shown->call_index++;
        piece = call_delta(stream, index, event);
        break;
    case SRV_EVENT_ARGUMENTS:
        piece = json_pack("{s:[{s:i, s:{s:o}}]}", "tool_calls", "index", shown->call_index,
                "function", "arguments", srv_event_text(choice, event));
        break;
    }
    return srv_stream_put(stream, NULL, chunk(stream, index, piece, NULL));
}

static rt_status put_progress(srv_stream *stream) {
    json_t *value = chunk(stream, 0, nothing(stream), NULL);
    return srv_stream_put(stream, NULL,
            srv_set(value, "prompt_progress", srv_prompt_progress_json(stream->request)));
}

static rt_status put_heartbeat(srv_stream *stream) {
    return srv_stream_put(stream, NULL, chunk(stream, 0, nothing(stream), NULL));
}

/* How each answer to the prompt that is shown has ended. */
static rt_status put_finishes(srv_stream *stream) {
    const srv_request *request = stream->request;
    const int n = request->settings.n_choices;
    for (int i = 0; i < n; i++) {
        json_t *last = chunk(stream, i, nothing(stream), finish_text(&request->choices[i]));
        if (i == n - 1 && request == stream->whole)
            last = srv_set(last, "timings", srv_timings_json(request));
        RT_TRY(srv_stream_put(stream, NULL, last));
    }
    return RT_OK;
}

static rt_status put_last(srv_stream *stream) {
    const srv_request *request = stream->whole;
    RT_TRY(put_finishes(stream));
    if (!request->settings.has_usage) return RT_OK;
    json_t *usage = chunk(stream, 0, nothing(stream), NULL);
    usage = srv_set(usage, "choices", json_array());
    return srv_stream_put(
            stream, NULL, srv_set(usage, "usage", srv_usage_json(request, request->n_parts)));
}

static rt_status put_end(srv_stream *stream) {
    static const char done[] = "data: [DONE]\n\n";
    const srv_error *error = &stream->request->error;
    if (error->http)
        RT_TRY(srv_stream_put(stream, NULL, srv_error_json(error, SRV_SHAPE_OPENAI)));
    else
        RT_TRY(put_last(stream));
    return glm_text_add(&stream->out, done, sizeof done - 1);
}

const srv_format srv_format_chat = {.begin = begin_chat,
        .event = put_event,
        .progress = put_progress,
        .heartbeat = put_heartbeat,
        .end = put_end,
        .type = "text/event-stream; charset=utf-8"};

const srv_format srv_format_completion = {.begin = begin_completion,
        .event = put_event,
        .progress = put_progress,
        .heartbeat = put_heartbeat,
        .next = put_finishes,
        .end = put_end,
        .type = "text/event-stream; charset=utf-8"};

/* ---- whole ----------------------------------------------------------------------------------- */

static json_t *all_calls(const srv_request *request, int index) {
    const srv_choice *choice = &request->choices[index];
    json_t *calls = json_array();
    for (int64_t i = 0; i < choice->n_events; i++) {
        if (choice->events[i].kind != SRV_EVENT_CALL) continue;
        int64_t end = i + 1;
        while (end < choice->n_events && choice->events[end].kind != SRV_EVENT_CALL) end++;
        char id[CALL_ID_BYTES];
        calls = srv_append(calls,
                json_pack("{s:s, s:s, s:{s:o, s:o}}", "id",
                        call_id(request, index, (int)json_array_size(calls), id), "type",
                        "function", "function", "name", srv_event_text(choice, &choice->events[i]),
                        "arguments", srv_joined_text(choice, i, end, SRV_EVENT_ARGUMENTS)));
    }
    return calls;
}

static json_t *chat_choice(const srv_request *request, int index, const glm_tokenizer *tokenizer) {
    const srv_choice *choice = &request->choices[index];
    json_t *text = srv_joined_text(choice, 0, choice->n_events, SRV_EVENT_TEXT);
    if (choice->n_calls > 0 && text && json_string_length(text) == 0) {
        json_decref(text);
        text = json_null();
    }
    json_t *message = json_pack("{s:s, s:o}", "role", "assistant", "content", text);
    if (choice->n_calls > 0) message = srv_set(message, "tool_calls", all_calls(request, index));
    json_t *logprobs = json_null();
    if (request->settings.has_logprobs) {
        json_t *list = json_array();
        for (int64_t i = 0; i < choice->n_tokens; i++)
            list = srv_append(list, chat_logprob(tokenizer, &choice->tokens[i]));
        logprobs = json_pack("{s:o}", "content", list);
    }
    return json_pack("{s:i, s:o, s:o, s:s}", "index", index, "message", message, "logprobs",
            logprobs, "finish_reason", finish_text(choice));
}

static json_t *completion_choice(
        const srv_request *request, int index, const glm_tokenizer *tokenizer) {
    const srv_choice *choice = &request->choices[index];
    json_t *logprobs = json_null();
    int64_t offset = 0;
    if (request->settings.has_logprobs) logprobs = empty_completion_logprobs();
    for (int64_t i = 0; i < choice->n_events; i++) {
        const srv_event *event = &choice->events[i];
        if (event->kind == SRV_EVENT_TOKEN)
            logprobs = add_completion_logprob(
                    logprobs, tokenizer, &choice->tokens[event->index], offset);
        else
            offset += n_characters(choice, event);
    }
    return json_pack("{s:i, s:o, s:o, s:s}", "index", index, "text",
            srv_joined_text(choice, 0, choice->n_events, SRV_EVENT_TEXT), "logprobs", logprobs,
            "finish_reason", finish_text(choice));
}

typedef json_t *choice_writer(
        const srv_request *request, int index, const glm_tokenizer *tokenizer);

/* Those of all prompts, numbered through. */
static json_t *all_choices(
        const srv_request *request, const glm_tokenizer *tokenizer, choice_writer *write_choice) {
    json_t *choices = json_array();
    for (int k = 0; k <= request->n_parts; k++) {
        const srv_request *one = srv_request_prompt((srv_request *)(uintptr_t)request, k);
        for (int i = 0; i < one->settings.n_choices; i++) {
            json_t *index = json_integer((json_int_t)json_array_size(choices));
            choices = srv_append(choices, srv_set(write_choice(one, i, tokenizer), "index", index));
        }
    }
    return choices;
}

static json_t *answer(const srv_request *request, const char *object, const char *model_name,
        const glm_tokenizer *tokenizer, choice_writer *write_choice) {
    json_t *choices = all_choices(request, tokenizer, write_choice);
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o, s:o, s:o}", "id", request->id, "object",
            object, "created", (json_int_t)request->created_s, "model", model_name,
            "system_fingerprint", request->system_fingerprint, "choices", choices, "usage",
            srv_usage_json(request, request->n_parts), "timings", srv_timings_json(request));
}

json_t *srv_chat_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer) {
    return answer(request, "chat.completion", model_name, tokenizer, chat_choice);
}

json_t *srv_completion_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer) {
    return answer(request, "text_completion", model_name, tokenizer, completion_choice);
}
