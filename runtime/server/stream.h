/* A request's events on their way to a client: rendered as they come, read by libmicrohttpd. */
#ifndef SRV_STREAM_H
#define SRV_STREAM_H

#include <microhttpd.h>

#include "request.h"

typedef struct srv_stream srv_stream;

/* How one API writes things down. All but `whole` append to stream->out; the request's lock is held. */
typedef struct srv_format {
    rt_status (*begin)(srv_stream *stream);
    rt_status (*event)(srv_stream *stream, int choice, const srv_event *event);
    rt_status (*progress)(srv_stream *stream); /* how far the prefill is */
    rt_status (*heartbeat)(srv_stream *stream);
    rt_status (*end)(srv_stream *stream); /* the request is done, well or not */
    const char *type;                     /* Content-Type */
} srv_format;

/* How far a stream is with one choice, and what its format remembers of it. */
typedef struct srv_shown {
    int64_t next_event;
    json_t *logprobs;     /* of tokens whose text is not out yet */
    int64_t n_characters; /* of text given out: completions' text_offset */
    int call_index;       /* of the call under way, -1: none yet */
} srv_shown;

struct srv_stream {
    srv_request *request; /* a reference */
    const srv_format *format;
    const char *model_name;
    const glm_tokenizer *tokenizer;
    struct MHD_Connection *connection;

    glm_text out; /* from n_sent on it waits */
    int64_t n_sent;
    srv_shown choices[SRV_CHOICES_MAX];
    bool has_begun;
    bool is_over;
    double sent_s;
    double shown_s; /* the last progress, and what it said */
    int64_t n_shown;

    int block_index; /* messages: of the open block, -1: none yet */
    int open_block;  /* 0: none is open, else the event kind that it is made of */
};

/* The answer as a stream of events, or, where is_whole, as one JSON value with white space in front of
 * it while it is awaited. NULL without memory. */
struct MHD_Response *srv_stream_respond(srv_request *request, bool is_whole, const char *model_name,
        const glm_tokenizer *tokenizer, struct MHD_Connection *connection);

/* The whole answer of a request that is done; an error's object where it failed. New. With its lock. */
json_t *srv_answer_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer);

/* format_*.c */
extern const srv_format srv_format_chat, srv_format_completion, srv_format_messages;
json_t *srv_chat_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer);
json_t *srv_completion_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer);
json_t *srv_messages_json(
        const srv_request *request, const char *model_name, const glm_tokenizer *tokenizer);

/* Helpers of the formats. */

/* "event: NAME\ndata: JSON\n\n"; no event line where `name` is NULL. `value` is released. RT_ENOMEM */
RT_MUST_CHECK rt_status srv_stream_put(srv_stream *stream, const char *name, json_t *value);
/* A string of the choice's text. */
json_t *srv_event_text(const srv_choice *choice, const srv_event *event);
/* The same of the texts of all events of a kind, or of one call's. */
json_t *srv_joined_text(const srv_choice *choice, int64_t from, int64_t to, srv_event_kind kind);
/* OpenAI's usage and llama.cpp's timings. */
json_t *srv_usage_json(const srv_request *request);
json_t *srv_timings_json(const srv_request *request);
json_t *srv_progress_json(const srv_request *request);

#endif
