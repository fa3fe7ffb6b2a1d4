/* Tiles of Intel's AMX, and the same in plain C where this file is compiled without them: what the kernels above say is
 * tested on any machine, where a sanitizer sees each address that a tile touches.
 *
 * Eight tiles of 16 lines of 64 bytes. A product adds to c, 16 x 16 of fp32, rows of a by columns of b:
 *
 *   a  [16 rows][32 numbers of bf16]            b  [16 pairs of numbers][16 columns][2]
 *
 *   c[i][j] += (even) + (odd)     even: the 16 products of even numbers, added up in ascending order
 *
 * with a rounding to nearest each; numbers below 2^-126 are 0, read or made. That is one order, and of one element of c
 * only its own row and column. (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBF16PS) */
#ifndef AMX_TILES_H
#define AMX_TILES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "simd.h"

enum {
    AMX_TILES = 8,
    AMX_LINES = 16,
    AMX_LINE_BYTES = 64,
    AMX_TILE_BYTES = AMX_LINES * AMX_LINE_BYTES
};

/* ---- one number's share, by vectors ---------------------------------------------------------- */

/* Numbers that are too small for their exponent, as 0 of their sign. */
SIMD_INLINE vuint amx_flushed(vuint bits) {
    const vuint is_normal = (vuint)((bits & 0x7f800000u) != 0);
    return bits & (is_normal | 0x80000000u);
}

/* Where there are tiles vectors do so themselves (amx_flush_small). */
SIMD_INLINE vfloat amx_flush(vfloat x) {
#if defined(__AMX_BF16__)
    return x;
#else
    return (vfloat)amx_flushed((vuint)x);
#endif
}

/* a b + c of numbers of bf16 and a sum, as in a tile: with one rounding. A product of two has 16 bits, and in fp64 room for
 * its exponent, so that the sum's second rounding, to fp32, is as if it were the only one. */
SIMD_INLINE vfloat amx_add_product(vfloat a, vfloat b, vfloat c) {
#if defined(__FMA__)
    return amx_flush(simd_fma(amx_flush(a), amx_flush(b), c));
#else
    typedef double vdouble __attribute__((vector_size(SIMD_LANES * 8)));
    const vdouble product = __builtin_convertvector(amx_flush(a), vdouble) *
                            __builtin_convertvector(amx_flush(b), vdouble);
    return amx_flush(
            __builtin_convertvector(product + __builtin_convertvector(c, vdouble), vfloat));
#endif
}

/* The even or the odd ones of LANES pairs of bf16. */
SIMD_INLINE vfloat amx_widened(vuint pairs, const int odd) {
    return (vfloat)(odd ? pairs & 0xffff0000u : pairs << 16);
}

/* Sums of products to what they are added to. */
SIMD_INLINE vfloat amx_add_sums(vfloat to, vfloat even, vfloat odd) {
    return amx_flush(amx_flush(to) + amx_flush(even + odd));
}

/* ---- tiles ----------------------------------------------------------------------------------- */

#if defined(__AMX_BF16__)

/* What `ldtilecfg` reads: of each tile the bytes of a line and the lines. */
typedef struct amx_shape {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t line_bytes[16];
    uint8_t lines[16];
} amx_shape;
_Static_assert(sizeof(amx_shape) == 64, "as the instruction reads it");

/* All tiles whole; libraries have settings of their own between. */
SIMD_INLINE void amx_take_tiles(void) {
    amx_shape shape = {.palette = 1};
    for (int t = 0; t < AMX_TILES; t++) {
        shape.line_bytes[t] = AMX_LINE_BYTES;
        shape.lines[t] = AMX_LINES;
    }
    /* The compiler's own takes 8 bytes of it for read. */
    __asm__ volatile("ldtilecfg %0" ::"m"(shape));
}

SIMD_INLINE void amx_give_tiles(void) {
    _tile_release();
}

/* Tiles are named by constants. The compiler does not know that these instructions touch memory, and is told. */
#define AMX_MEMORY()          __asm__ volatile("" ::: "memory")
#define amx_zero(tile)        _tile_zero(tile)
#define amx_multiply(c, a, b) _tile_dpbf16ps(c, a, b)
#define amx_load(tile, from, stride)     \
    do {                                 \
        AMX_MEMORY();                    \
        _tile_loadd(tile, from, stride); \
    } while (0)
/* What is not read again soon: it leaves the first-level cache to the rest. */
#define amx_load_once(tile, from, stride)       \
    do {                                        \
        AMX_MEMORY();                           \
        _tile_stream_loadd(tile, from, stride); \
    } while (0)
#define amx_store(tile, to, stride)     \
    do {                                \
        _tile_stored(tile, to, stride); \
        AMX_MEMORY();                   \
    } while (0)

#else

static _Thread_local union amx_tile {
    uint8_t lines[AMX_LINES][AMX_LINE_BYTES];
    uint16_t halves[AMX_LINES][AMX_LINE_BYTES / 2];
    float numbers[AMX_LINES][AMX_LINE_BYTES / 4];
} amx_tiles[AMX_TILES];

/* What nobody has set is not a number. */
SIMD_INLINE void amx_take_tiles(void) {
    memset(amx_tiles, 0xff, sizeof amx_tiles);
}

SIMD_INLINE void amx_give_tiles(void) {
    memset(amx_tiles, 0xff, sizeof amx_tiles);
}

static inline void amx_zero(int tile) {
    memset(&amx_tiles[tile], 0, sizeof amx_tiles[tile]);
}

static inline void amx_load(int tile, const void *from, int64_t stride) {
    for (int i = 0; i < AMX_LINES; i++)
        memcpy(amx_tiles[tile].lines[i], (const char *)from + i * stride, AMX_LINE_BYTES);
}

#define amx_load_once amx_load

static inline void amx_store(int tile, void *to, int64_t stride) {
    for (int i = 0; i < AMX_LINES; i++)
        memcpy((char *)to + i * stride, amx_tiles[tile].lines[i], AMX_LINE_BYTES);
}

/* To LANES columns from `first` on. */
SIMD_INLINE vfloat amx_add_columns(
        vfloat to, const union amx_tile *a, const union amx_tile *b, int row, int first) {
    vfloat sums[2] = {{0}, {0}};
    for (int pair = 0; pair < AMX_LINES; pair++) {
        vuint both;
        memcpy(&both, &b->halves[pair][2 * first], sizeof both);
        for (int odd = 0; odd < 2; odd++) {
            const uint32_t x = (uint32_t)a->halves[row][2 * pair + odd] << 16;
            sums[odd] =
                    amx_add_product((vfloat)((vuint){0} + x), amx_widened(both, odd), sums[odd]);
        }
    }
    return amx_add_sums(to, sums[0], sums[1]);
}

static inline void amx_multiply(int c, int a, int b) {
    for (int row = 0; row < AMX_LINES; row++)
        for (int first = 0; first < SIMD_PANEL; first += SIMD_LANES) {
            float *to = &amx_tiles[c].numbers[row][first];
            simd_store(
                    to, amx_add_columns(simd_load(to), &amx_tiles[a], &amx_tiles[b], row, first));
        }
}

#endif

/* From here to amx_heed_small, which gets what this returns, vectors take numbers below 2^-126 for 0, as tiles do: what is left
 * of a small weight is one, and costs the processor more than a hundred cycles otherwise. */
SIMD_INLINE unsigned amx_flush_small(void) {
#if defined(__x86_64__)
    enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x40 };
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
    return mode;
#else
    return 0;
#endif
}

SIMD_INLINE void amx_heed_small(unsigned mode) {
#if defined(__x86_64__)
    _mm_setcsr(mode);
#endif
    (void)mode;
}

/* Both, with tiles besides. */
SIMD_INLINE unsigned amx_begin(void) {
    amx_take_tiles();
    return amx_flush_small();
}

SIMD_INLINE void amx_end(unsigned mode) {
    amx_heed_small(mode);
    amx_give_tiles();
}

#endif
