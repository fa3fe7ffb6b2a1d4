/* Choosing the next token from a row of logits. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "runtime.h"

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

/* A draw in [0, 1) that depends on seed and step alone: splitmix64's output function.
 * Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators". */
static double draw(uint64_t seed, int64_t step) {
    uint64_t x = seed + ((uint64_t)step + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
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

rt_status glm_sample(const float *logits, int64_t vocab, int64_t n_valid,
        const glm_sampling *sampling, int64_t step, int32_t *id) {
    rt_assert(n_valid > 0 && n_valid <= vocab);
    for (int64_t i = 0; i < n_valid; i++)
        if (!isfinite(logits[i]))
            return rt_fail(RT_ENUMERIC, "sampler: the logit of id %" PRId64 " is %f", i,
                    (double)logits[i]);
    if (sampling->temperature <= 0.0f) {
        *id = greedy(logits, n_valid);
        return RT_OK;
    }
    candidate *sorted = NULL;
    RT_TRY(rt_calloc(n_valid, sizeof *sorted, "sampling candidates", &sorted));
    for (int64_t i = 0; i < n_valid; i++) sorted[i] = (candidate){logits[i], (int32_t)i, 0.0f};
    qsort(sorted, (size_t)n_valid, sizeof *sorted, by_logit);
    int64_t n = n_valid;
    if (sampling->top_k > 0 && sampling->top_k < n) n = sampling->top_k;
    const double total = weigh(sorted, n, sampling->temperature);
    if (sampling->top_p < 1.0f) n = nucleus(sorted, n, total, sampling->top_p);
    *id = pick(sorted, n, draw(sampling->seed, step));
    free(sorted);
    return RT_OK;
}
