/* The primitives that came with Hopper: mbarriers, bulk copies, wgmma, register reallocation.
 * Everything ptx.cuh says holds here too; code of this file is compiled for sm_90a only. */
#ifndef ATTN_PTX_SM90_CUH
#define ATTN_PTX_SM90_CUH

#include "ptx.cuh"

/* ---- mbarrier -------------------------------------------------------------------------------- */

/* A phase ends when `count` arrivals were made and all expected bytes have come; the next begins.
 */
PTX_DEVICE void ptx_mbar_init(ptx_smem bar, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}
/* By the initialising thread, before a barrier that everyone passes. */
PTX_DEVICE void ptx_fence_mbar_init() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
PTX_DEVICE void ptx_mbar_arrive(ptx_smem bar) {
    asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}
PTX_DEVICE void ptx_mbar_arrive_expect(ptx_smem bar, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(bar),
                 "r"(bytes)
                 : "memory");
}
/* Until the phase of this parity has ended; a fresh barrier is in phase 0, so parity 1 passes. */
PTX_DEVICE void ptx_mbar_wait(ptx_smem bar, uint32_t parity) {
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra over;\n" /* lanes may see it one after the other */
                 "bra again;\n"
                 "over:\n"
                 "}" ::"r"(bar),
                 "r"(parity)
                 : "memory");
}

/* ---- barriers and matrices of a warp ---------------------------------------------------------- */

/* ptx_bar_sync; whether some thread said yes. */
template <int N_THREADS> PTX_DEVICE bool ptx_bar_any(int id, bool v) {
    uint32_t any;
    asm volatile("{\n"
                 ".reg .pred mine, some;\n"
                 "setp.ne.b32 mine, %3, 0;\n"
                 "bar.red.or.pred some, %1, %2, mine;\n"
                 "selp.u32 %0, 1, 0, some;\n"
                 "}"
                 : "=r"(any)
                 : "r"(id), "n"(N_THREADS), "r"((uint32_t)v)
                 : "memory");
    return any != 0;
}

/* The inverse of ptx_ldmatrix_trans: matrix m is M[g][2q], M[g][2q+1] in r_m of lane l, and its column i goes where
 * lane 8m + i says, 16 bytes. */
PTX_DEVICE void ptx_stmatrix_trans(ptx_smem at, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(at),
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}

/* ---- f16 -------------------------------------------------------------------------------------- */

/* The two e4m3 in the low half of v as two f16, and those in the high one: exactly. */
PTX_DEVICE void ptx_f16_of_e4m3(uint32_t v, uint32_t &low, uint32_t &high) {
    asm volatile("{\n"
                 ".reg .b16 l, h;\n"
                 "mov.b32 {l, h}, %2;\n"
                 "cvt.rn.f16x2.e4m3x2 %0, l;\n"
                 "cvt.rn.f16x2.e4m3x2 %1, h;\n"
                 "}"
                 : "=r"(low), "=r"(high)
                 : "r"(v));
}
/* Two f16 in a register, to nearest even. */
PTX_DEVICE uint32_t ptx_pack_f16(float low, float high) {
    uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

/* ---- bulk copy, global -> shared ------------------------------------------------------------- */

/* `bytes` (a multiple of 16) in order; counts them on `bar` when they are there. One thread. */
PTX_DEVICE void ptx_bulk_load(ptx_smem to, const void *from, int bytes, ptx_smem bar) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(bar)
                 : "memory");
}

/* Ordinary stores and cp.async of this thread, before; wgmma and bulk copies, after the barrier
 * that must follow. */
PTX_DEVICE void ptx_fence_async() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* ---- kernels behind one another --------------------------------------------------------------- */

/* The next kernel of the stream, if it was launched early, may begin where there is room for its blocks, once all blocks of this
 * one have said so or are over. */
PTX_DEVICE void ptx_let_next_begin() {
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
/* In a kernel that is launched early, by every thread: until those before it are over. What they wrote is then seen; before that
 * nothing of theirs may be touched. */
PTX_DEVICE void ptx_wait_for_kernels() {
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

/* ---- registers ------------------------------------------------------------------------------- */

template <int N> PTX_DEVICE void ptx_registers_give() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> PTX_DEVICE void ptx_registers_take() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

/* ---- wgmma ----------------------------------------------------------------------------------- */

/* Matrix descriptor, 128-byte swizzle: start / 16 | LBO / 16 << 16 | SBO / 16 << 32 | 1 << 62.
 * K-major: rows of 128 bytes, 8 of them 1024 bytes on (SBO); LBO is ignored. MN-major: 8 rows 1024
 * bytes on (SBO), the next 64 columns LBO bytes on. */
PTX_DEVICE uint64_t ptx_desc(ptx_smem at, int lbo_bytes) {
    return (uint64_t)((at & 0x3ffffu) >> 4) | (uint64_t)(lbo_bytes >> 4) << 16 |
           (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

/* The descriptor of what lies `bytes` further on; the address is of its low half alone. */
PTX_DEVICE uint64_t ptx_desc_after(uint64_t desc, int bytes) {
    return (desc & 0xffffffff00000000u) | ((uint32_t)desc + (uint32_t)(bytes >> 4));
}

/* Before each batch of wgmma, and after any other use of their registers. */
PTX_DEVICE void ptx_wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/* Accumulators are as they will be, ahead of that fence: what computes them stays in front of it. */
template <int N> PTX_DEVICE void ptx_wgmma_pin(float (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}
PTX_DEVICE void ptx_wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/* All but the N newest groups are complete; until then neither accumulators nor operands are
 * touched. */
template <int N> PTX_DEVICE void ptx_wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

#define PTX_F8(d, i)                                                                            \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
            "+f"(d[i + 6]), "+f"(d[i + 7])
#define PTX_F64(d)                                                                          \
    PTX_F8(d, 0), PTX_F8(d, 8), PTX_F8(d, 16), PTX_F8(d, 24), PTX_F8(d, 32), PTX_F8(d, 40), \
            PTX_F8(d, 48), PTX_F8(d, 56)
#define PTX_D64                                                        \
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"          \
    "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
    "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
    "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}"

/* d[64x128] = a[64x16] b[128x16]^T (+ d, where is_sum), both in shared memory and K-major.
 *   d_j: row 16 w + g + 8 ((j >> 1) & 1), column 8 (j >> 2) + 2q + (j & 1), w the warp of the group
 *   */
PTX_DEVICE void ptx_wgmma_qk(float (&d)[64], uint64_t a, uint64_t b, int is_sum) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " PTX_D64
                 ", %64, %65, p, 1, 1, 0, 0;\n"
                 "}"
                 : PTX_F64(d)
                 : "l"(a), "l"(b), "r"(is_sum));
}

/* d[64x128] = a[64x16] b[16x128] (+ d, where is_sum), a in registers, b in shared memory and MN-major, or BY_COLUMN
 * K-major: its columns are rows there.
 *   a_i half h: row 16 w + g + 8 (i & 1), k = 2q + 8 (i >> 1) + h */
template <bool BY_COLUMN = false>
PTX_DEVICE void ptx_wgmma_pv(float (&d)[64], const uint32_t (&a)[4], uint64_t b, int is_sum = 1) {
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %70, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " PTX_D64
                 ", {%64,%65,%66,%67}, %68, p, 1, 1, %69;\n"
                 "}"
                 : PTX_F64(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(BY_COLUMN ? 0 : 1),
                 "r"(is_sum));
}

#define PTX_F16(d) PTX_F8(d, 0), PTX_F8(d, 8)
#define PTX_F32(d) PTX_F16(d), PTX_F8(d, 16), PTX_F8(d, 24)
#define PTX_D16    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}"
#define PTX_D32                                               \
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
    "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}"

/* is_sum, and the instruction of N columns for d, a and b as its operands are numbered. */
#define PTX_WGMMA(n, types, flag, operands) \
    "{\n"                                   \
    ".reg .pred p;\n"                       \
    "setp.ne.b32 p, " flag ", 0;\n"         \
    "wgmma.mma_async.sync.aligned.m64n" n "k16.f32." types " " operands ";\n}"

/* d[64xN] = a[64x16] b[Nx16]^T (+ d, where is_sum) of f16, a in registers, b in shared memory and K-major; d as
 * ptx_wgmma_qk's, a as ptx_wgmma_pv's. N is 32 or 64. */
template <int N>
PTX_DEVICE void ptx_wgmma_f16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int is_sum) {
    if constexpr (N == 32)
        asm volatile(PTX_WGMMA("32", "f16.f16", "%21",
                             PTX_D16 ", {%16,%17,%18,%19}, %20, p, 1, 1, 0")
                     : PTX_F16(d)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(is_sum));
    else
        asm volatile(PTX_WGMMA("64", "f16.f16", "%37",
                             PTX_D32 ", {%32,%33,%34,%35}, %36, p, 1, 1, 0")
                     : PTX_F32(d)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(is_sum));
}

/* The same of bf16, a in shared memory too: K-major, or IS_A_TURNED MN-major. */
template <int N, bool IS_A_TURNED>
PTX_DEVICE void ptx_wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, int is_sum) {
    if constexpr (N == 32)
        asm volatile(PTX_WGMMA("32", "bf16.bf16", "%19", PTX_D16 ", %16, %17, p, 1, 1, %18, 0")
                     : PTX_F16(d)
                     : "l"(a), "l"(b), "n"((int)IS_A_TURNED), "r"(is_sum));
    else
        asm volatile(PTX_WGMMA("64", "bf16.bf16", "%35", PTX_D32 ", %32, %33, p, 1, 1, %34, 0")
                     : PTX_F32(d)
                     : "l"(a), "l"(b), "n"((int)IS_A_TURNED), "r"(is_sum));
}

#endif
