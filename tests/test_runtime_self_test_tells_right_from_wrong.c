/* The self-test passes what was published, rounding and all, and nothing that is off by more.
 *
 * Method: (1) rows of 151552 logits made from the published numbers, the rest filled in so that the
 * entropy is the published one; then scaled by what bf16 may do (passes), and each number moved by
 * more than is allowed for it, one at a time (that one fails). (2) The whole way on a small model
 * whose numbers transformers computed (tests/golden/0414_f32_kv2/self_test.txt): all of them come
 * out to four digits; and not for other weights, another rotary base, or one prompt token more. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "help_dir.h"
#include "help_tokenizer.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/self_test.h"

enum { VOCAB = 151552 };

/* ---- made-up rows ---------------------------------------------------------------------------- */

static void fill(float *row, const glm_golden *golden, float filler) {
    for (int64_t id = 0; id < VOCAB; id++) row[id] = filler;
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) row[golden->top_ids[i]] = golden->top_logits[i];
}

/* The golden's logits and VOCAB - 5 fillers. */
static double entropy(const glm_golden *golden, float filler) {
    const double n_fillers = VOCAB - GLM_GOLDEN_LOGITS;
    double sum = n_fillers * exp((double)filler);
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) sum += exp((double)golden->top_logits[i]);
    double result = -n_fillers * exp((double)filler) / sum * ((double)filler - log(sum));
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) {
        const double logit = (double)golden->top_logits[i];
        result -= exp(logit) / sum * (logit - log(sum));
    }
    return result;
}

/* The filler that gives the published entropy. */
static float find_filler(const glm_golden *golden) {
    float low = -20;
    float high = 10;
    for (int i = 0; i < 30; i++) {
        const float middle = (low + high) / 2;
        if (entropy(golden, middle) < golden->entropy)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static const glm_self_check *find_check(const glm_self_test *test, const char *what) {
    for (int i = 0; i < test->n_checks; i++)
        if (strcmp(test->checks[i].what, what) == 0) return &test->checks[i];
    CHECK(!"no such check");
    return NULL;
}

/* The golden's own entropies of attention, one of them moved by `off`. */
static void compare(
        const float *row, const glm_golden *golden, int moved, double off, glm_self_test *test) {
    double spreads[GLM_GOLDEN_SPREADS];
    for (int32_t i = 0; i < golden->n_spreads; i++)
        spreads[i] = golden->spreads[i].entropy + (i == moved ? off : 0);
    glm_self_test_compare(row, VOCAB, spreads, golden, test);
}

static void expect_failed(const float *row, const glm_golden *golden, const char *what) {
    glm_self_test test;
    compare(row, golden, -1, 0, &test);
    if (test.n_failed < 1 || find_check(&test, what)->is_passed) (void)printf("%s passed\n", what);
    CHECK(test.n_failed >= 1 && !find_check(&test, what)->is_passed);
}

static void expect_passed(const float *row, const glm_golden *golden) {
    glm_self_test test;
    compare(row, golden, -1, 0, &test);
    for (int i = 0; i < test.n_checks; i++)
        if (!test.checks[i].is_passed) (void)printf("%s failed\n", test.checks[i].what);
    CHECK(test.n_checks == GLM_SELF_CHECKS && test.n_failed == 0);
}

static void check_each_logit(float *row, const glm_golden *golden, float filler) {
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) {
        const int32_t id = golden->top_ids[i];
        char what[48];
        (void)snprintf(what, sizeof what, "logit of id %d", (int)id);
        fill(row, golden, filler);
        row[id] += 0.75F;
        expect_failed(row, golden, what);
        row[id] -= 1.5F;
        expect_failed(row, golden, what);
        row[id] = NAN;
        expect_failed(row, golden, what);
    }
}

static void check_each_spread(const float *row, const glm_golden *golden) {
    for (int32_t i = 0; i < golden->n_spreads; i++) {
        const double too_far = golden->spreads[i].head < 0 ? 0.03 : 0.15;
        const double offs[] = {too_far, -too_far, NAN};
        for (int k = 0; k < 3; k++) {
            glm_self_test test;
            compare(row, golden, i, offs[k], &test);
            CHECK(test.n_failed == 1 && !test.checks[i].is_passed);
        }
        glm_self_test test;
        compare(row, golden, i, too_far / 2, &test);
        CHECK(test.n_failed == 0);
    }
}

static void check_rows(void) {
    const glm_golden *golden = glm_golden_chat_1m();
    float *row = malloc(VOCAB * sizeof *row);
    CHECK(row);
    const float filler = find_filler(golden);

    fill(row, golden, filler);
    expect_passed(row, golden);
    for (int64_t id = 0; id < VOCAB; id++) row[id] *= 1.003F;
    expect_passed(row, golden);

    check_each_logit(row, golden, filler);
    fill(row, golden, filler);
    row[9707] = 25.0F;
    expect_failed(row, golden, "largest logit's id");
    expect_failed(row, golden, "others above fifth");
    fill(row, golden, filler);
    row[0] = 11.0F;
    expect_failed(row, golden, "others above fifth");
    row[0] = NAN;
    expect_failed(row, golden, "others above fifth");
    fill(row, golden, filler + 2.0F);
    expect_failed(row, golden, "ln(entropy in nats)");
    fill(row, golden, -INFINITY);
    expect_passed(row, golden); /* of the five alone, 1.2e-4: within the two logits' errors */
    for (int64_t id = 0; id < VOCAB; id++) row[id] = 0.0F; /* nothing but zeros */
    glm_self_test test;
    compare(row, golden, -1, 0, &test);
    CHECK(test.n_failed >= 7);
    fill(row, golden, filler);
    check_each_spread(row, golden);
    free(row);
}

/* ---- a small model --------------------------------------------------------------------------- */

/* The next number of a text, which moves on behind it. */
static double next_number(const char **text) {
    char *end = NULL;
    const double value = strtod(*text, &end);
    CHECK(end != *text);
    *text = end;
    return value;
}

/* self_test.txt, see make_goldens.py; of the entropies those of both layers' means and heads 1. */
static glm_golden read_golden(void) {
    glm_golden golden = {.n_ids = 6};
    char *text = NULL;
    int64_t n_bytes = 0;
    CHECK(rt_file_read("tests/golden/0414_f32_kv2/self_test.txt", RT_KIB, &text, &n_bytes) ==
            RT_OK);
    const char *at = text;
    for (int i = 0; i < 6; i++) golden.ids[i] = (int32_t)next_number(&at);
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) golden.top_ids[i] = (int32_t)next_number(&at);
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) golden.top_logits[i] = (float)next_number(&at);
    golden.entropy = next_number(&at);
    for (int line = 0; line < 10; line++) {
        glm_golden_spread spread;
        spread.layer = (int32_t)next_number(&at);
        spread.head = (int32_t)next_number(&at);
        spread.entropy = next_number(&at);
        if (spread.head == -1 || spread.head == 1) golden.spreads[golden.n_spreads++] = spread;
    }
    free(text);
    return golden;
}

static glm_self_test run(const char *dir, const glm_golden *golden) {
    const glm_options options = {.model_dir = dir};
    glm_self_test test;
    CHECK(glm_self_test_run(&options, golden, &test) == RT_OK);
    CHECK(test.n_checks == golden->n_spreads + GLM_GOLDEN_LOGITS + 3);
    return test;
}

/* The golden model's directory with a line of its config changed. */
static const char *make_rotated(void) {
    const char *dir = help_dir();
    char *text = NULL;
    char *bytes = NULL;
    int64_t n_text = 0;
    int64_t n_bytes = 0;
    CHECK(rt_file_read("tests/golden/0414_f32_kv2/config.json", RT_MIB, &text, &n_text) == RT_OK);
    CHECK(rt_file_read("tests/golden/0414_f32_kv2/model.safetensors", RT_MIB, &bytes, &n_bytes) ==
            RT_OK);
    char *theta = strstr(text, "\"rope_theta\": 10000.0");
    CHECK(theta);
    static const char other[] = "\"rope_theta\": 20.0000";
    for (size_t i = 0; i < sizeof other - 1; i++) theta[i] = other[i];
    tokh_write(dir, "config.json", text, n_text);
    tokh_write(dir, "model.safetensors", bytes, n_bytes);
    free(text);
    free(bytes);
    return dir;
}

static void check_models(void) {
    const glm_golden golden = read_golden();
    glm_self_test test = run("tests/golden/0414_f32_kv2", &golden);
    CHECK(test.n_failed == 0);
    for (int i = 0; i < test.n_checks; i++)
        CHECK(fabs(test.checks[i].got - test.checks[i].published) < 1e-4);

    CHECK(run("tests/golden/hf_f32_kv2", &golden).n_failed > 0);
    CHECK(run(make_rotated(), &golden).n_failed > 0);
    glm_golden longer = golden;
    longer.ids[longer.n_ids++] = 9;
    CHECK(run("tests/golden/0414_f32_kv2", &longer).n_failed > 0);
}

int main(void) {
    check_rows();
    check_models();
    return 0;
}
