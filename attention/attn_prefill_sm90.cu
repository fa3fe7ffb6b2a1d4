/* Prefill attention for Hopper: a block is one query head and 192 query rows; it walks the keys
 * page by page, in ascending order.
 *
 *   producer warpgroup   one thread: a 32 KiB bulk copy for each tile of K and of V, two pages
 *   ahead 3 consumer warpgroups, 64 rows each:   S = Q K^T   softmax   O += P V,   with nothing
 *   between them but
 *                                          the mbarriers of the tiles, so that one computes its
 *                                          softmax while another has the tensor cores
 *
 *   full_k, full_v    the bytes are there       producer's expectation + the copy     -> consumers
 *   empty_k, empty_v  3 warpgroups have read    one thread of each, past its wait     -> producer
 *
 * A page's tiles are the operands as they lie: K is K-major (N keys, K dims), V is MN-major (N
 * dims, K keys), both with the 128-byte swizzle; no tensor maps. P goes from accumulators to
 * operand registers by packing alone. 176 KiB of shared memory, one block an SM; S 64 and O 64 of
 * 160 registers.
 *
 * Blocks are head-major, latest rows first (attn_prefill_sm80.cu says why); the hardware deals them
 * out as SMs become free. 4 x 128 FLOP a row and key; 512 bytes a key from L2 for each 192 rows. */
#include "ptx_sm90.cuh"

#include "attn_tile.cuh"

#include <math.h>
#include <stdlib.h>

namespace {

enum {
    GROUP = 4 * WARP,
    N_CONSUMERS = 3,
    CONSUMER_THREADS = N_CONSUMERS * GROUP,
    THREADS = CONSUMER_THREADS + GROUP,
    GROUP_ROWS = 64,
    ROWS = N_CONSUMERS * GROUP_ROWS,
    KEYS = PAGE,
    N_STAGES = 2,
    PRODUCER_REGISTERS = 32,
    CONSUMER_REGISTERS = 160,
    CONSUMERS = 1, /* named barrier */
    TOKENS_MAX = 1 << 28,

    Q_HALF_BYTES = GROUP_ROWS * ROW_BYTES,
    Q_GROUP_BYTES = 2 * Q_HALF_BYTES,
    Q_AT = 0,
    K_AT = Q_AT + N_CONSUMERS * Q_GROUP_BYTES,
    V_AT = K_AT + N_STAGES * TILE_BYTES,
    FULL_K_AT = V_AT + N_STAGES * TILE_BYTES,
    FULL_V_AT = FULL_K_AT + N_STAGES * 8,
    EMPTY_K_AT = FULL_V_AT + N_STAGES * 8,
    EMPTY_V_AT = EMPTY_K_AT + N_STAGES * 8,
    SMEM_BYTES = EMPTY_V_AT + N_STAGES * 8
};

struct prefill_params {
    attn_cuda_prefill_args a;
    int32_t n_heads;
    int32_t group;
    int32_t n_tokens;
    int32_t n_keys;
    int32_t pos; /* of the first token, from a.first_pos; negative where no row sees a key */
    int32_t n_tiles;
    float scale; /* log2(e) / sqrt(head_dim) */
};

/* Which rows and keys this block has; positions are counted from a.first_pos. Made where it is
 * needed: registers are scarce. */
struct prefill_tile {
    int32_t head;
    int32_t kv_head;
    int32_t token; /* of row 0, counted from a.pos */
    int32_t n_rows;
    int32_t n_pages; /* that some row sees */
};

/* A thread's rows g and g + 8 of its warp's 16: h = 0, 1; columns 8j + 2q, + 1 at out[4j + 2h], +
 * 1. */
struct row_state {
    float max[2];
    float sum[2];
    float out[64];
};

PTX_DEVICE prefill_tile tile_of_block(const prefill_params &p) {
    prefill_tile t;
    const int block = (int)ptx_here((uint32_t)ptx_block_x());
    const int per_kv_head = p.n_tiles * p.group;
    const int rest = block % per_kv_head;
    t.kv_head = block / per_kv_head;
    t.head = t.kv_head * p.group + rest % p.group;
    t.token = (p.n_tiles - 1 - rest / p.group) * ROWS;
    t.n_rows = p.n_tokens - t.token < ROWS ? p.n_tokens - t.token : ROWS;
    const int seen = p.pos + t.token + t.n_rows;
    const int end = seen < p.n_keys ? seen : p.n_keys;
    t.n_pages = end > 0 ? (end + KEYS - 1) / KEYS : 0;
    return t;
}

/* Stage and phase parity of page i. */
PTX_DEVICE uint32_t stage_of(int page) {
    return (uint32_t)page % N_STAGES;
}
PTX_DEVICE uint32_t parity_of(int page) {
    return (uint32_t)page / N_STAGES & 1u;
}

/* ---- the producer ---------------------------------------------------------------------------- */

PTX_DEVICE void fetch(
        ptx_smem smem, int full_at, int empty_at, int tile_at, int page, const char *from) {
    const uint32_t stage = stage_of(page);
    const ptx_smem full = smem + full_at + stage * 8;
    ptx_mbar_wait(smem + empty_at + stage * 8, parity_of(page) ^ 1u);
    ptx_mbar_arrive_expect(full, TILE_BYTES);
    ptx_bulk_load(smem + tile_at + stage * TILE_BYTES, from, TILE_BYTES, full);
}

PTX_DEVICE void produce(const prefill_params &p, const prefill_tile &t, ptx_smem smem) {
    for (int page = 0; page < t.n_pages; page++) {
        const char *keys = tile_of_keys(p.a.pages[page], t.kv_head);
        fetch(smem, FULL_K_AT, EMPTY_K_AT, K_AT, page, keys);
        fetch(smem, FULL_V_AT, EMPTY_V_AT, V_AT, page, keys + TILE_BYTES);
    }
}

/* ---- the consumers --------------------------------------------------------------------------- */

/* This warpgroup's 64 rows; rows past the last are zero. */
PTX_DEVICE void load_queries(const prefill_params &p, const prefill_tile &t, ptx_smem q) {
    const int first_row = ptx_thread() / GROUP * GROUP_ROWS;
    for (int i = ptx_thread() % GROUP; i < GROUP_ROWS * HEAD_DIM / CHUNK_NUMBERS; i += GROUP) {
        const int row = i / (HEAD_DIM / CHUNK_NUMBERS);
        const int chunk = i % (HEAD_DIM / CHUNK_NUMBERS);
        const bool is_row = first_row + row < t.n_rows;
        const int64_t token = t.token + (is_row ? first_row + row : 0);
        const uint16_t *from =
                p.a.q + token * p.a.q_stride + t.head * HEAD_DIM + chunk * CHUNK_NUMBERS;
        ptx_cp_async(q + tile_at(row, chunk, Q_HALF_BYTES), from, is_row ? 16 : 0);
    }
    ptx_cp_async_commit();
    ptx_cp_async_wait<0>();
    ptx_fence_async(); /* wgmma will read what was stored the ordinary way */
}

/* s = Q K^T, not scaled. */
PTX_DEVICE void multiply_keys(ptx_smem q, ptx_smem k, float (&s)[64]) {
    const uint64_t desc_q = ptx_desc(q, 16);
    const uint64_t desc_k = ptx_desc(k, 16);
    ptx_wgmma_fence();
#pragma unroll
    for (int dims = 0; dims < HEAD_DIM / 16; dims++) /* 32 bytes of a row on, or the other half */
        ptx_wgmma_qk(s, desc_q + (dims >> 2) * (Q_HALF_BYTES >> 4) + (dims & 3) * 2,
                desc_k + (dims >> 2) * (TILE_HALF_BYTES >> 4) + (dims & 3) * 2, dims > 0);
    ptx_wgmma_commit();
    ptx_wgmma_wait<0>();
}

/* out += P V. */
PTX_DEVICE void multiply_values(
        ptx_smem v, const uint32_t (&weights)[KEYS / 16][4], float (&out)[64]) {
    const uint64_t desc_v = ptx_desc(v, TILE_HALF_BYTES);
    ptx_wgmma_fence();
#pragma unroll
    for (int keys = 0; keys < KEYS / 16; keys++)
        ptx_wgmma_pv(out, weights[keys], desc_v + keys * (16 * ROW_BYTES >> 4));
    ptx_wgmma_commit();
    ptx_wgmma_wait<0>();
}

/* Keys that a row does not see: -inf. Of `n_keys` keys of the page, the thread's row g sees the
 * first n_seen, row g + 8 eight more. */
PTX_DEVICE void mask(float (&s)[64], int n_seen, int n_keys) {
    const int first = ptx_thread() % 4 * 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int n_of_row = n_seen + 8 * h;
        const int limit = (n_of_row < n_keys ? n_of_row : n_keys) - first;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int c = 0; c < 2; c++)
                if (8 * j + c >= limit) s[4 * j + 2 * h + c] = -INFINITY;
    }
}

/* Over the four lanes that share a row. */
PTX_DEVICE float max_of_row(float v) {
    v = fmaxf(v, ptx_shfl_xor(v, 1));
    return fmaxf(v, ptx_shfl_xor(v, 2));
}
PTX_DEVICE float sum_of_row(float v) {
    v += ptx_shfl_xor(v, 1);
    return v + ptx_shfl_xor(v, 2);
}

/* s -> weights 2^(scale s - max), packed; the state brought to the new maximum. Where no row of the
 * warp has risen, out is left alone: all its factors are 1. */
PTX_DEVICE void weigh(
        float (&s)[64], row_state &state, uint32_t (&weights)[KEYS / 16][4], float scale) {
    float factor[2];
    bool is_risen = false;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = -INFINITY;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
            top = fmaxf(top, fmaxf(s[4 * j + 2 * h], s[4 * j + 2 * h + 1]));
        const float max = fmaxf(state.max[h], max_of_row(top) * scale);
        const float base = max == -INFINITY ? 0.0f : max; /* no key so far: -inf - (-inf) is NaN */
        is_risen = is_risen || max > state.max[h];
        factor[h] = ptx_exp2(state.max[h] - base);
        state.max[h] = max;
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
            const float w0 = ptx_exp2(fmaf(s[4 * j + 2 * h], scale, -base));
            const float w1 = ptx_exp2(fmaf(s[4 * j + 2 * h + 1], scale, -base));
            sum += w0;
            sum += w1;
            weights[j / 2][j % 2 * 2 + h] = ptx_pack_bf16(w0, w1);
        }
        state.sum[h] = fmaf(state.sum[h], factor[h], sum_of_row(sum));
    }
    if (!ptx_any(is_risen)) return;
#pragma unroll
    for (int i = 0; i < 64; i++) state.out[i] *= factor[i / 2 % 2];
}

/* The last page's values past the last key -> 0, for 0 x NaN is NaN. All consumers together, once a
 * block at most. */
PTX_DEVICE void clear_values(ptx_smem v, int n_keys) {
    const int n_chunks = (KEYS - n_keys) * (ROW_BYTES / 16);
    for (int i = ptx_thread(); i < 2 * n_chunks; i += CONSUMER_THREADS)
        ptx_sts128(v + (i / n_chunks) * TILE_HALF_BYTES + n_keys * ROW_BYTES + i % n_chunks * 16,
                make_uint4(0, 0, 0, 0));
    ptx_fence_async();
    ptx_bar_sync<CONSUMERS, CONSUMER_THREADS>();
}

/* The thread's row h, counted in the tile. */
PTX_DEVICE int row_of(int h) {
    return ptx_thread() / WARP * 16 + ptx_thread() % WARP / 4 + 8 * h;
}

PTX_DEVICE void load_state(const prefill_params &p, const prefill_tile &t, row_state &state) {
#pragma unroll
    for (int i = 0; i < 64; i++) state.out[i] = 0.0f;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        state.max[h] = -INFINITY;
        state.sum[h] = 0.0f;
        if (p.a.is_first || row_of(h) >= t.n_rows) continue;
        const int64_t at = (int64_t)(t.token + row_of(h)) * p.n_heads + t.head;
        state.max[h] = p.a.max[at];
        state.sum[h] = p.a.sum[at];
        const float *out = p.a.out + at * HEAD_DIM + ptx_thread() % 4 * 2;
#pragma unroll
        for (int j = 0; j < HEAD_DIM / 8; j++) {
            const float2 pair = *(const float2 *)(out + 8 * j);
            state.out[4 * j + 2 * h] = pair.x;
            state.out[4 * j + 2 * h + 1] = pair.y;
        }
    }
}

PTX_DEVICE void store_state(
        const prefill_params &p, const prefill_tile &t, const row_state &state) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (row_of(h) >= t.n_rows) continue;
        const int64_t at = (int64_t)(t.token + row_of(h)) * p.n_heads + t.head;
        if (ptx_thread() % 4 == 0) {
            p.a.max[at] = state.max[h];
            p.a.sum[at] = state.sum[h];
        }
        float *out = p.a.out + at * HEAD_DIM + ptx_thread() % 4 * 2;
#pragma unroll
        for (int j = 0; j < HEAD_DIM / 8; j++)
            *(float2 *)(out + 8 * j) =
                    float2{state.out[4 * j + 2 * h], state.out[4 * j + 2 * h + 1]};
    }
}

/* Normalised rows, through the shared memory of the queries so that they are written 16 bytes a
 * lane. A warp writes and reads its own 16 rows. */
PTX_DEVICE void store_attended(
        const prefill_params &p, const prefill_tile &t, const row_state &state, ptx_smem q) {
    const int lane = ptx_thread() % WARP;
    const int warp_row = ptx_thread() % GROUP / WARP * 16; /* in the warpgroup's queries */
    ptx_bar_sync<CONSUMERS, CONSUMER_THREADS>();           /* all queries have been read */
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float inverse = state.sum[h] > 0.0f ? 1.0f / state.sum[h] : 0.0f;
        const uint32_t chunk =
                tile_chunk(warp_row + lane / 4 + 8 * h, 0) + (uint32_t)(lane % 4 * 4);
#pragma unroll
        for (int j = 0; j < HEAD_DIM / 8; j++)
            ptx_sts32(q + (chunk ^ (uint32_t)(j % 8 * 16)) + j / 8 * Q_HALF_BYTES,
                    ptx_pack_bf16(state.out[4 * j + 2 * h] * inverse,
                            state.out[4 * j + 2 * h + 1] * inverse));
        if (p.a.lse && lane % 4 == 0 && row_of(h) < t.n_rows)
            p.a.lse[(int64_t)(t.token + row_of(h)) * p.n_heads + t.head] =
                    (state.max[h] + ptx_log2(state.sum[h])) * 0.6931471805599453f;
    }
    ptx_syncwarp();
    for (int i = lane; i < 16 * HEAD_DIM / CHUNK_NUMBERS; i += WARP) {
        const int row = warp_row + i / (HEAD_DIM / CHUNK_NUMBERS);
        const int chunk = i % (HEAD_DIM / CHUNK_NUMBERS);
        const int tile_row = ptx_thread() / GROUP * GROUP_ROWS + row;
        if (tile_row >= t.n_rows) return;
        const int64_t at = ((int64_t)(t.token + tile_row) * p.n_heads + t.head) * HEAD_DIM;
        *(uint4 *)(p.a.attended + at + chunk * CHUNK_NUMBERS) =
                ptx_lds128(q + tile_at(row, chunk, Q_HALF_BYTES));
    }
}

PTX_DEVICE void release(ptx_smem empty) {
    if (ptx_thread() % GROUP == 0) ptx_mbar_arrive(empty);
}

PTX_DEVICE void begin(const prefill_params &p, ptx_smem q, row_state &state) {
    const prefill_tile t = tile_of_block(p);
    load_queries(p, t, q);
    load_state(p, t, state);
    ptx_bar_sync<CONSUMERS, CONSUMER_THREADS>(); /* the queries are here */
}

PTX_DEVICE void end(const prefill_params &p, ptx_smem q, const row_state &state) {
    const prefill_tile t = tile_of_block(p);
    if (p.a.is_last)
        store_attended(p, t, state, q);
    else
        store_state(p, t, state);
}

/* Every page of the block, also those at its end that only the rows of other warpgroups see: a way
 * around them costs registers that are not there, and is worth a page in the longest walks of a
 * million keys. */
PTX_DEVICE void consume(const prefill_params &p, ptx_smem smem) {
    const ptx_smem q = smem + Q_AT + (ptx_smem)(ptx_thread() / GROUP * Q_GROUP_BYTES);
    row_state state;
    begin(p, q, state);
    const prefill_tile t = tile_of_block(p);
    const int seen = p.pos + t.token + row_of(0) + 1; /* keys, by this thread's first row */
    const int seen_by_all =
            p.pos + t.token + ptx_thread() / GROUP * GROUP_ROWS + 1; /* of its warpgroup */
    for (int page = 0; page < t.n_pages; page++) {
        const ptx_smem bars = smem + stage_of(page) * 8;
        const ptx_smem k = smem + K_AT + stage_of(page) * TILE_BYTES;
        const ptx_smem v = k + (V_AT - K_AT);
        const int n_keys = p.n_keys - page * KEYS;
        uint32_t weights[KEYS / 16][4];
        float s[64];
        ptx_mbar_wait(bars + FULL_K_AT, parity_of(page));
        multiply_keys(q, k, s);
        release(bars + EMPTY_K_AT);
        if (seen_by_all - page * KEYS < KEYS || n_keys < KEYS) mask(s, seen - page * KEYS, n_keys);
        weigh(s, state, weights, p.scale);
        ptx_mbar_wait(bars + FULL_V_AT, parity_of(page));
        if (n_keys < KEYS) clear_values(v, n_keys);
        multiply_values(v, weights, state.out);
        release(bars + EMPTY_V_AT);
    }
    end(p, q, state);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static __global__ void __launch_bounds__(THREADS, 1)
        attn_prefill_sm90_kernel(const prefill_params p) {
    const ptx_smem smem = ptx_smem_base();
    if (ptx_thread() == CONSUMER_THREADS) {
        for (int stage = 0; stage < N_STAGES; stage++) {
            ptx_mbar_init(smem + FULL_K_AT + stage * 8, 1);
            ptx_mbar_init(smem + FULL_V_AT + stage * 8, 1);
            ptx_mbar_init(smem + EMPTY_K_AT + stage * 8, N_CONSUMERS);
            ptx_mbar_init(smem + EMPTY_V_AT + stage * 8, N_CONSUMERS);
        }
        ptx_fence_mbar_init();
    }
    ptx_syncthreads();
    if (ptx_thread() / GROUP == N_CONSUMERS) {
        ptx_registers_give<PRODUCER_REGISTERS>();
        if (ptx_thread() == CONSUMER_THREADS) produce(p, tile_of_block(p), smem);
    } else {
        ptx_registers_take<CONSUMER_REGISTERS>();
        consume(p, smem);
    }
}

} // namespace

rt_status attn_cuda_prefill_sm90(
        const attn_shape *shape, const attn_cuda_prefill_args *args, rt_stream stream) {
    if (args->n_tokens == 0) return RT_OK;
    rt_assert(args->first_pos % PAGE == 0 && args->n_keys >= 0 && args->pos >= 0);
    rt_assert(args->n_keys <= TOKENS_MAX && args->n_tokens <= TOKENS_MAX);
    rt_assert(llabs(args->pos - args->first_pos) <= TOKENS_MAX);
    const int64_t n_tiles = (args->n_tokens + ROWS - 1) / ROWS;
    const prefill_params params = {*args, shape->n_heads, shape->n_heads / shape->n_kv_heads,
            (int32_t)args->n_tokens, (int32_t)args->n_keys, (int32_t)(args->pos - args->first_pos),
            (int32_t)n_tiles, (float)(1.4426950408889634 / sqrt((double)HEAD_DIM))};
    const ptx_grid grid = {n_tiles * shape->n_heads, 1, THREADS, SMEM_BYTES};
    const char *why = ptx_launch(attn_prefill_sm90_kernel, grid, stream, params);
    if (why)
        return rt_fail(RT_EDEVICE, "attention: prefill of %lld tokens over %lld keys: %s",
                (long long)args->n_tokens, (long long)args->n_keys, why);
    return RT_OK;
}
