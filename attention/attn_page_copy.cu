/* Pages <-> canonical rows, 16 bytes a thread: what leaves the device, and what comes back, is
 * [K|V][token] [128] of each KV head, whatever a page looks like. Bound by memory. */
#include "ptx.cuh"

#include "attn_fp8.h"
#include "attn_tile.cuh"

namespace {

enum { THREADS = 256, ROW_CHUNKS = HEAD_DIM / CHUNK_NUMBERS };

struct pack_params {
    attn_cuda_pack_args a;
    bool is_pack; /* rows -> pages */
};

/* Block (x, y): a chunk a thread of KV head y; chunks are numbered as they lie in the run. */
static __global__ void __launch_bounds__(THREADS) attn_page_copy_kernel(const pack_params p) {
    const int64_t n_chunks = 2 * p.a.n_tokens * ROW_CHUNKS;
    const int64_t i = ptx_block_x() * THREADS + ptx_thread();
    if (i >= n_chunks) return;
    const int kv_head = (int)ptx_block_y();
    const int64_t row = i / ROW_CHUNKS; /* K rows, then V rows */
    const int operand = row >= p.a.n_tokens;
    const int64_t token = row - operand * p.a.n_tokens;
    char *tile = (char *)p.a.pages[token / PAGE] + (int64_t)kv_head * (2 * TILE_BYTES) +
                 operand * TILE_BYTES;
    uint4 *in_page =
            (uint4 *)(tile + tile_at((int)(token % PAGE), (int)(i % ROW_CHUNKS), TILE_HALF_BYTES));
    uint4 *in_run = (uint4 *)p.a.runs[kv_head] + i;
    if (p.is_pack)
        *in_page = *in_run;
    else
        *in_run = *in_page;
}

rt_status copy(
        const attn_shape *shape, const attn_cuda_pack_args *args, bool is_pack, rt_stream stream) {
    if (args->n_tokens == 0) return RT_OK;
    const int64_t n_chunks = 2 * args->n_tokens * ROW_CHUNKS;
    const ptx_grid grid = {(n_chunks + THREADS - 1) / THREADS, shape->n_kv_heads, THREADS, 0};
    const char *why = ptx_launch(attn_page_copy_kernel, grid, stream, pack_params{*args, is_pack});
    if (why)
        return rt_fail(RT_EDEVICE, "attention: %s pages of %lld tokens: %s",
                is_pack ? "pack" : "unpack", (long long)args->n_tokens, why);
    return RT_OK;
}

/* ---- e4m3 ------------------------------------------------------------------------------------ */

/* Canonical bytes of a head are K [dim][token], V [token][dim], scales; in a page K lies by tokens and V by dims
 * (attn_fp8.h). A thread turns 4 x 4 codes over. */
enum { BLOCK = 4, N_BLOCKS = PAGE * HEAD_DIM / (BLOCK * BLOCK) };

PTX_DEVICE void turn_over(uint32_t (&w)[BLOCK]) {
    const uint32_t w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
#pragma unroll
    for (int i = 0; i < BLOCK; i++)
        w[i] = (w0 >> 8 * i & 255u) | (w1 >> 8 * i & 255u) << 8 | (w2 >> 8 * i & 255u) << 16 |
               (w3 >> 8 * i & 255u) << 24;
}

/* Where word i of block b is, in canonical bytes and in the page. Neighbouring lanes share 32 bytes of the first and
 * 16 of the second. */
PTX_DEVICE int canonical_at(bool is_values, int b, int i) {
    const int row = is_values ? b / 128 * 4 + b % 4 : b / 128 * 4 + b / 8 % 4;
    const int column = is_values ? b / 32 % 4 * 8 + b / 4 % 8 : b / 32 % 4 * 8 + b % 8;
    return (row * BLOCK + i) * 128 + column * BLOCK;
}
PTX_DEVICE int page_at(bool is_values, int b, int i) {
    if (!is_values) {
        const int dim = (b / 128 * 4 + b / 8 % 4) * BLOCK;
        return (int)tile_chunk((b / 32 % 4 * 8 + b % 8) * BLOCK + i, dim / 16) + dim % 16;
    }
    const int token = (b / 128 * 4 + b % 4) * BLOCK;
    return token / 16 * 2048 + ((b / 32 % 4 * 8 + b / 4 % 8) * BLOCK + i) * 16 + token % 16;
}

/* Block (x, y): KV head y of page x. */
static __global__ void __launch_bounds__(THREADS) attn_page_copy_fp8_kernel(const pack_params p) {
    char *head = (char *)p.a.pages[ptx_block_x()] + ptx_block_y() * ATTN_FP8_PLACE_BYTES;
    char *run = (char *)p.a.runs[ptx_block_y()] + ptx_block_x() * ATTN_FP8_HEAD_BYTES;
    for (int n = ptx_thread(); n < 2 * N_BLOCKS; n += THREADS) {
        const bool is_values = n >= N_BLOCKS;
        const int b = n % N_BLOCKS;
        const int at = is_values ? ATTN_FP8_TILE_BYTES : 0;
        uint32_t w[BLOCK];
#pragma unroll
        for (int i = 0; i < BLOCK; i++)
            w[i] = p.is_pack ? *(const uint32_t *)(run + at + canonical_at(is_values, b, i))
                             : *(const uint32_t *)(head + at + page_at(is_values, b, i));
        turn_over(w);
#pragma unroll
        for (int i = 0; i < BLOCK; i++)
            *(uint32_t *)(p.is_pack ? head + at + page_at(is_values, b, i)
                                    : run + at + canonical_at(is_values, b, i)) = w[i];
    }
    if (ptx_thread() != 0) return;
    const char *from = p.is_pack ? run : head;
    *(uint4 *)((p.is_pack ? head : run) + ATTN_FP8_SCALES_AT) =
            *(const uint4 *)(from + ATTN_FP8_SCALES_AT);
}

rt_status copy_fp8(
        const attn_shape *shape, const attn_cuda_pack_args *args, bool is_pack, rt_stream stream) {
    rt_assert(args->n_tokens % PAGE == 0);
    if (args->n_tokens == 0) return RT_OK;
    const ptx_grid grid = {args->n_tokens / PAGE, shape->n_kv_heads, THREADS, 0};
    const char *why =
            ptx_launch(attn_page_copy_fp8_kernel, grid, stream, pack_params{*args, is_pack});
    if (why)
        return rt_fail(RT_EDEVICE, "attention: %s e4m3 pages of %lld tokens: %s",
                is_pack ? "pack" : "unpack", (long long)args->n_tokens, why);
    return RT_OK;
}

} // namespace

rt_status attn_cuda_page_unpack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream) {
    return copy(shape, args, false, stream);
}

rt_status attn_cuda_page_pack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream) {
    return copy(shape, args, true, stream);
}

rt_status attn_cuda_fp8_page_unpack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream) {
    return copy_fp8(shape, args, false, stream);
}

rt_status attn_cuda_fp8_page_pack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream) {
    return copy_fp8(shape, args, true, stream);
}
