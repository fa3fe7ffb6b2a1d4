/* Linear layers of one to four rows, as decode has them: bound by the weights, 2 bytes a number, which are read once.
 *
 * A warp has two rows of the weight and walks them 4 x 256 numbers at a time, 16 bytes a lane and load, eight loads of
 * weights under way; x comes from the L1 cache. A lane's fp32 sum goes through its columns in ascending order, sums of lanes
 * are added in pairs: what a row of x gives does not depend on how many there are. */
#include "attention/ptx.cuh"

#include "ops_cuda.h"

#include <math.h>

namespace {

enum { WARP = 32, N_WARPS = 4, THREADS = WARP * N_WARPS, OUTS = 2, DEEP = 4, EIGHT = 8 };

struct rows_params {
    const uint16_t *weight; /* [n_out][n_in] */
    const uint16_t *bias;
    const uint16_t *x; /* [n][n_in] */
    void *y;           /* [n][n_out] */
    int64_t n_out;
    int64_t n_in;
    bool is_f32;
};

PTX_DEVICE float low_or_high(const uint4 &v, int i) {
    const uint32_t pair = i < 2 ? v.x : i < 4 ? v.y : i < 6 ? v.z : v.w;
    return i % 2 ? ptx_bf16_high(pair) : ptx_bf16_low(pair);
}

PTX_DEVICE void store(const rows_params &p, int64_t row, int64_t out, float sum) {
    const float y = p.bias ? sum + ptx_bf16_low(p.bias[out]) : sum;
    const int64_t at = row * p.n_out + out;
    if (p.is_f32)
        ((float *)p.y)[at] = y;
    else
        ((uint16_t *)p.y)[at] = (uint16_t)ptx_pack_bf16(y, 0.0f);
}

template <int N>
static __global__ void __launch_bounds__(THREADS) glm_rows_kernel(const rows_params p) {
    const int lane = ptx_thread() % WARP;
    const int64_t first = (ptx_block_x() * N_WARPS + ptx_thread() / WARP) * OUTS;
    if (first >= p.n_out) return;
    const int64_t second = first + 1 < p.n_out ? p.n_in : 0; /* an odd last one is computed twice */
    const uint16_t *weight = p.weight + first * p.n_in;
    float sums[OUTS][N] = {};
    for (int64_t column = lane * EIGHT; column < p.n_in; column += DEEP * WARP * EIGHT) {
        uint4 w[OUTS][DEEP];
#pragma unroll
        for (int d = 0; d < DEEP; d++) {
            const int64_t at = column + d * WARP * EIGHT;
            if (at >= p.n_in) continue;
            w[0][d] = *(const uint4 *)(weight + at);
            w[1][d] = *(const uint4 *)(weight + second + at);
        }
#pragma unroll
        for (int d = 0; d < DEEP; d++) {
            const int64_t at = column + d * WARP * EIGHT;
            if (at >= p.n_in) continue;
#pragma unroll
            for (int n = 0; n < N; n++) {
                const uint4 x = *(const uint4 *)(p.x + n * p.n_in + at);
#pragma unroll
                for (int i = 0; i < EIGHT; i++)
#pragma unroll
                    for (int o = 0; o < OUTS; o++)
                        sums[o][n] = fmaf(low_or_high(w[o][d], i), low_or_high(x, i), sums[o][n]);
            }
        }
    }
#pragma unroll
    for (int o = 0; o < OUTS; o++)
#pragma unroll
        for (int n = 0; n < N; n++) {
            for (int step = 1; step < WARP; step *= 2) sums[o][n] += ptx_shfl_xor(sums[o][n], step);
            if (lane == 0 && first + o < p.n_out) store(p, n, first + o, sums[o][n]);
        }
}

} // namespace

rt_status glm_cuda_multiply_rows(const uint16_t *weight, const uint16_t *bias, const uint16_t *x,
        int64_t n, int64_t n_in, int64_t n_out, void *y, bool is_f32, rt_stream stream) {
    static void (*const kernels[])(const rows_params) = {
            glm_rows_kernel<1>, glm_rows_kernel<2>, glm_rows_kernel<3>, glm_rows_kernel<4>};
    if (n == 0) return RT_OK;
    rt_assert(n <= GLM_CUDA_ROWS_MAX && n_in % EIGHT == 0);
    const int64_t outs = (int64_t)N_WARPS * OUTS;
    const rows_params params = {weight, bias, x, y, n_out, n_in, is_f32};
    const char *why =
            ptx_launch(kernels[n - 1], {(n_out + outs - 1) / outs, 1, THREADS, 0}, stream, params);
    return why ? rt_fail(RT_EDEVICE, "a linear layer of %d rows: %s", (int)n, why) : RT_OK;
}
