/* Decode on sm_80: states. The four classes of a block have one each of the same rows, in registers; at the end of the split
 * they are folded in shared memory, in order. The result is the row's, where it has one split, or a state in scratch; the
 * block that comes last of a row's splits folds those, in order. */
#ifndef ATTN_DECODE_STATES_CUH
#define ATTN_DECODE_STATES_CUH

#include "attn_decode_step.cuh"

/* ---- classes --------------------------------------------------------------------------------- */

PTX_DEVICE float weight_of(float max, float base) {
    return base == -INFINITY ? 0.0f : ptx_exp2(max - base);
}

/* Each warp's state to shared memory. */
template <int NT> PTX_DEVICE void put_state(ptx_smem smem, const decode_state<NT> &state) {
    const int lane = lane_of();
    const int class_row = class_of() * 8 * NT;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const int row = class_row + 8 * n + lane % 4 * 2 + c;
            const float sum = sum_of_row(state.sum[n][c]);
            if (lane / 4 == 0) {
                ptx_sts32(smem + MAX_AT + row * 4, ptx_float_bits(state.max[n][c]));
                ptx_sts32(smem + SUM_AT + row * 4, ptx_float_bits(sum));
            }
#pragma unroll
            for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    ptx_sts32(smem + (row * OUT_STRIDE + 16 * j + 8 * half + lane / 4) * 4,
                            ptx_float_bits(state.out[n][j][2 * half + c]));
        }
}

struct merged_row {
    float max;
    float sum;
    float out; /* of this thread's dim */
};

/* The four classes' state of a row, in order. */
PTX_DEVICE merged_row merge_classes(ptx_smem smem, int row, int n_rows, int dim) {
    float max[N_CLASSES];
    merged_row m = {-INFINITY, 0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < N_CLASSES; i++) {
        max[i] = ptx_bits_float(ptx_lds32(smem + MAX_AT + (i * n_rows + row) * 4));
        m.max = fmaxf(m.max, max[i]);
    }
#pragma unroll
    for (int i = 0; i < N_CLASSES; i++) {
        const int at = i * n_rows + row;
        const float weight = weight_of(max[i], m.max);
        m.sum = fmaf(weight, ptx_bits_float(ptx_lds32(smem + SUM_AT + at * 4)), m.sum);
        m.out = fmaf(weight, ptx_bits_float(ptx_lds32(smem + (at * OUT_STRIDE + dim) * 4)), m.out);
    }
    return m;
}

/* ---- rows and splits ------------------------------------------------------------------------- */

PTX_DEVICE void store_row(
        const decode_params &p, const row_place &row, int kv_head, int dim, const merged_row &m) {
    const int64_t at = token_head_of(p, row, kv_head);
    const float inverse = m.sum > 0.0f ? 1.0f / m.sum : 0.0f;
    p.a.attended[at * HEAD_DIM + dim] = (uint16_t)ptx_pack_bf16(m.out * inverse, 0.0f);
    if (p.a.lse && dim == 0) p.a.lse[at] = (m.max + ptx_log2(m.sum)) * 0.6931471805599453f;
}

/* The splits' states of 8 rows of a sequence, in order; the loads of several splits are in flight. */
PTX_DEVICE void merge_splits(
        const decode_params &p, row_place place, int kv_head, int n_splits, int dim) {
    merged_row m[8];
    const int64_t first = state_of(p, place, kv_head, 0);
#pragma unroll
    for (int r = 0; r < 8; r++) m[r] = {-INFINITY, 0.0f, 0.0f};
#pragma unroll 4
    for (int split = 0; split < n_splits; split++)
#pragma unroll
        for (int r = 0; r < 8; r++)
            m[r].max = fmaxf(m[r].max, ptx_load_shared_float(p.part_max + first +
                                                             (int64_t)split * p.n_block_rows + r));
#pragma unroll 4
    for (int split = 0; split < n_splits; split++)
#pragma unroll
        for (int r = 0; r < 8; r++) {
            const int64_t at = first + (int64_t)split * p.n_block_rows + r;
            const float weight = weight_of(ptx_load_shared_float(p.part_max + at), m[r].max);
            m[r].sum = fmaf(weight, ptx_load_shared_float(p.part_sum + at), m[r].sum);
            m[r].out =
                    fmaf(weight, ptx_load_shared_float(p.part_out + at * HEAD_DIM + dim), m[r].out);
        }
#pragma unroll
    for (int r = 0; r < 8; r++)
        if (place.row + r < p.n_rows) store_row(p, {place.seq, place.row + r}, kv_head, dim, m[r]);
}

/* A state of the tile's split, to be merged, and as often as there are no rows behind the sequence's last: 8 are merged
 * at a time. */
PTX_DEVICE void store_part(const decode_params &p, const decode_work &w, const row_place &row,
        int dim, const merged_row &m) {
    int64_t at = state_of(p, row, w.kv_head, w.split);
    const int64_t end = row.row == p.n_rows - 1 ? at + (7 - row.row % 8) : at;
    for (; at <= end; at++) {
        ptx_store_shared_float(p.part_out + at * HEAD_DIM + dim, m.out);
        if (dim != 0) continue;
        ptx_store_shared_float(p.part_max + at, m.max);
        ptx_store_shared_float(p.part_sum + at, m.sum);
    }
}

/* Of one group of rows, whose states are in shared memory: to the result, or to be merged. */
template <int NT, int GROUPS>
PTX_DEVICE void store_states(
        const decode_params &p, const decode_work &w, ptx_smem smem, int group) {
    const int dim = ptx_thread() % HEAD_DIM;
    for (int i = ptx_thread() / HEAD_DIM; i < 8 * NT; i += GROUPS) {
        if (group * 8 * NT + i >= w.n_rows) break;
        const row_place row = place_of_row(p, w, group * 8 * NT + i);
        const merged_row m = merge_classes(smem, i, 8 * NT, dim);
        if (w.n_splits == 1)
            store_row(p, row, w.kv_head, dim, m);
        else
            store_part(p, w, row, dim, m);
    }
}

/* Each sequence of the tile takes a ticket, a thread each; of those whose splits are now all stored the tile's rows are
 * merged here. */
template <int NT, int GROUPS>
PTX_DEVICE void merge_complete(const decode_params &p, const decode_work &w, ptx_smem smem) {
    const int mine = ptx_thread();
    ptx_syncthreads(); /* the partial states are stored */
    if (mine < w.n_seqs) {
        const int32_t seq = seq_of(p, w.first + mine);
        const int64_t rows = ((int64_t)seq * p.n_kv_heads + w.kv_head) * p.n_row_blocks;
        uint32_t *ticket = p.tickets + rows + w.row_block;
        const uint32_t n_before = ptx_ticket(ticket);
        const bool is_last = n_before == (uint32_t)splits_of_length(p.a.lengths[seq]) - 1;
        if (is_last) *ticket = 0; /* for the next step */
        ptx_sts32(smem + TICKETS_AT + mine * 4, is_last);
    }
    ptx_syncthreads();
    for (int i = 0; i < w.n_seqs; i++) {
        if (!ptx_lds32(smem + TICKETS_AT + i * 4)) continue;
        const int32_t seq = seq_of(p, w.first + i);
        const int first_row = w.row_block * p.tile_rows;
        const int end = first_row + (w.n_rows < p.n_rows ? w.n_rows : p.n_rows);
        for (int row = first_row + ptx_thread() / HEAD_DIM * 8; row < end; row += 8 * GROUPS)
            merge_splits(p, {seq, row}, w.kv_head, splits_of_length(p.a.lengths[seq]),
                    ptx_thread() % HEAD_DIM);
    }
}

#endif
