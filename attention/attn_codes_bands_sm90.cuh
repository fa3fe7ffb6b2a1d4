/* Decode for Hopper over pages of e4m3: a page where a tile of 64 rows has four consumers, with 32 rows and every other page
 * each (CODES_BAND; attn_codes_sm90.cuh).
 *
 * A page's codes become operands twice, once a band; but a scheduler has four warps that compute, not two. They have 112
 * registers, of which S and O are 64: so codes are made operands for 64 dims, or tokens, at a time, and nothing is loaded
 * ahead. A row's bits are what they are with two. */
#ifndef ATTN_CODES_BANDS_SM90_CUH
#define ATTN_CODES_BANDS_SM90_CUH

#include "attn_codes_pages_sm90.cuh"

/* Four of a block's eight steps of 16 columns. */
typedef uint32_t half_codes[4][2];
typedef uint32_t half_operand[4][4];

/* As load_keys() and load_values() have them. */
PTX_DEVICE void load_half_keys(ptx_smem codes, int thread, int block, int half, half_codes &x) {
    const int g = thread % WARP / 4, row = 16 * (thread % GROUP / WARP) + g / 2 * 4 + g % 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const uint4 words = ptx_lds128(codes + tile_chunk(row + 2 * h, 2 * (thread % 4) + half) +
                                       (ptx_smem)(block * 64 * ROW_BYTES));
        x[0][h] = words.x;
        x[1][h] = words.y;
        x[2][h] = words.z;
        x[3][h] = words.w;
    }
}
PTX_DEVICE void load_half_values(ptx_smem codes, int thread, int block, int half, half_codes &x) {
    const int dim = 16 * (thread % GROUP / WARP) + thread % WARP / 4;
    const ptx_smem from = codes + ATTN_FP8_TILE_BYTES + (ptx_smem)(dim * 16 + thread % 4 * 4);
#pragma unroll
    for (int i = 0; i < 8; i++)
        x[i / 2][i % 2] = ptx_lds32(
                from + (ptx_smem)((4 * half + i / 2) * 16 * HEAD_DIM + (64 * block + 8 * (i % 2)) * 16));
}

PTX_DEVICE void widen_half(const half_codes &x, half_operand &a) {
#pragma unroll
    for (int i = 0; i < 8; i++) ptx_f16_of_e4m3(x[i / 2][i % 2], a[i / 2][i % 2], a[i / 2][i % 2 + 2]);
}

/* Queued: d = or += a b^T over those four steps. */
template <class BLOCK>
PTX_DEVICE void queue_half(float (&d)[BLOCK::COLUMNS / 2], const half_operand &a, ptx_smem b, int half, bool is_sum) {
    const uint64_t desc = ptx_desc(b, 16);
    ptx_wgmma_fence();
#pragma unroll
    for (int step = 0; step < 4; step++)
        ptx_wgmma_f16<BLOCK::COLUMNS>(d, a[step],
                ptx_desc_after(desc, half * BLOCK::COLUMN_HALF_BYTES + step * 32), is_sum || step > 0);
    ptx_wgmma_commit();
}

/* S^T of a page. */
template <class BLOCK>
PTX_DEVICE void score_page(ptx_smem codes, ptx_smem queries, codes_scores<BLOCK::COLUMNS> &s) {
    const int thread = (int)ptx_here((uint32_t)ptx_thread());
#pragma unroll
    for (int i = 0; i < 4; i++) {
        half_codes x;
        half_operand a;
        load_half_keys(codes, thread, i / 2, i % 2, x);
        widen_half(x, a);
        queue_half<BLOCK>(s.of[i / 2], a, queries, i % 2, i % 2 == 1);
        ptx_wgmma_wait<0>();
    }
}

/* O^T += V^T P^T. Codes read, the page is given back. */
template <class BLOCK>
PTX_DEVICE void add_page(ptx_smem codes, ptx_smem weights, ptx_smem empty, codes_state<BLOCK::COLUMNS> &state) {
    const int thread = (int)ptx_here((uint32_t)ptx_thread());
    ptx_wgmma_pin(state.out[0]), ptx_wgmma_pin(state.out[1]);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        half_codes x;
        half_operand a;
        load_half_values(codes, thread, i / 2, i % 2, x);
        if (i == 3) {
            ptx_fence_async();
            release_by_warp(empty);
        }
        widen_half(x, a);
        queue_half<BLOCK>(state.out[i / 2], a, weights, i % 2, true);
        ptx_wgmma_wait<0>();
    }
}

/* A page of e4m3. */
template <class BLOCK>
PTX_DEVICE void attend_in_band(ptx_smem smem, int consumer, int page, bool is_masked, uint32_t slot,
        codes_state<BLOCK::COLUMNS> &state) {
    const ptx_smem codes = codes_stage<BLOCK>(smem, slot);
    const ptx_smem scales = smem + BLOCK::SCALES_AT + stage_of<BLOCK>(slot) * SCALES_BYTES;
    codes_scores<BLOCK::COLUMNS> s;
    ptx_mbar_wait(codes_bar<BLOCK>(smem, BLOCK::FULL_AT, slot), parity_of<BLOCK>(slot));
    const float by = lds_float(scales), scale = lds_float(scales + 4);
    score_page<BLOCK>(codes, queries_of_band<BLOCK>(smem, band_of<BLOCK>(consumer)), s);
    if (is_masked) mask_columns<BLOCK>(smem, consumer, page, false, s);
    const uint32_t ratio = ratio_to_unit(state, scale);
    take_weights<BLOCK, false>(s, smem, by, ratio, state, consumer);
    add_page<BLOCK>(
            codes, weights_of<BLOCK>(smem, consumer), codes_bar<BLOCK>(smem, BLOCK::EMPTY_AT, slot), state);
}

#endif
