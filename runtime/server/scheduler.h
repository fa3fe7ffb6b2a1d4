/* Who is computed next. One thread drives the engine; requests come from others.
 *
 * A round of the loop is one decode step of every answer under way, together, then one (layer, chunk)
 * item of one prefill. Far into a long text an item takes as long as hundreds of steps: there are more of them
 * then, for a quarter of the item's time. A prompt is prefilled in pieces, a chunk through all layers (4096 tokens where
 * the KV cache goes to disk), and at the end of a piece another prompt may have its turn: every second
 * turn the one with the least left, the others by how long ago each had its last. So
 *
 *   between two tokens of an answer lie one decode step and at most one (layer, chunk) item;
 *   before the first token of a prompt of one chunk, shorter than all others, lie the rest of the
 *   running piece, at most one piece of another prompt, and its own piece, with decode steps between
 *   any two items.
 *
 * One slot of max_seqs is never given to a long prompt. A prompt that begins like one that is kept, or
 * that is under way, shares its pages. Where another prefill is still computing what both have in
 * common, the prompt waits until that is done: it has joined that prefill. When a client goes away,
 * what was computed for it is kept, up to the last whole piece. */
#ifndef SRV_SCHEDULER_H
#define SRV_SCHEDULER_H

#include "counters.h"
#include "request.h"

typedef struct srv_scheduler srv_scheduler;

typedef enum srv_state { SRV_LOADING, SRV_READY, SRV_DRAINING, SRV_STOPPED } srv_state;

/* `tokenizer` is borrowed. RT_ENOMEM, RT_EIO */
RT_MUST_CHECK rt_status srv_scheduler_create(
        const glm_tokenizer *tokenizer, int32_t max_seqs, srv_scheduler **out);
/* Nothing may be running or waiting. Accepts NULL. */
void srv_scheduler_free(srv_scheduler *scheduler);

/* Serve until a signal ends it. After the first signal (glm_cli_interrupted) no request is taken any more, and those under
 * way have SRV_DRAIN_S to finish; a second signal ends them at once. A prefill that is ended so is suspended, where KV is
 * kept on disk, and kept texts are written to their ends. `signal_fd` becomes readable with each signal.
 *
 * Errors: RT_EPEER  a rank is lost; every request under way was ended with that error */
RT_MUST_CHECK rt_status srv_scheduler_run(
        srv_scheduler *scheduler, glm_engine *engine, int signal_fd);
/* Fail every request that runs or waits, and take no more. */
void srv_scheduler_stop(srv_scheduler *scheduler);

/* ---- from any thread ------------------------------------------------------------------------- */

/* Queue a request; the scheduler then holds a reference of its own. max_tokens is filled in where it is
 * not given. False: `error` says why not (context_length_exceeded, 429, 503). */
bool srv_scheduler_submit(srv_scheduler *scheduler, srv_request *request, srv_error *error);
/* Nobody wants the request any more: it is dropped between two steps. */
void srv_scheduler_cancel(srv_scheduler *scheduler, srv_request *request);

/* As of now: it may have changed when the caller looks at it. */
srv_state srv_scheduler_state(srv_scheduler *scheduler);
/* Tokens of one sequence; 0 while loading. */
int64_t srv_scheduler_context(srv_scheduler *scheduler);
/* A copy of the engine's plan. False: `error` says why there is none (503). */
bool srv_scheduler_plan(srv_scheduler *scheduler, glm_plan *plan, srv_error *error);
/* A copy of what is counted. */
srv_counters srv_scheduler_counters(srv_scheduler *scheduler);

#endif
