/* A GLM-4 model's numbers, from its config.json (and generation_config.json), every one checked.
 *
 * Two spellings are read: the native one (model_type "chatglm") and the Hugging Face one ("glm",
 * "glm4"). Nothing is defaulted that would change an answer, except what the format itself
 * defines: rope_ratio absent means 1 (native), partial_rotary_factor absent means 0.5 (HF).
 *
 * Source: config.json and modeling_chatglm.py of GLM-4-9B-Chat-1M and its siblings; Hugging Face transformers' glm
 * and glm4. */
#ifndef GLM_CONFIG_H
#define GLM_CONFIG_H

#include "base/float16.h"
#include "base/status.h"

enum { GLM_STOP_IDS_MAX = 16, GLM_LAYERS_MAX = 1024, GLM_WARNING_BYTES = 512 };

typedef enum glm_naming { GLM_NAMES_NATIVE, GLM_NAMES_HF } glm_naming;

typedef struct glm_config {
    glm_naming naming;
    rt_dtype dtype; /* torch_dtype: what the weights claim to be */

    int32_t n_layers;
    int32_t n_heads;    /* query heads */
    int32_t n_kv_heads; /* divides n_heads */
    int32_t head_dim;
    int32_t rope_dim;  /* leading dims of each head that are rotated, in interleaved pairs; even */
    int64_t hidden;    /* width of the residual stream */
    int64_t ffn;       /* width of each of gate and up */
    int64_t vocab;     /* rows of the embedding, padding rows included */
    int64_t model_len; /* seq_length / max_position_embeddings */

    double rope_base; /* 10000 x rope_ratio */
    float rms_eps;
    bool has_qkv_bias;
    bool has_post_norms; /* 0414: two more norms, on each sub-layer's output */
    bool is_tied;        /* the output head is the embedding */

    int32_t n_stop_ids;
    int32_t stop_ids[GLM_STOP_IDS_MAX];

    /* Sampling that generation_config.json asks for; temperature < 0 when it does not say. */
    float temperature;
    float top_p;
    int32_t top_k; /* 0: none */
    float min_p;   /* 0: none */

    char model_type[32];
    char origin[64]; /* _name_or_path: what the model was saved from, "" when it does not say */
    char warning[GLM_WARNING_BYTES]; /* suspicious but legal, one sentence; "" when nothing */
} glm_config;

/* Read DIR/config.json and, where present, DIR/generation_config.json.
 *
 * Errors: RT_EIO     a file cannot be read
 *         RT_EMODEL  not JSON, not GLM-4, a key missing or out of range, numbers that contradict
 *                    each other; the message names the file, the key, the value and what is needed */
RT_MUST_CHECK rt_status glm_config_load(const char *dir, glm_config *out);

/* Numbers of a row's queries: n_heads x head_dim. */
static inline int64_t glm_config_q_width(const glm_config *config) {
    return (int64_t)config->n_heads * config->head_dim;
}

/* Rows of the fused query-key-value projection: (n_heads + 2 n_kv_heads) x head_dim. */
static inline int64_t glm_config_qkv_rows(const glm_config *config) {
    return ((int64_t)config->n_heads + 2 * (int64_t)config->n_kv_heads) * config->head_dim;
}

/* The residual stream's type: f32 for an f32 checkpoint, else bf16, as the models are trained. */
static inline rt_dtype glm_config_hidden_dtype(const glm_config *config) {
    return config->dtype == RT_F32 ? RT_F32 : RT_BF16;
}

/* Number of weights, embedding and head both counted. */
int64_t glm_config_parameters(const glm_config *config);

#endif
