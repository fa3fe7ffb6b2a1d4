/* What the projection wrote -> rotated queries, and keys and values in pages: one pass.
 *
 * A block is one token; a thread has 8 dims, 16 bytes, of every eighth head, always the same dims,
 * so that it forms the angles of its 4 pairs once. Reads and writes are whole chunks: 10 KiB in and
 * out a token of the 1M model. Bound by memory. */
#include "ptx.cuh"

#include "attn_tile.cuh"

#include <math.h>

namespace {

enum {
    THREADS = 128,
    HEAD_CHUNKS = HEAD_DIM / CHUNK_NUMBERS,
    HEADS_A_PASS = THREADS / HEAD_CHUNKS,
    CHUNK_PAIRS = CHUNK_NUMBERS / 2,
    PAIRS_MAX = HEAD_DIM / 2
};

struct append_params {
    attn_cuda_append_args a;
    int32_t n_heads;
    int32_t n_kv_heads;
    int32_t rope_dim;
    float theta[PAIRS_MAX];
};

/* The fp32 angle as the reference forms it, position x theta, then reduced in fp64: at position
 * 2^20 the fastest pair has turned 167 thousand times, and fp64 keeps 1e-10 of the angle. */
PTX_DEVICE void sincos_of(float position, float theta, float *sine, float *cosine) {
    const double angle = (double)ptx_mul(position, theta);
    const double turns = rint(angle * 0.15915494309189535);
    ptx_sincos((float)(angle - turns * 6.283185307179586), sine, cosine);
}

/* (x0, x1) -> (x0 cos - x1 sin, x1 cos + x0 sin), rounded to bf16 once. */
PTX_DEVICE uint32_t rotate(uint32_t pair, float sine, float cosine) {
    const float x0 = ptx_bf16_low(pair);
    const float x1 = ptx_bf16_high(pair);
    return ptx_pack_bf16(x0 * cosine - x1 * sine, x1 * cosine + x0 * sine);
}

PTX_DEVICE void *page_of(const append_params &p, int64_t token, int64_t pos) {
    if (p.a.positions) return p.a.seq_pages[token][pos / PAGE];
    return p.a.pages[pos / PAGE - p.a.pos / PAGE];
}

static __global__ void __launch_bounds__(THREADS) attn_append_kernel(const append_params p) {
    const int64_t token = ptx_block_x();
    const int64_t pos = p.a.positions ? p.a.positions[token] : p.a.pos + token;
    const int chunk = ptx_thread() % HEAD_CHUNKS;
    const bool is_rotated = chunk * CHUNK_NUMBERS < p.rope_dim;
    float sine[CHUNK_PAIRS], cosine[CHUNK_PAIRS];
    if (is_rotated)
        for (int i = 0; i < CHUNK_PAIRS; i++)
            sincos_of((float)pos, p.theta[chunk * CHUNK_PAIRS + i], &sine[i], &cosine[i]);

    const int n_heads = p.n_heads + 2 * p.n_kv_heads;
    const uint4 *from = (const uint4 *)p.a.qkv + token * n_heads * HEAD_CHUNKS;
    uint4 *q = (uint4 *)p.a.q + token * p.n_heads * HEAD_CHUNKS;
    char *page = (char *)page_of(p, token, pos);
    const uint32_t in_tile = tile_at((int)(pos % PAGE), chunk, TILE_HALF_BYTES);
    for (int head = ptx_thread() / HEAD_CHUNKS; head < n_heads; head += HEADS_A_PASS) {
        uint4 x = from[head * HEAD_CHUNKS + chunk];
        if (is_rotated && head < p.n_heads + p.n_kv_heads)
            x = make_uint4(rotate(x.x, sine[0], cosine[0]), rotate(x.y, sine[1], cosine[1]),
                    rotate(x.z, sine[2], cosine[2]), rotate(x.w, sine[3], cosine[3]));
        const int kv = head - p.n_heads; /* K heads, then V heads */
        if (kv < 0)
            q[head * HEAD_CHUNKS + chunk] = x;
        else
            *(uint4 *)(page + (int64_t)(kv % p.n_kv_heads) * (2 * TILE_BYTES) +
                       (kv / p.n_kv_heads) * TILE_BYTES + in_tile) = x;
    }
}

} // namespace

rt_status attn_cuda_append(
        const attn_shape *shape, const attn_cuda_append_args *args, rt_stream stream) {
    if (args->n_tokens == 0) return RT_OK;
    append_params params = {*args, shape->n_heads, shape->n_kv_heads, shape->rope_dim, {}};
    attn_rope_theta(shape, params.theta);
    const ptx_grid grid = {args->n_tokens, 1, THREADS, 0};
    const char *why = ptx_launch(attn_append_kernel, grid, stream, params);
    if (why)
        return rt_fail(
                RT_EDEVICE, "attention: append of %lld tokens: %s", (long long)args->n_tokens, why);
    return RT_OK;
}
