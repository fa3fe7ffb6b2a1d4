/* What the files of the CPU backend share: attn_cpu.c (prefill), attn_decode.c and attn_rope.c. */
#ifndef ATTN_CPU_H
#define ATTN_CPU_H

#include "attn_simd.h"
#include "runtime/base/memory.h"

struct attn_cpu {
    attn_shape shape;
    const attn_kernels *kernels;
    rt_pool *pool;
    int32_t group;         /* query heads per KV head */
    float q_scale;         /* log2(e) / sqrt(head_dim) */
    float *theta;          /* [rope_dim / 2] */
    attn_scratch *scratch; /* one per thread */
    rt_arena arena;
};

/* Whether attention by tiles of AMX can be had for it. */
bool attn_cpu_has_tiles(const attn_shape *shape);

/* out /= sum, or 0 where no key was seen; lse may be NULL. */
void attn_finish_row(float max, float sum, float *out, int32_t head_dim, float *lse);

#endif
