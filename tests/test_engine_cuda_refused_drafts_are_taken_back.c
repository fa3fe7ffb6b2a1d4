/* Where cuBLASLt first refuses a product of drafts' rows while it is asked for it, the pass is taken back, the step is that of one
 * token, and no more are drafted from then on than have the bits of one after another: drafts change no bit. So where it refused
 * as many rows of several sessions before, and where only another rank's does. The plan, of which results are recorded, has bits
 * depend on rows only where as many sessions may be decoded at once.
 *
 * Method: what plays cuBLASLt lets the kernel be taken and then refuses the product, of a number of rows, and chooses kernels with
 * another order of sums for nearly each number (tests/standin). Whether logits change is asked as in
 * test_engine_cuda_drafts_change_no_bit. */
#include <stdio.h>
#include <stdlib.h>

#include "help_check.h"
#include "help_drafts.h"
#include "help_engine.h"
#include "help_model.h"
#include "help_ranks.h"
#include "runtime/draft.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N_PERIOD = 24, N_PROMPT = 3 * N_PERIOD, MAX_LEN = 256, N_SESSIONS = 3 };

static int n_failed;

static void expect(bool is_true, const char *what, int64_t number) {
    if (is_true) return;
    printf("FAIL %s (%lld)\n", what, (long long)number);
    n_failed++;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static int32_t ids[N_PROMPT + 1];

static glm_engine *open_engine(int32_t max_seqs) {
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = "cuda",
            .max_len = MAX_LEN,
            .max_seqs = max_seqs,
            .extra_kv_tokens = N_SESSIONS * MAX_LEN,
            .n_speculative = GLM_DRAFT_MAX,
            .threads = 1};
    glm_engine *engine = NULL;
    help_require(glm_engine_open(&options, &engine), "open");
    return engine;
}

static glm_session *begin(glm_engine *engine) {
    glm_session *session = NULL;
    help_require(glm_session_create(engine, MAX_LEN, &session), "session");
    help_require(glm_prefill(session, ids, N_PROMPT), "prefill");
    return session;
}

/* Drafts are made, but for those that are taken back: how many in the first pass. */
static int64_t draft_first(glm_session *session, const glm_engine *engine) {
    help_require(glm_decode_ahead(session, ids[N_PROMPT]), "decode ahead");
    expect(glm_session_length(session) == N_PROMPT + 1, "a pass leaves another length",
            glm_session_length(session));
    return glm_engine_drafts(engine).n_drafted;
}

static void expect_plan(const glm_engine *engine, int64_t n_drafts, glm_linear_by by) {
    const glm_plan *plan = glm_engine_plan(engine);
    expect(plan->n_speculative == n_drafts, "another number may be drafted", plan->n_speculative);
    expect(plan->linear_by == by, "who multiplied is recorded otherwise, drafts", n_drafts);
}

/* How many rows a first pass has. */
static int64_t check_none(void) {
    glm_engine *engine = open_engine(2);
    glm_session *session = begin(engine);
    const int64_t n = draft_first(session, engine);
    expect(n > 2, "too few are drafted", n);
    expect_plan(engine, GLM_DRAFT_MAX, GLM_LINEAR_CUBLASLT);
    glm_session_free(session);
    glm_engine_close(engine);
    return 1 + n;
}

static void check_pass(int64_t n_rows, int32_t max_seqs, glm_linear_by by) {
    glm_engine *engine = open_engine(max_seqs);
    glm_session *session = begin(engine);
    standin_cuda_get()->refused_products = n_rows;
    expect(draft_first(session, engine) == 0, "a refused pass is not taken back, rows", n_rows);
    expect_plan(engine, n_rows - 2, by);
    standin_cuda_get()->refused_products = 0;
    glm_session_free(session);
    glm_engine_close(engine);
}

static void check_several(void) {
    glm_engine *engine = open_engine(N_SESSIONS);
    glm_session *sessions[N_SESSIONS];
    for (int i = 0; i < N_SESSIONS; i++) sessions[i] = begin(engine);
    standin_cuda_get()->refused_products = N_SESSIONS;
    help_require(glm_decode(sessions, ids, N_SESSIONS), "decode");
    standin_cuda_get()->refused_products = 0;
    for (int i = 0; i < N_SESSIONS; i++) glm_session_truncate(sessions[i], N_PROMPT);
    expect(draft_first(sessions[0], engine) == 0, "more rows than were refused", N_SESSIONS);
    expect_plan(engine, N_SESSIONS - 2, GLM_LINEAR_CUBLASLT_BY_ROWS);
    for (int i = 0; i < N_SESSIONS; i++) glm_session_free(sessions[i]);
    glm_engine_close(engine);
}

/* ---- bits ------------------------------------------------------------------------------------ */

static void check_bits(void) {
    const help_drafts_case one = {.what = "products of 5 rows are refused",
            .options = {.model_dir = help_model_for_gpu(false),
                    .device = "cuda",
                    .kv_dtype = "bf16",
                    .threads = 1},
            .n_prompt = 150,
            .n_text = 190};
    standin_cuda *gpu = standin_cuda_get();
    gpu->n_refused_products = 0;
    gpu->refused_products = 5;
    n_failed += help_drafts_differ(&one);
    gpu->refused_products = 0;
    expect(gpu->n_refused_products > 0, "no product is refused", 5);
}

static void check_other_rank(void) {
    const help_drafts_case one = {.what = "products of 5 rows are refused by the other rank's",
            .options = {.model_dir = help_model_of_two_ranks(),
                    .device = "cuda",
                    .tensor_parallel = 2,
                    .threads = 1},
            .n_prompt = 150,
            .n_text = 190};
    (void)setenv("STANDIN_CUDA_REFUSED_PRODUCTS", "5", 1);
    n_failed += help_drafts_differ(&one);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    (void)setenv("STANDIN_CUDA_PLAIN", "1", 1); /* another rank's */
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    standin_plain_use(true);
    standin_cuda_get()->is_unguarded = true;
    help_engine_ids(ids, N_PERIOD, 3);
    for (int i = N_PERIOD; i <= N_PROMPT; i++) ids[i] = ids[i - N_PERIOD];
    const int64_t n_rows = check_none();
    check_pass(n_rows, 2, GLM_LINEAR_CUBLASLT);
    check_pass(n_rows, (int32_t)n_rows, GLM_LINEAR_CUBLASLT_BY_ROWS);
    check_several();
    check_bits();
    if (!getenv("GLM_TEST_FAST")) check_other_rank();
    return n_failed ? 1 : 0;
}
