/* Choosing the next token from a row of logits. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/random.h"
#include "engine.h"

typedef struct candidate {
    float logit;
    int32_t id;
    float weight;
} candidate;

bool glm_is_stop_id(const glm_config *config, int32_t id) {
    for (int32_t i = 0; i < config->n_stop_ids; i++)
        if (config->stop_ids[i] == id) return true;
    return false;
}

/* Highest logit first; equal ones by id, so that the order is total. */
static int by_logit(const void *left, const void *right) {
    const candidate *a = left;
    const candidate *b = right;
    if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static int32_t greedy(const float *logits, int64_t n_valid) {
    int64_t best = 0;
    for (int64_t i = 1; i < n_valid; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

/* A draw in [0, 1) that depends on seed and step alone. */
double glm_sampling_draw(uint64_t seed, int64_t step) {
    const uint64_t x = rt_random_mix(seed + ((uint64_t)step + 1) * RT_RANDOM_STEP);
    return (double)(x >> 11) * 0x1p-53;
}

/* Softmax weights of the first n sorted candidates; returns their sum. */
static double weigh(candidate *sorted, int64_t n, float temperature) {
    double total = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sorted[i].weight = expf((sorted[i].logit - sorted[0].logit) / temperature);
        total += (double)sorted[i].weight;
    }
    return total;
}

/* The fewest candidates whose weights reach top_p of the total; at least one. */
static int64_t nucleus(const candidate *sorted, int64_t n, double total, float top_p) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)sorted[i].weight;
        if (sum >= (double)top_p * total) return i + 1;
    }
    return n;
}

static int32_t pick(const candidate *sorted, int64_t n, double at) {
    double total = 0.0;
    for (int64_t i = 0; i < n; i++) total += (double)sorted[i].weight;
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)sorted[i].weight;
        if (at * total < sum) return sorted[i].id;
    }
    return sorted[n - 1].id;
}

static rt_status check_finite(const float *logits, int64_t n_valid) {
    for (int64_t i = 0; i < n_valid; i++)
        if (!isfinite(logits[i]))
            return rt_fail(RT_ENUMERIC, "sampler: the logit of id %" PRId64 " is %f", i,
                    (double)logits[i]);
    return RT_OK;
}

/* All of them, highest logit first. */
static rt_status sort_all(const float *logits, int64_t n_valid, candidate **out) {
    candidate *sorted = NULL;
    RT_TRY(rt_calloc(n_valid, sizeof *sorted, "sampling candidates", &sorted));
    for (int64_t i = 0; i < n_valid; i++) sorted[i] = (candidate){logits[i], (int32_t)i, 0.0f};
    qsort(sorted, (size_t)n_valid, sizeof *sorted, by_logit);
    *out = sorted;
    return RT_OK;
}

/* One of the first n sorted candidates. */
static int32_t choose(candidate *sorted, int64_t n, const glm_sampling *sampling, int64_t step) {
    if (sampling->top_k > 0 && sampling->top_k < n) n = sampling->top_k;
    const double total = weigh(sorted, n, sampling->temperature);
    if (sampling->top_p < 1.0f) n = nucleus(sorted, n, total, sampling->top_p);
    return pick(sorted, n, glm_sampling_draw(sampling->seed, step));
}

rt_status glm_sample(const float *logits, int64_t vocab, int64_t n_valid,
        const glm_sampling *sampling, int64_t step, int32_t *id) {
    candidate *sorted = NULL;
    rt_assert(n_valid > 0 && n_valid <= vocab);
    RT_TRY(check_finite(logits, n_valid));
    if (sampling->temperature <= 0.0f) {
        *id = greedy(logits, n_valid);
        return RT_OK;
    }
    RT_TRY(sort_all(logits, n_valid, &sorted));
    *id = choose(sorted, n_valid, sampling, step);
    free(sorted);
    return RT_OK;
}

/* ---- some are not allowed -------------------------------------------------------------------- */

/* How many of the sorted candidates are likelier than the first allowed one; n: none is allowed. */
static int64_t n_before_allowed(
        const candidate *sorted, int64_t n, glm_allows *allows, const void *context) {
    int64_t i = 0;
    while (i < n && !allows(context, sorted[i].id)) i++;
    return i;
}

/* Weigh the candidates, of which the first is allowed, and move the allowed ones to the front that top_k and top_p leave.
 * Those that were not asked about when there are enough count as allowed: where all are it is what glm_sample keeps. With a
 * top_k that is known only when the rest weighs less than rounding does. */
static int64_t keep_allowed(candidate *sorted, int64_t n, const glm_sampling *sampling,
        glm_allows *allows, const void *context) {
    const double almost_all = 1.0 - 1e-7;
    const bool has_top_k = sampling->top_k > 0;
    const double enough = has_top_k ? almost_all : fmin((double)sampling->top_p, almost_all);
    const int64_t n_most = has_top_k ? sampling->top_k : n;
    double rest = weigh(sorted, n, sampling->temperature);
    double kept = 0.0;
    int64_t n_kept = 0;
    for (int64_t i = 0; i < n && n_kept < n_most; i++) {
        if (n_kept > 0 && kept >= enough * (kept + rest)) break;
        rest = fmax(rest - (double)sorted[i].weight, 0.0);
        if (i > 0 && !allows(context, sorted[i].id)) continue;
        kept += (double)sorted[i].weight;
        sorted[n_kept++] = sorted[i];
    }
    if (sampling->top_p >= 1.0f) return n_kept;
    return nucleus(sorted, n_kept, has_top_k ? kept : kept + rest, sampling->top_p);
}

rt_status glm_sample_allowed(const float *logits, int64_t vocab, int64_t n_valid,
        const glm_sampling *sampling, int64_t step, glm_allows *allows, const void *context,
        int32_t *id) {
    const bool is_greedy = sampling->temperature <= 0.0f;
    candidate *sorted = NULL;
    rt_assert(n_valid > 0 && n_valid <= vocab);
    RT_TRY(check_finite(logits, n_valid));
    *id = greedy(logits, n_valid);
    if (is_greedy && allows(context, *id)) return RT_OK;
    RT_TRY(sort_all(logits, n_valid, &sorted));
    const int64_t n_before = n_before_allowed(sorted, n_valid, allows, context);
    const int64_t n_left = n_valid - n_before;
    candidate *allowed = sorted + n_before;
    if (n_left > 0 && is_greedy)
        *id = allowed[0].id;
    else if (n_left > 0)
        *id = pick(allowed, keep_allowed(allowed, n_left, sampling, allows, context),
                glm_sampling_draw(sampling->seed, step));
    free(sorted);
    return n_left > 0 ? RT_OK
                      : rt_fail(RT_EUSAGE, "sampler: no token of the vocabulary may follow");
}
