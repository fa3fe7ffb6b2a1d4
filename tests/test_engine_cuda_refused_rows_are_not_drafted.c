/* Where cuBLASLt does not let decode's kernel be taken for some number of rows, no more tokens are drafted than have the bits of
 * one after another, and drafts change no bit; where several answers may come to that number, and where a prefill has, the
 * plan, of which results are recorded, says so.
 *
 * Method: what plays cuBLASLt refuses a number of rows, in the four ways that there are, and chooses kernels with another order
 * of sums for nearly each number (tests/standin). Whether logits change is asked as in test_engine_cuda_drafts_change_no_bit. */
#include <stdio.h>

#include "help_check.h"
#include "help_drafts.h"
#include "help_model.h"
#include "runtime/draft.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N_PROMPT = 8 };

static int n_failed;

static void expect(bool is_true, const char *what, int64_t number) {
    if (is_true) return;
    printf("FAIL %s (%lld)\n", what, (long long)number);
    n_failed++;
}

static void check(
        const char *model, int64_t refused, int32_t max_seqs, int32_t n_drafts, glm_linear_by by) {
    const glm_options options = {.model_dir = model,
            .device = "cuda",
            .max_len = 256,
            .max_seqs = max_seqs,
            .n_speculative = GLM_DRAFT_MAX,
            .threads = 1};
    glm_engine *engine = NULL;
    standin_cuda_get()->refused_rows = refused;
    help_require(glm_engine_open(&options, &engine), "open");
    const glm_plan *plan = glm_engine_plan(engine);
    expect(plan->n_speculative == n_drafts, "another number of drafts, refused", refused);
    expect(plan->linear_by == by, "it is recorded otherwise, refused", refused);
    glm_engine_close(engine);
}

static void check_prefill(const char *model) {
    const glm_options options = {
            .model_dir = model, .device = "cuda", .max_len = 256, .threads = 1};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    standin_cuda_get()->refused_rows = N_PROMPT;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, 256, &session), "session");
    expect(glm_engine_plan(engine)->linear_by == GLM_LINEAR_CUBLASLT, "refused before it was", 0);
    help_require(glm_prefill(session, help_drafts_text(), N_PROMPT), "prefill");
    expect(glm_engine_plan(engine)->linear_by == GLM_LINEAR_CUBLASLT_BY_ROWS,
            "a prefill says nothing", N_PROMPT);
    glm_session_free(session);
    glm_engine_close(engine);
}

static void check_bits(const char *model) {
    const help_drafts_case one = {.what = "5 rows are refused",
            .options = {.model_dir = model, .device = "cuda", .kv_dtype = "bf16", .threads = 1},
            .n_prompt = 200,
            .n_text = 264};
    standin_cuda_get()->refused_rows = 5;
    n_failed += help_drafts_differ(&one);
}

int main(void) {
    const char *model = help_model_for_gpu(false);
    standin_plain_use(true);
    standin_cuda_get()->is_unguarded = true;
    check(model, 0, 2, GLM_DRAFT_MAX, GLM_LINEAR_CUBLASLT);
    check(model, 17, 2, GLM_DRAFT_MAX, GLM_LINEAR_CUBLASLT); /* never come to */
    check(model, 16, 2, 14, GLM_LINEAR_CUBLASLT);
    check(model, 6, 2, 4, GLM_LINEAR_CUBLASLT);
    check(model, 2, 1, 0, GLM_LINEAR_CUBLASLT);
    check(model, 2, 2, 0, GLM_LINEAR_CUBLASLT_BY_ROWS);
    check(model, 1, 1, 0, GLM_LINEAR_CUBLASLT_BY_ROWS);
    check_prefill(model);
    check_bits(model);
    return n_failed ? 1 : 0;
}
