/* Hopper's matrix primitives do what ptx_sm90.cuh says: products through descriptors, of tiles that
 * came by a bulk copy, are the matrices' products.
 *
 * Method: one warpgroup. Small integers, so that every product is exact; tiles laid out as
 * attn_cuda.h says; the register operand and the accumulators by the documented layout. Under the
 * emulation this tests the emulation; on a GPU (tests/gpu.sh) it tests what the emulation and the
 * Hopper kernel believe about the hardware. */
#include "help_cuda_machine.h"

#include "help_cuda.h"

namespace {

enum {
    M = 64,
    N = 128,
    K = 128,
    TILE_BYTES = 32768,
    Q_AT = 0,
    K_AT = 16384,
    V_AT = K_AT + TILE_BYTES,
    BAR_AT = V_AT + TILE_BYTES,
    SMEM_BYTES = BAR_AT + 8
};

struct matrices {
    uint16_t q[M][K];
    uint16_t p[M][N];
    alignas(16) uint16_t k_tile[N * K], v_tile[N * K];
    float s[M][N]; /* q k^T */
    float o[M][K]; /* p v */
    float c[M][N]; /* p k^T */
};

static __global__ void __launch_bounds__(128) primitives_sm90_kernel(matrices *const x) {
    const int t = ptx_thread(), w = t / 32, g = t % 32 / 4, q = t % 4;
    const ptx_smem smem = ptx_smem_base();
    if (t == 0) {
        ptx_mbar_init(smem + BAR_AT, 1);
        ptx_fence_mbar_init();
    }
    for (int i = t; i < M * K / 8; i += 128) { /* queries: halves of 64 rows, swizzled */
        const int row = i / 16, chunk = i % 16;
        ptx_sts128(smem + (ptx_smem)(Q_AT + chunk / 8 * 8192 + row * 128 +
                                     ((chunk % 8) ^ (row % 8)) * 16),
                *(const uint4 *)&x->q[row][chunk * 8]);
    }
    ptx_fence_async();
    ptx_syncthreads();
    if (t == 0) {
        ptx_mbar_arrive_expect(smem + BAR_AT, 2 * TILE_BYTES);
        ptx_bulk_load(smem + K_AT, x->k_tile, TILE_BYTES, smem + BAR_AT);
        ptx_bulk_load(smem + V_AT, x->v_tile, TILE_BYTES, smem + BAR_AT);
    }
    ptx_mbar_wait(smem + BAR_AT, 0);

    float s[64], o[64], c[64];
    uint32_t p[8][4];
    for (int i = 0; i < 64; i++) o[i] = c[i] = 0.0f;
#pragma unroll
    for (int step = 0; step < 8; step++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint16_t *pair =
                    &x->p[16 * w + g + 8 * (i & 1)][16 * step + 2 * q + 8 * (i >> 1)];
            p[step][i] = (uint32_t)pair[0] | (uint32_t)pair[1] << 16;
        }
    const uint64_t desc_q = ptx_desc(smem + Q_AT, 16);
    const uint64_t desc_k = ptx_desc(smem + K_AT, 16);
    const uint64_t desc_v = ptx_desc(smem + V_AT, 16384);
    ptx_wgmma_fence();
#pragma unroll
    for (int step = 0; step < 8; step++)
        ptx_wgmma_qk(s, desc_q + (step >> 2) * 512 + (step & 3) * 2,
                desc_k + (step >> 2) * 1024 + (step & 3) * 2, step > 0);
    ptx_wgmma_commit();
    ptx_wgmma_wait<0>();
    ptx_wgmma_fence();
#pragma unroll
    for (int step = 0; step < 8; step++) ptx_wgmma_pv(o, p[step], desc_v + step * 128);
    ptx_wgmma_commit();
    ptx_wgmma_wait<0>();
    ptx_wgmma_fence();
#pragma unroll
    for (int step = 0; step < 8; step++)
        ptx_wgmma_pv<true>(c, p[step], desc_k + (step >> 2) * 1024 + (step & 3) * 2);
    ptx_wgmma_commit();
    ptx_wgmma_wait<0>();
#pragma unroll
    for (int j = 0; j < 64; j++) {
        x->s[16 * w + g + 8 * (j >> 1 & 1)][8 * (j >> 2) + 2 * q + (j & 1)] = s[j];
        x->o[16 * w + g + 8 * (j >> 1 & 1)][8 * (j >> 2) + 2 * q + (j & 1)] = o[j];
        x->c[16 * w + g + 8 * (j >> 1 & 1)][8 * (j >> 2) + 2 * q + (j & 1)] = c[j];
    }
}

} // namespace

int main() {
    cuda_buffer<matrices> x(1);
    uint64_t random = 1;
    std::vector<float> k((size_t)(N * K)), v((size_t)(N * K));
    for (int i = 0; i < M * K; i++)
        (&x->q[0][0])[i] = rt_float_to_bf16((float)random_below(&random, 17) - 8.0f);
    for (int i = 0; i < M * N; i++)
        (&x->p[0][0])[i] = rt_float_to_bf16((float)random_below(&random, 9));
    for (int r = 0; r < N; r++)
        for (int d = 0; d < K; d++) {
            k[(size_t)(r * K + d)] = (float)random_below(&random, 31) - 15.0f;
            v[(size_t)(r * K + d)] = (float)random_below(&random, 31) - 15.0f;
            x->k_tile[cuda_tile_index(r, d)] = rt_float_to_bf16(k[(size_t)(r * K + d)]);
            x->v_tile[cuda_tile_index(r, d)] = rt_float_to_bf16(v[(size_t)(r * K + d)]);
        }
    emu_seed(0);
    CHECK(!ptx_launch(primitives_sm90_kernel, {1, 1, 128, SMEM_BYTES}, NULL, x.data));
    cuda_wait();
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            float s = 0.0f, o = 0.0f, c = 0.0f;
            for (int i = 0; i < K; i++) {
                s += rt_bf16_to_float(x->q[m][i]) * k[(size_t)(n * K + i)];
                o += rt_bf16_to_float(x->p[m][i]) * v[(size_t)(i * K + n)];
                c += rt_bf16_to_float(x->p[m][i]) * k[(size_t)(n * K + i)];
            }
            CHECK(x->s[m][n] == s && x->o[m][n] == o && x->c[m][n] == c);
        }
    return 0;
}
