#include "checkpoint_names.h"

#include <inttypes.h>
#include <stdio.h>

#define KINDS(table) \
    ((glm_kinds){.n = (int32_t)(sizeof(table) / sizeof *(table)), .kinds = (table)})

static const glm_kind native_outside[] = {
        {GLM_EMBEDDING, 1, "transformer.embedding.word_embeddings.weight"},
        {GLM_FINAL_NORM, 1, "transformer.encoder.final_layernorm.weight"},
        {GLM_OUTPUT_HEAD, 1, "transformer.output_layer.weight"},
};

static const glm_kind native_layer[] = {
        {GLM_INPUT_NORM, 1, "input_layernorm.weight"},
        {GLM_Q, 3, "self_attention.query_key_value.weight"},
        {GLM_Q_BIAS, 3, "self_attention.query_key_value.bias"},
        {GLM_ATTN_OUT, 1, "self_attention.dense.weight"},
        {GLM_MLP_NORM, 1, "post_attention_layernorm.weight"},
        {GLM_GATE, 2, "mlp.dense_h_to_4h.weight"},
        {GLM_DOWN, 1, "mlp.dense_4h_to_h.weight"},
};

static const glm_kind hf_outside[] = {
        {GLM_EMBEDDING, 1, "model.embed_tokens.weight"},
        {GLM_FINAL_NORM, 1, "model.norm.weight"},
        {GLM_OUTPUT_HEAD, 1, "lm_head.weight"},
};

/* post_attention_layernorm comes before the MLP in every generation; what 0414 puts behind the
 * attention is post_self_attn_layernorm. qkv_proj is what the first converter wrote. */
static const glm_kind hf_layer[] = {
        {GLM_INPUT_NORM, 1, "input_layernorm.weight"},
        {GLM_Q, 1, "self_attn.q_proj.weight"},
        {GLM_K, 1, "self_attn.k_proj.weight"},
        {GLM_V, 1, "self_attn.v_proj.weight"},
        {GLM_Q, 3, "self_attn.qkv_proj.weight"},
        {GLM_Q_BIAS, 1, "self_attn.q_proj.bias"},
        {GLM_K_BIAS, 1, "self_attn.k_proj.bias"},
        {GLM_V_BIAS, 1, "self_attn.v_proj.bias"},
        {GLM_Q_BIAS, 3, "self_attn.qkv_proj.bias"},
        {GLM_ATTN_OUT, 1, "self_attn.o_proj.weight"},
        {GLM_POST_ATTN_NORM, 1, "post_self_attn_layernorm.weight"},
        {GLM_MLP_NORM, 1, "post_attention_layernorm.weight"},
        {GLM_GATE, 2, "mlp.gate_up_proj.weight"},
        {GLM_DOWN, 1, "mlp.down_proj.weight"},
        {GLM_POST_MLP_NORM, 1, "post_mlp_layernorm.weight"},
};

glm_kinds glm_kinds_outside(glm_naming naming) {
    return naming == GLM_NAMES_NATIVE ? KINDS(native_outside) : KINDS(hf_outside);
}

glm_kinds glm_kinds_of_layer(glm_naming naming) {
    return naming == GLM_NAMES_NATIVE ? KINDS(native_layer) : KINDS(hf_layer);
}

const char *glm_tensor_name(
        glm_naming naming, const glm_kind *kind, int32_t layer, char text[GLM_TENSOR_NAME_BYTES]) {
    const char *prefix =
            naming == GLM_NAMES_NATIVE ? "transformer.encoder.layers." : "model.layers.";
    if (glm_role_is_outside(kind->first))
        (void)snprintf(text, GLM_TENSOR_NAME_BYTES, "%s", kind->name);
    else
        (void)snprintf(text, GLM_TENSOR_NAME_BYTES, "%s%" PRId32 ".%s", prefix, layer, kind->name);
    return text;
}

bool glm_role_is_outside(glm_role role) {
    return role == GLM_EMBEDDING || role == GLM_OUTPUT_HEAD || role == GLM_FINAL_NORM;
}

bool glm_role_is_vector(glm_role role) {
    switch (role) {
    case GLM_FINAL_NORM:
    case GLM_INPUT_NORM:
    case GLM_Q_BIAS:
    case GLM_K_BIAS:
    case GLM_V_BIAS:
    case GLM_POST_ATTN_NORM:
    case GLM_MLP_NORM:
    case GLM_POST_MLP_NORM:
        return true;
    default:
        return false;
    }
}

bool glm_role_is_needed(const glm_config *config, glm_role role) {
    switch (role) {
    case GLM_OUTPUT_HEAD:
        return !config->is_tied;
    case GLM_Q_BIAS:
    case GLM_K_BIAS:
    case GLM_V_BIAS:
        return config->has_qkv_bias;
    case GLM_POST_ATTN_NORM:
    case GLM_POST_MLP_NORM:
        return config->has_post_norms;
    default:
        return true;
    }
}

int64_t glm_role_rows(const glm_config *config, glm_role role) {
    switch (role) {
    case GLM_EMBEDDING:
    case GLM_OUTPUT_HEAD:
        return config->vocab;
    case GLM_Q:
    case GLM_Q_BIAS:
        return glm_config_q_width(config);
    case GLM_K:
    case GLM_V:
    case GLM_K_BIAS:
    case GLM_V_BIAS:
        return (int64_t)config->n_kv_heads * config->head_dim;
    case GLM_GATE:
    case GLM_UP:
        return config->ffn;
    default:
        return config->hidden;
    }
}

int64_t glm_role_cols(const glm_config *config, glm_role role) {
    if (glm_role_is_vector(role)) return 1;
    if (role == GLM_ATTN_OUT) return glm_config_q_width(config);
    return role == GLM_DOWN ? config->ffn : config->hidden;
}
