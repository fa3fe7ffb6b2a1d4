/* Reading a config: every key (config_keys.h), in either spelling, then the numbers against each other.
 *
 * The ranges are wide (a thousand layers, a 128K-wide residual stream), yet so narrow that no
 * product of sizes anywhere in the runtime passes 2^63. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter.h"
#include "base/file.h"
#include "config_keys.h"
#include "gguf.h"

/* A test builds this file with one check missing, to see that its fuzz target notices. */
#ifndef GLM_MUTANT_GROUPS
#define GLM_MUTANT_GROUPS 0
#endif

enum {
    HEADS_MAX = 1024,
    HEAD_DIM_MAX = 1024,
    HIDDEN_MAX = 1 << 17,
    FFN_MAX = 1 << 20,
    VOCAB_MAX = 1 << 24,
    MODEL_LEN_MAX = 1 << 24, /* up to here fp32 tells positions apart */
    LONG_CONTEXT = 131072,   /* no published model gets this far with a rotary base of 10^4 */
    SHORT_CONTEXT = 8192,    /* and this far all do */
    STOP_IDS_READ_MAX = 64
};
static const double rope_base_unscaled = 1e4;

/* ---- what both spellings share --------------------------------------------------------------- */

static void warn(glm_config *config, const char *sentence) {
    const size_t used = strlen(config->warning);
    (void)snprintf(config->warning + used, sizeof config->warning - used, "%s%s", used ? "; " : "",
            sentence);
}

/* Older files say torch_dtype, newer ones dtype. */
static rt_status read_dtype(const glm_keys *from, rt_dtype *out) {
    static const struct {
        const char *name;
        rt_dtype dtype;
    } names[] = {{"bfloat16", RT_BF16}, {"float16", RT_F16}, {"float32", RT_F32}};
    const char *key = glm_keys_has(from, "dtype") ? "dtype" : "torch_dtype";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (glm_keys_is_text(json_object_get(from->root, key), names[i].name)) {
            *out = names[i].dtype;
            return RT_OK;
        }
    return glm_keys_refuse(from, key, "\"bfloat16\", \"float16\" or \"float32\"");
}

static rt_status add_stop_id(const glm_keys *from, const json_t *id, glm_config *config) {
    if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= config->vocab)
        return glm_keys_refuse(from, "eos_token_id", "ids below the size of the vocabulary");
    const int32_t stop_id = (int32_t)json_integer_value(id);
    for (int32_t i = 0; i < config->n_stop_ids; i++)
        if (config->stop_ids[i] == stop_id) return RT_OK;
    if (config->n_stop_ids == GLM_STOP_IDS_MAX)
        return rt_fail(RT_EMODEL,
                "config: CF_RANGE: %s: \"eos_token_id\" brings more than %d stop ids", from->path,
                GLM_STOP_IDS_MAX);
    config->stop_ids[config->n_stop_ids++] = stop_id;
    return RT_OK;
}

/* One id or a list; those already known are not added again. */
static rt_status add_stop_ids(const glm_keys *from, glm_config *config) {
    if (!glm_keys_has(from, "eos_token_id")) return RT_OK;
    const json_t *ids = json_object_get(from->root, "eos_token_id");
    if (!json_is_array(ids)) return add_stop_id(from, ids, config);
    if (json_array_size(ids) > STOP_IDS_READ_MAX)
        return glm_keys_refuse(from, "eos_token_id", "a list of at most 64 ids");
    for (size_t i = 0; i < json_array_size(ids); i++)
        RT_TRY(add_stop_id(from, json_array_get(ids, i), config));
    return RT_OK;
}

/* Things a config can ask for that this runtime would otherwise silently not do. */
static rt_status refuse_additions(const glm_keys *from) {
    static const struct {
        const char *key;
        const char *what;
    } additions[] = {
            {"quantization_config", "quantised weights"},
            {"vision_config", "a vision tower (GLM-4V)"},
            {"pre_seq_len", "a P-Tuning prefix"},
    };
    char place[GLM_KEYS_PLACE];
    for (size_t i = 0; i < sizeof additions / sizeof *additions; i++)
        if (glm_keys_has(from, additions[i].key))
            return rt_fail(RT_EMODEL,
                    "config: CF_UNSUPPORTED%s: %s: \"%s\" asks for %s, which is unsupported: glm1m "
                    "reads the text "
                    "models in bf16, f16 and f32",
                    glm_keys_place(from, additions[i].key, place), from->path, additions[i].key,
                    additions[i].what);
    return RT_OK;
}

static rt_status read_shared(const glm_keys *from, glm_config *config) {
    RT_TRY(refuse_additions(from));
    RT_TRY(glm_keys_int(from, "hidden_size", 2, HIDDEN_MAX, &config->hidden));
    RT_TRY(glm_keys_int32(from, "num_attention_heads", 1, HEADS_MAX, &config->n_heads));
    RT_TRY(glm_keys_bool(from, "tie_word_embeddings", &config->is_tied));
    return read_dtype(from, &config->dtype);
}

static rt_status read_eps(const glm_keys *from, const char *key, glm_config *config) {
    double eps = 0;
    RT_TRY(glm_keys_real(from, key, 1e-20, 0.1, &eps));
    config->rms_eps = (float)eps;
    return RT_OK;
}

static void warn_of_rope_base(glm_config *config, const char *key) {
    if (config->model_len < LONG_CONTEXT || config->rope_base > rope_base_unscaled) return;
    char sentence[GLM_WARNING_BYTES];
    (void)snprintf(sentence, sizeof sentence,
            "%s makes the rotary base %g for a length of %" PRId64
            " tokens; published models of that length have 5e6 (128K) or 1e8 (1M)",
            key, config->rope_base, config->model_len);
    warn(config, sentence);
}

/* ---- the native spelling: model_type "chatglm" ----------------------------------------------- */

static rt_status read_native_switches(const glm_keys *from, glm_config *config) {
    RT_TRY(glm_keys_require(from, "add_bias_linear", false));
    RT_TRY(glm_keys_require(from, "apply_residual_connection_post_layernorm", false));
    RT_TRY(glm_keys_require(from, "fp32_residual_connection", false));
    RT_TRY(glm_keys_require(from, "original_rope", true));
    RT_TRY(glm_keys_require(from, "post_layer_norm", true));
    RT_TRY(glm_keys_require(from, "rmsnorm", true));
    if (glm_keys_has(from, "quantization_bit")) {
        int32_t bits = 0;
        RT_TRY(glm_keys_int32(from, "quantization_bit", 0, 0, &bits));
    }
    return glm_keys_bool(from, "add_qkv_bias", &config->has_qkv_bias);
}

static rt_status read_native_layers(const glm_keys *from, glm_config *config) {
    RT_TRY(glm_keys_int32(from, "num_layers", 1, GLM_LAYERS_MAX, &config->n_layers));
    if (!glm_keys_has(from, "num_hidden_layers")) return RT_OK;
    int32_t again = 0;
    RT_TRY(glm_keys_int32(from, "num_hidden_layers", 1, GLM_LAYERS_MAX, &again));
    if (again == config->n_layers) return RT_OK;
    return rt_fail(RT_EMODEL,
            "config: CF_CONFLICT: %s: \"num_layers\" is %" PRId32
            " and \"num_hidden_layers\" is %" PRId32,
            from->path, config->n_layers, again);
}

static rt_status read_native_groups(const glm_keys *from, glm_config *config) {
    bool has_groups = false;
    RT_TRY(glm_keys_bool(from, "multi_query_attention", &has_groups));
    config->n_kv_heads = config->n_heads;
    if (!has_groups) return RT_OK;
    return glm_keys_int32(from, "multi_query_group_num", 1, config->n_heads, &config->n_kv_heads);
}

/* The format defines an absent rope_ratio as 1, which is right for the 8K base model and can only
 * be a lost line in a long one. */
static rt_status read_native_rope(const glm_keys *from, glm_config *config) {
    double ratio = 1;
    config->rope_dim = config->head_dim / 2;
    if (glm_keys_has(from, "rope_ratio")) {
        RT_TRY(glm_keys_real(from, "rope_ratio", 1e-3, 1e9, &ratio));
    } else if (config->model_len >= LONG_CONTEXT) {
        return rt_fail(RT_EMODEL,
                "config: CF_MISSING: %s: \"rope_ratio\" is missing while \"seq_length\" is %" PRId64
                "; GLM-4-9B-Chat (131072) has 500, GLM-4-9B-Chat-1M (1048576) has 10000; for a "
                "model tuned from the 8K base as it was, write \"rope_ratio\": 1",
                from->path, config->model_len);
    } else if (config->model_len > SHORT_CONTEXT) {
        warn(config, "rope_ratio is missing, which means 1 and is known to work up to 8K tokens");
    }
    config->rope_base = rope_base_unscaled * ratio;
    if (glm_keys_has(from, "rope_ratio")) warn_of_rope_base(config, "rope_ratio");
    return RT_OK;
}

static rt_status read_native(const glm_keys *from, glm_config *config) {
    config->naming = GLM_NAMES_NATIVE;
    RT_TRY(read_shared(from, config));
    RT_TRY(read_native_layers(from, config));
    RT_TRY(read_native_groups(from, config));
    RT_TRY(read_native_switches(from, config));
    RT_TRY(glm_keys_int32(from, "kv_channels", 2, HEAD_DIM_MAX, &config->head_dim));
    RT_TRY(glm_keys_int(from, "ffn_hidden_size", 1, FFN_MAX, &config->ffn));
    RT_TRY(glm_keys_int(from, "padded_vocab_size", 1, VOCAB_MAX, &config->vocab));
    RT_TRY(glm_keys_int(from, "seq_length", 1, MODEL_LEN_MAX, &config->model_len));
    RT_TRY(read_eps(from, "layernorm_epsilon", config));
    return read_native_rope(from, config);
}

/* ---- the Hugging Face spelling: model_type "glm" or "glm4" ----------------------------------- */

/* YaRN and its kin change the angles; none is implemented. `key` holds an object, or null. */
static rt_status check_rope_kind(const glm_keys *from, const char *key) {
    if (!glm_keys_has(from, key)) return RT_OK;
    const json_t *rope = json_object_get(from->root, key);
    if (!json_is_object(rope)) return glm_keys_refuse(from, key, "an object or null");
    const json_t *kind = json_object_get(rope, "rope_type");
    if (!kind) kind = json_object_get(rope, "type");
    if (!kind || glm_keys_is_text(kind, "default")) return RT_OK;
    char text[GLM_JSON_TEXT];
    char place[GLM_KEYS_PLACE];
    return rt_fail(RT_EMODEL,
            "config: CF_UNSUPPORTED%s: %s: \"%s\" asks for %s, which is unsupported: glm1m "
            "computes the unscaled "
            "(\"default\") rotary angles only",
            glm_keys_place(from, key, place), from->path, key, glm_json_text(kind, text));
}

/* A number at top level, inside rope_parameters (transformers 5), or, when both, the same twice. */
static rt_status read_rope_number(
        const glm_keys *from, const char *key, double min, double max, double *out) {
    const glm_keys inner = glm_keys_inside(from, "rope_parameters");
    const bool is_inside = json_is_object(inner.root) && glm_keys_has(&inner, key);
    if (!is_inside) return glm_keys_real(from, key, min, max, out);
    RT_TRY(glm_keys_real(&inner, key, min, max, out));
    if (!glm_keys_has(from, key)) return RT_OK;
    double outer = 0;
    RT_TRY(glm_keys_real(from, key, min, max, &outer));
    if (outer == *out) return RT_OK;
    return rt_fail(RT_EMODEL,
            "config: CF_CONFLICT: %s: \"%s\" is %g, and %g in \"rope_parameters\"", from->path, key,
            outer, *out);
}

static bool has_rope_number(const glm_keys *from, const char *key) {
    const glm_keys inner = glm_keys_inside(from, "rope_parameters");
    return glm_keys_has(from, key) || (json_is_object(inner.root) && glm_keys_has(&inner, key));
}

static rt_status read_hf_rope(const glm_keys *from, glm_config *config) {
    RT_TRY(check_rope_kind(from, "rope_scaling"));
    RT_TRY(check_rope_kind(from, "rope_parameters"));
    RT_TRY(read_rope_number(from, "rope_theta", 10, 1e13, &config->rope_base));
    double part = 0.5;
    if (has_rope_number(from, "partial_rotary_factor"))
        RT_TRY(read_rope_number(from, "partial_rotary_factor", 1e-3, 1, &part));
    config->rope_dim = (int32_t)(config->head_dim * part);
    warn_of_rope_base(config, "rope_theta");
    return RT_OK;
}

static rt_status check_activation(const glm_keys *from) {
    if (!glm_keys_has(from, "hidden_act")) return RT_OK;
    return glm_keys_is_text(json_object_get(from->root, "hidden_act"), "silu")
                   ? RT_OK
                   : glm_keys_refuse(from, "hidden_act", "\"silu\"");
}

static rt_status read_hf(const glm_keys *from, glm_config *config) {
    config->naming = GLM_NAMES_HF;
    config->has_post_norms = strcmp(config->model_type, "glm4") == 0;
    RT_TRY(read_shared(from, config));
    RT_TRY(check_activation(from));
    RT_TRY(glm_keys_int32(from, "num_hidden_layers", 1, GLM_LAYERS_MAX, &config->n_layers));
    RT_TRY(glm_keys_int32(from, "num_key_value_heads", 1, config->n_heads, &config->n_kv_heads));
    RT_TRY(glm_keys_int32(from, "head_dim", 2, HEAD_DIM_MAX, &config->head_dim));
    RT_TRY(glm_keys_int(from, "intermediate_size", 1, FFN_MAX, &config->ffn));
    RT_TRY(glm_keys_int(from, "vocab_size", 1, VOCAB_MAX, &config->vocab));
    RT_TRY(glm_keys_int(from, "max_position_embeddings", 1, MODEL_LEN_MAX, &config->model_len));
    RT_TRY(glm_keys_bool(from, "attention_bias", &config->has_qkv_bias));
    RT_TRY(read_eps(from, "rms_norm_eps", config));
    return read_hf_rope(from, config);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static rt_status check_together(const glm_keys *from, const glm_config *config) {
    if (config->n_heads % config->n_kv_heads != 0 && !GLM_MUTANT_GROUPS)
        return rt_fail(RT_EMODEL,
                "config: CF_CONFLICT: %s: %" PRId32 " query heads cannot be divided among %" PRId32
                " KV heads",
                from->path, config->n_heads, config->n_kv_heads);
    if (config->rope_dim < 2 || config->rope_dim % 2 != 0)
        return rt_fail(RT_EMODEL,
                "config: CF_CONFLICT: %s: rotary pairs need an even number of dimensions, %" PRId32
                " of the %" PRId32 " of a head are to be rotated",
                from->path, config->rope_dim, config->head_dim);
    return RT_OK;
}

static rt_status read_config(const glm_keys *from, glm_config *config) {
    const json_t *type = json_object_get(from->root, "model_type");
    const bool is_native = glm_keys_is_text(type, "chatglm");
    if (!is_native && !glm_keys_is_text(type, "glm") && !glm_keys_is_text(type, "glm4"))
        return glm_keys_refuse(from, "model_type", "\"chatglm\", \"glm\" or \"glm4\" (GLM-4)");
    (void)snprintf(config->model_type, sizeof config->model_type, "%s", json_string_value(type));
    const json_t *origin = json_object_get(from->root, "_name_or_path");
    if (json_is_string(origin))
        (void)snprintf(config->origin, sizeof config->origin, "%s", json_string_value(origin));
    RT_TRY(is_native ? read_native(from, config) : read_hf(from, config));
    RT_TRY(check_together(from, config));
    return add_stop_ids(from, config);
}

static rt_status read_sampling(const glm_keys *from, glm_config *config) {
    bool is_sampled = true;
    double temperature = 1;
    double top_p = 1;
    double min_p = 0;
    if (glm_keys_has(from, "do_sample")) RT_TRY(glm_keys_bool(from, "do_sample", &is_sampled));
    if (glm_keys_has(from, "temperature"))
        RT_TRY(glm_keys_real(from, "temperature", 0, 100, &temperature));
    if (glm_keys_has(from, "top_p")) RT_TRY(glm_keys_real(from, "top_p", 1e-6, 1, &top_p));
    if (glm_keys_has(from, "top_k"))
        RT_TRY(glm_keys_int32(from, "top_k", 0, VOCAB_MAX, &config->top_k));
    if (glm_keys_has(from, "min_p")) RT_TRY(glm_keys_real(from, "min_p", 0, 1, &min_p));
    if (glm_keys_has(from, "do_sample") || glm_keys_has(from, "temperature"))
        config->temperature = is_sampled ? (float)temperature : 0.0F;
    config->top_p = (float)top_p;
    config->min_p = (float)min_p;
    return RT_OK;
}

/* Ways to choose a token that are not here. */
static void warn_of_sampling(const glm_keys *from, glm_config *config) {
    static const struct {
        const char *key;
        double neutral;
    } absent[] = {{"repetition_penalty", 1.0}, {"no_repeat_ngram_size", 0.0}, {"typical_p", 1.0},
            {"num_beams", 1.0}};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        const json_t *value = json_object_get(from->root, absent[i].key);
        if (!json_is_number(value) || json_number_value(value) == absent[i].neutral) continue;
        char sentence[128];
        (void)snprintf(sentence, sizeof sentence,
                "generation_config.json asks for %s %g, which is not done", absent[i].key,
                json_number_value(value));
        warn(config, sentence);
    }
}

static rt_status read_generation(const glm_keys *from, glm_config *config) {
    warn_of_sampling(from, config);
    RT_TRY(read_sampling(from, config));
    return add_stop_ids(from, config);
}

typedef rt_status read_file(const glm_keys *from, glm_config *config);

static rt_status load(const char *path, read_file *read, glm_config *config) {
    glm_keys keys;
    RT_TRY(glm_keys_load(path, &keys));
    const rt_status status = read(&keys, config);
    glm_keys_free(&keys);
    return status;
}

static rt_status no_checkpoint(const char *dir, const char *name) {
    RT_TRY(glm_gguf_refuse_alone(dir));
    return rt_fail(RT_EMODEL, "%s is no checkpoint: there is no %s in it", dir, name);
}

static rt_status load_from(
        const char *dir, const char *name, bool is_optional, read_file *read, glm_config *config) {
    char *path = NULL;
    RT_TRY(rt_path_join(dir, name, &path));
    const bool is_absent = !rt_file_exists(path);
    const rt_status status = !is_absent    ? load(path, read, config)
                             : is_optional ? RT_OK
                                           : no_checkpoint(dir, name);
    free(path);
    return status;
}

rt_status glm_config_load(const char *dir, glm_config *out) {
    glm_config config = {.temperature = -1, .top_p = 1};
    RT_TRY(glm_adapter_refuse_alone(dir));
    RT_TRY(load_from(dir, "config.json", false, read_config, &config));
    RT_TRY(load_from(dir, "generation_config.json", true, read_generation, &config));
    if (config.n_stop_ids == 0)
        warn(&config, "there is no eos_token_id: generation ends only at its limit");
    *out = config;
    return RT_OK;
}

int64_t glm_config_parameters(const glm_config *config) {
    const int64_t hidden = config->hidden;
    const int64_t qkv_rows = glm_config_qkv_rows(config);
    const int64_t q_width = glm_config_q_width(config);
    const int64_t n_norms = config->has_post_norms ? 4 : 2;
    const int64_t attention = qkv_rows * hidden + q_width * hidden;
    const int64_t bias = config->has_qkv_bias ? qkv_rows : 0;
    const int64_t mlp = 3 * config->ffn * hidden;
    const int64_t layer = attention + bias + mlp + n_norms * hidden;
    return config->n_layers * layer + 2 * config->vocab * hidden + hidden;
}
