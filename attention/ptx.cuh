/* The device primitives that the kernels are written in: one PTX instruction each, or a few.
 *
 * Nothing here knows attention. A kernel touches shared memory and other threads through this file
 * only, so that tests/emu can run the same kernel text on a CPU, one fiber a thread, with a second
 * definition of every function below and a check of every access.
 *
 * A shared address is a plain number (ptx_smem), never a pointer. l is the lane, g = l / 4, q = l %
 * 4; a register holds two bf16, the one of lower index in its low half. `.sync` functions are
 * called by all 32 lanes of a warp (128 threads of a warpgroup for wgmma), converged.
 *
 * Source: PTX ISA 9.0; layouts as in its figures for m8n8, m16n8k16 and m64nNk16. */
#ifndef ATTN_PTX_CUH
#define ATTN_PTX_CUH

#include <cuda_runtime.h>
#include <stdint.h>

#include "attn_cuda_why.h"
#include "ptx_launch.cuh"

#define PTX_DEVICE static __device__ __forceinline__
#define PTX_EITHER static __host__ __device__ __forceinline__ /* arithmetic alone: the host may ask, too */

typedef uint32_t ptx_smem;

/* ---- who am I -------------------------------------------------------------------------------- */

PTX_DEVICE int ptx_thread() {
    return (int)threadIdx.x;
}
PTX_DEVICE int64_t ptx_block_x() {
    return (int64_t)blockIdx.x;
}
PTX_DEVICE int64_t ptx_block_y() {
    return (int64_t)blockIdx.y;
}

/* ---- shared memory --------------------------------------------------------------------------- */

/* The block's dynamic shared memory, rounded up to 1024 bytes: the launch asks for 1023 more than
 * the kernel uses. */
PTX_DEVICE ptx_smem ptx_smem_base() {
    extern __shared__ unsigned char ptx_dynamic_smem[];
    return ((ptx_smem)__cvta_generic_to_shared(ptx_dynamic_smem) + 1023u) & ~1023u;
}

PTX_DEVICE uint32_t ptx_lds32(ptx_smem at) {
    uint32_t v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(at) : "memory");
    return v;
}
PTX_DEVICE void ptx_sts32(ptx_smem at, uint32_t v) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(at), "r"(v) : "memory");
}
PTX_DEVICE uint4 ptx_lds128(ptx_smem at) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(at)
                 : "memory");
    return v;
}
PTX_DEVICE void ptx_sts128(ptx_smem at, uint4 v) {
    asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(at), "r"(v.x), "r"(v.y), "r"(v.z),
                 "r"(v.w)
                 : "memory");
}

/* ---- barriers -------------------------------------------------------------------------------- */

PTX_DEVICE void ptx_syncthreads() {
    __syncthreads();
}
PTX_DEVICE void ptx_syncwarp() {
    __syncwarp();
}
/* Named barrier `id` (1..15) of N_THREADS, a multiple of 32: wait until they all are there; or be
 * counted as there, and go on. */
template <int N_THREADS> PTX_DEVICE void ptx_bar_sync(int id) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(N_THREADS) : "memory");
}
template <int N_THREADS> PTX_DEVICE void ptx_bar_arrive(int id) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "n"(N_THREADS) : "memory");
}

/* ---- numbers between lanes ------------------------------------------------------------------- */

PTX_DEVICE float ptx_shfl_xor(float v, int lane_mask) {
    return __shfl_xor_sync(0xffffffffu, v, lane_mask);
}
PTX_DEVICE bool ptx_any(bool v) {
    return __any_sync(0xffffffffu, v) != 0;
}

/* ---- matrices of a warp ---------------------------------------------------------------------- */

/* Four 8x8 matrices of 16-bit numbers: lane 8m + r gives the address (16-byte aligned) of row r of
 * matrix m; r_m of lane l becomes M[g][2q], M[g][2q+1], or with _trans M[2q][g], M[2q+1][g]. */
PTX_DEVICE void ptx_ldmatrix(uint32_t (&r)[4], ptx_smem at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
PTX_DEVICE void ptx_ldmatrix_trans(uint32_t (&r)[4], ptx_smem at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* The fragment of an 8x8 matrix -> that of its transpose. */
PTX_DEVICE uint32_t ptx_movmatrix_trans(uint32_t v) {
    uint32_t r;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
    return r;
}

/* d[16x8] += a[16x16] b[16x8], bf16 in, fp32 out.
 *   a_i half h: row g + 8 (i & 1), k = 2q + 8 (i >> 1) + h     b_i half h: k = 2q + 8i + h, column
 *   g d_i: row g + 8 (i >> 1), column 2q + (i & 1) */
PTX_DEVICE void ptx_mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* ---- cp.async: global -> shared, 16 bytes a thread ------------------------------------------- */

/* The first src_bytes (0 or 16) come from global memory, the rest is zero. The copy is complete for
 * this thread after ptx_cp_async_wait, for others after a barrier behind that. */
PTX_DEVICE void ptx_cp_async(ptx_smem to, const void *from, int src_bytes) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(src_bytes)
                 : "memory");
}
PTX_DEVICE void ptx_cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/* All but this thread's N newest groups are complete. */
template <int N> PTX_DEVICE void ptx_cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* ---- global memory between blocks ------------------------------------------------------------ */

/* Numbers that another block of the same grid, or of a later one, will read, or has written; not cached in L1. */
PTX_DEVICE void ptx_store_shared_float(float *to, float v) {
    __stcg(to, v);
}
PTX_DEVICE void ptx_store_shared_float2(float *to, float2 v) {
    __stcg((float2 *)to, v);
}
PTX_DEVICE void ptx_store_shared_float4(float *to, float4 v) {
    __stcg((float4 *)to, v);
}
PTX_DEVICE float ptx_load_shared_float(const float *from) {
    return __ldcg(from);
}
PTX_DEVICE float4 ptx_load_shared_float4(const float *from) {
    return __ldcg((const float4 *)from);
}

/* Add 1 and return what was there. What this thread knows, its own stores and those before a
 * barrier it has passed, is seen by whoever draws a later ticket. */
PTX_DEVICE uint32_t ptx_ticket(uint32_t *counter) {
    __threadfence();
    const uint32_t ticket = atomicAdd(counter, 1u);
    __threadfence();
    return ticket;
}

/* Add 1, some time before the kernel ends. */
PTX_DEVICE void ptx_count(uint32_t *counter) {
    asm volatile("red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(
                         __cvta_generic_to_global(counter))
                 : "memory");
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* 2^x within 2 ulp, 0 for -inf and below 2^-126. */
PTX_DEVICE float ptx_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* log2 within 2^-22 absolutely for arguments around 1, relatively elsewhere; -inf for 0. */
PTX_DEVICE float ptx_log2(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* Two bf16 in a register, to nearest even. */
PTX_DEVICE uint32_t ptx_pack_bf16(float low, float high) {
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
PTX_DEVICE float ptx_bf16_low(uint32_t v) {
    return __uint_as_float(v << 16);
}
PTX_DEVICE float ptx_bf16_high(uint32_t v) {
    return __uint_as_float(v & 0xffff0000u);
}
PTX_DEVICE uint32_t ptx_float_bits(float v) {
    return __float_as_uint(v);
}
PTX_DEVICE float ptx_bits_float(uint32_t v) {
    return __uint_as_float(v);
}
/* The two e4m3 in the low, or high, half of v as bf16, exactly. Their exponents and fractions shifted to
 * where bf16 has them are 2^-120 of it. */
PTX_DEVICE uint32_t ptx_e4m3_pair(uint32_t bytes) { /* one in each half */
    uint32_t r = (bytes & 0x00800080u) << 8 | (bytes & 0x007f007fu) << 4;
    asm("fma.rn.bf16x2 %0, %0, %1, %2;" : "+r"(r) : "r"(0x7b807b80u), "r"(0x80008000u));
    return r;
}
PTX_DEVICE uint32_t ptx_e4m3_low(uint32_t v) {
    return ptx_e4m3_pair(__byte_perm(v, 0, 0x4140));
}
PTX_DEVICE uint32_t ptx_e4m3_high(uint32_t v) {
    return ptx_e4m3_pair(__byte_perm(v, 0, 0x4342));
}
/* fp32 results that no compiler contracts into a fused multiply-add. */
PTX_DEVICE float ptx_mul(float a, float b) {
    return __fmul_rn(a, b);
}
/* sin and cos of |x| <= pi, absolute error below 2^-21. */
PTX_DEVICE void ptx_sincos(float x, float *sine, float *cosine) {
    *sine = __sinf(x);
    *cosine = __cosf(x);
}

/* x, which the compiler may not compute ahead of the place: keeps loop invariants that are cheap to
 * make again out of registers. */
PTX_DEVICE uint32_t ptx_here(uint32_t x) {
    asm volatile("" : "+r"(x));
    return x;
}

/* x, which is the same in all lanes of the warp, for a compiler that cannot know: what follows from it is computed once a
 * warp. All lanes call it together. */
PTX_DEVICE int ptx_of_warp(int x) {
    return __shfl_sync(0xffffffffu, x, 0);
}

/* ---- launching ------------------------------------------------------------------------------- */

typedef struct ptx_grid {
    int64_t x;
    int64_t y;
    int threads;
    int smem_bytes; /* beyond what ptx_smem_base rounds away */
    /* While the kernel before runs, for whose end it waits by itself: Hopper and later (ptx_sm90.cuh). */
    bool is_early = false;
} ptx_grid;

/* Streaming multiprocessors of the current device; 1 where it cannot be asked. */
static inline int ptx_sm_count() {
    int device = 0, n = 0;
    if (cudaGetDevice(&device) != cudaSuccess) return 1;
    if (cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) return 1;
    return n;
}

/* Whether a kernel could be queued to begin early. */
template <typename PARAMS>
static bool ptx_launch_early(void (*kernel)(const PARAMS), ptx_grid grid, size_t smem,
        cudaStream_t stream, const PARAMS &params) {
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t how = {};
    how.gridDim = dim3((unsigned)grid.x, (unsigned)grid.y);
    how.blockDim = dim3((unsigned)grid.threads);
    how.dynamicSmemBytes = smem;
    how.stream = stream;
    how.attrs = &early;
    how.numAttrs = 1;
    return cudaLaunchKernelEx(&how, kernel, params) == cudaSuccess;
}

/* Queue a kernel; NULL, or why it was refused. */
template <typename PARAMS>
static const char *ptx_launch(
        void (*kernel)(const PARAMS), ptx_grid grid, cudaStream_t stream, const PARAMS &params) {
    static_assert(sizeof(PARAMS) <= 4096, "what every CUDA lets a kernel have of parameters");
    const size_t smem = (size_t)grid.smem_bytes + (grid.smem_bytes > 0 ? 1023u : 0u);
    const cudaError_t error = ptx_launch_with((const void *)kernel, smem, [&] {
        ptx_launch_early_or_late(
                grid.is_early, [&] { return ptx_launch_early(kernel, grid, smem, stream, params); },
                [&] {
                    kernel<<<dim3((unsigned)grid.x, (unsigned)grid.y), (unsigned)grid.threads, smem,
                            stream>>>(params);
                });
    });
    return error == cudaSuccess ? NULL : attn_cuda_why(error, cudaGetErrorString(error));
}

#endif
