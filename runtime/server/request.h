/* One request for the model: what to generate, and what came of it so far.
 *
 *   a route, or a job, makes it       it fills "what is asked", then calls srv_scheduler_submit
 *   the scheduler's thread works      it fills "what came of it", under `lock`
 *   whoever sends the answer reads    under `lock`
 *
 * References are counted: the maker, the scheduler, a connection and a job each hold one. All events of
 * the answer stay until the request is freed, so that it can be rendered late, or twice. */
#ifndef SRV_REQUEST_H
#define SRV_REQUEST_H

#include <pthread.h>
#include <stdatomic.h>

#include "error.h"
#include "runtime/bias.h"
#include "runtime/form.h"
#include "runtime/reply.h"
#include "runtime/runtime.h"
#include "runtime/text.h"
#include "runtime/tokenizer.h"

enum {
    SRV_TOP_MAX = 20,
    SRV_STOP_IDS_MAX = 16,
    SRV_ID_BYTES = 40,
    SRV_CHOICES_MAX = 16,
    SRV_FINGERPRINT_BYTES = 96
};

typedef enum srv_api { SRV_CHAT, SRV_COMPLETION, SRV_MESSAGES, SRV_RESPONSES } srv_api;

/* What a client asks for besides the prompt. */
typedef struct srv_settings {
    glm_sampling sampling;
    glm_bias bias;      /* logit_bias and the penalties, of each choice */
    int64_t max_tokens; /* -1: not given; of each choice */
    int64_t min_tokens; /* of so many none ends an answer, but that a form is whole */
    int n_choices;      /* answers to one prompt, 1 to SRV_CHOICES_MAX */
    bool ignores_stop_ids;
    char **stop; /* owned [n_stop] */
    int n_stop;
    int32_t stop_ids[SRV_STOP_IDS_MAX]; /* besides the model's */
    int n_stop_ids;
    bool has_logprobs;
    int n_top;          /* alternatives of each token, at most SRV_TOP_MAX */
    bool echoes;        /* the answer begins with the prompt; max_tokens may be 0 then */
    glm_tools *tools;   /* owned; NULL: none */
    char *forced_call;  /* owned; the tool whose name ends the prompt; NULL: none */
    bool calls_once;    /* the answer ends with its first call */
    glm_form_kind form; /* what the answer is bound to */
    glm_schema *schema; /* owned; GLM_FORM_SCHEMA, perhaps GLM_FORM_ANSWER; else NULL */
    bool streams;
    bool has_usage;         /* a stream ends with it */
    bool has_running_usage; /* each of its chunks has it, as it is by then */
    bool has_progress;      /* a stream shows the prefill */
} srv_settings;

typedef struct srv_token {
    int32_t id;
    float logprob; /* NaN: nothing is before it */
    int n_top;
    int32_t top_ids[SRV_TOP_MAX];
    float top_logprobs[SRV_TOP_MAX];
} srv_token;

typedef enum srv_event_kind {
    SRV_EVENT_TOKEN,    /* tokens[index]; only where logprobs are asked for */
    SRV_EVENT_TEXT,     /* bytes of `text` */
    SRV_EVENT_CALL,     /* a tool's name */
    SRV_EVENT_ARGUMENTS /* more of that call's arguments */
} srv_event_kind;

typedef struct srv_event {
    srv_event_kind kind;
    int64_t index; /* of the token, or the first byte in `text` */
    int64_t n_bytes;
} srv_event;

typedef enum srv_phase { SRV_WAITING, SRV_PREFILLING, SRV_DECODING, SRV_DONE } srv_phase;

typedef enum srv_finish {
    SRV_FINISH_NONE, /* not yet, or an error */
    SRV_FINISH_STOP,
    SRV_FINISH_STOP_TEXT,
    SRV_FINISH_LENGTH
} srv_finish;

typedef struct srv_progress {
    int64_t n_total;     /* tokens of the prompt */
    int64_t n_cached;    /* of them, reused */
    int64_t n_processed; /* reused or computed by now */
    double started_s;    /* rt_now() when the prefill began; 0: not yet */
    double eta_s;        /* < 0: not known */
} srv_progress;

/* One answer of those that a request asks for. */
typedef struct srv_choice {
    srv_event *events;
    int64_t n_events;
    int64_t events_room;
    glm_text text; /* of all events, one behind the other */
    srv_token *tokens;
    int64_t n_tokens;
    int64_t tokens_room;
    int64_t n_generated;
    int n_calls;
    srv_finish finish;
    int stop_index; /* SRV_FINISH_STOP_TEXT: which */
} srv_choice;

struct MHD_Connection;

typedef struct srv_request {
    atomic_int n_references;
    pthread_mutex_t lock;

    /* What is asked; constant once submitted. */
    srv_api api;
    char id[SRV_ID_BYTES]; /* "chatcmpl-..." */
    int64_t created_s;     /* since 1970 */
    glm_ids prompt;
    /* A request of several prompts is a chain: the prompts but the last are requests of their own, in `parts`, and the
     * last one is this request. They are computed one after another; the first that fails ends them all. */
    struct srv_request **parts; /* owned [n_parts]; NULL: there is one prompt */
    int n_parts;
    struct srv_request *whole; /* the request in whose `parts` this one is; NULL: it is no part */
    int part;                  /* index there */
    srv_settings settings;
    double submitted_s;
    char system_fingerprint
            [SRV_FINGERPRINT_BYTES]; /* what the answer depends on besides the model */

    /* From other threads to the scheduler's. */
    atomic_bool is_cancelled;

    /* What came of it. */
    srv_phase phase;
    srv_progress progress;
    srv_choice choices[SRV_CHOICES_MAX];
    srv_error error;      /* http != 0: it failed */
    double first_token_s; /* rt_now() of the first token and of the end; 0: not yet */
    double done_s;

    struct MHD_Connection *waiter; /* suspended until there is more; NULL: none */
} srv_request;

/* One reference, the caller's. RT_ENOMEM. */
RT_MUST_CHECK rt_status srv_request_create(srv_api api, srv_request **out);
void srv_request_hold(srv_request *request);
/* Accepts NULL. */
void srv_request_drop(srv_request *request);

/* The rest is called with the lock held. */

/* RT_ENOMEM: the request is then to be failed. */
RT_MUST_CHECK rt_status srv_choice_add(
        srv_choice *choice, srv_event_kind kind, const char *bytes, int64_t n_bytes);
RT_MUST_CHECK rt_status srv_choice_add_token(srv_choice *choice, const srv_token *token);
/* Whether the log probabilities of the prompt's tokens are asked for: it must be computed from its first token on then,
 * whatever is kept of it. */
bool srv_request_judges_prompt(const srv_request *request);
/* Tokens generated so far, in all choices. */
int64_t srv_request_generated(const srv_request *request);
/* Prompt i of n_parts + 1, in the order of the request. */
srv_request *srv_request_prompt(srv_request *request, int i);
/* Resume the connection that waits for more, if one does. */
void srv_request_wake(srv_request *request);

#endif
