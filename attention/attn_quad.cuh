/* Over the four lanes that share a row of scores, in the accumulators of mma.sync and of wgmma. */
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

#endif
