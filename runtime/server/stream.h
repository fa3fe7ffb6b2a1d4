/* A request's answer on its way to a client: its events are rendered as they come, in the format of one API, whenever
 * libmicrohttpd asks for more bytes. */
#ifndef SRV_STREAM_H
#define SRV_STREAM_H

#include <microhttpd.h>

#include "json_out.h"
#include "request.h"

typedef struct srv_stream srv_stream;

/* How one API writes things down: each function appends to stream->out, with the request's lock held. */
typedef struct srv_format {
    rt_status (*begin)(srv_stream *stream);
    rt_status (*event)(srv_stream *stream, int choice, const srv_event *event);
    rt_status (*progress)(srv_stream *stream); /* how far the prefill is */
    rt_status (*heartbeat)(srv_stream *stream);
    rt_status (*next)(
            srv_stream *stream); /* a prompt is done, another's answers follow; NULL: never */
    rt_status (*end)(srv_stream *stream); /* the request is done, well or not */
    const char *type;                     /* Content-Type */
} srv_format;

/* How far a stream has rendered one choice. */
typedef struct srv_shown {
    int64_t next_event;
    json_t *logprobs;     /* of tokens whose text is not out yet */
    int64_t n_characters; /* of text given out: completions' text_offset */
    int call_index;       /* of the call under way, -1: none yet */
} srv_shown;

struct srv_stream {
    srv_request *whole;   /* a reference */
    srv_request *request; /* of its prompts the one that is shown now */
    int part;             /* which that is; n_parts: the last, the whole request itself */
    const srv_format *format;
    const char *model_name;
    const glm_tokenizer *tokenizer;
    struct MHD_Connection *connection;

    glm_text out; /* rendered; of its bytes the first n_sent are sent */
    int64_t n_sent;
    srv_shown choices[SRV_CHOICES_MAX];
    bool has_begun;
    bool is_over;
    double sent_s;  /* when bytes were last sent */
    double shown_s; /* when progress was last rendered, and how many tokens it said */
    int64_t n_shown;

    int block_index; /* messages: of the open block; responses: of the last event; -1: none yet */
    int open_block;  /* 0: none is open, else the event kind that it is made of */
};

/* A response that streams the answer as events or, where is_whole, that is one JSON value at the end, with white space
 * in front of it to keep the connection alive. NULL without memory. */
struct MHD_Response *srv_stream_respond(srv_request *request, bool is_whole, const char *model_name,
        const glm_tokenizer *tokenizer, struct MHD_Connection *connection);

/* The whole answer of a request that is done, or the error's object where it failed; new, NULL without memory. With the
 * request's lock. */
json_t *srv_answer_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer);

/* format_*.c */
extern const srv_format srv_format_chat, srv_format_completion, srv_format_messages,
        srv_format_responses;
json_t *srv_chat_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer);
json_t *srv_completion_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer);
json_t *srv_messages_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer);
json_t *srv_responses_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer);

/* Helpers of the formats. */

/* "event: NAME\ndata: JSON\n\n"; no event line where `name` is NULL. `value` is released. RT_ENOMEM */
RT_MUST_CHECK rt_status srv_stream_put(srv_stream *stream, const char *name, json_t *value);
/* The text of one event, as a new JSON string. */
json_t *srv_event_text(const srv_choice *choice, const srv_event *event);
/* The texts of all events of that kind in [from, to), joined. */
json_t *srv_joined_text(const srv_choice *choice, int64_t from, int64_t to, srv_event_kind kind);
/* OpenAI's usage, of the request's prompts 0 to `last`, and llama.cpp's timings, of all of them. */
json_t *srv_usage_json(const srv_request *request, int last);
json_t *srv_timings_json(const srv_request *request);
/* llama.cpp's prompt_progress, and how long the prompt has taken, or waited if it has not begun. */
json_t *srv_progress_json(const srv_progress *progress, double seconds);
double srv_progress_seconds(const srv_request *request);
json_t *srv_prompt_progress_json(const srv_request *request);

#endif
