/* A weight that is NaN makes an error that says where, never a token.
 *
 * Method: a small f32 model whose output head gets one NaN, written over in its file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_dir.h"
#include "runtime/random_model.h"
#include "runtime/runtime.h"

static const char config_json[] =
        "{\"model_type\": \"glm\", \"hidden_size\": 32, \"num_hidden_layers\": 1, "
        "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 16, "
        "\"intermediate_size\": 48, \"vocab_size\": 100, \"max_position_embeddings\": 512, "
        "\"rope_theta\": 10000, \"partial_rotary_factor\": 0.5, \"rms_norm_eps\": 1.5625e-07, "
        "\"attention_bias\": true, \"tie_word_embeddings\": false, \"torch_dtype\": \"float32\", "
        "\"hidden_act\": \"silu\", \"eos_token_id\": [2], \"pad_token_id\": 2}";

static void require(rt_status status) {
    if (status == RT_OK) return;
    printf("FAIL %s\n", rt_error_text());
    exit(1);
}

/* Every float of the file's data from some place on becomes NaN: norms, head or layers, all lead to
 * the logits. */
static void spoil(const char *dir) {
    char path[96];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *file = fopen(path, "r+");
    const float nan_value = (float)strtod("nan", NULL);
    if (!file || fseek(file, -4, SEEK_END) != 0) exit(1);
    if (fwrite(&nan_value, sizeof nan_value, 1, file) != 1) exit(1);
    (void)fclose(file);
}

static rt_status run(const char *dir) {
    const glm_options options = {.model_dir = dir, .max_len = 16};
    const int32_t ids[] = {1, 5, 9};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    require(glm_engine_open(&options, &engine));
    require(glm_session_create(engine, 16, &session));
    require(glm_prefill(session, ids, 3));
    const float *logits = NULL;
    int64_t n_rows = 0;
    const rt_status status = glm_session_logits(session, &logits, &n_rows);
    glm_session_free(session);
    glm_engine_close(engine);
    return status;
}

int main(void) {
    const char *dir = help_dir();
    char path[512];
    (void)snprintf(path, sizeof path, "%s/wanted.json", dir);
    FILE *file = fopen(path, "w");
    if (!file) return 1;
    (void)fputs(config_json, file);
    (void)fclose(file);
    require(glm_random_model_write(dir, path, 3));
    const bool was_good = run(dir) == RT_OK;
    spoil(dir);
    const bool is_named =
            run(dir) == RT_ENUMERIC && strstr(rt_error_text(), "logits: row 0") != NULL;
    if (!was_good || !is_named) printf("FAIL good %d, named %d\n", was_good, is_named);
    return was_good && is_named ? 0 : 1;
}
