/* Hopper's matrix primitives do what ptx_sm90.cuh says: products through descriptors, of tiles that
 * came by a bulk copy, are the matrices' products; so are those of the narrow instructions that decode has for pages of
 * e4m3, over columns that stmatrix has stored; every e4m3 is the f16 that it stands for; and threads vote.
 *
 * Method: one warpgroup. Small integers, so that every product is exact; tiles laid out as
 * attn_cuda.h says; the register operand and the accumulators by the documented layout. Under the
 * emulation this tests the emulation; on a GPU (tests/gpu.sh) it tests what the emulation and the
 * Hopper kernel believe about the hardware. */
#include "help_cuda_machine.h"

#include "attention/attn_fp8.h"
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

/* ---- what decode over e4m3 pages has -------------------------------------------------------------- */

enum { ROWS_AT = TILE_BYTES, VOTE_BAR = 3, NARROW_BYTES = ROWS_AT + 64 * 256 + 8 };

/* O^T = V^T P^T, both ways: V bf16 tokens x dims, as in an open page; P a query row's keys a row, f16 or bf16. */
struct narrow {
    alignas(16) uint16_t v_tile[N * K];
    uint32_t a[2][8][128][4]; /* f16, dims 64 block and on, operand A of each thread */
    uint32_t weights[2][8][128]
                    [4];   /* f16; bf16: matrix 2m + h of rows 8j and on, as stmatrix takes it */
    float o[2][2][64][64]; /* f16; bf16: block, dim, row */
    uint32_t codes[64], f16[128];
    uint32_t votes[128];
};

template <int COLUMNS>
PTX_DEVICE void store_columns(ptx_smem rows, const uint32_t (*from)[128][4]) {
    const int t = ptx_thread(), w = t / 32, lane = t % 32;
    const int row = lane % 8, chunk = lane / 16 * 8 + 2 * w + lane / 8 % 2;
    for (int j = 0; j < COLUMNS / 8; j++)
        ptx_stmatrix_trans(rows + (ptx_smem)(chunk / 8 * COLUMNS * 128 + (8 * j + row) * 128 +
                                             ((chunk % 8) ^ row) * 16),
                from[j][t]);
    ptx_fence_async();
    ptx_syncthreads();
}

template <int COLUMNS>
static __global__ void __launch_bounds__(128) narrow_kernel(narrow *const x) {
    const int t = ptx_thread(), w = t / 32, g = t % 32 / 4, q = t % 4;
    const ptx_smem smem = ptx_smem_base();
    float o[2][COLUMNS / 2];
    uint32_t a[2][8][4];
#pragma unroll
    for (int i = 0; i < 64; i++) a[i / 32][i / 4 % 8][i % 4] = x->a[i / 32][i / 4 % 8][t][i % 4];
    for (int i = t; i < TILE_BYTES / 16; i += 128)
        ptx_sts128(smem + (ptx_smem)(i * 16), *((const uint4 *)x->v_tile + i));
    for (int kind = 0; kind < 2; kind++) {
        store_columns<COLUMNS>(smem + ROWS_AT, x->weights[kind]);
        const uint64_t rows = ptx_desc(smem + ROWS_AT, 16), v = ptx_desc(smem, 16384);
        /* Fence, batch and commit on one path: where they are not, ptxas puts a fence of its own. */
        if (kind == 0) {
            ptx_wgmma_fence();
#pragma unroll
            for (int i = 0; i < 16; i++)
                ptx_wgmma_f16<COLUMNS>(o[i / 8], a[i / 8][i % 8],
                        ptx_desc_after(rows, i % 8 / 4 * COLUMNS * 128 + i % 4 * 32), i % 8 > 0);
            ptx_wgmma_commit();
        } else {
            ptx_wgmma_fence();
#pragma unroll
            for (int i = 0; i < 16; i++)
                ptx_wgmma_bf16<COLUMNS, true>(o[i / 8],
                        ptx_desc_after(v, i / 8 * 16384 + i % 8 * 2048),
                        ptx_desc_after(rows, i % 8 / 4 * COLUMNS * 128 + i % 4 * 32), i % 8 > 0);
            ptx_wgmma_commit();
        }
        ptx_wgmma_wait<0>();
#pragma unroll
        for (int i = 0; i < COLUMNS; i++) {
            const int block = i / (COLUMNS / 2), j = i % (COLUMNS / 2);
            x->o[kind][block][16 * w + g + 8 * (j >> 1 & 1)][8 * (j >> 2) + 2 * q + (j & 1)] =
                    o[block][j];
        }
        ptx_syncthreads(); /* the weights have been read */
    }
    if (t < 64) ptx_f16_of_e4m3(x->codes[t], x->f16[2 * t], x->f16[2 * t + 1]);
    const bool nobody = ptx_bar_any<128>(VOTE_BAR, false),
               last = ptx_bar_any<128>(VOTE_BAR, t == 127);
    x->votes[t] = (nobody ? 1u : 0u) + (last ? 2u : 0u);
}

uint16_t f16_of(float v) { /* of a small integer */
    int exponent;
    const float fraction = frexpf(fabsf(v), &exponent);
    if (v == 0.0f) return 0;
    return (uint16_t)((v < 0.0f ? 0x8000 : 0) | (exponent + 14) << 10 |
                      ((int)(fraction * 2048.0f) & 1023));
}
uint32_t pair_of(float low, float high, bool is_f16) {
    const uint16_t l = is_f16 ? f16_of(low) : rt_float_to_bf16(low);
    const uint16_t h = is_f16 ? f16_of(high) : rt_float_to_bf16(high);
    return (uint32_t)l | (uint32_t)h << 16;
}

template <int COLUMNS> void narrow_is_right() {
    cuda_buffer<narrow> x(1);
    uint64_t random = 7;
    std::vector<float> v((size_t)(N * K)), p((size_t)(COLUMNS * N));
    for (float &n : v) n = (float)random_below(&random, 31) - 15.0f;
    for (float &n : p) n = (float)random_below(&random, 9);
    for (int key = 0; key < N; key++)
        for (int d = 0; d < K; d++)
            x->v_tile[cuda_tile_index(key, d)] = rt_float_to_bf16(v[(size_t)(key * K + d)]);
    for (int t = 0; t < 128; t++)
        for (int i = 0; i < 4; i++) {
            const int w = t / 32, g = t % 32 / 4, q = t % 4;
            for (int step = 0; step < 8; step++)
                for (int block = 0; block < 2; block++) {
                    const int d = 64 * block + 16 * w + g + 8 * (i & 1),
                              key = 16 * step + 2 * q + 8 * (i >> 1);
                    x->a[block][step][t][i] =
                            pair_of(v[(size_t)(key * K + d)], v[(size_t)((key + 1) * K + d)], true);
                }
            for (int j = 0; j < COLUMNS / 8; j++)
                for (int kind = 0; kind < 2; kind++) {
                    const int key = 64 * (i >> 1) + 16 * w + 8 * (i & 1) + g, row = 8 * j + 2 * q;
                    x->weights[kind][j][t][i] = pair_of(p[(size_t)(row * N + key)],
                            p[(size_t)((row + 1) * N + key)], kind == 0);
                }
        }
    for (uint32_t i = 0; i < 64; i++) x->codes[i] = (4 * i) * 0x01010101u + 0x03020100u;
    CHECK(!ptx_launch(narrow_kernel<COLUMNS>, {1, 1, 128, NARROW_BYTES}, NULL, x.data));
    cuda_wait();
    for (int d = 0; d < K; d++)
        for (int row = 0; row < COLUMNS; row++) {
            float o = 0.0f;
            for (int key = 0; key < N; key++)
                o += v[(size_t)(key * K + d)] * p[(size_t)(row * N + key)];
            for (int kind = 0; kind < 2; kind++) CHECK(x->o[kind][d / 64][d % 64][row] == o);
        }
    for (int code = 0; code < 256; code++) {
        const int bits = (int)(x->f16[code / 2] >> code % 2 * 16 & 0xffff),
                  exponent = bits >> 10 & 31;
        const double size =
                exponent ? ldexp(1024 + (bits & 1023), exponent - 25) : ldexp(bits & 1023, -24);
        if ((code & 0x7f) != 0x7f)
            CHECK((bits & 0x8000 ? -size : size) == attn_fp8_number((uint8_t)code));
    }
    for (int t = 0; t < 128; t++) CHECK(x->votes[t] == 2);
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
    narrow_is_right<32>();
    narrow_is_right<64>();
    return 0;
}
