/* Attention of one piece by tiles of bf16 (amx_tiles.h): up to ATTN_ROWS_MAX rows of one KV head against the pages of one
 * split, which are bf16.
 *
 * What is fp32, queries times their scale and weights, is two bf16: the nearest, and what is left of it, to 2^-17 of
 * the number. That costs products twice, and is what fp32 sums of 128 numbers may lose: scores, maxima, exponentials,
 * sums and the state are fp32 as everywhere (attn_simd.c).
 *
 *   scores   S[16 rows][16 keys] += Q [16][32 dims]  K [32 dims][16 keys]      32 dims after one another, high, then low
 *   output   O[16 rows][16 dims] += P [16][32 keys]  V [32 keys][16 dims]      32 keys after one another, high, then low
 *
 * Pages lie as tiles want them (attn_page.h), and are read where they are: a tile of keys or values is a kilobyte.
 *
 * A row's numbers meet no other row's, and a page is the same blocks of 32 whoever sees how much of it: what a row
 * comes to does not depend on what it shares a pass with. Keys that no row sees count as 0, whatever their bytes say. */
#include "attn_simd.h"

#include "amx_tiles.h"
#include "attn_effect.h"
#include "attn_scan.h"
#include "attn_stored.h"

enum {
    PAGE = ATTN_PAGE_TOKENS,
    PANEL = SIMD_PANEL,
    STEP = 32,                        /* dims or keys of a product */
    TILE_HALVES = AMX_TILE_BYTES / 2, /* numbers of bf16 */
    ROWS = 2 * PANEL,                 /* at a time */
    SCORE_BYTES = PAGE * (int)sizeof(float),
    WEIGHT_BYTES = PAGE * (int)sizeof(uint16_t)
};

/* ---- two halves of a number ------------------------------------------------------------------ */

/* To the nearest bf16, ties away from zero; what is not finite stays so. */
SIMD_INLINE vfloat high_half(vfloat x) {
    return (vfloat)(((vuint)x + 0x8000u) & 0xffff0000u);
}

/* Of numbers that may be anything: none becomes infinite, and what is has nothing left over. */
SIMD_INLINE vfloat high_half_of_any(vfloat x) {
    const vfloat near = high_half(x);
    const vint is_finite = ((vuint)near & 0x7f800000u) != 0x7f800000u;
    return choose(is_finite, near, (vfloat)((vuint)x & 0xffff0000u));
}

SIMD_INLINE vfloat low_half_of_any(vfloat x, vfloat high) {
    const vint is_finite = ((vuint)high & 0x7f800000u) != 0x7f800000u;
    return high_half(choose(is_finite, x - high, (vfloat){0}));
}

/* 2 LANES numbers that are bf16 already. */
SIMD_INLINE void store_halves(uint16_t *to, vfloat first, vfloat second) {
#if defined(__AVX512F__)
    static const uint16_t odd[32] = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33,
            35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    _mm512_storeu_si512(to,
            _mm512_permutex2var_epi16((__m512i)first, _mm512_loadu_si512(odd), (__m512i)second));
#else
    const vhalf halves[2] = {__builtin_convertvector((vuint)first >> 16, vhalf),
            __builtin_convertvector((vuint)second >> 16, vhalf)};
    memcpy(to, halves, sizeof halves);
#endif
}

/* ---- queries --------------------------------------------------------------------------------- */

/* Of a panel of 16 rows: [head_dim / 32][high, low][16 rows][32 dims]. */
static int64_t panel_halves(int32_t head_dim) {
    return (int64_t)head_dim / STEP * 2 * TILE_HALVES;
}

SIMD_INLINE void load_query(const float *row, int32_t head_dim, float scale, uint16_t *to) {
    for (int32_t d = 0; d < head_dim; d += 2 * SIMD_LANES) {
        vfloat high[2], low[2];
        for (int i = 0; i < 2; i++) {
            const vfloat x = simd_load(row + d + i * SIMD_LANES) * simd_set(scale);
            high[i] = high_half_of_any(x);
            low[i] = low_half_of_any(x, high[i]);
        }
        uint16_t *at = to + d / STEP * 2 * TILE_HALVES + d % STEP;
        store_halves(at, high[0], high[1]);
        store_halves(at + TILE_HALVES, low[0], low[1]);
    }
}

RT_TOLD static void load_queries(
        const float *const *rows, int64_t n_rows, int32_t head_dim, float scale, float *panels) {
    uint16_t *to = (uint16_t *)panels;
    memset(to, 0, (size_t)(rt_div_up(n_rows, PANEL) * panel_halves(head_dim)) * sizeof *to);
    for (int64_t r = 0; r < n_rows; r++) {
        rt_reads(rows[r], head_dim * (int64_t)sizeof(float));
        load_query(rows[r], head_dim, scale,
                to + r / PANEL * panel_halves(head_dim) + r % PANEL * STEP);
    }
}

/* ---- memory ahead ---------------------------------------------------------------------------- */

/* What is read next, asked for by so many lines a step. */
typedef struct ahead {
    const char *from;
    int64_t n_lines;
} ahead;

/* All n_bytes, in n_steps. */
static ahead ahead_of(const stored *next, int64_t n_steps) {
    return (ahead){next->base, rt_div_up(next->n_bytes, n_steps * CACHE_LINE)};
}

SIMD_INLINE void ask_ahead(ahead *next) {
    for (int64_t i = 0; i < next->n_lines; i++)
        __builtin_prefetch(next->from + i * CACHE_LINE, 0, 2);
    next->from += next->n_lines * CACHE_LINE;
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Two panels of rows against n_keys keys, a multiple of 32. */
SIMD_TILE ahead score_two(const uint16_t *q, int32_t head_dim, const uint16_t *keys, int64_t n_keys,
        ahead next, float *scores) {
    const uint16_t *other = q + panel_halves(head_dim);
    const int64_t key_panel = (int64_t)head_dim * PANEL;
    for (int64_t key = 0; key < n_keys; key += STEP) {
        const uint16_t *from = keys + key * head_dim;
        amx_zero(0);
        amx_zero(1);
        amx_zero(2);
        amx_zero(3);
        for (int64_t d = 0; d < head_dim; d += STEP) {
            const int64_t at = d / STEP * 2 * TILE_HALVES;
            ask_ahead(&next);
            amx_load(4, from + d * PANEL, AMX_LINE_BYTES);
            amx_load(5, from + key_panel + d * PANEL, AMX_LINE_BYTES);
            amx_load(6, q + at, AMX_LINE_BYTES);
            amx_multiply(0, 6, 4);
            amx_multiply(1, 6, 5);
            amx_load(7, other + at, AMX_LINE_BYTES);
            amx_multiply(2, 7, 4);
            amx_multiply(3, 7, 5);
            amx_load(6, q + at + TILE_HALVES, AMX_LINE_BYTES);
            amx_multiply(0, 6, 4);
            amx_multiply(1, 6, 5);
            amx_load(7, other + at + TILE_HALVES, AMX_LINE_BYTES);
            amx_multiply(2, 7, 4);
            amx_multiply(3, 7, 5);
        }
        amx_store(0, scores + key, SCORE_BYTES);
        amx_store(1, scores + key + PANEL, SCORE_BYTES);
        amx_store(2, scores + PANEL * PAGE + key, SCORE_BYTES);
        amx_store(3, scores + PANEL * PAGE + key + PANEL, SCORE_BYTES);
    }
    return next;
}

/* One panel of rows. */
SIMD_TILE ahead score_one(const uint16_t *q, int32_t head_dim, const uint16_t *keys, int64_t n_keys,
        ahead next, float *scores) {
    const int64_t key_panel = (int64_t)head_dim * PANEL;
    for (int64_t key = 0; key < n_keys; key += STEP) {
        const uint16_t *from = keys + key * head_dim;
        amx_zero(0);
        amx_zero(1);
        for (int64_t d = 0; d < head_dim; d += STEP) {
            const int64_t at = d / STEP * 2 * TILE_HALVES;
            ask_ahead(&next);
            amx_load(4, from + d * PANEL, AMX_LINE_BYTES);
            amx_load(5, from + key_panel + d * PANEL, AMX_LINE_BYTES);
            amx_load(6, q + at, AMX_LINE_BYTES);
            amx_load(7, q + at + TILE_HALVES, AMX_LINE_BYTES);
            amx_multiply(0, 6, 4);
            amx_multiply(1, 6, 5);
            amx_multiply(0, 7, 4);
            amx_multiply(1, 7, 5);
        }
        amx_store(0, scores + key, SCORE_BYTES);
        amx_store(1, scores + key + PANEL, SCORE_BYTES);
    }
    return next;
}

/* ---- weights --------------------------------------------------------------------------------- */

/* A thread's place for 32 rows, in the scratch's scores. */
typedef struct block_place {
    float *scores;     /* [32 rows][128 keys] */
    uint16_t *weights; /* [high, low][32 rows][128 keys] */
    float *sums;       /* [2 panels of rows][2 of dims][16][16] */
} block_place;

enum { WEIGHTS_AT = ROWS * PAGE, SUMS_AT = WEIGHTS_AT + ROWS * PAGE, LOW_AT = ROWS * PAGE };
_Static_assert(SUMS_AT + 4 * PANEL * PANEL <= ATTN_ROWS_MAX * PAGE,
        "a block's numbers fit where scores do");

static block_place place_of(const attn_scratch *scratch) {
    return (block_place){.scores = scratch->scores,
            .weights = (uint16_t *)(scratch->scores + WEIGHTS_AT),
            .sums = scratch->scores + SUMS_AT};
}

/* LANES vectors -> one: lane i has what operation makes of the lanes of rows[i]. */
SIMD_INLINE vfloat lanes_of(vfloat *rows, const bool is_max) {
#pragma GCC unroll 4
    for (int n = SIMD_LANES / 2; n > 0; n /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            const vfloat low = RIFFLE_LOW(rows[i], rows[i + n]);
            const vfloat high = RIFFLE_HIGH(rows[i], rows[i + n]);
            rows[i] = is_max ? simd_max(low, high) : low + high;
        }
    return rows[0];
}

/* Of one row's scores; those that it does not see become -inf. */
SIMD_INLINE void largest_of_row(
        float *scores, int64_t n_visible, int64_t n_end, vfloat *largest, vfloat *spoilt) {
    for (int64_t key = rt_max64(n_visible, 0); key < n_end; key++) scores[key] = -INFINITY;
    *largest = simd_set(-INFINITY);
    *spoilt = (vfloat){0};
    for (int64_t key = 0; key < n_end; key += SIMD_LANES) {
        const vfloat score = simd_load(scores + key);
        *largest = simd_max(score, *largest);
        *spoilt += score;
    }
}

/* Weights as two halves, and what these come to. */
SIMD_INLINE vfloat weigh_row(const float *scores, int64_t n_end, float shift, uint16_t *weights) {
    vfloat sum = {0};
    for (int64_t key = 0; key < n_end; key += 2 * SIMD_LANES) {
        vfloat high[2], low[2];
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const vfloat weight =
                    simd_exp2(simd_load(scores + key + i * SIMD_LANES) - simd_set(shift));
            high[i] = high_half(weight);
            low[i] = high_half(weight - high[i]);
            sum += high[i] + low[i];
        }
        store_halves(weights + key, high[0], high[1]);
        store_halves(weights + LOW_AT + key, low[0], low[1]);
    }
    return sum;
}

SIMD_INLINE void clear_row(int64_t n_end, uint16_t *weights) {
    memset(weights, 0, (size_t)n_end * sizeof *weights);
    memset(weights + LOW_AT, 0, (size_t)n_end * sizeof *weights);
}

/* Rows [row, row + n), a vector of them at most, of the block that begins with row `first`. */
SIMD_INLINE void weigh_rows(const attn_split *split, const attn_scratch *scratch, int64_t first,
        int64_t row, int64_t page_pos, int64_t n_keys, page_effect *effect) {
    const block_place place = place_of(scratch);
    const int64_t n = rt_min64(split->n_rows - row, SIMD_LANES);
    const int64_t n_end = rt_round_up(n_keys, STEP);
    float *scores = place.scores + (row - first) * PAGE;
    uint16_t *weights = place.weights + (row - first) * PAGE;
    vfloat largest[SIMD_LANES], rest[SIMD_LANES];
    for (int64_t i = 0; i < SIMD_LANES; i++) {
        largest[i] = simd_set(-INFINITY);
        rest[i] = (vfloat){0};
        if (i < n)
            largest_of_row(scores + i * PAGE, rt_min64(scratch->limit[row + i] - page_pos, n_keys),
                    n_end, &largest[i], &rest[i]);
    }
    const page_max page = {lanes_of(largest, true), lanes_of(rest, false)};
    float shift[SIMD_LANES];
    simd_store(shift, meet_page(page, row, (size_t)n, scratch->part_max, effect));
    for (int64_t i = 0; i < SIMD_LANES; i++) rest[i] = (vfloat){0};
    for (int64_t i = 0; i < n; i++)
        if (effect->is_seen[row + i])
            rest[i] = weigh_row(scores + i * PAGE, n_end, shift[i], weights + i * PAGE);
        else
            clear_row(n_end, weights + i * PAGE);
    vfloat sum = {0};
    memcpy(&sum, scratch->part_sum + row, (size_t)n * sizeof(float));
    sum = simd_fma(sum, simd_load(effect->alpha + row), lanes_of(rest, false));
    memcpy(scratch->part_sum + row, &sum, (size_t)n * sizeof(float));
}

/* Whether any row of the block is seen. */
SIMD_TILE bool weigh_block(const attn_split *split, const attn_scratch *scratch, int64_t first,
        int64_t n_rows, int64_t page_pos, int64_t n_keys, page_effect *effect) {
    for (int64_t row = first; row < first + n_rows; row += SIMD_LANES)
        weigh_rows(split, scratch, first, row, page_pos, n_keys, effect);
    return is_tile_seen(effect, first, n_rows);
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Two panels of rows and two of dims, n_keys keys, a multiple of 32. */
SIMD_TILE ahead sum_two(
        const block_place *place, const uint16_t *values, int64_t n_keys, ahead next) {
    const uint16_t *weights = place->weights;
    amx_zero(0);
    amx_zero(1);
    amx_zero(2);
    amx_zero(3);
    for (int64_t key = 0; key < n_keys; key += STEP) {
        ask_ahead(&next);
        amx_load(4, values + key * PANEL, AMX_LINE_BYTES);
        amx_load(5, values + (PAGE + key) * PANEL, AMX_LINE_BYTES);
        amx_load(6, weights + key, WEIGHT_BYTES);
        amx_multiply(0, 6, 4);
        amx_multiply(1, 6, 5);
        amx_load(7, weights + PANEL * PAGE + key, WEIGHT_BYTES);
        amx_multiply(2, 7, 4);
        amx_multiply(3, 7, 5);
        amx_load(6, weights + LOW_AT + key, WEIGHT_BYTES);
        amx_multiply(0, 6, 4);
        amx_multiply(1, 6, 5);
        amx_load(7, weights + LOW_AT + PANEL * PAGE + key, WEIGHT_BYTES);
        amx_multiply(2, 7, 4);
        amx_multiply(3, 7, 5);
    }
    amx_store(0, place->sums, AMX_LINE_BYTES);
    amx_store(1, place->sums + PANEL * PANEL, AMX_LINE_BYTES);
    amx_store(2, place->sums + 2 * PANEL * PANEL, AMX_LINE_BYTES);
    amx_store(3, place->sums + 3 * PANEL * PANEL, AMX_LINE_BYTES);
    return next;
}

/* One panel of rows. */
SIMD_TILE ahead sum_one(
        const block_place *place, const uint16_t *values, int64_t n_keys, ahead next) {
    const uint16_t *weights = place->weights;
    amx_zero(0);
    amx_zero(1);
    for (int64_t key = 0; key < n_keys; key += STEP) {
        ask_ahead(&next);
        amx_load(4, values + key * PANEL, AMX_LINE_BYTES);
        amx_load(5, values + (PAGE + key) * PANEL, AMX_LINE_BYTES);
        amx_load(6, weights + key, WEIGHT_BYTES);
        amx_load(7, weights + LOW_AT + key, WEIGHT_BYTES);
        amx_multiply(0, 6, 4);
        amx_multiply(1, 6, 5);
        amx_multiply(0, 7, 4);
        amx_multiply(1, 7, 5);
    }
    amx_store(0, place->sums, AMX_LINE_BYTES);
    amx_store(1, place->sums + PANEL * PANEL, AMX_LINE_BYTES);
    return next;
}

/* out = out alpha + sums, of 32 dims. */
SIMD_INLINE void add_sums(
        const float *sums, int64_t n_rows, const float *alpha, int32_t head_dim, float *out) {
    for (int64_t row = 0; row < n_rows; row++) {
        const vfloat by = simd_set(alpha[row]);
        const float *from = sums + (row / PANEL * 2 * PANEL + row % PANEL) * PANEL;
#pragma GCC unroll 8
        for (int v = 0; v < 2 * SIMD_VECTORS; v++) {
            const float *more =
                    from + v / SIMD_VECTORS * PANEL * PANEL + v % SIMD_VECTORS * SIMD_LANES;
            float *to = out + row * head_dim + v * SIMD_LANES;
            simd_store(to, simd_fma(simd_load(to), by, simd_load(more)));
        }
    }
}

SIMD_TILE ahead output_block(const attn_split *split, const attn_scratch *scratch, int64_t first,
        int64_t n_rows, const uint16_t *values, int64_t n_keys, const page_effect *effect,
        ahead next) {
    const block_place place = place_of(scratch);
    const int32_t head_dim = split->shape->head_dim;
    const int64_t n_end = rt_round_up(n_keys, STEP);
    for (int32_t d = 0; d < head_dim; d += STEP) {
        next = n_rows > PANEL ? sum_two(&place, values + d * PAGE, n_end, next)
                              : sum_one(&place, values + d * PAGE, n_end, next);
        add_sums(place.sums, n_rows, effect->alpha + first, head_dim,
                scratch->part_out + first * head_dim + d);
    }
    return next;
}

/* ---- a page, a split ------------------------------------------------------------------------- */

/* The values of n_keys keys, up to whole steps. Of a step that ends before its page does a copy, of which the rest is 0: it
 * meets weights of 0, and may be anything. */
static const uint16_t *whole_values(
        const attn_split *split, source from, int64_t n_keys, float *to) {
    const int64_t n_panels = split->shape->head_dim / PANEL;
    const stored values = stored_values(split, from);
    tell_panels(values.base, RT_BF16, n_panels, PAGE, n_keys);
    if (n_keys % STEP == 0) return (const uint16_t *)(const void *)values.base;
    uint16_t *copy = (uint16_t *)to;
    for (int64_t at = 0; at < n_panels * PAGE * PANEL; at += PAGE * PANEL) {
        memcpy(copy + at, (const uint16_t *)(const void *)values.base + at,
                (size_t)(rt_round_up(n_keys, STEP) * PANEL) * sizeof *copy);
        for (int64_t key = n_keys; key < rt_round_up(n_keys, STEP); key++)
            for (int64_t d = 0; d < PANEL; d++)
                copy[at + attn_panel_index(split->shape, key, d)] = 0;
    }
    return copy;
}

static const uint16_t *told_keys(const attn_split *split, source from, int64_t n_keys) {
    const int32_t head_dim = split->shape->head_dim;
    const stored keys = stored_keys(split, from);
    tell_panels(keys.base, RT_BF16, rt_div_up(n_keys, PANEL), head_dim, head_dim);
    return (const uint16_t *)(const void *)keys.base;
}

static bool scan_page(
        const attn_split *split, attn_scratch *scratch, int64_t page_pos, bool was_seen) {
    const int64_t n_keys = visible_keys(split, scratch, page_pos);
    if (n_keys <= 0) return false;
    const int32_t head_dim = split->shape->head_dim;
    const source from = source_of(split, page_pos);
    const uint16_t *keys = told_keys(split, from, n_keys);
    const uint16_t *values = NULL;
    const stored own = stored_values(split, from), other = next_keys(split, page_pos);
    const int64_t n_steps =
            rt_div_up(n_keys, STEP) * (head_dim / STEP) * rt_div_up(split->n_rows, ROWS);
    ahead after_keys = ahead_of(was_seen ? &own : &other, n_steps);
    ahead after_values = ahead_of(&other, n_steps);
    page_effect effect;
    tell_weighed(split, scratch);
    for (int64_t first = 0; first < split->n_rows; first += ROWS) {
        const int64_t n_rows = rt_min64(split->n_rows - first, ROWS);
        const int64_t n_end = rt_round_up(n_keys, STEP);
        const uint16_t *q = (const uint16_t *)scratch->q + first / PANEL * panel_halves(head_dim);
        after_keys = n_rows > PANEL
                             ? score_two(q, head_dim, keys, n_end, after_keys, scratch->scores)
                             : score_one(q, head_dim, keys, n_end, after_keys, scratch->scores);
        if (!weigh_block(split, scratch, first, n_rows, page_pos, n_keys, &effect)) continue;
        if (!values) values = whole_values(split, from, n_keys, scratch->values);
        after_values =
                output_block(split, scratch, first, n_rows, values, n_keys, &effect, after_values);
    }
    return values != NULL;
}

static bool scan(const attn_split *split, attn_scratch *scratch) {
    amx_begin();
    const bool is_any_seen = scan_pages(split, scratch, scan_page);
    amx_end();
    return is_any_seen;
}

extern const attn_kernels SIMD_NAME(attn_kernels);
const attn_kernels SIMD_NAME(attn_kernels) = {load_queries, scan, fold};
