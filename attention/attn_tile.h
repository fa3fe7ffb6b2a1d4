/* The matrix kernel of attention: a few lines of one matrix by panels of another. Included only by
 * attn_simd.c and what it includes.
 *
 * Keys and values lie in panels of 16, queries and, for many rows, weights too (attn_simd.h). A tile is
 *
 *     acc[i][j] += sum over k, ascending, of A[i][k] B[k][j]
 *
 * an element of A at a time, with vectors of B. With A keys and B queries, or A queries and B keys,
 * that is the same scores, to the last bit: which of the two lies along a vector is chosen by their
 * numbers. */
#ifndef ATTN_TILE_H
#define ATTN_TILE_H

#include "attn_page.h"
#include "runtime/base/simd.h"

_Static_assert((int)ATTN_PANEL == (int)SIMD_PANEL, "panels of pages are those of base/simd.h");

enum { TILE_VECTORS_MAX = 32, CACHE_LINE = 64 };

/* Memory to ask for on the way, step_bytes for every k. */
typedef struct tile_ahead {
    const char *from;
    int64_t step_bytes;
} tile_ahead;

/* Where A[i][k] is: a[i * line + k * step]. */
typedef struct tile_a {
    const float *a;
    int64_t line;
    int64_t step;
} tile_a;

/* B's panel p starts at element p * stride, [n_k][16] of a type that the caller names. */
typedef struct tile_b {
    const void *b;
    int64_t stride;
} tile_b;

/* acc[n_lines][n_panels] += A B over n_k. `sums`, where not NULL: sums[i] += A[i][k] in every lane.
 *
 * n_lines, n_panels, dtype and whether there are sums are constants where this is inlined. A step
 * asks for one line of `ahead`; with four panels, which are two lines of bf16, for two. */
SIMD_INLINE void tile(const int n_lines, const int n_panels, const rt_dtype dtype, tile_a a,
        tile_b b, int64_t n_k, tile_ahead ahead, vfloat *acc, vfloat *sums) {
    const int across = n_panels * SIMD_VECTORS;
    for (int64_t k = 0; k < n_k; k++) {
        vfloat line[16];
#pragma GCC unroll 16
        for (int v = 0; v < across; v++)
            line[v] = simd_load_as(b.b,
                    v / SIMD_VECTORS * b.stride + k * SIMD_PANEL + v % SIMD_VECTORS * SIMD_LANES,
                    dtype);
        __builtin_prefetch(ahead.from + k * ahead.step_bytes, 0, 2);
        if (n_panels >= 4) __builtin_prefetch(ahead.from + k * ahead.step_bytes + CACHE_LINE, 0, 2);
#pragma GCC unroll 16
        for (int i = 0; i < n_lines; i++) {
            const vfloat x = simd_set(a.a[i * a.line + k * a.step]);
            if (sums) sums[i] += x;
#pragma GCC unroll 16
            for (int v = 0; v < across; v++) acc[i * across + v] += x * line[v];
        }
    }
}

/* ---- transposing ----------------------------------------------------------------------------- */

#if defined(__AVX512F__)
#define RIFFLE_LOW(a, b) \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define RIFFLE_HIGH(a, b) \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif defined(__AVX2__)
#define RIFFLE_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define RIFFLE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define RIFFLE_LOW(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define RIFFLE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

/* n rows of LANES numbers, one after the other, become LANES rows of n; n is a power of two. Riffling
 * row i with row i + n / 2 rotates the bits of (row, column) left by one: after log2(n) rounds the
 * two have changed places. */
SIMD_INLINE void transpose(const int n, vfloat *rows) {
#pragma GCC unroll 4
    for (int round = 1; round < n; round *= 2) {
        vfloat riffled[SIMD_LANES];
#pragma GCC unroll 16
        for (int i = 0; i < n / 2; i++) {
            riffled[2 * i] = RIFFLE_LOW(rows[i], rows[i + n / 2]);
            riffled[2 * i + 1] = RIFFLE_HIGH(rows[i], rows[i + n / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < n; i++) rows[i] = riffled[i];
    }
}

#endif
