/* What biases and penalties make of a row of logits is what OpenAI's API and vLLM say.
 *
 * Method: rows computed by hand, in numbers that float32 holds exactly; counts grow one by one, copies have none, and ids beyond the
 * row change nothing. */
#include <stdio.h>
#include <string.h>

#include "help_check.h"
#include "runtime/bias.h"

enum { N = 6 };

static const float logits[N] = {4.0f, -4.0f, 1.0f, 0.0f, -0.5f, 8.0f};
static int n_failed;

static void expect(glm_bias *bias, const float *wanted, const char *what) {
    const float *row = NULL;
    help_require(glm_bias_apply(bias, logits, N, &row), what);
    if (memcmp(row, wanted, sizeof logits) == 0) return;
    printf("FAIL %s:", what);
    for (int i = 0; i < N; i++) printf(" %g, not %g;", (double)row[i], (double)wanted[i]);
    printf("\n");
    n_failed++;
}

static void expect_any(const glm_bias *bias, bool wanted, const char *what) {
    if (glm_bias_is_any(bias) == wanted) return;
    printf("FAIL %s: %s\n", what, wanted ? "nothing is changed" : "something is changed");
    n_failed++;
}

static void count(glm_bias *bias, int32_t id) {
    help_require(glm_bias_count(bias, id), "count");
}

static void biases(void) {
    glm_bias bias = {0};
    expect_any(&bias, false, "nothing said");
    help_require(glm_bias_set(&bias, 5, -100.0f), "set");
    help_require(glm_bias_set(&bias, 1, 7.0f), "set");
    help_require(glm_bias_set(&bias, 1, 2.0f), "set again");
    help_require(glm_bias_set(&bias, N, 50.0f), "set beyond the row");
    expect_any(&bias, true, "ids");
    count(&bias, 1); /* without a penalty nothing comes of it */
    expect(&bias, (const float[N]){4.0f, -2.0f, 1.0f, 0.0f, -0.5f, -92.0f}, "biases of ids");
    glm_bias_free(&bias);
}

static void penalties(void) {
    glm_bias bias = {.presence_penalty = 0.5f, .frequency_penalty = 0.25f};
    glm_bias copy = {0};
    expect_any(&bias, true, "penalties");
    expect(&bias, logits, "nothing counted");
    count(&bias, 0);
    count(&bias, 4);
    count(&bias, 0);
    help_require(glm_bias_set(&bias, 4, 1.0f), "set");
    expect(&bias, (const float[N]){3.0f, -4.0f, 1.0f, 0.0f, -0.25f, 8.0f}, "penalties");
    help_require(glm_bias_copy(&copy, &bias), "copy");
    expect(&copy, (const float[N]){4.0f, -4.0f, 1.0f, 0.0f, 0.5f, 8.0f}, "a copy counts anew");
    count(&copy, 5);
    expect(&copy, (const float[N]){4.0f, -4.0f, 1.0f, 0.0f, 0.5f, 7.25f}, "and has both penalties");
    glm_bias_free(&copy);
    glm_bias_free(&bias);
}

static void repetitions(void) {
    const int32_t prompt[] = {1, 3, 1, 0};
    glm_bias bias = {.repetition_penalty = 2.0f};
    expect_any(&bias, true, "repetition");
    help_require(glm_bias_begin(&bias, prompt, 4, N + 2), "begin");
    expect(&bias, (const float[N]){2.0f, -8.0f, 1.0f, 0.0f, -0.5f, 8.0f}, "of the prompt");
    count(&bias, 5);
    count(&bias, 5);
    count(&bias, 4);
    count(&bias, N + 1);
    expect(&bias, (const float[N]){2.0f, -8.0f, 1.0f, 0.0f, -1.0f, 4.0f},
            "of the answer, once each");
    bias.presence_penalty = 0.5f;
    count(&bias, 5);
    help_require(glm_bias_set(&bias, 1, 3.0f), "set");
    expect(&bias, (const float[N]){2.0f, -5.0f, 1.0f, 0.0f, -1.0f, 3.5f}, "before what is added");
    glm_bias_free(&bias);
    bias = (glm_bias){.repetition_penalty = 1.0f};
    help_require(glm_bias_begin(&bias, prompt, 4, N), "begin");
    expect_any(&bias, false, "a penalty of 1");
    glm_bias_free(&bias);
}

int main(void) {
    biases();
    penalties();
    repetitions();
    return n_failed ? 1 : 0;
}
