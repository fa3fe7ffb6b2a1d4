/* A random checkpoint of any configuration, for tests, benchmarks and rehearsals at full size.
 *
 * Every number depends on the seed, the tensor's name and its place in the tensor alone. */
#ifndef GLM_RANDOM_MODEL_H
#define GLM_RANDOM_MODEL_H

#include "base/status.h"

/* config_path: a config.json; NULL: hidden 256, 4 layers, 8 query heads over 2, bf16, 272 ids. */
typedef struct glm_random_options {
    const char *config_path;
    uint64_t seed;
    int64_t shard_bytes_max; /* tensor data in one file; 0: 2 GB, as Hugging Face cuts them */
} glm_random_options;

typedef struct glm_random_model glm_random_model;

/* Begin writing into `dir`, made if absent, the model that the config describes, native or Hugging
 * Face. The config is copied; tensors get that naming's names, layouts and dtype, in several files
 * with an index where one would be larger than a shard; the tokenizer is the byte tokenizer, its
 * control tokens at GLM-4's own ids where the vocabulary reaches that far, else behind the bytes.
 * A new directory is gone again when the config cannot be used or the disk is too small.
 *
 * Errors: RT_EIO (also a disk that is too small for all of it: needed and free), RT_EMODEL (the
 * config), RT_ENOMEM */
RT_MUST_CHECK rt_status glm_random_model_begin(
        const char *dir, const glm_random_options *options, glm_random_model **out);

/* The text of config.json that begin() writes: the file's, or the small one's. For free(). RT_EIO. */
RT_MUST_CHECK rt_status glm_random_model_config(const char *config_path, char **text);

/* Write the next few MiB. *done and *total in bytes; finished when they are equal. */
RT_MUST_CHECK rt_status glm_random_model_step(
        glm_random_model *model, int64_t *done, int64_t *total);

/* Drop what is unfinished, free. Accepts NULL. */
void glm_random_model_end(glm_random_model *model);

/* begin, every step, end, in shards of 2 GB. */
RT_MUST_CHECK rt_status glm_random_model_write(
        const char *dir, const char *config_path, uint64_t seed);

#endif
