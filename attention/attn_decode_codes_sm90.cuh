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

template <class BLOCK> PTX_DEVICE ptx_smem unit_at(ptx_smem smem, int consumer) {
    return smem + (ptx_smem)(BLOCK::UNIT_AT + consumer * 8);
}

/* The thread's sums -> its warp's. */
template <class BLOCK>
PTX_DEVICE void give_sums(ptx_smem smem, int consumer, const codes_state<BLOCK::COLUMNS> &state) {
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

/* Numbers 4 i to 4 i + 3 of a thread of a block of dims that the other consumer adds up, in the weights of who gives them. */
template <class BLOCK> PTX_DEVICE ptx_smem given_at(ptx_smem smem, int consumer, int i) {
    return weights_of<BLOCK>(smem, consumer) +
           (ptx_smem)(i * GROUP * 16 + (int)ptx_here((uint32_t)ptx_thread()) % GROUP * 16);
}

/* What the other consumer, who has the other block of dims, must know. */
template <class BLOCK> PTX_DEVICE void give_state(ptx_smem smem, int consumer, const codes_state<BLOCK::COLUMNS> &state) {
    const int thread = (int)ptx_here((uint32_t)ptx_thread()) % GROUP;
    give_sums<BLOCK>(smem, consumer, state);
    if (thread < BLOCK::COLUMNS)
        sts_float(base_at<BLOCK>(smem, consumer, thread),
                lds_float(columns_of<BLOCK>(smem, consumer) + (ptx_smem)(thread * 8 + 4)));
    if (thread == 0) sts_float(unit_at<BLOCK>(smem, consumer), state.unit);
    ptx_bar_sync<GROUP>(BLOCK::WITHIN + consumer); /* no weights are read any more */
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 8; i++) {
        uint32_t x[4];
#pragma unroll
        for (int k = 0; k < 4; k++)
            x[k] = ptx_float_bits(consumer == 0 ? state.out[1][4 * i + k] : state.out[0][4 * i + k]);
        ptx_sts128(given_at<BLOCK>(smem, consumer, i), make_uint4(x[0], x[1], x[2], x[3]));
    }
}

/* A column's sum, of both consumers, relative to the greater base. */
template <class BLOCK> PTX_DEVICE float common_sum(ptx_smem smem, int column, float base) {
    float sum = 0.0f;
    for (int consumer = 0; consumer < CODES_TURNS; consumer++) {
        const ptx_smem tops = tops_of<BLOCK>(smem, consumer) + (ptx_smem)(column * 4);
        float part = 0.0f;
        for (int w = 0; w < GROUP_WARPS; w++) part += lds_float(tops + (ptx_smem)(w * BLOCK::COLUMNS * 4));
        sum = fmaf(part, ptx_exp2(lds_float(base_at<BLOCK>(smem, consumer, column)) - base), sum);
    }
    return sum;
}

/* A row's place: the split's, where there are several. */
PTX_DEVICE int64_t place_put(const decode_params &p, const told_tile &t, const uint4 &place) {
    const int64_t at = (int64_t)((uint64_t)place.y << 32 | place.x);
    return t.n_splits == 1 ? at : at + (int64_t)t.split * p.n_block_rows;
}

/* What a row has once, a thread a row: its maximum and sum, stored; and by what a result is multiplied, for who stores it. */
template <class BLOCK> PTX_DEVICE void store_sums(const decode_params &p, const told_tile &t, ptx_smem smem) {
    const int row = ptx_thread();
    if (row >= t.n_rows) return;
    const ptx_smem place_at = smem + (ptx_smem)(BLOCK::PLACES_AT + row * 16);
    const uint4 place = ptx_lds128(place_at);
    const float base = fmaxf(lds_float(base_at<BLOCK>(smem, 0, row)), lds_float(base_at<BLOCK>(smem, 1, row)));
    const float sum = common_sum<BLOCK>(smem, row, base);
    const int64_t at = place_put(p, t, place);
    if (t.n_splits == 1) {
        store_lse(p, at, max_of_base(base), sum);
        sts_float(place_at + 12, inverse_of(sum));
    } else {
        ptx_store_shared_float(p.part_max + at, max_of_base(base));
        ptx_store_shared_float(p.part_sum + at, sum);
        ptx_count(p.tickets + (int32_t)place.z);
    }
}

/* The consumer's block of dims of all rows, complete: of a sequence of one split the result, of others a split's state, to be
 * merged by the next kernel. */
template <class BLOCK>
PTX_DEVICE void store_block(const decode_params &p, const told_tile &t, ptx_smem smem, int consumer,
        const codes_state<BLOCK::COLUMNS> &state) {
    const int dim = 64 * consumer + 16 * group_warp() + lane_g(), first = 2 * lane_q();
    const float unit = lds_float(unit_at<BLOCK>(smem, consumer ^ 1));
#pragma unroll
    for (int j = 0; j < BLOCK::COLUMNS / 8; j++) {
        const uint4 x = ptx_lds128(given_at<BLOCK>(smem, consumer ^ 1, j));
        const uint32_t given[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const int row = 8 * j + first + c;
            const float own_base = lds_float(base_at<BLOCK>(smem, consumer, row));
            const float other_base = lds_float(base_at<BLOCK>(smem, consumer ^ 1, row));
            const float base = fmaxf(own_base, other_base);
            const float own = state.unit * ptx_exp2(own_base - base), other = unit * ptx_exp2(other_base - base);
            const uint4 place = ptx_lds128(smem + (ptx_smem)(BLOCK::PLACES_AT + row * 16));
            const int64_t at = place_put(p, t, place) * HEAD_DIM + dim;
            if (row >= t.n_rows) continue;
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int i = 2 * h + c;
                const float mine = consumer == 0 ? state.out[0][4 * j + i] : state.out[1][4 * j + i];
                const float v = fmaf(ptx_bits_float(given[i]), other, ptx_mul(mine, own));
                if (t.n_splits == 1)
                    p.a.attended[at + 8 * h] = (uint16_t)ptx_pack_bf16(v * ptx_bits_float(place.w), 0.0f);
                else
                    ptx_store_shared_float(p.part_out + at + 8 * h, v);
            }
        }
    }
}

/* ---- the kernel -------------------------------------------------------------------------------- */

/* This consumer's pages of e4m3; whichever tile it is, a page has the same one. */
template <class BLOCK>
PTX_DEVICE void attend_closed(int n_closed, int first_open, ptx_smem smem, int consumer, uint32_t slot,
        codes_state<BLOCK::COLUMNS> &state) {
    block_codes x[2];
    const uint32_t keys_at = keys_of_lane();
    if (consumer < n_closed) begin_page<BLOCK>(smem, slot_on<BLOCK>(slot, consumer), keys_at, x);
    for (int page = consumer; page < n_closed; page += CODES_TURNS)
        attend_codes<BLOCK>(ptx_here(smem), consumer, page, page >= first_open, page + CODES_TURNS < n_closed,
                slot_on<BLOCK>(slot, page), keys_at, x, state);
}

/* And its open one. */
template <class BLOCK>
PTX_DEVICE void attend_open_page(const decode_params &p, const told_tile &t, ptx_smem smem, int consumer, uint32_t slot,
        codes_state<BLOCK::COLUMNS> &state) {
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* the scaled queries have been read */
    load_plain_queries<BLOCK>(p, t, smem);
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* the plain ones are here */
    /* Of two, which are side by side, each has one. */
    const int step = t.n_closed + ((t.first_open ^ consumer) & 1);
    if (step < t.n_steps)
        attend_open<BLOCK>(smem, consumer, page_of_step(step, t.n_closed, t.first_open),
                slot_on<BLOCK>(slot, 2 * step - t.n_closed), t.n_closed <= consumer, p.scale, state);
}

/* Behind the last page. The next tile's first barrier comes when all of this one has been read. */
template <class BLOCK>
PTX_DEVICE void end_tile(const decode_params &p, const told_tile &t, ptx_smem smem, int consumer,
        const codes_state<BLOCK::COLUMNS> &state) {
    give_state<BLOCK>(smem, consumer, state);
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* the other's state is here */
    store_sums<BLOCK>(p, t, smem);
    if (t.n_splits == 1) ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* what results are multiplied by */
    store_block<BLOCK>(p, t, smem, consumer, state);
}

/* What a tile has for it is read again, rather than kept in registers all the while. */
template <class BLOCK> PTX_DEVICE void consume_codes(const decode_params &p, ptx_smem smem) {
    /* The warpgroup's, which ptxas must see: it gives up wgmma where threads might go apart. */
    const int consumer = ptx_of_warp(warpgroup());
    uint32_t slot = 0, told = 0;
    for (;;) {
        wait_until_told<BLOCK>(smem, told);
        const told_tile before = tile_told<BLOCK>(smem, told);
        if (before.n_rows == 0) return;
        codes_state<BLOCK::COLUMNS> state = {};
        if (!before.is_same) load_scaled_queries<BLOCK>(p, before, smem);
        begin_rows<BLOCK>(p, before, smem, consumer);
        ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* the queries are here; the last tile's states have been read */
        attend_closed<BLOCK>(before.n_closed, before.first_open, smem, consumer, slot, state);
        const told_tile t = tile_told<BLOCK>(ptx_here(smem), told);
        if (t.n_steps > t.n_closed) attend_open_page<BLOCK>(p, t, smem, consumer, slot, state);
        slot = slot_on<BLOCK>(slot, 2 * t.n_steps - t.n_closed);
        end_tile<BLOCK>(p, t, smem, consumer, state);
        arrive_as_warp(told_at(smem, BLOCK::DONE_AT, 8, told));
        told = told_after(told);
    }
}

/* One warp. */
template <class BLOCK> PTX_DEVICE void produce_codes(const decode_params &p, ptx_smem smem) {
    uint32_t slot = 0;
    for (tile_cursor c = first_tile(); find_tile(p, c); c.number += p.n_blocks)
        copy_pages<BLOCK>(tile_of<true>(p, c).walk, smem, slot);
}
/* Another one, ahead of the consumers. */
template <class BLOCK> PTX_DEVICE void tell_tiles(const decode_params &p, ptx_smem smem) {
    uint32_t told = 0;
    for (tile_cursor c = first_tile(); find_tile(p, c); c.number += p.n_blocks, told = told_after(told))
        tell<BLOCK>(smem, told, tile_of<true>(p, c));
    tell_the_end<BLOCK>(smem, told);
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
        const int warp = ptx_of_warp(ptx_thread() / WARP); /* ptxas keeps what is a warp's in uniform registers */
        if (warp == block::COPIER / WARP) produce_codes<block>(p, smem);
        if (warp == block::COPIER / WARP + 1) tell_tiles<block>(p, smem);
    }
}

#endif
