/* A weight that is NaN makes an error that says where, never a token.
 *
 * Method: a small f32 model of which one number, the first or the last of each tensor in turn, becomes NaN in its file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
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

/* The `number`-th tensor of the file whose bytes these are, first and last byte of its data; false: there are fewer. */
static bool tensor_of(const char *bytes, int number, uint64_t *first, uint64_t *last) {
    static const char key[] = "\"data_offsets\":[";
    uint64_t header_bytes = 0;
    memcpy(&header_bytes, bytes, sizeof header_bytes);
    const char *at = bytes + 8;
    for (int i = 0; i <= number; i++) {
        at = strstr(at, key);
        if (!at) return false;
        at += sizeof key - 1;
    }
    char *end = NULL;
    *first = 8 + header_bytes + strtoull(at, &end, 10);
    *last = 8 + header_bytes + strtoull(end + 1, NULL, 10);
    return true;
}

static long read_file(const char *path, char *bytes, size_t n_bytes_max) {
    FILE *file = fopen(path, "r");
    if (!file) exit(1);
    const size_t n = fread(bytes, 1, n_bytes_max, file);
    (void)fclose(file);
    return (long)n;
}

static void write_file(const char *path, const char *bytes, long n) {
    FILE *file = fopen(path, "w");
    if (!file || fwrite(bytes, 1, (size_t)n, file) != (size_t)n) exit(1);
    (void)fclose(file);
}

static rt_status run(const char *dir) {
    const glm_options options = {.model_dir = dir, .max_len = 16};
    const int32_t ids[] = {0, 99, 5};
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

/* With one number of a tensor NaN. */
static bool is_an_error(
        const char *dir, const char *path, const char *bytes, long n, uint64_t place) {
    const float nan_value = (float)strtod("nan", NULL);
    char *spoilt = malloc((size_t)n);
    if (!spoilt) exit(1);
    memcpy(spoilt, bytes, (size_t)n);
    memcpy(spoilt + place, &nan_value, sizeof nan_value);
    write_file(path, spoilt, n);
    free(spoilt);
    return run(dir) == RT_ENUMERIC && strstr(rt_error_text(), "logits: row 0") != NULL;
}

int main(void) {
    enum { BYTES_MAX = 1 << 20 };
    static char bytes[BYTES_MAX];
    const char *dir = help_dir();
    char path[512];
    (void)snprintf(path, sizeof path, "%s/wanted.json", dir);
    write_file(path, config_json, (long)strlen(config_json));
    require(glm_random_model_write(dir, path, 3));
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    const long n = read_file(path, bytes, BYTES_MAX - 1);
    CHECK(run(dir) == RT_OK);
    int n_tensors = 0;
    for (uint64_t first = 0, last = 0; tensor_of(bytes, n_tensors, &first, &last); n_tensors++) {
        CHECK(is_an_error(dir, path, bytes, n, first));
        CHECK(is_an_error(dir, path, bytes, n, last - sizeof(float)));
    }
    CHECK(n_tensors == 14);
    return 0;
}
