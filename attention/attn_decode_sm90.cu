/* Decode attention for Hopper: 1 to 16 query tokens of each sequence against all of its keys.
 *
 * A tile is one KV head, one split of 4096 keys and up to 128 query rows of the KV head, the (8 or 16) query
 * heads of each query token, as rows of one or two consumer warpgroups; it walks its pages as
 * attn_sm90.cuh says, masked row by row where a page is not all before the row's token. Tiles are dealt to
 * the blocks in turn, those that share pages side by side.
 *
 * A page is 64 KiB, for which an SM's share of an H200's memory takes 3400 cycles; the products of 128 rows
 * take 2048, rows that are not there included, and the softmax 1060 of another kind beside them. So memory
 * binds with 8 rows as with 128. Three pages, 192 KiB, are in flight or in use a block; it is the only one on
 * its SM. The next tile's pages come while this one's states are stored; a kernel of its own merges them behind this
 * one (attn_merge_sm90.cuh).
 *
 * Pages of e4m3 (attn_fp8.h) are widened in shared memory, to what their codes say, by warpgroups of their own
 * (attn_widen_sm90.cuh); the one or two pages in which the query tokens lie are bf16. An SM's share of 32 KiB takes
 * 1700 cycles; widening 830 issue slots beside 530 of 64 rows, and 1660 cycles of shared memory: two roofs side
 * by side. Of 128 rows the products alone take 2048, and shared memory 2300.
 *
 * Splits begin at absolute multiples of 4096, and their states are merged in an order that depends on nothing else:
 * what a row's bits are depends neither on what it shares a pass with, nor on how many blocks or calls there are. */
#include "attn_merge_sm90.cuh"
#include "attn_widen_sm90.cuh"

#include <math.h>

namespace {

enum { SPLIT_PAGES = SPLIT / PAGE };
static_assert(SPLIT % PAGE == 0, "a split is whole pages");

/* A block that reads bf16 pages, or e4m3 ones; registers of the warpgroups that consume, widen and copy. A block of
 * two has enough for whatever they want. */
template <int N_CONSUMERS, bool FP8> struct decode_block : sm90_block<N_CONSUMERS, 3> {
    enum {
        IS_FP8 = false,
        HAS_SHARES = N_CONSUMERS > 1,
        CONSUMER_REGISTERS = 240,
        COPIER_REGISTERS = 24,
        COPIER = N_CONSUMERS * GROUP,
        SMEM_BYTES = sm90_block<N_CONSUMERS, 3>::END_AT
    };
};
template <int N_CONSUMERS> struct decode_block<N_CONSUMERS, true> : widened_block<N_CONSUMERS> {
    enum {
        IS_FP8 = true,
        HAS_SHARES = true,
        CONSUMER_REGISTERS = N_CONSUMERS > 1 ? 200 : 240,
        WIDENER_REGISTERS = N_CONSUMERS > 1 ? 80 : 112,
        COPIER_REGISTERS = 24,
        SMEM_BYTES = widened_block<N_CONSUMERS>::END_AT
    };
};

/* What a tile is. Keys are counted from the start of the split. */
struct decode_tile {
    int32_t seq;
    int32_t row_block;
    int32_t split;
    int32_t n_splits; /* of the sequence */
    int32_t n_rows;   /* of the tile */
    int32_t first_seen; /* keys that query token 0 sees, clipped to 2 SPLIT; each later one sees one more */
    int64_t tile; /* its place among those of scratch */
    page_walk walk;
};

PTX_DEVICE int32_t clip(int64_t n_keys) {
    return n_keys < -SPLIT ? -SPLIT : n_keys < 2 * SPLIT ? (int32_t)n_keys : 2 * SPLIT;
}

PTX_DEVICE int clip_pages(int64_t n_pages, int n_max) {
    return n_pages < 0 ? 0 : n_pages < n_max ? (int)n_pages : n_max;
}

/* Of n_pages pages of a split: e4m3 ones, those before the last query token's, and the one or two in which the
 * query tokens lie. */
PTX_DEVICE void open_pages_of(const decode_params &p, int64_t length, decode_tile &t, int n_pages) {
    const int64_t split_page = (int64_t)t.split * SPLIT_PAGES;
    const int64_t first = (length - p.a.n_queries) / PAGE - split_page;
    const int64_t last = (length - 1) / PAGE - split_page;
    t.walk.n_closed = clip_pages(last, n_pages);
    t.walk.first_open = clip_pages(first, n_pages);
    t.walk.open_pages = p.a.open_pages[t.seq] + (t.walk.first_open - first);
    t.walk.n_steps = t.walk.n_closed + clip_pages(last + 1, n_pages) - t.walk.first_open;
}

/* Tiles of a block, those that there are: a sequence has as many as it has splits, whatever there is room for. */
struct tile_cursor {
    int32_t number; /* of the tile, through all sequences */
    int32_t seq;
    int32_t first; /* of the sequence's */
};

PTX_DEVICE tile_cursor first_tile() {
    return {(int32_t)ptx_block_x(), 0, 0};
}

/* The same, so that what it tells is found out anew. */
PTX_DEVICE tile_cursor here_again(const tile_cursor &c) {
    return {(int32_t)ptx_here((uint32_t)c.number), c.seq, c.first};
}

/* To the sequence that has the tile; whether one has. */
PTX_DEVICE bool find_tile(const decode_params &p, tile_cursor &c) {
    for (; c.seq < p.a.n_seqs; c.seq++) {
        const int32_t left = splits_of_length(p.a.lengths[c.seq]) - p.first_split;
        const int32_t n_splits = left < 0 ? 0 : left < p.n_splits ? left : p.n_splits;
        const int32_t end = c.first + n_splits * p.n_kv_heads * p.n_row_blocks;
        if (c.number < end) return true;
        c.first = end;
    }
    return false;
}

template <class BLOCK> PTX_DEVICE decode_tile tile_of(const decode_params &p, tile_cursor c) {
    decode_tile t;
    const int number = c.number - c.first;
    t.row_block = number % p.n_row_blocks;
    const int of_head = number / p.n_row_blocks;
    const int kv_head = of_head % p.n_kv_heads;
    t.split = p.first_split + of_head / p.n_kv_heads;
    t.seq = c.seq;
    const int64_t head = (int64_t)t.seq * p.n_kv_heads + kv_head;
    t.tile = (head * p.n_row_blocks + t.row_block) * p.n_splits_max + t.split;
    const int left = p.n_rows - t.row_block * ATTN_SM90_ROWS;
    t.n_rows = left < ATTN_SM90_ROWS ? left : ATTN_SM90_ROWS;
    const int64_t length = p.a.lengths[t.seq];
    const int64_t first = (int64_t)t.split * SPLIT;
    t.n_splits = splits_of_length(length);
    t.first_seen = clip(length - p.a.n_queries + 1 - first);
    const int32_t n_keys = length <= first          ? 0
                           : length - first < SPLIT ? (int32_t)(length - first)
                                                    : SPLIT;
    const int n_pages = (n_keys + PAGE - 1) / PAGE;
    t.walk = {p.a.pages[t.seq] + (int64_t)t.split * SPLIT_PAGES, NULL, kv_head, n_keys, n_pages,
            n_pages, n_pages};
    if (BLOCK::IS_FP8) open_pages_of(p, length, t, n_pages);
    return t;
}

/* Query token of a row of the tile; past the last row, the last one. */
PTX_DEVICE int token_of(const decode_params &p, const decode_tile &t, int row) {
    const int token = (t.row_block * ATTN_SM90_ROWS + row) / p.group;
    return token < p.a.n_queries ? token : p.a.n_queries - 1;
}

/* (token, head) of a row, counted through all sequences'. */
PTX_DEVICE int64_t place_of(const decode_params &p, const decode_tile &t, int row) {
    return place_of_row(p, t.seq, t.walk.kv_head, t.row_block * ATTN_SM90_ROWS + row);
}

PTX_DEVICE row_limits limits_of(const decode_params &p, const decode_tile &t) {
    return {{t.first_seen + token_of(p, t, row_of(0)), t.first_seen + token_of(p, t, row_of(1))},
            t.first_seen + token_of(p, t, warpgroup() * GROUP_ROWS)};
}

/* This warpgroup's 64 rows; rows past the last are zero. */
PTX_DEVICE void load_queries(const decode_params &p, const decode_tile &t, ptx_smem q) {
    const int first_row = warpgroup() * GROUP_ROWS;
    for (int i = ptx_thread() % GROUP; i < GROUP_ROWS * HEAD_DIM / CHUNK_NUMBERS; i += GROUP) {
        const int row = i / (HEAD_DIM / CHUNK_NUMBERS);
        const int chunk = i % (HEAD_DIM / CHUNK_NUMBERS);
        const bool is_row = first_row + row < t.n_rows;
        const int64_t place = place_of(p, t, is_row ? first_row + row : 0);
        const uint16_t *from = p.a.q + place / p.n_heads * p.a.q_stride +
                               place % p.n_heads * HEAD_DIM + chunk * CHUNK_NUMBERS;
        ptx_cp_async(q + tile_at(row, chunk, Q_HALF_BYTES), from, is_row ? 16 : 0);
    }
    wait_for_queries();
    ptx_fence_async(); /* wgmma will read them */
}

/* ---- states ---------------------------------------------------------------------------------- */

/* Of a sequence of one split: the result. */
PTX_DEVICE void store_rows(const decode_params &p, const decode_tile &t, const row_state &state) {
    const int quad = ptx_thread() % 4;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (row_of(h) >= t.n_rows) continue;
        const int64_t place = place_of(p, t, row_of(h));
        const float inverse = inverse_of(state.sum[h]);
        uint32_t *to = (uint32_t *)(p.a.attended + place * HEAD_DIM) + quad;
#pragma unroll
        for (int j = 0; j < HEAD_DIM / 8; j++)
            to[4 * j] = ptx_pack_bf16(
                    state.out[4 * j + 2 * h] * inverse, state.out[4 * j + 2 * h + 1] * inverse);
        if (quad == 0) store_lse(p, place, state.max[h], state.sum[h]);
    }
}

/* A split's state, to be merged. Nobody waits for anything here: the next kernel sees it all. */
PTX_DEVICE void store_part(const decode_params &p, const decode_tile &t, const row_state &state) {
    const int quad = ptx_thread() % 4;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (row_of(h) >= t.n_rows) continue;
        const int64_t at = t.tile * p.n_block_rows + row_of(h);
        float *out = p.part_out + at * HEAD_DIM + quad * 2;
#pragma unroll
        for (int j = 0; j < HEAD_DIM / 8; j++)
            ptx_store_shared_float2(
                    out + 8 * j, float2{state.out[4 * j + 2 * h], state.out[4 * j + 2 * h + 1]});
        if (quad != 0) continue;
        ptx_store_shared_float(p.part_max + at, state.max[h]);
        ptx_store_shared_float(p.part_sum + at, state.sum[h]);
        const int64_t head = (int64_t)t.seq * p.n_kv_heads + t.walk.kv_head;
        ptx_count(p.tickets + head * p.n_rows + t.row_block * ATTN_SM90_ROWS + row_of(h));
    }
}

/* ---- the kernel ------------------------------------------------------------------------------ */

/* One warp; of pages of e4m3, one thread. */
template <class BLOCK> PTX_DEVICE void produce(const decode_params &p, ptx_smem smem) {
    uint32_t slot = 0;
    for (tile_cursor c = first_tile(); find_tile(p, c); c.number += p.n_blocks) {
        const decode_tile t = tile_of<BLOCK>(p, c);
        if constexpr (BLOCK::IS_FP8)
            copy_units<BLOCK>(t.walk, smem, slot);
        else
            fetch_pages<BLOCK>(t.walk, smem, slot);
    }
}

/* The open pages of a tile, bf16: keys, values or both, as the warpgroup has them. */
template <class BLOCK>
PTX_DEVICE void fetch_open(const decode_params &p, const tile_cursor &c, bool has_keys,
        bool has_values, ptx_smem smem, uint32_t &slot) {
    const page_walk w = tile_of<BLOCK>(p, c).walk;
    for (int step = w.n_closed; step < w.n_steps; step++) {
        const void *from = w.open_pages[step - w.n_closed];
        const int page = page_of_step(step, w.n_closed, w.first_open);
        if (has_keys) fetch_keys<BLOCK>(w, from, page, smem, slot);
        if (has_values) turn_values<BLOCK>(w, from, page, smem, slot);
        slot = slot_after<BLOCK>(slot);
    }
}

/* A warpgroup: all of the block's tiles, one after the other. */
template <class BLOCK> PTX_DEVICE void widen_tiles(const decode_params &p, ptx_smem smem) {
    const bool has_keys = warpgroup() == BLOCK::N_CONSUMERS;
    const bool has_values = BLOCK::N_WIDENER_GROUPS == 1 || !has_keys;
    uint32_t slot = 0, unit = 0;
    for (tile_cursor c = first_tile(); find_tile(p, c); c.number += p.n_blocks) {
        const int n_closed = tile_of<BLOCK>(p, c).walk.n_closed;
#pragma unroll 1
        for (int step = 0; step < n_closed; step++) {
            if (has_keys) widen_unit<BLOCK>(smem, unit, slot, false);
            unit = slot_after<unit_ring<BLOCK>>(unit);
            if (has_values) widen_unit<BLOCK>(smem, unit, slot, true);
            unit = slot_after<unit_ring<BLOCK>>(unit);
            slot = slot_after<BLOCK>(slot);
        }
        fetch_open<BLOCK>(p, here_again(c), has_keys, has_values, smem, slot);
    }
}

/* With two consumers, widening takes the registers of the overlap. */
template <class BLOCK>
PTX_DEVICE void walk_pages(const page_walk &w, const row_limits &limits, float scale, ptx_smem smem,
        uint32_t &slot, row_state &state) {
    if constexpr (BLOCK::IS_FP8 && BLOCK::HAS_TURNS)
        attend_by_turns<BLOCK>(w, limits, scale, smem, slot, state);
    else
        attend<BLOCK>(w, limits, scale, smem, slot, state);
}

template <class BLOCK> PTX_DEVICE void consume(const decode_params &p, ptx_smem smem) {
    uint32_t slot = 0;
    begin_turns<BLOCK>();
    for (tile_cursor c = first_tile(); find_tile(p, c); c.number += p.n_blocks) {
        decode_tile t = tile_of<BLOCK>(p, c);
        row_state state;
        clear_state(state);
        ptx_bar_sync<GROUP>(within<BLOCK>()); /* the queries of the last tile have been read */
        load_queries(p, t, queries_of<BLOCK>(smem));
        walk_pages<BLOCK>(t.walk, limits_of(p, t), p.scale, smem, slot, state);
        /* Found out once more, rather than kept in registers all the while. */
        t = tile_of<BLOCK>(p, here_again(c));
        if (t.n_splits == 1)
            store_rows(p, t, state);
        else
            store_part(p, t, state);
    }
    end_turns<BLOCK>();
}

template <int N_CONSUMERS, bool IS_FP8>
static __global__ void __launch_bounds__(decode_block<N_CONSUMERS, IS_FP8>::THREADS, 1)
        attn_decode_sm90_kernel(const decode_params p) {
    typedef decode_block<N_CONSUMERS, IS_FP8> block;
    const ptx_smem smem = ptx_smem_base();
    if (ptx_thread() == block::COPIER) {
        if constexpr (IS_FP8) init_unit_barriers<block>(smem);
        init_barriers<block>(smem);
    }
    ptx_syncthreads();
    if (warpgroup() < N_CONSUMERS) {
        if (block::HAS_SHARES) ptx_registers_take<block::CONSUMER_REGISTERS>();
        consume<block>(p, smem);
    } else if (ptx_thread() >= block::COPIER) {
        if (block::HAS_SHARES) ptx_registers_give<block::COPIER_REGISTERS>();
        if (ptx_thread() < block::COPIER + (IS_FP8 ? 1 : WARP)) produce<block>(p, smem);
    } else {
        if constexpr (IS_FP8) {
            ptx_registers_give<block::WIDENER_REGISTERS>();
            widen_tiles<block>(p, smem);
        }
    }
}

template <int N_CONSUMERS, bool IS_FP8>
const char *launch(const decode_params &params, rt_stream stream) {
    typedef decode_block<N_CONSUMERS, IS_FP8> block;
    const ptx_grid grid = {params.n_blocks, 1, block::THREADS, block::SMEM_BYTES};
    return ptx_launch(attn_decode_sm90_kernel<N_CONSUMERS, IS_FP8>, grid, stream, params);
}

const char *launch_for(const decode_params &params, rt_stream stream) {
    if (params.a.open_pages)
        return (params.n_rows > GROUP_ROWS ? launch<2, true> : launch<1, true>)(params, stream);
    return (params.n_rows > GROUP_ROWS ? launch<2, false> : launch<1, false>)(params, stream);
}

const char *launch_merge(const decode_params &params, rt_stream stream) {
    const ptx_grid grid = {params.n_merge_blocks, 1, MERGE_WARPS * WARP, MERGE_SMEM_BYTES};
    return ptx_launch(attn_decode_merge_kernel, grid, stream, params);
}

int32_t smaller(int64_t a, int64_t b) {
    return (int32_t)(a < b ? a : b);
}

/* Which splits a call has: first, number. */
void splits_of(const attn_cuda_decode_args *args, decode_params *params) {
    const int64_t n_splits_max = attn_n_splits(args->max_tokens);
    const int64_t first = args->first_token / SPLIT;
    params->n_splits_max = (int32_t)n_splits_max;
    params->first_split = (int32_t)first;
    params->n_splits =
            (int32_t)(args->n_tokens > 0 ? attn_n_splits(args->n_tokens) : n_splits_max - first);
}

} // namespace

rt_status attn_cuda_decode_sm90(
        const attn_shape *shape, const attn_cuda_decode_args *args, rt_stream stream) {
    if (args->n_seqs == 0) return RT_OK;
    decode_params params = {};
    params.a = *args;
    params.n_heads = shape->n_heads;
    params.n_kv_heads = shape->n_kv_heads;
    params.group = shape->n_heads / shape->n_kv_heads;
    params.n_rows = args->n_queries * params.group;
    rt_assert(params.n_rows > 0 && params.n_rows <= ATTN_CUDA_DECODE_ROWS_MAX &&
              args->max_tokens > 0);
    rt_assert(args->first_token >= 0 && args->first_token % SPLIT == 0);
    rt_assert(!args->open_pages || args->n_queries <= PAGE);
    params.n_row_blocks = attn_sm90_row_blocks(params.n_rows);
    params.n_block_rows = attn_sm90_block_rows(params.n_rows);
    splits_of(args, &params);
    const int64_t n_heads = (int64_t)args->n_seqs * shape->n_kv_heads;
    const int64_t n_tiles_max = n_heads * params.n_row_blocks * params.n_splits;
    rt_assert(n_tiles_max <= INT32_MAX / 2);
    const int32_t n_sms = ptx_sm_count();
    params.n_blocks = smaller(n_tiles_max, n_sms);
    params.n_merge_blocks = smaller(n_heads * params.n_rows, 4 * (int64_t)n_sms);
    const int64_t n_states =
            n_heads * params.n_row_blocks * params.n_splits_max * params.n_block_rows;
    params.tickets = args->tickets;
    params.part_out = (float *)args->scratch;
    params.part_max = params.part_out + n_states * HEAD_DIM;
    params.part_sum = params.part_max + n_states;
    params.scale = (float)(1.4426950408889634 / sqrt((double)HEAD_DIM));
    const char *why = launch_for(params, stream);
    if (!why && params.n_splits_max > 1) why = launch_merge(params, stream);
    if (why)
        return rt_fail(RT_EDEVICE, "attention: decode of %d sequences over up to %lld keys: %s",
                (int)args->n_seqs, (long long)args->max_tokens, why);
    return RT_OK;
}
