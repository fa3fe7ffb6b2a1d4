/* Attention by tiles: numbers as two halves, and scores that become weights. Included only by attn_amx.c. */
#ifndef ATTN_AMX_WEIGHTS_H
#define ATTN_AMX_WEIGHTS_H

#include "attn_amx_steps.h"

/* ---- weights --------------------------------------------------------------------------------- */

/* Scores that a row does not see become -inf. */
SIMD_INLINE void hide_scores(float *scores, int64_t n_visible, int64_t n_end) {
    for (int64_t key = rt_max64(n_visible, 0); key < n_end; key++) scores[key] = -INFINITY;
}

/* NaN is none. */
SIMD_INLINE vfloat largest_of_row(const float *scores, int64_t n_end) {
    vfloat largest = simd_set(-INFINITY);
    for (int64_t key = 0; key < n_end; key += SIMD_LANES)
        largest = simd_max(simd_load(scores + key), largest);
    return largest;
}

/* NaN in the lanes of rows with a score that is none, or with both infinities. Only of rows that would be left out as they
 * are, it matters. */
SIMD_OUTLINE vfloat spoilt_rows(const float *scores, int64_t n_rows, int64_t n_end) {
    vfloat sums[SIMD_LANES] = {{0}};
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t key = 0; key < n_end; key += SIMD_LANES)
            sums[i] += simd_load(scores + i * PAGE + key);
    return lanes_of(sums, false);
}

enum { VECTORS = AMX_STEP / SIMD_LANES };

/* Weights of 32 keys where their scores were, and what they come to. */
SIMD_INLINE vfloat weigh_keys_whole(float *scores, vfloat shift) {
    vfloat sum = {0};
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) {
        const vfloat weight = simd_exp2(simd_load(scores + v * SIMD_LANES) - shift);
        simd_store(scores + v * SIMD_LANES, weight);
        sum += weight;
    }
    return sum;
}

/* The same, as two halves. */
SIMD_INLINE vfloat weigh_keys(float *scores, vfloat shift, const bool is_whole) {
    if (is_whole) return weigh_keys_whole(scores, shift);
    uint16_t *weights = (uint16_t *)scores;
    vfloat sum = {0}, weight[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++)
        weight[v] = simd_exp2(simd_load(scores + v * SIMD_LANES) - shift);
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v += 2) {
        vfloat high[2], low[2];
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            high[i] = amx_high_half(weight[v + i]);
            low[i] = amx_high_half(weight[v + i] - high[i]);
            sum += high[i] + low[i];
        }
        amx_store_halves(weights + v * SIMD_LANES, high[0], high[1]);
        amx_store_halves(weights + LOW_AT + v * SIMD_LANES, low[0], low[1]);
    }
    return sum;
}

SIMD_INLINE vfloat weigh_row(float *scores, int64_t n_end, float shift, const bool is_whole) {
    vfloat sum = {0};
    for (int64_t key = 0; key < n_end; key += AMX_STEP)
        sum += weigh_keys(scores + key, simd_set(shift), is_whole);
    return sum;
}

/* A row of a whole page, and a step of two panels in quarters between. */
SIMD_INLINE vfloat weigh_row_beside(
        float *scores, float shift, const bool is_whole, const amx_step *s) {
    vfloat sum = {0};
#pragma GCC unroll 4
    for (int quarter = 0; quarter < PAGE / AMX_STEP; quarter++) {
        sum += weigh_keys(scores + quarter * AMX_STEP, simd_set(shift), is_whole);
        multiply_quarter(s, quarter);
    }
    return sum;
}

/* Rows [row, row + n) of the block, a vector of them at most; `steps` beside each. Returns whether any is seen. */
SIMD_INLINE bool weigh_rows(const attn_scratch *scratch, block *b, int64_t row, const bool is_whole,
        beside *work, int64_t steps) {
    const int64_t n = rt_min64(b->n_rows - row, SIMD_LANES);
    float *scores = b->scores + row * PAGE;
    vfloat rows[SIMD_LANES];
    for (int64_t i = 0; i < SIMD_LANES; i++) {
        rows[i] = (vfloat){0};
        if (i >= n) continue;
        const int64_t n_visible =
                rt_min64(scratch->limit[b->first + row + i] - b->page_pos, b->n_keys);
        b->n_visible[row + i] = (int32_t)rt_max64(n_visible, 0);
        if (n_visible < b->n_end) hide_scores(scores + i * PAGE, n_visible, b->n_end);
        rows[i] = largest_of_row(scores + i * PAGE, b->n_end);
    }
    page_max page = {lanes_of(rows, true), {0}};
    page_effect effect;
    float *max = scratch->part_max + b->first + row;
    if (is_any(is_left_out(page.largest, load_rows(max, (size_t)n, 0.0f))))
        page.spoilt = spoilt_rows(scores, n, b->n_end);
    float shift[SIMD_LANES];
    simd_store(shift, meet_page(page, 0, (size_t)n, max, &effect));
    for (int64_t i = 0; i < n; i++) b->n_visible[row + i] &= effect.is_seen[i];
    memcpy(b->alpha + row, effect.alpha, sizeof(vfloat));
    for (int64_t i = 0; i < SIMD_LANES; i++) rows[i] = (vfloat){0};
    for (int64_t i = 0; i < n; i++) {
        amx_step s;
        if (!effect.is_seen[i]) {
            memset(scores + i * PAGE, 0, (size_t)b->n_end * sizeof *scores);
            do_steps(work, steps);
        } else if (b->n_end == PAGE && work->is_two && begin_step(work, &s)) {
            rows[i] = weigh_row_beside(scores + i * PAGE, shift[i], is_whole, &s);
            end_step(work);
        } else {
            rows[i] = weigh_row(scores + i * PAGE, b->n_end, shift[i], is_whole);
            do_steps(work, steps);
        }
    }
    float *sums = scratch->part_sum + b->first + row;
    const vfloat sum = load_rows(sums, (size_t)n, 0.0f);
    store_rows(sums, (size_t)n, simd_fma(sum, simd_load(effect.alpha), lanes_of(rows, false)));
    return is_tile_seen(&effect, 0, n);
}

/* Whether any row of the block is seen. */
SIMD_TILE bool weigh_block(const attn_scratch *scratch, block *b, beside *work) {
    bool is_any_seen = false;
    score_what_is_infinite(b, work->head_dim);
    const int64_t steps = rt_div_up(work->n_left, b->n_rows);
    for (int64_t row = 0; row < b->n_rows; row += SIMD_LANES)
        is_any_seen |= b->key_scales.scale ? weigh_rows(scratch, b, row, true, work, steps)
                                           : weigh_rows(scratch, b, row, false, work, steps);
    do_rest(work);
    return is_any_seen;
}

#endif
