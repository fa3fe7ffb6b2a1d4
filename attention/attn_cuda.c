#include "attn_cuda.h"

#include <inttypes.h>

#include "attn_decode_rows.h"

rt_status attn_cuda_check(const attn_shape *shape) {
    if (shape->head_dim != ATTN_CUDA_HEAD_DIM)
        return rt_fail(RT_EUSAGE,
                "attention: head_dim %" PRId32 " is not supported on a GPU; %d is", shape->head_dim,
                ATTN_CUDA_HEAD_DIM);
    if (shape->kv_dtype != RT_BF16 && shape->kv_dtype != RT_FP8)
        return rt_fail(RT_EUSAGE,
                "attention: %s pages are not supported on a GPU; bf16 and fp8 are",
                rt_dtype_name(shape->kv_dtype));
    if (shape->n_kv_heads <= 0 || shape->n_heads <= 0 || shape->n_heads % shape->n_kv_heads != 0 ||
            shape->n_heads / shape->n_kv_heads > ATTN_CUDA_GROUP_MAX)
        return rt_fail(RT_EUSAGE,
                "attention: %" PRId32 " query heads over %" PRId32
                " KV heads: the first must be a multiple of the second, on a GPU at most %d times "
                "it",
                shape->n_heads, shape->n_kv_heads, ATTN_CUDA_GROUP_MAX);
    if (shape->rope_dim < 0 || shape->rope_dim % 8 != 0 || shape->rope_dim > shape->head_dim)
        return rt_fail(RT_EUSAGE,
                "attention: %" PRId32 " rotated dims of %" PRId32 ": on a GPU a multiple of 8",
                shape->rope_dim, shape->head_dim);
    return RT_OK;
}

int64_t attn_cuda_page_bytes(const attn_shape *shape) {
    return (int64_t)shape->n_kv_heads * 2 * ATTN_CUDA_TILE_BYTES;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* One a row at most: the kernel for sm_80 has one a block of rows. */
int64_t attn_cuda_decode_ticket_bytes(const attn_shape *shape, int32_t n_seqs) {
    return (int64_t)n_seqs * shape->n_kv_heads * ATTN_CUDA_DECODE_ROWS_MAX *
           (int64_t)sizeof(uint32_t);
}

int64_t attn_cuda_decode_scratch_bytes(
        const attn_shape *shape, int64_t max_tokens, int32_t n_seqs, int32_t n_queries) {
    const int32_t n_rows = n_queries * (shape->n_heads / shape->n_kv_heads);
    const int64_t n_splits = attn_n_splits(max_tokens);
    const int64_t sm80 =
            n_splits * attn_sm80_block_rows(n_rows, false) * attn_sm80_row_blocks(n_rows, false);
    const int64_t sm90 = n_splits * attn_sm90_block_rows(n_rows) * attn_sm90_row_blocks(n_rows);
    return n_seqs * shape->n_kv_heads * larger(sm80, sm90) * (ATTN_CUDA_HEAD_DIM + 2) *
           (int64_t)sizeof(float);
}
