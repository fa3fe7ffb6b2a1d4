/* The self-test passes what was published, rounding and all, and nothing that is off by more.
 *
 * Method: (1) rows of 151552 logits made from the published numbers, the rest filled in so that the
 * entropy is the published one; then scaled by what bf16 may do (passes), and each number moved by
 * more than is allowed for it, one at a time (that one fails). (2) The whole way on a small random
 * model: its own logits as the golden (passes), the same golden for another seed, for a model that
 * is rotated by another base, and for one prompt token more (fails). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_tokenizer.h"
#include "runtime/random_model.h"
#include "runtime/self_test.h"

enum { VOCAB = 151552 };

/* ---- made-up rows ---------------------------------------------------------------------------- */

static void fill(float *row, const glm_golden *golden, float filler) {
    for (int64_t id = 0; id < VOCAB; id++) row[id] = filler;
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) row[golden->top_ids[i]] = golden->top_logits[i];
}

static double entropy(const float *row) {
    double sum = 0;
    double result = 0;
    for (int64_t id = 0; id < VOCAB; id++) sum += exp((double)row[id]);
    for (int64_t id = 0; id < VOCAB; id++) {
        const double p = exp((double)row[id]) / sum;
        result -= p * log(p);
    }
    return result;
}

/* The filler that gives the published entropy. */
static float find_filler(float *row, const glm_golden *golden) {
    float low = -20;
    float high = 10;
    for (int i = 0; i < 30; i++) {
        const float middle = (low + high) / 2;
        fill(row, golden, middle);
        if (entropy(row) < golden->entropy)
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

static void expect_failed(const float *row, const glm_golden *golden, const char *what) {
    glm_self_test test;
    glm_self_test_compare(row, VOCAB, golden, &test);
    if (test.n_failed < 1 || find_check(&test, what)->is_passed) (void)printf("%s passed\n", what);
    CHECK(test.n_failed >= 1 && !find_check(&test, what)->is_passed);
}

static void expect_passed(const float *row, const glm_golden *golden) {
    glm_self_test test;
    glm_self_test_compare(row, VOCAB, golden, &test);
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

static void check_rows(void) {
    const glm_golden *golden = glm_golden_chat_1m();
    float *row = malloc(VOCAB * sizeof *row);
    CHECK(row);
    const float filler = find_filler(row, golden);

    fill(row, golden, filler);
    expect_passed(row, golden);
    for (int64_t id = 0; id < VOCAB; id++) row[id] *= 1.003F;
    expect_passed(row, golden);

    check_each_logit(row, golden, filler);
    fill(row, golden, filler);
    row[9707] = 25.0F;
    expect_failed(row, golden, "id of the largest logit");
    expect_failed(row, golden, "other ids above the fifth");
    fill(row, golden, filler);
    row[0] = 11.0F;
    expect_failed(row, golden, "other ids above the fifth");
    row[0] = NAN;
    expect_failed(row, golden, "other ids above the fifth");
    fill(row, golden, filler + 2.0F);
    expect_failed(row, golden, "ln of the entropy in nats");
    fill(row, golden, -INFINITY);
    expect_passed(row, golden); /* of the five alone, 1.2e-4: within the two logits' errors */
    for (int64_t id = 0; id < VOCAB; id++) row[id] = 0.0F; /* nothing but zeros */
    glm_self_test test;
    glm_self_test_compare(row, VOCAB, golden, &test);
    CHECK(test.n_failed >= 7);
    free(row);
}

/* ---- a small model --------------------------------------------------------------------------- */

static const char config_format[] =
        "{\"model_type\": \"glm\", \"hidden_size\": 64, \"num_attention_heads\": 4, "
        "\"num_key_value_heads\": 2, \"num_hidden_layers\": 2, \"head_dim\": 32, "
        "\"intermediate_size\": 96, \"vocab_size\": 272, \"max_position_embeddings\": 4096, "
        "\"attention_bias\": true, \"rms_norm_eps\": 1e-5, \"rope_theta\": %s, "
        "\"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\", \"eos_token_id\": 256}";

static char parent[] = "/tmp/glm1m-test-XXXXXX";

static void remove_models(void) {
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", parent);
    if (system(command) != 0) (void)printf("%s is left\n", parent); /* NOLINT(cert-env33-c) */
}

static char *make_model(const char *name, const char *rope_theta, uint64_t seed) {
    char *dir = NULL;
    char *config = NULL;
    char *text = NULL;
    CHECK(asprintf(&dir, "%s/%s", parent, name) > 0);
    CHECK(asprintf(&config, "%s/%s.json", parent, name) > 0);
    const int n = asprintf(&text, config_format, rope_theta); /* NOLINT(clang-diagnostic-format*) */
    CHECK(n > 0);
    FILE *file = fopen(config, "wb");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    CHECK(glm_random_model_write(dir, config, seed) == RT_OK);
    free(config);
    free(text);
    return dir;
}

/* What the model itself answers, as a golden. */
static glm_golden measure(const char *dir) {
    glm_golden golden = {.n_ids = 6, .ids = {3, 50, 7, 200, 255, 1}};
    const glm_options options = {.model_dir = dir, .max_len = 6};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    const float *row = NULL;
    int64_t n_rows = 0;
    CHECK(glm_engine_open(&options, &engine) == RT_OK);
    CHECK(glm_session_create(engine, 6, &session) == RT_OK);
    CHECK(glm_prefill(session, golden.ids, golden.n_ids) == RT_OK);
    CHECK(glm_session_logits(session, &row, &n_rows) == RT_OK);
    double sum = 0;
    for (int64_t id = 0; id < 272; id++) sum += exp((double)row[id]);
    for (int64_t id = 0; id < 272; id++)
        golden.entropy -= exp((double)row[id]) / sum * log(exp((double)row[id]) / sum);
    for (int i = 0; i < GLM_GOLDEN_LOGITS; i++) {
        int32_t best = -1;
        for (int32_t id = 0; id < 272; id++)
            if ((best < 0 || row[id] > row[best]) && (i == 0 || row[id] < golden.top_logits[i - 1]))
                best = id;
        golden.top_ids[i] = best;
        golden.top_logits[i] = row[best];
    }
    glm_session_free(session);
    glm_engine_close(engine);
    return golden;
}

static int n_failed_of(const char *dir, const glm_golden *golden) {
    const glm_options options = {.model_dir = dir};
    glm_self_test test;
    CHECK(glm_self_test_run(&options, golden, &test) == RT_OK);
    return test.n_failed;
}

static void check_models(void) {
    CHECK(mkdtemp(parent) && atexit(remove_models) == 0);
    char *right = make_model("right", "1e8", 1);
    char *other = make_model("other", "1e8", 2);
    char *rotated = make_model("rotated", "1e3", 1);
    const glm_golden golden = measure(right);
    CHECK(n_failed_of(right, &golden) == 0);
    CHECK(n_failed_of(other, &golden) > 0);
    CHECK(n_failed_of(rotated, &golden) > 0);
    glm_golden longer = golden;
    longer.ids[longer.n_ids++] = 9;
    CHECK(n_failed_of(right, &longer) > 0);
    free(right);
    free(other);
    free(rotated);
}

int main(void) {
    check_rows();
    check_models();
    return 0;
}
