/* Attention by tiles: a page's keys and values as tiles want them, bf16 in pairs of lines (attn_page.h). Included only by
 * attn_amx.c.
 *
 * Pages of bf16 are read where they are. Codes (attn_amx_codes.h) are widened to copies in the scratch, once for all blocks; of
 * a page that only one block meets a step at a time. Two pages of fp8 have a copy of their keys: the last block that meets a
 * page may look at them when the first has begun with the next (attn_amx_infinite.h); of their values, too, to have one rule.
 * Of int8 and int4 it looks at the page itself. */
#ifndef ATTN_AMX_PAGES_H
#define ATTN_AMX_PAGES_H

#include "attn_amx_codes.h"
#include "attn_effect.h"

enum { COPIES = 2 };
_Static_assert(
        COPIES * sizeof(uint16_t) <= sizeof(float), "copies fit where a page is widened to fp32");

/* ---- codes ----------------------------------------------------------------------------------- */

static coded coded_of(const stored *from) {
    float scale;
    coded to = {.dtype = from->sealed.dtype,
            .codes = (const uint8_t *)from->base + from->sealed.codes,
            .line_bytes = from->sealed.line_bytes,
            .n_lines = from->sealed.n_lines};
    memcpy(&scale, from->base + from->sealed.scales, sizeof scale);
    if (to.dtype == RT_FP8) to.table = table_of(scale);
    if (to.dtype == RT_INT8) to.table = table_around_middle();
    to.is_finite = to.dtype != RT_FP8 || (to.table.high[CODES - 1] & 0x7f) < 0x7f;
    return to;
}

enum { GROUPS_MAX = ATTN_HEAD_DIM_MAX / ATTN_SEAL_GROUP };
enum { LINES_MAX = GROUPS_MAX * PAGE };
_Static_assert(LINES_MAX >= PAGE / ATTN_SEAL_GROUP * ATTN_HEAD_DIM_MAX, "of keys as of values");

/* A page's scales as floats, and the middles of its lines. */
typedef struct wide_scales {
    float scale[LINES_MAX];
    float middle[LINES_MAX];
    bool is_finite;
} wide_scales;

/* Where one of the two is Inf or NaN, both are 0. */
SIMD_OUTLINE RT_TOLD void widen_scales(const stored *from, wide_scales *to) {
    const attn_sealed *sealed = &from->sealed;
    const uint16_t *scales = (const uint16_t *)(const void *)(from->base + sealed->scales);
    const uint16_t *zeros = (const uint16_t *)(const void *)(from->base + sealed->zeros);
    const int64_t n = (sealed->zeros - sealed->scales) / (int64_t)sizeof *scales;
    const vfloat half_way = simd_set(sealed->dtype == RT_INT8 ? 127.5f : 7.5f);
    vint any = {0};
    for (int64_t i = 0; i < n; i += SIMD_LANES) {
        const vfloat scale = simd_load_bf16(scales + i), zero = simd_load_bf16(zeros + i);
        const vint is_other = is_infinite(scale) | is_infinite(zero);
        const vfloat middle = simd_fma(scale, half_way, zero);
        simd_store(to->scale + i, (vfloat)((vint)scale & ~is_other));
        simd_store(to->middle + i, (vfloat)((vint)middle & ~is_other));
        any |= is_other;
    }
    to->is_finite = !is_any(any);
}

static line_scales scales_of(const stored *from, const wide_scales *wide) {
    return (line_scales){.scale = wide->scale,
            .middle = wide->middle,
            .n_lines = from->sealed.n_lines,
            .is_finite = wide->is_finite,
            .from = *from};
}

static void tell_codes(const stored *from) {
    tell_panels(from->base + from->sealed.codes, from->sealed.dtype, from->sealed.n_panels,
            from->n_lines, from->n_lines);
    rt_reads(from->base + from->sealed.scales, from->sealed.dtype == RT_FP8
                                                       ? (int64_t)sizeof(float)
                                                       : from->sealed.end - from->sealed.scales);
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* Which pages the copies of keys, or of values, are of, by their first positions; -1: of none. And the scales of the last
 * one, where it is of int8 or int4. */
typedef struct copies {
    int64_t pos[COPIES];
    coded codes; /* of the last one */
    wide_scales scales;
} copies;

/* Where the copy of a page is; `is_new`: is to be. Another page's that was there is gone. */
static uint16_t *copy_of(
        const attn_split *split, copies *all, int64_t page_pos, float *scratch, bool *is_new) {
    const int64_t slot = attn_is_int(split->shape) ? 0 : page_pos / PAGE % COPIES;
    *is_new = all->pos[slot] != page_pos;
    all->pos[slot] = page_pos;
    return (uint16_t *)scratch + slot * split->shape->head_dim * PAGE;
}

/* n_keys keys of all panels, and 0 for the others of their step. */
static void copy_steps(
        const attn_split *split, const stored *values, int64_t n_keys, uint16_t *to) {
    const uint16_t *from = (const uint16_t *)(const void *)values->base;
    const int64_t n_end = rt_round_up(n_keys, AMX_STEP);
    for (int64_t at = 0; at < split->shape->head_dim * PAGE; at += PAGE * PANEL) {
        const int64_t pairs_end = rt_round_up(n_keys, 2) * PANEL, end = n_end * PANEL;
        memcpy(to + at, from + at, (size_t)pairs_end * sizeof *to);
        memset(to + at + pairs_end, 0, (size_t)(end - pairs_end) * sizeof *to);
        for (int64_t d = 0; d < PANEL && n_keys % 2 != 0; d++)
            to[at + attn_panel_index(split->shape, n_keys, d)] = 0;
    }
}

static void begin_codes(const stored *from, copies *all) {
    all->codes = coded_of(from);
    if (from->sealed.dtype != RT_FP8) widen_scales(from, &all->scales);
}

/* Of a page that one block meets, halves are made a step at a time, just before tiles take them (attn_amx_steps.h): they
 * stay in the first-level cache. All of them are finite, so that nobody looks at them afterwards. */
static bool is_made_by_steps(const attn_split *split, const coded *codes) {
    return split->n_rows <= ROWS && codes->is_finite;
}

/* ---- keys and values ------------------------------------------------------------------------- */

static void set_keys(const attn_split *split, copies *all, attn_scratch *scratch, block *b) {
    const stored keys = stored_keys(split, source_of(split, b->page_pos));
    const int32_t head_dim = split->shape->head_dim;
    bool is_new = false;
    b->keys = (const uint16_t *)(const void *)keys.base;
    if (keys.sealed.n_panels == 0) {
        tell_panels(keys.base, RT_BF16, rt_div_up(b->n_keys, PANEL), head_dim, head_dim);
        return;
    }
    uint16_t *copy = copy_of(split, all, b->page_pos, scratch->keys, &is_new);
    tell_codes(&keys);
    if (is_new) begin_codes(&keys, all);
    if (keys.sealed.dtype != RT_FP8) b->key_scales = scales_of(&keys, &all->scales);
    if (is_made_by_steps(split, &all->codes)) {
        b->key_codes = &all->codes;
        return;
    }
    if (is_new) halves_of_lines(&all->codes, 0, (int64_t)head_dim * PAGE, copy);
    b->keys = copy;
}

/* Up to whole steps. Of a step that ends before its page does a copy, of which the rest is 0: it meets weights of 0, and may
 * be anything. */
static void set_values(const attn_split *split, copies *all, attn_scratch *scratch, block *b) {
    const stored values = stored_values(split, source_of(split, b->page_pos));
    const bool is_sealed = values.sealed.n_panels > 0;
    bool is_new = false;
    b->values = (const uint16_t *)(const void *)values.base;
    if (is_sealed)
        tell_codes(&values);
    else
        tell_panels(values.base, RT_BF16, split->shape->head_dim / PANEL, PAGE, b->n_keys);
    if (!is_sealed && b->n_keys % AMX_STEP == 0) return;
    uint16_t *copy = copy_of(split, all, b->page_pos, scratch->values, &is_new);
    if (is_new && is_sealed) begin_codes(&values, all);
    if (is_sealed && values.sealed.dtype != RT_FP8)
        b->value_scales = scales_of(&values, &all->scales);
    if (is_sealed && is_made_by_steps(split, &all->codes)) {
        b->value_codes = &all->codes;
        return;
    }
    if (is_new && is_sealed)
        halves_of_lines(&all->codes, 0, (int64_t)split->shape->head_dim * PAGE, copy);
    if (is_new && !is_sealed) copy_steps(split, &values, b->n_keys, copy);
    b->values = copy;
}

#endif
