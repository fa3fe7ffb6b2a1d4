/* Tensor parallelism: who owns which heads, columns and rows. Knows no attention and no pages.
 *
 * Every rank holds a contiguous run of query heads, the KV heads those read, and a contiguous
 * share of the MLP's columns and of the vocabulary's rows. With more ranks than KV heads, ranks in
 * a row share one and each holds a copy: memory per rank stops shrinking there.
 *
 * Source: Shoeybi et al. 2019, arXiv:1909.08053 (Megatron-LM), sections 3 and 4. */
#ifndef PAR_PARALLEL_H
#define PAR_PARALLEL_H

#include "runtime/base/status.h"

/* What is divided. */
typedef struct par_widths {
    int32_t n_heads;
    int32_t n_kv_heads;
    int64_t ffn;
    int64_t vocab;
} par_widths;

/* One rank's part: [first, first + n) of each. */
typedef struct par_shard {
    int32_t rank;
    int32_t n_ranks;
    int32_t first_head;
    int32_t n_heads;
    int32_t first_kv_head;
    int32_t n_kv_heads;
    int32_t kv_copies; /* ranks that hold the same KV heads, this one included */
    int64_t first_ffn; /* of gate and of up alike: each half is divided by itself */
    int64_t n_ffn;
    int64_t first_vocab;
    int64_t n_vocab;
} par_shard;

/* Errors: RT_EUSAGE  n_ranks does not divide the model; the message says which width and which
 *                    rank counts would do */
RT_MUST_CHECK rt_status par_shard_make(
        const par_widths *widths, int32_t rank, int32_t n_ranks, par_shard *out);

#endif
