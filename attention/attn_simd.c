/* Attention of one piece: up to ATTN_ROWS_MAX rows of one KV head against the pages of one split.
 *
 * Per page:  scores  S[key][row]  = sum over d of q[d][row] K[d][key]
 *            weights P[key][row]  = 2^(S - m), m the row's running maximum
 *            sums    l[row]       = l alpha + sum over keys of P            one chain, key order
 *            out     O[row][d]    = O alpha + sum over keys of P V[key][d]
 *
 * Queries, scores, keys and values lie in panels of 16 (attn_tile.h). For many rows, scores are formed
 * with rows along the vectors, from pages widened to fp32 once; for few, with keys along the vectors,
 * as they are stored, and transposed. Weights have rows along the vectors always: the maximum, the
 * exponential and the sum of 16 rows take no step across lanes.
 *
 * The sum of weights runs over keys in the same order, with the same roundings, as every column
 * of P V: with V = 1 the quotient is exactly 1. Rows whose weights in a page all underflow to 0 are
 * known by their largest score: 16 such rows take no exponentials, a tile of such rows no values,
 * and V is not even widened when all rows are. That changes no bit. */
#include "attn_simd.h"

#include "attn_tile.h"
#include "attn_weights.h"
#include "attn_widen.h"

enum { PAGE = ATTN_PAGE_TOKENS, PANEL_TILES = SIMD_PANEL / TILE_LINES };

static int64_t panels_of(int64_t n) {
    return rt_div_up(n, SIMD_PANEL);
}

/* ---- queries --------------------------------------------------------------------------------- */

static void load_queries(
        const float *const *rows, int64_t n_rows, int32_t head_dim, float scale, float *panels) {
    for (int64_t first = 0; first < panels_of(n_rows) * SIMD_PANEL; first += SIMD_LANES) {
        float *to = panels + first / SIMD_PANEL * SIMD_PANEL * head_dim + first % SIMD_PANEL;
        for (int32_t d = 0; d < head_dim; d += SIMD_LANES) {
            vfloat block[SIMD_LANES];
            for (int i = 0; i < SIMD_LANES; i++)
                block[i] = first + i < n_rows ? simd_load(rows[first + i] + d) * simd_set(scale)
                                              : (vfloat){0};
            transpose(SIMD_LANES, block);
            for (int i = 0; i < SIMD_LANES; i++) simd_store(to + (d + i) * SIMD_PANEL, block[i]);
        }
    }
}

/* n_steps steps ask for all of `next`. */
static tile_ahead ahead_of(stored next, int64_t n_steps) {
    return (tile_ahead){next.base + next.sealed.codes, rt_div_up(next.n_bytes, n_steps)};
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Many rows: n_panels panels of rows against keys widened to fp32, 16 n_key_panels of them. */
SIMD_INLINE void score_many(const int n_panels, const float *q, int32_t head_dim, const float *keys,
        int64_t n_key_panels, tile_ahead ahead, float *scores) {
    const int64_t panel_size = (int64_t)head_dim * SIMD_PANEL;
    for (int64_t part = 0; part < n_key_panels * PANEL_TILES; part++) {
        vfloat acc[TILE_VECTORS] = {0};
        const float *some_keys =
                keys + part / PANEL_TILES * panel_size + part % PANEL_TILES * TILE_LINES;
        tile(n_panels, RT_F32, some_keys, q, panel_size, head_dim, ahead, acc);
        ahead.from += head_dim * ahead.step_bytes;
        float *to = scores + part * TILE_LINES * SIMD_PANEL;
#pragma GCC unroll 16
        for (int key = 0; key < TILE_LINES; key++)
#pragma GCC unroll 16
            for (int v = 0; v < n_panels * SIMD_VECTORS; v++)
                simd_store(to + v / SIMD_VECTORS * PANEL_SCORES + key * SIMD_PANEL +
                                   v % SIMD_VECTORS * SIMD_LANES,
                        acc[key * n_panels * SIMD_VECTORS + v]);
    }
}

/* Few rows: TILE_LINES of a panel of them against n_panels panels of keys as they are stored. */
SIMD_INLINE void score_few(const int n_panels, const rt_dtype dtype, const float *q,
        int32_t head_dim, const void *keys, tile_ahead ahead, float *scores) {
    vfloat acc[TILE_VECTORS] = {0};
    tile(n_panels, dtype, q, keys, (int64_t)head_dim * SIMD_PANEL, head_dim, ahead, acc);
#pragma GCC unroll 16
    for (int v = 0; v < n_panels * SIMD_VECTORS; v++) {
        vfloat block[TILE_LINES];
#pragma GCC unroll 16
        for (int i = 0; i < TILE_LINES; i++) block[i] = acc[i * n_panels * SIMD_VECTORS + v];
        transpose(TILE_LINES, block);
        float flat[TILE_LINES * SIMD_LANES];
#pragma GCC unroll 16
        for (int i = 0; i < TILE_LINES; i++) simd_store(flat + i * SIMD_LANES, block[i]);
#pragma GCC unroll 16
        for (int key = 0; key < SIMD_LANES; key++)
            memcpy(scores + (v * SIMD_LANES + key) * SIMD_PANEL, flat + key * TILE_LINES,
                    TILE_LINES * sizeof *flat);
    }
}

/* Functions of their own, not inlined: in a larger one the accumulators do not stay in registers. */
#define DEFINE_SCORE_MANY(n_panels)                                                              \
    SIMD_OUTLINE void score_many_##n_panels(const float *q, int32_t head_dim, const float *keys, \
            int64_t n_key_panels, tile_ahead ahead, float *scores) {                             \
        score_many(n_panels, q, head_dim, keys, n_key_panels, ahead, scores);                    \
    }
#define DEFINE_SCORE_FEW(n_panels, name, dtype)                                                    \
    SIMD_OUTLINE void score_few_##n_panels##_##name(                                               \
            const float *q, int32_t head_dim, const void *keys, tile_ahead ahead, float *scores) { \
        score_few(n_panels, dtype, q, head_dim, keys, ahead, scores);                              \
    }
DEFINE_SCORE_MANY(1)
DEFINE_SCORE_FEW(1, f32, RT_F32)
DEFINE_SCORE_FEW(1, bf16, RT_BF16)
#if defined(__AVX512F__)
DEFINE_SCORE_MANY(2)
DEFINE_SCORE_MANY(3)
DEFINE_SCORE_FEW(2, f32, RT_F32)
DEFINE_SCORE_FEW(2, bf16, RT_BF16)
#endif

typedef void score_many_rows(const float *q, int32_t head_dim, const float *keys,
        int64_t n_key_panels, tile_ahead ahead, float *scores);
typedef void score_few_rows(
        const float *q, int32_t head_dim, const void *keys, tile_ahead ahead, float *scores);

#if defined(__AVX512F__)
static score_many_rows *const score_many_by[] = {NULL, score_many_1, score_many_2, score_many_3};
static score_few_rows *const score_few_f32_by[] = {NULL, score_few_1_f32, score_few_2_f32};
static score_few_rows *const score_few_bf16_by[] = {NULL, score_few_1_bf16, score_few_2_bf16};
#else
static score_many_rows *const score_many_by[] = {NULL, score_many_1};
static score_few_rows *const score_few_f32_by[] = {NULL, score_few_1_f32};
static score_few_rows *const score_few_bf16_by[] = {NULL, score_few_1_bf16};
#endif

static void score_page_many(const attn_split *split, const attn_scratch *scratch, page_panels keys,
        int64_t n_key_panels, stored next) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t n_panels = panels_of(split->n_rows);
    const int64_t n_steps = n_key_panels * PANEL_TILES * head_dim; /* of each call */
    tile_ahead ahead = ahead_of(next, rt_div_up(n_panels, TILE_PANELS) * n_steps);
    int64_t n = 0;
    for (int64_t panel = 0; panel < n_panels; panel += n) {
        n = rt_min64(n_panels - panel, TILE_PANELS);
        score_many_by[n](scratch->q + panel * SIMD_PANEL * head_dim, head_dim, keys.base,
                n_key_panels, ahead, scratch->scores + panel * PANEL_SCORES);
        ahead.from += n_steps * ahead.step_bytes;
    }
}

/* Keys outermost, so that a panel of them stays in the first-level cache for all rows. */
static void score_page_few(const attn_split *split, const attn_scratch *scratch, page_panels keys,
        int64_t n_key_panels, stored next) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t panel_bytes = (int64_t)head_dim * SIMD_PANEL * rt_dtype_bytes(keys.dtype);
    const int64_t n_tiles =
            rt_div_up(n_key_panels, TILE_PANELS_FEW) * rt_div_up(split->n_rows, TILE_LINES);
    tile_ahead ahead = ahead_of(next, n_tiles * head_dim);
    int64_t n = 0;
    for (int64_t panel = 0; panel < n_key_panels; panel += n) {
        n = rt_min64(n_key_panels - panel, TILE_PANELS_FEW);
        score_few_rows *rows = keys.dtype == RT_F32 ? score_few_f32_by[n] : score_few_bf16_by[n];
        for (int64_t row = 0; row < split->n_rows; row += TILE_LINES) {
            rows(scratch->q + row / SIMD_PANEL * SIMD_PANEL * head_dim + row % SIMD_PANEL, head_dim,
                    (const char *)keys.base + panel * panel_bytes, ahead,
                    scratch->scores + row / SIMD_PANEL * PANEL_SCORES +
                            panel * SIMD_PANEL * SIMD_PANEL + row % SIMD_PANEL);
            ahead.from += head_dim * ahead.step_bytes;
        }
    }
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The tile's rows that there are, all keys of the page, n_panels panels of values. */
typedef struct output_rows {
    const float *weights; /* of the first row */
    const float *alpha;
    float *out; /* the first row's, at the first value */
    int64_t n_rows;
    int64_t n_keys;
    int64_t head_dim;
} output_rows;

SIMD_INLINE void output_tile(const int n_panels, const rt_dtype dtype, const output_rows *rows,
        const void *values, tile_ahead ahead) {
    const int across = n_panels * SIMD_VECTORS;
    vfloat acc[TILE_VECTORS] = {0};
    tile(n_panels, dtype, rows->weights, values, PANEL_SCORES, rows->n_keys, ahead, acc);
#pragma GCC unroll 16
    for (int i = 0; i < TILE_LINES; i++) {
        if (i >= rows->n_rows) return;
        const vfloat alpha = simd_set(rows->alpha[i]);
#pragma GCC unroll 16
        for (int v = 0; v < across; v++) {
            float *place = rows->out + i * rows->head_dim + v * SIMD_LANES;
            simd_store(place, simd_fma(simd_load(place), alpha, acc[i * across + v]));
        }
    }
}

#define DEFINE_OUTPUT(n_panels, name, dtype)                                 \
    SIMD_OUTLINE void output_##n_panels##_##name(                            \
            const output_rows *rows, const void *values, tile_ahead ahead) { \
        output_tile(n_panels, dtype, rows, values, ahead);                   \
    }
DEFINE_OUTPUT(1, f32, RT_F32)
DEFINE_OUTPUT(1, bf16, RT_BF16)
#if defined(__AVX512F__)
DEFINE_OUTPUT(2, f32, RT_F32)
DEFINE_OUTPUT(3, f32, RT_F32)
DEFINE_OUTPUT(2, bf16, RT_BF16)
#endif

typedef void output_tile_rows(const output_rows *rows, const void *values, tile_ahead ahead);

#if defined(__AVX512F__)
static output_tile_rows *const output_f32_by[] = {NULL, output_1_f32, output_2_f32, output_3_f32};
static output_tile_rows *const output_bf16_by[] = {NULL, output_1_bf16, output_2_bf16};
#else
static output_tile_rows *const output_f32_by[] = {NULL, output_1_f32};
static output_tile_rows *const output_bf16_by[] = {NULL, output_1_bf16};
#endif

static bool is_tile_seen(const page_effect *effect, int64_t row, int64_t n_rows) {
    for (int64_t i = row; i < row + n_rows; i++)
        if (effect->is_seen[i]) return true;
    return false;
}

/* Every row that has weights in this page. Values outermost, so that a tile's panels of them stay in the
 * first-level cache for all rows. */
static void output_page(const attn_split *split, const attn_scratch *scratch, page_panels values,
        const page_effect *effect, int64_t n_keys, stored next) {
    const int32_t head_dim = split->shape->head_dim;
    const int64_t panel_bytes = (int64_t)PANEL_SCORES * rt_dtype_bytes(values.dtype);
    const int64_t n_panels = head_dim / SIMD_PANEL;
    const int64_t n_most = values.dtype == RT_F32 ? TILE_PANELS : TILE_PANELS_FEW;
    const int64_t n_tiles = rt_div_up(n_panels, n_most) * rt_div_up(split->n_rows, TILE_LINES);
    tile_ahead ahead = ahead_of(next, n_tiles * n_keys);
    int64_t n = 0;
    for (int64_t panel = 0; panel < n_panels; panel += n) {
        n = rt_min64(n_panels - panel, n_most);
        output_tile_rows *tile_rows = values.dtype == RT_F32 ? output_f32_by[n] : output_bf16_by[n];
        for (int64_t row = 0; row < split->n_rows; row += TILE_LINES) {
            const output_rows rows = {
                    .weights = scratch->scores + row / SIMD_PANEL * PANEL_SCORES + row % SIMD_PANEL,
                    .alpha = effect->alpha + row,
                    .out = scratch->part_out + row * head_dim + panel * SIMD_PANEL,
                    .n_rows = rt_min64(split->n_rows - row, TILE_LINES),
                    .n_keys = n_keys,
                    .head_dim = head_dim};
            if (is_tile_seen(effect, row, rows.n_rows))
                tile_rows(&rows, (const char *)values.base + panel * panel_bytes, ahead);
            ahead.from += n_keys * ahead.step_bytes;
        }
    }
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

/* The keys of the page after the one at page_pos; where the split ends, nothing. */
static stored next_keys(const attn_split *split, int64_t page_pos) {
    const int64_t next = page_pos + PAGE;
    if (next >= split->first_pos + split->n_tokens)
        return (stored){.base = (const char *)split}; /* an address at hand */
    return stored_keys(split, source_of(split, next));
}

/* What is read next is asked for on the way: values while scores are formed, unless the page before
 * needed none of its own, and the next page's keys while outputs are. */
static bool scan_page(
        const attn_split *split, attn_scratch *scratch, int64_t page_pos, bool is_likely_seen) {
    const int64_t n_keys = visible_keys(split, scratch, page_pos);
    if (n_keys <= 0) return false;
    const source from = source_of(split, page_pos);
    const page_panels keys = panels_at(split, stored_keys(split, from), scratch->keys);
    const stored values = stored_values(split, from);
    const stored next = is_likely_seen ? values : next_keys(split, page_pos);
    if (keys.dtype == RT_F32 && split->n_rows > ROWS_WORTH_WIDENING)
        score_page_many(split, scratch, keys, panels_of(n_keys), next);
    else
        score_page_few(split, scratch, keys, panels_of(n_keys), next);

    page_effect effect;
    if (!weigh_page(split, scratch, page_pos, n_keys, &effect)) return false;
    output_page(split, scratch, panels_at(split, values, scratch->values), &effect, n_keys,
            next_keys(split, page_pos));
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
    bool is_any_seen = split->is_continued;
    bool is_seen = true;
    for (int64_t pos = split->first_pos; pos < split->first_pos + split->n_tokens; pos += PAGE) {
        is_seen = scan_page(split, scratch, pos, is_seen);
        is_any_seen |= is_seen;
    }
    return is_any_seen;
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
const attn_kernels SIMD_NAME(attn_kernels) = {load_queries, scan, fold};
