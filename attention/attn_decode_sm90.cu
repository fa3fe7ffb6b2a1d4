/* Decode attention for Hopper: 1 to 16 query tokens of each sequence against all of its keys.
 *
 * Over bf16 pages a tile (attn_decode_tiles.cuh) is up to 128 query rows, of a sequence or of several that hold the same
 * pages, rows of one or two consumer warpgroups; it walks its pages as attn_sm90.cuh says, masked row by row where a page is not all before the row's
 * token.
 *
 * A page is 64 KiB, for which an SM's share of an H200's memory takes 3400 cycles; the products of 128 rows
 * take 2048, rows that are not there included, and the softmax 1060 of another kind beside them. So memory
 * binds with 8 rows as with 128. Three pages, 192 KiB, are in flight or in use a block; it is the only one on
 * its SM. The next tile's pages come while this one's states are stored; a kernel of its own merges them behind this
 * one (attn_merge_sm90.cuh).
 *
 * Pages of e4m3 have a kernel of their own (attn_codes_sm90.cuh), with keys and dims where this one has rows.
 *
 * Splits begin at absolute multiples of 4096, and their states are merged in an order that depends on nothing else:
 * what a row's bits are depends neither on what it shares a pass with, nor on how many blocks or calls there are. */
#include "attn_decode_codes_sm90.cuh"
#include "attn_decode_tiles_sm90.cuh"

#include <math.h>

#include <atomic>

namespace {

std::atomic<bool> is_merged_early{MERGE_IS_EARLY};

/* Registers of the warpgroups that consume and copy. A block of one consumer has enough for whatever it wants. */
template <int N_CONSUMERS> struct decode_block : sm90_block<N_CONSUMERS, 3> {
    enum {
        HAS_SHARES = N_CONSUMERS > 1,
        CONSUMER_REGISTERS = 240,
        COPIER_REGISTERS = 24,
        COPIER = N_CONSUMERS * GROUP,
        SMEM_BYTES = sm90_block<N_CONSUMERS, 3>::END_AT
    };
};

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
        const row_place place = place_of_row(p, t, is_row ? first_row + row : 0);
        const uint16_t *from = query_of(p, place, t.kv_head) + chunk * CHUNK_NUMBERS;
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
        const row_place place = place_of_row(p, t, row_of(h));
        const int64_t at = state_of(p, place, t.kv_head, t.split);
        float *out = p.part_out + at * HEAD_DIM + quad * 2;
#pragma unroll
        for (int j = 0; j < HEAD_DIM / 8; j++)
            ptx_store_shared_float2(
                    out + 8 * j, float2{state.out[4 * j + 2 * h], state.out[4 * j + 2 * h + 1]});
        if (quad != 0) continue;
        ptx_store_shared_float(p.part_max + at, state.max[h]);
        ptx_store_shared_float(p.part_sum + at, state.sum[h]);
        ptx_count(p.tickets + ticket_of(p, place, t.kv_head));
    }
}

/* ---- the kernel ------------------------------------------------------------------------------ */

/* One warp. */
template <class BLOCK> PTX_DEVICE void produce(const decode_params &p, ptx_smem smem) {
    uint32_t slot = 0;
    for (tile_cursor c = first_tile(); find_tile(p, c); c.number = next_tile(c.number, p.n_blocks))
        fetch_pages<BLOCK>(tile_of<false>(p, c).walk, smem, slot);
}

template <class BLOCK> PTX_DEVICE void consume(const decode_params &p, ptx_smem smem) {
    uint32_t slot = 0;
    begin_turns<BLOCK>();
    for (tile_cursor c = first_tile(); find_tile(p, c);
            c.number = next_tile(c.number, p.n_blocks)) {
        decode_tile t = tile_of<false>(p, c);
        row_state state;
        clear_state(state);
        ptx_bar_sync<GROUP>(within<BLOCK>()); /* the queries of the last tile have been read */
        load_queries(p, t, queries_of<BLOCK>(smem));
        attend<BLOCK>(t.walk, limits_of(p, t), p.scale, smem, slot, state);
        /* Found out once more, rather than kept in registers all the while. */
        t = tile_of<false>(p, here_again(c));
        if (t.n_splits == 1)
            store_rows(p, t, state);
        else
            store_part(p, t, state);
    }
    end_turns<BLOCK>();
}

template <int N_CONSUMERS>
static __global__ void __launch_bounds__(decode_block<N_CONSUMERS>::THREADS, 1)
        attn_decode_sm90_kernel(const decode_params p) {
    typedef decode_block<N_CONSUMERS> block;
    const ptx_smem smem = ptx_smem_base();
    if (ptx_thread() == block::COPIER) init_barriers<block>(smem);
    ptx_let_next_begin(); /* who merges, which finds room when blocks of this one end */
    ptx_syncthreads();
    if (warpgroup() < N_CONSUMERS) {
        if (block::HAS_SHARES) ptx_registers_take<block::CONSUMER_REGISTERS>();
        consume<block>(p, smem);
    } else if (ptx_thread() >= block::COPIER) {
        if (block::HAS_SHARES) ptx_registers_give<block::COPIER_REGISTERS>();
        if (ptx_thread() < block::COPIER + WARP) produce<block>(p, smem);
    }
}

template <int N_CONSUMERS> const char *launch(const decode_params &params, rt_stream stream) {
    typedef decode_block<N_CONSUMERS> block;
    const ptx_grid grid = {params.n_blocks, 1, block::THREADS, block::SMEM_BYTES};
    return ptx_launch(attn_decode_sm90_kernel<N_CONSUMERS>, grid, stream, params);
}

/* N at least the rows of a tile. */
template <int N> const char *launch_codes(const decode_params &params, rt_stream stream) {
    typedef codes_block<N> block;
    const ptx_grid grid = {params.n_blocks, 1, block::THREADS, block::SMEM_BYTES};
    return ptx_launch(attn_decode_codes_kernel<N>, grid, stream, params);
}

const char *launch_for(const decode_params &params, rt_stream stream) {
    if (!params.a.open_pages)
        return (params.tile_rows > GROUP_ROWS ? launch<2> : launch<1>)(params, stream);
    return (params.tile_rows < CODES_ROWS ? launch_codes<CODES_ROWS / 2> : launch_codes<CODES_ROWS>)(params, stream);
}

const char *launch_merge(const decode_params &params, rt_stream stream) {
    const ptx_grid grid = {
            params.n_merge_blocks, 1, MERGE_WARPS * WARP, MERGE_SMEM_BYTES, is_merged_early.load()};
    return ptx_launch(attn_decode_merge_kernel, grid, stream, params);
}

/* Rows of a tile where a pass has so many. */
int32_t tile_rows_of(int32_t n_rows, bool is_fp8) {
    const int32_t most = is_fp8 ? (int32_t)CODES_ROWS : (int32_t)ATTN_SM90_ROWS;
    return n_rows <= most / 2 ? most / 2 : most;
}

int32_t smaller(int64_t a, int64_t b) {
    return (int32_t)(a < b ? a : b);
}

} // namespace

rt_status attn_cuda_decode_sm90(
        const attn_shape *shape, const attn_cuda_decode_args *args, rt_stream stream) {
    if (args->n_seqs == 0) return RT_OK;
    const int32_t n_rows = args->n_queries * (shape->n_heads / shape->n_kv_heads);
    decode_params params = {};
    set_params(shape, args, tile_rows_of(rows_together(shape, args), args->open_pages != NULL),
            attn_sm90_row_blocks(n_rows), attn_sm90_block_rows(n_rows), &params);
    const int32_t n_sms = ptx_sm_count();
    params.n_blocks = smaller(tiles_max(params), n_sms);
    params.n_merge_blocks =
            smaller((int64_t)args->n_seqs * shape->n_kv_heads * n_rows, 4 * (int64_t)n_sms);
    const char *why = launch_for(params, stream);
    if (!why && params.n_splits_max > 1) why = launch_merge(params, stream);
    if (why)
        return rt_fail(RT_EDEVICE, "attention: decode of %d sequences over up to %lld keys: %s",
                (int)args->n_seqs, (long long)args->max_tokens, why);
    return RT_OK;
}

rt_status attn_cuda_merge_nothing(rt_stream stream) {
    decode_params params = {};
    params.n_merge_blocks = 1;
    const char *why = launch_merge(params, stream);
    if (!why) why = launch_merge(params, stream);
    return why ? rt_fail(RT_EDEVICE, "attention: merging: %s", why) : RT_OK;
}

void attn_cuda_merge_late(void) {
    is_merged_early = false;
}
