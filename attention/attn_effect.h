/* What a page does to rows, for many of them and for few. Included only by attn_simd.c and attn_amx.c.
 *
 * A row is seen in a page unless all its weights there underflow to 0, which its largest score tells; a
 * row whose scores hold NaN is seen, so that NaN is never dropped. Where no score is a number the maximum
 * is NaN: -inf would say that there was no key, and nobody reads the sums of such a row. */
#ifndef ATTN_EFFECT_H
#define ATTN_EFFECT_H

#include "attn_simd.h"
#include "attn_tile.h"

typedef struct page_effect {
    float alpha[ATTN_ROWS_MAX];       /* what the row's earlier sums are to be multiplied by */
    int32_t is_seen[ATTN_ROWS_MAX];   /* not 0: some weight is not 0 */
    int32_t n_visible[ATTN_ROWS_MAX]; /* keys; of rows that are seen */
} page_effect;

SIMD_INLINE bool is_tile_seen(const page_effect *effect, int64_t row, int64_t n_rows) {
    for (int64_t i = row; i < row + n_rows; i++)
        if (effect->is_seen[i]) return true;
    return false;
}

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

/* The first n lanes of a vector, which are most often all. */
SIMD_INLINE vfloat load_rows(const float *from, size_t n, float others) {
    vfloat rows = simd_set(others);
    if (n == SIMD_LANES) return simd_load(from);
    memcpy(&rows, from, n * sizeof(float));
    return rows;
}

SIMD_INLINE void store_rows(float *to, size_t n, vfloat rows) {
    if (n == SIMD_LANES)
        simd_store(to, rows);
    else
        memcpy(to, &rows, n * sizeof(float));
}

/* Largest score of each row of a vector, NaN left out of it; `spoilt` is NaN where there was one. */
typedef struct page_max {
    vfloat largest;
    vfloat spoilt;
} page_max;

/* Whether all of a row's weights underflow to 0, by its largest score and its maximum so far. */
SIMD_INLINE vint is_left_out(vfloat largest, vfloat row_max) {
    return (largest == -INFINITY) | (largest - row_max < -126.0f);
}

/* Rows [row, row + n), a vector of them at most, meet a page: their maxima move, `effect` is set. Returns what
 * their scores are to be lessened by; where no row is seen, nothing is changed. */
SIMD_INLINE vfloat meet_page(
        page_max page, int64_t row, size_t n, float *part_max, page_effect *effect) {
    const vfloat row_max = load_rows(part_max + row, n, -INFINITY);
    const vint is_seen = ~is_left_out(page.largest, row_max) | (page.spoilt != page.spoilt);
    memcpy(effect->is_seen + row, &is_seen, sizeof is_seen);
    const vfloat larger = choose(is_seen & (page.largest > row_max), page.largest, row_max);
    const vint is_nan_only = (larger == -INFINITY) & (page.spoilt != page.spoilt);
    const vfloat max = choose(is_nan_only, page.spoilt, larger);
    const vfloat shift = choose(max == -INFINITY, (vfloat){0}, max); /* -inf - -inf is NaN */
    const vfloat alpha = simd_exp2(row_max - shift);
    memcpy(effect->alpha + row, &alpha, sizeof alpha);
    store_rows(part_max + row, n, max);
    return shift;
}

/* Where the tile's rows are: n_rows of its lines, the others do not exist. */
typedef struct output_rows {
    tile_a weights;
    const float *alpha;
    const int32_t *is_seen;
    const int32_t *n_visible;
    float *sum; /* NULL: not to be touched */
    float *out; /* the first row's, at the first value */
    int64_t n_rows;
    int64_t n_keys;
    int64_t head_dim;
} output_rows;

/* What weighing a page touches: of the scores, which are the thread's own, a line stands for all. */
static void tell_weighed(const attn_split *split, const attn_scratch *scratch) {
    rt_writes(scratch->part_max, split->n_rows * (int64_t)sizeof(float));
    rt_writes(scratch->part_sum, split->n_rows * (int64_t)sizeof(float));
    rt_writes(scratch->scores, CACHE_LINE);
}

SIMD_INLINE vint is_infinite(vfloat x) {
    return ((vint)x & 0x7f800000) == 0x7f800000;
}

/* A panel of values times the weights of row i for the keys that it sees. */
SIMD_INLINE void row_output(const output_rows *rows, int64_t i, rt_dtype dtype,
        const tile_b *values, int64_t panel, vfloat *acc) {
    const float *weights = rows->weights.a + i * rows->weights.line;
    for (int64_t key = 0; key < rows->n_visible[i]; key++) {
        vfloat line[SIMD_VECTORS];
        load_line(dtype, *values, panel, key, line);
        for (int v = 0; v < SIMD_VECTORS; v++)
            acc[v] += simd_set(weights[key * rows->weights.step]) * line[v];
    }
}

/* out = out alpha + what each row sees. To others values may be Inf or NaN, which times their weights, 0, is NaN. */
SIMD_OUTLINE RT_TOLD void add_output_apart(
        rt_dtype dtype, int n_panels, const output_rows *rows, const tile_b *values) {
    for (int64_t i = 0; i < rows->n_rows; i++)
        for (int64_t panel = 0; panel < n_panels && rows->is_seen[i]; panel++) {
            vfloat acc[SIMD_VECTORS] = {{0}};
            row_output(rows, i, dtype, values, panel, acc);
            for (int v = 0; v < SIMD_VECTORS; v++) {
                float *place = rows->out + i * rows->head_dim + panel * SIMD_PANEL + v * SIMD_LANES;
                simd_store(place, simd_fma(simd_load(place), simd_set(rows->alpha[i]), acc[v]));
            }
        }
}

/* out = out alpha + acc. Where a value is Inf or NaN, all rows' sums are Inf or NaN, the first one's too. */
SIMD_INLINE void add_output(const int n_lines, const int n_panels, const rt_dtype dtype,
        const output_rows *rows, const tile_b *values, const vfloat *acc) {
    const int across = n_panels * SIMD_VECTORS;
    vint is_apart = {0};
#pragma GCC unroll 16
    for (int v = 0; v < across; v++) is_apart |= is_infinite(acc[v]);
    if (__builtin_expect(is_any(is_apart), false)) {
        add_output_apart(dtype, n_panels, rows, values);
        return;
    }
#pragma GCC unroll 16
    for (int i = 0; i < n_lines; i++) {
        if (i >= rows->n_rows) return;
        const vfloat alpha = simd_set(rows->alpha[i]);
#pragma GCC unroll 16
        for (int v = 0; v < across; v++) {
            float *place = rows->out + i * rows->head_dim + v * SIMD_LANES;
            simd_store(place, simd_fma(simd_load(place), alpha, acc[i * across + v]));
        }
    }
}

#endif
