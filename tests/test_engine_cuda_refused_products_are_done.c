/* A product that cuBLASLt refuses when it is called for, though it let the kernel be taken for so many rows, is done by the kernel
 * that it has for that number, with the bits as where it had not let it be taken; the plan, of which results are recorded, says
 * so, and one warning. Where it is first refused while a graph is recorded the step is taken as it comes.
 *
 * Method: what plays cuBLASLt refuses products of a number of rows, in the three ways that cublasLtMatmul has, and chooses
 * kernels with another order of sums for nearly each number (tests/standin). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N_PROMPT = 8, N_STEPS = 4, RECORDED = 1 /* step, the second of its kind */, VOCAB = 272 };

typedef float rows[1 + N_STEPS][VOCAB];

static int32_t ids[N_PROMPT + N_STEPS];
static FILE *said;
static int n_failed;

static void expect(bool is_true, const char *of, const char *what) {
    if (is_true) return;
    printf("FAIL %s: %s\n", of, what);
    n_failed++;
}

/* All that were said so far. */
static int64_t n_warnings(void) {
    char line[512];
    int64_t n = 0;
    rewind(said);
    while (fgets(line, sizeof line, said)) n += strstr(line, "refuses the kernel of") != NULL;
    (void)fseek(said, 0, SEEK_END);
    return n;
}

static void compute(glm_engine *engine, bool decode_is_refused, rows out) {
    glm_session *session = NULL;
    help_require(glm_session_create(engine, N_PROMPT + N_STEPS, &session), "session");
    help_require(glm_prefill(session, ids, N_PROMPT), "prefill");
    help_engine_row(session, out[0], VOCAB);
    for (int i = 0; i < N_STEPS; i++) {
        if (decode_is_refused && i == RECORDED) standin_cuda_get()->refused_products = 1;
        help_require(glm_decode(&session, &ids[N_PROMPT + i], 1), "decode");
        help_engine_row(session, out[1 + i], VOCAB);
    }
    glm_session_free(session);
}

static void run(const char *what, bool decode_is_refused, bool is_refused, rows out) {
    const glm_options options = {
            .model_dir = help_model_for_gpu(false), .device = "cuda", .max_len = 256, .threads = 1};
    standin_cuda *gpu = standin_cuda_get();
    glm_engine *engine = NULL;
    const int64_t n_before = n_warnings();
    gpu->n_graph_launches = 0;
    help_require(glm_engine_open(&options, &engine), "open");
    compute(engine, decode_is_refused, out);
    expect(glm_engine_plan(engine)->linear_by ==
                    (is_refused ? GLM_LINEAR_CUBLASLT_BY_ROWS : GLM_LINEAR_CUBLASLT),
            what, "it is recorded otherwise");
    expect(n_warnings() - n_before == is_refused, what, "warnings");
    glm_engine_close(engine);
    gpu->refused_rows = gpu->refused_products = 0;
}

static void check_prefill(void) {
    static rows plain, not_let, refused;
    standin_cuda *gpu = standin_cuda_get();
    run("nothing is refused", false, false, plain);
    gpu->refused_rows = N_PROMPT;
    run("a kernel is not let be taken", false, true, not_let);
    gpu->refused_products = N_PROMPT;
    run("a prefill's products are refused", false, true, refused);
    expect(gpu->n_refused_products >= 3, "a prefill", "its products are not refused in all ways");
    expect(memcmp(plain, not_let, sizeof plain) != 0, "a prefill", "no other kernel");
    expect(memcmp(not_let, refused, sizeof refused) == 0, "a prefill", "other bits");
    expect(gpu->n_graph_launches > 0, "a prefill", "its decode has no graphs");
}

static void check_recorded(void) {
    static rows recorded, as_it_comes;
    run("decode's products are refused", true, true, recorded);
    expect(standin_cuda_get()->n_graph_launches == 0, "decode", "a graph of what was refused");
    (void)setenv("GLM_SYNC", "1", 1); /* nothing is recorded */
    run("decode's products are refused, without graphs", true, true, as_it_comes);
    (void)unsetenv("GLM_SYNC");
    expect(memcmp(recorded, as_it_comes, sizeof recorded) == 0, "decode", "other bits");
}

int main(void) {
    said = tmpfile();
    if (!said || dup2(fileno(said), STDERR_FILENO) < 0) return 1;
    standin_plain_use(true);
    help_engine_ids(ids, N_PROMPT + N_STEPS, 5);
    check_prefill();
    check_recorded();
    return n_failed ? 1 : 0;
}
