/* The matrix kernel of attention: a few lines of one matrix by panels of another. Included only by
 * kernels, *_simd.c and *_amx.c, and what they include.
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

/* B's panels of n_lines lines of 16, one after the other, of a type that the caller names: numbers; codes
 * of int8 and int4, where B[k][j] = zero[k] + scale[k] code in all panels; or of fp8, where it is
 * scale[0] simd_load_e4m3(code). */
typedef struct tile_b {
    const void *b;
    int64_t n_lines;
    const float *scale;
    const float *zero;
} tile_b;

typedef uint8_t vline __attribute__((vector_size(SIMD_PANEL)));
typedef uint64_t vpair __attribute__((vector_size(SIMD_PANEL)));

/* 16 codes of a line, a byte each. */
SIMD_INLINE vline load_codes(const uint8_t *from, const int64_t line_bytes) {
    vline line;
    if (line_bytes == SIMD_PANEL) {
        memcpy(&line, from, sizeof line);
        return line;
    }
    uint64_t pairs;
    memcpy(&pairs, from, sizeof pairs);
    const vpair both = {pairs, pairs >> 4};
    return (vline)both & 0x0f;
}

SIMD_INLINE bool is_codes(const rt_dtype dtype) {
    return dtype == RT_INT8 || dtype == RT_INT4;
}

#if defined(__AVX512F__)
/* 16 codes of int4: each chooses one of the line's 16 numbers. Byte j goes to lanes j and j + 8; of a lane
 * only the lowest four bits count. */
SIMD_INLINE vfloat choose_int4(const uint8_t *from, vfloat numbers) {
    int64_t pairs;
    memcpy(&pairs, from, sizeof pairs);
    const vuint byte = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x00, 0x01, 0x02, 0x03,
            0x04, 0x05, 0x06, 0x07};
    const vuint shift = {0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4};
    const __m512i lanes = _mm512_shuffle_epi8(_mm512_set1_epi64(pairs), (__m512i)byte);
    return (vfloat)_mm512_permutexvar_ps((__m512i)((vuint)lanes >> shift), (__m512)numbers);
}
#endif

/* A line of a panel of codes; `line_bytes` of it. */
SIMD_INLINE void load_code_line(
        const uint8_t *from, const int64_t line_bytes, vfloat scale, vfloat zero, vfloat *line) {
#if defined(__AVX512F__)
    if (line_bytes < SIMD_PANEL) {
        const vfloat codes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        line[0] = choose_int4(from, simd_fma(codes, scale, zero));
        return;
    }
#elif defined(__AVX2__)
    if (line_bytes < SIMD_PANEL) {
        const vuint pairs = (vuint)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)from));
        line[0] = simd_fma(__builtin_convertvector((vint)(pairs & 15), vfloat), scale, zero);
        line[1] = simd_fma(__builtin_convertvector((vint)(pairs >> 4), vfloat), scale, zero);
        return;
    }
#endif
    const vline code = load_codes(from, line_bytes);
#pragma GCC unroll 4
    for (int v = 0; v < SIMD_VECTORS; v++)
        line[v] = simd_fma(simd_load_u8((const uint8_t *)&code + v * SIMD_LANES), scale, zero);
}

/* LANES numbers of bf16 of line k of a panel, from vector v of it: of pairs, the even ones or the odd (attn_page.h). */
SIMD_INLINE vfloat load_of_pairs(const uint16_t *panel, int64_t k, int v) {
    vuint pairs;
    memcpy(&pairs, panel + k / 2 * 2 * SIMD_PANEL + 2 * v * SIMD_LANES, sizeof pairs);
    return (vfloat)(k % 2 == 0 ? pairs << 16 : pairs & 0xffff0000u);
}

/* Line k of a panel of B. */
SIMD_INLINE void load_line(const rt_dtype dtype, tile_b b, int64_t panel, int64_t k, vfloat *line) {
    const int64_t at = panel * b.n_lines + k;
    if (dtype == RT_FP8) {
#pragma GCC unroll 4
        for (int v = 0; v < SIMD_VECTORS; v++)
            line[v] = simd_load_e4m3((const uint8_t *)b.b + at * SIMD_PANEL + v * SIMD_LANES) *
                      simd_set(b.scale[0]);
        return;
    }
    if (is_codes(dtype)) {
        const int64_t line_bytes = SIMD_PANEL * rt_dtype_bits(dtype) / 8;
        load_code_line((const uint8_t *)b.b + at * line_bytes, line_bytes, simd_set(b.scale[k]),
                simd_set(b.zero[k]), line);
        return;
    }
#pragma GCC unroll 4
    for (int v = 0; v < SIMD_VECTORS; v++)
        line[v] = dtype == RT_BF16
                          ? load_of_pairs(
                                    (const uint16_t *)b.b + panel * b.n_lines * SIMD_PANEL, k, v)
                          : simd_load((const float *)b.b + at * SIMD_PANEL + v * SIMD_LANES);
}

/* Line k of n_panels panels of B. */
SIMD_INLINE void load_lines(
        const int n_panels, const rt_dtype dtype, tile_b b, int64_t k, vfloat *lines) {
#pragma GCC unroll 4
    for (int p = 0; p < n_panels; p++) load_line(dtype, b, p, k, lines + p * SIMD_VECTORS);
}

/* acc[n_lines][n_panels] += A[..][k] B[k][..], where B's lines are loaded; `sums`, where not NULL: sums[i] += A[i][k]
 * in every lane. `again` is A once more: where the compiler does not see that, it reads every other number of A for
 * each of two panels, as a part of the multiplications. That is more loads and fewer instructions that fill a
 * register, and so many of them as there are numbers of A were what some processors waited for (bench/SPEED.md).
 *
 * n_lines, n_panels, dtype and whether there are sums are constants where this and what it calls are inlined. */
SIMD_INLINE void multiply_lines(const int n_lines, const int n_panels, tile_a a, const float *again,
        int64_t k, const vfloat *lines, vfloat *acc, vfloat *sums) {
    const int across = n_panels * SIMD_VECTORS;
#pragma GCC unroll 16
    for (int i = 0; i < n_lines; i++) {
        const int64_t at = i * a.line + k * a.step;
        const vfloat x = simd_set(a.a[at]);
        const bool is_again = SIMD_VECTORS == 1 && n_panels == 2 && i % 2 == 1;
        if (sums) sums[i] += x;
#pragma GCC unroll 16
        for (int v = 0; v < across; v++)
            acc[i * across + v] += (is_again && v == 1 ? simd_set(again[at]) : x) * lines[v];
    }
}

SIMD_INLINE void tile_step(const int n_lines, const int n_panels, const rt_dtype dtype, tile_a a,
        tile_b b, int64_t k, vfloat *acc, vfloat *sums) {
    vfloat lines[16];
    load_lines(n_panels, dtype, b, k, lines);
    multiply_lines(n_lines, n_panels, a, a.a, k, lines, acc, sums);
}

/* acc += A B over n_k, of fp32. A step asks for one line of `ahead`. */
SIMD_INLINE void tile(const int n_lines, const int n_panels, tile_a a, tile_b b, int64_t n_k,
        tile_ahead ahead, vfloat *acc) {
    for (int64_t k = 0; k < n_k; k++) {
        __builtin_prefetch(ahead.from + k * ahead.step_bytes, 0, 2);
        tile_step(n_lines, n_panels, RT_F32, a, b, k, acc, NULL);
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
