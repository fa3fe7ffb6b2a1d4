/* Pages <-> canonical rows, 16 bytes a thread: what leaves the device, and what comes back, is
 * [K|V][token] [128] of each KV head, whatever a page looks like. Bound by memory. */
#include "ptx.cuh"

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

} // namespace

rt_status attn_cuda_page_unpack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream) {
    return copy(shape, args, false, stream);
}

rt_status attn_cuda_page_pack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream) {
    return copy(shape, args, true, stream);
}
