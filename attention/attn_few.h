/* A few rows against a page, as in decode: keys along the vectors of scores, and K and V as they are
 * stored, widened in registers. Included only by attn_simd.c.
 *
 *   queries          [row / width][dim][width]: panels of 16, of 4 where tiles have 4 lines, so that they take less of
 *                    the first-level cache where memory is waited for
 *   scores, weights  [row][128 keys]
 *
 * Memory is asked for a few panels ahead, line after line in the order of addresses, which is not the order
 * of use: tiles read panels side by side, and neither that nor the processor's own prefetching, which stops at
 * the end of every panel of 4 KiB, brings more than half of what memory gives (bench/SPEED.md). */
#ifndef ATTN_FEW_H
#define ATTN_FEW_H

#include "attn_effect.h"
#include "attn_widen.h"

enum { FEW_PAGE = ATTN_PAGE_TOKENS };

/* Lines x panels of a tile. Accumulators, sums, vectors of the panels and one number fit the
 * registers; two panels of bf16 are two streams of memory, four are four. No tile's panels are of two groups
 * of sealed ones. */
#if defined(__AVX512F__)
#define FEW_SHAPES(X) X(8, 2) X(8, 1) X(4, 4) X(4, 2) X(4, 1)
#elif defined(__AVX2__)
#define FEW_SHAPES(X) X(4, 1)
#else
#define FEW_SHAPES(X) X(2, 1)
#endif

/* Up to 4 rows, 4 x 2, wait for memory; more rows wait for FMAs. */
#define FEW_WAITS(lines, panels) ((lines) == 4 && (panels) == 2)

/* Panels from what a tile reads to what it asks for: 16 KiB of bf16, so much as the processor can have under way; and
 * no more, as it stays in the first-level cache until it is read, where two panels at once leave room for 24. */
#define FEW_AHEAD(lines, panels) (FEW_WAITS(lines, panels) ? 6 : 4)

/* Panels that are asked for between a page's keys and its values, so that memory does not stand still meanwhile, and
 * not by the tile of the first values. */
#define FEW_EARLY(lines, panels) (FEW_WAITS(lines, panels) ? 1 : 0)

/* Queries in a panel of theirs. */
#define FEW_WIDTH(lines) ((lines) == 4 ? 4 : SIMD_PANEL)

/* The same address, of which the compiler does not know it. */
SIMD_INLINE const float *few_again(const float *a) {
    __asm__("" : "+r"(a));
    return a;
}

/* Lines of B are loaded, and made numbers of, a step before they are multiplied, where registers do for two steps'
 * lines: the processor takes what it can do in the order of the program, and would come to the next lines only when
 * nothing is left to multiply. */
#define FEW_LOADS_EARLY(panels) (SIMD_VECTORS == 1 && (panels) <= 2)

/* acc += A B over n_k, from panels in memory; of `ahead` as much as n_asked panels. */
SIMD_INLINE void few_tile(const int n_lines, const int n_panels, const rt_dtype dtype, tile_a a,
        tile_b b, int64_t n_k, const char *ahead, const int n_asked, vfloat *acc, vfloat *sums) {
    const int64_t step_bytes = SIMD_PANEL * rt_dtype_bits(dtype) / 8;
    const int64_t steps = FEW_LOADS_EARLY(n_panels) ? 8 : CACHE_LINE / step_bytes;
    const float *again = few_again(a.a);
    vfloat lines[16];
    if (FEW_LOADS_EARLY(n_panels)) load_lines(n_panels, dtype, b, 0, lines);
    int64_t k = 0;
    for (; k + steps <= n_k; k += steps)
#pragma GCC unroll 8
        for (int64_t i = 0; i < steps; i++) {
            const char *from = ahead + (k + i) * n_asked * step_bytes;
#pragma GCC unroll 4
            for (int p = 0; p < n_asked; p++)
                if (i * step_bytes % CACHE_LINE == 0) __builtin_prefetch(from + p * CACHE_LINE);
            if (!FEW_LOADS_EARLY(n_panels)) {
                tile_step(n_lines, n_panels, dtype, a, b, k + i, acc, sums);
                continue;
            }
            const int64_t next = i + 1 < steps ? k + i + 1 : rt_min64(k + steps, n_k - 1);
            vfloat next_lines[16];
            load_lines(n_panels, dtype, b, next, next_lines);
            multiply_lines(n_lines, n_panels, a, again, k + i, lines, acc, sums);
            memcpy(lines, next_lines, (size_t)(n_panels * SIMD_VECTORS) * sizeof *lines);
        }
    for (; k < n_k; k++) tile_step(n_lines, n_panels, dtype, a, b, k, acc, sums);
}

/* ---- scores ---------------------------------------------------------------------------------- */

SIMD_INLINE void few_scores(const int n_lines, const int n_panels, const rt_dtype dtype,
        const float *q, int32_t head_dim, const tile_b *keys, const char *ahead, float *scores) {
    const int across = n_panels * SIMD_VECTORS;
    vfloat acc[TILE_VECTORS_MAX] = {0};
    few_tile(n_lines, n_panels, dtype, (tile_a){q, 1, FEW_WIDTH(n_lines)}, *keys, head_dim, ahead,
            n_panels, acc, NULL);
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

/* Of one row's scores; those it does not see become -inf. n_end: of the page's longest row, rounded up. */
SIMD_INLINE float few_largest(float *scores, int64_t n_visible, int64_t n_end, float *spoilt) {
    for (int64_t key = rt_max64(n_visible, 0); key < n_end; key++) scores[key] = -INFINITY;
    vfloat largest = simd_set(-INFINITY);
    vfloat sum = {0};
    for (int64_t key = 0; key < n_end; key += SIMD_LANES) {
        const vfloat score = simd_load(scores + key);
        largest = simd_max(score, largest);
        sum += score;
    }
    *spoilt = is_any(sum != sum) ? NAN : 0.0f;
    return largest_lane(largest);
}

SIMD_INLINE void few_weigh_row(float *scores, int64_t n_end, float shift) {
    for (int64_t key = 0; key < n_end; key += SIMD_LANES)
        simd_store(scores + key, simd_exp2(simd_load(scores + key) - simd_set(shift)));
}

/* Memory to ask for before it is a tile's turn to. */
typedef struct few_early {
    const char *from;
    int64_t n_bytes;
} few_early;

/* A share of it, as long as all others. */
SIMD_INLINE void ask_early(const few_early *early, int64_t share, int64_t share_bytes) {
    const char *from = early->from + share * share_bytes;
    for (int64_t at = 0; at < share_bytes; at += CACHE_LINE) __builtin_prefetch(from + at);
}

/* Scores -> weights, zeros where a row sees nothing. In rounds over all rows, each of which is done while the
 * one before is under way: maxima, shifts, exponentials. What is `early` is asked for meanwhile. */
SIMD_TILE bool few_weigh(const attn_split *split, const attn_scratch *scratch, int64_t page_pos,
        int64_t n_keys, const few_early *early, page_effect *effect) {
    float largest[ROWS_FEW];
    float spoilt[ROWS_FEW] = {0};
    float shift[ROWS_FEW];
    const int64_t n_rows = split->n_rows;
    const int64_t n_end = rt_round_up(n_keys, SIMD_LANES);
    const int64_t share = rt_round_up(rt_div_up(early->n_bytes, 2 * n_rows), CACHE_LINE);
    tell_weighed(split, scratch);
    for (int64_t row = 0; row < ROWS_FEW; row++) largest[row] = -INFINITY;
    for (int64_t row = 0; row < n_rows; row++) {
        const int64_t n_visible = rt_min64(scratch->limit[row] - page_pos, n_keys);
        ask_early(early, row, share);
        effect->n_visible[row] = (int32_t)rt_max64(n_visible, 0);
        largest[row] =
                few_largest(scratch->scores + row * FEW_PAGE, n_visible, n_end, spoilt + row);
    }
    for (int64_t row = 0; row < n_rows; row += SIMD_LANES) {
        const page_max page = {simd_load(largest + row), simd_load(spoilt + row)};
        const size_t n = (size_t)rt_min64(n_rows - row, SIMD_LANES);
        simd_store(shift + row, meet_page(page, row, n, scratch->part_max, effect));
    }
    for (int64_t row = 0; row < n_rows; row++) {
        ask_early(early, n_rows + row, share);
        if (effect->is_seen[row])
            few_weigh_row(scratch->scores + row * FEW_PAGE, n_end, shift[row]);
        else
            memset(scratch->scores + row * FEW_PAGE, 0, (size_t)n_end * sizeof(float));
    }
    return is_tile_seen(effect, 0, n_rows);
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The first panels of values bring the sums of weights along, in key order. */
SIMD_INLINE void few_output(const int n_lines, const int n_panels, const rt_dtype dtype,
        const output_rows *rows, const tile_b *values, const char *ahead) {
    const tile_a weights = {rows->weights.a, FEW_PAGE, 1};
    vfloat acc[TILE_VECTORS_MAX] = {0};
    vfloat sums[8] = {0};
    if (rows->sum)
        few_tile(n_lines, n_panels, dtype, weights, *values, rows->n_keys, ahead,
                n_panels - FEW_EARLY(n_lines, n_panels), acc, sums);
    else
        few_tile(n_lines, n_panels, dtype, weights, *values, rows->n_keys, ahead, n_panels, acc,
                NULL);
    add_output(n_lines, n_panels, dtype, rows, values, acc);
#pragma GCC unroll 8
    for (int i = 0; i < n_lines; i++)
        if (rows->sum && i < rows->n_rows)
            rows->sum[i] = simd_fma(simd_set(rows->sum[i]), simd_set(rows->alpha[i]), sums[i])[0];
}

/* ---- by shape -------------------------------------------------------------------------------- */

typedef void few_scores_of(
        const float *q, int32_t head_dim, const tile_b *keys, const char *ahead, float *scores);
typedef void few_output_of(const output_rows *rows, const tile_b *values, const char *ahead);

enum { FEW_DTYPES = 5 };

typedef struct few_shape {
    int64_t n_lines;
    int64_t n_panels;
    int64_t ahead;                     /* FEW_AHEAD, */
    int64_t n_early;                   /* FEW_EARLY, */
    int64_t width;                     /* FEW_WIDTH */
    few_scores_of *scores[FEW_DTYPES]; /* by few_dtype */
    few_output_of *output[FEW_DTYPES];
} few_shape;

static int few_dtype(rt_dtype dtype) {
    if (dtype == RT_FP8) return 4;
    return dtype == RT_F32 ? 0 : dtype == RT_BF16 ? 1 : dtype == RT_INT8 ? 2 : 3;
}

/* Functions of their own, not inlined: in a larger one the accumulators do not stay in registers. */
#define DEFINE_FEW_AS(lines, panels, name, dtype)                                           \
    SIMD_TILE void few_scores_##lines##_##panels##_##name(const float *q, int32_t head_dim, \
            const tile_b *keys, const char *ahead, float *scores) {                         \
        few_scores(lines, panels, dtype, q, head_dim, keys, ahead, scores);                 \
    }                                                                                       \
    SIMD_TILE void few_output_##lines##_##panels##_##name(                                  \
            const output_rows *rows, const tile_b *values, const char *ahead) {             \
        few_output(lines, panels, dtype, rows, values, ahead);                              \
    }
#define DEFINE_FEW(lines, panels)                                                               \
    DEFINE_FEW_AS(lines, panels, f32, RT_F32)                                                   \
    DEFINE_FEW_AS(lines, panels, bf16, RT_BF16)                                                 \
    DEFINE_FEW_AS(lines, panels, int8, RT_INT8)                                                 \
    DEFINE_FEW_AS(lines, panels, int4, RT_INT4)                                                 \
    DEFINE_FEW_AS(lines, panels, fp8, RT_FP8)                                                   \
    static const few_shape few_##lines##_##panels = {lines, panels, FEW_AHEAD(lines, panels),   \
            FEW_EARLY(lines, panels), FEW_WIDTH(lines),                                         \
            {few_scores_##lines##_##panels##_f32, few_scores_##lines##_##panels##_bf16,         \
                    few_scores_##lines##_##panels##_int8, few_scores_##lines##_##panels##_int4, \
                    few_scores_##lines##_##panels##_fp8},                                       \
            {few_output_##lines##_##panels##_f32, few_output_##lines##_##panels##_bf16,         \
                    few_output_##lines##_##panels##_int8, few_output_##lines##_##panels##_int4, \
                    few_output_##lines##_##panels##_fp8}};
FEW_SHAPES(DEFINE_FEW)

/* The tile for n_rows rows, where n_panels are left: its lines depend on the rows alone. With 4 rows memory is waited
 * for, and the fewer panels at once the better; with 12 it is loads. */
static const few_shape *few_shape_of(int64_t n_rows, int64_t n_panels) {
#if defined(__AVX512F__)
    if (n_rows > 8 && n_rows <= 12) return n_panels >= 4 ? &few_4_4 : &few_4_1;
    if (n_rows <= 4) return n_panels >= 2 ? &few_4_2 : &few_4_1;
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

/* Panels [panel, ..) of a page. */
static tile_b few_panels(const page_panels *page, int64_t panel) {
    const char *from = page->base + panel * panel_bytes(page->dtype, page->n_lines);
    if (page->dtype == RT_FP8) return (tile_b){from, page->n_lines, page->scale, NULL};
    const int64_t scales = panel / ATTN_GROUP_PANELS * page->n_lines;
    return (tile_b){from, page->n_lines, page->scale + scales, page->zero + scales};
}

/* The `wanted`-th panel of a page's n_panels, or of what is `after` it. */
static const char *few_panel_of(const attn_split *split, const page_panels *page, int64_t wanted,
        int64_t n_panels, const stored *after) {
    if (wanted < n_panels) return page->base + wanted * panel_bytes(page->dtype, page->n_lines);
    return after->base + after->sealed.codes +
           (wanted - n_panels) * panel_bytes(stored_dtype(split, after), after->n_lines);
}

/* Panels outermost, so that what a tile reads of them stays in the first-level cache for all rows. */
static void few_score_page(const attn_split *split, const attn_scratch *scratch,
        const page_panels *keys, int64_t n_keys, const stored *after) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t n_panels = rt_div_up(n_keys, SIMD_PANEL);
    const few_shape *shape = NULL;
    tell_panels(keys->base, keys->dtype, n_panels, head_dim, head_dim);
    for (int64_t panel = 0; panel < n_panels; panel += shape->n_panels) {
        shape = few_shape_of(split->n_rows, n_panels - panel);
        const tile_b b = few_panels(keys, panel);
        const char *ahead = few_panel_of(split, keys, panel + shape->ahead, n_panels, after);
        for (int64_t row = 0; row < split->n_rows; row += shape->n_lines)
            shape->scores[few_dtype(keys->dtype)](
                    scratch->q + row / shape->width * shape->width * head_dim + row % shape->width,
                    head_dim, &b, ahead, scratch->scores + row * FEW_PAGE + panel * SIMD_PANEL);
    }
}

/* Of `next`, which follows the keys, what is asked for while scores become weights. */
static few_early few_early_of(const attn_split *split, const stored *next, const stored *after) {
    const page_panels panels = {.base = next->base + next->sealed.codes,
            .dtype = stored_dtype(split, next),
            .n_lines = next->n_lines};
    const int64_t n_panels = split->shape->head_dim / SIMD_PANEL;
    const few_shape *shape = few_shape_of(split->n_rows, n_panels);
    return (few_early){few_panel_of(split, &panels, shape->ahead, n_panels, after),
            shape->n_early * panel_bytes(panels.dtype, panels.n_lines)};
}

static void few_output_page(const attn_split *split, const attn_scratch *scratch,
        const page_panels *values, const page_effect *effect, int64_t n_keys, const stored *after) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t n_panels = head_dim / SIMD_PANEL;
    const few_shape *shape = NULL;
    tell_panels(values->base, values->dtype, n_panels, values->n_lines, n_keys);
    for (int64_t panel = 0; panel < n_panels; panel += shape->n_panels) {
        shape = few_shape_of(split->n_rows, n_panels - panel);
        const tile_b b = few_panels(values, panel);
        const int64_t wanted = panel + shape->ahead + (panel == 0 ? shape->n_early : 0);
        const char *ahead = few_panel_of(split, values, wanted, n_panels, after);
        for (int64_t row = 0; row < split->n_rows; row += shape->n_lines) {
            const output_rows rows = {.weights = {scratch->scores + row * FEW_PAGE, FEW_PAGE, 1},
                    .alpha = effect->alpha + row,
                    .is_seen = effect->is_seen + row,
                    .n_visible = effect->n_visible + row,
                    .sum = panel == 0 ? scratch->part_sum + row : NULL,
                    .out = scratch->part_out + row * head_dim + panel * SIMD_PANEL,
                    .n_rows = rt_min64(split->n_rows - row, shape->n_lines),
                    .n_keys = n_keys,
                    .head_dim = head_dim};
            if (is_tile_seen(effect, row, rows.n_rows))
                shape->output[few_dtype(values->dtype)](&rows, &b, ahead);
        }
    }
}

#endif
