/* What cuBLASLt refuses on another rank alone is in the plan of rank 0, of which results are recorded: after the prefill whose
 * products it was, and from the step on that follows one of decode.
 *
 * Method: two ranks on what plays GPUs (tests/standin), of which the second's refuses products of as many rows as a prefill
 * has, or decode. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_ranks.h"
#include "runtime/linear_choice.h"
#include "runtime/runtime.h"

enum { N_IDS = 8 };

static const char *model;
static int n_failed;

static void expect(glm_engine *engine, glm_linear_by by, const char *when) {
    const glm_linear_by is = glm_engine_plan(engine)->linear_by;
    if (is == by) return;
    printf("FAIL %s: %s, not %s\n", when, glm_linear_by_name(is), glm_linear_by_name(by));
    n_failed++;
}

/* refused: rows, "0" for none. */
static void check(const char *refused, glm_linear_by after_prefill, glm_linear_by after_decode) {
    const int32_t ids[N_IDS] = {1, 2, 3, 4, 5, 6, 7, 8};
    const glm_options options = {.model_dir = model,
            .device = "cuda",
            .tensor_parallel = 2,
            .max_len = 64,
            .max_seqs = 2,
            .extra_kv_tokens = 64,
            .threads = 1};
    glm_engine *engine = NULL;
    glm_session *sessions[2];
    (void)setenv("TEST_REFUSED_ON_RANK_1", refused, 1);
    help_require(glm_engine_open(&options, &engine), "open");
    for (int i = 0; i < 2; i++)
        help_require(glm_session_create(engine, 64, &sessions[i]), "session");
    expect(engine, GLM_LINEAR_CUBLASLT, "before");
    for (int i = 0; i < 2; i++) help_require(glm_prefill(sessions[i], ids, N_IDS), "prefill");
    expect(engine, after_prefill, "after a prefill");
    for (int i = 0; i < 2; i++) help_require(glm_decode(sessions, ids, 2), "decode");
    expect(engine, after_decode, "after two steps of decode");
    for (int i = 0; i < 2; i++) glm_session_free(sessions[i]);
    glm_engine_close(engine);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    (void)setenv("STANDIN_CUDA_PLAIN", "1", 1);
    if (argc > 1 && strcmp(argv[1], "rank") == 0)
        (void)setenv("STANDIN_CUDA_REFUSED_PRODUCTS", getenv("TEST_REFUSED_ON_RANK_1"), 1);
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const help_shape shape = {.hidden = 64,
            .n_layers = 1,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 128,
            .ffn = 96,
            .vocab = 304,
            .dtype = "bfloat16"};
    model = help_random_model(&shape, 5);
    check("0", GLM_LINEAR_CUBLASLT, GLM_LINEAR_CUBLASLT);
    check("8", GLM_LINEAR_CUBLASLT_BY_ROWS, GLM_LINEAR_CUBLASLT_BY_ROWS);
    check("2", GLM_LINEAR_CUBLASLT, GLM_LINEAR_CUBLASLT_BY_ROWS);
    return n_failed ? 1 : 0;
}
