/* Does a checkpoint compute what was published for it?
 *
 * A golden is a prompt and some numbers of its last token that another implementation printed: the
 * largest logits, and how spread the attention is in a few layers, which tells how far down a fault
 * lies. The allowed differences are derived from how that one and ours round, not fitted. */
#ifndef GLM_SELF_TEST_H
#define GLM_SELF_TEST_H

#include "runtime.h"

enum {
    GLM_GOLDEN_IDS = 8,
    GLM_GOLDEN_LOGITS = 5,
    GLM_GOLDEN_SPREADS = 5,
    GLM_SELF_CHECKS = GLM_GOLDEN_LOGITS + GLM_GOLDEN_SPREADS + 3
};

/* Entropy in nats of the last token's attention weights; the mean of all heads for head -1. */
typedef struct glm_golden_spread {
    int32_t layer;
    int32_t head;
    double entropy;
} glm_golden_spread;

typedef struct glm_golden {
    int32_t n_ids;
    int32_t ids[GLM_GOLDEN_IDS];
    /* The largest logits, descending. */
    int32_t top_ids[GLM_GOLDEN_LOGITS];
    float top_logits[GLM_GOLDEN_LOGITS];
    double entropy; /* of the softmax over the whole vocabulary, in nats */
    int32_t n_spreads;
    glm_golden_spread spreads[GLM_GOLDEN_SPREADS];
} glm_golden;

/* GLM-4-9B-Chat-1M, six tokens; CPU, bf16, the published code. */
const glm_golden *glm_golden_chat_1m(void);

typedef struct glm_self_check {
    char what[48];
    double got;
    double published;
    double allowed; /* |got - published| at most */
    bool is_passed;
} glm_self_check;

typedef struct glm_self_test {
    int n_checks;
    int n_failed;
    glm_self_check checks[GLM_SELF_CHECKS];
} glm_self_test;

/* Compare the last token's numbers.
 *
 *   logits   [vocab], vocab above every id of the golden
 *   spreads  [golden->n_spreads] entropies, as golden->spreads asks for them */
void glm_self_test_compare(const float *logits, int64_t vocab, const double *spreads,
        const glm_golden *golden, glm_self_test *out);

/* Open the model of `options`, run the golden's ids and compare. A failed check is no error:
 * out->n_failed tells.
 *
 * Errors: as glm_engine_open; RT_ENUMERIC for NaN or Inf */
RT_MUST_CHECK rt_status glm_self_test_run(
        const glm_options *options, const glm_golden *golden, glm_self_test *out);

#endif
