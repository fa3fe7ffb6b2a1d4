#include "help_ranks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_checkpoint.h"
#include "help_dir.h"
#include "runtime/random_model.h"

static void write_config(const char *path, const help_shape *s) {
    FILE *file = fopen(path, "w");
    if (!file) exit(1);
    (void)fprintf(file,
            "{\"model_type\": \"glm\", \"hidden_size\": %d, \"num_hidden_layers\": %d, "
            "\"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"head_dim\": %d, "
            "\"intermediate_size\": %d, \"vocab_size\": %d, \"max_position_embeddings\": %d, "
            "\"rope_theta\": 5000000, \"partial_rotary_factor\": 0.5, \"rms_norm_eps\": "
            "1.5625e-07, "
            "\"attention_bias\": true, \"tie_word_embeddings\": false, \"torch_dtype\": \"%s\", "
            "\"hidden_act\": \"silu\", \"eos_token_id\": [256], \"pad_token_id\": 256}",
            s->hidden, s->n_layers, s->n_heads, s->n_kv_heads, s->head_dim, s->ffn, s->vocab,
            s->max_len ? s->max_len : 65536, s->dtype);
    (void)fclose(file);
}

static char *paths[16]; /* of models, as long as the program */
static int n_paths;

const char *help_random_model(const help_shape *shape, uint64_t seed) {
    const char *dir = help_dir_in_memory();
    char *config = ckh_path(dir, "shape.json");
    char *model = ckh_path(dir, "model");
    write_config(config, shape);
    help_require(glm_random_model_write(model, config, seed), "make-model");
    free(config);
    if (n_paths == 16) exit(1);
    paths[n_paths++] = model;
    return model;
}

const char *help_model_of_two_ranks(void) {
    static const char *model;
    const help_shape shape = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 128,
            .ffn = 96,
            .vocab = HELP_TWO_RANKS_VOCAB,
            .dtype = "bfloat16"};
    if (!model) model = help_random_model(&shape, 6);
    return model;
}

/* Rows that a session has, appended. */
static void append(const glm_session *session, int64_t vocab, float **at) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    memcpy(*at, logits, (size_t)(n_rows * vocab) * sizeof *logits);
    *at += n_rows * vocab;
}

static void decode_all(
        glm_session *session, const int32_t *ids, int64_t n, int64_t vocab, float **at) {
    glm_session *both[2] = {session, NULL};
    const int64_t length = glm_session_length(session);
    help_require(glm_session_fork(session, length, length + n, &both[1]), "fork");
    for (int64_t i = 0; i < n; i++) {
        const int32_t next[2] = {ids[i], ids[n - 1 - i]};
        help_require(glm_decode(both, next, 2), "decode");
        append(both[0], vocab, at);
        append(both[1], vocab, at);
    }
    glm_session_free(both[1]);
}

float *help_ranks_logits(const glm_options *given, const int32_t *ids, int64_t n_ids,
        int64_t n_decoded, int64_t *n_floats) {
    glm_options options = *given;
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    options.max_len = n_ids;
    options.max_seqs = 2;
    options.extra_kv_tokens = n_ids;
    options.max_logits = HELP_WANTED;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, n_ids, &session), "session");
    const int64_t n = n_ids - n_decoded;
    const int64_t vocab = glm_engine_config(engine)->vocab;
    const int64_t wanted[HELP_WANTED] = {n / 5, n / 2, n - 2, n - 1};
    float *all = calloc((size_t)((HELP_WANTED + 2 * n_decoded) * vocab), sizeof *all);
    float *at = all;
    glm_prefill_progress progress = {0};
    help_require(glm_prefill_begin(session, ids, n, wanted, HELP_WANTED), "begin");
    while (!progress.is_done) help_require(glm_prefill_step(session, &progress), "step");
    append(session, vocab, &at);
    decode_all(session, ids + n, n_decoded, vocab, &at);
    *n_floats = at - all;
    glm_session_free(session);
    glm_engine_close(engine);
    return all;
}

double help_relative_error(const float *got, const float *want, int64_t n) {
    double difference = 0.0;
    double norm = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)got[i] - (double)want[i];
        difference += d * d;
        norm += (double)want[i] * (double)want[i];
    }
    return sqrt(difference / norm);
}
