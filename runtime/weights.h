/* A model's weights in memory, or one rank's part of them, in the device's layout: read once, stored
 * once. Of each tensor only the rank's rows or columns are read. */
#ifndef GLM_WEIGHTS_H
#define GLM_WEIGHTS_H

#include "base/memory.h"
#include "checkpoint.h"
#include "ops.h"
#include "parallel/parallel.h"

/* One transformer layer. Vectors are fp32; NULL where the model has none. */
typedef struct glm_layer {
    float *input_norm;     /* [hidden] */
    glm_linear qkv;        /* [(n_heads + 2 n_kv_heads) head_dim, hidden]: q rows, k rows, v rows */
    float *qkv_bias;       /* one per row of qkv */
    glm_linear attn_out;   /* [hidden, n_heads head_dim] */
    float *post_attn_norm; /* 0414 only */
    float *mlp_norm;       /* [hidden] */
    glm_linear gate;       /* [ffn, hidden] */
    glm_linear up;         /* [ffn, hidden] */
    glm_linear down;       /* [hidden, ffn] */
    float *post_mlp_norm;  /* 0414 only */
} glm_layer;

typedef struct glm_weights {
    void *embedding; /* [vocab, hidden], as stored */
    rt_dtype embedding_dtype;
    glm_layer *layers;
    float *final_norm;
    glm_linear head; /* [vocab, hidden] */
    rt_arena arena;
} glm_weights;

/* The shard's rows and columns of a tensor, whatever the device. gate and up are tensors of their own here, so
 * each half is divided by itself. */
glm_tensor_block glm_shard_block(const glm_checkpoint *checkpoint, const par_shard *shard,
        int64_t head_dim, glm_role role, int32_t layer);

/* Bytes glm_weights_load keeps, and bytes of staging it uses meanwhile. `share` is the model's config,
 * or one rank's part of it; `by`, who multiplies matrices of bf16. */
int64_t glm_weights_bytes(
        const glm_checkpoint *checkpoint, const glm_config *share, glm_linear_by by);
int64_t glm_weights_load_bytes(const glm_config *config, int n_threads);

/* Read and lay out every tensor, or the shard's part of it, as many threads of the ops' pool reading as there are cores.
 *
 *   share, shard  the part of the model, in the config's terms and in the tensors'
 *
 * Errors: RT_EIO, RT_EMODEL (the file changed), RT_ENOMEM */
RT_MUST_CHECK rt_status glm_weights_load(const glm_checkpoint *checkpoint, const glm_config *share,
        const par_shard *shard, const glm_ops *ops, glm_weights *out);
void glm_weights_free(glm_weights *weights);

#endif
