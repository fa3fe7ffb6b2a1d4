/* Scores -> weights, with 16 rows along the vectors: what a page does to the running maximum and sum of each
 * row. Included only by attn_simd.c.
 *
 * A row is seen in a page unless all its weights there underflow to 0, which its largest score tells;
 * a row whose scores hold NaN is seen, so that NaN is never dropped. Vectors of which no row is seen
 * take no exponentials and are left as scores: nobody reads them. */
#ifndef ATTN_WEIGHTS_H
#define ATTN_WEIGHTS_H

#include "attn_simd.h"
#include "runtime/base/simd.h"

/* Scores of 16 rows against a page. */
enum { PANEL_SCORES = ATTN_PAGE_TOKENS * SIMD_PANEL };

/* What a page does to each row. */
typedef struct page_effect {
    float alpha[ATTN_ROWS_MAX];     /* what the row's earlier sums are to be multiplied by */
    int32_t is_seen[ATTN_ROWS_MAX]; /* not 0: some weight is not 0 */
} page_effect;

SIMD_INLINE bool is_any(vint mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    int32_t any = 0;
    for (int i = 0; i < SIMD_LANES; i++) any |= mask[i];
    return any != 0;
#endif
}

SIMD_INLINE vfloat choose(vint mask, vfloat yes, vfloat no) {
    return (vfloat)(((vint)yes & mask) | ((vint)no & ~mask));
}

/* Largest score of each row of a vector, NaN left out of it; `spoilt` is NaN where there was one. */
typedef struct page_max {
    vfloat largest;
    vfloat spoilt;
} page_max;

/* Rows that see all of the page's keys. */
SIMD_INLINE page_max largest_scores(const float *scores, int64_t n_keys) {
    enum { CHAINS = 4 };
    vfloat largest[CHAINS];
    vfloat spoilt[CHAINS] = {{0}};
    for (int c = 0; c < CHAINS; c++) largest[c] = simd_set(-INFINITY);
    int64_t key = 0;
    for (; key + CHAINS <= n_keys; key += CHAINS)
#pragma GCC unroll 4
        for (int c = 0; c < CHAINS; c++) {
            const vfloat score = simd_load(scores + (key + c) * SIMD_PANEL);
            largest[c] = simd_max(score, largest[c]);
            spoilt[c] += score;
        }
    for (; key < n_keys; key++) {
        const vfloat score = simd_load(scores + key * SIMD_PANEL);
        largest[0] = simd_max(score, largest[0]);
        spoilt[0] += score;
    }
    return (page_max){simd_max(simd_max(largest[0], largest[1]), simd_max(largest[2], largest[3])),
            (spoilt[0] + spoilt[1]) + (spoilt[2] + spoilt[3])};
}

/* Rows that see n_visible of them: the scores of the others become -inf. */
SIMD_INLINE page_max largest_visible_scores(float *scores, int64_t n_keys, vint n_visible) {
    page_max max = {simd_set(-INFINITY), {0}};
    for (int64_t key = 0; key < n_keys; key++) {
        const vint is_visible = n_visible > (int32_t)key;
        const vfloat score =
                choose(is_visible, simd_load(scores + key * SIMD_PANEL), simd_set(-INFINITY));
        simd_store(scores + key * SIMD_PANEL, score);
        max.largest = simd_max(score, max.largest);
        max.spoilt += score;
    }
    return max;
}

/* Scores -> weights, and their sums in key order. */
SIMD_INLINE vfloat weigh_keys(float *scores, int64_t n_keys, vfloat max) {
    vfloat sum = {0};
    for (int64_t key = 0; key < n_keys; key++) {
        const vfloat weight = simd_exp2(simd_load(scores + key * SIMD_PANEL) - max);
        sum += weight;
        simd_store(scores + key * SIMD_PANEL, weight);
    }
    return sum;
}

/* One vector of rows; those past the split's last see nothing. */
SIMD_INLINE bool weigh_rows(const attn_split *split, const attn_scratch *scratch, int64_t row,
        int64_t page_pos, int64_t n_keys, page_effect *effect) {
    const size_t n = (size_t)rt_min64(split->n_rows - row, SIMD_LANES);
    float *scores = scratch->scores + row / SIMD_PANEL * PANEL_SCORES + row % SIMD_PANEL;
    vfloat row_max = simd_set(-INFINITY);
    vfloat row_sum = {0};
    vint n_visible = {0};
    memcpy(&row_max, scratch->part_max + row, n * sizeof(float));
    memcpy(&row_sum, scratch->part_sum + row, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        n_visible[i] =
                (int32_t)rt_max64(rt_min64(scratch->limit[row + (int64_t)i] - page_pos, n_keys), 0);

    const page_max page = is_any(n_visible < (int32_t)n_keys)
                                  ? largest_visible_scores(scores, n_keys, n_visible)
                                  : largest_scores(scores, n_keys);
    const vint is_zero = (page.largest == -INFINITY) | (page.largest - row_max < -126.0f);
    const vint is_seen = ~is_zero | (page.spoilt != page.spoilt);
    memcpy(effect->is_seen + row, &is_seen, sizeof is_seen);
    if (!is_any(is_seen)) return false;

    const vfloat max = choose(is_seen & (page.largest > row_max), page.largest, row_max);
    const vfloat shift = choose(max == -INFINITY, (vfloat){0}, max); /* -inf - -inf is NaN */
    const vfloat alpha = simd_exp2(row_max - shift);
    const vfloat sum = simd_fma(row_sum, alpha, weigh_keys(scores, n_keys, shift));
    memcpy(effect->alpha + row, &alpha, sizeof alpha);
    memcpy(scratch->part_max + row, &max, n * sizeof(float));
    memcpy(scratch->part_sum + row, &sum, n * sizeof(float));
    return true;
}

SIMD_OUTLINE bool weigh_page(const attn_split *split, const attn_scratch *scratch, int64_t page_pos,
        int64_t n_keys, page_effect *effect) {
    bool is_any_seen = false;
    for (int64_t row = 0; row < split->n_rows; row += SIMD_LANES)
        is_any_seen |= weigh_rows(split, scratch, row, page_pos, n_keys, effect);
    return is_any_seen;
}

#endif
