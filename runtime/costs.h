/* What tokens cost, in FLOP: the unit of progress, and what expected times are made of. */
#ifndef GLM_COSTS_H
#define GLM_COSTS_H

#include "config.h"

/* One layer, all of it, for tokens [pos, pos + n). */
double glm_layer_flop(const glm_config *config, int64_t pos, int64_t n);

/* Of that, attention. */
double glm_layer_attention_flop(const glm_config *config, int64_t pos, int64_t n);

/* And keys and values of n tokens: what the last layer does for rows nobody reads. */
double glm_layer_kv_flop(const glm_config *config, int64_t n);

/* All layers for tokens [pos, pos + n), the last one whole only for the last of them, as a prefill does it. */
double glm_prefill_flop(const glm_config *config, int64_t pos, int64_t n);

/* Of that, attention. */
double glm_prefill_attention_flop(const glm_config *config, int64_t pos, int64_t n);

/* The same where every position's logits are given: the whole last layer, and the head. */
double glm_prefill_all_flop(const glm_config *config, int64_t pos, int64_t n);

/* The output head for n rows. */
double glm_head_flop(const glm_config *config, int64_t n);

#endif
