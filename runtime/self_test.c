/* How far ours may be from the published numbers:
 *
 *   logit     the reference rounds it to bf16: |logit| / 256 is its last place. Hidden states round
 *             to bf16 in every layer of both, each in its own order: a public fp32 runtime had a
 *             cosine of 0.99993 with the reference's logits, that is 1.2 % of their rms. 1 % of the
 *             largest logit is several times that, since the rms is a small part of the largest.
 *   entropy   as a logarithm: with one likely token it follows the gap between the first two
 *             logits, so both of their errors add up; and it is printed with two digits, 2.5 %.
 *   spread    an error in the scores moves an entropy by at most that error, times the mean of
 *             |ln p + entropy|, about 1. Scores are a few nats, q and k off by the same 1.2 % of
 *             their rms: 0.1 for one head, a fifth of it for the mean of 32. */
#include "self_test.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "engine.h"

static const glm_golden chat_1m = {
        .n_ids = 6,
        .ids = {151331, 151333, 151336, 198, 9707, 151337},
        .top_ids = {198, 12663, 715, 271, 319},
        .top_logits = {24.5F, 11.9375F, 11.625F, 11.25F, 10.4375F},
        .entropy = 2.1e-4,
        .n_spreads = 5,
        .spreads = {{0, -1, 1.3642}, {19, -1, 1.2957}, {39, -1, 0.8718}, {0, 9, 0.6096},
                {39, 21, 0.0953}},
};

const glm_golden *glm_golden_chat_1m(void) {
    return &chat_1m;
}

static double logit_allowed(const glm_golden *golden, int i) {
    return fabs((double)golden->top_logits[i]) / 256 + 0.01 * fabs((double)golden->top_logits[0]);
}

static double entropy_allowed(const glm_golden *golden) {
    return logit_allowed(golden, 0) + logit_allowed(golden, 1) + 0.025;
}

static double spread_allowed(const glm_golden_spread *spread) {
    return spread->head < 0 ? 0.02 : 0.1;
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* NaN is within nothing. */
static void add_check(
        glm_self_test *test, const char *what, double got, double published, double allowed) {
    rt_assert(test->n_checks < GLM_SELF_CHECKS);
    glm_self_check *check = &test->checks[test->n_checks++];
    (void)snprintf(check->what, sizeof check->what, "%s", what);
    check->got = got;
    check->published = published;
    check->allowed = allowed;
    check->is_passed = fabs(got - published) <= allowed;
    if (!check->is_passed) test->n_failed++;
}

static int64_t largest(const float *logits, int64_t vocab) {
    int64_t best = 0;
    for (int64_t id = 1; id < vocab; id++)
        if (logits[id] > logits[best]) best = id;
    return best;
}

/* -sum p ln p, from the largest down: ln p = logit - max - ln sum. */
static double entropy_of(const float *logits, int64_t vocab) {
    const double max = (double)logits[largest(logits, vocab)];
    double sum = 0;
    double weighted = 0;
    for (int64_t id = 0; id < vocab; id++) {
        const double below = (double)logits[id] - max;
        const double weight = exp(below);
        if (weight == 0.0) continue; /* 0 ln 0 is 0, not 0 times infinity */
        sum += weight;
        weighted += weight * below;
    }
    return log(sum) - weighted / sum;
}

static bool is_golden_id(const glm_golden *golden, int64_t id) {
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++)
        if (golden->top_ids[i] == id) return true;
    return false;
}

/* Ids that are none of the golden's and yet above its last one. */
static int64_t count_strangers(const float *logits, int64_t vocab, const glm_golden *golden) {
    const int last = GLM_GOLDEN_LOGITS - 1;
    const double above = (double)golden->top_logits[last] + logit_allowed(golden, last);
    int64_t n = 0;
    for (int64_t id = 0; id < vocab; id++)
        if (!((double)logits[id] <= above) && !is_golden_id(golden, id)) n++;
    return n;
}

static void add_spread(glm_self_test *test, double got, const glm_golden_spread *spread) {
    char what[48];
    if (spread->head < 0)
        (void)snprintf(what, sizeof what, "attention, layer %" PRId32, spread->layer);
    else
        (void)snprintf(
                what, sizeof what, "layer %" PRId32 ", head %" PRId32, spread->layer, spread->head);
    add_check(test, what, got, spread->entropy, spread_allowed(spread));
}

void glm_self_test_compare(const float *logits, int64_t vocab, const double *spreads,
        const glm_golden *golden, glm_self_test *out) {
    *out = (glm_self_test){0};
    for (int32_t i = 0; i < golden->n_spreads; i++)
        add_spread(out, spreads[i], &golden->spreads[i]);
    add_check(out, "largest logit's id", (double)largest(logits, vocab), golden->top_ids[0], 0);
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) {
        rt_assert(golden->top_ids[i] < vocab);
        char what[48];
        (void)snprintf(what, sizeof what, "logit of id %" PRId32, golden->top_ids[i]);
        add_check(out, what, (double)logits[golden->top_ids[i]], (double)golden->top_logits[i],
                logit_allowed(golden, i));
    }
    add_check(out, "others above fifth", (double)count_strangers(logits, vocab, golden), 0, 0);
    add_check(out, "ln(entropy in nats)", log(entropy_of(logits, vocab)), log(golden->entropy),
            entropy_allowed(golden));
}

/* ---- running --------------------------------------------------------------------------------- */

/* A prompt this short is one chunk: a step of its prefill is a layer, and after it the layer's
 * queries, rotated, are still in the scratch, and its keys in the store; both in host memory, as
 * this build has no other device. */
typedef struct golden_run {
    glm_engine *engine;
    glm_session *session;
    const glm_golden *golden;
    double spreads[GLM_GOLDEN_SPREADS];
    void *keys; /* [n_ids][head_dim] of kv_dtype, and the values behind them */
} golden_run;

static double key_value(rt_dtype dtype, const void *keys, int64_t i) {
    if (dtype == RT_F32) return (double)((const float *)keys)[i];
    return (double)rt_bf16_to_float(((const uint16_t *)keys)[i]);
}

/* Of the last token's row of one head, in fp64. */
static double head_entropy(const golden_run *run, const void *page, const float *q, int32_t head) {
    const glm_config *config = &run->engine->config;
    const attn_shape shape = glm_attn_shape(config, run->engine->plan.kv_dtype);
    const int32_t n = run->golden->n_ids;
    const int64_t dim = config->head_dim;
    char *values = (char *)run->keys + n * dim * rt_dtype_bytes(shape.kv_dtype);
    attn_page_unpack(
            &shape, page, head / (config->n_heads / config->n_kv_heads), 0, n, run->keys, values);
    float scores[GLM_GOLDEN_IDS];
    for (int32_t i = 0; i < n; i++) {
        double score = 0;
        for (int64_t d = 0; d < dim; d++)
            score += (double)q[head * dim + d] * key_value(shape.kv_dtype, run->keys, i * dim + d);
        scores[i] = (float)(score / sqrt((double)dim));
    }
    return entropy_of(scores, n);
}

static double layer_spread(
        const golden_run *run, const void *page, const float *q, const glm_golden_spread *spread) {
    if (spread->head >= 0) return head_entropy(run, page, q, spread->head);
    const int32_t n_heads = run->engine->config.n_heads;
    double sum = 0;
    for (int32_t head = 0; head < n_heads; head++) sum += head_entropy(run, page, q, head);
    return sum / n_heads;
}

/* What the golden asks about the layer just done; the last token's query is in its row. */
static void take_spreads_of(golden_run *run, int32_t layer, const void *page) {
    const glm_rows qkv = run->engine->buffers.qkv;
    const float *q = qkv.data + (run->golden->n_ids - 1) * qkv.stride;
    for (int32_t i = 0; i < run->golden->n_spreads; i++)
        if (run->golden->spreads[i].layer == layer)
            run->spreads[i] = layer_spread(run, page, q, &run->golden->spreads[i]);
}

static rt_status take_spreads(golden_run *run, int32_t layer) {
    glm_engine *engine = run->engine;
    const int64_t end = run->golden->n_ids;
    kv_walk *walk = NULL;
    kv_window window = {0};
    RT_TRY(kv_walk_begin(engine->store, layer, &run->session->seq, &end, 1, KV_WALK_LAST, &walk));
    rt_status status = glm_window_enter(engine, walk, &window);
    if (status == RT_OK) {
        take_spreads_of(run, layer, window.parts[0].pages[0]);
        status = glm_window_leave(engine, walk);
    }
    kv_walk_end(walk);
    return status;
}

static rt_status run_layers(golden_run *run) {
    const glm_golden *golden = run->golden;
    glm_prefill_progress progress = {0};
    RT_TRY(glm_prefill_begin(run->session, golden->ids, golden->n_ids, NULL, 1));
    for (int32_t layer = 0; !progress.is_done; layer++) {
        RT_TRY(glm_prefill_step(run->session, &progress));
        RT_TRY(take_spreads(run, layer));
        rt_assert(progress.is_done == (layer == run->engine->config.n_layers - 1));
    }
    return RT_OK;
}

static rt_status run_golden(golden_run *run, glm_self_test *out) {
    const glm_config *config = &run->engine->config;
    const int64_t row_bytes = (int64_t)config->head_dim * (int64_t)sizeof(float);
    const int64_t n_rows_kept = 2 * (int64_t)run->golden->n_ids;
    RT_TRY(rt_malloc(n_rows_kept * row_bytes, "the keys of a few tokens", &run->keys));
    RT_TRY(glm_session_create(run->engine, run->golden->n_ids, &run->session));
    RT_TRY(run_layers(run));
    const float *logits = NULL;
    int64_t n_rows = 0;
    RT_TRY(glm_session_logits(run->session, &logits, &n_rows));
    glm_self_test_compare(logits, config->vocab, run->spreads, run->golden, out);
    return RT_OK;
}

rt_status glm_self_test_run(
        const glm_options *options, const glm_golden *golden, glm_self_test *out) {
    glm_options own = *options;
    own.max_len = golden->n_ids;
    own.max_logits = 1;
    own.device = "cpu";      /* it looks into activations and pages */
    own.tensor_parallel = 1; /* it looks at all heads */
    own.chunk = 0;
    own.span = 0;
    golden_run run = {.golden = golden};
    RT_TRY(glm_engine_open(&own, &run.engine));
    const rt_status status = run_golden(&run, out);
    free(run.keys);
    glm_session_free(run.session);
    glm_engine_close(run.engine);
    return status;
}
