/* Products of rows of fp32 and matrices of bf16 by tiles (amx_tiles.h): up to 32 rows by 32 columns.
 *
 * A number of fp32 goes as two of bf16: the nearest, and the nearest to what is left, to 2^-17 of it, which sums of
 * 128 numbers in fp32 may lose as well. Products of either are exact in fp32, and added in one order, that of amx_tiles.h:
 * 32 numbers' high halves, their low halves, the next 32. What a row comes to depends on no other row.
 *
 * At the ends of fp32 that is not what products of fp32 come to. Halves below 2^-126 are 0, so that of numbers below 2^-109 more
 * than 2^-17 is lost. A high half may be 2^-8 above its number, and its product overflow alone; even and odd products are summed
 * apart, and may be infinity of either sign, together NaN, where a sum in another order is neither. A column's infinity is NaN
 * if the row's number has a low half of 0 or of the other sign. A row's infinity has a low half of 0, and comes to what it
 * does in fp32; so does NaN, as arithmetic makes it: a quiet one, which its high half shows. */
#ifndef RT_AMX_PRODUCT_H
#define RT_AMX_PRODUCT_H

#include "amx_tiles.h"

enum {
    AMX_STEP = 32,                       /* numbers of a row in a tile */
    AMX_TILE_HALVES = AMX_TILE_BYTES / 2 /* numbers of bf16 in a tile */
};

/* ---- two halves of a number ------------------------------------------------------------------ */

/* To the nearest bf16, ties away from zero: of numbers that do not round to infinity, and NaN whose low half is 0. */
SIMD_INLINE vfloat amx_high_half(vfloat x) {
    return (vfloat)(((vuint)x + 0x8000u) & 0xffff0000u);
}

SIMD_INLINE vint amx_is_finite(vfloat x) {
    return ((vuint)x & 0x7f800000u) != 0x7f800000u;
}

/* Of numbers that may be anything: none becomes infinite, or another kind of number, and what is has nothing left over. */
SIMD_INLINE vfloat amx_high_half_of_any(vfloat x) {
    const vfloat near = amx_high_half(x);
    const vint is_near = amx_is_finite(x) & amx_is_finite(near);
    return (vfloat)(((vint)near & is_near) | ((vint)((vuint)x & 0xffff0000u) & ~is_near));
}

SIMD_INLINE vfloat amx_low_half_of_any(vfloat x, vfloat high) {
    return amx_high_half((vfloat)((vint)(x - high) & amx_is_finite(high)));
}

/* 2 LANES numbers that are bf16 already. */
SIMD_INLINE void amx_store_halves(uint16_t *to, vfloat first, vfloat second) {
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

/* Halves of 16 rows of `width` numbers. */
static inline int64_t amx_panel_halves(int64_t width) {
    return width / AMX_STEP * 2 * AMX_TILE_HALVES;
}

/* Both halves of a row's numbers as fp32, what vectors multiply by. */
SIMD_INLINE void amx_split_wide(const float *row, int64_t width, float *high, float *low) {
    for (int64_t i = 0; i < width; i += SIMD_LANES) {
        const vfloat x = simd_load(row + i);
        const vfloat near = amx_high_half_of_any(x);
        simd_store(high + i, near);
        simd_store(low + i, amx_low_half_of_any(x, near));
    }
}

/* A row times `scale` to its line of a panel of 16 rows: [width / 32][high, low][16 rows][32]. */
SIMD_INLINE void amx_split_row(const float *row, int64_t width, float scale, uint16_t *to) {
    for (int64_t i = 0; i < width; i += 2 * SIMD_LANES) {
        vfloat high[2], low[2];
        for (int v = 0; v < 2; v++) {
            const vfloat x = simd_load(row + i + v * SIMD_LANES) * simd_set(scale);
            high[v] = amx_high_half_of_any(x);
            low[v] = amx_low_half_of_any(x, high[v]);
        }
        uint16_t *at = to + i / AMX_STEP * 2 * AMX_TILE_HALVES + i % AMX_STEP;
        amx_store_halves(at, high[0], high[1]);
        amx_store_halves(at + AMX_TILE_HALVES, low[0], low[1]);
    }
}

/* ---- products -------------------------------------------------------------------------------- */

/* One panel of 16 rows, or two, by two panels of 16 columns: 32 numbers of each row. Tiles 0 to 3 are the sums, 16 rows x 16
 * columns each, the other panel of rows the last two; steps that follow one another add to them. */
typedef struct amx_step {
    const uint16_t *a; /* [16 rows][32], lines of a_stride bytes */
    int64_t a_stride;
    int64_t other_at;  /* the other panel of rows, */
    int64_t low_at;    /* and low halves, behind a */
    const uint16_t *b; /* [16 pairs][16 columns][2] */
    int64_t other_b_at;
} amx_step;

/* The first two quarters of a step are one panel of rows, high and low; the others are the other panel. */
SIMD_INLINE void amx_multiply_quarter(const amx_step *s, const int quarter) {
    if (quarter == 0) {
        amx_load(4, s->b, AMX_LINE_BYTES);
        amx_load(5, s->b + s->other_b_at, AMX_LINE_BYTES);
        amx_load(6, s->a, s->a_stride);
        amx_multiply(0, 6, 4);
        amx_multiply(1, 6, 5);
    }
    if (quarter == 1) {
        amx_load(7, s->a + s->low_at, s->a_stride);
        amx_multiply(0, 7, 4);
        amx_multiply(1, 7, 5);
    }
    if (quarter == 2) {
        amx_load(6, s->a + s->other_at, s->a_stride);
        amx_multiply(2, 6, 4);
        amx_multiply(3, 6, 5);
    }
    if (quarter == 3) {
        amx_load(7, s->a + s->other_at + s->low_at, s->a_stride);
        amx_multiply(2, 7, 4);
        amx_multiply(3, 7, 5);
    }
}

SIMD_INLINE void amx_multiply_step(const amx_step *s, bool is_two) {
    amx_multiply_quarter(s, 0);
    amx_multiply_quarter(s, 1);
    if (!is_two) return;
    amx_multiply_quarter(s, 2);
    amx_multiply_quarter(s, 3);
}

SIMD_INLINE void amx_clear_sums(bool is_two) {
    amx_zero(0);
    amx_zero(1);
    if (!is_two) return;
    amx_zero(2);
    amx_zero(3);
}

/* From or to rows of `stride` bytes, 32 numbers each; panels of rows `apart` numbers from one another. */
SIMD_INLINE void amx_load_sums(bool is_two, const float *from, int64_t stride, int64_t apart) {
    amx_load(0, from, stride);
    amx_load(1, from + SIMD_PANEL, stride);
    if (!is_two) return;
    amx_load(2, from + apart, stride);
    amx_load(3, from + apart + SIMD_PANEL, stride);
}

SIMD_INLINE void amx_store_sums(bool is_two, float *to, int64_t stride, int64_t apart) {
    amx_store(0, to, stride);
    amx_store(1, to + SIMD_PANEL, stride);
    if (!is_two) return;
    amx_store(2, to + apart, stride);
    amx_store(3, to + apart + SIMD_PANEL, stride);
}

#endif
