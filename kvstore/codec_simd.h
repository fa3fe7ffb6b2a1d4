/* Between codec_tile.c (a tile's planes) and codec_simd.c (the loops over its values). */
#ifndef KV_CODEC_SIMD_H
#define KV_CODEC_SIMD_H

#include "runtime/base/machine.h"
#include "runtime/base/status.h"

/* A code of 4 bits: how far a value's exponent lies below its channel's largest one. The last code
 * says too far: the exponent itself is in the list of escapes, in row order. */
enum { KV_CODE_ESCAPE = 15 };

/* Values are [n_rows][dim] of 16 bits: sign, 8 bits of exponent, 7 of mantissa. Codes are
 * [ceil(n_rows / 2)][dim] bytes, even rows in the low half; rests (sign and mantissa) are
 * [n_rows][dim] bytes. */
typedef struct kv_codec_kernels {
    /* base[c] = the largest exponent of channel c. */
    void (*bases)(const uint16_t *values, int32_t n_rows, int32_t dim, uint8_t *base);
    /* Returns how many escapes were written, at most n_rows * dim. */
    int64_t (*split)(const uint16_t *values, int32_t n_rows, int32_t dim, const uint8_t *base,
            uint8_t *codes, uint8_t *rests, uint8_t *escapes);
    /* False when the codes do not ask for exactly n_escapes. */
    bool (*join)(uint16_t *values, int32_t n_rows, int32_t dim, const uint8_t *base,
            const uint8_t *codes, const uint8_t *rests, const uint8_t *escapes, int64_t n_escapes);
    /* XXH3-64. */
    uint64_t (*hash)(const void *bytes, int64_t n_bytes, uint64_t seed);
} kv_codec_kernels;

extern const kv_codec_kernels kv_codec_kernels_portable;
#if defined(__x86_64__)
extern const kv_codec_kernels kv_codec_kernels_avx2;
extern const kv_codec_kernels kv_codec_kernels_avx512;
#endif

#endif
