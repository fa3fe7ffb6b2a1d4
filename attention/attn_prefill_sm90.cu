/* Prefill attention for Hopper: a block an SM, each with many tiles of one query head and 128 query
 * rows; a tile walks the keys page by page, in ascending order.
 *
 *   producer warp      bulk copies of the tiles of K and of V, two pages ahead, over the ends of tiles
 *   2 consumer warpgroups, 64 rows each, a page j of theirs:
 *
 *     turn   S = Q K(j)^T   O += P V(j-1)   other's turn   |   softmax of S behind P V(j-1)   |   P
 *
 * Both products of a step are queued at once. While they run, the other warpgroup computes its softmax,
 * and each its own behind P V: the tensor cores have work as long as a softmax takes less than the
 * products of both. The turns, two named barriers, keep the two warpgroups half a step apart; numbers
 * do not depend on them.
 *
 *   full_k, full_v    the bytes are there       producer's expectation + the copies   -> consumers
 *   empty_k, empty_v  2 warpgroups have read    one thread of each, past its wait     -> producer
 *
 * Stages are counted on from tile to tile, so the next tile's first pages come while this one's rows
 * are stored. A page's tiles are the operands as they lie: K is K-major (N keys, K dims), V is MN-major
 * (N dims, K keys), both with the 128-byte swizzle; no tensor maps. P goes from accumulators to operand
 * registers by packing alone. 160 KiB of shared memory, one block an SM; S 64, P 32 and O 64 of 240
 * registers.
 *
 * Round i of the blocks has tiles n_blocks i and on; even rounds go up and odd ones back down, so that
 * each block gets as many keys of a descending sequence as the others.
 *
 * 4 x 128 FLOP a row and key; 512 bytes a key from L2 for each 128 rows. */
#include "ptx_sm90.cuh"

#include "attn_prefill.cuh"

namespace {

enum {
    GROUP = 4 * WARP,
    N_CONSUMERS = 2,
    CONSUMER_THREADS = N_CONSUMERS * GROUP,
    THREADS = CONSUMER_THREADS + GROUP,
    GROUP_ROWS = 64,
    ROWS = N_CONSUMERS * GROUP_ROWS,
    KEYS = PAGE,
    N_STAGES = 2,
    PRODUCER_REGISTERS = 24,
    CONSUMER_REGISTERS = 240,
    TURN = 1, /* named barriers, one a consumer warpgroup: it may queue its products */
    WITHIN = TURN + N_CONSUMERS, /* its threads alone */

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

/* Which rows and keys a tile has; positions are counted from a.first_pos. */
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

/* Number of this block's tile of a round; p.n_tiles or more: it has no more. */
PTX_DEVICE int tile_of_round(const prefill_params &p, int round) {
    const int block = (int)ptx_block_x();
    return round * p.n_blocks + (round % 2 ? p.n_blocks - 1 - block : block);
}

PTX_DEVICE prefill_tile tile_of(const prefill_params &p, int number) {
    prefill_tile t;
    t.kv_head = prefill_kv_head(p, number);
    t.head = prefill_head(p, number);
    t.token = prefill_token(p, number, ROWS);
    t.n_rows = p.n_tokens - t.token < ROWS ? p.n_tokens - t.token : ROWS;
    const int seen = p.pos + t.token + t.n_rows;
    const int end = seen < p.n_keys ? seen : p.n_keys;
    t.n_pages = end > 0 ? (end + KEYS - 1) / KEYS : 0;
    return t;
}

/* Stage and phase parity of the block's i-th page, counted over all its tiles. */
PTX_DEVICE uint32_t stage_of(int page) {
    return (uint32_t)page % N_STAGES;
}
PTX_DEVICE uint32_t parity_of(int page) {
    return (uint32_t)page / N_STAGES & 1u;
}

/* ---- the producer: one warp ------------------------------------------------------------------ */

/* Rows of a tile past the first n_rows -> 0, for 0 x NaN is NaN. */
PTX_DEVICE void clear_rows(ptx_smem tile, int n_rows) {
    for (int half = 0; half < 2; half++)
        for (int at = n_rows * ROW_BYTES + ptx_thread() % WARP * 16; at < TILE_HALF_BYTES;
                at += WARP * 16)
            ptx_sts128(tile + (ptx_smem)(half * TILE_HALF_BYTES + at), make_uint4(0, 0, 0, 0));
    ptx_fence_async(); /* wgmma will read what was stored the ordinary way */
    ptx_syncwarp();
}

/* The first n_rows rows of a tile, for the block's page `count`. */
PTX_DEVICE void fetch(ptx_smem smem, int full_at, int empty_at, int tiles_at, int count,
        const char *from, int n_rows) {
    const uint32_t stage = stage_of(count);
    const ptx_smem full = smem + full_at + stage * 8;
    const ptx_smem tile = smem + tiles_at + stage * TILE_BYTES;
    ptx_mbar_wait(smem + empty_at + stage * 8, parity_of(count) ^ 1u);
    if (n_rows < KEYS) clear_rows(tile, n_rows);
    if (ptx_thread() % WARP != 0) return;
    ptx_mbar_arrive_expect(full, 2 * n_rows * ROW_BYTES);
    for (int half = 0; half < 2; half++)
        ptx_bulk_load(tile + half * TILE_HALF_BYTES, from + half * TILE_HALF_BYTES,
                n_rows * ROW_BYTES, full);
}

PTX_DEVICE void produce(const prefill_params &p, ptx_smem smem) {
    int count = 0;
    for (int round = 0; tile_of_round(p, round) < p.n_tiles; round++) {
        const prefill_tile t = tile_of(p, tile_of_round(p, round));
        for (int page = 0; page < t.n_pages; page++, count++) {
            const char *keys = tile_of_keys(p.a.pages[page], t.kv_head);
            const int left = p.n_keys - page * KEYS;
            const int n_rows = left < KEYS ? left : KEYS;
            fetch(smem, FULL_K_AT, EMPTY_K_AT, K_AT, count, keys, n_rows);
            fetch(smem, FULL_V_AT, EMPTY_V_AT, V_AT, count, keys + TILE_BYTES, n_rows);
        }
    }
}

/* ---- the consumers --------------------------------------------------------------------------- */

PTX_DEVICE int warpgroup() {
    return ptx_thread() / GROUP;
}

/* Barriers: of the warpgroup's own threads; of whose turn it is to queue products. */
PTX_DEVICE int within() {
    return WITHIN + warpgroup();
}
PTX_DEVICE int my_turn() {
    return TURN + warpgroup();
}
PTX_DEVICE int other_turn() {
    return TURN + (warpgroup() ^ 1);
}

/* This warpgroup's 64 rows; rows past the last are zero. */
PTX_DEVICE void load_queries(const prefill_params &p, const prefill_tile &t, ptx_smem q) {
    const int first_row = warpgroup() * GROUP_ROWS;
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

/* Queued: s = Q K^T, not scaled. */
PTX_DEVICE void queue_keys(ptx_smem q, ptx_smem k, float (&s)[64]) {
    const uint64_t desc_q = ptx_desc(q, 16);
    const uint64_t desc_k = ptx_desc(k, 16);
    ptx_wgmma_fence();
#pragma unroll
    for (int dims = 0; dims < HEAD_DIM / 16; dims++) /* 32 bytes of a row on, or the other half */
        ptx_wgmma_qk(s, desc_q + (dims >> 2) * (Q_HALF_BYTES >> 4) + (dims & 3) * 2,
                desc_k + (dims >> 2) * (TILE_HALF_BYTES >> 4) + (dims & 3) * 2, dims > 0);
    ptx_wgmma_commit();
}

typedef uint32_t packed_weights[KEYS / 16][4];

/* Queued: out += P V. */
PTX_DEVICE void queue_values(ptx_smem v, const packed_weights &weights, float (&out)[64]) {
    const uint64_t desc_v = ptx_desc(v, TILE_HALF_BYTES);
    ptx_wgmma_fence();
#pragma unroll
    for (int keys = 0; keys < KEYS / 16; keys++)
        ptx_wgmma_pv(out, weights[keys], desc_v + keys * (16 * ROW_BYTES >> 4));
    ptx_wgmma_commit();
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

/* s -> weights 2^(scale s - max); the row's maximum and sum go on. What was summed before is to be
 * multiplied by `factor`; returns whether that is not 1 for some row of the thread. */
PTX_DEVICE bool weigh(float (&s)[64], row_state &state, float (&factor)[2], float scale) {
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
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float *weight = &s[4 * j + 2 * h + c];
                *weight = ptx_exp2(fmaf(*weight, scale, -base));
                sum += *weight;
            }
        state.sum[h] = fmaf(state.sum[h], factor[h], sum_of_row(sum));
    }
    return is_risen;
}

/* Where no row of the warp has risen, out is left alone: all its factors are 1. */
PTX_DEVICE void rescale(float (&out)[64], const float (&factor)[2], bool is_risen) {
    if (!ptx_any(is_risen)) return;
#pragma unroll
    for (int i = 0; i < 64; i++) out[i] *= factor[i / 2 % 2];
}

/* Accumulators are where operand A wants them. */
PTX_DEVICE void pack(const float (&s)[64], packed_weights &weights) {
#pragma unroll
    for (int keys = 0; keys < KEYS / 16; keys++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            weights[keys][i] = ptx_pack_bf16(s[8 * keys + 2 * i], s[8 * keys + 2 * i + 1]);
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
    ptx_bar_sync<GROUP>(within()); /* the queries are here, and have been read */
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

/* One thread for its warpgroup, which is past its wait. */
PTX_DEVICE void release(ptx_smem empty) {
    if (ptx_thread() % GROUP == 0) ptx_mbar_arrive(empty);
}

PTX_DEVICE void begin(
        const prefill_params &p, const prefill_tile &t, ptx_smem q, row_state &state) {
    ptx_bar_sync<GROUP>(
            within()); /* the last tile's rows have been read from where its queries were */
    load_queries(p, t, q);
    load_state(p, t, state);
}

PTX_DEVICE void end(
        const prefill_params &p, const prefill_tile &t, ptx_smem q, const row_state &state) {
    if (p.a.is_last)
        store_attended(p, t, state, q);
    else
        store_state(p, t, state);
}

/* Mask a page where some row of the warpgroup does not see all of it. */
PTX_DEVICE void mask_page(
        const prefill_params &p, const prefill_tile &t, int page, float (&s)[64]) {
    const int first = p.pos + t.token + 1 - page * KEYS; /* keys of the page, by the tile's row 0 */
    const int n_keys = p.n_keys - page * KEYS;
    if (first + warpgroup() * GROUP_ROWS < KEYS || n_keys < KEYS)
        mask(s, first + row_of(0), n_keys);
}

/* Every page of the tile, also one at its end that only the rows of the other warpgroup see: both take
 * as many turns. `count` is the block's number of the tile's first page. */
PTX_DEVICE void attend(const prefill_params &p, const prefill_tile &t, ptx_smem smem, ptx_smem q,
        int count, row_state &state) {
    packed_weights weights;
    float s[64], factor[2];
    const auto bar = [=](int at, int page) {
        return smem + (ptx_smem)at + stage_of(count + page) * 8;
    };
    const auto tile = [=](int at, int page) {
        return smem + (ptx_smem)at + stage_of(count + page) * TILE_BYTES;
    };
    const auto wait_for_keys = [&](int page) {
        if (page < t.n_pages) ptx_mbar_wait(bar(FULL_K_AT, page), parity_of(count + page));
    };
    wait_for_keys(0);
    ptx_bar_sync<CONSUMER_THREADS>(my_turn()); /* and the queries are here */
    queue_keys(q, tile(K_AT, 0), s);
    ptx_bar_arrive<CONSUMER_THREADS>(other_turn());
    ptx_wgmma_wait<0>();
    release(bar(EMPTY_K_AT, 0));
    mask_page(p, t, 0, s);
    bool is_risen = weigh(s, state, factor, p.scale);
    rescale(state.out, factor, is_risen);
    pack(s, weights);
    wait_for_keys(1);
    for (int page = 1; page < t.n_pages; page++) {
        ptx_bar_sync<CONSUMER_THREADS>(my_turn());
        queue_keys(q, tile(K_AT, page), s);
        ptx_mbar_wait(bar(FULL_V_AT, page - 1), parity_of(count + page - 1));
        queue_values(tile(V_AT, page - 1), weights, state.out);
        ptx_bar_arrive<CONSUMER_THREADS>(other_turn());
        ptx_wgmma_wait<1>(); /* s */
        release(bar(EMPTY_K_AT, page));
        mask_page(p, t, page, s);
        is_risen = weigh(s, state, factor, p.scale);
        ptx_settle(s);
        wait_for_keys(page + 1); /* here, it also keeps ptxas from moving the next wait up */
        ptx_wgmma_wait<0>();     /* out; the weights have been read */
        release(bar(EMPTY_V_AT, page - 1));
        rescale(state.out, factor, is_risen);
        pack(s, weights);
    }
    const int last = t.n_pages - 1;
    ptx_mbar_wait(bar(FULL_V_AT, last), parity_of(count + last));
    queue_values(tile(V_AT, last), weights, state.out);
    ptx_wgmma_wait<0>();
    release(bar(EMPTY_V_AT, last));
}

PTX_DEVICE void consume(const prefill_params &p, ptx_smem smem) {
    const ptx_smem q = smem + Q_AT + (ptx_smem)(warpgroup() * Q_GROUP_BYTES);
    int count = 0;
    if (warpgroup() == 1) ptx_bar_arrive<CONSUMER_THREADS>(other_turn()); /* the first begins */
    for (int round = 0; tile_of_round(p, round) < p.n_tiles; round++) {
        const prefill_tile t = tile_of(p, tile_of_round(p, round));
        row_state state;
        begin(p, t, q, state);
        if (t.n_pages > 0) attend(p, t, smem, q, count, state);
        count += t.n_pages;
        end(p, t, q, state);
    }
    if (warpgroup() == 0) ptx_bar_sync<CONSUMER_THREADS>(my_turn()); /* the last one given */
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
    if (warpgroup() == N_CONSUMERS) {
        ptx_registers_give<PRODUCER_REGISTERS>();
        if (ptx_thread() < CONSUMER_THREADS + WARP) produce(p, smem);
    } else {
        ptx_registers_take<CONSUMER_REGISTERS>();
        consume(p, smem);
    }
}

} // namespace

rt_status attn_cuda_prefill_sm90(
        const attn_shape *shape, const attn_cuda_prefill_args *args, rt_stream stream) {
    return prefill_launch(
            attn_prefill_sm90_kernel, {ROWS, THREADS, SMEM_BYTES, true}, shape, args, stream);
}
