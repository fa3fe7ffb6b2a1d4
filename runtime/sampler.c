/* Choosing the next token from a row of logits. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- the order ------------------------------------------------------------------------------- */

enum { KEY_BITS = 32, DIGIT_BITS = 11, N_DIGITS = 3, N_BINS = 1 << DIGIT_BITS };

/* Grows as the logit falls; that of both zeros is one. */
static uint32_t key_of(float logit) {
    const uint32_t sign = UINT32_C(1) << (KEY_BITS - 1);
    const float with_one_zero = logit + 0.0f;
    uint32_t bits;
    memcpy(&bits, &with_one_zero, sizeof bits);
    return bits & sign ? bits : ~bits & ~sign;
}

static uint32_t digit_of(const candidate *c, int i) {
    return (key_of(c->logit) >> (i * DIGIT_BITS)) & (N_BINS - 1);
}

/* By the i-th digit of their keys; whoever was before stays before. */
static void sort_by_digit(const candidate *from, int64_t n, int i, candidate *to) {
    int64_t place[N_BINS] = {0};
    int64_t n_before = 0;
    for (int64_t c = 0; c < n; c++) place[digit_of(&from[c], i)]++;
    for (int bin = 0; bin < N_BINS; bin++) {
        const int64_t n_here = place[bin];
        place[bin] = n_before;
        n_before += n_here;
    }
    for (int64_t c = 0; c < n; c++) to[place[digit_of(&from[c], i)]++] = from[c];
}

/* All of them, highest logit first; equal ones by id, so that the order is total. A vocabulary is sorted for every token, so by
 * digits: comparisons take ten times as long. */
static rt_status sort_all(const float *logits, int64_t n_valid, candidate **out) {
    candidate *sorted = NULL;
    RT_TRY(rt_calloc(2 * n_valid, sizeof *sorted, "sampling candidates", &sorted));
    candidate *other = sorted + n_valid;
    for (int64_t i = 0; i < n_valid; i++) other[i] = (candidate){logits[i], (int32_t)i, 0.0f};
    for (int i = 0; i < N_DIGITS; i++) /* an odd number of times */
        i % 2 == 0 ? sort_by_digit(other, n_valid, i, sorted)
                   : sort_by_digit(sorted, n_valid, i, other);
    *out = sorted;
    return RT_OK;
}

float glm_sampling_margin(const glm_sampling *sampling) {
    return sampling->min_p > 0.0F ? sampling->temperature * logf(sampling->min_p) : -INFINITY;
}

/* How many of n sorted candidates min_p leaves. */
static int64_t n_likely(const candidate *sorted, int64_t n, const glm_sampling *sampling) {
    const float least = sorted[0].logit + glm_sampling_margin(sampling);
    int64_t n_left = 1;
    if (sampling->min_p <= 0.0F) return n;
    while (n_left < n && sorted[n_left].logit >= least) n_left++;
    return n_left;
}

/* One of the first n sorted candidates. */
static int32_t choose(candidate *sorted, int64_t n, const glm_sampling *sampling, int64_t step) {
    n = n_likely(sorted, n, sampling);
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

/* Allowed ones, and the fewest of them that reach top_p of what they weigh. */
typedef struct allowed {
    double weight;
    double nucleus_weight;
    int64_t n;
    int64_t n_nucleus;
} allowed;

static void find_nucleus(allowed *kept, const candidate *sorted, double wanted) {
    while (kept->n_nucleus < kept->n && (kept->n_nucleus == 0 || kept->nucleus_weight < wanted))
        kept->nucleus_weight += (double)sorted[kept->n_nucleus++].weight;
}

/* Weigh the candidates, of which the first is allowed, and move the allowed ones to the front that min_p, top_k and top_p leave,
 * which count those alone. It goes on until it makes no difference which of the others are allowed: they weigh less than rounding does, or
 * top_p is reached though all were. Where it is reached so by more of the allowed ones, and the others weigh a hundredth of those, all
 * count as allowed: to find out which are would be to ask about most of a vocabulary. */
static int64_t keep_allowed(candidate *sorted, int64_t n, const glm_sampling *sampling,
        glm_allows *allows, const void *context) {
    const double almost_nothing = 1e-7, little = 0.01;
    const double top_p = fmin((double)sampling->top_p, 1.0);
    n = n_likely(sorted, n, sampling);
    const int64_t n_most = sampling->top_k > 0 && sampling->top_k < n ? sampling->top_k : n;
    double rest = weigh(sorted, n, sampling->temperature);
    double more = 0.0; /* that the others can weigh of whom top_k has room for */
    allowed kept = {0};
    for (int64_t i = 0; i < n && kept.n < n_most; i++) {
        const double weight = (double)sorted[i].weight;
        more = fmin(rest, (double)(n_most - kept.n) * weight);
        const double wanted = top_p * (kept.weight + more);
        if (more <= almost_nothing * kept.weight || (kept.n > 0 && kept.nucleus_weight >= wanted))
            break;
        if (more <= little * kept.weight && kept.weight >= wanted) break;
        rest = fmax(rest - weight, 0.0);
        more = 0.0;
        if (i > 0 && !allows(context, sorted[i].id)) continue;
        kept.weight += weight;
        sorted[kept.n++] = sorted[i];
        find_nucleus(&kept, sorted, top_p * kept.weight);
    }
    if (sampling->top_p >= 1.0f) return kept.n;
    find_nucleus(&kept, sorted, top_p * (kept.weight + more));
    return kept.n_nucleus;
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
    candidate *first = sorted + n_before;
    if (n_left > 0 && is_greedy)
        *id = first[0].id;
    else if (n_left > 0)
        *id = pick(first, keep_allowed(first, n_left, sampling, allows, context),
                glm_sampling_draw(sampling->seed, step));
    free(sorted);
    return n_left > 0 ? RT_OK
                      : rt_fail(RT_EUSAGE, "sampler: no token of the vocabulary may follow");
}
