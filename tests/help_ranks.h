/* Models to share among ranks, and what engines of several ranks compute. */
#ifndef HELP_RANKS_H
#define HELP_RANKS_H

#include "runtime/runtime.h"

typedef struct help_shape {
    int hidden;
    int n_layers;
    int n_heads;
    int n_kv_heads;
    int head_dim;
    int ffn;
    int vocab;
    const char *dtype; /* "float32", "bfloat16" */
    int max_len;       /* 0: 65536 */
} help_shape;

/* A random model in a fresh directory that is removed when the program ends; the path lives as long. */
const char *help_random_model(const help_shape *shape, uint64_t seed);

/* One with a head of keys and values for each of two ranks, and what a GPU asks for (bf16, head_dim 128): 2 layers, hidden 64. */
enum { HELP_TWO_RANKS_VOCAB = 304 };
const char *help_model_of_two_ranks(void);

/* Prefill all but the last n_decoded of ids[n_ids] (the last prefilled one's logits and some before it
 * are wanted), then decode those one by one, with a fork of the session decoded beside it: rows of
 * logits one after another, for free(). */
enum { HELP_WANTED = 4 };
float *help_ranks_logits(const glm_options *options, const int32_t *ids, int64_t n_ids,
        int64_t n_decoded, int64_t *n_floats);

/* Of `got` against `want`: Frobenius norm of the difference over that of `want`. */
double help_relative_error(const float *got, const float *want, int64_t n);

#endif
