/* Decode for Hopper over pages of e4m3: the kernel, and how the two consumers' states become a tile's
 * (attn_codes_sm90.cuh). */
#ifndef ATTN_DECODE_CODES_SM90_CUH
#define ATTN_DECODE_CODES_SM90_CUH

#include "attn_codes_pages_sm90.cuh"

/* ---- two states -> one ------------------------------------------------------------------------- */

/* Of 2^CODES_NO_BASE and more. */
PTX_DEVICE float max_of_base(float base) {
    return base == CODES_NO_BASE ? -INFINITY : base;
}

/* The thread's sums -> its warp's. */
template <class BLOCK>
PTX_DEVICE void store_sums(ptx_smem smem, int consumer, const codes_state<BLOCK::COLUMNS> &state) {
    const ptx_smem tops = tops_of<BLOCK>(smem, consumer);
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 4; i++) {
        float sum = state.sum[i];
#pragma unroll
        for (int lanes = 4; lanes < WARP; lanes *= 2) sum += ptx_shfl_xor(sum, lanes);
        const int column = i / 2 * 8 + 2 * lane_q() + i % 2;
        if (lane_g() == 0)
            sts_float(tops + (ptx_smem)((group_warp() * BLOCK::COLUMNS + column) * 4), sum);
    }
}

/* A column's base in a consumer, and in both. */
template <class BLOCK> PTX_DEVICE float base_of(ptx_smem smem, int consumer, int column) {
    return lds_float(columns_of<BLOCK>(smem, consumer) + (ptx_smem)(column * 8 + 4));
}
template <class BLOCK> PTX_DEVICE float common_base(ptx_smem smem, int column) {
    return fmaxf(base_of<BLOCK>(smem, 0, column), base_of<BLOCK>(smem, 1, column));
}

/* A column's sum, of both consumers, relative to its common base. */
template <class BLOCK> PTX_DEVICE float common_sum(ptx_smem smem, int column) {
    const float base = common_base<BLOCK>(smem, column);
    float sum = 0.0f;
    for (int consumer = 0; consumer < CODES_TURNS; consumer++) {
        const ptx_smem tops = tops_of<BLOCK>(smem, consumer) + (ptx_smem)(column * 4);
        float part = 0.0f;
        for (int w = 0; w < GROUP_WARPS; w++) part += lds_float(tops + (ptx_smem)(w * BLOCK::COLUMNS * 4));
        sum = fmaf(part, ptx_exp2(base_of<BLOCK>(smem, consumer, column) - base), sum);
    }
    return sum;
}

/* What a row has once, a thread a row: its maximum and sum, stored; for who stores its numbers, where those belong, counted in
 * rows, and by what a result is multiplied. */
template <class BLOCK> PTX_DEVICE void store_columns(const decode_params &p, const decode_tile &t, ptx_smem smem) {
    const int row = ptx_thread();
    if (row >= t.n_rows) return;
    const float max = max_of_base(common_base<BLOCK>(smem, row));
    const float sum = common_sum<BLOCK>(smem, row);
    int64_t at;
    if (t.n_splits == 1) {
        at = place_of(p, t, row);
        store_lse(p, at, max, sum);
    } else {
        const row_place place = place_of_row(p, t, row);
        at = state_of(p, place, t.kv_head, t.split);
        ptx_store_shared_float(p.part_max + at, max);
        ptx_store_shared_float(p.part_sum + at, sum);
        count_split(p, place, t.kv_head);
    }
    ptx_sts128(smem + (ptx_smem)(BLOCK::PLACES_AT + row * 16),
            make_uint4((uint32_t)at, (uint32_t)((uint64_t)at >> 32), ptx_float_bits(inverse_of(sum)), 0));
}

/* out relative to the common bases, its unit 1. */
template <class BLOCK>
PTX_DEVICE void scale_to_common(ptx_smem smem, int consumer, codes_state<BLOCK::COLUMNS> &state) {
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 4; i++) {
        const int column = i / 2 * 8 + 2 * lane_q() + i % 2;
        const float factor =
                state.unit * ptx_exp2(base_of<BLOCK>(smem, consumer, column) -
                                     common_base<BLOCK>(smem, column));
#pragma unroll
        for (int k = 0; k < 4; k++) state.out[k / 2][i / 2 * 4 + k % 2 * 2 + i % 2] *= factor;
    }
}

/* In a consumer's weights, of a row the dims of a block, 64 fp32: no two of a warp's numbers of one kind on one bank. */
PTX_DEVICE ptx_smem block_at(int row, int dim) {
    return (ptx_smem)((row * 64 + (dim ^ 8 * (row / 2 % 4))) * 4);
}
/* Where a thread's number [4 j + 2 h + c] of a block is. */
PTX_DEVICE ptx_smem own_at(int i) {
    return block_at(2 * lane_q(), 16 * group_warp() + lane_g() + i / 2 % 2 * 8) + (ptx_smem)((i / 4 * 8 + i % 2) * 256);
}

/* Of consumer i dims 64 i to 64 i + 63, complete, in the other's weights; of both what a row has once. */
template <class BLOCK>
PTX_DEVICE void add_states(const decode_params &p, const decode_tile &t, ptx_smem smem, int consumer,
        codes_state<BLOCK::COLUMNS> &state) {
    const bool is_second = consumer == 1;
    const ptx_smem given = weights_of<BLOCK>(smem, consumer), taken = weights_of<BLOCK>(smem, consumer ^ 1);
    float own[BLOCK::COLUMNS / 2], others[BLOCK::COLUMNS / 2];
    store_sums<BLOCK>(smem, consumer, state);
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* no weights or queries are read any more; the sums are here */
    store_columns<BLOCK>(p, t, smem);
    scale_to_common<BLOCK>(smem, consumer, state);
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 2; i++) {
        own[i] = is_second ? state.out[1][i] : state.out[0][i];
        others[i] = is_second ? state.out[0][i] : state.out[1][i];
    }
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 2; i++) sts_float(given + own_at(i), others[i]);
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* the other's block is here; bases have been read */
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 2; i++) own[i] += lds_float(taken + own_at(i));
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 2; i++) sts_float(taken + own_at(i), own[i]);
    ptx_bar_sync<GROUP>(BLOCK::WITHIN + consumer); /* the sums of all warps */
}

/* ---- states -> memory -------------------------------------------------------------------------- */

/* Rows of the consumer's block of dims, a warp a row: of a sequence of one split the result, of others a split's state, to
 * be merged by the next kernel. */
template <class BLOCK>
PTX_DEVICE void store_block(const decode_params &p, const decode_tile &t, ptx_smem smem, int consumer) {
    const int dim = 2 * (ptx_thread() % WARP);
    const ptx_smem from = weights_of<BLOCK>(smem, consumer ^ 1);
#pragma unroll 4
    for (int row = group_warp(); row < t.n_rows; row += GROUP_WARPS) {
        const uint4 place = ptx_lds128(smem + (ptx_smem)(BLOCK::PLACES_AT + row * 16));
        const int64_t at = (int64_t)((uint64_t)place.y << 32 | place.x) * HEAD_DIM + 64 * consumer + dim;
        const ptx_smem x_at = from + block_at(row, dim);
        const float2 x = {lds_float(x_at), lds_float(x_at + 4)};
        const float inverse = ptx_bits_float(place.z);
        if (t.n_splits == 1)
            *(uint32_t *)(p.a.attended + at) = ptx_pack_bf16(x.x * inverse, x.y * inverse);
        else
            ptx_store_shared_float2(p.part_out + at, x);
    }
}

/* ---- the kernel -------------------------------------------------------------------------------- */

/* Of a walk. */
struct page_steps {
    int n_closed;
    int first_open;
};

/* This consumer's pages of the cursor's tile; whichever it was, a page has the same one. */
template <class BLOCK>
PTX_DEVICE void attend_closed(const page_steps &steps, ptx_smem smem, int consumer, uint32_t slot,
        codes_state<BLOCK::COLUMNS> &state) {
    block_codes x[2];
    if (consumer < steps.n_closed) begin_page<BLOCK>(smem, slot_on<BLOCK>(slot, consumer), x);
    for (int page = consumer; page < steps.n_closed; page += CODES_TURNS)
        attend_codes<BLOCK>(ptx_here(smem), consumer, page, page >= steps.first_open,
                page + CODES_TURNS < steps.n_closed, slot_on<BLOCK>(slot, page), x, state);
}

/* And its open one. */
template <class BLOCK>
PTX_DEVICE void attend_open_page(const decode_params &p, const decode_tile &t, ptx_smem smem, int consumer, uint32_t slot,
        codes_state<BLOCK::COLUMNS> &state) {
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* the scaled queries have been read */
    load_plain_queries<BLOCK>(p, t, smem);
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* the plain ones are here */
    /* Of two, which are side by side, each has one. */
    const int step = t.walk.n_closed + ((t.walk.first_open ^ consumer) & 1);
    if (step < t.walk.n_steps)
        attend_open<BLOCK>(smem, consumer, page_of_step(step, t.walk.n_closed, t.walk.first_open),
                slot_on<BLOCK>(slot, 2 * step - t.walk.n_closed), p.scale, state);
}

/* A consumer has no registers for it beside a page; there for all behind the next barrier of both. */
template <class BLOCK> PTX_DEVICE void put_by(ptx_smem smem, const tile_cursor &c) {
    if (ptx_thread() == 0)
        ptx_sts128(smem + BLOCK::CURSOR_AT, make_uint4((uint32_t)c.number, (uint32_t)c.pass, (uint32_t)c.first, 0));
}
template <class BLOCK> PTX_DEVICE tile_cursor cursor_put_by(ptx_smem smem) {
    const uint4 c = ptx_lds128(smem + BLOCK::CURSOR_AT);
    return {(int32_t)c.x, (int32_t)c.y, (int32_t)c.z};
}

/* Whatever a tile has for it is found out anew, rather than kept in registers all the while. */
template <class BLOCK> PTX_DEVICE void consume_codes(const decode_params &p, ptx_smem smem) {
    /* The warpgroup's, which ptxas must see: it gives up wgmma where threads might go apart. */
    const int consumer = ptx_of_warp(warpgroup());
    uint32_t slot = 0;
    for (tile_cursor c = first_tile(); find_tile(p, c); c.number += p.n_blocks) {
        const decode_tile before = tile_of<true>(p, c);
        const page_steps steps = {before.walk.n_closed, before.walk.first_open};
        codes_state<BLOCK::COLUMNS> state = {};
        load_scaled_queries<BLOCK>(p, before, smem);
        put_by<BLOCK>(smem, c);
        ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* the queries are here; the last tile's numbers have been read */
        attend_closed<BLOCK>(steps, smem, consumer, slot, state);
        c = cursor_put_by<BLOCK>(smem);
        const decode_tile t = tile_of<true>(p, c);
        if (t.walk.n_steps > t.walk.n_closed) attend_open_page<BLOCK>(p, t, smem, consumer, slot, state);
        slot = slot_on<BLOCK>(slot, 2 * t.walk.n_steps - t.walk.n_closed);
        add_states<BLOCK>(p, t, smem, consumer, state);
        store_block<BLOCK>(p, t, smem, consumer);
    }
}

template <class BLOCK> PTX_DEVICE void produce_codes(const decode_params &p, ptx_smem smem) {
    uint32_t slot = 0;
    for (tile_cursor c = first_tile(); find_tile(p, c); c.number += p.n_blocks)
        copy_pages<BLOCK>(tile_of<true>(p, c).walk, smem, slot);
}

template <int N>
static __global__ void __launch_bounds__(codes_block<N>::THREADS, 1)
        attn_decode_codes_kernel(const decode_params p) {
    typedef codes_block<N> block;
    const ptx_smem smem = ptx_smem_base();
    if (ptx_thread() == block::COPIER) init_codes_barriers<block>(smem);
    ptx_let_next_begin(); /* who merges */
    ptx_syncthreads();
    if (warpgroup() < block::N_CONSUMERS) {
        ptx_registers_take<block::CONSUMER_REGISTERS>();
        consume_codes<block>(p, smem);
    } else {
        ptx_registers_give<block::COPIER_REGISTERS>();
        if (ptx_thread() < block::COPIER + WARP) produce_codes<block>(p, smem);
    }
}

#endif
