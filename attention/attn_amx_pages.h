/* Attention by tiles: a page's keys and values as tiles want them, bf16 in pairs of lines (attn_page.h). Included only by
 * attn_amx.c.
 *
 * Pages of bf16 are read where they are. What codes of fp8 stand for is bf16, to the bit (attn_fp8.h): they are widened to
 * copies in the scratch, once for all blocks. Two pages have one of their keys: the last block that meets a page may look at
 * them when the first has begun with the next (attn_amx_infinite.h); of their values, too, to have one rule. */
#ifndef ATTN_AMX_PAGES_H
#define ATTN_AMX_PAGES_H

#include "attn_amx_block.h"
#include "attn_stored.h"

enum { COPIES = 2, CODES = 128 /* but for their signs */ };
_Static_assert(
        COPIES * sizeof(uint16_t) <= sizeof(float), "copies fit where a page is widened to fp32");

/* ---- codes ----------------------------------------------------------------------------------- */

/* The halves of what codes stand for, in two bytes. */
typedef struct code_table {
    uint8_t low[CODES];
    uint8_t high[CODES];
} code_table;

/* Without numbers below 2^-126 on the way, which are 0 here. */
SIMD_INLINE code_table table_of(float scale) {
    code_table table;
    for (uint32_t code = 0; code < CODES; code++) {
        const uint32_t exponent = code < 8 ? 1 : code / 8;
        const int32_t steps = (int32_t)(code < 8 ? code : 8 + code % 8);
        const float step = rt_bits_float((exponent + 127 - 10) << 23) * scale;
        const uint32_t bits = rt_float_bits((float)steps * step);
        table.low[code] = (uint8_t)(bits >> 16);
        table.high[code] = (uint8_t)(bits >> 24);
    }
    return table;
}

/* Four lines of 16 codes -> two of 16 pairs. */
#if defined(__AVX512VBMI__)
SIMD_INLINE void halves_of_codes(const uint8_t *codes, const code_table *table, uint16_t *to) {
    /* Pairs side by side: unpacking takes the first eight of every 16, then the others. */
    static const uint8_t order[64] = {0, 16, 1, 17, 2, 18, 3, 19, 32, 48, 33, 49, 34, 50, 35, 51, 4,
            20, 5, 21, 6, 22, 7, 23, 36, 52, 37, 53, 38, 54, 39, 55, 8, 24, 9, 25, 10, 26, 11, 27,
            40, 56, 41, 57, 42, 58, 43, 59, 12, 28, 13, 29, 14, 30, 15, 31, 44, 60, 45, 61, 46, 62,
            47, 63};
    const __m512i code =
            _mm512_permutexvar_epi8(_mm512_loadu_si512(order), _mm512_loadu_si512(codes));
    const __m512i low = _mm512_permutex2var_epi8(
            _mm512_loadu_si512(table->low), code, _mm512_loadu_si512(table->low + 64));
    const __m512i size = _mm512_permutex2var_epi8(
            _mm512_loadu_si512(table->high), code, _mm512_loadu_si512(table->high + 64));
    const __m512i high = size | (code & _mm512_set1_epi8((char)0x80));
    _mm512_storeu_si512(to, _mm512_unpacklo_epi8(low, high));
    _mm512_storeu_si512(to + 2 * PANEL, _mm512_unpackhi_epi8(low, high));
}
#else
SIMD_INLINE void halves_of_codes(const uint8_t *codes, const code_table *table, uint16_t *to) {
    for (int line = 0; line < 4; line++)
        for (int i = 0; i < PANEL; i++) {
            const uint8_t code = codes[line * PANEL + i];
            const int number = table->low[code % CODES] | table->high[code % CODES] << 8;
            to[line / 2 * 2 * PANEL + 2 * i + line % 2] = (uint16_t)(number | (code & 0x80) << 8);
        }
}
#endif

SIMD_OUTLINE RT_TOLD void widen_codes(const stored *from, uint16_t *to) {
    float scale;
    memcpy(&scale, from->base + from->sealed.scales, sizeof scale);
    const code_table table = table_of(scale);
    const uint8_t *codes = (const uint8_t *)from->base + from->sealed.codes;
    for (int64_t i = 0; i < from->n_bytes; i += 4 * PANEL)
        halves_of_codes(codes + i, &table, to + i);
}

static void tell_codes(const stored *from) {
    tell_panels(from->base + from->sealed.codes, RT_FP8, from->sealed.n_panels, from->n_lines,
            from->n_lines);
    rt_reads(from->base + from->sealed.scales, sizeof(float));
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* Which pages the copies of keys, or of values, are of, by their first positions; -1: of none. */
typedef struct copies {
    int64_t pos[COPIES];
} copies;

/* Where the copy of a page is; `is_new`: is to be. Another page's that was there is gone. */
static uint16_t *copy_of(
        const attn_split *split, copies *all, int64_t page_pos, float *scratch, bool *is_new) {
    const int64_t slot = page_pos / PAGE % COPIES;
    *is_new = all->pos[slot] != page_pos;
    all->pos[slot] = page_pos;
    return (uint16_t *)scratch + slot * split->shape->head_dim * PAGE;
}

/* n_keys keys of all panels, and 0 for the others of their step. */
static void copy_steps(
        const attn_split *split, const stored *values, int64_t n_keys, uint16_t *to) {
    const uint16_t *from = (const uint16_t *)(const void *)values->base;
    for (int64_t at = 0; at < split->shape->head_dim * PAGE; at += PAGE * PANEL) {
        memcpy(to + at, from + at, (size_t)(rt_round_up(n_keys, AMX_STEP) * PANEL) * sizeof *to);
        for (int64_t key = n_keys; key < rt_round_up(n_keys, AMX_STEP); key++)
            for (int64_t d = 0; d < PANEL; d++) to[at + attn_panel_index(split->shape, key, d)] = 0;
    }
}

/* ---- keys and values ------------------------------------------------------------------------- */

static const uint16_t *keys_of(const attn_split *split, int64_t page_pos, int64_t n_keys,
        copies *all, attn_scratch *scratch) {
    const stored keys = stored_keys(split, source_of(split, page_pos));
    const int32_t head_dim = split->shape->head_dim;
    bool is_new = false;
    if (keys.sealed.n_panels == 0) {
        tell_panels(keys.base, RT_BF16, rt_div_up(n_keys, PANEL), head_dim, head_dim);
        return (const uint16_t *)(const void *)keys.base;
    }
    uint16_t *copy = copy_of(split, all, page_pos, scratch->keys, &is_new);
    tell_codes(&keys);
    if (is_new) widen_codes(&keys, copy);
    return copy;
}

/* Up to whole steps. Of a step that ends before its page does a copy, of which the rest is 0: it meets weights of 0, and may
 * be anything. */
static const uint16_t *values_of(const attn_split *split, int64_t page_pos, int64_t n_keys,
        copies *all, attn_scratch *scratch) {
    const stored values = stored_values(split, source_of(split, page_pos));
    const bool is_sealed = values.sealed.n_panels > 0;
    bool is_new = false;
    if (is_sealed)
        tell_codes(&values);
    else
        tell_panels(values.base, RT_BF16, split->shape->head_dim / PANEL, PAGE, n_keys);
    if (!is_sealed && n_keys % AMX_STEP == 0) return (const uint16_t *)(const void *)values.base;
    uint16_t *copy = copy_of(split, all, page_pos, scratch->values, &is_new);
    if (is_new && is_sealed) widen_codes(&values, copy);
    if (is_new && !is_sealed) copy_steps(split, &values, n_keys, copy);
    return copy;
}

#endif
