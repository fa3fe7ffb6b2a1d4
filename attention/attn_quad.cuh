/* Rows of scores, in the accumulators of mma.sync and of wgmma: over the four lanes that share one. */
#ifndef ATTN_QUAD_CUH
#define ATTN_QUAD_CUH

#include "ptx.cuh"

#include <math.h>

PTX_DEVICE float max_of_row(float v) {
    v = fmaxf(v, ptx_shfl_xor(v, 1));
    return fmaxf(v, ptx_shfl_xor(v, 2));
}
PTX_DEVICE float sum_of_row(float v) {
    v += ptx_shfl_xor(v, 1);
    return v + ptx_shfl_xor(v, 2);
}

/* A row's maximum may lag behind by so much: its weights are then up to 2^8, as exact as any, and what was summed needs
 * no factor. Maxima that always rise would rescale most pages of a short walk. */
#define MAX_LAG 8.0f

#endif
