/* The matrix primitives do what ptx.cuh says they do: fragments filled by the documented layout
 * multiply as matrices do.
 *
 * Method: one warp. Matrices with a different number in every place, products by the definition.
 * Under the emulation this tests the emulation; on a GPU (tests/gpu.sh) it tests what the emulation
 * and every kernel believe about the hardware, in a second. */
#include "help_cuda_machine.h"

#include "help_cuda.h"

namespace {

enum { M = 16, N = 8, K = 16 };

struct primitives {
    uint16_t a[M][K];
    uint16_t b[K][N];
    float d[M][N];
    float d_loaded[M][N]; /* the same product, operands by ldmatrix */
    uint16_t moved[8][8]; /* movmatrix.trans of a[0..7][0..7] */
    float max[32];
    float copied[32 * 4]; /* by cp.async: 16 bytes of lane l, zero for odd lanes */
};

PTX_DEVICE uint32_t pair(uint16_t low, uint16_t high) {
    return (uint32_t)low | (uint32_t)high << 16;
}

static __global__ void __launch_bounds__(32) primitives_kernel(primitives *const p) {
    const int l = ptx_thread(), g = l / 4, q = l % 4;
    const ptx_smem smem = ptx_smem_base();
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++) {
        const int row = g + 8 * (i & 1), k = 2 * q + 8 * (i >> 1);
        a[i] = pair(p->a[row][k], p->a[row][k + 1]);
    }
    for (int i = 0; i < 2; i++) b[i] = pair(p->b[2 * q + 8 * i][g], p->b[2 * q + 8 * i + 1][g]);
    float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    ptx_mma(d, a, b[0], b[1]);
    for (int i = 0; i < 4; i++) p->d[g + 8 * (i >> 1)][2 * q + (i & 1)] = d[i];

    /* A: rows l & 15, chunks l >> 4. B, stored [k][n], comes by _trans: rows l & 15 of it. */
    uint32_t loaded_a[4], loaded_b[4];
    float e[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int i = 0; i < K; i += 2)
        if (l < M) ptx_sts32(smem + (ptx_smem)(l * 32 + i * 2), pair(p->a[l][i], p->a[l][i + 1]));
    for (int i = 0; i < N; i += 2)
        if (l < K)
            ptx_sts32(smem + (ptx_smem)(1024 + l * 16 + i * 2), pair(p->b[l][i], p->b[l][i + 1]));
    ptx_syncwarp();
    ptx_ldmatrix(loaded_a, smem + (ptx_smem)((l & 15) * 32 + (l >> 4) * 16));
    ptx_ldmatrix_trans(loaded_b, smem + (ptx_smem)(1024 + (l & 15) * 16));
    ptx_mma(e, loaded_a, loaded_b[0], loaded_b[1]);
    for (int i = 0; i < 4; i++) p->d_loaded[g + 8 * (i >> 1)][2 * q + (i & 1)] = e[i];

    const uint32_t moved = ptx_movmatrix_trans(a[0]);
    p->moved[g][2 * q] = (uint16_t)moved;
    p->moved[g][2 * q + 1] = (uint16_t)(moved >> 16);

    float max = d[0];
    for (int step = 1; step < 32; step *= 2) max = fmaxf(max, ptx_shfl_xor(max, step));
    p->max[l] = max;

    ptx_syncwarp(); /* d is there */
    ptx_cp_async(smem + (ptx_smem)(2048 + l * 16), &p->d[l / 2][l % 2 * 4], l % 2 ? 0 : 16);
    ptx_cp_async_commit();
    ptx_cp_async_wait<0>();
    const uint4 copied = ptx_lds128(smem + (ptx_smem)(2048 + l * 16));
    p->copied[l * 4] = ptx_bits_float(copied.x);
    p->copied[l * 4 + 3] = ptx_bits_float(copied.w);
}

} // namespace

int main() {
    cuda_buffer<primitives> p(1);
    for (int m = 0; m < M; m++)
        for (int k = 0; k < K; k++) p->a[m][k] = rt_float_to_bf16((float)(m * 16 + k - 100));
    for (int k = 0; k < K; k++)
        for (int n = 0; n < N; n++) p->b[k][n] = rt_float_to_bf16((float)(k * 8 + n - 37));
    emu_seed(0);
    CHECK(!ptx_launch(primitives_kernel, {1, 1, 32, 4096}, NULL, p.data));
    cuda_wait();
#if !defined(__CUDACC__)
    CHECK(emu_bank_conflicts() >
            0); /* rows of 32 bytes: what the kernels' tests look for is noticed */
#endif
    float max = -INFINITY;
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            float right = 0.0f; /* exact: small integers */
            for (int k = 0; k < K; k++)
                right += rt_bf16_to_float(p->a[m][k]) * rt_bf16_to_float(p->b[k][n]);
            CHECK(p->d[m][n] == right && p->d_loaded[m][n] == right);
            if (m < 8 && n % 2 == 0) max = fmaxf(max, right); /* every lane's d[0] */
        }
    for (int r = 0; r < 8; r++)
        for (int c = 0; c < 8; c++) CHECK(p->moved[r][c] == p->a[c][r]);
    for (int l = 0; l < 32; l++) {
        CHECK(p->max[l] == max);
        CHECK(p->copied[l * 4] == (l % 2 ? 0.0f : p->d[l / 2][0]));
        CHECK(p->copied[l * 4 + 3] == (l % 2 ? 0.0f : p->d[l / 2][3]));
    }
    return 0;
}
