#include "attn_cuda.h"

#include <inttypes.h>

rt_status attn_cuda_check(const attn_shape *shape) {
    if (shape->head_dim != ATTN_CUDA_HEAD_DIM)
        return rt_fail(RT_EUSAGE,
                "attention: head_dim %" PRId32 " is not supported on a GPU; %d is", shape->head_dim,
                ATTN_CUDA_HEAD_DIM);
    if (shape->kv_dtype != RT_BF16)
        return rt_fail(RT_EUSAGE, "attention: %s pages are not supported on a GPU; bf16 is",
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
