/* Attention of one piece: up to ATTN_ROWS_MAX rows of one KV head against the pages of one split.
 *
 * Per page:  scores  S[row][key]  = sum over d of q[row][d] K[key][d]
 *            weights P[row][key]  = 2^(S - m), m the row's running maximum
 *            sums    l[row]       = l alpha + sum over keys of P            one chain, key order
 *            out     O[row][d]    = O alpha + sum over keys of P V[key][d]
 *
 * What lies along a vector depends on the number of rows: attn_many.h, attn_few.h. The bits do not.
 *
 * The sum of weights runs over keys in the same order, with the same roundings, as every column
 * of P V: with V = 1 the quotient is exactly 1. Rows whose weights in a page all underflow to 0 are
 * left out there, and V is not even widened when all rows are: that changes no bit. */
#include "attn_simd.h"

#include "attn_few.h"
#include "attn_many.h"
#include "attn_scan.h"

enum { PAGE = ATTN_PAGE_TOKENS };

/* ---- queries --------------------------------------------------------------------------------- */

/* Rows [first, first + SIMD_LANES) side by side, scaled, from dimension d on: block[i] holds their d + i. */
SIMD_INLINE void load_block(const float *const *rows, int64_t first, int64_t n_rows, int32_t d,
        float scale, vfloat *block) {
    for (int i = 0; i < SIMD_LANES; i++)
        block[i] =
                first + i < n_rows ? simd_load(rows[first + i] + d) * simd_set(scale) : (vfloat){0};
    for (int i = 0; i < SIMD_LANES && first + i < n_rows; i++)
        __builtin_prefetch(
                rows[first + i] + d + SIMD_LANES); /* the next block's, from another line each */
    transpose(SIMD_LANES, block);
}

/* Its rows before the n_rows-th into panels of `width` rows, `piece` rows at a time. */
SIMD_INLINE void store_block(const int width, const int piece, const vfloat *block, int64_t first,
        int64_t n_rows, int32_t head_dim, int32_t d, float *panels) {
    for (int row = 0; row < SIMD_LANES && first + row < n_rows; row += piece) {
        const int64_t at = first + row;
        float *to = panels + at / width * width * head_dim + d * width + at % width;
        for (int i = 0; i < SIMD_LANES; i++)
            memcpy(to + i * width, (const float *)&block[i] + row, (size_t)piece * sizeof(float));
    }
}

/* In panels of 16, or as wide as few rows' tiles read them. */
RT_TOLD static void load_queries(
        const float *const *rows, int64_t n_rows, int32_t head_dim, float scale, float *panels) {
    const int64_t width = n_rows <= ROWS_FEW ? few_shape_of(n_rows, 1)->width : SIMD_PANEL;
    const int64_t n_filled = rt_round_up(n_rows, width);
    for (int64_t row = 0; row < n_rows; row++)
        rt_reads(rows[row], head_dim * (int64_t)sizeof(float));
    for (int64_t first = 0; first < n_filled; first += SIMD_LANES)
        for (int32_t d = 0; d < head_dim; d += SIMD_LANES) {
            vfloat block[SIMD_LANES];
            load_block(rows, first, n_rows, d, scale, block);
            if (width == 4)
                store_block(4, 4, block, first, n_filled, head_dim, d, panels);
            else
                store_block(SIMD_PANEL, SIMD_LANES, block, first, n_filled, head_dim, d, panels);
        }
}

/* ---- one page, one split --------------------------------------------------------------------- */

/* The keys of the page after the one at page_pos; where the split ends, that page's own, which are near. */
static stored next_keys(const attn_split *split, int64_t page_pos) {
    const int64_t next = page_pos + PAGE;
    const bool is_last = next >= split->first_pos + split->n_tokens;
    return stored_keys(split, source_of(split, is_last ? page_pos : next));
}

/* What a page is to its rows: where its numbers are, how many keys are seen, what is read afterwards. */
typedef struct page_view {
    int64_t pos;
    int64_t n_keys;
    stored keys;
    stored values;
    stored after_keys;
    stored after_values;
} page_view;

static bool scan_page_many(const attn_split *split, attn_scratch *scratch, const page_view *page) {
    page_effect effect;
    const float *keys = panels_widened(split, &page->keys, scratch->keys);
    many_score_page(split, scratch, keys, rt_div_up(page->n_keys, SIMD_PANEL), page->after_keys);
    if (!many_weigh(split, scratch, page->pos, page->n_keys, &effect)) return false;
    const float *values = panels_widened(split, &page->values, scratch->values);
    many_output_page(split, scratch, values, &effect, page->n_keys, page->after_values);
    return true;
}

static bool scan_page_few(const attn_split *split, attn_scratch *scratch, const page_view *page) {
    page_effect effect;
    const page_panels keys = panels_as_stored(split, &page->keys, scratch->keys);
    ask_for_scales(&page->after_keys);
    few_score_page(split, scratch, &keys, page->n_keys, &page->after_keys);
    const few_early early = few_early_of(split, &page->after_keys, &page->after_values);
    if (!few_weigh(split, scratch, page->pos, page->n_keys, &early, &effect)) return false;
    const page_panels values = panels_as_stored(split, &page->values, scratch->values);
    ask_for_scales(&page->after_values);
    few_output_page(split, scratch, &values, &effect, page->n_keys, &page->after_values);
    return true;
}

/* What is read next is asked for on the way: values while scores are formed, unless the page before
 * needed none of its own, and the next page's keys while outputs are. */
static bool scan_page(
        const attn_split *split, attn_scratch *scratch, int64_t page_pos, bool is_likely_seen) {
    const int64_t n_keys = visible_keys(split, scratch, page_pos);
    if (n_keys <= 0) return false;
    const source from = source_of(split, page_pos);
    page_view page = {.pos = page_pos,
            .n_keys = n_keys,
            .keys = stored_keys(split, from),
            .values = stored_values(split, from),
            .after_values = next_keys(split, page_pos)};
    page.after_keys = is_likely_seen ? page.values : page.after_values;
    return split->n_rows > ROWS_FEW ? scan_page_many(split, scratch, &page)
                                    : scan_page_few(split, scratch, &page);
}

/* Pages add to the rows' outputs many times; maxima and sums are told at each. */
static bool scan(const attn_split *split, attn_scratch *scratch) {
    const int64_t n_out = split->n_rows * split->shape->head_dim;
    rt_writes(scratch->part_out, n_out * (int64_t)sizeof(float));
    if (!split->is_continued) clear_part(split, scratch);
    bool is_any_seen = split->is_continued;
    bool is_seen = true;
    for (int64_t pos = split->first_pos; pos < split->first_pos + split->n_tokens; pos += PAGE) {
        is_seen = scan_page(split, scratch, pos, is_seen);
        is_any_seen |= is_seen;
    }
    return is_any_seen;
}

extern const attn_kernels SIMD_NAME(attn_kernels);
const attn_kernels SIMD_NAME(attn_kernels) = {load_queries, scan, fold};
