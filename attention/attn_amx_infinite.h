/* Attention by tiles where a key or a value is Inf or NaN. Included only by attn_amx.c.
 *
 * As two halves, numbers times Inf are NaN: a half may be 0, or of the other sign. And rows of a block meet values of keys
 * that they do not see with weights of 0, which times Inf or NaN is NaN. So what tiles make of such numbers is not taken:
 * rows that see them get them as the other kernels give them, in fp32; but a query's number below 2^-126 is 0, and times Inf NaN.
 *
 * That there are some is seen in the first row's scores and sums: where a key, or a dim of the values, has one, every
 * row's are Inf or NaN. What else is finite has the bits that it has without.
 *
 * Finite numbers whose products or sums are too large for fp32 are as they fall: that is Inf or NaN by the order of
 * the additions, here another one than by vectors. */
#ifndef ATTN_AMX_INFINITE_H
#define ATTN_AMX_INFINITE_H

#include "attn_amx_scaled.h"
#include "attn_effect.h"

SIMD_INLINE bool is_any_infinite(const float *numbers, int64_t n) {
    vint any = {0};
    for (int64_t i = 0; i < n; i += SIMD_LANES) any |= is_infinite(simd_load(numbers + i));
    return is_any(any);
}

SIMD_INLINE float number_of_half(uint16_t half) {
    return rt_bf16_to_float(half);
}

SIMD_INLINE bool is_half_finite(uint16_t half) {
    return (half & 0x7f80) != 0x7f80;
}

SIMD_INLINE bool is_half_nan(uint16_t half) {
    return (half & 0x7fff) > 0x7f80;
}

/* ---- codes of int8 and int4 ------------------------------------------------------------------ */

/* What column `column` of a line reads as: a dim of keys and a token, a token of values and a dim. */
SIMD_INLINE float number_of_code(const stored *from, int64_t line, int64_t column) {
    const attn_sealed *sealed = &from->sealed;
    const int64_t group = column / ATTN_SEAL_GROUP * sealed->n_lines + line, i = column % PANEL;
    const uint8_t *codes = (const uint8_t *)from->base + sealed->codes +
                           (column / PANEL * sealed->n_lines + line) * sealed->line_bytes;
    const int code = sealed->dtype == RT_INT8 ? codes[i] : codes[i % 8] >> i / 8 * 4 & 15;
    uint16_t scale, zero;
    memcpy(&scale, from->base + sealed->scales + 2 * group, sizeof scale);
    memcpy(&zero, from->base + sealed->zeros + 2 * group, sizeof zero);
    return number_of_half(zero) + number_of_half(scale) * (float)code;
}

/* The line's numbers are not finite: of one group all are so, or none. */
typedef struct line_kind {
    bool is_finite;
    bool is_nan;
} line_kind;

SIMD_INLINE line_kind kind_of_line(const stored *from, int64_t group, int64_t line) {
    uint16_t scale, zero;
    const int64_t at = 2 * (group * from->sealed.n_lines + line);
    memcpy(&scale, from->base + from->sealed.scales + at, sizeof scale);
    memcpy(&zero, from->base + from->sealed.zeros + at, sizeof zero);
    return (line_kind){
            is_half_finite(scale) && is_half_finite(zero), is_half_nan(scale) || is_half_nan(zero)};
}

/* ---- scores ---------------------------------------------------------------------------------- */

SIMD_INLINE const uint16_t *key_at(const block *b, int64_t key, int64_t d, int32_t head_dim) {
    return b->keys + key / PANEL * PANEL * head_dim + d / 2 * 2 * PANEL + 2 * (key % PANEL) + d % 2;
}

typedef struct key_kind {
    bool is_finite;
    bool has_nan;
} key_kind;

SIMD_INLINE key_kind kind_of_key(const block *b, int64_t key, int32_t head_dim) {
    key_kind kind = {.is_finite = true};
    for (int64_t d = 0; d < head_dim && !kind.has_nan; d++) {
        const uint16_t half = *key_at(b, key, d, head_dim);
        kind.is_finite &= is_half_finite(half);
        kind.has_nan = is_half_nan(half);
    }
    return kind;
}

SIMD_INLINE float query_at(const block *b, int64_t row, int64_t d, int32_t head_dim) {
    if (b->q_rows) return b->q_rows[row * head_dim + d];
    const uint16_t *at = b->q + row / PANEL * amx_panel_halves(head_dim) + row % PANEL * AMX_STEP +
                         d / AMX_STEP * 2 * AMX_TILE_HALVES + d % AMX_STEP;
    return number_of_half(at[0]) + number_of_half(at[AMX_TILE_HALVES]);
}

SIMD_INLINE float score_of(const block *b, int64_t row, int64_t key, int32_t head_dim) {
    float score = 0.0f;
    for (int64_t d = 0; d < head_dim; d++) {
        const float number = b->key_scales.scale ? number_of_code(&b->key_scales.from, d, key)
                                                 : number_of_half(*key_at(b, key, d, head_dim));
        score += query_at(b, row, d, head_dim) * number;
    }
    return score;
}

/* A key with NaN makes every score NaN, which needs no products: behind one token that is NaN, layer by layer, all are. */
SIMD_OUTLINE RT_TOLD void score_infinite_keys(const block *b, int32_t head_dim) {
    for (int64_t key = 0; key < b->n_keys; key++) {
        if (isfinite(b->scores[key])) continue;
        const key_kind kind = kind_of_key(b, key, head_dim);
        for (int64_t row = 0; row < b->n_rows && !kind.is_finite; row++)
            b->scores[row * PAGE + key] = kind.has_nan ? NAN : score_of(b, row, key, head_dim);
    }
}

/* Of a group of keys with an infinite line no number is finite. */
SIMD_INLINE void score_infinite_group(const block *b, int64_t group, int32_t head_dim) {
    line_kind kind = {.is_finite = true};
    for (int64_t d = 0; d < head_dim && !kind.is_nan; d++) {
        const line_kind line = kind_of_line(&b->key_scales.from, group, d);
        kind = (line_kind){kind.is_finite && line.is_finite, line.is_nan};
    }
    if (kind.is_finite) return;
    const int64_t first = group * ATTN_SEAL_GROUP;
    for (int64_t key = first; key < rt_min64(first + ATTN_SEAL_GROUP, b->n_keys); key++)
        for (int64_t row = 0; row < b->n_rows; row++)
            b->scores[row * PAGE + key] = kind.is_nan ? NAN : score_of(b, row, key, head_dim);
}

SIMD_OUTLINE RT_TOLD void score_infinite_groups(const block *b, int32_t head_dim) {
    for (int64_t group = 0; group < PAGE / ATTN_SEAL_GROUP; group++)
        score_infinite_group(b, group, head_dim);
}

SIMD_OUTLINE RT_TOLD void score_infinite_rows(const block *b, int32_t head_dim) {
    for (int64_t row = 0; row < b->n_rows; row++)
        for (int64_t key = 0; key < b->n_keys && b->is_infinite[row]; key++)
            b->scores[row * PAGE + key] = score_of(b, row, key, head_dim);
}

SIMD_INLINE void score_what_is_infinite(const block *b, int32_t head_dim) {
    if (b->key_scales.scale) {
        if (__builtin_expect(!b->key_scales.is_finite, false)) score_infinite_groups(b, head_dim);
    } else if (b->keys && __builtin_expect(is_any_infinite(b->scores, b->n_end), false)) {
        score_infinite_keys(b, head_dim);
    }
    if (__builtin_expect(b->is_infinite != NULL, false)) score_infinite_rows(b, head_dim);
}

/* ---- outputs --------------------------------------------------------------------------------- */

SIMD_INLINE float weight_at(const block *b, int64_t row, int64_t key) {
    const uint16_t *weights = (const uint16_t *)(b->scores + row * PAGE) +
                              key / AMX_STEP * 2 * AMX_STEP + key % AMX_STEP;
    return number_of_half(weights[0]) + number_of_half(weights[LOW_AT]);
}

/* Number `at` of the values of 32 dims, two panels as they lie in a page. */
SIMD_INLINE int64_t key_of_number(int64_t at) {
    return at % (PAGE * PANEL) / (2 * PANEL) * 2 + at % 2;
}

SIMD_INLINE int64_t dim_of_number(int64_t at) {
    return at / (PAGE * PANEL) * PANEL + at % (2 * PANEL) / 2;
}

SIMD_INLINE void add_infinite_value(const block *b, int64_t at, uint16_t half, float *sums) {
    const int64_t key = key_of_number(at);
    for (int64_t row = 0; row < b->n_rows; row++)
        if (key < b->n_visible[row])
            sums[row * AMX_STEP + dim_of_number(at)] +=
                    weight_at(b, row, key) * number_of_half(half);
}

/* Every Inf; of NaN the first one of a dim, which is enough. */
SIMD_INLINE void add_infinite_values(const block *b, const uint16_t *values, float *sums) {
    int64_t first_nan[AMX_STEP];
    for (int64_t d = 0; d < AMX_STEP; d++) first_nan[d] = PAGE;
    for (int64_t at = 0; at < 2 * PAGE * PANEL; at++) {
        if (at % (PAGE * PANEL) >= b->n_end * PANEL || is_half_finite(values[at])) continue;
        int64_t *first = &first_nan[dim_of_number(at)];
        if (is_half_nan(values[at]))
            *first = rt_min64(*first, key_of_number(at));
        else
            add_infinite_value(b, at, values[at], sums);
    }
    for (int64_t row = 0; row < b->n_rows; row++)
        for (int64_t d = 0; d < AMX_STEP; d++)
            if (first_nan[d] < b->n_visible[row]) sums[row * AMX_STEP + d] = NAN;
}

/* The products of `values`, which are finite, as a step of attn_amx_steps.h adds them up. Tiles are kept. */
RT_TOLD static void sum_finite_values(const block *b, const uint16_t *values, float *sums) {
    const bool is_two = b->n_rows > PANEL;
    float kept[ROWS * AMX_STEP] __attribute__((aligned(AMX_LINE_BYTES)));
    amx_step step = {.a = (const uint16_t *)b->scores,
            .a_stride = PAGE * sizeof(float),
            .other_at = PANEL * PAGE * 2,
            .low_at = LOW_AT,
            .b = values,
            .other_b_at = PAGE * PANEL};
    const int64_t line_bytes = AMX_STEP * sizeof(float);
    amx_store_sums(true, kept, line_bytes, PANEL * AMX_STEP);
    amx_clear_sums(is_two);
    for (int64_t key = 0; key < b->n_end; key += AMX_STEP) {
        amx_multiply_step(&step, is_two);
        step.a += 2 * AMX_STEP;
        step.b += AMX_STEP * PANEL;
    }
    amx_store_sums(is_two, sums, line_bytes, PANEL * AMX_STEP);
    amx_load_sums(true, kept, line_bytes, PANEL * AMX_STEP);
}

/* Sums of 32 dims once more, without values that are not finite, and then those. */
SIMD_OUTLINE RT_TOLD void sum_infinite_values(const block *b, const uint16_t *values, float *sums) {
    enum { NUMBERS = 2 * PAGE * PANEL };
    uint16_t finite[NUMBERS] __attribute__((aligned(AMX_LINE_BYTES)));
    for (int64_t at = 0; at < NUMBERS; at++) {
        const bool is_there = at % (PAGE * PANEL) < b->n_end * PANEL;
        finite[at] = is_there && is_half_finite(values[at]) ? values[at] : 0;
    }
    sum_finite_values(b, finite, sums);
    add_infinite_values(b, values, sums);
}

/* A line of infinities, which the tiles took for 0. */
SIMD_INLINE void add_infinite_line(
        const block *b, int64_t key, int64_t first_dim, bool is_nan, float *sums) {
    for (int64_t d = 0; d < AMX_STEP; d++) {
        const float value =
                is_nan ? NAN : number_of_code(&b->value_scales.from, key, first_dim + d);
        for (int64_t row = 0; row < b->n_rows; row++)
            if (key < b->n_visible[row])
                sums[row * AMX_STEP + d] += b->scores[row * PAGE + key] * value;
    }
}

/* Of lines of NaN one is enough: the first, which whoever sees another of them sees. */
SIMD_OUTLINE RT_TOLD void add_infinite_lines(const block *b, int64_t first_dim, float *sums) {
    bool is_nan_there = false;
    for (int64_t key = 0; key < b->n_keys; key++) {
        const line_kind kind =
                kind_of_line(&b->value_scales.from, first_dim / ATTN_SEAL_GROUP, key);
        if (kind.is_finite || (kind.is_nan && is_nan_there)) continue;
        add_infinite_line(b, key, first_dim, kind.is_nan, sums);
        is_nan_there |= kind.is_nan;
    }
}

/* The sums of 32 dims, as they were stored. */
SIMD_INLINE void sum_what_is_infinite(const block *b, int64_t first_dim, float *sums) {
    if (b->value_scales.scale) {
        if (__builtin_expect(!b->value_scales.is_finite, false))
            add_infinite_lines(b, first_dim, sums);
    } else if (b->values && __builtin_expect(is_any_infinite(sums, AMX_STEP), false)) {
        sum_infinite_values(b, b->values + first_dim * PAGE, sums);
    }
}

#endif
