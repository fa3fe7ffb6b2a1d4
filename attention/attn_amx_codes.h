/* Attention by tiles: codes of fp8, int8 and int4 -> bf16 in pairs of lines, as tiles want them. Included only by
 * attn_amx_steps.h and attn_amx_pages.h.
 *
 * What codes of fp8 stand for is bf16, to the bit (attn_fp8.h), and so are codes of int8 and int4 around the middle of their
 * line (attn_amx_scaled.h). */
#ifndef ATTN_AMX_CODES_H
#define ATTN_AMX_CODES_H

#include "attn_amx_block.h"

/* ---- codes of a byte ------------------------------------------------------------------------- */

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

/* Four lines of 16 codes -> two of 16 pairs. `is_around_middle`: codes of int8, of which those below 128 become negative. */
#if defined(__AVX512VBMI__)
SIMD_INLINE void halves_of_codes(
        const uint8_t *codes, const code_table *table, const bool is_around_middle, uint16_t *to) {
    /* Pairs side by side: unpacking takes the first eight of every 16, then the others. */
    static const uint8_t order[64] = {0, 16, 1, 17, 2, 18, 3, 19, 32, 48, 33, 49, 34, 50, 35, 51, 4,
            20, 5, 21, 6, 22, 7, 23, 36, 52, 37, 53, 38, 54, 39, 55, 8, 24, 9, 25, 10, 26, 11, 27,
            40, 56, 41, 57, 42, 58, 43, 59, 12, 28, 13, 29, 14, 30, 15, 31, 44, 60, 45, 61, 46, 62,
            47, 63};
    __m512i code = _mm512_permutexvar_epi8(_mm512_loadu_si512(order), _mm512_loadu_si512(codes));
    if (is_around_middle) {
        const __m512i above = code & _mm512_set1_epi8((char)0x80);
        const __m512i kept = _mm512_sub_epi8(above, _mm512_srli_epi16(above, 7)); /* 0x7f or 0 */
        code = _mm512_ternarylogic_epi64(code, kept, kept, 0xc3); /* ~(code ^ kept) */
    }
    const __m512i low = _mm512_permutex2var_epi8(
            _mm512_loadu_si512(table->low), code, _mm512_loadu_si512(table->low + 64));
    const __m512i size = _mm512_permutex2var_epi8(
            _mm512_loadu_si512(table->high), code, _mm512_loadu_si512(table->high + 64));
    const __m512i high = size | (code & _mm512_set1_epi8((char)0x80));
    _mm512_storeu_si512(to, _mm512_unpacklo_epi8(low, high));
    _mm512_storeu_si512(to + 2 * PANEL, _mm512_unpackhi_epi8(low, high));
}
#else
SIMD_INLINE void halves_of_codes(
        const uint8_t *codes, const code_table *table, const bool is_around_middle, uint16_t *to) {
    for (int line = 0; line < 4; line++)
        for (int i = 0; i < PANEL; i++) {
            uint8_t code = codes[line * PANEL + i];
            if (is_around_middle) code ^= code < 128 ? 0xff : 0x80;
            const int number = table->low[code % CODES] | table->high[code % CODES] << 8;
            to[line / 2 * 2 * PANEL + 2 * i + line % 2] = (uint16_t)(number | (code & 0x80) << 8);
        }
}
#endif

/* ---- codes of int8 and int4 ------------------------------------------------------------------ */

/* k + 1/2: codes of int8 less 127.5, but for their signs: of the upper half as they are, of the lower one from its end. */
SIMD_INLINE code_table table_around_middle(void) {
    code_table table;
    for (uint32_t k = 0; k < CODES; k++) {
        const uint32_t bits = rt_float_bits((float)k + 0.5f);
        table.low[k] = (uint8_t)(bits >> 16);
        table.high[k] = (uint8_t)(bits >> 24);
    }
    return table;
}

/* Codes of int4 less 7.5. */
typedef struct int4_table {
    uint8_t low[16];
    uint8_t high[16];
} int4_table;

static const int4_table around_middle = {{0xf0, 0xd0, 0xb0, 0x90, 0x60, 0x20, 0xc0, 0x00, 0x00,
                                                 0xc0, 0x20, 0x60, 0x90, 0xb0, 0xd0, 0xf0},
        {0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xbf, 0xbf, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40,
                0x40}};

/* Four lines of 16 codes, 8 bytes each -> two of 16 pairs. */
#if defined(__AVX512VBMI__)
SIMD_INLINE void halves_of_int4(const uint8_t *codes, uint16_t *to) {
    /* Eight bytes of 16 are of the first two lines, the others of the other two, as unpacking takes them: four bytes of
     * each line, whose low halves are its first columns, and then the same bytes for their high halves. */
    static const uint8_t order[64] = {0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27, 4,
            5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31, 0, 1, 2, 3, 8, 9, 10, 11, 16,
            17, 18, 19, 24, 25, 26, 27, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31};
    static const uint8_t bits[64] = {0, 32, 8, 40, 16, 48, 24, 56, 0, 32, 8, 40, 16, 48, 24, 56, 0,
            32, 8, 40, 16, 48, 24, 56, 0, 32, 8, 40, 16, 48, 24, 56, 4, 36, 12, 44, 20, 52, 28, 60,
            4, 36, 12, 44, 20, 52, 28, 60, 4, 36, 12, 44, 20, 52, 28, 60, 4, 36, 12, 44, 20, 52, 28,
            60};
    const __m512i bytes = _mm512_permutexvar_epi8(_mm512_loadu_si512(order),
            _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)codes)));
    const __m512i code =
            _mm512_multishift_epi64_epi8(_mm512_loadu_si512(bits), bytes) & _mm512_set1_epi8(0x0f);
    const __m128i lows = _mm_loadu_si128((const __m128i *)(const void *)around_middle.low);
    const __m128i highs = _mm_loadu_si128((const __m128i *)(const void *)around_middle.high);
    const __m512i low = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(lows), code);
    const __m512i high = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(highs), code);
    _mm512_storeu_si512(to, _mm512_unpacklo_epi8(low, high));
    _mm512_storeu_si512(to + 2 * PANEL, _mm512_unpackhi_epi8(low, high));
}
#else
SIMD_INLINE void halves_of_int4(const uint8_t *codes, uint16_t *to) {
    for (int line = 0; line < 4; line++)
        for (int i = 0; i < PANEL; i++) {
            const int code = codes[line * 8 + i % 8] >> i / 8 * 4 & 15;
            to[line / 2 * 2 * PANEL + 2 * i + line % 2] =
                    (uint16_t)(around_middle.low[code] | around_middle.high[code] << 8);
        }
}
#endif

/* ---- of any type ----------------------------------------------------------------------------- */

/* n codes, four lines at a time. */
SIMD_INLINE void halves_of(const rt_dtype dtype, const uint8_t *codes, int64_t n,
        const code_table *from, uint16_t *to) {
    const code_table table = *from; /* in registers: `to` is not known to be elsewhere */
    for (int64_t i = 0; i < n; i += 4 * PANEL)
        if (dtype == RT_INT4)
            halves_of_int4(codes + i / 2, to + i);
        else
            halves_of_codes(codes + i, &table, dtype == RT_INT8, to + i);
}

/* n codes, from the first of line `line` of all panels on. */
SIMD_TILE void halves_of_lines(const coded *from, int64_t line, int64_t n, uint16_t *to) {
    const uint8_t *codes = from->codes + line * from->line_bytes;
    if (from->dtype == RT_INT8)
        halves_of(RT_INT8, codes, n, &from->table, to);
    else if (from->dtype == RT_INT4)
        halves_of(RT_INT4, codes, n, &from->table, to);
    else
        halves_of(RT_FP8, codes, n, &from->table, to);
}

#endif
