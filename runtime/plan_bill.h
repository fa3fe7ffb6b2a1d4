/* The memory bill: every byte that a length and a chunk come to within the budgets, and the seconds to expect. The refusal,
 * the largest length that fits, and the engine's own allocations all come from it. For plan.c and plan_refusal.c alone. */
#ifndef GLM_PLAN_BILL_H
#define GLM_PLAN_BILL_H

#include "backend.h"
#include "plan.h"
#include "plan_speed.h"

enum { GLM_SPAN_UNIT = 4096 }; /* a span is a multiple of it */

/* What a bill is made from. `part` is the model as one rank holds it: fewer heads, columns and
 * rows, the same layers. */
typedef struct glm_bill_request {
    const glm_checkpoint *checkpoint;
    const glm_options *options;
    glm_config part;
    bool may_overflow; /* what memory does not hold of the KV may go to disk */
    const glm_backend *backend;
    glm_speed speed;
} glm_bill_request;

/* Every size that follows from max_len, chunk and n_streamed_layers; `fits` says whether they all do. Span and chunk may
 * come out smaller than asked for. */
void glm_bill_fill(const glm_bill_request *of, glm_plan *plan);

/* Of a plan that knows its threads, types and who multiplies: what the CPU is measured with at least, no memory read. */
glm_speed_trial glm_bill_least_trial(const glm_bill_request *of, const glm_plan *plan);

/* Of a bill that is filled: it reads of the memory that is taken later, or would be, as much as the limit has room for. */
glm_speed_trial glm_bill_trial(const glm_bill_request *of, const glm_plan *plan);

/* Of a bill that is filled: prefill_flop, prefill_s, decode_tps. */
void glm_bill_time(const glm_bill_request *of, glm_plan *plan);

/* Of a bill that is filled: whether the weights are within a cap of their own; whether they are, and the GPU's memory holds
 * all that is to be there. True where there is no such cap, no GPU. */
bool glm_bill_has_room_for_weights(const glm_plan *plan);
bool glm_bill_fits_gpu(const glm_plan *plan);

#endif
