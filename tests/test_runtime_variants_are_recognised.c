/* Each published variant's config is read to the numbers it must mean, and named; what differs from
 * the published numbers is said, and never makes another model of it silently.
 *
 * Method: configs with the published values in both spellings (the native ones also from the real
 * files where GLM_TEST_DATA has them), every value of the result; then single values changed. */
#include <math.h>

#include "help_dir.h"
#include "help_tokenizer.h"
#include "runtime/base/file.h"
#include "runtime/variant.h"

/* What a config must come out as. */
typedef struct wanted {
    const char *name;
    const char *differences;
    int32_t n_kv_heads;
    int64_t model_len;
    double rope_base;
    double rms_eps;
    bool has_qkv_bias;
    bool has_post_norms;
    int64_t n_parameters;
} wanted;

static const wanted chat_1m = {
        "GLM-4-9B-Chat-1M", "", 4, 1048576, 1e8, 1.5625e-7, true, false, 9483857920};
static const wanted chat = {
        "GLM-4-9B-Chat (128K)", "", 2, 131072, 5e6, 1.5625e-7, true, false, 9399951360};
static const wanted base = {
        "GLM-4-9B (base, 8K)", "", 2, 8192, 1e4, 1.5625e-7, true, false, 9399951360};
static const wanted glm_0414 = {"GLM-4-9B-0414", "", 2, 32768, 1e4, 1e-5, true, true, 9400279040};
static const wanted longcite = {
        "LongCite-glm4-9b", "", 2, 131072, 5e6, 1.5625e-7, true, false, 9399951360};
static const wanted longwriter = {
        "LongWriter-glm4-9b", "", 2, 32768, 1e4, 1.5625e-7, true, false, 9399951360};

static const char generation[] = "{\"do_sample\": true, \"temperature\": 0.8, \"top_p\": 0.8, "
                                 "\"eos_token_id\": [151329, 151336, 151338], \"max_length\": "
                                 "128000, \"pad_token_id\": 151329}";

/* `rope` and `origin` are whole members, each with its comma, or nothing. */
static void write_native(
        const char *dir, const char *origin, int groups, const char *rope, long length) {
    tokh_text text = {0};
    tokh_printf(&text,
            "{%s%s \"model_type\": \"chatglm\", \"add_bias_linear\": false, \"add_qkv_bias\": "
            "true, "
            "\"apply_query_key_layer_scaling\": true, "
            "\"apply_residual_connection_post_layernorm\": false, "
            "\"attention_softmax_in_fp32\": true, \"ffn_hidden_size\": 13696, "
            "\"fp32_residual_connection\": false, \"hidden_size\": 4096, \"kv_channels\": 128, "
            "\"layernorm_epsilon\": 1.5625e-07, \"multi_query_attention\": true, "
            "\"multi_query_group_num\": %d, \"num_attention_heads\": 32, \"num_layers\": 40, "
            "\"original_rope\": true, \"padded_vocab_size\": 151552, \"post_layer_norm\": true, "
            "\"rmsnorm\": true, \"seq_length\": %ld, \"torch_dtype\": \"bfloat16\", "
            "\"tie_word_embeddings\": false, \"eos_token_id\": [151329, 151336, 151338]}",
            origin, rope, groups, length);
    tokh_write(dir, "config.json", text.bytes, text.n);
    tokh_write(dir, "generation_config.json", generation, -1);
    free(text.bytes);
}

static void write_hf(const char *dir, const char *type, int kv_heads, const char *rope, long length,
        const char *eps, const char *bias) {
    tokh_text text = {0};
    tokh_printf(&text,
            "{\"model_type\": \"%s\", \"attention_bias\": %s, \"head_dim\": 128, \"hidden_act\": "
            "\"silu\", \"hidden_size\": 4096, \"intermediate_size\": 13696, "
            "\"max_position_embeddings\": %ld, \"num_attention_heads\": 32, "
            "\"num_hidden_layers\": 40, \"num_key_value_heads\": %d, %s \"rms_norm_eps\": %s, "
            "\"torch_dtype\": \"bfloat16\", \"tie_word_embeddings\": false, "
            "\"vocab_size\": 151552, \"eos_token_id\": [151329, 151336, 151338]}",
            type, bias, length, kv_heads, rope, eps);
    tokh_write(dir, "config.json", text.bytes, text.n);
    tokh_write(dir, "generation_config.json", generation, -1);
    free(text.bytes);
}

static void check_numbers(const glm_config *config, const wanted *want) {
    CHECK(config->n_layers == 40 && config->n_heads == 32 && config->head_dim == 128);
    CHECK(config->hidden == 4096 && config->ffn == 13696 && config->vocab == 151552);
    CHECK(config->rope_dim == 64 && !config->is_tied && config->dtype == RT_BF16);
    CHECK(config->n_kv_heads == want->n_kv_heads);
    CHECK(config->model_len == want->model_len);
    CHECK(fabs(config->rope_base - want->rope_base) < 1e-6);
    CHECK((double)fabsf(config->rms_eps - (float)want->rms_eps) < 1e-12);
    CHECK(config->has_qkv_bias == want->has_qkv_bias);
    CHECK(config->has_post_norms == want->has_post_norms);
    CHECK(config->n_stop_ids == 3 && config->stop_ids[0] == 151329);
    CHECK(config->stop_ids[1] == 151336 && config->stop_ids[2] == 151338);
    CHECK(fabsf(config->temperature - 0.8F) < 1e-6F && fabsf(config->top_p - 0.8F) < 1e-6F);
    CHECK(config->top_k == 0);
    CHECK(glm_config_parameters(config) == want->n_parameters);
}

/* `dir_name` is what the directory is said to be called. */
static void check_named(const char *dir, const char *dir_name, const wanted *want) {
    glm_config config;
    glm_variant variant;
    CHECK(glm_config_load(dir, &config) == RT_OK);
    check_numbers(&config, want);
    glm_variant_recognise(&config, dir_name, &variant);
    if (strcmp(variant.name, want->name) != 0 ||
            strcmp(variant.differences, want->differences) != 0)
        (void)printf("got    %s (%s)\nwanted %s (%s)\n", variant.name, variant.differences,
                want->name, want->differences);
    CHECK(strcmp(variant.name, want->name) == 0);
    CHECK(strcmp(variant.differences, want->differences) == 0);
    CHECK(variant.is_0414 == want->has_post_norms);
    CHECK(variant.is_base == (want == &base));
    CHECK(variant.is_longcite == (want == &longcite));
    CHECK(variant.is_chat_1m == (want->n_kv_heads == 4 && want->differences[0] == '\0'));
}

static void check(const char *dir, const wanted *want) {
    check_named(dir, "model", want);
}

static void check_native(const char *dir) {
    write_native(dir, "", 4, "\"rope_ratio\": 10000,", 1048576);
    check(dir, &chat_1m);
    write_native(dir, "", 2, "\"rope_ratio\": 500,", 131072);
    check(dir, &chat);
    check_named(dir, "/home/longcite-lovers/models", &chat);
    write_native(dir, "", 2, "", 8192);
    check(dir, &base);
}

static void check_hf(const char *dir) {
    write_hf(dir, "glm", 4, "\"rope_theta\": 1e8,", 1048576, "1.5625e-07", "true");
    check(dir, &chat_1m);
    write_hf(dir, "glm", 2, "\"rope_theta\": 5000000.0, \"partial_rotary_factor\": 0.5,", 131072,
            "1.5625e-07", "true");
    check(dir, &chat);
    write_hf(dir, "glm4", 2, "\"rope_theta\": 10000.0, \"partial_rotary_factor\": 0.5,", 32768,
            "1e-05", "true");
    check(dir, &glm_0414);
    /* The layout of transformers 5. */
    write_hf(dir, "glm4", 2,
            "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 10000.0, "
            "\"partial_rotary_factor\": 0.5},",
            32768, "1e-05", "true");
    check(dir, &glm_0414);
}

/* By what they are saved from, or lie in; their lengths are what their files say. */
static void check_tuned(const char *dir) {
    write_native(dir, "\"_name_or_path\": \"THUDM/LongCite-glm4-9b\",", 2, "\"rope_ratio\": 500,",
            131072);
    check(dir, &longcite);
    write_native(dir, "", 2, "\"rope_ratio\": 500,", 131072);
    check_named(dir, "/cache/models--THUDM--LongCite-glm4-9b/snapshots/0123", &longcite);
    write_native(dir, "", 2, "\"rope_ratio\": 1,", 32768);
    check_named(dir, "/models/longwriter-glm4-9b", &longwriter);
    /* A name alone makes no variant: not with other numbers. */
    write_native(dir, "\"_name_or_path\": \"THUDM/LongCite-glm4-9b\",", 4, "\"rope_ratio\": 10000,",
            1048576);
    check(dir, &chat_1m);
}

static void check_differences(const char *dir) {
    wanted want = chat_1m;
    want.differences = "rotary base 1e+06 (published 1e+08)";
    want.rope_base = 1e6;
    write_native(dir, "", 4, "\"rope_ratio\": 100,", 1048576);
    check(dir, &want);

    want.differences = "rotary base 1.0001e+08 (published 1e+08)";
    want.rope_base = 1.0001e8;
    write_native(dir, "", 4, "\"rope_ratio\": 10001,", 1048576);
    check(dir, &want);

    want = chat_1m;
    want.differences = "length 65536 (published 1048576)";
    want.model_len = 65536;
    write_native(dir, "", 4, "\"rope_ratio\": 10000,", 65536);
    check(dir, &want);

    want = glm_0414;
    want.differences = "norm eps 1.5625e-07 (published 1e-05); no QKV bias (published with)";
    want.rms_eps = 1.5625e-7;
    want.has_qkv_bias = false;
    want.n_parameters -= (int64_t)40 * 36 * 128;
    write_hf(dir, "glm4", 2, "\"rope_theta\": 10000.0,", 32768, "1.5625e-07", "false");
    check(dir, &want);
}

/* A shape of its own, without QKV bias. */
static void check_32b(const char *dir) {
    static const char config_text[] =
            "{\"model_type\": \"glm4\", \"attention_bias\": false, \"head_dim\": 128, "
            "\"hidden_size\": 6144, \"intermediate_size\": 23040, "
            "\"max_position_embeddings\": 32768, \"num_attention_heads\": 48, "
            "\"num_hidden_layers\": 61, \"num_key_value_heads\": 2, \"rope_theta\": 10000.0, "
            "\"rms_norm_eps\": 1e-05, \"torch_dtype\": \"bfloat16\", "
            "\"tie_word_embeddings\": false, \"vocab_size\": 151552}";
    glm_config config;
    glm_variant variant;
    tokh_write(dir, "config.json", config_text, -1);
    CHECK(glm_config_load(dir, &config) == RT_OK);
    glm_variant_recognise(&config, "model", &variant);
    CHECK(strcmp(variant.name, "GLM-4-32B-0414") == 0 && variant.differences[0] == '\0');
    CHECK(!variant.is_chat_1m && config.has_post_norms && !config.has_qkv_bias);
    CHECK(config.n_layers == 61 && config.hidden == 6144 && config.ffn == 23040);
    CHECK(config.n_heads == 48 && config.n_kv_heads == 2);
}

/* YaRN, which the 0414 models offer beyond 32K, is refused by name, not ignored. */
static void check_yarn(const char *dir) {
    glm_config config;
    write_hf(dir, "glm4", 2,
            "\"rope_theta\": 10000.0, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, "
            "\"original_max_position_embeddings\": 32768},",
            131072, "1e-05", "true");
    CHECK(glm_config_load(dir, &config) == RT_EMODEL);
    CHECK(strstr(rt_error_text(), "yarn"));
}

static void check_published(const char *name, const wanted *want) {
    const char *data = getenv("GLM_TEST_DATA");
    char *dir = NULL;
    char *path = NULL;
    CHECK(rt_path_join(data ? data : ".", name, &dir) == RT_OK);
    CHECK(rt_path_join(dir, "config.json", &path) == RT_OK);
    if (data && rt_file_exists(path)) check_named(dir, dir, want);
    free(path);
    free(dir);
}

int main(void) {
    const char *dir = help_dir();
    check_native(dir);
    check_hf(dir);
    check_tuned(dir);
    check_differences(dir);
    check_32b(dir);
    check_yarn(dir);
    check_published("glm-4-9b-chat-1m", &chat_1m);
    check_published("glm-4-9b-chat", &chat);
    check_published("glm-4-9b", &base);
    return 0;
}
