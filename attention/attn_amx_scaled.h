/* Attention by tiles over pages of int8 and int4: rows times the scales of lines. Included only by attn_amx_infinite.h.
 *
 * A code c of a line reads as zero + scale c, which is middle + scale c': c' is c less 127.5, or 7.5, and bf16 to the bit, of
 * either sign; the middle is halfway between the line's ends. Lines, dims of keys and tokens of values, are what products are
 * summed over, so that
 *
 *   sum of row[line] number[line][column]  =  sum of row middle  +  sum of (row scale) c'
 *
 * for each group of 64 columns, two rounds: the first sum is fp32, what the tiles' sums begin with; (row scale) is rounded to
 * fp32 and goes as two halves, as a row itself does otherwise. Scales and middles that are not finite are 0 here
 * (attn_amx_infinite.h). */
#ifndef ATTN_AMX_SCALED_H
#define ATTN_AMX_SCALED_H

#include "attn_amx_block.h"

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

/* Rows of `width` numbers, a multiple of 32, and what their numbers are multiplied by. */
typedef struct scaled_rows {
    const float *rows;
    int64_t stride;
    int64_t n_rows;
    int64_t width;
    const float *scale; /* NULL: 1, and the middles 0 */
    const float *middle;
} scaled_rows;

/* A row's halves to its line of a panel as amx_split_row has it. Returns the sum over the middles, in lanes. */
SIMD_INLINE vfloat scale_row(
        const scaled_rows *from, int64_t row, const bool is_scaled, uint16_t *to) {
    const float *numbers = from->rows + row * from->stride;
    vfloat sum = {0};
    for (int64_t i = 0; i < from->width; i += 2 * SIMD_LANES) {
        vfloat high[2], low[2];
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            const int64_t at = i + v * SIMD_LANES;
            vfloat x = simd_load(numbers + at);
            if (is_scaled) sum = simd_fma(x, simd_load(from->middle + at), sum);
            if (is_scaled) x *= simd_load(from->scale + at);
            high[v] = amx_high_half(x);
            low[v] = (vfloat)((vuint)(x - high[v]) + 0x8000u); /* only its upper half is stored */
        }
        uint16_t *at = to + i / AMX_STEP * 2 * AMX_TILE_HALVES + i % AMX_STEP;
        amx_store_halves(at, high[0], high[1]);
        amx_store_halves(at + AMX_TILE_HALVES, low[0], low[1]);
    }
    return sum;
}

/* A vector of rows; their sums, each 16 times: a line of a tile. */
SIMD_INLINE void scale_lanes(const scaled_rows *from, int64_t first, const bool is_scaled,
        uint16_t *halves, float *sums) {
    const int64_t n = rt_min64(from->n_rows - first, SIMD_LANES);
    vfloat of_rows[SIMD_LANES];
    for (int64_t i = 0; i < SIMD_LANES; i++) {
        const int64_t row = first + i;
        of_rows[i] = (vfloat){0};
        if (i >= n) continue;
        of_rows[i] = scale_row(from, row, is_scaled,
                halves + row / PANEL * amx_panel_halves(from->width) + row % PANEL * AMX_STEP);
    }
    if (!is_scaled) return;
    float of_row[SIMD_LANES];
    simd_store(of_row, lanes_of(of_rows, false));
    for (int64_t i = 0; i < n; i++)
        for (int64_t v = 0; v < SIMD_VECTORS; v++)
            simd_store(sums + (first + i) * PANEL + v * SIMD_LANES, simd_set(of_row[i]));
}

/* halves: panels of 16 rows; sums [32 rows][16], not set where there is no scale. */
SIMD_TILE void scale_rows(const scaled_rows *from, uint16_t *halves, float *sums) {
    for (int64_t row = 0; row < from->n_rows; row += SIMD_LANES)
        if (from->scale)
            scale_lanes(from, row, true, halves, sums);
        else
            scale_lanes(from, row, false, halves, sums);
}

#endif
