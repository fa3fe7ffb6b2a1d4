/* Sealing: bf16 numbers -> codes. fp8: attn_fp8.h. int8 and int4, with a scale and a zero for each group of 64:
 *
 *   zero  = the smallest number
 *   scale = (largest - smallest) / (2^bits - 1), rounded up to bf16
 *   code  = (number - zero) / scale, to the nearest integer, ties to even
 *
 * Subtraction, division and rounding are IEEE 754's and nothing here can be fused: every instruction
 * set gives the same bits. scale x code is exact in fp32 (8 bits times 8), so zero + scale x code
 * rounds once, fused or not. */
#include "attn_tile.h"

enum { PANEL = ATTN_PANEL, GROUP = ATTN_SEAL_GROUP };
enum { GROUP_VECTORS = GROUP / SIMD_LANES };

static const uint16_t bf16_nan = 0x7fc0;

/* ---- one group ------------------------------------------------------------------------------- */

typedef struct bounds {
    float low;
    float high;
    bool is_finite;
} bounds;

static bounds bounds_of(const vfloat *x, int64_t n_vectors) {
    vfloat high = x[0];
    vfloat minus_low = -x[0];
    vint is_odd = {0}; /* Inf or NaN */
    for (int64_t i = 0; i < n_vectors; i++) {
        high = simd_max(high, x[i]);
        minus_low = simd_max(minus_low, -x[i]);
        is_odd |= ((vint)x[i] & 0x7f800000) == 0x7f800000;
    }
    bounds b = {-minus_low[0], high[0], true};
    for (int i = 0; i < SIMD_LANES; i++) {
        b.low = -minus_low[i] < b.low ? -minus_low[i] : b.low;
        b.high = high[i] > b.high ? high[i] : b.high;
        b.is_finite = b.is_finite && is_odd[i] == 0;
    }
    b.low += 0.0f; /* which of -0 and 0 was found depends on the order */
    b.is_finite = b.is_finite && isfinite(b.high - b.low);
    return b;
}

static uint16_t bf16_above(float value) {
    return (uint16_t)((rt_float_bits(value) + 0xffffu) >> 16);
}

/* Codes of one vector, as integers. */
SIMD_INLINE vint codes_of(vfloat x, float low, float scale, int most) {
    const vfloat magic = simd_set(12582912.0f); /* 1.5 x 2^23: adding it rounds to an integer */
    const vfloat steps = (x - simd_set(low)) / simd_set(scale);
    const vint code = (vint)(steps + magic) - (vint)magic;
    const vint is_above = code > most; /* never, but for the scale's own rounding */
    return (code & ~is_above) | (is_above & most);
}

/* ---- codes in memory ------------------------------------------------------------------------- */

SIMD_INLINE void store_codes(uint8_t *to, const vint *codes, int64_t line_bytes) {
    uint8_t bytes[PANEL];
    for (int v = 0; v < SIMD_VECTORS; v++) {
        const vbyte narrow = __builtin_convertvector(codes[v], vbyte);
        memcpy(bytes + v * SIMD_LANES, &narrow, sizeof narrow);
    }
    if (line_bytes == PANEL) {
        memcpy(to, bytes, PANEL);
        return;
    }
    uint64_t low;
    uint64_t high;
    memcpy(&low, bytes, 8);
    memcpy(&high, bytes + 8, 8);
    low |= high << 4;
    memcpy(to, &low, 8);
}

/* Line `line` of the panels [first, first + n): a group. */
static void seal_group(const attn_sealed *sealed, const uint16_t *numbers, int64_t first, int64_t n,
        int64_t line, char *page) {
    rt_assert(n >= 1 && n <= ATTN_GROUP_PANELS);
    vfloat x[GROUP_VECTORS];
    for (int64_t p = 0; p < n; p++)
        for (int v = 0; v < SIMD_VECTORS; v++)
            x[p * SIMD_VECTORS + v] =
                    load_of_pairs(numbers + (first + p) * sealed->n_lines * PANEL, line, v);
    const int most = sealed->line_bytes == PANEL ? 255 : 15;
    const bounds b = bounds_of(x, n * SIMD_VECTORS);
    const uint16_t scale = b.is_finite ? bf16_above((b.high - b.low) / (float)most) : bf16_nan;
    const uint16_t zero = b.is_finite ? rt_float_to_bf16(b.low) : bf16_nan;
    const int64_t at = (first / ATTN_GROUP_PANELS * sealed->n_lines + line) * 2;
    memcpy(page + sealed->scales + at, &scale, 2);
    memcpy(page + sealed->zeros + at, &zero, 2);

    const float divisor = scale == 0 ? 1.0f : rt_bf16_to_float(scale);
    for (int64_t p = 0; p < n; p++) {
        vint codes[SIMD_VECTORS] = {0};
        for (int v = 0; v < SIMD_VECTORS && b.is_finite; v++)
            codes[v] = codes_of(x[p * SIMD_VECTORS + v], b.low, divisor, most);
        const int64_t place = ((first + p) * sealed->n_lines + line) * sealed->line_bytes;
        store_codes((uint8_t *)page + sealed->codes + place, codes, sealed->line_bytes);
    }
}

/* ---- fp8 ------------------------------------------------------------------------------------- */

/* Bits of the largest size: those of Inf and NaN are the largest of all. */
static uint32_t largest_size(const uint16_t *numbers, int64_t n) {
    uint16_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t size = numbers[i] & 0x7fff;
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* Codes of one vector of numbers of at most 448: what fp32 has behind three bits is rounded away, or, below
 * 2^-6, where steps are 2^-9, behind the last bit of the sum with 1.5 x 2^14. */
SIMD_INLINE vuint fp8_codes_of(vfloat x) {
    const vuint bits = (vuint)x;
    const vuint size = bits & 0x7fffffffu;
    const vuint rounded = ((size + 0x7ffffu + (size >> 20 & 1u)) >> 20) - ((127u - 7u) << 3);
    const vuint small = (vuint)((vfloat)size + simd_set(0x1.8p14f)) & 15u;
    const vuint is_small = (vuint)((vfloat)size < simd_set(0x1p-6f));
    return (bits >> 24 & 0x80u) | (small & is_small) | (rounded & ~is_small);
}

/* 448 is 1.75 x 2^8, so numbers up to 1.75 x 2^e have the scale 2^(e - 8): 0x1f carries beyond that. */
static void seal_fp8(const attn_sealed *sealed, const uint16_t *numbers, char *page) {
    const int64_t n = attn_code_bytes(sealed);
    const uint32_t largest = largest_size(numbers, n);
    const bool is_coded = largest < 0x7f00; /* 2^127 */
    const uint32_t above = (largest + 0x1f) >> 7;
    const uint32_t exponent = above > 8 + 27 ? above - 8 : 27;
    const float scale = is_coded ? rt_bits_float(exponent << 23) : NAN;
    const vfloat inverse = simd_set(rt_bits_float((254 - exponent) << 23));
    for (int64_t i = 0; i < n && is_coded; i += SIMD_LANES) {
        const vuint codes = fp8_codes_of(
                load_of_pairs(numbers, i / PANEL, (int)(i % PANEL) / SIMD_LANES) * inverse);
        const vbyte narrow = __builtin_convertvector(codes, vbyte);
        memcpy(page + sealed->codes + i, &narrow, sizeof narrow);
    }
    if (!is_coded) memset(page + sealed->codes, 0, (size_t)n);
    memcpy(page + sealed->scales, &scale, sizeof scale);
    memset(page + sealed->zeros, 0, (size_t)(sealed->end - sealed->zeros));
}

static void seal(const attn_sealed *sealed, const uint16_t *numbers, void *page) {
    if (sealed->dtype == RT_FP8) {
        seal_fp8(sealed, numbers, page);
        return;
    }
    for (int64_t first = 0; first < sealed->n_panels; first += ATTN_GROUP_PANELS) {
        const int64_t n = rt_min64(ATTN_GROUP_PANELS, sealed->n_panels - first);
        for (int64_t line = 0; line < sealed->n_lines; line++)
            seal_group(sealed, numbers, first, n, line, page);
    }
}

extern const attn_seal_kernels SIMD_NAME(attn_seal_kernels);
const attn_seal_kernels SIMD_NAME(attn_seal_kernels) = {seal};
