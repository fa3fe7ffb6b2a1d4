/* A checkpoint directory: config plus tensors found by what they are, whatever they are called.
 *
 * Opening reads config.json, the safetensors headers (one file, or shards with an index) and
 * checks every tensor's presence, dtype and shape against the config, and the config against the
 * tensors, before any weight is read. Reading copies rows out in large sequential reads. */
#ifndef GLM_CHECKPOINT_H
#define GLM_CHECKPOINT_H

#include "config.h"

/* What a tensor is. Fused parts are addressed separately, so that a fused and a split checkpoint
 * look the same: Q, K and V are row ranges of query_key_value in a native file and tensors of
 * their own in an HF file; gate and up are halves of one tensor in both. */
typedef enum glm_role {
    GLM_EMBEDDING,      /* [vocab, hidden] */
    GLM_OUTPUT_HEAD,    /* [vocab, hidden]; the embedding's tensor when tied */
    GLM_FINAL_NORM,     /* [hidden] */
    GLM_INPUT_NORM,     /* [hidden], and so on per layer */
    GLM_Q,              /* [n_heads head_dim, hidden] */
    GLM_K,              /* [n_kv_heads head_dim, hidden] */
    GLM_V,              /* [n_kv_heads head_dim, hidden] */
    GLM_Q_BIAS,         /* [n_heads head_dim] */
    GLM_K_BIAS,         /* [n_kv_heads head_dim] */
    GLM_V_BIAS,         /* [n_kv_heads head_dim] */
    GLM_ATTN_OUT,       /* [hidden, n_heads head_dim] */
    GLM_POST_ATTN_NORM, /* [hidden] on the attention's output (0414 only) */
    GLM_MLP_NORM,       /* [hidden] before the MLP */
    GLM_GATE,           /* [ffn, hidden] */
    GLM_UP,             /* [ffn, hidden] */
    GLM_DOWN,           /* [hidden, ffn] */
    GLM_POST_MLP_NORM,  /* [hidden] on the MLP's output (0414 only) */
    GLM_N_ROLES
} glm_role;

typedef struct glm_checkpoint glm_checkpoint;

/* Errors: as glm_config_load; RT_EIO; RT_EMODEL with the safetensors code, the tensor's name, what
 * the file has and what the config needs. */
RT_MUST_CHECK rt_status glm_checkpoint_open(const char *dir, glm_checkpoint **out);
/* The same, but where files of weights are missing from `dir` (yet) the tensors are what config.json describes: enough
 * for a plan, nothing can be read, and there is no fingerprint. */
RT_MUST_CHECK rt_status glm_checkpoint_open_to_plan(const char *dir, glm_checkpoint **out);
bool glm_checkpoint_has_weights(const glm_checkpoint *checkpoint);
/* What is missing, "" where nothing is; borrowed. */
const char *glm_checkpoint_missing(const glm_checkpoint *checkpoint);
void glm_checkpoint_close(glm_checkpoint *checkpoint);

/* Borrowed, until it is closed. */
const glm_config *glm_checkpoint_config(const glm_checkpoint *checkpoint);
const char *glm_checkpoint_dir(const glm_checkpoint *checkpoint);
/* Its files (checkpoint_files.h), borrowed. */
const struct glm_shards *glm_checkpoint_shards(const glm_checkpoint *checkpoint);

/* One tensor (or part): `layer` is ignored for the first three roles. */
typedef struct glm_tensor {
    rt_dtype dtype;
    int64_t n_rows; /* n_rows x 1 for vectors */
    int64_t n_cols;
} glm_tensor;
glm_tensor glm_checkpoint_tensor(const glm_checkpoint *checkpoint, glm_role role, int32_t layer);

/* Copy rows [row, row + n_rows) to `out`, n_rows x n_cols of the tensor's dtype, host memory.
 *
 * Safe to call from several threads at once.
 * Errors: RT_EIO     the read failed
 *         RT_EMODEL  the file changed since it was opened */
RT_MUST_CHECK rt_status glm_checkpoint_read(const glm_checkpoint *checkpoint, glm_role role,
        int32_t layer, int64_t row, int64_t n_rows, void *out);

/* Rows and columns of a tensor; of a vector, rows. */
typedef struct glm_tensor_block {
    int64_t row;
    int64_t n_rows;
    int64_t col;
    int64_t n_cols;
} glm_tensor_block;

/* The same of some columns, [n_rows][n_cols]: only their bytes are read. */
RT_MUST_CHECK rt_status glm_checkpoint_read_block(const glm_checkpoint *checkpoint, glm_role role,
        int32_t layer, const glm_tensor_block *block, void *out);

/* Hex SHA-256 over the config and every safetensors header (names, shapes, sizes), config.json and
 * the first and last MiB of each shard: quick to compute, tells models apart in results. Not a
 * content hash. Writes 64 characters and a NUL. */
RT_MUST_CHECK rt_status glm_checkpoint_fingerprint(const glm_checkpoint *checkpoint, char hex[65]);

/* Bytes of all safetensors files together. */
int64_t glm_checkpoint_bytes(const glm_checkpoint *checkpoint);

#endif
