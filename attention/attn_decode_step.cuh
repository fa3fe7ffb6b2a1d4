/* Decode on sm_80: a step, 16 keys of a class that are in shared memory: scores, weights, and what they add to the warp's
 * state. The products are transposed (attn_decode.cu): keys are the rows of S^T, query rows its columns. Here and below g is
 * lane / 4, q is lane % 4.
 *
 * Which numbers are where. Row m of the products' 16 is key m for bf16 pages; with e4m3 it is key
 * 4 (m / 2 % 4) + m % 2 + 2 (m / 8), so that the four keys of a lane as operand A are one behind the other. Dims
 * 16k + 2q, + 1, + 8, + 9 of step k are those for bf16 pages; with e4m3 dims 32q + 4k, + 1, + 2, + 3. */
#ifndef ATTN_DECODE_STEP_CUH
#define ATTN_DECODE_STEP_CUH

#include "attn_decode_block.cuh"

/* A lane's part of a warp's state, n-tile n: rows 8n + 2q, + 1; dims 16j + g, + 8. `sum` is of this
 * lane's keys alone. */
template <int NT> struct decode_state {
    float max[NT][2];
    float sum[NT][2];
    float out[NT][N_DIM_TILES][4];
};

template <bool IS_FP8> PTX_DEVICE int key_of_row(int m) {
    return IS_FP8 ? 4 * (m / 2 % 4) + m % 2 + 2 * (m / 8) : m;
}

/* Q^T as operand B: row g of each n-tile. Rows that are not there are 0. */
template <int NT, bool IS_FP8>
PTX_DEVICE void load_queries(const decode_params &p, const decode_work &w, int first_row,
        uint32_t (&b)[NT][HEAD_DIM / 16][2]) {
    const int lane = lane_of();
#pragma unroll
    for (int n = 0; n < NT; n++) {
        const int row = first_row + 8 * n + lane / 4;
        const bool is_row = row < w.n_rows;
        const uint16_t *q = query_of(p, place_of_row(p, w, is_row ? row : 0), w.kv_head);
#pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; k++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int dim = IS_FP8 ? lane % 4 * 32 + 4 * k + 2 * half
                                       : 16 * k + lane % 4 * 2 + 8 * half;
                b[n][k][half] = is_row ? *(const uint32_t *)(q + dim) : 0u;
            }
    }
}

/* ---- scores ---------------------------------------------------------------------------------- */

template <int NT>
PTX_DEVICE void multiply_keys(
        ptx_smem keys, const uint32_t (&b)[NT][HEAD_DIM / 16][2], float (&s)[NT][4]) {
    const uint32_t lane = tile_lane_rows16(lane_of());
#pragma unroll
    for (int k = 0; k < HEAD_DIM / 16; k++) {
        uint32_t a[4];
        ptx_ldmatrix(a, keys + tile_step(lane, k, HALF_BYTES));
#pragma unroll
        for (int n = 0; n < NT; n++) ptx_mma(s[n], a, b[n][k][0], b[n][k][1]);
    }
}

/* The same of a bf16 page among e4m3 ones: a lane's 32 dims of two keys, 16 bytes at a time. */
template <int NT>
PTX_DEVICE void multiply_open_keys(
        ptx_smem keys, const uint32_t (&b)[NT][HEAD_DIM / 16][2], float (&s)[NT][4]) {
    const int low = key_of_row<true>(lane_of() / 4), high = key_of_row<true>(lane_of() / 4 + 8);
#pragma unroll
    for (int chunk = 0; chunk < 4; chunk++) { /* of 8 dims: two steps */
        const int of_row = lane_of() % 4 * 4 + chunk;
        const uint4 x = ptx_lds128(keys + tile_at(low, of_row, HALF_BYTES));
        const uint4 y = ptx_lds128(keys + tile_at(high, of_row, HALF_BYTES));
        const uint32_t a[2][4] = {{x.x, y.x, x.y, y.y}, {x.z, y.z, x.w, y.w}};
#pragma unroll
        for (int k = 0; k < 2; k++)
#pragma unroll
            for (int n = 0; n < NT; n++)
                ptx_mma(s[n], a[k], b[n][2 * chunk + k][0], b[n][2 * chunk + k][1]);
    }
}

/* Codes of two keys, or dims, four each -> operand A. */
PTX_DEVICE void widen(uint32_t low, uint32_t high, uint32_t (&a)[4]) {
    a[0] = ptx_e4m3_low(low);
    a[1] = ptx_e4m3_low(high);
    a[2] = ptx_e4m3_high(low);
    a[3] = ptx_e4m3_high(high);
}

template <int NT>
PTX_DEVICE void multiply_key_codes(
        ptx_smem keys, const uint32_t (&b)[NT][HEAD_DIM / 16][2], float (&s)[NT][4]) {
    const int low = key_of_row<true>(lane_of() / 4), high = key_of_row<true>(lane_of() / 4 + 8);
#pragma unroll
    for (int chunk = 0; chunk < 2; chunk++) { /* of 16 dims: four steps */
        const int of_row = lane_of() % 4 * 2 + chunk;
        const uint4 x = ptx_lds128(keys + tile_chunk(low, of_row));
        const uint4 y = ptx_lds128(keys + tile_chunk(high, of_row));
        const uint32_t codes[4][2] = {{x.x, y.x}, {x.y, y.y}, {x.z, y.z}, {x.w, y.w}};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t a[4];
            widen(codes[k][0], codes[k][1], a);
#pragma unroll
            for (int n = 0; n < NT; n++)
                ptx_mma(s[n], a, b[n][4 * chunk + k][0], b[n][4 * chunk + k][1]);
        }
    }
}

/* Keys that a row does not see: -inf. s[n][c] is row g + 8 (c / 2) of the products, query row 8n + 2q +
 * c % 2. A query sees what lies before it; of two forms of a page, bf16 where it lies in it. */
template <int NT, bool IS_FP8, bool IS_LISTED>
PTX_DEVICE void mask(const decode_params &p, const decode_work &w, decode_step step, ptx_smem smem,
        float (&s)[NT][4]) {
    const int lane = lane_of();
    const int first_row = first_row_of<IS_LISTED>(p, w, smem) + row_group_of() * 8 * NT;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const int row = first_row + 8 * n + lane % 4 * 2 + c % 2;
            const int key = step.key + key_of_row<IS_FP8>(lane / 4 + c / 2 * 8);
            const int n_seen = w.first_seen + row / p.group;
            bool is_seen = key < n_seen;
            if (IS_FP8) {
                const bool is_own_page = key >= ((n_seen - 1) & ~(PAGE - 1));
                is_seen = is_seen && is_own_page == step.is_open;
            }
            if (!is_seen) s[n][c] = -INFINITY;
        }
}

/* ---- weights --------------------------------------------------------------------------------- */

/* Over the eight lanes that share a row. */
PTX_DEVICE float max_of_row(float v) {
    v = fmaxf(v, ptx_shfl_xor(v, 4));
    v = fmaxf(v, ptx_shfl_xor(v, 8));
    return fmaxf(v, ptx_shfl_xor(v, 16));
}
PTX_DEVICE float sum_of_row(float v) {
    v += ptx_shfl_xor(v, 4);
    v += ptx_shfl_xor(v, 8);
    return v + ptx_shfl_xor(v, 16);
}

template <int NT> PTX_DEVICE void weigh(float (&s)[NT][4], decode_state<NT> &state, float scale) {
    float factor[NT][2];
    bool is_risen = false;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const float max =
                    fmaxf(state.max[n][c], max_of_row(fmaxf(s[n][c], s[n][c + 2])) * scale);
            const float base = max == -INFINITY ? 0.0f : max;
            is_risen = is_risen || max > state.max[n][c];
            factor[n][c] = ptx_exp2(state.max[n][c] - base);
            state.max[n][c] = max;
            s[n][c] = ptx_exp2(fmaf(s[n][c], scale, -base));
            s[n][c + 2] = ptx_exp2(fmaf(s[n][c + 2], scale, -base));
            state.sum[n][c] = fmaf(state.sum[n][c], factor[n][c], s[n][c] + s[n][c + 2]);
        }
    if (!ptx_any(is_risen)) return;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) state.out[n][j][c] *= factor[n][c % 2];
}

/* Weights as operand B, times the values' scale. */
template <int NT> PTX_DEVICE void pack(const float (&s)[NT][4], float scale, uint32_t (&b)[NT][2]) {
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            b[n][half] = ptx_movmatrix_trans(
                    ptx_pack_bf16(s[n][2 * half] * scale, s[n][2 * half + 1] * scale));
}

/* ---- values ---------------------------------------------------------------------------------- */

/* V^T as operand A, its rows in the products' order. Of the one bf16 page among e4m3 ones two fall on the same
 * banks. */
template <int NT, bool IS_FP8>
PTX_DEVICE void multiply_values(
        ptx_smem values, const uint32_t (&b)[NT][2], decode_state<NT> &state) {
    const int m = (lane_of() & 7) + 8 * (lane_of() >> 4);
    const uint32_t lane = tile_chunk(key_of_row<IS_FP8>(m), lane_of() >> 3 & 1);
#pragma unroll
    for (int j = 0; j < N_DIM_TILES; j++) {
        uint32_t a[4];
        ptx_ldmatrix_trans(a, values + tile_step(lane, j, HALF_BYTES));
#pragma unroll
        for (int n = 0; n < NT; n++) ptx_mma(state.out[n][j], a, b[n][0], b[n][1]);
    }
}

template <int NT>
PTX_DEVICE void multiply_value_codes(
        ptx_smem values, const uint32_t (&b)[NT][2], decode_state<NT> &state) {
    const ptx_smem at = values + (ptx_smem)(lane_of() / 4 * CLASS_KEYS + lane_of() % 4 * 4);
#pragma unroll
    for (int j = 0; j < N_DIM_TILES; j++) { /* dims 16j + g, + 8 */
        uint32_t a[4];
        widen(ptx_lds32(at + 16 * j * CLASS_KEYS), ptx_lds32(at + (16 * j + 8) * CLASS_KEYS), a);
#pragma unroll
        for (int n = 0; n < NT; n++) ptx_mma(state.out[n][j], a, b[n][0], b[n][1]);
    }
}

/* ---- a step ---------------------------------------------------------------------------------- */

template <int NT> PTX_DEVICE void clear(float (&s)[NT][4]) {
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 4; c++) s[n][c] = 0.0f;
}

/* A step over a bf16 page. */
template <int NT, bool IS_FP8, bool IS_LISTED>
PTX_DEVICE void fold_rows(const decode_params &p, const decode_work &w, decode_step step,
        ptx_smem smem, ptx_smem stage, const uint32_t (&q)[NT][HEAD_DIM / 16][2],
        decode_state<NT> &state) {
    float s[NT][4];
    uint32_t weights[NT][2];
    clear<NT>(s);
    if (IS_FP8)
        multiply_open_keys<NT>(stage, q, s);
    else
        multiply_keys<NT>(stage, q, s);
    if (IS_FP8 || step.key + CLASS_KEYS > w.first_seen)
        mask<NT, IS_FP8, IS_LISTED>(p, w, step, smem, s);
    weigh<NT>(s, state, p.scale);
    pack<NT>(s, 1.0f, weights);
    multiply_values<NT, IS_FP8>(stage + OPERAND_BYTES, weights, state);
}

/* A step over an e4m3 page. */
template <int NT, bool IS_LISTED>
PTX_DEVICE void fold_codes(const decode_params &p, const decode_work &w, decode_step step,
        ptx_smem smem, ptx_smem stage, const uint32_t (&q)[NT][HEAD_DIM / 16][2],
        decode_state<NT> &state) {
    float s[NT][4];
    uint32_t weights[NT][2];
    const float key_scale = ptx_bits_float(ptx_lds32(stage + FP8_SCALES_AT));
    const float value_scale = ptx_bits_float(ptx_lds32(stage + FP8_SCALES_AT + 4));
    clear<NT>(s);
    multiply_key_codes<NT>(stage, q, s);
    if (step.key >= w.open_key) mask<NT, true, IS_LISTED>(p, w, step, smem, s);
    weigh<NT>(s, state, p.scale * key_scale);
    pack<NT>(s, value_scale, weights);
    multiply_value_codes<NT>(stage + FP8_OPERAND_BYTES, weights, state);
}

#endif
