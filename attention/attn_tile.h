/* The matrix kernel of attention: panel by panels. Included only by attn_*_simd.c.
 *
 * Queries, keys, weights and values all lie in panels of 16 (attn_simd.h). A tile multiplies a few of
 * the 16 lines of one panel, an element at a time, with vectors of a few others:
 *
 *     acc[i][j] += sum over k, ascending, of A[k][i] B[k][j]
 *
 * With A keys and B queries, or A queries and B keys, that is the same scores, to the last bit: which of
 * the two lies along a vector is chosen by their numbers. */
#ifndef ATTN_TILE_H
#define ATTN_TILE_H

#include "attn_page.h"
#include "runtime/base/simd.h"

/* Lines of A x panels of B: the accumulators, B's vectors of one k and one number of A fit the
 * registers. FEW is for panels stored in bf16, widened in registers. */
#if defined(__AVX512F__)
enum { TILE_LINES = 8, TILE_PANELS = 3, TILE_PANELS_FEW = 2 };
#elif defined(__AVX2__)
enum { TILE_LINES = 4, TILE_PANELS = 1, TILE_PANELS_FEW = 1 };
#else
enum { TILE_LINES = 2, TILE_PANELS = 1, TILE_PANELS_FEW = 1 };
#endif
enum { TILE_VECTORS = TILE_LINES * TILE_PANELS * SIMD_VECTORS };
_Static_assert((int)ATTN_PANEL == (int)SIMD_PANEL, "panels of pages are those of base/simd.h");
_Static_assert((int)SIMD_LANES % (int)TILE_LINES == 0, "a tile's rows are of one vector");

/* Memory to ask for on the way: every k one line, step_bytes after the one before. */
typedef struct tile_ahead {
    const char *from;
    int64_t step_bytes;
} tile_ahead;

/* acc[TILE_LINES][panels] += A B over n_k.
 *
 *   a       first of the tile's lines: line i of k at a[16 k + i]
 *   b       panel p at element p * b_stride, [n_k][16] of dtype
 *
 * panels and dtype are constants where this is inlined. */
SIMD_INLINE void tile(const int panels, const rt_dtype dtype, const float *a, const void *b,
        int64_t b_stride, int64_t n_k, tile_ahead ahead, vfloat *acc) {
    const int across = panels * SIMD_VECTORS;
    for (int64_t k = 0; k < n_k; k++) {
        vfloat line[TILE_PANELS * SIMD_VECTORS];
#pragma GCC unroll 16
        for (int v = 0; v < across; v++)
            line[v] = simd_load_as(b,
                    v / SIMD_VECTORS * b_stride + k * SIMD_PANEL + v % SIMD_VECTORS * SIMD_LANES,
                    dtype);
        __builtin_prefetch(ahead.from + k * ahead.step_bytes, 0, 2);
#pragma GCC unroll 16
        for (int i = 0; i < TILE_LINES; i++) {
            const vfloat x = simd_set(a[k * SIMD_PANEL + i]);
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
