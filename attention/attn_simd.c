/* Attention of one piece: up to 96 rows of one KV head against the pages of one split.
 *
 * Per page:  scores  S[row][key]  = sum over d of q[row][d] K[d][key]        panels of 16 keys
 *            weights P[row][key]  = 2^(S - m), m the row's running maximum
 *            sums    l[row]       = l alpha + sum over keys of P             one chain, key order
 *            out     O[row][d]    = O alpha + sum over keys of P V[key][d]   panels of 16 dims
 *
 * The sum of weights runs over keys in the same order, with the same roundings, as every column
 * of P V: with V = 1 the quotient is exactly 1. Rows whose weights in a page all underflow to 0
 * are skipped there, and V is not even widened when all rows are: that changes no bit. */
#include "attn_simd.h"

#include "runtime/base/simd.h"

enum { PAGE = ATTN_PAGE_TOKENS, PAGE_PANELS = ATTN_PAGE_TOKENS / SIMD_PANEL };

/* Pages with more rows than this are widened once and reused; fewer read the stored type. */
enum { ROWS_WORTH_WIDENING = 2 * SIMD_ROWS };

/* One head's K or V of a page as the tile kernel reads it. */
typedef struct panels {
    const void *base;
    rt_dtype dtype;
} panels;

/* ---- scores ---------------------------------------------------------------------------------- */

SIMD_INLINE void score_tile(const int rows, const int across, const rt_dtype dtype, const float *q,
        int32_t head_dim, const void *keys, float *scores) {
    vfloat acc[SIMD_TILE_VECTORS] = {0};
    simd_tile(
            rows, across, dtype, q, head_dim, keys, (int64_t)head_dim * SIMD_PANEL, head_dim, acc);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < across * SIMD_VECTORS; v++)
            simd_store(scores + r * PAGE + v * SIMD_LANES, acc[r * across * SIMD_VECTORS + v]);
}

/* Tall tiles while they leave no rest of 1 or 2 that 4 + 4 would cover: 8 rows are the commonest
 * few (one token of a group of 8), and a tile of one row waits for its own sums. */
static bool fits_tall_tile(int64_t n_rows) {
    return n_rows >= SIMD_ROWS && (n_rows != 8 || SIMD_ROWS < 4);
}

SIMD_INLINE void score_rows(const rt_dtype dtype, const float *q, int64_t n_rows, int32_t head_dim,
        const void *keys, float *scores) {
    int64_t row = 0;
    for (; fits_tall_tile(n_rows - row); row += SIMD_ROWS)
        score_tile(SIMD_ROWS, SIMD_PANELS, dtype, q + row * head_dim, head_dim, keys,
                scores + row * PAGE);
    for (; SIMD_ROWS > 4 && row + 4 <= n_rows; row += 4)
        score_tile(4, SIMD_PANELS, dtype, q + row * head_dim, head_dim, keys, scores + row * PAGE);
    for (; row < n_rows; row++)
        score_tile(1, SIMD_PANELS, dtype, q + row * head_dim, head_dim, keys, scores + row * PAGE);
}

/* Functions of their own, not inlined: in a larger one the accumulators do not stay in registers. */
SIMD_OUTLINE void score_rows_f32(
        const float *q, int64_t n_rows, int32_t head_dim, const void *keys, float *scores) {
    score_rows(RT_F32, q, n_rows, head_dim, keys, scores);
}

SIMD_OUTLINE void score_rows_bf16(
        const float *q, int64_t n_rows, int32_t head_dim, const void *keys, float *scores) {
    score_rows(RT_BF16, q, n_rows, head_dim, keys, scores);
}

/* scores[row][0 .. 16 n_panels) for every row; panels outermost, so that one stays in L1. */
static void score_page(
        const attn_split *split, const attn_scratch *scratch, panels keys, int64_t n_panels) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t panel_bytes = (int64_t)head_dim * SIMD_PANEL * rt_dtype_bytes(keys.dtype);
    for (int64_t panel = 0; panel < n_panels; panel += SIMD_PANELS) {
        const void *base = (const char *)keys.base + panel * panel_bytes;
        float *scores = scratch->scores + panel * SIMD_PANEL;
        if (keys.dtype == RT_F32)
            score_rows_f32(scratch->q, split->n_rows, head_dim, base, scores);
        else
            score_rows_bf16(scratch->q, split->n_rows, head_dim, base, scores);
    }
}

/* ---- weights --------------------------------------------------------------------------------- */

SIMD_INLINE float largest_score(const float *scores) {
    vfloat best = simd_load(scores);
    for (int i = SIMD_LANES; i < PAGE; i += SIMD_LANES)
        best = simd_max(best, simd_load(scores + i));
    float largest = best[0];
    for (int i = 1; i < SIMD_LANES; i++) largest = best[i] > largest ? best[i] : largest;
    return largest;
}

/* Turn a row's scores into weights. Returns false, and leaves zeros, when every weight is 0; the
 * row's maximum is then unchanged. `alpha` is what earlier sums are to be multiplied by. */
SIMD_INLINE bool weigh_row(float *scores, int64_t n_visible, float *row_max, float *alpha) {
    for (int64_t i = rt_max64(n_visible, 0); i < PAGE; i++) scores[i] = -INFINITY;
    const float page_max = n_visible > 0 ? largest_score(scores) : -INFINITY;
    *alpha = 1.0f;
    if (page_max == -INFINITY || page_max - *row_max < -126.0f) {
        memset(scores, 0, PAGE * sizeof *scores);
        return false;
    }
    if (page_max > *row_max) {
        *alpha = simd_exp2_one(*row_max - page_max);
        *row_max = page_max;
    }
    const vfloat max = simd_set(*row_max);
    for (int i = 0; i < PAGE; i += SIMD_LANES)
        simd_store(scores + i, simd_exp2(simd_load(scores + i) - max));
    return true;
}

/* sum[row] = sum alpha + the page's weights, in key order: one chain a row, rows side by side. */
SIMD_INLINE void add_weights(
        const int rows, const float *weights, int64_t n_keys, const float *alpha, float *sum) {
    float chain[SIMD_TILE_VECTORS] = {0};
    for (int64_t key = 0; key < n_keys; key++)
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) chain[r] += weights[r * PAGE + key];
    for (int r = 0; r < rows; r++) sum[r] = sum[r] * alpha[r] + chain[r];
}

/* ---- output ---------------------------------------------------------------------------------- */

SIMD_INLINE void output_tile(const int rows, const rt_dtype dtype, const float *weights,
        int64_t n_keys, const void *values, const float *alpha, float *out, int32_t head_dim) {
    vfloat acc[SIMD_TILE_VECTORS] = {0};
    simd_tile(rows, 1, dtype, weights, PAGE, values, 0, n_keys, acc);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < SIMD_VECTORS; v++) {
            float *place = out + r * (int64_t)head_dim + v * SIMD_LANES;
            simd_store(place, simd_load(place) * simd_set(alpha[r]) + acc[r * SIMD_VECTORS + v]);
        }
}

/* Rows [row, row + rows), all of head_dim, one panel of V after the other. */
SIMD_INLINE void output_panels(const int rows, const rt_dtype dtype, const attn_split *split,
        attn_scratch *scratch, int64_t row, const void *values, const float *alpha,
        int64_t n_keys) {
    const int32_t head_dim = split->shape->head_dim;
    const float *weights = scratch->scores + row * PAGE;
    add_weights(rows, weights, n_keys, alpha + row, scratch->part_sum + row);
    for (int32_t d = 0; d < head_dim; d += SIMD_PANEL)
        output_tile(rows, dtype, weights, n_keys,
                (const char *)values + (int64_t)d * PAGE * rt_dtype_bytes(dtype), alpha + row,
                scratch->part_out + row * head_dim + d, head_dim);
}

typedef void output_rows(const attn_split *split, attn_scratch *scratch, int64_t row,
        const void *values, const float *alpha, int64_t n_keys);

#define DEFINE_OUTPUT_ROWS(name, rows, dtype)                                           \
    SIMD_OUTLINE void name(const attn_split *split, attn_scratch *scratch, int64_t row, \
            const void *values, const float *alpha, int64_t n_keys) {                   \
        output_panels(rows, dtype, split, scratch, row, values, alpha, n_keys);         \
    }
DEFINE_OUTPUT_ROWS(output_many_f32, SIMD_ROWS, RT_F32)
DEFINE_OUTPUT_ROWS(output_many_bf16, SIMD_ROWS, RT_BF16)
DEFINE_OUTPUT_ROWS(output_one_f32, 1, RT_F32)
DEFINE_OUTPUT_ROWS(output_one_bf16, 1, RT_BF16)
#if defined(__AVX2__)
DEFINE_OUTPUT_ROWS(output_four_f32, 4, RT_F32)
DEFINE_OUTPUT_ROWS(output_four_bf16, 4, RT_BF16)
#else
static output_rows *const output_four_f32 = NULL; /* SIMD_ROWS is less than 4 */
static output_rows *const output_four_bf16 = NULL;
#endif

static bool any_seen(const bool *is_seen, int n_rows) {
    for (int r = 0; r < n_rows; r++)
        if (is_seen[r]) return true;
    return false;
}

/* Every row that has weights in this page, in the tallest tiles that fit. */
static void output_page(const attn_split *split, attn_scratch *scratch, panels values,
        const bool *is_seen, const float *alpha, int64_t n_keys) {
    const bool is_wide = values.dtype == RT_F32;
    output_rows *many = is_wide ? output_many_f32 : output_many_bf16;
    output_rows *four = is_wide ? output_four_f32 : output_four_bf16;
    output_rows *one = is_wide ? output_one_f32 : output_one_bf16;
    int64_t row = 0;
    for (; fits_tall_tile(split->n_rows - row); row += SIMD_ROWS)
        if (any_seen(is_seen + row, SIMD_ROWS))
            many(split, scratch, row, values.base, alpha, n_keys);
    for (; SIMD_ROWS > 4 && row + 4 <= split->n_rows; row += 4)
        if (any_seen(is_seen + row, 4)) four(split, scratch, row, values.base, alpha, n_keys);
    for (; row < split->n_rows; row++)
        if (is_seen[row]) one(split, scratch, row, values.base, alpha, n_keys);
}

/* ---- pages as panels of numbers -------------------------------------------------------------- */

typedef uint8_t vline __attribute__((vector_size(SIMD_PANEL)));
typedef uint64_t vpair __attribute__((vector_size(SIMD_PANEL)));

/* 16 codes of a line, a byte each. */
SIMD_INLINE vline load_codes(const uint8_t *from, const int64_t line_bytes) {
    vline line;
    if (line_bytes == SIMD_PANEL) {
        memcpy(&line, from, sizeof line);
        return line;
    }
    uint64_t pairs;
    memcpy(&pairs, from, sizeof pairs);
    const vpair both = {pairs, pairs >> 4};
    return (vline)both & 0x0f;
}

/* A group's panels [n_panels][n_lines][16]: zero + scale code. */
SIMD_INLINE void widen_group(const uint8_t *codes, int64_t n_panels, int64_t n_lines,
        const float *scale, const float *zero, float *wide, const int64_t line_bytes) {
    for (int64_t panel = 0; panel < n_panels; panel++)
        for (int64_t line = 0; line < n_lines; line++) {
            const vline code = load_codes(codes, line_bytes);
#pragma GCC unroll 4
            for (int v = 0; v < SIMD_VECTORS; v++) {
                const vfloat steps = simd_load_u8((const uint8_t *)&code + v * SIMD_LANES);
                simd_store(wide + v * SIMD_LANES,
                        simd_fma(steps, simd_set(scale[line]), simd_set(zero[line])));
            }
            codes += line_bytes;
            wide += SIMD_PANEL;
        }
}

SIMD_INLINE void widen_lines(
        const attn_sealed *sealed, const char *page, float *wide, const int64_t line_bytes) {
    _Static_assert((int)ATTN_HEAD_DIM_MAX >= (int)PAGE, "values have a line a token");
    float scale[ATTN_HEAD_DIM_MAX];
    float zero[ATTN_HEAD_DIM_MAX];
    const int64_t n_lines = sealed->n_lines;
    for (int64_t first = 0; first < sealed->n_panels; first += ATTN_GROUP_PANELS) {
        const int64_t n_panels = rt_min64(ATTN_GROUP_PANELS, sealed->n_panels - first);
        const int64_t at = first / ATTN_GROUP_PANELS * n_lines * 2;
        simd_widen(scale, page + sealed->scales + at, n_lines, RT_BF16);
        simd_widen(zero, page + sealed->zeros + at, n_lines, RT_BF16);
        widen_group((const uint8_t *)page + sealed->codes + first * n_lines * line_bytes, n_panels,
                n_lines, scale, zero, wide + first * n_lines * SIMD_PANEL, line_bytes);
    }
}

static panels widen_sealed(const attn_sealed *sealed, const void *page, float *wide) {
    if (sealed->line_bytes == SIMD_PANEL)
        widen_lines(sealed, page, wide, SIMD_PANEL);
    else
        widen_lines(sealed, page, wide, SIMD_PANEL / 2);
    return (panels){wide, RT_F32};
}

static panels widen_if_worth(const attn_split *split, const void *stored, float *wide) {
    const attn_shape *shape = split->shape;
    if (shape->kv_dtype == RT_F32) return (panels){stored, RT_F32};
    if (split->n_rows <= ROWS_WORTH_WIDENING) return (panels){stored, RT_BF16};
    simd_widen(wide, stored, (int64_t)PAGE * shape->head_dim, RT_BF16);
    return (panels){wide, RT_F32};
}

/* The page at page_pos as the split's rows read it. */
typedef struct source {
    const void *page;
    bool is_sealed;
} source;

static source source_of(const attn_split *split, int64_t page_pos) {
    if (split->open_page && page_pos == split->open_pos) return (source){split->open_page, false};
    return (source){
            split->pages[(page_pos - split->first_pos) / PAGE], attn_is_lossy(split->shape)};
}

static panels keys_of(const attn_split *split, source from, float *wide) {
    const attn_shape *shape = split->shape;
    if (from.is_sealed) {
        const attn_sealed sealed = attn_sealed_keys(shape, split->kv_head);
        return widen_sealed(&sealed, from.page, wide);
    }
    const int64_t at = attn_key_index(shape, split->kv_head, 0, 0);
    return widen_if_worth(
            split, (const char *)from.page + at * rt_dtype_bytes(attn_open_dtype(shape)), wide);
}

static panels values_of(const attn_split *split, source from, float *wide) {
    const attn_shape *shape = split->shape;
    if (from.is_sealed) {
        const attn_sealed sealed = attn_sealed_values(shape, split->kv_head);
        return widen_sealed(&sealed, from.page, wide);
    }
    const int64_t at = attn_value_index(shape, split->kv_head, 0, 0);
    return widen_if_worth(
            split, (const char *)from.page + at * rt_dtype_bytes(attn_open_dtype(shape)), wide);
}

/* ---- one page, one split --------------------------------------------------------------------- */

/* The page's keys that any row sees: rows differ, the largest limit decides. */
static int64_t visible_keys(
        const attn_split *split, const attn_scratch *scratch, int64_t page_pos) {
    int64_t limit = 0;
    for (int64_t r = 0; r < split->n_rows; r++) limit = rt_max64(limit, scratch->limit[r]);
    const int64_t end = rt_min64(limit, split->first_pos + split->n_tokens);
    return rt_min64(end - page_pos, PAGE);
}

static bool scan_page(const attn_split *split, attn_scratch *scratch, int64_t page_pos) {
    const int64_t n_keys = visible_keys(split, scratch, page_pos);
    if (n_keys <= 0) return false;
    const source from = source_of(split, page_pos);
    const int64_t n_panels =
            rt_min64(rt_round_up(rt_div_up(n_keys, SIMD_PANEL), SIMD_PANELS), PAGE_PANELS);

    const panels keys = keys_of(split, from, scratch->keys);
    score_page(split, scratch, keys, n_panels);

    float alpha[ATTN_ROWS_MAX];
    bool is_seen[ATTN_ROWS_MAX];
    bool is_any = false;
    for (int64_t r = 0; r < split->n_rows; r++) {
        const int64_t n_visible = rt_min64(scratch->limit[r] - page_pos, n_keys);
        is_seen[r] =
                weigh_row(scratch->scores + r * PAGE, n_visible, &scratch->part_max[r], &alpha[r]);
        is_any |= is_seen[r];
    }
    if (!is_any) return false;

    const panels values = values_of(split, from, scratch->values);
    output_page(split, scratch, values, is_seen, alpha, n_keys);
    return true;
}

static void clear_part(const attn_split *split, attn_scratch *scratch) {
    const int64_t n_out = split->n_rows * split->shape->head_dim;
    for (int64_t r = 0; r < split->n_rows; r++) scratch->part_max[r] = -INFINITY;
    memset(scratch->part_sum, 0, (size_t)split->n_rows * sizeof(float));
    memset(scratch->part_out, 0, (size_t)n_out * sizeof(float));
}

static bool scan(const attn_split *split, attn_scratch *scratch) {
    if (!split->is_continued) clear_part(split, scratch);
    bool is_any = split->is_continued;
    for (int64_t pos = split->first_pos; pos < split->first_pos + split->n_tokens; pos += PAGE)
        is_any |= scan_page(split, scratch, pos);
    return is_any;
}

/* ---- folding partial states ------------------------------------------------------------------ */

static void fold(float *acc_max, float *acc_sum, float *acc_out, const float *part_max,
        const float *part_sum, const float *part_out, int64_t n_rows, int32_t head_dim) {
    for (int64_t r = 0; r < n_rows; r++) {
        if (part_max[r] == -INFINITY) continue; /* also: both empty would be (-inf) - (-inf) */
        const float max = acc_max[r] > part_max[r] ? acc_max[r] : part_max[r];
        const float w_acc = simd_exp2_one(acc_max[r] - max);
        const float w_part = simd_exp2_one(part_max[r] - max);
        acc_max[r] = max;
        acc_sum[r] = simd_fma(
                simd_set(acc_sum[r]), simd_set(w_acc), simd_set(part_sum[r]) * simd_set(w_part))[0];
        float *out = acc_out + r * head_dim;
        const float *part = part_out + r * head_dim;
        for (int32_t d = 0; d < head_dim; d += SIMD_LANES)
            simd_store(out + d, simd_fma(simd_load(out + d), simd_set(w_acc),
                                        simd_load(part + d) * simd_set(w_part)));
    }
}

extern const attn_kernels SIMD_NAME(attn_kernels);
const attn_kernels SIMD_NAME(attn_kernels) = {scan, fold};
