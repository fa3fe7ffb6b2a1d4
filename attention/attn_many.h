/* Many rows against a page, as in prefill: rows along the vectors of scores and weights, from K and V
 * widened to fp32 once. Included only by attn_simd.c.
 *
 *   scores, weights  panels of rows, [128 keys][16 rows]
 *
 * The maximum, the exponential and the sum of 16 rows take no step across lanes. Vectors of which no row is
 * seen take no exponentials and are left as scores: nobody reads them. */
#ifndef ATTN_MANY_H
#define ATTN_MANY_H

#include "attn_effect.h"
#include "attn_widen.h"

/* Lines x panels of a tile: accumulators, vectors of the panels and one number fit the registers. */
#if defined(__AVX512F__)
enum { MANY_LINES = 8, MANY_PANELS = 3 };
#elif defined(__AVX2__)
enum { MANY_LINES = 4, MANY_PANELS = 1 };
#else
enum { MANY_LINES = 2, MANY_PANELS = 1 };
#endif
enum { MANY_TILES = SIMD_PANEL / MANY_LINES, PANEL_SCORES = ATTN_PAGE_TOKENS * SIMD_PANEL };
_Static_assert((int)SIMD_LANES % (int)MANY_LINES == 0, "a tile's rows are of one vector");

/* ---- scores ---------------------------------------------------------------------------------- */

/* Many rows: n_panels panels of rows against keys widened to fp32, 16 n_key_panels of them. */
SIMD_INLINE void many_scores(const int n_panels, const float *q, int32_t head_dim,
        const float *keys, int64_t n_key_panels, tile_ahead ahead, float *scores) {
    const int64_t panel_size = (int64_t)head_dim * SIMD_PANEL;
    for (int64_t part = 0; part < n_key_panels * MANY_TILES; part++) {
        vfloat acc[TILE_VECTORS_MAX] = {0};
        const float *some_keys =
                keys + part / MANY_TILES * panel_size + part % MANY_TILES * MANY_LINES;
        tile(MANY_LINES, n_panels, (tile_a){some_keys, 1, SIMD_PANEL},
                (tile_b){.b = q, .n_lines = head_dim}, head_dim, ahead, acc);
        ahead.from += head_dim * ahead.step_bytes;
        float *to = scores + part * MANY_LINES * SIMD_PANEL;
#pragma GCC unroll 16
        for (int key = 0; key < MANY_LINES; key++)
#pragma GCC unroll 16
            for (int v = 0; v < n_panels * SIMD_VECTORS; v++)
                simd_store(to + v / SIMD_VECTORS * PANEL_SCORES + key * SIMD_PANEL +
                                   v % SIMD_VECTORS * SIMD_LANES,
                        acc[key * n_panels * SIMD_VECTORS + v]);
    }
}

/* ---- weights --------------------------------------------------------------------------------- */

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
    const vfloat row_sum = load_rows(scratch->part_sum + row, n, 0.0f);
    vint n_visible = {0};
    for (size_t i = 0; i < n; i++)
        n_visible[i] =
                (int32_t)rt_max64(rt_min64(scratch->limit[row + (int64_t)i] - page_pos, n_keys), 0);

    const page_max page = is_any(n_visible < (int32_t)n_keys)
                                  ? largest_visible_scores(scores, n_keys, n_visible)
                                  : largest_scores(scores, n_keys);
    const vfloat shift = meet_page(page, row, n, scratch->part_max, effect);
    memcpy(effect->n_visible + row, &n_visible, sizeof n_visible);
    if (!is_tile_seen(effect, row, SIMD_LANES)) return false;
    const vfloat alpha = simd_load(effect->alpha + row);
    store_rows(scratch->part_sum + row, n,
            simd_fma(row_sum, alpha, weigh_keys(scores, n_keys, shift)));
    return true;
}

SIMD_TILE bool many_weigh(const attn_split *split, const attn_scratch *scratch, int64_t page_pos,
        int64_t n_keys, page_effect *effect) {
    bool is_any_seen = false;
    tell_weighed(split, scratch);
    for (int64_t row = 0; row < split->n_rows; row += SIMD_LANES)
        is_any_seen |= weigh_rows(split, scratch, row, page_pos, n_keys, effect);
    return is_any_seen;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Sums of a window that is one of many come from far: they are asked for before the tile, not waited for after it. */
SIMD_INLINE void ask_for_output(const int n_panels, const output_rows *rows) {
#pragma GCC unroll 16
    for (int i = 0; i < MANY_LINES; i++)
#pragma GCC unroll 4
        for (int p = 0; p < n_panels; p++)
            if (i < rows->n_rows)
                __builtin_prefetch(rows->out + i * rows->head_dim + p * SIMD_PANEL, 1, 3);
}

SIMD_INLINE void many_output(
        const int n_panels, const output_rows *rows, const float *values, tile_ahead ahead) {
    vfloat acc[TILE_VECTORS_MAX] = {0};
    ask_for_output(n_panels, rows);
    const tile_b b = {.b = values, .n_lines = ATTN_PAGE_TOKENS};
    tile(MANY_LINES, n_panels, rows->weights, b, rows->n_keys, ahead, acc);
    add_output(MANY_LINES, n_panels, RT_F32, rows, &b, acc);
}

/* ---- by number of panels --------------------------------------------------------------------- */

typedef void many_scores_of(const float *q, int32_t head_dim, const float *keys,
        int64_t n_key_panels, tile_ahead ahead, float *scores);
typedef void many_output_of(const output_rows *rows, const float *values, tile_ahead ahead);

/* Functions of their own, not inlined: in a larger one the accumulators do not stay in registers. */
#define DEFINE_MANY(n_panels)                                                                  \
    SIMD_TILE void many_scores_##n_panels(const float *q, int32_t head_dim, const float *keys, \
            int64_t n_key_panels, tile_ahead ahead, float *scores) {                           \
        many_scores(n_panels, q, head_dim, keys, n_key_panels, ahead, scores);                 \
    }                                                                                          \
    SIMD_TILE void many_output_##n_panels(                                                     \
            const output_rows *rows, const float *values, tile_ahead ahead) {                  \
        many_output(n_panels, rows, values, ahead);                                            \
    }
DEFINE_MANY(1)
#if defined(__AVX512F__)
DEFINE_MANY(2)
DEFINE_MANY(3)
static many_scores_of *const many_scores_by[] = {NULL, many_scores_1, many_scores_2, many_scores_3};
static many_output_of *const many_output_by[] = {NULL, many_output_1, many_output_2, many_output_3};
#else
static many_scores_of *const many_scores_by[] = {NULL, many_scores_1};
static many_output_of *const many_output_by[] = {NULL, many_output_1};
#endif

/* ---- a page ---------------------------------------------------------------------------------- */

/* n_steps steps of tiles ask for all of `next`. */
static tile_ahead ahead_of(stored next, int64_t n_steps) {
    return (tile_ahead){next.base + next.sealed.codes, rt_div_up(next.n_bytes, n_steps)};
}

static void many_score_page(const attn_split *split, const attn_scratch *scratch, const float *keys,
        int64_t n_key_panels, stored next) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t n_panels = rt_div_up(split->n_rows, SIMD_PANEL);
    const int64_t n_steps = n_key_panels * MANY_TILES * head_dim; /* of each call */
    tile_ahead ahead = ahead_of(next, rt_div_up(n_panels, MANY_PANELS) * n_steps);
    int64_t n = 0;
    tell_panels(keys, RT_F32, n_key_panels, head_dim, head_dim);
    for (int64_t panel = 0; panel < n_panels; panel += n) {
        n = rt_min64(n_panels - panel, MANY_PANELS);
        many_scores_by[n](scratch->q + panel * SIMD_PANEL * head_dim, head_dim, keys, n_key_panels,
                ahead, scratch->scores + panel * PANEL_SCORES);
        ahead.from += n_steps * ahead.step_bytes;
    }
}

/* Values outermost, so that a tile's panels of them stay in the first-level cache for all rows. */
static void many_output_page(const attn_split *split, const attn_scratch *scratch,
        const float *values, const page_effect *effect, int64_t n_keys, stored next) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t n_panels = head_dim / SIMD_PANEL;
    const int64_t n_tiles = rt_div_up(n_panels, MANY_PANELS) * rt_div_up(split->n_rows, MANY_LINES);
    tile_ahead ahead = ahead_of(next, n_tiles * n_keys);
    int64_t n = 0;
    tell_panels(values, RT_F32, n_panels, ATTN_PAGE_TOKENS, n_keys);
    for (int64_t panel = 0; panel < n_panels; panel += n) {
        n = rt_min64(n_panels - panel, MANY_PANELS);
        for (int64_t row = 0; row < split->n_rows; row += MANY_LINES) {
            const float *weights =
                    scratch->scores + row / SIMD_PANEL * PANEL_SCORES + row % SIMD_PANEL;
            const output_rows rows = {.weights = {weights, 1, SIMD_PANEL},
                    .alpha = effect->alpha + row,
                    .is_seen = effect->is_seen + row,
                    .n_visible = effect->n_visible + row,
                    .out = scratch->part_out + row * head_dim + panel * SIMD_PANEL,
                    .n_rows = rt_min64(split->n_rows - row, MANY_LINES),
                    .n_keys = n_keys,
                    .head_dim = head_dim};
            if (is_tile_seen(effect, row, rows.n_rows))
                many_output_by[n](&rows, values + panel * PANEL_SCORES, ahead);
            ahead.from += n_keys * ahead.step_bytes;
        }
    }
}

#endif
