/* The tile codec: 4-bit exponent codes (EXP4), then, unless told otherwise, zstd level 1 on what
 * compresses.
 *
 * K and V of a channel keep to a narrow range of exponents; sign and mantissa are noise. So the
 * exponent is written as its distance below the channel's largest, in 4 bits, and only these codes
 * go through zstd: about 1.47 times smaller, several times faster than zstd over everything. An fp32
 * tile is its upper halves, coded like bf16, and its lower halves as they are. Layout:
 *
 *      0  u32  n_escapes
 *      4  u32  bytes of the codes plane, as stored
 *      8  u32  bytes of the rests plane, as stored
 *     12  u32  bytes of the lows plane, as stored; 0 for 16-bit numbers
 *     16  u8   base[dim]           largest exponent of each channel
 *         u8   escapes[n_escapes]  exponents 15 or more below their base, in row order
 *         ...  codes plane         [ceil(n_rows / 2)][dim], even rows in the low half
 *         ...  rests plane         [n_rows][dim], sign and mantissa
 *         ...  lows plane          [n_rows][dim] u16, fp32 only
 *
 * A plane as long as it is raw is raw; a shorter one is a single zstd frame that states its content
 * size and carries zstd's own checksum. A tile that would not shrink is stored raw as a whole.
 * Source: ratios and alternatives measured for this format; the idea of a fixed 4-bit exponent code
 * with sparse escapes is also in arXiv:2605.01708. */
#include "codec_tile.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "runtime/base/memory.h"

/* A test builds this file with the plane sizes taken on trust, to see that fuzzing notices. */
#ifndef KV_MUTANT_UNBOUNDED
#define KV_MUTANT_UNBOUNDED 0
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored numbers are little-endian");

enum {
    VALUES_MAX = KV_TILE_TOKENS * KV_HEAD_DIM_MAX,
    HEADER_BYTES = 16,
    ZSTD_LEVEL = 1,
    SAMPLES = 1024
};

struct kv_tile_codec {
    const kv_codec_kernels *kernels;
    kv_packing packing;
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    uint16_t highs[VALUES_MAX];
    uint16_t lows[VALUES_MAX];
    uint8_t codes[VALUES_MAX / 2];
    uint8_t rests[VALUES_MAX];
    uint8_t escapes[VALUES_MAX];
    uint8_t bases[KV_HEAD_DIM_MAX];
};

/* Sizes of a tile's planes before compression. */
typedef struct plane_sizes {
    int64_t codes, rests, lows;
} plane_sizes;

static plane_sizes sizes_of(rt_dtype dtype, int32_t n_rows, int32_t dim) {
    const int64_t n = (int64_t)n_rows * dim;
    return (plane_sizes){.codes = (int64_t)(n_rows / 2 + n_rows % 2) * dim,
            .rests = n,
            .lows = dtype == RT_F32 ? 2 * n : 0};
}

static int64_t raw_bytes(rt_dtype dtype, int32_t n_rows, int32_t dim) {
    return (int64_t)n_rows * dim * rt_dtype_bytes(dtype);
}

/* ---- contexts -------------------------------------------------------------------------------- */

/* zstd grows its contexts at first use: use them on the largest plane now, not in mid-stream. */
static bool warm_up(kv_tile_codec *codec) {
    ZSTD_CCtx *c = codec->compressor;
    ZSTD_DCtx *d = codec->decompressor;
    if (!c || !d) return false;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, ZSTD_LEVEL))) return false;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1))) return false;
    const size_t n =
            ZSTD_compress2(c, codec->rests, sizeof codec->rests, codec->lows, sizeof codec->lows);
    if (ZSTD_isError(n)) return false;
    const size_t back = ZSTD_decompressDCtx(d, codec->highs, sizeof codec->highs, codec->rests, n);
    return back == sizeof codec->lows;
}

rt_status kv_tile_codec_create(const kv_codec_kernels *kernels, kv_tile_codec **out) {
    kv_tile_codec *codec = NULL;
    RT_TRY(rt_calloc(1, sizeof *codec, "the KV codec", &codec));
    codec->kernels = kernels;
    codec->compressor = ZSTD_createCCtx();
    codec->decompressor = ZSTD_createDCtx();
    if (!warm_up(codec)) {
        kv_tile_codec_free(codec);
        return rt_fail(RT_ENOMEM, "kvstore: no memory for a zstd context");
    }
    *out = codec;
    return RT_OK;
}

void kv_tile_codec_free(kv_tile_codec *codec) {
    if (!codec) return;
    (void)ZSTD_freeCCtx(codec->compressor);
    (void)ZSTD_freeDCtx(codec->decompressor);
    free(codec);
}

void kv_tile_codec_pack(kv_tile_codec *codec, kv_packing packing) {
    codec->packing = packing;
}

/* ---- planes ---------------------------------------------------------------------------------- */

/* Whether zstd is worth trying on a plane that is usually noise: by how often two of 1024 samples
 * are equal. 1.3 times as often as among random bytes is where about a twentieth could be saved. */
static bool looks_compressible(const kv_tile_codec *codec, const uint8_t *plane, int64_t n_bytes) {
    if (codec->packing == KV_PACK_PLAIN) return false;
    if (n_bytes < SAMPLES) return true;
    int32_t histogram[256] = {0};
    const int64_t step = (n_bytes / SAMPLES - 1) | 1; /* odd: does not keep to a few channels */
    for (int64_t i = 0; i < SAMPLES; i++) histogram[plane[i * step]]++;
    int64_t pairs = 0;
    for (int i = 0; i < 256; i++) pairs += (int64_t)histogram[i] * (histogram[i] - 1);
    return pairs > (int64_t)SAMPLES * (SAMPLES - 1) / 256 * 13 / 10;
}

/* Append a plane to `to`, as a frame when that is shorter. Returns the bytes written. */
static int64_t put_plane(
        kv_tile_codec *codec, uint8_t *to, const void *plane, int64_t n_bytes, bool is_promising) {
    if (n_bytes == 0) return 0;
    if (is_promising) {
        const size_t n =
                ZSTD_compress2(codec->compressor, to, (size_t)n_bytes - 1, plane, (size_t)n_bytes);
        if (!ZSTD_isError(n)) return (int64_t)n;
    }
    memcpy(to, plane, (size_t)n_bytes);
    return n_bytes;
}

/* A stored plane's n_bytes: in place when raw, else decompressed into `scratch`. NULL when it is
 * not exactly one frame of exactly that content. */
static const uint8_t *get_plane(kv_tile_codec *codec, const uint8_t *stored, int64_t stored_bytes,
        int64_t n_bytes, void *scratch) {
    if (stored_bytes == n_bytes) return stored;
    if (stored_bytes > n_bytes) return NULL;
    const size_t n_stored = (size_t)stored_bytes;
    if (ZSTD_getFrameContentSize(stored, n_stored) != (unsigned long long)n_bytes) return NULL;
    if (ZSTD_findFrameCompressedSize(stored, n_stored) != n_stored) return NULL;
    const size_t n =
            ZSTD_decompressDCtx(codec->decompressor, scratch, (size_t)n_bytes, stored, n_stored);
    return n == (size_t)n_bytes ? scratch : NULL;
}

/* ---- encode ---------------------------------------------------------------------------------- */

static const uint16_t *split_fp32(kv_tile_codec *codec, const uint32_t *raw, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        codec->highs[i] = (uint16_t)(raw[i] >> 16);
        codec->lows[i] = (uint16_t)raw[i];
    }
    return codec->highs;
}

static void put_u32(uint8_t *to, int64_t value) {
    const uint32_t word = (uint32_t)value;
    memcpy(to, &word, sizeof word);
}

static int64_t store_raw(const void *raw, int64_t n_bytes, uint8_t *stored, kv_tile_kind *kind) {
    memcpy(stored, raw, (size_t)n_bytes);
    *kind = KV_TILE_RAW;
    return n_bytes;
}

int64_t kv_tile_encode(kv_tile_codec *codec, rt_dtype dtype, int32_t n_rows, int32_t dim,
        const void *raw, uint8_t *stored, kv_tile_kind *kind) {
    rt_assert(n_rows > 0 && n_rows <= KV_TILE_TOKENS && dim > 0 && dim <= KV_HEAD_DIM_MAX);
    const int64_t n_raw = raw_bytes(dtype, n_rows, dim);
    const plane_sizes sizes = sizes_of(dtype, n_rows, dim);
    const uint16_t *values = dtype == RT_F32 ? split_fp32(codec, raw, sizes.rests) : raw;
    codec->kernels->bases(values, n_rows, dim, codec->bases);
    const int64_t n_escapes = codec->kernels->split(
            values, n_rows, dim, codec->bases, codec->codes, codec->rests, codec->escapes);

    /* Planes are written where they go; each can take its raw size, so all of that must fit. */
    int64_t at = HEADER_BYTES + dim + n_escapes;
    if (at + sizes.codes + sizes.rests + sizes.lows > n_raw)
        return store_raw(raw, n_raw, stored, kind);
    memcpy(stored + HEADER_BYTES, codec->bases, (size_t)dim);
    memcpy(stored + HEADER_BYTES + dim, codec->escapes, (size_t)n_escapes);
    const int64_t n_codes = put_plane(
            codec, stored + at, codec->codes, sizes.codes, codec->packing == KV_PACK_DENSE);
    at += n_codes;
    const int64_t n_rests = put_plane(codec, stored + at, codec->rests, sizes.rests,
            looks_compressible(codec, codec->rests, sizes.rests));
    at += n_rests;
    const int64_t n_lows = put_plane(codec, stored + at, codec->lows, sizes.lows,
            looks_compressible(codec, (const uint8_t *)codec->lows, sizes.lows));
    put_u32(stored, n_escapes);
    put_u32(stored + 4, n_codes);
    put_u32(stored + 8, n_rests);
    put_u32(stored + 12, n_lows);
    *kind = KV_TILE_EXP4;
    return at + n_lows;
}

/* ---- decode ---------------------------------------------------------------------------------- */

static void join_fp32(const uint16_t *highs, const uint8_t *lows, int64_t n, uint32_t *raw) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t low;
        memcpy(&low, lows + 2 * i, sizeof low);
        raw[i] = (uint32_t)highs[i] << 16 | low;
    }
}

static int64_t get_u32(const uint8_t *from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static bool decode_exp4(kv_tile_codec *codec, rt_dtype dtype, int32_t n_rows, int32_t dim,
        const uint8_t *stored, int64_t stored_bytes, void *raw) {
    if (stored_bytes < HEADER_BYTES + dim) return false;
    const plane_sizes sizes = sizes_of(dtype, n_rows, dim);
    const int64_t n_escapes = get_u32(stored);
    const plane_sizes have = {.codes = get_u32(stored + 4),
            .rests = get_u32(stored + 8),
            .lows = get_u32(stored + 12)};
    const uint8_t *base = stored + HEADER_BYTES;
    const uint8_t *escapes = base + dim;
    const int64_t n_stated = HEADER_BYTES + dim + n_escapes + have.codes + have.rests + have.lows;
    if (n_stated != stored_bytes && !KV_MUTANT_UNBOUNDED) return false;

    const uint8_t *at = escapes + n_escapes;
    const uint8_t *codes = get_plane(codec, at, have.codes, sizes.codes, codec->codes);
    at += have.codes;
    const uint8_t *rests = get_plane(codec, at, have.rests, sizes.rests, codec->rests);
    at += have.rests;
    const uint8_t *lows = get_plane(codec, at, have.lows, sizes.lows, codec->lows);
    if (!codes || !rests || !lows) return false;

    uint16_t *values = dtype == RT_F32 ? codec->highs : raw;
    if (!codec->kernels->join(values, n_rows, dim, base, codes, rests, escapes, n_escapes))
        return false;
    if (dtype == RT_F32) join_fp32(codec->highs, lows, sizes.rests, raw);
    return true;
}

bool kv_tile_decode(kv_tile_codec *codec, rt_dtype dtype, int32_t n_rows, int32_t dim,
        kv_tile_kind kind, const uint8_t *stored, int64_t stored_bytes, void *raw) {
    rt_assert(n_rows > 0 && n_rows <= KV_TILE_TOKENS && dim > 0 && dim <= KV_HEAD_DIM_MAX);
    if (kind == KV_TILE_EXP4)
        return decode_exp4(codec, dtype, n_rows, dim, stored, stored_bytes, raw);
    const int64_t n_raw = raw_bytes(dtype, n_rows, dim);
    if (kind != KV_TILE_RAW || stored_bytes != n_raw) return false;
    memcpy(raw, stored, (size_t)n_raw);
    return true;
}

/* ---- sealed pages ---------------------------------------------------------------------------- */

int64_t kv_page_encode(kv_tile_codec *codec, bool is_promising, const void *raw, int64_t n_bytes,
        uint8_t *stored, kv_tile_kind *kind) {
    const bool is_tried = is_promising && codec->packing == KV_PACK_DENSE;
    const int64_t n = put_plane(codec, stored, raw, n_bytes, is_tried);
    *kind = n < n_bytes ? KV_TILE_ZSTD : KV_TILE_RAW;
    return n;
}

bool kv_page_decode(kv_tile_codec *codec, kv_tile_kind kind, const uint8_t *stored,
        int64_t stored_bytes, void *raw, int64_t n_bytes) {
    if (kind != (stored_bytes < n_bytes ? KV_TILE_ZSTD : KV_TILE_RAW)) return false;
    const uint8_t *bytes = get_plane(codec, stored, stored_bytes, n_bytes, raw);
    if (!bytes) return false;
    if (bytes != raw) memcpy(raw, bytes, (size_t)n_bytes);
    return true;
}
