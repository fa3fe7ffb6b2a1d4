/* attention/ptx.cuh and ptx_sm90.cuh for the host compiler: the same functions over the emulation.
 *
 * A test includes this and then a kernel's .cu file; the guards below make the kernel's own
 * #include of the device's headers empty. Where a primitive takes an array it is the caller's local
 * variable, which is the register here. */
#ifndef EMU_PTX_H
#define EMU_PTX_H

#define ATTN_PTX_CUH
#define ATTN_PTX_SM90_CUH

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "attention/attn_cuda_why.h"
#include "emu.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define PTX_DEVICE static inline
#define PTX_EITHER static inline

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
    return uint4{x, y, z, w};
}
static inline float4 make_float4(float x, float y, float z, float w) {
    return float4{x, y, z, w};
}

typedef struct CUstream_st *cudaStream_t;
typedef uint32_t ptx_smem;

/* ---- ptx.cuh --------------------------------------------------------------------------------- */

static inline int ptx_thread() {
    return emu_self()->index;
}
static inline int64_t ptx_block_x() {
    return emu_block_x();
}
static inline int64_t ptx_block_y() {
    return emu_block_y();
}
static inline ptx_smem ptx_smem_base() {
    return (emu_smem_begin() + 1023u) & ~1023u;
}
static inline uint32_t ptx_lds32(ptx_smem at, EMU_SITE) {
    uint32_t v;
    emu_read(at, 4, &v, site);
    return v;
}
static inline void ptx_sts32(ptx_smem at, uint32_t v, EMU_SITE) {
    emu_write(at, 4, &v, site);
}
static inline uint4 ptx_lds128(ptx_smem at, EMU_SITE) {
    uint4 v;
    emu_read(at, 16, &v, site);
    return v;
}
static inline void ptx_sts128(ptx_smem at, uint4 v, EMU_SITE) {
    emu_write(at, 16, &v, site);
}
static inline void ptx_syncthreads(EMU_SITE) {
    emu_barrier(0, emu_n_threads(), "__syncthreads", site);
}
static inline void ptx_syncwarp(EMU_SITE) {
    emu_syncwarp(site);
}
template <int N_THREADS> static inline void ptx_bar_sync(int id, EMU_SITE) {
    emu_barrier(id, N_THREADS, "bar.sync", site);
}
template <int N_THREADS> static inline void ptx_bar_arrive(int id, EMU_SITE) {
    emu_barrier_arrive(id, N_THREADS, site);
}
static inline float ptx_shfl_xor(float v, int lane_mask, EMU_SITE) {
    return emu_shfl_xor(v, lane_mask, site);
}
static inline bool ptx_any(bool v, EMU_SITE) {
    return emu_any(v, site);
}
static inline void ptx_ldmatrix(uint32_t (&r)[4], ptx_smem at, EMU_SITE) {
    emu_ldmatrix(r, at, false, site);
}
static inline void ptx_ldmatrix_trans(uint32_t (&r)[4], ptx_smem at, EMU_SITE) {
    emu_ldmatrix(r, at, true, site);
}
static inline uint32_t ptx_movmatrix_trans(uint32_t v, EMU_SITE) {
    return emu_movmatrix(v, site);
}
static inline void ptx_mma(
        float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, EMU_SITE) {
    emu_mma(d, a, b0, b1, site);
}
static inline void ptx_cp_async(ptx_smem to, const void *from, int src_bytes, EMU_SITE) {
    emu_cp_async(to, from, src_bytes, site);
}
static inline void ptx_cp_async_commit(EMU_SITE) {
    emu_cp_async_commit(site);
}
template <int N> static inline void ptx_cp_async_wait(EMU_SITE) {
    emu_cp_async_wait(N, site);
}
static inline void ptx_store_shared_float(float *to, float v, EMU_SITE) {
    emu_global_store(to, v, site);
}
static inline void emu_aligned(const float *at, size_t bytes, emu_site site) {
    if ((uintptr_t)at % bytes)
        emu_found(site, "%d bytes at %p: not aligned", (int)bytes, (const void *)at);
}
static inline void ptx_store_shared_float2(float *to, float2 v, EMU_SITE) {
    emu_aligned(to, 8, site);
    emu_global_store(to, v.x, site);
    emu_global_store(to + 1, v.y, site);
}
static inline void ptx_store_shared_float4(float *to, float4 v, EMU_SITE) {
    emu_aligned(to, 16, site);
    ptx_store_shared_float2(to, float2{v.x, v.y}, site);
    ptx_store_shared_float2(to + 2, float2{v.z, v.w}, site);
}
static inline float ptx_load_shared_float(const float *from, EMU_SITE) {
    return emu_global_load(from, site);
}
static inline float4 ptx_load_shared_float4(const float *from, EMU_SITE) {
    emu_aligned(from, 16, site);
    return float4{emu_global_load(from, site), emu_global_load(from + 1, site),
            emu_global_load(from + 2, site), emu_global_load(from + 3, site)};
}
static inline uint32_t ptx_ticket(uint32_t *counter, EMU_SITE) {
    return emu_global_ticket(counter, site);
}
static inline void ptx_count(uint32_t *counter) {
    ++*counter;
}
static inline float ptx_bits_float(uint32_t v) {
    float f;
    memcpy(&f, &v, 4);
    return f;
}
static inline uint32_t ptx_float_bits(float f) {
    uint32_t v;
    memcpy(&v, &f, 4);
    return v;
}
/* As ex2.approx: flushed, and off by up to 2 ulp, one way or the other. */
static inline float ptx_exp2(float x) {
    const float y = exp2f(x);
    if (y < 0x1p-126f) return 0.0f;
    return y * (ptx_float_bits(x) & 1 ? 1.0f + 0x1p-22f : 1.0f);
}
static inline float ptx_log2(float x) {
    return log2f(x);
}
static inline uint32_t emu_bf16(float v) {
    const uint32_t bits = ptx_float_bits(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40u;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
static inline uint32_t ptx_pack_bf16(float low, float high) {
    return emu_bf16(low) | emu_bf16(high) << 16;
}
static inline float ptx_bf16_low(uint32_t v) {
    return ptx_bits_float(v << 16);
}
static inline float ptx_bf16_high(uint32_t v) {
    return ptx_bits_float(v & 0xffff0000u);
}
static inline uint32_t emu_bf16_of_e4m3(uint32_t code) {
    const uint32_t exponent = code >> 3 & 15, fraction = code & 7;
    const uint32_t size = exponent ? (exponent - 7 + 127) << 7 | fraction << 4
                                   : emu_bf16((float)fraction * 0x1p-9f);
    return (code & 0x80) << 8 | size;
}
static inline uint32_t ptx_e4m3_low(uint32_t v) {
    return emu_bf16_of_e4m3(v & 0xff) | emu_bf16_of_e4m3(v >> 8 & 0xff) << 16;
}
static inline uint32_t ptx_e4m3_high(uint32_t v) {
    return ptx_e4m3_low(v >> 16);
}
static inline float ptx_mul(float a, float b) {
    const volatile float product = a * b;
    return product;
}
static inline void ptx_sincos(float x, float *sine, float *cosine) {
    *sine = sinf(x);
    *cosine = cosf(x);
}

static inline uint32_t ptx_here(uint32_t x) {
    return x;
}

static inline int ptx_of_warp(int x) {
    return x;
}

typedef struct ptx_grid {
    int64_t x;
    int64_t y;
    int threads;
    int smem_bytes;
    bool is_early = false;
} ptx_grid;

static inline int ptx_sm_count() {
    return emu_sm_count();
}

template <typename PARAMS>
static const char *ptx_launch(
        void (*kernel)(const PARAMS), ptx_grid grid, cudaStream_t stream, const PARAMS &params) {
    const int smem = grid.smem_bytes > 0 ? grid.smem_bytes + 1023 : 0;
    PARAMS cleared = params;
    size_t cleared_bytes = 0;
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(&cleared);
    cleared_bytes = sizeof cleared;
#endif
#endif
    const emu_launch how = {
            grid.x, grid.y, grid.threads, smem, &cleared, cleared_bytes, grid.is_early};
    const auto work = [=] { emu_run(how, [&] { kernel(params); }); };
    static_assert(sizeof(PARAMS) <= 4096, "what every CUDA lets a kernel have of parameters");
    if (emu_launch_hook) {
        const emu_refusal refusal = emu_launch_hook(stream, how, __BASE_FILE__, work);
        return refusal.error ? attn_cuda_why(refusal.error, refusal.words) : NULL;
    }
    work();
    return NULL;
}

/* ---- ptx_sm90.cuh ---------------------------------------------------------------------------- */

template <int N_THREADS> static inline bool ptx_bar_any(int id, bool v, EMU_SITE) {
    return emu_barrier(id, N_THREADS, "bar.red", site, v);
}
static inline void ptx_stmatrix_trans(ptx_smem at, const uint32_t (&r)[4], EMU_SITE) {
    emu_stmatrix_trans(r, at, site);
}
static inline uint32_t ptx_pack_f16(float low, float high) {
    return (uint32_t)emu_f16(low) | (uint32_t)emu_f16(high) << 16;
}
static inline void ptx_f16_of_e4m3(uint32_t v, uint32_t &low, uint32_t &high) {
    const uint32_t pairs[2] = {ptx_e4m3_low(v), ptx_e4m3_high(v)};
    low = ptx_pack_f16(ptx_bf16_low(pairs[0]), ptx_bf16_high(pairs[0]));
    high = ptx_pack_f16(ptx_bf16_low(pairs[1]), ptx_bf16_high(pairs[1]));
}

static inline void ptx_mbar_init(ptx_smem bar, int count, EMU_SITE) {
    emu_mbar_init(bar, count, site);
}
static inline void ptx_fence_mbar_init(EMU_SITE) {
    emu_fence_mbar_init(site);
}
static inline void ptx_mbar_arrive(ptx_smem bar, EMU_SITE) {
    emu_mbar_arrive(bar, 0, site);
}
static inline void ptx_mbar_arrive_expect(ptx_smem bar, int bytes, EMU_SITE) {
    emu_mbar_arrive(bar, bytes, site);
}
static inline void ptx_mbar_wait(ptx_smem bar, uint32_t parity, EMU_SITE) {
    emu_mbar_wait(bar, parity, site);
}
static inline void ptx_bulk_load(ptx_smem to, const void *from, int bytes, ptx_smem bar, EMU_SITE) {
    emu_bulk_load(to, from, bytes, bar, site);
}
static inline void ptx_fence_async(EMU_SITE) {
    emu_fence_async(site);
}
static inline void ptx_let_next_begin() {}
static inline void ptx_wait_for_kernels(EMU_SITE) {
    emu_wait_for_kernels(site);
}
template <int N> static inline void ptx_registers_give(EMU_SITE) {
    emu_set_registers(N, false, site);
}
template <int N> static inline void ptx_registers_take(EMU_SITE) {
    emu_set_registers(N, true, site);
}
static inline uint64_t ptx_desc(ptx_smem at, int lbo_bytes) {
    return (uint64_t)((at & 0x3ffffu) >> 4) | (uint64_t)(lbo_bytes >> 4) << 16 |
           (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}
static inline uint64_t ptx_desc_after(uint64_t desc, int bytes) {
    return (desc & 0xffffffff00000000u) | ((uint32_t)desc + (uint32_t)(bytes >> 4));
}
static inline void ptx_wgmma_fence(EMU_SITE) {
    emu_wgmma_fence(site);
}
static inline void ptx_wgmma_commit(EMU_SITE) {
    emu_wgmma_commit(site);
}
template <int N> static inline void ptx_wgmma_wait(EMU_SITE) {
    emu_wgmma_wait(N, site);
}
template <int N> static inline void ptx_wgmma_pin(float (&)[N]) {}
static inline void ptx_wgmma_qk(float (&d)[64], uint64_t a, uint64_t b, int is_sum, EMU_SITE) {
    emu_wgmma({128, false, false, false}, d, NULL, a, b, is_sum, site);
}
template <bool BY_COLUMN = false>
static inline void ptx_wgmma_pv(
        float (&d)[64], const uint32_t (&a)[4], uint64_t b, int is_sum = 1, EMU_SITE) {
    emu_wgmma({128, false, false, !BY_COLUMN}, d, a, 0, b, is_sum, site);
}
template <int N>
static inline void ptx_wgmma_f16(
        float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int is_sum, EMU_SITE) {
    emu_wgmma({N, true, false, false}, d, a, 0, b, is_sum, site);
}
template <int N, bool IS_A_TURNED>
static inline void ptx_wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, int is_sum, EMU_SITE) {
    emu_wgmma({N, false, IS_A_TURNED, false}, d, NULL, a, b, is_sum, site);
}

#endif
