/* The embedded model says in our engine what it says in the transformers library.
 *
 * Method: the last 64 rows of logits of a 2k prompt with its answer (tests/golden/needle, float32
 * reference). Facts of the compiled model are +-1; kept in bf16 each is off by up to 2^-8, and so is
 * the norm that divides them all, which moves a logit of 128 by up to 2 x 2^-8 x 128 = 1: that is
 * the bound, a sixteenth of the gap of 16 between the right byte and any other. (oneDNN's, where a CPU has AMX, round
 * activations, too.) The gap itself is checked where the answer is said. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_npy.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/needle_model.h"
#include "runtime/runtime.h"

enum { N_ROWS = 64, N_ANSWER = 8, VOCAB = 272 };

static const char answer[] = "4831759.";
static int n_failed;

static int64_t read_tokens(int32_t **ids) {
    char *text = NULL;
    int64_t n_bytes = 0;
    help_require(rt_file_read("tests/golden/needle/tokens.txt", RT_MIB, &text, &n_bytes), "tokens");
    *ids = calloc((size_t)n_bytes, sizeof **ids);
    int64_t n = 0;
    for (char *at = strtok(text, " \n"); at; at = strtok(NULL, " \n"))
        (*ids)[n++] = (int32_t)strtol(at, NULL, 10);
    free(text);
    return n;
}

static void check_rows(const float *got, const float *want) {
    float worst = 0.0f;
    for (int64_t i = 0; i < (int64_t)N_ROWS * VOCAB; i++)
        worst = fmaxf(worst, fabsf(got[i] - want[i]));
    printf("largest difference %.3g\n", (double)worst);
    if (worst <= 1.0f) return;
    printf("FAIL logits differ by %.3g\n", (double)worst);
    n_failed++;
}

/* Row i before the end of the prompt says byte i of the answer, by a gap of nearly 16. */
static void check_gap(const float *got) {
    for (int i = 0; i < N_ANSWER; i++) {
        const float *row = got + (N_ROWS - 1 - N_ANSWER + i) * VOCAB;
        float gap = INFINITY;
        for (int id = 0; id < VOCAB; id++)
            if (id != answer[i]) gap = fminf(gap, row[(int)answer[i]] - row[id]);
        if (gap >= 15.0f) continue;
        printf("FAIL byte %d of the answer: gap %.3g\n", i, (double)gap);
        n_failed++;
    }
}

int main(void) {
    const char *dir = help_dir();
    help_require(glm_needle_model_write(dir), "make-model");
    int32_t *ids = NULL;
    const int64_t n = read_tokens(&ids);
    int64_t wanted[N_ROWS];
    for (int64_t i = 0; i < N_ROWS; i++) wanted[i] = n - N_ROWS + i;

    const glm_options options = {
            .model_dir = dir, .max_len = n, .max_logits = N_ROWS, .linear = "own"};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_prefill_progress progress = {0};
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, n, &session), "session");
    help_require(glm_prefill_begin(session, ids, n, wanted, N_ROWS), "begin");
    while (!progress.is_done) help_require(glm_prefill_step(session, &progress), "step");
    const float *got = NULL;
    int64_t n_rows = 0;
    int64_t n_cols = 0;
    help_require(glm_session_logits(session, &got, &n_rows), "logits");
    float *want = help_npy_read("tests/golden/needle/logits.npy", &n_rows, &n_cols);
    check_rows(got, want);
    check_gap(got);

    free(want);
    free(ids);
    glm_session_free(session);
    glm_engine_close(engine);
    return n_failed ? 1 : 0;
}
