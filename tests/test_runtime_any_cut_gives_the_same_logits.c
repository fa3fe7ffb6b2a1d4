/* How the work is cut never shows: logits are the same bit for bit for any span, any chunk (also
 * 1 and 17 tokens), any number of threads, one prefill or several, prefill or decode, run after
 * run.
 *
 * Method: one random model, one prompt that crosses spans, splits and pages; the logits of a few
 * positions from a plain run are compared with memcmp against every other way to compute them. The program's
 * argument, if any, is who multiplies (--linear). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/random_model.h"
#include "runtime/runtime.h"

enum { N_TOKENS_MAX = 8300, N_WANTED = 6 };

static int64_t n_tokens = N_TOKENS_MAX;
static int32_t ids[N_TOKENS_MAX];
static int64_t wanted[N_WANTED];
static const char *linear; /* NULL: as the machine has it */
static int n_failed;

static glm_options options_for(const char *dir) {
    return (glm_options){
            .model_dir = dir, .max_len = n_tokens, .max_logits = N_WANTED, .linear = linear};
}

static void expect_same(
        const float *got, const float *want, int64_t n, int64_t vocab, const char *what) {
    if (memcmp(got, want, (size_t)(n * vocab) * sizeof *got) == 0) return;
    printf("FAIL %s: logits differ\n", what);
    n_failed++;
}

/* Logits of the wanted positions, prefilled in one call. The caller frees. */
static float *prefill_all(const glm_options *options, int64_t *vocab) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    help_require(glm_engine_open(options, &engine), "open");
    help_require(glm_session_create(engine, n_tokens, &session), "session");
    help_require(glm_prefill_begin(session, ids, n_tokens, wanted, N_WANTED), "begin");
    glm_prefill_progress progress = {0};
    while (!progress.is_done) help_require(glm_prefill_step(session, &progress), "step");
    const float *logits = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    *vocab = glm_engine_config(engine)->vocab;
    float *copy = malloc((size_t)(n_rows * *vocab) * sizeof *copy);
    memcpy(copy, logits, (size_t)(n_rows * *vocab) * sizeof *copy);
    glm_session_free(session);
    glm_engine_close(engine);
    return copy;
}

static void check_prefill(const char *dir, const float *want, int64_t span, int64_t chunk,
        int32_t threads, const char *what) {
    glm_options options = options_for(dir);
    options.span = span;
    options.chunk = chunk;
    options.threads = threads;
    int64_t vocab = 0;
    float *got = prefill_all(&options, &vocab);
    expect_same(got, want, N_WANTED, vocab, what);
    free(got);
}

/* The coarser cuts are left out where time is short and this is the second choice to be looked at. */
static void check_prefills(const char *dir, const float *want) {
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    if (!is_fast || !linear) {
        check_prefill(dir, want, 0, 0, 0, "the same again");
        check_prefill(dir, want, 4096, 128, 1, "span 4096, chunk 128, one thread");
        check_prefill(dir, want, 8192, 384, 2, "span 8192, chunk 384, two threads");
    }
    check_prefill(dir, want, 4096, 17, 3, "chunk 17, three threads");
    if (!is_fast) check_prefill(dir, want, 0, 1, 1, "chunk 1");
}

/* The last wanted positions again: prefill up to the third last, decode the others one by one. */
static void check_decode(const char *dir, const float *want) {
    const glm_options options = options_for(dir);
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, n_tokens, &session), "session");
    const int64_t from = wanted[N_WANTED - 3];
    const int64_t vocab = glm_engine_config(engine)->vocab;
    help_require(glm_prefill(session, ids, 1000), "first prefill");
    help_require(glm_prefill(session, ids + 1000, from + 1 - 1000), "second prefill");
    const float *logits = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    expect_same(logits, want + (N_WANTED - 3) * vocab, 1, vocab, "two prefills");
    int next = N_WANTED - 2;
    for (int64_t pos = from + 1; pos < n_tokens; pos++) {
        help_require(glm_decode(&session, &ids[pos], 1), "decode");
        if (pos != wanted[next]) continue;
        help_require(glm_session_logits(session, &logits, &n_rows), "logits");
        expect_same(logits, want + next * vocab, 1, vocab, "decoded one by one");
        next++;
    }
    glm_session_free(session);
    glm_engine_close(engine);
}

/* Two forks of one prefix decoded together, each as if alone. */
static void check_forks(const char *dir, const float *want) {
    glm_options options = options_for(dir);
    options.max_seqs = 2;
    options.extra_kv_tokens = n_tokens;
    glm_engine *engine = NULL;
    glm_session *first = NULL;
    glm_session *second = NULL;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, n_tokens, &first), "session");
    const int64_t pos = wanted[N_WANTED - 2];
    const int64_t vocab = glm_engine_config(engine)->vocab;
    help_require(glm_prefill(first, ids, pos), "prefill");
    help_require(glm_session_fork(first, pos, n_tokens, &second), "fork");
    glm_session *const both[] = {first, second};
    const int32_t next[] = {(ids[pos] + 1) % (int32_t)vocab, ids[pos]};
    help_require(glm_decode(both, next, 2), "decode");
    const float *logits = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(second, &logits, &n_rows), "logits");
    expect_same(logits, want + (N_WANTED - 2) * vocab, 1, vocab, "a fork beside another");
    glm_session_free(second);
    glm_session_free(first);
    glm_engine_close(engine);
}

static void make_prompt(int64_t vocab) {
    uint32_t state = 1;
    for (int64_t i = 0; i < n_tokens; i++) {
        state = state * 1664525u + 1013904223u;
        ids[i] = (int32_t)((state >> 8) % (uint32_t)vocab);
    }
    const int64_t from_end[N_WANTED] = {n_tokens, n_tokens - 130, n_tokens / 2, 12, 7, 1};
    for (int i = 0; i < N_WANTED; i++) wanted[i] = n_tokens - from_end[i];
}

int main(int argc, char **argv) {
    if (argc > 1) linear = argv[1];
    if (getenv("GLM_TEST_FAST")) n_tokens = 4200;
    const char *dir = help_dir();
    char config[512];
    (void)snprintf(config, sizeof config, "%s/wanted.json", dir);
    FILE *file = fopen(config, "w");
    if (!file) return 1;
    (void)fputs("{\"model_type\": \"glm\", \"architectures\": [\"GlmForCausalLM\"], "
                "\"hidden_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 6, "
                "\"num_key_value_heads\": 2, \"head_dim\": 32, \"intermediate_size\": 90, "
                "\"vocab_size\": 300, \"max_position_embeddings\": 16384, \"rope_theta\": 5000000, "
                "\"partial_rotary_factor\": 0.5, \"rms_norm_eps\": 1.5625e-07, "
                "\"attention_bias\": true, \"tie_word_embeddings\": false, "
                "\"torch_dtype\": \"bfloat16\", \"hidden_act\": \"silu\", "
                "\"eos_token_id\": [256], \"pad_token_id\": 256}",
            file);
    (void)fclose(file);
    char model[512];
    (void)snprintf(model, sizeof model, "%s/model", dir);
    help_require(glm_random_model_write(model, config, 7), "make-model");

    make_prompt(300);
    const glm_options options = options_for(model);
    int64_t vocab = 0;
    float *want = prefill_all(&options, &vocab);
    check_prefills(model, want);
    check_decode(model, want);
    check_forks(model, want);
    free(want);
    return n_failed ? 1 : 0;
}
