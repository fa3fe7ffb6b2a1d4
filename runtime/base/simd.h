/* The matrix kernel of the CPU's vectors: rows x panel, of whatever this file is compiled for.
 *
 * Included only by *_simd.c and *_amx.c files, which CMake compiles once per instruction set. A panel is 16
 * columns of a matrix stored together, [k][16], in bf16, f16 or f32; weights, keys and values all
 * come in panels. Every element of a product is summed over k in ascending order by one fused
 * multiply-add each (the portable build: multiply, then add), so that neither the number of rows,
 * nor the blocking, nor the storage type of a panel changes a bit of it. */
#ifndef RT_SIMD_H
#define RT_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "float16.h"
#include "size.h"
#include "told.h"

#define SIMD_INLINE  static inline __attribute__((always_inline, unused))
#define SIMD_OUTLINE static __attribute__((noinline))
/* A tile's loops, which read every number many times over. */
#define SIMD_TILE         SIMD_OUTLINE RT_TOLD
#define SIMD_PASTE_(a, b) a##_##b
#define SIMD_PASTE(a, b)  SIMD_PASTE_(a, b)
/* A symbol of this instruction set: SIMD_NAME(attn_kernels) is attn_kernels_avx2. */
#define SIMD_NAME(name) SIMD_PASTE(name, GLM_ISA)

/* Registers decide the shape of a tile: ROWS x (PANELS x 16) accumulators, PANELS x 16 of the
 * panel and one broadcast must fit. */
#if defined(__AVX512F__)
enum { SIMD_LANES = 16, SIMD_ROWS = 12, SIMD_PANELS = 2 };
#elif defined(__AVX2__)
enum { SIMD_LANES = 8, SIMD_ROWS = 6, SIMD_PANELS = 1 };
#else
enum { SIMD_LANES = 4, SIMD_ROWS = 2, SIMD_PANELS = 1 };
#endif
enum {
    SIMD_PANEL = 16,
    SIMD_VECTORS = SIMD_PANEL / SIMD_LANES, /* vectors across one panel */
    SIMD_TILE_VECTORS = 32                  /* accumulators of the largest tile, and to spare */
};

typedef float vfloat __attribute__((vector_size(SIMD_LANES * 4)));
typedef int32_t vint __attribute__((vector_size(SIMD_LANES * 4)));
typedef uint32_t vuint __attribute__((vector_size(SIMD_LANES * 4)));
typedef uint16_t vhalf __attribute__((vector_size(SIMD_LANES * 2)));
typedef uint8_t vbyte __attribute__((vector_size(SIMD_LANES)));

SIMD_INLINE vfloat simd_load(const float *from) {
    vfloat value;
    memcpy(&value, from, sizeof value);
    return value;
}

SIMD_INLINE void simd_store(float *to, vfloat value) {
    memcpy(to, &value, sizeof value);
}

SIMD_INLINE vfloat simd_set(float value) {
    return value - (vfloat){0};
}

SIMD_INLINE vfloat simd_max(vfloat a, vfloat b) {
#if defined(__AVX512F__)
    return (vfloat)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vfloat)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vfloat)_mm_max_ps((__m128)a, (__m128)b);
#else
    const vint above = a > b;
    return (vfloat)(((vint)a & above) | ((vint)b & ~above));
#endif
}

/* a b + c with one rounding where the instruction set has it. Written out where the compiler would
 * otherwise be free to choose which of two products to fuse. */
SIMD_INLINE vfloat simd_fma(vfloat a, vfloat b, vfloat c) {
#if defined(__AVX512F__)
    return (vfloat)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (vfloat)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

/* Exact for bf16 and f16: both are subsets of fp32. */
SIMD_INLINE vfloat simd_load_bf16(const uint16_t *from) {
#if defined(__AVX512F__)
    const __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)from);
    return (vfloat)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
#elif defined(__AVX2__)
    const __m128i half = _mm_loadu_si128((const __m128i *)(const void *)from);
    return (vfloat)_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
#else
    vhalf half;
    memcpy(&half, from, sizeof half);
    return (vfloat)(__builtin_convertvector(half, vuint) << 16);
#endif
}

SIMD_INLINE vfloat simd_load_f16(const uint16_t *from) {
#if defined(__AVX512F__)
    return (vfloat)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
#elif defined(__F16C__)
    return (vfloat)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
#else
    vfloat value;
    for (int i = 0; i < SIMD_LANES; i++) value[i] = rt_f16_to_float(from[i]);
    return value;
#endif
}

/* Integers 0 .. 255. */
SIMD_INLINE vfloat simd_load_u8(const uint8_t *from) {
#if defined(__AVX512F__)
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)from);
    return (vfloat)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
#elif defined(__AVX2__)
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)from);
    return (vfloat)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
#else
    vbyte bytes;
    memcpy(&bytes, from, sizeof bytes);
    return __builtin_convertvector(__builtin_convertvector(bytes, vint), vfloat);
#endif
}

/* Codes of e4m3, times 2^-8: exponent and mantissa lie in f16's as they are, below a bias of 15 instead of 7. */
SIMD_INLINE vfloat simd_load_e4m3(const uint8_t *from) {
#if defined(__AVX512F__)
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from));
    const __m256i half = _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(~0x4000));
    return (vfloat)_mm512_cvtph_ps(half);
#elif defined(__F16C__)
    const __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)from));
    const __m128i half = _mm_and_si128(_mm_slli_epi16(wide, 7), _mm_set1_epi16(~0x4000));
    return (vfloat)_mm256_cvtph_ps(half);
#else
    vbyte bytes;
    memcpy(&bytes, from, sizeof bytes);
    const vuint codes = __builtin_convertvector(bytes, vuint);
    const vfloat tiny = (vfloat)((codes & 0x80u) << 24 | (codes & 0x7fu) << 20);
    return tiny * simd_set(0x1p112f);
#endif
}

SIMD_INLINE vfloat simd_load_as(const void *base, int64_t index, const rt_dtype dtype) {
    if (dtype == RT_F32) return simd_load((const float *)base + index);
    const uint16_t *half = (const uint16_t *)base + index;
    return dtype == RT_BF16 ? simd_load_bf16(half) : simd_load_f16(half);
}

/* fp32 -> bf16, nearest even; NaN stays NaN. */
SIMD_INLINE void simd_store_bf16(uint16_t *to, vfloat value) {
    const vuint bits = (vuint)value;
    const vuint is_nan = (vuint)((vint)(bits & 0x7fffffffu) > 0x7f800000);
    const vuint rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const vuint quiet = (bits >> 16) | 0x40u;
    const vuint chosen = (rounded & ~is_nan) | (quiet & is_nan);
    const vhalf half = __builtin_convertvector(chosen, vhalf);
    memcpy(to, &half, sizeof half);
}

/* Widen n numbers (a multiple of 16) to fp32. */
SIMD_INLINE void simd_widen(float *to, const void *from, int64_t n, const rt_dtype dtype) {
    for (int64_t i = 0; i < n; i += SIMD_LANES) simd_store(to + i, simd_load_as(from, i, dtype));
}

/* 2^x for x <= 0; exactly 1 at 0, exactly 0 below -126; NaN stays NaN.
 * Degree 6 around the nearest integer (interpolated at Chebyshev nodes, constant term 1), relative
 * error below 7e-8 in fp32, 1.2 x 2^-24. */
SIMD_INLINE vfloat simd_exp2(vfloat x) {
    const vfloat magic = simd_set(12582912.0f); /* 1.5 x 2^23: adding it rounds to an integer */
#if defined(__AVX512F__)
    const vfloat clamped = x; /* what is below -126 is masked at the end */
#else
    const vfloat clamped = simd_max(x, simd_set(-127.0f));
#endif
    const vfloat shifted = clamped + magic;
    const vfloat f = clamped - (shifted - magic);
    vfloat p = simd_set(0x1.44138ap-13f);
    p = p * f + 0x1.5f089p-10f;
    p = p * f + 0x1.3b2a54p-7f;
    p = p * f + 0x1.c6af6cp-5f;
    p = p * f + 0x1.ebfbep-3f;
    p = p * f + 0x1.62e43p-1f;
    p = p * f + 1.0f;
#if defined(__AVX512F__)
    const __mmask16 is_not_zero =
            _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
    return (vfloat)_mm512_maskz_scalef_ps(is_not_zero, (__m512)p, (__m512)(shifted - magic));
#else
    const vint exponent = ((vint)shifted - (vint)magic) << 23;
    const vint scaled = (vint)p + exponent;
    const vint is_zero = x < -126.0f;
    const vint is_nan = x != x;
    return (vfloat)((scaled & ~is_zero & ~is_nan) | ((vint)x & is_nan));
#endif
}

/* The same, one value. */
SIMD_INLINE float simd_exp2_one(float x) {
    return simd_exp2(simd_set(x))[0];
}

/* acc[rows][panels] += a x panels over n_k.
 *
 *   a        row r at a + r * a_stride, n_k floats
 *   panel    panel p at element p * panel_stride, [n_k][16] of dtype
 *
 * rows, panels and dtype are constants where this is inlined; the loops over them unroll. */
SIMD_INLINE void simd_tile(const int rows, const int panels, const rt_dtype dtype, const float *a,
        int64_t a_stride, const void *panel, int64_t panel_stride, int64_t n_k, vfloat *acc) {
    const int across = panels * SIMD_VECTORS;
    for (int64_t k = 0; k < n_k; k++) {
        vfloat b[16];
#pragma GCC unroll 16
        for (int v = 0; v < across; v++)
            b[v] = simd_load_as(panel,
                    (int64_t)(v / SIMD_VECTORS) * panel_stride + k * SIMD_PANEL +
                            (v % SIMD_VECTORS) * SIMD_LANES,
                    dtype);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            const vfloat x = simd_set(a[r * a_stride + k]);
#pragma GCC unroll 16
            for (int v = 0; v < across; v++) acc[r * across + v] += x * b[v];
        }
    }
}

#endif
