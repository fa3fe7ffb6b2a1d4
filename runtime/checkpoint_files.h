/* The safetensors files of a checkpoint directory as one set of tensors.
 *
 * model.safetensors, or else the shards that model.safetensors.index.json names. An index is
 * hostile until proven: its shard names are plain names of regular files that lie in the directory
 * (or in the blobs of the Hugging Face cache it is a snapshot of), and it must tell the truth about
 * every tensor. Codes in messages: IDX_EMPTY, IDX_TYPE, IDX_PATH, IDX_NOT_REGULAR,
 * IDX_MISSING_SHARD, IDX_SHARD_COUNT, IDX_MISMATCH, IDX_DUP. */
#ifndef GLM_CHECKPOINT_FILES_H
#define GLM_CHECKPOINT_FILES_H

#include "safetensors.h"

enum { GLM_SHARDS_MAX = 1000 };

typedef struct glm_shard {
    char *name; /* in the directory */
    glm_safetensors *file;
} glm_shard;

typedef struct glm_located {
    const glm_st_tensor *tensor;
    const glm_shard *shard;
    bool is_used; /* set by who finds a use for it */
} glm_located;

typedef struct glm_shards {
    int32_t n_shards;
    glm_shard *shards; /* ascending by name */
    int64_t n_tensors;
    glm_located *tensors; /* ascending by name, no name twice */
} glm_shards;

/* Release with glm_shards_close(), also after a failure.
 *
 * Errors: RT_EIO, RT_ENOMEM
 *         RT_EMODEL  no weights; a code from above or from safetensors.h */
RT_MUST_CHECK rt_status glm_shards_open(const char *dir, glm_shards *out);
/* Whether files of weights are missing from `dir`, none or some of which are there; and what is. Of files that are there
 * nothing is known. Errors: as glm_shards_open, of the index. */
enum { GLM_MISSING_TEXT = 384 };
RT_MUST_CHECK rt_status glm_shards_missing(
        const char *dir, bool *is_missing, char text[GLM_MISSING_TEXT]);
void glm_shards_close(glm_shards *shards);

/* NULL when there is none of that name. */
glm_located *glm_shards_find(const glm_shards *shards, const char *name);

#endif
