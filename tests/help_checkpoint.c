#include "help_checkpoint.h"

#include <inttypes.h>
#include <unistd.h>

#include "help_dir.h"
#include "runtime/base/file.h"
#include "runtime/base/memory.h"
#include "runtime/checkpoint_names.h"
#include "runtime/random_model.h"

/* ---- directories and files ------------------------------------------------------------------- */

char *ckh_path(const char *dir, const char *name) {
    char *path = NULL;
    CHECK(rt_path_join(dir, name, &path) == RT_OK);
    return path;
}

char *ckh_read(const char *dir, const char *name, int64_t *n_bytes) {
    char *path = ckh_path(dir, name);
    char *bytes = NULL;
    CHECK(rt_file_read(path, (int64_t)1 << 30, &bytes, n_bytes) == RT_OK);
    free(path);
    return bytes;
}

void ckh_write(const char *dir, const char *name, const void *bytes, int64_t n_bytes) {
    tokh_write(dir, name, bytes, n_bytes);
}

void ckh_edit(const char *dir, const char *name, const char *from, const char *to) {
    int64_t n_bytes = 0;
    char *text = ckh_read(dir, name, &n_bytes);
    char *place = strstr(text, from);
    char *edited = NULL;
    CHECK(place);
    CHECK(asprintf(&edited, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from)) >= 0);
    ckh_write(dir, name, edited, -1);
    free(edited);
    free(text);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static const char *const configs[CKH_N_KINDS] = {
        "{\"model_type\": \"chatglm\", \"add_bias_linear\": false, \"add_qkv_bias\": true,\n"
        " \"ffn_hidden_size\": 6, \"hidden_size\": 4, \"kv_channels\": 4,\n"
        " \"layernorm_epsilon\": 1.5625e-07, \"multi_query_attention\": true,\n"
        " \"multi_query_group_num\": 1, \"num_attention_heads\": 2, \"num_layers\": 1,\n"
        " \"rope_ratio\": 10000, \"original_rope\": true, \"padded_vocab_size\": 12,\n"
        " \"post_layer_norm\": true, \"rmsnorm\": true, \"seq_length\": 1048576,\n"
        " \"apply_residual_connection_post_layernorm\": false,\n"
        " \"fp32_residual_connection\": false, \"torch_dtype\": \"bfloat16\",\n"
        " \"tie_word_embeddings\": false, \"eos_token_id\": [2, 3]}\n",
        "{\"model_type\": \"glm4\", \"hidden_size\": 8, \"num_hidden_layers\": 2,\n"
        " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 16,\n"
        " \"intermediate_size\": 12, \"vocab_size\": 280, \"max_position_embeddings\": 4096,\n"
        " \"rope_theta\": 10000, \"partial_rotary_factor\": 0.5, \"rms_norm_eps\": 1e-05,\n"
        " \"attention_bias\": true, \"tie_word_embeddings\": false,\n"
        " \"torch_dtype\": \"float32\", \"hidden_act\": \"silu\", \"eos_token_id\": [256]}\n",
        "{\"model_type\": \"glm\", \"hidden_size\": 8, \"num_hidden_layers\": 2,\n"
        " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 16,\n"
        " \"intermediate_size\": 12, \"vocab_size\": 280, \"max_position_embeddings\": 4096,\n"
        " \"rope_theta\": 10000, \"partial_rotary_factor\": 0.5, \"rms_norm_eps\": 1e-05,\n"
        " \"attention_bias\": false, \"tie_word_embeddings\": true,\n"
        " \"torch_dtype\": \"bfloat16\", \"hidden_act\": \"silu\", \"eos_token_id\": [256]}\n"};

static const char generation_config[] = "{\"eos_token_id\": [256, 257], \"do_sample\": true, "
                                        "\"temperature\": 0.8, \"top_p\": 0.8}\n";

/* The byte tokenizer in its other form. */
static void write_tokenizer_json(const char *dir) {
    glm_vocab vocab;
    CHECK(glm_vocab_create(256, 256, &vocab) == RT_OK);
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        CHECK(glm_vocab_add(&vocab, &byte, 1) == GLM_NO_TOKEN);
    }
    tokh_write_json(dir, &vocab);
    glm_vocab_free(&vocab);
    tokh_remove(dir, "tokenizer.model");
}

static void write_weights(const char *dir, const char *config_path, int64_t shard_bytes) {
    const glm_random_options options = {
            .config_path = config_path, .seed = 7, .shard_bytes_max = shard_bytes};
    glm_random_model *model = NULL;
    int64_t done = 0;
    int64_t total = 1;
    CHECK(glm_random_model_begin(dir, &options, &model) == RT_OK);
    while (done < total) CHECK(glm_random_model_step(model, &done, &total) == RT_OK);
    glm_random_model_end(model);
}

const char *ckh_make(ckh_kind kind) {
    const char *dir = help_dir_in_memory();
    char *wanted = ckh_path(dir, "wanted.json");
    ckh_write(dir, "wanted.json", configs[kind], -1);
    write_weights(dir, wanted, kind == CKH_SHARDS ? 9000 : 0);
    CHECK(unlink(wanted) == 0);
    free(wanted);
    if (kind == CKH_SHARDS) write_tokenizer_json(dir);
    if (kind != CKH_NATIVE) ckh_write(dir, "generation_config.json", generation_config, -1);
    return dir;
}

/* ---- opening --------------------------------------------------------------------------------- */

rt_status ckh_open(const char *dir) {
    glm_checkpoint *checkpoint = NULL;
    const rt_status status = glm_checkpoint_open(dir, &checkpoint);
    if (status == RT_OK) glm_checkpoint_close(checkpoint);
    return status;
}

static rt_status read_tensor(const glm_checkpoint *checkpoint, glm_role role, int32_t layer) {
    const glm_tensor tensor = glm_checkpoint_tensor(checkpoint, role, layer);
    void *rows = NULL;
    RT_TRY(rt_calloc(tensor.n_rows * tensor.n_cols, rt_dtype_bytes(tensor.dtype), "rows", &rows));
    const rt_status status = glm_checkpoint_read(checkpoint, role, layer, 0, tensor.n_rows, rows);
    free(rows);
    return status;
}

static rt_status read_tensors(const glm_checkpoint *checkpoint) {
    const glm_config *config = glm_checkpoint_config(checkpoint);
    char hex[65];
    for (int role = 0; role < GLM_N_ROLES; role++) {
        if (!glm_role_is_needed(config, (glm_role)role)) continue;
        const int32_t n_layers = glm_role_is_outside((glm_role)role) ? 1 : config->n_layers;
        for (int32_t layer = 0; layer < n_layers; layer++)
            RT_TRY(read_tensor(checkpoint, (glm_role)role, layer));
    }
    return glm_checkpoint_fingerprint(checkpoint, hex);
}

rt_status ckh_load_tensors(const char *dir) {
    glm_checkpoint *checkpoint = NULL;
    RT_TRY(glm_checkpoint_open(dir, &checkpoint));
    const rt_status status = read_tensors(checkpoint);
    glm_checkpoint_close(checkpoint);
    return status;
}

rt_status ckh_load_tokenizer(const char *dir) {
    char *paths[2] = {NULL, NULL};
    glm_tokenizer *tokenizer = NULL;
    rt_status status = rt_path_join(dir, "tokenizer.model", &paths[0]);
    if (status == RT_OK) status = rt_path_join(dir, "tokenizer.json", &paths[1]);
    if (status == RT_OK && (rt_file_exists(paths[0]) || rt_file_exists(paths[1])))
        status = glm_tokenizer_load(dir, &tokenizer);
    glm_tokenizer_free(tokenizer);
    free(paths[0]);
    free(paths[1]);
    return status;
}

rt_status ckh_load(const char *dir) {
    RT_TRY(ckh_load_tensors(dir));
    return ckh_load_tokenizer(dir);
}
