/* Prefill attention for Hopper: a block an SM, each with many tiles of one query head and 128 query
 * rows; a tile walks the keys page by page, in ascending order, as attn_sm90.cuh says.
 *
 * 160 KiB of shared memory, one block an SM; S 64, P 32, O 64 and Q 32 of 240 registers.
 *
 * Round i of the blocks has tiles n_blocks i and on; even rounds go up and odd ones back down, so that
 * each block gets as many keys of a descending sequence as the others.
 *
 * 4 x 128 FLOP a row and key; 512 bytes a key from L2 for each 128 rows. */
#include "attn_sm90.cuh"

#include "attn_prefill.cuh"

namespace {

struct block : sm90_block<2, 2> {
    enum { HOLDS_QUERIES = true };
};
enum { PRODUCER_REGISTERS = 24, CONSUMER_REGISTERS = 240 };

/* Which rows and keys a tile has; positions are counted from a.first_pos. */
struct prefill_tile {
    int32_t head;
    int32_t token; /* of row 0, counted from a.pos */
    int32_t n_rows;
    page_walk walk; /* the pages that some row sees */
};

/* Number of this block's tile of a round; p.n_tiles or more: it has no more. */
PTX_DEVICE int tile_of_round(const prefill_params &p, int round) {
    const int here = (int)ptx_block_x();
    return round * p.n_blocks + (round % 2 ? p.n_blocks - 1 - here : here);
}

PTX_DEVICE prefill_tile tile_of(const prefill_params &p, int number) {
    prefill_tile t;
    t.head = prefill_head(p, number);
    t.token = prefill_token(p, number, block::ROWS);
    t.n_rows = p.n_tokens - t.token < block::ROWS ? p.n_tokens - t.token : block::ROWS;
    const int seen = p.pos + t.token + t.n_rows;
    const int end = seen < p.n_keys ? seen : p.n_keys;
    const int n_pages = end > 0 ? (end + KEYS - 1) / KEYS : 0;
    const int own = (p.pos + t.token) / PAGE; /* with open pages, of all of the tile's tokens */
    const int n_closed = p.a.open_pages && own < n_pages ? own : n_pages;
    t.walk = {p.a.pages, p.a.open_pages ? p.a.open_pages + (p.in_page + t.token) / PAGE : NULL,
            prefill_kv_head(p, number), p.n_keys, n_closed, n_closed, n_pages};
    return t;
}

PTX_DEVICE void produce(const prefill_params &p, ptx_smem smem) {
    uint32_t slot = 0;
    for (int round = 0; tile_of_round(p, round) < p.n_tiles; round++) {
        const prefill_tile t = tile_of(p, tile_of_round(p, round));
        fetch_pages<block>(t.walk, smem, slot);
    }
}

/* ---- the consumers --------------------------------------------------------------------------- */

/* As ptx_thread() and row_of(), computed again at each place: what is not kept through a walk leaves its registers
 * to the queries. */
PTX_DEVICE int thread_here() {
    return (int)ptx_here((uint32_t)ptx_thread());
}
PTX_DEVICE int row_here(int h) {
    return thread_here() / WARP * 16 + thread_here() % WARP / 4 + 8 * h;
}

PTX_DEVICE row_limits limits_of(const prefill_params &p, const prefill_tile &t) {
    const int first = p.pos + t.token + 1; /* keys seen by the tile's row 0 */
    const int group = first + warpgroup() * GROUP_ROWS;
    const int low = first + row_of(0), high = first + row_of(1);
    return {{low < p.n_keys ? low : p.n_keys, high < p.n_keys ? high : p.n_keys},
            group < p.n_keys ? group : p.n_keys};
}

/* This warpgroup's 64 rows; rows past the last are zero. */
PTX_DEVICE void load_queries(const prefill_params &p, const prefill_tile &t, ptx_smem q) {
    const int first_row = thread_here() / GROUP * GROUP_ROWS;
    for (int i = thread_here() % GROUP; i < GROUP_ROWS * HEAD_DIM / CHUNK_NUMBERS; i += GROUP) {
        const int row = i / (HEAD_DIM / CHUNK_NUMBERS);
        const int chunk = i % (HEAD_DIM / CHUNK_NUMBERS);
        const bool is_row = first_row + row < t.n_rows;
        const int64_t token = t.token + (is_row ? first_row + row : 0);
        const uint16_t *from =
                p.a.q + token * p.a.q_stride + t.head * HEAD_DIM + chunk * CHUNK_NUMBERS;
        ptx_cp_async(q + tile_at(row, chunk, Q_HALF_BYTES), from, is_row ? 16 : 0);
    }
    wait_for_queries();
}

PTX_DEVICE void load_state(const prefill_params &p, const prefill_tile &t, row_state &state) {
    clear_state(state);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (p.a.is_first || row_here(h) >= t.n_rows) continue;
        const int64_t at = (int64_t)(t.token + row_here(h)) * p.n_heads + t.head;
        state.max[h] = p.a.max[at];
        state.sum[h] = p.a.sum[at];
        const float *out = p.a.out + at * HEAD_DIM + thread_here() % 4 * 2;
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
        if (row_here(h) >= t.n_rows) continue;
        const int64_t at = (int64_t)(t.token + row_here(h)) * p.n_heads + t.head;
        if (thread_here() % 4 == 0) {
            p.a.max[at] = state.max[h];
            p.a.sum[at] = state.sum[h];
        }
        float *out = p.a.out + at * HEAD_DIM + thread_here() % 4 * 2;
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
    const int lane = thread_here() % WARP;
    const int warp_row = thread_here() % GROUP / WARP * 16; /* in the warpgroup's queries */
    ptx_bar_sync<GROUP>(within<block>()); /* the queries are here, and have been read */
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
        if (p.a.lse && lane % 4 == 0 && row_here(h) < t.n_rows)
            p.a.lse[(int64_t)(t.token + row_here(h)) * p.n_heads + t.head] =
                    (state.max[h] + ptx_log2(state.sum[h])) * 0.6931471805599453f;
    }
    ptx_syncwarp();
    for (int i = lane; i < 16 * HEAD_DIM / CHUNK_NUMBERS; i += WARP) {
        const int row = warp_row + i / (HEAD_DIM / CHUNK_NUMBERS);
        const int chunk = i % (HEAD_DIM / CHUNK_NUMBERS);
        const int tile_row = thread_here() / GROUP * GROUP_ROWS + row;
        if (tile_row >= t.n_rows) return;
        const int64_t at = ((int64_t)(t.token + tile_row) * p.n_heads + t.head) * HEAD_DIM;
        *(uint4 *)(p.a.attended + at + chunk * CHUNK_NUMBERS) =
                ptx_lds128(q + tile_at(row, chunk, Q_HALF_BYTES));
    }
}

PTX_DEVICE void begin(
        const prefill_params &p, const prefill_tile &t, ptx_smem q, row_state &state) {
    /* The last tile's rows have been read from where its queries were. */
    ptx_bar_sync<GROUP>(within<block>());
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

PTX_DEVICE void consume(const prefill_params &p, ptx_smem smem) {
    const ptx_smem q = queries_of<block>(smem);
    uint32_t slot = 0;
    begin_turns<block>();
    for (int round = 0; tile_of_round(p, round) < p.n_tiles; round++) {
        const prefill_tile t = tile_of(p, tile_of_round(p, round));
        row_state state;
        begin(p, t, q, state);
        if (t.walk.n_steps > 0) attend<block>(t.walk, limits_of(p, t), p.scale, smem, slot, state);
        end(p, t, q, state);
    }
    end_turns<block>();
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static __global__ void __launch_bounds__(block::THREADS, 1)
        attn_prefill_sm90_kernel(const prefill_params p) {
    const ptx_smem smem = ptx_smem_base();
    if (ptx_thread() == block::CONSUMER_THREADS) init_barriers<block>(smem);
    ptx_syncthreads();
    if (warpgroup() == block::N_CONSUMERS) {
        ptx_registers_give<PRODUCER_REGISTERS>();
        if (ptx_thread() < block::CONSUMER_THREADS + WARP) produce(p, smem);
    } else {
        ptx_registers_take<CONSUMER_REGISTERS>();
        consume(p, smem);
    }
}

} // namespace

rt_status attn_cuda_prefill_sm90(
        const attn_shape *shape, const attn_cuda_prefill_args *args, rt_stream stream) {
    return prefill_launch(attn_prefill_sm90_kernel,
            {block::ROWS, block::THREADS, block::END_AT, true}, shape, args, stream);
}
