/* The CPU's layer, between layer.c and layer_together.c. */
#ifndef GLM_LAYER_INSIDE_H
#define GLM_LAYER_INSIDE_H

#include "engine.h"

/* normed = norm(x) */
void glm_layer_norm(glm_engine *engine, const float *weight, int64_t n, const void *hidden);
/* attended -> output projection -> x; x through the MLP. RT_EPEER. */
RT_MUST_CHECK rt_status glm_layer_finish(
        glm_engine *engine, const glm_layer *layer, int64_t n, void *hidden);

attn_segment glm_layer_segment(const kv_window_part *part);
/* The part's new tokens, if any, are appended, from rows of qkv; row0 is that of position pos0. */
void glm_layer_append(glm_engine *engine, const kv_window_part *part, int64_t row0, int64_t pos0);
/* Running attention of rows from row0 on. */
attn_state glm_layer_state(const glm_engine *engine, int64_t row0);

#endif
