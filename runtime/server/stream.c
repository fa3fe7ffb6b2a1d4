#include "stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { BLOCK_BYTES = 16 << 10, RENDERED_BYTES = 64 << 10 };
/* Progress is shown no more often than this. */
static const double shown_every_s = 0.25;

/* ---- what formats share ---------------------------------------------------------------------- */

typedef struct dumped {
    glm_text *out;
    bool has_failed; /* jansson does not always pass that on */
} dumped;

static int to_text(const char *bytes, size_t n, void *context) {
    dumped *to = context;
    to->has_failed = to->has_failed || glm_text_add(to->out, bytes, (int64_t)n) != RT_OK;
    return to->has_failed ? -1 : 0;
}

static rt_status dump(glm_text *out, json_t *value) {
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(9);
    dumped to = {.out = out};
    const bool has_failed =
            !value || json_dump_callback(value, to_text, &to, flags) != 0 || to.has_failed;
    json_decref(value);
    return has_failed ? rt_fail(RT_ENOMEM, "serve: no memory for an answer") : RT_OK;
}

static rt_status put(glm_text *out, const char *text) {
    return glm_text_add(out, text, (int64_t)strlen(text));
}

rt_status srv_stream_put(srv_stream *stream, const char *name, json_t *value) {
    const int64_t n_before = stream->out.n;
    rt_status status = RT_OK;
    if (name) {
        status = put(&stream->out, "event: ");
        if (status == RT_OK) status = put(&stream->out, name);
        if (status == RT_OK) status = put(&stream->out, "\n");
    }
    if (status == RT_OK) status = put(&stream->out, "data: ");
    if (status == RT_OK)
        status = dump(&stream->out, value);
    else
        json_decref(value);
    if (status == RT_OK) status = put(&stream->out, "\n\n");
    if (status != RT_OK) stream->out.n = n_before;
    return status;
}

json_t *srv_event_text(const srv_choice *choice, const srv_event *event) {
    return json_stringn(choice->text.bytes + event->index, (size_t)event->n_bytes);
}

json_t *srv_joined_text(const srv_choice *choice, int64_t from, int64_t to, srv_event_kind kind) {
    glm_text joined = {0};
    rt_status status = glm_text_add(&joined, "", 0);
    for (int64_t i = from; i < to && status == RT_OK; i++) {
        const srv_event *event = &choice->events[i];
        if (event->kind == kind)
            status = glm_text_add(&joined, choice->text.bytes + event->index, event->n_bytes);
    }
    json_t *text = status == RT_OK ? json_stringn(joined.bytes, (size_t)joined.n) : NULL;
    free(joined.bytes);
    return text;
}

json_t *srv_usage_json(const srv_request *request, int last) {
    json_int_t n_prompt = 0;
    json_int_t n_answer = 0;
    json_int_t n_cached = 0;
    for (int i = 0; i <= last; i++) {
        const srv_request *one = srv_request_prompt((srv_request *)(uintptr_t)request, i);
        n_prompt += one->prompt.n;
        n_answer += srv_request_generated(one);
        n_cached += one->progress.n_cached;
    }
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", n_prompt, "completion_tokens",
            n_answer, "total_tokens", n_prompt + n_answer, "prompt_tokens_details", "cached_tokens",
            n_cached);
}

typedef struct timings {
    int64_t n_cached, n_prompt, n_answer;
    double queued_s, prompt_s, answer_s;
} timings;

/* One prompt's, which waits from `since` on. Its time ends with the first token, or where none is asked for, with itself. */
static void add_timings(const srv_request *one, double since, timings *sum) {
    const srv_progress *progress = &one->progress;
    const double first_s = one->first_token_s > 0.0 ? one->first_token_s : one->done_s;
    sum->n_cached += progress->n_cached;
    sum->n_prompt += progress->n_total - progress->n_cached;
    sum->n_answer += srv_request_generated(one);
    if (progress->started_s == 0.0) return;
    sum->queued_s += progress->started_s - since;
    if (first_s > 0.0) sum->prompt_s += first_s - progress->started_s;
    if (one->done_s > 0.0) sum->answer_s += one->done_s - first_s;
}

json_t *srv_timings_json(const srv_request *request) {
    timings sum = {0};
    double since = request->submitted_s;
    for (int i = 0; i <= request->n_parts; i++) {
        const srv_request *one = srv_request_prompt((srv_request *)(uintptr_t)request, i);
        add_timings(one, since, &sum);
        since = one->done_s;
    }
    return json_pack("{s:I, s:I, s:f, s:f, s:I, s:f}", "cache_n", (json_int_t)sum.n_cached,
            "prompt_n", (json_int_t)sum.n_prompt, "queued_ms", 1e3 * sum.queued_s, "prompt_ms",
            1e3 * sum.prompt_s, "predicted_n", (json_int_t)sum.n_answer, "predicted_ms",
            1e3 * sum.answer_s);
}

double srv_progress_seconds(const srv_request *request) {
    const srv_progress *progress = &request->progress;
    const double since = progress->started_s > 0.0 ? progress->started_s : request->submitted_s;
    const double until = request->first_token_s > 0.0 ? request->first_token_s
                         : request->done_s > 0.0      ? request->done_s
                                                      : rt_now();
    return until - since;
}

json_t *srv_progress_json(const srv_progress *progress, double seconds) {
    json_t *value = json_pack("{s:I, s:I, s:I, s:I}", "total", (json_int_t)progress->n_total,
            "cache", (json_int_t)progress->n_cached, "processed", (json_int_t)progress->n_processed,
            "time_ms", (json_int_t)(1e3 * seconds));
    if (progress->eta_s < 0.0) return value;
    return srv_set(value, "eta_ms", json_integer((json_int_t)(1e3 * progress->eta_s)));
}

json_t *srv_prompt_progress_json(const srv_request *request) {
    return srv_progress_json(&request->progress, srv_progress_seconds(request));
}

json_t *srv_answer_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer) {
    if (request->error.http)
        return srv_error_json(&request->error,
                request->api == SRV_MESSAGES ? SRV_SHAPE_ANTHROPIC : SRV_SHAPE_OPENAI);
    switch (request->api) {
    case SRV_CHAT:
        return srv_chat_json(request, model_name, tokenizer);
    case SRV_COMPLETION:
        return srv_completion_json(request, model_name, tokenizer);
    case SRV_MESSAGES:
        return srv_messages_json(request, model_name, tokenizer);
    case SRV_RESPONSES:
        return srv_responses_json(request, model_name, tokenizer);
    }
    return NULL;
}

/* ---- one JSON value, at the end -------------------------------------------------------------- */

/* JSON may begin with white space, which shows a client that waits for minutes that the server is alive. */
static rt_status put_space(srv_stream *stream) {
    return put(&stream->out, "\n");
}

static rt_status skip_event(srv_stream *stream, int choice, const srv_event *event) {
    (void)stream, (void)choice, (void)event;
    return RT_OK;
}

static rt_status skip_progress(srv_stream *stream) {
    (void)stream;
    return RT_OK;
}

static rt_status put_whole(srv_stream *stream) {
    return dump(
            &stream->out, srv_answer_json(stream->request, stream->model_name, stream->tokenizer));
}

static const srv_format format_whole = {.begin = put_space,
        .event = skip_event,
        .progress = skip_progress,
        .heartbeat = put_space,
        .end = put_whole,
        .type = "application/json"};

/* ---- reading --------------------------------------------------------------------------------- */

/* Of the request's prompts prompt i is shown from now on. */
static void show_prompt(srv_stream *stream, int i) {
    stream->part = i;
    stream->request = srv_request_prompt(stream->whole, i);
    stream->n_shown = -1;
    for (int k = 0; k < SRV_CHOICES_MAX; k++) {
        json_decref(stream->choices[k].logprobs);
        stream->choices[k] = (srv_shown){.call_index = -1};
    }
}

static rt_status render_progress(srv_stream *stream, double now) {
    const srv_request *request = stream->request;
    const srv_progress *progress = &request->progress;
    /* One that has joined another's prefill sees that one's. */
    const bool is_unknown = progress->started_s == 0.0 && progress->n_processed == 0;
    const bool is_due =
            progress->n_processed != stream->n_shown &&
            (now - stream->shown_s >= shown_every_s || progress->n_processed == progress->n_total);
    if (!request->settings.has_progress || is_unknown || !is_due) return RT_OK;
    stream->shown_s = now;
    stream->n_shown = progress->n_processed;
    return stream->format->progress(stream);
}

static rt_status render_events(srv_stream *stream) {
    for (int i = 0; i < stream->request->settings.n_choices; i++) {
        const srv_choice *choice = &stream->request->choices[i];
        srv_shown *shown = &stream->choices[i];
        while (shown->next_event < choice->n_events && stream->out.n < RENDERED_BYTES)
            RT_TRY(stream->format->event(stream, i, &choice->events[shown->next_event++]));
    }
    return RT_OK;
}

/* The prompt that is shown now is done. One that failed has ended the whole request, which says so. */
static rt_status render_end(srv_stream *stream) {
    const bool has_failed = stream->request->error.http != 0;
    if (stream->request == stream->whole) {
        stream->is_over = true;
        return stream->format->end(stream);
    }
    if (!has_failed) RT_TRY(stream->format->next(stream));
    show_prompt(stream, has_failed ? stream->whole->n_parts : stream->part + 1);
    return RT_OK;
}

/* Render what there is by now, with the request's lock held. No more than RENDERED_BYTES, since the client may not read
 * them. */
static rt_status render(srv_stream *stream) {
    const srv_request *request = stream->request;
    const double now = rt_now();
    if (!stream->has_begun) {
        stream->has_begun = true;
        RT_TRY(stream->format->begin(stream));
    }
    RT_TRY(render_progress(stream, now));
    RT_TRY(render_events(stream));
    if (stream->out.n >= RENDERED_BYTES) return RT_OK;
    if (request->phase == SRV_DONE && !stream->is_over) return render_end(stream);
    if (stream->out.n > stream->n_sent ||
            now - stream->sent_s < (double)srv_limit_of(SRV_HEARTBEAT_S))
        return RT_OK;
    return stream->format->heartbeat(stream);
}

static ssize_t give(srv_stream *stream, char *buffer, size_t room) {
    const int64_t n = rt_min64(stream->out.n - stream->n_sent, (int64_t)room);
    memcpy(buffer, stream->out.bytes + stream->n_sent, (size_t)n);
    stream->n_sent += n;
    stream->sent_s = rt_now();
    if (stream->n_sent == stream->out.n) stream->n_sent = stream->out.n = 0;
    return (ssize_t)n;
}

/* End the connection: no more comes. To return an error would be the way, but where the connection had been suspended
 * libmicrohttpd (0.9.75 to 1.0.1) then closes it and frees it only at its timeout (connection.c, handle_idle, which skips
 * the clean-up when a body cannot be made ready). A byte that cannot be sent ends it at once. */
static ssize_t break_off(srv_stream *stream, char *buffer) {
    const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(stream->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    (void)shutdown(info->connect_fd, SHUT_RDWR);
    buffer[0] = '\n';
    return 1;
}

/* A whole answer that white space has begun has the status 200. Where it is an error after all, it is cut off behind the
 * error's JSON: a client would else take that for an answer. */
static ssize_t end_stream(srv_stream *stream, char *buffer) {
    const bool is_cut = stream->format == &format_whole && stream->whole->error.http;
    return is_cut ? break_off(stream, buffer) : MHD_CONTENT_READER_END_OF_STREAM;
}

/* Render, and where that gives nothing suspend the connection until srv_request_wake. */
static rt_status render_or_wait(srv_stream *stream) {
    srv_request *request = stream->request;
    (void)pthread_mutex_lock(&request->lock);
    const rt_status status = render(stream);
    const bool is_empty = stream->out.n == stream->n_sent;
    if (status == RT_OK && is_empty && !stream->is_over && stream->request == request) {
        rt_assert(!request->waiter);
        request->waiter = stream->connection;
        MHD_suspend_connection(stream->connection);
    }
    (void)pthread_mutex_unlock(&request->lock);
    return status;
}

/* An MHD_ContentReaderCallback. */
static ssize_t read_stream(void *context, uint64_t pos, char *buffer, size_t room) {
    srv_stream *stream = context;
    (void)pos;
    if (stream->out.n > stream->n_sent) return give(stream, buffer, room);
    if (stream->is_over) return end_stream(stream, buffer);
    if (atomic_load(&stream->whole->is_cancelled)) return break_off(stream, buffer);
    const srv_request *shown = NULL;
    rt_status status = RT_OK;
    while (status == RT_OK && shown != stream->request && stream->out.n == stream->n_sent) {
        shown = stream->request;
        status = render_or_wait(stream);
    }
    if (status != RT_OK) return break_off(stream, buffer);
    if (stream->out.n > stream->n_sent) return give(stream, buffer, room);
    return stream->is_over ? MHD_CONTENT_READER_END_OF_STREAM : 0;
}

static void free_stream(void *context) {
    srv_stream *stream = context;
    srv_request_drop(stream->whole);
    for (int i = 0; i < SRV_CHOICES_MAX; i++) json_decref(stream->choices[i].logprobs);
    free(stream->out.bytes);
    free(stream);
}

static const srv_format *format_of(srv_api api) {
    static const srv_format *const formats[] = {
            &srv_format_chat, &srv_format_completion, &srv_format_messages, &srv_format_responses};
    return formats[api];
}

struct MHD_Response *srv_stream_respond(srv_request *request, bool is_whole, const char *model_name,
        const glm_tokenizer *tokenizer, struct MHD_Connection *connection) {
    srv_stream *stream = NULL;
    if (rt_calloc(1, sizeof *stream, "a stream", &stream) != RT_OK) return NULL;
    *stream = (srv_stream){.whole = request,
            .format = is_whole ? &format_whole : format_of(request->api),
            .model_name = model_name,
            .tokenizer = tokenizer,
            .connection = connection,
            .sent_s = rt_now(),
            .block_index = -1};
    show_prompt(stream, is_whole ? request->n_parts : 0);
    srv_request_hold(request);
    struct MHD_Response *response = MHD_create_response_from_callback(
            MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, stream, free_stream);
    if (!response) {
        free_stream(stream);
        return NULL;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, stream->format->type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    /* nginx would else hold tokens back until they fill a buffer. */
    (void)MHD_add_response_header(response, "X-Accel-Buffering", "no");
    return response;
}
