/* Exponents to 4-bit codes and back, compiled once per instruction set.
 *
 * The loops below are written for the compiler's vectorizer: one row at a time, bytes and 16-bit
 * integers only, no branch. Escapes are rare (a value 2^15 times smaller than its channel's largest):
 * a row only notes that it has some, and is then gone through again one value at a time. Integer
 * arithmetic alone, so every instruction set gives the same bits. */
#include "codec_simd.h"

#if !defined(__SANITIZE_THREAD__) /* the library's own is not followed */
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include "runtime/base/simd.h"

RT_TOLD static void bases(const uint16_t *values, int32_t n_rows, int32_t dim, uint8_t *base) {
    rt_reads(values, (int64_t)n_rows * dim * (int64_t)sizeof *values);
    memset(base, 0, (size_t)dim);
    for (int32_t row = 0; row < n_rows; row++) {
        const uint16_t *from = values + (int64_t)row * dim;
        for (int32_t c = 0; c < dim; c++) {
            const uint8_t exponent = (uint8_t)(from[c] >> 7);
            base[c] = exponent > base[c] ? exponent : base[c];
        }
    }
}

/* ---- split ----------------------------------------------------------------------------------- */

/* Returns non-zero when a value of the row escapes. An even row starts its bytes, an odd row fills
 * their upper halves. */
SIMD_INLINE uint8_t split_row(const uint16_t *restrict from, int32_t dim,
        const uint8_t *restrict base, uint8_t *restrict codes, uint8_t *restrict rests,
        const bool is_odd) {
    uint8_t escapes = 0;
    for (int32_t c = 0; c < dim; c++) {
        const uint16_t value = from[c];
        const uint8_t below = (uint8_t)(base[c] - (uint8_t)(value >> 7));
        const uint8_t code = below < KV_CODE_ESCAPE ? below : KV_CODE_ESCAPE;
        escapes |= (uint8_t)(code == KV_CODE_ESCAPE);
        codes[c] = (uint8_t)(is_odd ? codes[c] | code << 4 : code);
        rests[c] = (uint8_t)(((value >> 8) & 0x80) | (value & 0x7f));
    }
    return escapes;
}

static int64_t list_escapes(
        const uint16_t *from, int32_t dim, const uint8_t *base, uint8_t *escapes) {
    int64_t n = 0;
    for (int32_t c = 0; c < dim; c++) {
        const uint8_t exponent = (uint8_t)(from[c] >> 7);
        if (base[c] - exponent >= KV_CODE_ESCAPE) escapes[n++] = exponent;
    }
    return n;
}

SIMD_TILE int64_t split_rows(const uint16_t *values, int32_t n_rows, int32_t dim,
        const uint8_t *base, uint8_t *codes, uint8_t *rests, uint8_t *escapes) {
    int64_t n_escapes = 0;
    for (int32_t row = 0; row < n_rows; row++) {
        const uint16_t *from = values + (int64_t)row * dim;
        uint8_t *row_codes = codes + (int64_t)(row / 2) * dim;
        uint8_t *row_rests = rests + (int64_t)row * dim;
        const uint8_t has_escapes =
                row % 2 ? split_row(from, dim, base, row_codes, row_rests, true)
                        : split_row(from, dim, base, row_codes, row_rests, false);
        if (has_escapes) n_escapes += list_escapes(from, dim, base, escapes + n_escapes);
    }
    return n_escapes;
}

static int64_t split(const uint16_t *values, int32_t n_rows, int32_t dim, const uint8_t *base,
        uint8_t *codes, uint8_t *rests, uint8_t *escapes) {
    const int64_t n = (int64_t)n_rows * dim;
    rt_reads(values, n * (int64_t)sizeof *values);
    rt_writes(codes, rt_div_up(n_rows, 2) * dim);
    rt_writes(rests, n);
    return split_rows(values, n_rows, dim, base, codes, rests, escapes);
}

/* ---- join ------------------------------------------------------------------------------------ */

SIMD_INLINE uint8_t code_at(const uint8_t *codes, int32_t c, const bool is_odd) {
    return is_odd ? (uint8_t)(codes[c] >> 4) : (uint8_t)(codes[c] & 15);
}

SIMD_INLINE uint16_t join_value(uint8_t exponent, uint8_t rest) {
    return (uint16_t)(((rest & 0x80) << 8) | (exponent << 7) | (rest & 0x7f));
}

SIMD_INLINE uint8_t join_row(uint16_t *restrict to, int32_t dim, const uint8_t *restrict base,
        const uint8_t *restrict codes, const uint8_t *restrict rests, const bool is_odd) {
    uint8_t escapes = 0;
    for (int32_t c = 0; c < dim; c++) {
        const uint8_t code = code_at(codes, c, is_odd);
        escapes |= (uint8_t)(code == KV_CODE_ESCAPE);
        to[c] = join_value((uint8_t)(base[c] - code), rests[c]);
    }
    return escapes;
}

/* Put the escaped exponents of a row in place: *next of them are used so far. */
static bool fill_escapes(uint16_t *to, int32_t dim, const uint8_t *codes, const uint8_t *rests,
        bool is_odd, const uint8_t *escapes, int64_t n_escapes, int64_t *next) {
    for (int32_t c = 0; c < dim; c++) {
        if (code_at(codes, c, is_odd) != KV_CODE_ESCAPE) continue;
        if (*next >= n_escapes) return false;
        to[c] = join_value(escapes[(*next)++], rests[c]);
    }
    return true;
}

SIMD_TILE bool join_rows(uint16_t *values, int32_t n_rows, int32_t dim, const uint8_t *base,
        const uint8_t *codes, const uint8_t *rests, const uint8_t *escapes, int64_t n_escapes) {
    int64_t next = 0;
    for (int32_t row = 0; row < n_rows; row++) {
        uint16_t *to = values + (int64_t)row * dim;
        const uint8_t *row_codes = codes + (int64_t)(row / 2) * dim;
        const uint8_t *row_rests = rests + (int64_t)row * dim;
        const bool is_odd = row % 2;
        const uint8_t has_escapes = is_odd ? join_row(to, dim, base, row_codes, row_rests, true)
                                           : join_row(to, dim, base, row_codes, row_rests, false);
        if (!has_escapes) continue;
        if (!fill_escapes(to, dim, row_codes, row_rests, is_odd, escapes, n_escapes, &next))
            return false;
    }
    return next == n_escapes;
}

static bool join(uint16_t *values, int32_t n_rows, int32_t dim, const uint8_t *base,
        const uint8_t *codes, const uint8_t *rests, const uint8_t *escapes, int64_t n_escapes) {
    const int64_t n = (int64_t)n_rows * dim;
    rt_writes(values, n * (int64_t)sizeof *values);
    rt_reads(codes, rt_div_up(n_rows, 2) * dim);
    rt_reads(rests, n);
    return join_rows(values, n_rows, dim, base, codes, rests, escapes, n_escapes);
}

static uint64_t hash(const void *bytes, int64_t n_bytes, uint64_t seed) {
    rt_reads(bytes, n_bytes);
    return XXH3_64bits_withSeed(bytes, (size_t)n_bytes, seed);
}

extern const kv_codec_kernels SIMD_NAME(kv_codec_kernels);
const kv_codec_kernels SIMD_NAME(kv_codec_kernels) = {bases, split, join, hash};
