/* A random checkpoint of any configuration, for tests, benchmarks and rehearsals at full size.
 *
 * Every number depends on the seed, the tensor's name and its place in the tensor alone. */
#ifndef GLM_RANDOM_MODEL_H
#define GLM_RANDOM_MODEL_H

#include "base/status.h"

typedef struct glm_random_model glm_random_model;

/* Begin writing into `dir` (made if absent) the model that `config_path` describes, native or
 * Hugging Face; NULL: a small one (hidden 256, 4 layers, 8 query heads over 2, bf16). The config is
 * copied; tensors get that naming's names, in shards of about 2 GB with an index where more than one
 * is needed; the tokenizer is the byte tokenizer, its special tokens at the configuration's ids.
 *
 * Errors: RT_EIO (also a disk that is too small: needed and free), RT_EMODEL (the config), RT_ENOMEM */
RT_MUST_CHECK rt_status glm_random_model_begin(
        const char *dir, const char *config_path, uint64_t seed, glm_random_model **out);

/* Write the next few MiB. *done and *total in bytes; finished when they are equal. */
RT_MUST_CHECK rt_status glm_random_model_step(
        glm_random_model *model, int64_t *done, int64_t *total);

/* Drop what is unfinished, free. Accepts NULL. */
void glm_random_model_end(glm_random_model *model);

/* begin, every step, end. */
RT_MUST_CHECK rt_status glm_random_model_write(
        const char *dir, const char *config_path, uint64_t seed);

#endif
