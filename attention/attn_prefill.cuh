/* What the prefill kernels share: their parameters, the order of their tiles, the launch.
 *
 * A tile is one query head and a fixed number of query rows. Tiles are numbered by rows, the latest
 * first, the heads of a group after one another: walks get shorter with the number, so that blocks
 * that take turns at them get equal shares and the longest do not start last; and those that run
 * together are at the same pages, which then come from the L2 cache. */
#ifndef ATTN_PREFILL_CUH
#define ATTN_PREFILL_CUH

#include "ptx.cuh"

#include "attn_quad.cuh"
#include "attn_tile.cuh"

#include <math.h>
#include <stdlib.h>

struct prefill_params {
    attn_cuda_prefill_args a;
    int32_t n_heads;
    int32_t group;
    int32_t n_tokens;
    int32_t n_keys;
    int32_t pos; /* of the first token, from a.first_pos; negative where no row sees a key */
    int32_t in_page; /* and in its own page */
    int32_t n_head_tiles; /* tiles of a query head */
    int32_t n_tiles;      /* of all */
    int32_t n_blocks;     /* that share them */
    float scale;          /* log2(e) / sqrt(head_dim) */
};

/* Query head, KV head and first token (counted from a.pos) of a tile. */
PTX_DEVICE int prefill_head(const prefill_params &p, int tile) {
    return tile % p.n_heads;
}
PTX_DEVICE int prefill_kv_head(const prefill_params &p, int tile) {
    return prefill_head(p, tile) / p.group;
}
PTX_DEVICE int prefill_token(const prefill_params &p, int tile, int n_rows) {
    return (p.n_head_tiles - 1 - tile / p.n_heads) * n_rows;
}

/* Keys' page `page` (from a.first_pos on) for the tile whose first token is `token`. With open pages a tile's
 * tokens are of one page. */
PTX_DEVICE const void *prefill_page(const prefill_params &p, int token, int page) {
    if (p.a.open_pages && page == (p.pos + token) / PAGE)
        return p.a.open_pages[(p.in_page + token) / PAGE];
    return p.a.pages[page];
}

/* ---- launching ------------------------------------------------------------------------------- */

/* What a kernel's blocks are like. */
struct prefill_blocks {
    int n_rows; /* of a tile */
    int threads;
    int smem_bytes;
    bool is_persistent; /* a block an SM, each with many tiles; otherwise a block a tile */
};

enum { PREFILL_TOKENS_MAX = 1 << 28 }; /* of a call: positions are 32 bits in kernels, offsets 64 */

static rt_status prefill_launch_once(void (*kernel)(const prefill_params),
        const prefill_blocks &blocks, const attn_shape *shape, const attn_cuda_prefill_args *args,
        rt_stream stream) {
    rt_assert(args->first_pos % PAGE == 0 && args->n_keys >= 0 && args->pos >= 0);
    rt_assert(args->n_keys <= PREFILL_TOKENS_MAX && args->n_tokens <= PREFILL_TOKENS_MAX);
    rt_assert(llabs(args->pos - args->first_pos) <= PREFILL_TOKENS_MAX);
    const int64_t n_head_tiles = (args->n_tokens + blocks.n_rows - 1) / blocks.n_rows;
    const int64_t n_tiles = n_head_tiles * shape->n_heads;
    rt_assert(n_tiles <= INT32_MAX / 2);
    const int64_t n_sms = blocks.is_persistent ? ptx_sm_count() : n_tiles;
    const int64_t n_blocks = n_tiles < n_sms ? n_tiles : n_sms;
    const prefill_params params = {*args, shape->n_heads, shape->n_heads / shape->n_kv_heads,
            (int32_t)args->n_tokens, (int32_t)args->n_keys, (int32_t)(args->pos - args->first_pos),
            (int32_t)(args->pos % PAGE), (int32_t)n_head_tiles, (int32_t)n_tiles, (int32_t)n_blocks,
            (float)(1.4426950408889634 / sqrt((double)HEAD_DIM))};
    const ptx_grid grid = {n_blocks, 1, blocks.threads, blocks.smem_bytes};
    const char *why = ptx_launch(kernel, grid, stream, params);
    if (why)
        return rt_fail(RT_EDEVICE, "attention: prefill of %lld tokens over %lld keys: %s",
                (long long)args->n_tokens, (long long)args->n_keys, why);
    return RT_OK;
}

/* Tokens from `first` on. */
static attn_cuda_prefill_args prefill_tokens_from(
        const attn_shape *shape, const attn_cuda_prefill_args *args, int64_t first) {
    attn_cuda_prefill_args rest = *args;
    const int64_t row = first * shape->n_heads;
    rest.q += first * args->q_stride;
    rest.n_tokens -= first;
    rest.pos += first;
    if (rest.max) rest.max += row;
    if (rest.sum) rest.sum += row;
    if (rest.out) rest.out += row * HEAD_DIM;
    if (rest.attended) rest.attended += row * HEAD_DIM;
    if (rest.lse) rest.lse += row;
    return rest;
}

/* With open pages tiles begin where pages do: those of a first page that is not whole are launched alone. */
static rt_status prefill_launch(void (*kernel)(const prefill_params), const prefill_blocks &blocks,
        const attn_shape *shape, const attn_cuda_prefill_args *args, rt_stream stream) {
    const int64_t first = PAGE - args->pos % PAGE;
    if (args->n_tokens == 0) return RT_OK;
    if (!args->open_pages || first == PAGE || first >= args->n_tokens)
        return prefill_launch_once(kernel, blocks, shape, args, stream);
    attn_cuda_prefill_args begin = *args;
    attn_cuda_prefill_args rest = prefill_tokens_from(shape, args, first);
    begin.n_tokens = first;
    rest.open_pages++;
    RT_TRY(prefill_launch_once(kernel, blocks, shape, &begin, stream));
    return prefill_launch_once(kernel, blocks, shape, &rest, stream);
}

#endif
