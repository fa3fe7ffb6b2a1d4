/* A few rows against a page, as in decode: keys along the vectors of scores, and K and V as they are
 * stored, widened in registers. Included only by attn_simd.c.
 *
 *   scores, weights  [row][128 keys] */
#ifndef ATTN_FEW_H
#define ATTN_FEW_H

#include "attn_effect.h"
#include "attn_widen.h"

enum { FEW_PAGE = ATTN_PAGE_TOKENS };

/* Lines x panels of a tile. Accumulators, sums, vectors of the panels and one number fit the
 * registers; two panels of bf16 are two streams of memory, four are four. */
#if defined(__AVX512F__)
#define FEW_SHAPES(X) X(8, 2) X(8, 1) X(4, 4) X(4, 1)
#elif defined(__AVX2__)
#define FEW_SHAPES(X) X(4, 1)
#else
#define FEW_SHAPES(X) X(2, 1)
#endif

/* ---- scores ---------------------------------------------------------------------------------- */

SIMD_INLINE void few_scores(const int n_lines, const int n_panels, const rt_dtype dtype,
        const float *q, int32_t head_dim, const void *keys, tile_ahead ahead, float *scores) {
    const int across = n_panels * SIMD_VECTORS;
    vfloat acc[TILE_VECTORS_MAX] = {0};
    tile(n_lines, n_panels, dtype, (tile_a){q, 1, SIMD_PANEL},
            (tile_b){keys, (int64_t)head_dim * SIMD_PANEL}, head_dim, ahead, acc, NULL);
#pragma GCC unroll 16
    for (int i = 0; i < n_lines; i++)
#pragma GCC unroll 16
        for (int v = 0; v < across; v++)
            simd_store(scores + i * FEW_PAGE + v * SIMD_LANES, acc[i * across + v]);
}

/* ---- weights --------------------------------------------------------------------------------- */

SIMD_INLINE float largest_lane(vfloat value) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)value);
#else
    float largest = value[0];
    for (int i = 1; i < SIMD_LANES; i++) largest = value[i] > largest ? value[i] : largest;
    return largest;
#endif
}

/* A row's scores -> weights, zeros where it is not seen. n_keys is that of the page's longest row. */
SIMD_INLINE bool few_weigh_row(
        float *scores, int64_t n_visible, int64_t n_keys, float *row_max, float *alpha) {
    const int64_t end = rt_round_up(n_keys, SIMD_LANES);
    for (int64_t key = rt_max64(n_visible, 0); key < end; key++) scores[key] = -INFINITY;
    vfloat largest = simd_set(-INFINITY);
    vfloat spoilt = {0};
    for (int64_t key = 0; key < end; key += SIMD_LANES) {
        const vfloat score = simd_load(scores + key);
        largest = simd_max(score, largest);
        spoilt += score;
    }
    const float page_max = largest_lane(largest);
    const bool is_zero = page_max == -INFINITY || page_max - *row_max < -126.0f;
    *alpha = 1.0f;
    if (is_zero && !is_any(spoilt != spoilt)) {
        memset(scores, 0, (size_t)end * sizeof *scores);
        return false;
    }
    const float max = page_max > *row_max ? page_max : *row_max;
    const float shift = max == -INFINITY ? 0.0f : max; /* -inf - -inf is NaN */
    *alpha = simd_exp2_one(*row_max - shift);
    *row_max = max;
    for (int64_t key = 0; key < end; key += SIMD_LANES)
        simd_store(scores + key, simd_exp2(simd_load(scores + key) - simd_set(shift)));
    return true;
}

SIMD_OUTLINE bool few_weigh(const attn_split *split, const attn_scratch *scratch, int64_t page_pos,
        int64_t n_keys, page_effect *effect) {
    bool is_any_seen = false;
    for (int64_t row = 0; row < split->n_rows; row++) {
        const int64_t n_visible = rt_min64(scratch->limit[row] - page_pos, n_keys);
        const bool is_seen = few_weigh_row(scratch->scores + row * FEW_PAGE, n_visible, n_keys,
                scratch->part_max + row, effect->alpha + row);
        effect->is_seen[row] = is_seen;
        is_any_seen |= is_seen;
    }
    return is_any_seen;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The first panels of values bring the sums of weights along, in key order. */
SIMD_INLINE void few_output(const int n_lines, const int n_panels, const rt_dtype dtype,
        const output_rows *rows, const void *values, tile_ahead ahead) {
    const tile_b b = {values, (int64_t)FEW_PAGE * SIMD_PANEL};
    vfloat acc[TILE_VECTORS_MAX] = {0};
    vfloat sums[8] = {0};
    if (rows->sum)
        tile(n_lines, n_panels, dtype, rows->weights, b, rows->n_keys, ahead, acc, sums);
    else
        tile(n_lines, n_panels, dtype, rows->weights, b, rows->n_keys, ahead, acc, NULL);
    add_output(n_lines, n_panels * SIMD_VECTORS, rows, acc);
#pragma GCC unroll 8
    for (int i = 0; i < n_lines; i++)
        if (rows->sum && i < rows->n_rows)
            rows->sum[i] = simd_fma(simd_set(rows->sum[i]), simd_set(rows->alpha[i]), sums[i])[0];
}

/* ---- by shape -------------------------------------------------------------------------------- */

typedef void few_scores_of(
        const float *q, int32_t head_dim, const void *keys, tile_ahead ahead, float *scores);
typedef void few_output_of(const output_rows *rows, const void *values, tile_ahead ahead);

typedef struct few_shape {
    int64_t n_lines;
    int64_t n_panels;
    few_scores_of *scores_f32;
    few_scores_of *scores_bf16;
    few_output_of *output_f32;
    few_output_of *output_bf16;
} few_shape;

/* Functions of their own, not inlined: in a larger one the accumulators do not stay in registers. */
#define DEFINE_FEW_AS(lines, panels, name, dtype)                                                  \
    SIMD_OUTLINE void few_scores_##lines##_##panels##_##name(                                      \
            const float *q, int32_t head_dim, const void *keys, tile_ahead ahead, float *scores) { \
        few_scores(lines, panels, dtype, q, head_dim, keys, ahead, scores);                        \
    }                                                                                              \
    SIMD_OUTLINE void few_output_##lines##_##panels##_##name(                                      \
            const output_rows *rows, const void *values, tile_ahead ahead) {                       \
        few_output(lines, panels, dtype, rows, values, ahead);                                     \
    }
#define DEFINE_FEW(lines, panels)                                                      \
    DEFINE_FEW_AS(lines, panels, f32, RT_F32)                                          \
    DEFINE_FEW_AS(lines, panels, bf16, RT_BF16)                                        \
    static const few_shape few_##lines##_##panels = {lines, panels,                    \
            few_scores_##lines##_##panels##_f32, few_scores_##lines##_##panels##_bf16, \
            few_output_##lines##_##panels##_f32, few_output_##lines##_##panels##_bf16};
FEW_SHAPES(DEFINE_FEW)

/* The tile for n_rows rows, where n_panels are left. */
static const few_shape *few_shape_of(int64_t n_rows, int64_t n_panels) {
#if defined(__AVX512F__)
    if (n_rows <= 4 || (n_rows > 8 && n_rows <= 12)) return n_panels >= 4 ? &few_4_4 : &few_4_1;
    return n_panels >= 2 ? &few_8_2 : &few_8_1;
#elif defined(__AVX2__)
    (void)n_rows, (void)n_panels;
    return &few_4_1;
#else
    (void)n_rows, (void)n_panels;
    return &few_2_1;
#endif
}

/* ---- a page ---------------------------------------------------------------------------------- */

/* n_steps steps of tiles of `shape`, panels by rows, ask for all of `next`. */
static tile_ahead few_ahead(
        stored next, const few_shape *shape, int64_t n_panels, int64_t n_rows, int64_t n_k) {
    const int64_t n_tiles =
            rt_div_up(n_panels, shape->n_panels) * rt_div_up(n_rows, shape->n_lines);
    return ahead_of(next, n_tiles * n_k);
}

/* Panels outermost, so that what a tile reads of them stays in the first-level cache for all rows. */
static void few_score_page(const attn_split *split, const attn_scratch *scratch, page_panels keys,
        int64_t n_key_panels, stored next) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t panel_bytes = (int64_t)head_dim * SIMD_PANEL * rt_dtype_bytes(keys.dtype);
    const few_shape *shape = few_shape_of(split->n_rows, n_key_panels);
    tile_ahead ahead = few_ahead(next, shape, n_key_panels, split->n_rows, head_dim);
    for (int64_t panel = 0; panel < n_key_panels; panel += shape->n_panels) {
        shape = few_shape_of(split->n_rows, n_key_panels - panel);
        few_scores_of *scores = keys.dtype == RT_F32 ? shape->scores_f32 : shape->scores_bf16;
        for (int64_t row = 0; row < split->n_rows; row += shape->n_lines) {
            scores(scratch->q + row / SIMD_PANEL * SIMD_PANEL * head_dim + row % SIMD_PANEL,
                    head_dim, (const char *)keys.base + panel * panel_bytes, ahead,
                    scratch->scores + row * FEW_PAGE + panel * SIMD_PANEL);
            ahead.from += head_dim * ahead.step_bytes;
        }
    }
}

static void few_output_page(const attn_split *split, const attn_scratch *scratch,
        page_panels values, const page_effect *effect, int64_t n_keys, stored next) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t panel_bytes = (int64_t)FEW_PAGE * SIMD_PANEL * rt_dtype_bytes(values.dtype);
    const int64_t n_panels = head_dim / SIMD_PANEL;
    const few_shape *shape = few_shape_of(split->n_rows, n_panels);
    tile_ahead ahead = few_ahead(next, shape, n_panels, split->n_rows, n_keys);
    for (int64_t panel = 0; panel < n_panels; panel += shape->n_panels) {
        shape = few_shape_of(split->n_rows, n_panels - panel);
        few_output_of *output = values.dtype == RT_F32 ? shape->output_f32 : shape->output_bf16;
        for (int64_t row = 0; row < split->n_rows; row += shape->n_lines) {
            const output_rows rows = {.weights = {scratch->scores + row * FEW_PAGE, FEW_PAGE, 1},
                    .alpha = effect->alpha + row,
                    .sum = panel == 0 ? scratch->part_sum + row : NULL,
                    .out = scratch->part_out + row * head_dim + panel * SIMD_PANEL,
                    .n_rows = rt_min64(split->n_rows - row, shape->n_lines),
                    .n_keys = n_keys,
                    .head_dim = head_dim};
            if (is_tile_seen(effect, row, rows.n_rows))
                output(&rows, (const char *)values.base + panel * panel_bytes, ahead);
            ahead.from += n_keys * ahead.step_bytes;
        }
    }
}

#endif
