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

/* Bases and sums of both consumers' columns, a thread a column. */
template <class BLOCK> PTX_DEVICE void store_totals(ptx_smem smem) {
    const int column = ptx_thread();
    if (column >= BLOCK::COLUMNS) return;
    const float base = common_base<BLOCK>(smem, column);
    float sum = 0.0f;
    for (int consumer = 0; consumer < CODES_CONSUMERS; consumer++) {
        const ptx_smem tops = tops_of<BLOCK>(smem, consumer) + (ptx_smem)(column * 4);
        float part = 0.0f;
        for (int w = 0; w < GROUP_WARPS; w++) part += lds_float(tops + (ptx_smem)(w * BLOCK::COLUMNS * 4));
        sum = fmaf(part, ptx_exp2(base_of<BLOCK>(smem, consumer, column) - base), sum);
    }
    sts_float(smem + BLOCK::TOTALS_AT + column * 8, base);
    sts_float(smem + BLOCK::TOTALS_AT + column * 8 + 4, sum);
}

/* out relative to the common bases, its unit 1. */
template <class BLOCK>
PTX_DEVICE void scale_to_common(ptx_smem smem, int consumer, codes_state<BLOCK::COLUMNS> &state) {
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 4; i++) {
        const int column = i / 2 * 8 + 2 * lane_q() + i % 2;
        const float factor =
                state.unit * ptx_exp2(base_of<BLOCK>(smem, consumer, column) - common_base<BLOCK>(smem, column));
#pragma unroll
        for (int k = 0; k < 4; k++) state.out[k / 2][i / 2 * 4 + k % 2 * 2 + i % 2] *= factor;
    }
}

/* The thread's part of a block of dims, out of or into a consumer's weights. */
template <class BLOCK>
PTX_DEVICE void give_block(ptx_smem weights, const float (&out)[BLOCK::COLUMNS / 2]) {
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 8; i++)
        ptx_sts128(weights + (ptx_smem)((i * GROUP + ptx_thread() % GROUP) * 16),
                make_uint4(ptx_float_bits(out[4 * i]), ptx_float_bits(out[4 * i + 1]),
                        ptx_float_bits(out[4 * i + 2]), ptx_float_bits(out[4 * i + 3])));
}
template <class BLOCK>
PTX_DEVICE void add_block(ptx_smem weights, float (&out)[BLOCK::COLUMNS / 2]) {
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 8; i++) {
        const uint4 x = ptx_lds128(weights + (ptx_smem)((i * GROUP + ptx_thread() % GROUP) * 16));
        const uint32_t part[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int k = 0; k < 4; k++) out[4 * i + k] += ptx_bits_float(part[k]);
    }
}

/* Of consumer i the tile's dims 64 i to 64 i + 63, complete; of both the totals. Another tile may then begin. */
template <class BLOCK>
PTX_DEVICE void add_states(ptx_smem smem, int consumer, codes_state<BLOCK::COLUMNS> &state, float (&out)[BLOCK::COLUMNS / 2]) {
    const bool is_second = consumer == 1;
    float given[BLOCK::COLUMNS / 2];
    store_sums<BLOCK>(smem, consumer, state);
    ptx_bar_sync<CODES_THREADS>(BLOCK::BOTH); /* no weights or queries are read any more; the sums are here */
    store_totals<BLOCK>(smem);
    scale_to_common<BLOCK>(smem, consumer, state);
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 2; i++) {
        out[i] = is_second ? state.out[1][i] : state.out[0][i];
        given[i] = is_second ? state.out[0][i] : state.out[1][i];
    }
    give_block<BLOCK>(weights_of<BLOCK>(smem, consumer), given);
    ptx_bar_sync<CODES_THREADS>(BLOCK::BOTH); /* the other's block is here; bases have been read */
    add_block<BLOCK>(weights_of<BLOCK>(smem, consumer ^ 1), out);
}

/* ---- states -> memory -------------------------------------------------------------------------- */

/* Where a thread's number [4 j + 2 h + c] belongs. */
PTX_DEVICE int codes_row(int i) {
    return i / 4 * 8 + 2 * lane_q() + i % 2;
}
PTX_DEVICE int codes_dim(int consumer, int i) {
    return 64 * consumer + 16 * group_warp() + lane_g() + i / 2 % 2 * 8;
}

/* Of a sequence of one split: the result. */
template <class BLOCK>
PTX_DEVICE void store_codes_rows(const decode_params &p, const decode_tile &t, ptx_smem smem, int consumer,
        const float (&out)[BLOCK::COLUMNS / 2]) {
    const ptx_smem totals = smem + BLOCK::TOTALS_AT;
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 2; i++) {
        const int row = codes_row(i);
        if (row >= t.n_rows) continue;
        const float inverse = inverse_of(lds_float(totals + (ptx_smem)(row * 8 + 4)));
        const int64_t at = place_of(p, t, row) * HEAD_DIM + codes_dim(consumer, i);
        p.a.attended[at] = (uint16_t)ptx_pack_bf16(out[i] * inverse, 0.0f);
    }
    if (ptx_thread() < t.n_rows) {
        const ptx_smem total = totals + (ptx_smem)(ptx_thread() * 8);
        store_lse(p, place_of(p, t, ptx_thread()), max_of_base(lds_float(total)),
                lds_float(total + 4));
    }
}

/* A split's state, to be merged by the next kernel. */
template <class BLOCK>
PTX_DEVICE void store_codes_part(const decode_params &p, const decode_tile &t, ptx_smem smem, int consumer,
        const float (&out)[BLOCK::COLUMNS / 2]) {
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 2; i++) {
        if (codes_row(i) >= t.n_rows) continue;
        const int64_t at = state_of(p, place_of_row(p, t, codes_row(i)), t.kv_head, t.split);
        ptx_store_shared_float(p.part_out + at * HEAD_DIM + codes_dim(consumer, i), out[i]);
    }
    if (ptx_thread() < t.n_rows) {
        const ptx_smem total = smem + BLOCK::TOTALS_AT + (ptx_smem)(ptx_thread() * 8);
        const row_place place = place_of_row(p, t, ptx_thread());
        const int64_t at = state_of(p, place, t.kv_head, t.split);
        ptx_store_shared_float(p.part_max + at, max_of_base(lds_float(total)));
        ptx_store_shared_float(p.part_sum + at, lds_float(total + 4));
        count_split(p, place, t.kv_head);
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
    for (int page = consumer; page < steps.n_closed; page += CODES_CONSUMERS)
        attend_codes<BLOCK>(ptx_here(smem), consumer, page, page >= steps.first_open,
                page + CODES_CONSUMERS < steps.n_closed, slot_on<BLOCK>(slot, page), x, state);
}

/* And its open one. */
template <class BLOCK>
PTX_DEVICE void attend_open_page(const decode_params &p, const decode_tile &t, ptx_smem smem, int consumer, uint32_t slot,
        codes_state<BLOCK::COLUMNS> &state) {
    ptx_bar_sync<CODES_THREADS>(BLOCK::BOTH); /* the scaled queries have been read */
    load_plain_queries<BLOCK>(p, t, smem);
    ptx_bar_sync<CODES_THREADS>(BLOCK::BOTH); /* the plain ones are here */
    /* Of two, which are side by side, each has one. */
    const int step = t.walk.n_closed + ((t.walk.first_open ^ consumer) & 1);
    if (step < t.walk.n_steps)
        attend_open<BLOCK>(smem, consumer, page_of_step(step, t.walk.n_closed, t.walk.first_open),
                slot_on<BLOCK>(slot, 2 * step - t.walk.n_closed), p.scale, state);
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
        float out[BLOCK::COLUMNS / 2];
        load_scaled_queries<BLOCK>(p, before, smem);
        ptx_bar_sync<CODES_THREADS>(BLOCK::BOTH); /* the queries are here; the other's block has been read */
        attend_closed<BLOCK>(steps, smem, consumer, slot, state);
        const decode_tile t = tile_of<true>(p, here_again(c));
        if (t.walk.n_steps > t.walk.n_closed) attend_open_page<BLOCK>(p, t, smem, consumer, slot, state);
        slot = slot_on<BLOCK>(slot, 2 * t.walk.n_steps - t.walk.n_closed);
        add_states<BLOCK>(smem, consumer, state, out);
        if (t.n_splits == 1)
            store_codes_rows<BLOCK>(p, t, smem, consumer, out);
        else
            store_codes_part<BLOCK>(p, t, smem, consumer, out);
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
    if (warpgroup() < CODES_CONSUMERS) {
        ptx_registers_take<block::CONSUMER_REGISTERS>();
        consume_codes<block>(p, smem);
    } else {
        ptx_registers_give<block::COPIER_REGISTERS>();
        if (ptx_thread() < block::COPIER + WARP) produce_codes<block>(p, smem);
    }
}

#endif
