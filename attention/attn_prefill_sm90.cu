/* Prefill attention for Hopper: a block an SM, each with many tiles of one query head and 128 query
 * rows; a tile walks the keys page by page, in ascending order, as attn_sm90.cuh says.
 *
 * Between two tiles the products go on: the first S of the next one is queued with the last O += P V of the one
 * before, whose rows are stored behind that. Of the third warpgroup each warp has its own part:
 *
 *   warp 0     the pages, as far ahead as there are stages
 *   warp 1     the next tile's queries, as soon as the consumers hold the last one's in registers
 *   warps 2, 3 rows that a consumer warpgroup has left in shared memory, to where they belong
 *
 *   full_q, empty_q       warp 1 -> each consumer warp -> warp 1
 *   full_out, empty_out   of a consumer warpgroup: its warps -> warp 2 or 3 -> its warps
 *
 * 192 KiB of shared memory, one block an SM; S 64, P 32, O 64 and Q 32 of 240 registers.
 *
 * Round i of the blocks has tiles n_blocks i and on; even rounds go up and odd ones back down, so that
 * each block gets as many keys of a descending sequence as the others.
 *
 * 4 x 128 FLOP a row and key; 512 bytes a key from L2 for each 128 rows. */
#include "attn_sm90.cuh"

#include "attn_prefill.cuh"

namespace {

struct block : sm90_block<2, 2> {
    enum {
        HOLDS_QUERIES = true,
        HAS_CEILINGS = true,
        KEYS_AHEAD = true,
        VALUES_FIRST = 3,
        TURN_AHEAD = 2,
        CONSUMER_WARPS = CONSUMER_THREADS / WARP,
        FULL_Q_AT = sm90_block::END_AT,
        EMPTY_Q_AT = FULL_Q_AT + 8,
        FULL_OUT_AT = EMPTY_Q_AT + 8, /* one a consumer warpgroup, as of */
        EMPTY_OUT_AT = FULL_OUT_AT + N_CONSUMERS * 8,
        OUT_AT = (EMPTY_OUT_AT + N_CONSUMERS * 8 + ROW_BYTES - 1) / ROW_BYTES * ROW_BYTES, /* rows as of queries */
        END_AT = OUT_AT + N_CONSUMERS * Q_GROUP_BYTES
    };
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

/* Whether this block has a tile in a round. Walks get no longer with the round: those without pages come last. */
PTX_DEVICE bool is_tile(const prefill_params &p, int round) {
    return tile_of_round(p, round) < p.n_tiles;
}
/* As tile_of(), computed again at the place. */
PTX_DEVICE prefill_tile tile_here(const prefill_params &p, int round) {
    return tile_of(p, tile_of_round(p, (int)ptx_here((uint32_t)round)));
}

/* Parity of the phase in which a round's queries are full, or its rows are. */
PTX_DEVICE uint32_t parity_of_round(int round) {
    return (uint32_t)round & 1u;
}

/* As ptx_thread() and row_of(), computed again at each place: what is not kept through a walk leaves its registers
 * to the queries. */
PTX_DEVICE int thread_here() {
    return (int)ptx_here((uint32_t)ptx_thread());
}
PTX_DEVICE int row_here(int h) {
    return thread_here() / WARP * 16 + thread_here() % WARP / 4 + 8 * h;
}

/* Of what all lanes of the warp have read or written. */
PTX_DEVICE void arrive_as_warp(ptx_smem bar) {
    ptx_syncwarp();
    if (EVERY_LANE || thread_here() % WARP == 0) ptx_mbar_arrive(bar);
}

/* ---- the third warpgroup --------------------------------------------------------------------- */

PTX_DEVICE void produce_pages(const prefill_params &p, ptx_smem smem) {
    uint32_t slot = 0;
    for (int round = 0; is_tile(p, round); round++) {
        const prefill_tile t = tile_of(p, tile_of_round(p, round));
        fetch_pages<block>(t.walk, smem, slot);
    }
}

/* A tile's queries, 64 rows after one another for each consumer warpgroup; rows past the last are zero. */
PTX_DEVICE void fetch_queries(const prefill_params &p, const prefill_tile &t, ptx_smem smem) {
    enum { CHUNKS = HEAD_DIM / CHUNK_NUMBERS, ROWS_AT_ONCE = WARP / CHUNKS };
    const int lane = ptx_thread() % WARP, chunk = lane % CHUNKS;
    const uint16_t *const from = p.a.q + (int64_t)t.token * p.a.q_stride + t.head * HEAD_DIM + chunk * CHUNK_NUMBERS;
#pragma unroll 1
    for (int row = lane / CHUNKS; row < block::ROWS; row += ROWS_AT_ONCE) {
        const ptx_smem q = smem + (ptx_smem)(block::Q_AT + row / GROUP_ROWS * Q_GROUP_BYTES);
        const bool is_row = row < t.n_rows;
        ptx_cp_async(q + tile_at(row % GROUP_ROWS, chunk, Q_HALF_BYTES),
                from + (is_row ? row : 0) * p.a.q_stride, is_row ? 16 : 0);
    }
    wait_for_queries();
}

PTX_DEVICE void produce_queries(const prefill_params &p, ptx_smem smem) {
    for (int round = 0; is_tile(p, round); round++) {
        const prefill_tile t = tile_of(p, tile_of_round(p, round));
        if (t.walk.n_steps == 0) break;
        ptx_mbar_wait(smem + block::EMPTY_Q_AT, parity_of_round(round) ^ 1u);
        fetch_queries(p, t, smem);
        arrive_as_warp(smem + block::FULL_Q_AT);
    }
}

/* The rows of consumer warpgroup `group`. */
PTX_DEVICE void store_rows(const prefill_params &p, const prefill_tile &t, int group, ptx_smem rows) {
    enum { CHUNKS = HEAD_DIM / CHUNK_NUMBERS, ROWS_AT_ONCE = WARP / CHUNKS };
    const int lane = thread_here() % WARP, chunk = lane % CHUNKS;
    const int left = t.n_rows - group * GROUP_ROWS;
    const int64_t stride = (int64_t)p.n_heads * HEAD_DIM;
    int row = lane / CHUNKS;
    uint16_t *to = p.a.attended + (t.token + group * GROUP_ROWS + row) * stride + t.head * HEAD_DIM + chunk * CHUNK_NUMBERS;
#pragma unroll 1
    for (; row < GROUP_ROWS && row < left; row += ROWS_AT_ONCE, to += ROWS_AT_ONCE * stride)
        *(uint4 *)to = ptx_lds128(rows + tile_at(row, chunk, Q_HALF_BYTES));
}

PTX_DEVICE void consume_rows(const prefill_params &p, int group, ptx_smem smem) {
    if (!p.a.is_last) return;
    for (int round = 0; is_tile(p, round); round++) {
        ptx_mbar_wait(smem + (ptx_smem)(block::FULL_OUT_AT + group * 8), parity_of_round(round));
        store_rows(p, tile_of(p, tile_of_round(p, round)), group,
                smem + (ptx_smem)(block::OUT_AT + group * Q_GROUP_BYTES));
        arrive_as_warp(smem + (ptx_smem)(block::EMPTY_OUT_AT + group * 8));
    }
}

/* ---- the consumers --------------------------------------------------------------------------- */

/* As row_limits, which would be registers that a walk has none for. */
struct tile_limits {
    int first; /* keys before the one that is the tile's row 0's own, and that */
    int n_keys;
    int least;
};
PTX_DEVICE int seen_by(const tile_limits &limits, int h) {
    const int seen = limits.first + row_here(h);
    return seen < limits.n_keys ? seen : limits.n_keys;
}
PTX_DEVICE tile_limits limits_of(const prefill_params &p, const prefill_tile &t) {
    const int first = p.pos + t.token + 1;
    const int group = first + warpgroup() * GROUP_ROWS;
    return {first, p.n_keys, group < p.n_keys ? group : p.n_keys};
}

/* A round's queries, into registers. */
PTX_DEVICE void take_queries(int round, ptx_smem smem, held_queries &held) {
    ptx_mbar_wait(smem + block::FULL_Q_AT, parity_of_round(round));
    hold_queries(queries_of<block>(smem), held);
    arrive_as_warp(smem + block::EMPTY_Q_AT);
}

PTX_DEVICE void load_state(const prefill_params &p, const prefill_tile &t, row_state &state) {
    clear_state(state);
    if (p.a.is_first) return;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (row_here(h) >= t.n_rows) continue;
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

/* Normalised rows, left in shared memory for the warp that stores them. */
PTX_DEVICE void leave_rows(const prefill_params &p, const prefill_tile &t, int round, ptx_smem smem,
        const row_state &state) {
    const int group = thread_here() / GROUP, lane = thread_here() % WARP;
    const int row = thread_here() % GROUP / WARP * 16 + lane / 4; /* in the warpgroup */
    const ptx_smem rows = smem + (ptx_smem)(block::OUT_AT + group * Q_GROUP_BYTES);
    ptx_mbar_wait(smem + (ptx_smem)(block::EMPTY_OUT_AT + group * 8), parity_of_round(round) ^ 1u);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float inverse = state.sum[h] > 0.0f ? 1.0f / state.sum[h] : 0.0f;
        const uint32_t chunk = tile_chunk(row + 8 * h, 0) + (uint32_t)(lane % 4 * 4);
#pragma unroll
        for (int j = 0; j < HEAD_DIM / 8; j++)
            ptx_sts32(rows + (chunk ^ (uint32_t)(j % 8 * 16)) + j / 8 * Q_HALF_BYTES,
                    ptx_pack_bf16(state.out[4 * j + 2 * h] * inverse,
                            state.out[4 * j + 2 * h + 1] * inverse));
        if (p.a.lse && lane % 4 == 0 && row_here(h) < t.n_rows)
            p.a.lse[(int64_t)(t.token + row_here(h)) * p.n_heads + t.head] =
                    (state.max[h] + ptx_log2(state.sum[h])) * 0.6931471805599453f;
    }
    arrive_as_warp(smem + (ptx_smem)(block::FULL_OUT_AT + group * 8));
}

PTX_DEVICE void end(const prefill_params &p, const prefill_tile &t, int round, ptx_smem smem, const row_state &state) {
    if (p.a.is_last)
        leave_rows(p, t, round, smem, state);
    else
        store_state(p, t, state);
}

/* Whether this block has a tile in a round, with pages. */
PTX_DEVICE bool is_walk(const prefill_params &p, int round) {
    return is_tile(p, round) && tile_of(p, tile_of_round(p, round)).walk.n_steps > 0;
}

/* All of the block's tiles with pages; the number of the round behind them. */
PTX_DEVICE int walk_tiles(const prefill_params &p, ptx_smem smem, row_state &state) {
    walking on;
    int round = 0;
    prefill_tile t = tile_of(p, tile_of_round(p, 0)), last;
    tile_limits limits = limits_of(p, t);
    if (t.walk.n_steps == 0) return 0;
    bool is_more = is_walk(p, 1);
    on.here = 0;
    load_state(p, t, state);
    take_queries(0, smem, on.held);
    first_step<block>(t.walk, limits, p.scale, smem, on, state);
    for (;; round++) {
        other_steps<block>(t.walk, limits, p.scale, smem, on, state);
        if (!is_more) break;
        take_queries(round + 1, smem, on.held);
        const auto arrange = [&] {
            last = tile_here(p, round);
            t = tile_of(p, tile_of_round(p, round + 1));
            limits = limits_of(p, t);
            is_more = is_walk(p, round + 2);
        };
        const auto change = [&] {
            end(p, last, round, smem, state);
            load_state(p, t, state);
        };
        first_step_behind<block>(t.walk, limits, p.scale, smem, on, state, arrange, change);
    }
    last_values<block>(smem, on, state);
    end(p, tile_here(p, round), round, smem, state);
    return round + 1;
}

PTX_DEVICE void consume(const prefill_params &p, ptx_smem smem) {
    row_state state;
    begin_turns<block>();
    for (int round = walk_tiles(p, smem, state); is_tile(p, round); round++) { /* no row of those sees a key */
        const prefill_tile t = tile_of(p, tile_of_round(p, round));
        load_state(p, t, state);
        end(p, t, round, smem, state);
    }
    end_turns<block>();
}

/* ---- the kernel ------------------------------------------------------------------------------ */

PTX_DEVICE void init_all_barriers(ptx_smem smem) {
    ptx_mbar_init(smem + block::FULL_Q_AT, OF_A_WARP);
    ptx_mbar_init(smem + block::EMPTY_Q_AT, block::CONSUMER_WARPS * OF_A_WARP);
    for (int group = 0; group < block::N_CONSUMERS; group++) {
        ptx_mbar_init(smem + (ptx_smem)(block::FULL_OUT_AT + group * 8), GROUP / WARP * OF_A_WARP);
        ptx_mbar_init(smem + (ptx_smem)(block::EMPTY_OUT_AT + group * 8), OF_A_WARP);
    }
    init_barriers<block>(smem);
}

static __global__ void __launch_bounds__(block::THREADS, 1)
        attn_prefill_sm90_kernel(const prefill_params p) {
    const ptx_smem smem = ptx_smem_base();
    if (ptx_thread() == block::CONSUMER_THREADS) init_all_barriers(smem);
    ptx_syncthreads();
    const int warp = ptx_of_warp(ptx_thread() / WARP); /* of the producers' warpgroup: 8 and on */
    if (warp >= block::CONSUMER_WARPS) {
        ptx_registers_give<PRODUCER_REGISTERS>();
        if (warp == block::CONSUMER_WARPS) produce_pages(p, smem);
        if (warp == block::CONSUMER_WARPS + 1) produce_queries(p, smem);
        if (warp >= block::CONSUMER_WARPS + 2) consume_rows(p, warp - block::CONSUMER_WARPS - 2, smem);
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
