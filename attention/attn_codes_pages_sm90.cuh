/* Decode for Hopper over pages of e4m3: what a consumer does with a page (attn_codes_sm90.cuh). */
#ifndef ATTN_CODES_PAGES_SM90_CUH
#define ATTN_CODES_PAGES_SM90_CUH

#include "attn_codes_sm90.cuh"

/* Weights: that of the greatest score of those above which a base rises (log2), and the greatest there may be. */
#define CODES_WEIGHT 11.0f
#define CODES_MOST   0x1p15f

/* Columns 8 j + 2 q + c, c = 0, 1, of a thread. `out`: dims 64 block + 16 w + g + 8 h at [block][4 j + 2 h + c],
 * times `unit`; `sum`: of its own keys, at [2 j + c]. */
template <int N> struct codes_state {
    float out[2][N / 2];
    float sum[N / 4];
    float unit; /* 2^n; 0: none so far */
    float unit_inverse;
    float unit_max;
};

/* Scores of keys 64 block + 16 w + g + 8 h; in pages of e4m3 of keys in the order that lanes read them. */
template <int N> struct codes_scores {
    float of[2][N / 2];
};

/* ---- codes -> operands ------------------------------------------------------------------------- */

/* A lane's of a block of keys or values: 64 rows of which it has g and g + 8, eight steps of 16 columns. */
typedef uint32_t block_codes[HEAD_DIM / 16][2];

/* Row 16 w + g + 8 h of a block is token 16 w + 4 (g / 2) + g % 2 + 2 h, so that its place among 16 is the one that
 * values' lanes have for it. Chunks 2q and 2q + 1 of a row a lane: no two of 8 lanes on one bank. The second row's number has
 * the first one's bits and 2. */
PTX_DEVICE uint32_t keys_of_lane() {
    return tile_chunk(16 * group_warp() + lane_g() / 2 * 4 + lane_g() % 2, 2 * lane_q());
}
PTX_DEVICE void load_keys(ptx_smem codes, uint32_t of_lane, int block, block_codes &x) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int h = i / 2, u = i % 2;
        const uint4 words = ptx_lds128(codes + (of_lane ^ (uint32_t)(32 * h + 16 * u)) +
                                       (ptx_smem)(block * 64 * ROW_BYTES + 2 * h * ROW_BYTES));
        x[4 * u][h] = words.x;
        x[4 * u + 1][h] = words.y;
        x[4 * u + 2][h] = words.z;
        x[4 * u + 3][h] = words.w;
    }
}

/* Dims 64 block + 16 w + g + 8 h; of 16 tokens a lane has 4 q and on: 32 lanes on 32 banks. */
PTX_DEVICE void load_values(ptx_smem codes, int block, block_codes &x) {
    const ptx_smem from = codes + ATTN_FP8_TILE_BYTES +
                          (ptx_smem)((16 * group_warp() + lane_g()) * 16 + lane_q() * 4);
#pragma unroll
    for (int i = 0; i < PAGE / 8; i++)
        x[i / 2][i % 2] = ptx_lds32(
                from + (ptx_smem)(i / 2 * 16 * HEAD_DIM + (64 * block + 8 * (i % 2)) * 16));
}

/* A block as operand A. */
typedef uint32_t block_operand[HEAD_DIM / 16][4];

PTX_DEVICE void widen_block(const block_codes &x, block_operand &a) {
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 8; i++)
        ptx_f16_of_e4m3(x[i / 2][i % 2], a[i / 2][i % 2], a[i / 2][i % 2 + 2]);
}

/* Queued: d = or += a b^T, b a tile of columns. */
template <class BLOCK>
PTX_DEVICE void queue_block(
        float (&d)[BLOCK::COLUMNS / 2], const block_operand &a, ptx_smem b, bool is_sum) {
    const uint64_t desc = ptx_desc(b, 16);
    ptx_wgmma_fence();
#pragma unroll
    for (int step = 0; step < HEAD_DIM / 16; step++)
        ptx_wgmma_f16<BLOCK::COLUMNS>(d, a[step],
                ptx_desc_after(desc, step / 4 * BLOCK::COLUMN_HALF_BYTES + step % 4 * 32),
                is_sum || step > 0);
    ptx_wgmma_commit();
}

/* ---- softmax ----------------------------------------------------------------------------------- */

/* Columns 8 j + 2 q and the next one: factor and base, of pages of e4m3 the factor times that of the page's keys; of the
 * consumer's columns from 2 q on. */
struct column_pair {
    float factor[2];
    float base[2];
};

template <bool IS_OPEN>
PTX_DEVICE column_pair pair_of(ptx_smem from_q, int j, float by) {
    const uint4 x = ptx_lds128(from_q + (ptx_smem)(j * 8 * 8));
    column_pair p = {{by, by}, {ptx_bits_float(x.y), ptx_bits_float(x.w)}};
    if (!IS_OPEN) p.factor[0] *= ptx_bits_float(x.x), p.factor[1] *= ptx_bits_float(x.z);
    return p;
}

/* A thread's share of a page's sums, four keys of a column, and the greatest that is no reason for the column's base to rise: no
 * weight is more than that then. Both times the page's ratio. */
template <int N> struct page_sums {
    float of[N / 4];
    float most;
};

template <int N> PTX_DEVICE bool is_above(const page_sums<N> &sums) {
    bool is = false;
#pragma unroll
    for (int i = 0; i < N / 4; i++) is |= sums.of[i] > sums.most;
    return is;
}

/* The greatest of the thread's scores of a column, not scaled. */
template <int N> PTX_DEVICE float top_of(const codes_scores<N> &s, int j, int c) {
    return fmaxf(fmaxf(s.of[0][4 * j + c], s.of[0][4 * j + 2 + c]),
            fmaxf(s.of[1][4 * j + c], s.of[1][4 * j + 2 + c]));
}

/* Bases rise, of the columns of which some thread's share is too much, above the scores of those threads, or in the consumer's
 * first page of all: whole numbers, so that factors are powers of two. By all of the warpgroup: what its warps have of a column is one number
 * to each. */
template <class BLOCK, bool IS_OPEN, bool IS_FIRST>
PTX_DEVICE void raise_bases(const codes_scores<BLOCK::COLUMNS> &s, const page_sums<BLOCK::COLUMNS> &sums, ptx_smem smem, float by,
        codes_state<BLOCK::COLUMNS> &state, int consumer) {
    enum { N = BLOCK::COLUMNS };
    const ptx_smem columns = columns_of<BLOCK>(smem, consumer), from_q = columns + (ptx_smem)(lane_q() * 16);
    const ptx_smem tops_q = tops_of<BLOCK>(smem, consumer) + (ptx_smem)(lane_q() * 8);
    const bool is_first = lane_g() == 0;
#pragma unroll
    for (int i = 0; i < N / 4; i++) {
        float top = IS_FIRST || sums.of[i] > sums.most ? top_of(s, i / 2, i % 2) : -INFINITY;
#pragma unroll
        for (int lanes = 4; lanes < WARP; lanes *= 2) top = fmaxf(top, ptx_shfl_xor(top, lanes));
        if (is_first) sts_float(tops_q + (ptx_smem)((group_warp() * N + i / 2 * 8 + i % 2) * 4), top);
    }
    ptx_bar_sync<GROUP>(BLOCK::WITHIN + consumer); /* the warps' maxima */
#pragma unroll
    for (int i = 0; i < N / 4; i++) {
        const ptx_smem at = tops_q + (ptx_smem)((i / 2 * 8 + i % 2) * 4);
        float top = lds_float(at);
#pragma unroll
        for (int w = 1; w < GROUP_WARPS; w++) top = fmaxf(top, lds_float(at + (ptx_smem)(w * N * 4)));
        const column_pair p = pair_of<IS_OPEN>(from_q, i / 2, by);
        float base = p.base[i % 2];
        if (top > -INFINITY) base = rintf(fmaf(top, p.factor[i % 2], -CODES_WEIGHT));
        if (group_warp() == 0 && is_first) sts_float(base_at<BLOCK>(smem, consumer, i / 2 * 8 + 2 * lane_q() + i % 2), base);
        if (IS_FIRST) continue; /* nothing is summed yet */
        const float factor = ptx_exp2(p.base[i % 2] - base);
        state.sum[i] *= factor;
#pragma unroll
        for (int k = 0; k < 4; k++) state.out[k / 2][i / 2 * 4 + k % 2 * 2 + i % 2] *= factor;
    }
    ptx_bar_sync<GROUP>(BLOCK::WITHIN + consumer); /* the bases have been read, the new ones are here */
    const int column = (int)ptx_here((uint32_t)ptx_thread()) % GROUP;
    if (column < N) sts_float(columns + (ptx_smem)(column * 8 + 4), lds_float(base_at<BLOCK>(smem, consumer, column)));
    ptx_bar_sync<GROUP>(BLOCK::WITHIN + consumer);
}

/* By what a page's values differ from the unit, in weights: `ratio`, a power of two, and its logarithm; NaN where those are. */
struct page_ratio {
    float ratio;
    float inverse;
    float log;
};

/* Weights -> shared memory, where a column's keys are a row: two f16, times the ratio; in an open page bf16 times the unit's
 * inverse. What they add to the thread's sums, times the ratio. */
template <class BLOCK, bool IS_OPEN>
PTX_DEVICE void weigh_page(const codes_scores<BLOCK::COLUMNS> &s, ptx_smem columns, ptx_smem weights, float by, float log_ratio,
        float unit_inverse, page_sums<BLOCK::COLUMNS> &sums) {
    const int lane = (int)ptx_here((uint32_t)ptx_thread()) % WARP;
    const ptx_smem from_q = columns + (ptx_smem)(lane_q() * 16);
    const ptx_smem to = weights + tile_at(lane % 8, lane / 16 * 8 + 2 * group_warp() + lane / 8 % 2,
                                          BLOCK::COLUMN_HALF_BYTES);
    column_pair next = pair_of<IS_OPEN>(from_q, 0, by);
#pragma unroll
    for (int j = 0; j < BLOCK::COLUMNS / 8; j++) {
        const column_pair p = next; /* loads stay behind stores: so one is ahead */
        const float base[2] = {p.base[0] - log_ratio, p.base[1] - log_ratio};
        if (j + 1 < BLOCK::COLUMNS / 8) next = pair_of<IS_OPEN>(from_q, j + 1, by);
        uint32_t packed[4];
        float sum[2][2];
#pragma unroll
        for (int i = 0; i < 4; i++) { /* block i / 2, h = i % 2 */
            float w[2];
#pragma unroll
            for (int c = 0; c < 2; c++) {
                w[c] = ptx_exp2(fmaf(s.of[i / 2][4 * j + 2 * (i % 2) + c], p.factor[c], -base[c]));
                sum[i / 2][c] = i % 2 ? sum[i / 2][c] + w[c] : w[c];
            }
            packed[i] = IS_OPEN ? ptx_pack_bf16(w[0] * unit_inverse, w[1] * unit_inverse) : ptx_pack_f16(w[0], w[1]);
        }
#pragma unroll
        for (int c = 0; c < 2; c++) sums.of[2 * j + c] = sum[0][c] + sum[1][c];
        ptx_stmatrix_trans(to + (ptx_smem)(j * 8 * ROW_BYTES), packed);
    }
}

/* A page's scores -> weights, there for the warpgroup, and sums. The consumer's first page has no bases to begin with; in others
 * weights are computed once, but where a base has to rise: then anew. */
template <class BLOCK, bool IS_OPEN>
PTX_DEVICE void take_weights(const codes_scores<BLOCK::COLUMNS> &s, ptx_smem smem, float by, const page_ratio &ratio, bool is_first,
        codes_state<BLOCK::COLUMNS> &state, int consumer) {
    const ptx_smem columns = columns_of<BLOCK>(smem, consumer), weights = weights_of<BLOCK>(smem, consumer);
    page_sums<BLOCK::COLUMNS> sums;
    sums.most = ratio.ratio * CODES_MOST;
    if (is_first) raise_bases<BLOCK, IS_OPEN, true>(s, sums, smem, by, state, consumer);
    bool may_rise = !is_first;
#pragma unroll 1
    for (;;) {
        weigh_page<BLOCK, IS_OPEN>(s, columns, weights, by, ratio.log, state.unit_inverse, sums);
        ptx_fence_async();
        if (!ptx_bar_any<GROUP>(BLOCK::WITHIN + consumer, may_rise && is_above(sums))) break;
        raise_bases<BLOCK, IS_OPEN, false>(s, sums, smem, by, state, consumer);
        may_rise = false;
    }
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 4; i++) state.sum[i] = fmaf(sums.of[i], ratio.inverse, state.sum[i]);
}

/* Of the page, key 64 block + 16 w + g + 8 h: -inf where the column's row does not see it. Its own page it sees open,
 * earlier ones closed. */
template <class BLOCK>
PTX_DEVICE void mask_columns(
        ptx_smem smem, int page, bool is_open, codes_scores<BLOCK::COLUMNS> &s) {
    const int first = 16 * group_warp() + lane_g();
#pragma unroll
    for (int i = 0; i < BLOCK::COLUMNS / 4; i++) {
        const int row = i / 2 * 8 + 2 * lane_q() + i % 2;
        int n_seen = (int)ptx_lds32(smem + BLOCK::SEEN_AT + row * 4) - page * KEYS;
        if (is_open == (n_seen > KEYS)) n_seen = 0;
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (first + 64 * (k / 2) + 8 * (k % 2) >= n_seen)
                s.of[k / 2][i / 2 * 4 + k % 2 * 2 + i % 2] = -INFINITY;
    }
}

/* ---- the unit of what is summed ---------------------------------------------------------------- */

/* 1 / x of a power of two; NaN of NaN. */
PTX_DEVICE float inverse_of_power(float x) {
    return x == x ? ptx_bits_float(0x7f000000u - ptx_float_bits(x)) : x;
}

/* log2(x) of a power of two; NaN of NaN. */
PTX_DEVICE float log2_of_power(float x) {
    return fmaf(x, 0.0f, (float)((int)(ptx_float_bits(x) >> 23) - 127));
}

template <int N> PTX_DEVICE void change_unit(codes_state<N> &state, float to) {
    state.unit_inverse = inverse_of_power(to);
    const float factor = state.unit * state.unit_inverse;
#pragma unroll
    for (int i = 0; i < N; i++) state.out[i / (N / 2)][i % (N / 2)] *= factor;
    state.unit = to;
    state.unit_max = fmaxf(state.unit_max, to);
}

/* For a page whose values have this scale: at most 1. Below 2^-64 weights are 0 as f16. */
template <int N> PTX_DEVICE page_ratio ratio_to_unit(codes_state<N> &state, float scale) {
    if (!(scale <= state.unit && 16.0f * scale >= state.unit)) /* NaN: everything is */
        change_unit(state, scale < state.unit ? fmaxf(scale, state.unit_max * 0x1p-64f) : scale);
    const float exact = scale * state.unit_inverse, ratio = exact < 0x1p-64f ? 0x1p-64f : exact;
    return {ratio, inverse_of_power(ratio), log2_of_power(ratio)};
}

/* ---- the pages --------------------------------------------------------------------------------- */

/* Until a page is there; its keys, where there are registers for them beside what goes on. */
template <class BLOCK>
PTX_DEVICE void begin_page(ptx_smem smem, uint32_t slot, uint32_t keys_at, block_codes (&x)[2]) {
    ptx_mbar_wait(codes_bar<BLOCK>(smem, BLOCK::FULL_AT, slot), parity_of<BLOCK>(slot));
    if (BLOCK::LOADS_EARLY)
        for (int block = 0; block < 2; block++)
            load_keys(codes_stage<BLOCK>(smem, slot), keys_at, block, x[block]);
}

/* A page of e4m3, which has begun; x is what begin_page left. The next one of the consumer begins beside the last
 * products. */
template <class BLOCK>
PTX_DEVICE void attend_codes(ptx_smem smem, int consumer, int page, bool is_masked, bool has_next,
        uint32_t slot, uint32_t keys_at, block_codes (&x)[2], codes_state<BLOCK::COLUMNS> &state) {
    const ptx_smem codes = codes_stage<BLOCK>(smem, slot);
    const ptx_smem scales = smem + BLOCK::SCALES_AT + stage_of<BLOCK>(slot) * SCALES_BYTES;
    const ptx_smem weights = weights_of<BLOCK>(smem, consumer);
    codes_scores<BLOCK::COLUMNS> s;
    block_operand a[2];
    const float by = lds_float(scales), scale = lds_float(scales + 4);
#pragma unroll
    for (int block = 0; block < 2; block++) {
        if (!BLOCK::LOADS_EARLY) load_keys(codes, keys_at, block, x[block]);
        widen_block(x[block], a[block]);
    }
#pragma unroll
    for (int block = 0; block < 2; block++)
        queue_block<BLOCK>(s.of[block], a[block], smem + BLOCK::QUERIES_AT, false);
    ptx_wgmma_wait<1>(); /* room for codes */
    load_values(codes, 0, x[0]);
    const page_ratio ratio = ratio_to_unit(state, scale);
    ptx_wgmma_wait<0>(); /* s */
    if (BLOCK::LOADS_EARLY) load_values(codes, 1, x[1]);
    if (is_masked) mask_columns<BLOCK>(smem, page, false, s);
    take_weights<BLOCK, false>(s, smem, by, ratio, page < CODES_TURNS, state, consumer);
    if (BLOCK::LOADS_EARLY) arrive_as_warp(codes_bar<BLOCK>(smem, BLOCK::EMPTY_AT, slot)); /* the fence was behind the loads */
    ptx_wgmma_pin(state.out[0]), ptx_wgmma_pin(state.out[1]);
    widen_block(x[0], a[0]);
    queue_block<BLOCK>(state.out[0], a[0], weights, true);
    ptx_wgmma_wait<1>(); /* for nothing: ptxas wants one in front of the next operand */
    if (!BLOCK::LOADS_EARLY) {
        load_values(codes, 1, x[1]);
        ptx_fence_async();
        arrive_as_warp(codes_bar<BLOCK>(smem, BLOCK::EMPTY_AT, slot));
    }
    widen_block(x[1], a[1]);
    queue_block<BLOCK>(state.out[1], a[1], weights, true);
    if (has_next) begin_page<BLOCK>(smem, slot_on<BLOCK>(slot, CODES_TURNS), keys_at, x);
    ptx_wgmma_wait<0>(); /* out; the weights have been read */
}

/* Queued: d = or += A B^T of an open page, A its keys or, IS_TURNED, its values, whose rows are tokens. */
template <class BLOCK, bool IS_TURNED>
PTX_DEVICE void queue_open(float (&d)[2][BLOCK::COLUMNS / 2], ptx_smem tile, ptx_smem columns) {
    const uint64_t desc_a = ptx_desc(tile, TILE_HALF_BYTES);
    const uint64_t desc_b = ptx_desc(columns, 16);
#pragma unroll
    for (int block = 0; block < 2; block++) {
        ptx_wgmma_fence();
#pragma unroll
        for (int step = 0; step < 8; step++) {
            const int at = IS_TURNED ? block * TILE_HALF_BYTES + step * 16 * ROW_BYTES
                                     : block * 64 * ROW_BYTES + step / 4 * TILE_HALF_BYTES + step % 4 * 32;
            ptx_wgmma_bf16<BLOCK::COLUMNS, IS_TURNED>(d[block], ptx_desc_after(desc_a, at),
                    ptx_desc_after(desc_b, step / 4 * BLOCK::COLUMN_HALF_BYTES + step % 4 * 32),
                    IS_TURNED || step > 0);
        }
        ptx_wgmma_commit();
    }
    ptx_wgmma_wait<0>();
}

/* An open page, its keys in `slot` and its values in the next. Nothing is queued before. */
template <class BLOCK>
PTX_DEVICE void attend_open(ptx_smem smem, int consumer, int page, uint32_t slot, bool is_first, float by,
        codes_state<BLOCK::COLUMNS> &state) {
    const uint32_t slot_v = slot_after<BLOCK>(slot);
    const ptx_smem weights = weights_of<BLOCK>(smem, consumer);
    codes_scores<BLOCK::COLUMNS> s;
    ptx_mbar_wait(codes_bar<BLOCK>(smem, BLOCK::FULL_AT, slot), parity_of<BLOCK>(slot));
    queue_open<BLOCK, false>(s.of, codes_stage<BLOCK>(smem, slot), smem + BLOCK::QUERIES_AT);
    arrive_as_warp(codes_bar<BLOCK>(smem, BLOCK::EMPTY_AT, slot));
    mask_columns<BLOCK>(smem, page, true, s);
    if (!(state.unit >= 1.0f)) change_unit(state, 1.0f); /* these values are of any size */
    take_weights<BLOCK, true>(s, smem, by, {1.0f, 1.0f, 0.0f}, is_first, state, consumer);
    ptx_mbar_wait(codes_bar<BLOCK>(smem, BLOCK::FULL_AT, slot_v), parity_of<BLOCK>(slot_v));
    queue_open<BLOCK, true>(state.out, codes_stage<BLOCK>(smem, slot_v), weights);
    arrive_as_warp(codes_bar<BLOCK>(smem, BLOCK::EMPTY_AT, slot_v));
}

#endif
