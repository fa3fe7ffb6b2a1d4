/* How far ours may be from the published numbers:
 *
 *   logit     the reference rounds it to bf16: |logit| / 256 is its last place. Hidden states round
 *             to bf16 in every layer of both, each in its own order: a public fp32 runtime had a
 *             cosine of 0.99993 with the reference's logits, that is 1.2 % of their rms. 1 % of the
 *             largest logit is several times that, since the rms is a small part of the largest.
 *   entropy   as a logarithm: with one likely token it follows the gap between the first two
 *             logits, so both of their errors add up; and it is printed with two digits, 2.5 %. */
#include "self_test.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const glm_golden chat_1m = {
        .n_ids = 6,
        .ids = {151331, 151333, 151336, 198, 9707, 151337},
        .top_ids = {198, 12663, 715, 271, 319},
        .top_logits = {24.5F, 11.9375F, 11.625F, 11.25F, 10.4375F},
        .entropy = 2.1e-4,
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

void glm_self_test_compare(
        const float *logits, int64_t vocab, const glm_golden *golden, glm_self_test *out) {
    *out = (glm_self_test){0};
    add_check(
            out, "id of the largest logit", (double)largest(logits, vocab), golden->top_ids[0], 0);
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) {
        rt_assert(golden->top_ids[i] < vocab);
        char what[48];
        (void)snprintf(what, sizeof what, "logit of id %" PRId32, golden->top_ids[i]);
        add_check(out, what, (double)logits[golden->top_ids[i]], (double)golden->top_logits[i],
                logit_allowed(golden, i));
    }
    add_check(
            out, "other ids above the fifth", (double)count_strangers(logits, vocab, golden), 0, 0);
    add_check(out, "ln of the entropy in nats", log(entropy_of(logits, vocab)),
            log(golden->entropy), entropy_allowed(golden));
}

static rt_status run_golden(glm_engine *engine, const glm_golden *golden, glm_self_test *out) {
    glm_session *session = NULL;
    RT_TRY(glm_session_create(engine, golden->n_ids, &session));
    rt_status status = glm_prefill(session, golden->ids, golden->n_ids);
    const float *logits = NULL;
    int64_t n_rows = 0;
    if (status == RT_OK) status = glm_session_logits(session, &logits, &n_rows);
    if (status == RT_OK)
        glm_self_test_compare(logits, glm_engine_config(engine)->vocab, golden, out);
    glm_session_free(session);
    return status;
}

rt_status glm_self_test_run(
        const glm_options *options, const glm_golden *golden, glm_self_test *out) {
    glm_options own = *options;
    own.max_len = golden->n_ids;
    own.max_logits = 1;
    glm_engine *engine = NULL;
    RT_TRY(glm_engine_open(&own, &engine));
    const rt_status status = run_golden(engine, golden, out);
    glm_engine_close(engine);
    return status;
}
