#include "costs.h"

/* Scores and weighted values, 2 x 2 FLOP a head, dim and visible key. */
double glm_layer_attention_flop(const glm_config *config, int64_t pos, int64_t n) {
    const double keys = (double)n * ((double)pos + ((double)n + 1.0) / 2.0);
    return 4.0 * (double)glm_config_q_width(config) * keys;
}

/* Two FLOP a weight and token. */
double glm_layer_flop(const glm_config *config, int64_t pos, int64_t n) {
    const double weights = (double)config->hidden *
                           ((double)glm_config_qkv_rows(config) +
                                   (double)glm_config_q_width(config) + 3.0 * (double)config->ffn);
    return 2.0 * weights * (double)n + glm_layer_attention_flop(config, pos, n);
}

double glm_layer_kv_flop(const glm_config *config, int64_t n) {
    const double kv_width = 2.0 * (double)config->n_kv_heads * (double)config->head_dim;
    return 2.0 * (double)config->hidden * kv_width * (double)n;
}

double glm_prefill_flop(const glm_config *config, int64_t pos, int64_t n) {
    if (n == 0) return 0.0;
    return (config->n_layers - 1) * glm_layer_flop(config, pos, n) +
           glm_layer_kv_flop(config, n - 1) + glm_layer_flop(config, pos + n - 1, 1);
}

double glm_prefill_attention_flop(const glm_config *config, int64_t pos, int64_t n) {
    if (n == 0) return 0.0;
    return (config->n_layers - 1) * glm_layer_attention_flop(config, pos, n) +
           glm_layer_attention_flop(config, pos + n - 1, 1);
}

double glm_prefill_all_flop(const glm_config *config, int64_t pos, int64_t n) {
    return config->n_layers * glm_layer_flop(config, pos, n) + glm_head_flop(config, n);
}

double glm_head_flop(const glm_config *config, int64_t n) {
    return 2.0 * (double)config->hidden * (double)config->vocab * (double)n;
}
