/* The stored run, by byte offset; every number little-endian:
 *
 *      0  u64  checksum: XXH3-64 of bytes 8 .. stored_bytes, seeded with XXH3-64 of the address
 *      8  u32  magic "KVR1"
 *     12  u16  format version, 1
 *     14  u8   dtype (rt_dtype)
 *     15  u8   0
 *     16  u32  head_dim
 *     20  u32  n_tokens
 *     24  u32  tokens of a tile, 256; of a sealed page, 128
 *     28  u32  n_tiles = 2 ceil(n_tokens / 256): those of K, then those of V; or ceil(n_tokens / 128)
 *     32  u64  stored_bytes, a multiple of 4096
 *     40  i64  first_pos    \
 *     48  u32  layer         } part of the address, to name a run that is found in a wrong place
 *     52  u32  kv_head      /
 *     56  u64  0
 *     64       n_tiles x { u32 bytes as stored, u32 kind }
 *     ...      tiles in that order, each at a multiple of 64; zeros between and after them
 *
 * The checksum is compared before anything else is believed; what follows it is checked all the
 * same, since a writer can be wrong too. */
#include "codec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec_tile.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

/* A test builds this file with the checksum unread, to see that every kind of test notices. */
#ifndef KV_MUTANT_UNCHECKED
#define KV_MUTANT_UNCHECKED 0
#endif

enum {
    MAGIC = 0x3152564b, /* "KVR1" */
    VERSION = 1,
    TILE_ALIGN = 64
};

typedef struct run_header {
    uint64_t checksum;
    uint32_t magic;
    uint16_t version;
    uint8_t dtype;
    uint8_t zero_15;
    uint32_t head_dim;
    uint32_t n_tokens;
    uint32_t tile_tokens;
    uint32_t n_tiles;
    uint64_t stored_bytes;
    int64_t first_pos;
    uint32_t layer;
    uint32_t kv_head;
    uint64_t zero_56;
} run_header;

typedef struct tile_entry {
    uint32_t n_bytes;
    uint32_t kind;
} tile_entry;

_Static_assert(sizeof(run_header) == 64 && sizeof(tile_entry) == 8, "as laid out above");
_Static_assert(sizeof(kv_run_address) == 56, "no padding: the address is hashed as it lies");

struct kv_codec {
    const kv_codec_kernels *kernels;
    kv_tile_codec *tiles;
};

/* ---- sizes ----------------------------------------------------------------------------------- */

static void check_shape(const kv_run_shape *shape) {
    rt_assert(shape->head_dim > 0 && shape->head_dim <= KV_HEAD_DIM_MAX);
    rt_assert(shape->n_tokens > 0 && shape->n_tokens <= KV_RUN_TOKENS);
}

bool kv_dtype_is_sealed(rt_dtype dtype) {
    return dtype == RT_INT8 || dtype == RT_INT4 || dtype == RT_FP8;
}

/* Codes, a scale and a zero for every 64 of them; of fp8 16 bytes with the two scales. Laid out by attention. */
int64_t kv_sealed_page_bytes(rt_dtype dtype, int32_t head_dim) {
    const int64_t codes = KV_SEALED_TOKENS * (int64_t)head_dim * rt_dtype_bits(dtype) / 8;
    if (dtype == RT_FP8) return 2 * codes + 16;
    const int64_t of_keys = 2 * 2 * 2 * (int64_t)head_dim;
    const int64_t of_values = 2 * 2 * KV_SEALED_TOKENS * rt_div_up(head_dim, 64);
    return 2 * codes + of_keys + of_values;
}

static int32_t tile_tokens(const kv_run_shape *shape) {
    return kv_dtype_is_sealed(shape->dtype) ? KV_SEALED_TOKENS : KV_TILE_TOKENS;
}

/* Tiles side by side: K has as many as V, and of sealed pages there is one for both. */
static int32_t n_across(const kv_run_shape *shape) {
    return (int32_t)rt_div_up(shape->n_tokens, tile_tokens(shape));
}

static int32_t n_tiles_of(const kv_run_shape *shape) {
    return (kv_dtype_is_sealed(shape->dtype) ? 1 : 2) * n_across(shape);
}

/* Rows of tile i, of K and V counted through. */
static int32_t rows_of(const kv_run_shape *shape, int32_t i) {
    const int32_t first = i % n_across(shape) * KV_TILE_TOKENS;
    return (int32_t)rt_min64(shape->n_tokens - first, KV_TILE_TOKENS);
}

static int64_t row_bytes(const kv_run_shape *shape) {
    return shape->head_dim * rt_dtype_bytes(shape->dtype);
}

/* Offset of tile i in the raw run. */
static int64_t raw_offset(const kv_run_shape *shape, int32_t i) {
    if (kv_dtype_is_sealed(shape->dtype))
        return i * kv_sealed_page_bytes(shape->dtype, shape->head_dim);
    const int32_t n = n_across(shape);
    const int64_t row = (int64_t)(i / n) * shape->n_tokens + (int64_t)(i % n) * KV_TILE_TOKENS;
    return row * row_bytes(shape);
}

/* Where the first tile starts. */
static int64_t tiles_offset(int32_t n_tiles) {
    return rt_round_up(
            (int64_t)sizeof(run_header) + n_tiles * (int64_t)sizeof(tile_entry), TILE_ALIGN);
}

int64_t kv_run_raw_bytes(const kv_run_shape *shape) {
    check_shape(shape);
    if (kv_dtype_is_sealed(shape->dtype)) return raw_offset(shape, n_tiles_of(shape));
    return 2 * shape->n_tokens * row_bytes(shape);
}

int64_t kv_run_stored_bytes_max(const kv_run_shape *shape) {
    check_shape(shape);
    const int32_t n_tiles = n_tiles_of(shape);
    return rt_round_up(
            tiles_offset(n_tiles) + kv_run_raw_bytes(shape) + n_tiles * (int64_t)TILE_ALIGN,
            KV_STORED_ALIGN);
}

/* ---- the codec ------------------------------------------------------------------------------- */

static const kv_codec_kernels *kernels_for(rt_isa isa) {
    rt_assert(isa <= rt_machine_isa());
#if defined(__x86_64__)
    if (isa >= RT_ISA_AVX512) return &kv_codec_kernels_avx512;
    if (isa == RT_ISA_AVX2) return &kv_codec_kernels_avx2;
#endif
    return &kv_codec_kernels_portable;
}

rt_status kv_codec_create(rt_isa isa, kv_codec **out) {
    kv_codec *codec = NULL;
    RT_TRY(rt_calloc(1, sizeof *codec, "the KV codec", &codec));
    codec->kernels = kernels_for(isa);
    const rt_status status = kv_tile_codec_create(codec->kernels, &codec->tiles);
    if (status != RT_OK) {
        free(codec);
        return status;
    }
    *out = codec;
    return RT_OK;
}

void kv_codec_pack(kv_codec *codec, kv_packing packing) {
    kv_tile_codec_pack(codec->tiles, packing);
}

void kv_codec_free(kv_codec *codec) {
    if (!codec) return;
    kv_tile_codec_free(codec->tiles);
    free(codec);
}

static uint64_t checksum_of(const kv_codec *codec, const kv_run_address *address,
        const uint8_t *stored, int64_t stored_bytes) {
    const uint64_t seed = codec->kernels->hash(address, sizeof *address, 0);
    return codec->kernels->hash(stored + sizeof seed, stored_bytes - (int64_t)sizeof seed, seed);
}

void kv_run_seal(
        kv_codec *codec, const kv_run_address *address, void *stored, int64_t stored_bytes) {
    rt_assert(stored_bytes >= KV_STORED_ALIGN);
    const uint64_t checksum = checksum_of(codec, address, stored, stored_bytes);
    memcpy(stored, &checksum, sizeof checksum);
}

static tile_entry entry_of(const uint8_t *stored, int32_t i) {
    tile_entry entry;
    memcpy(&entry, stored + sizeof(run_header) + (size_t)i * sizeof entry, sizeof entry);
    return entry;
}

/* ---- encode ---------------------------------------------------------------------------------- */

/* Zeros from *at to the next multiple of `align`. */
static void pad(uint8_t *stored, int64_t *at, int64_t align) {
    const int64_t end = rt_round_up(*at, align);
    memset(stored + *at, 0, (size_t)(end - *at));
    *at = end;
}

static run_header header_for(
        const kv_run_address *address, const kv_run_shape *shape, int64_t stored_bytes) {
    return (run_header){.magic = MAGIC,
            .version = VERSION,
            .dtype = (uint8_t)shape->dtype,
            .head_dim = (uint32_t)shape->head_dim,
            .n_tokens = (uint32_t)shape->n_tokens,
            .tile_tokens = (uint32_t)tile_tokens(shape),
            .n_tiles = (uint32_t)n_tiles_of(shape),
            .stored_bytes = (uint64_t)stored_bytes,
            .first_pos = address->first_pos,
            .layer = (uint32_t)address->layer,
            .kv_head = (uint32_t)address->kv_head};
}

static int64_t encode_tile(kv_codec *codec, const kv_run_shape *shape, int32_t i,
        const uint8_t *tile, uint8_t *stored, kv_tile_kind *kind) {
    if (!kv_dtype_is_sealed(shape->dtype))
        return kv_tile_encode(
                codec->tiles, shape->dtype, rows_of(shape, i), shape->head_dim, tile, stored, kind);
    const int64_t n_bytes = kv_sealed_page_bytes(shape->dtype, shape->head_dim);
    return kv_page_encode(codec->tiles, shape->dtype == RT_FP8, tile, n_bytes, stored, kind);
}

/* Where tile i is encoded to: no tile can reach the next one, and when they are packed each moves towards the start. */
static int64_t spread_offset(const kv_run_shape *shape, int32_t i) {
    return tiles_offset(n_tiles_of(shape)) + rt_round_up(raw_offset(shape, i), TILE_ALIGN) +
           i * (int64_t)TILE_ALIGN;
}

static void encode_at(kv_codec *codec, const kv_run_shape *shape, int32_t i, const uint8_t *tile,
        uint8_t *stored) {
    kv_tile_kind kind;
    const int64_t n = encode_tile(codec, shape, i, tile, stored + spread_offset(shape, i), &kind);
    const tile_entry entry = {.n_bytes = (uint32_t)n, .kind = kind};
    memcpy(stored + sizeof(run_header) + (size_t)i * sizeof entry, &entry, sizeof entry);
}

void kv_run_encode_rows(kv_codec *codec, const kv_run_shape *shape, int32_t first, const void *k,
        const void *v, void *stored) {
    rt_assert(first >= 0 && first < shape->n_tokens && first % KV_TILE_TOKENS == 0);
    const int32_t i = first / tile_tokens(shape);
    if (!kv_dtype_is_sealed(shape->dtype)) {
        encode_at(codec, shape, i, k, stored);
        encode_at(codec, shape, n_across(shape) + i, v, stored);
        return;
    }
    const int32_t end = (int32_t)rt_min64(i + KV_TILE_TOKENS / KV_SEALED_TOKENS, n_across(shape));
    for (int32_t page = i; page < end; page++)
        encode_at(codec, shape, page,
                (const uint8_t *)k + raw_offset(shape, page) - raw_offset(shape, i), stored);
}

int64_t kv_run_pack(
        kv_codec *codec, const kv_run_address *address, const kv_run_shape *shape, void *stored) {
    uint8_t *to = stored;
    const int32_t n_tiles = n_tiles_of(shape);
    int64_t at = (int64_t)sizeof(run_header) + n_tiles * (int64_t)sizeof(tile_entry);
    for (int32_t i = 0; i < n_tiles; i++) {
        const int64_t n_bytes = entry_of(stored, i).n_bytes;
        pad(to, &at, TILE_ALIGN);
        memmove(to + at, to + spread_offset(shape, i), (size_t)n_bytes);
        at += n_bytes;
    }
    pad(to, &at, KV_STORED_ALIGN);
    const run_header header = header_for(address, shape, at);
    memcpy(to, &header, sizeof header);
    kv_run_seal(codec, address, stored, at);
    return at;
}

int64_t kv_run_encode(kv_codec *codec, const kv_run_address *address, const kv_run_shape *shape,
        const void *raw, void *stored) {
    check_shape(shape);
    for (int32_t i = 0; i < n_tiles_of(shape); i++)
        encode_at(codec, shape, i, (const uint8_t *)raw + raw_offset(shape, i), stored);
    return kv_run_pack(codec, address, shape, stored);
}

/* ---- decode ---------------------------------------------------------------------------------- */

static rt_status corrupt(
        const kv_run_address *address, const char *what, uint64_t found, uint64_t expected) {
    return rt_fail(RT_ECORRUPT,
            "kvstore: run of layer %" PRId32 ", KV head %" PRId32 ", position %" PRId64
            ": %s is %" PRIx64 " (hex), expected %" PRIx64,
            address->layer, address->kv_head, address->first_pos, what, found, expected);
}

static rt_status check_checksum(const kv_codec *codec, const kv_run_address *address,
        const uint8_t *stored, int64_t stored_bytes, const run_header *header) {
    if (KV_MUTANT_UNCHECKED) return RT_OK;
    const uint64_t checksum = checksum_of(codec, address, stored, stored_bytes);
    if (checksum == header->checksum) return RT_OK;
    return rt_fail(RT_ECORRUPT,
            "kvstore: run of layer %" PRId32 ", KV head %" PRId32 ", position %" PRId64
            ": checksum %016" PRIx64 ", stored %016" PRIx64 "; it calls itself layer %" PRIu32
            ", KV head %" PRIu32 ", position %" PRId64,
            address->layer, address->kv_head, address->first_pos, checksum, header->checksum,
            header->layer, header->kv_head, header->first_pos);
}

static rt_status check_header(
        const kv_run_address *address, const kv_run_shape *shape, const run_header *header) {
    run_header expected = header_for(address, shape, (int64_t)header->stored_bytes);
    expected.checksum = header->checksum;
    if (header->magic != expected.magic)
        return corrupt(address, "the magic", header->magic, expected.magic);
    if (header->version != expected.version)
        return corrupt(address, "the format version", header->version, expected.version);
    if (header->dtype != expected.dtype)
        return corrupt(address, "the dtype", header->dtype, expected.dtype);
    if (header->head_dim != expected.head_dim)
        return corrupt(address, "head_dim", header->head_dim, expected.head_dim);
    if (header->n_tokens != expected.n_tokens)
        return corrupt(address, "the token count", header->n_tokens, expected.n_tokens);
    if (memcmp(header, &expected, sizeof expected) != 0)
        return corrupt(address, "one of the other header fields", 1, 0);
    return RT_OK;
}

/* Where tile i starts. */
static int64_t tile_offset(const uint8_t *stored, int32_t n_tiles, int32_t i) {
    int64_t at = tiles_offset(n_tiles);
    for (int32_t before = 0; before < i; before++)
        at = rt_round_up(at + entry_of(stored, before).n_bytes, TILE_ALIGN);
    return at;
}

static rt_status check_table(const kv_run_address *address, const kv_run_shape *shape,
        const uint8_t *stored, int64_t stored_bytes) {
    const int32_t n_tiles = n_tiles_of(shape);
    int64_t at = tiles_offset(n_tiles);
    for (int32_t i = 0; i < n_tiles; i++) {
        const tile_entry entry = entry_of(stored, i);
        if (at > stored_bytes || entry.n_bytes > stored_bytes - at)
            return corrupt(address, "the end of a tile", (uint64_t)at + entry.n_bytes,
                    (uint64_t)stored_bytes);
        at = rt_round_up(at + entry.n_bytes, TILE_ALIGN);
    }
    if (rt_round_up(at, KV_STORED_ALIGN) != stored_bytes)
        return corrupt(address, "the end of the tiles", (uint64_t)at, (uint64_t)stored_bytes);
    return RT_OK;
}

rt_status kv_run_check(const kv_codec *codec, const kv_run_address *address,
        const kv_run_shape *shape, const void *stored, int64_t stored_bytes) {
    check_shape(shape);
    if (stored_bytes < KV_STORED_ALIGN || stored_bytes > kv_run_stored_bytes_max(shape) ||
            stored_bytes % KV_STORED_ALIGN)
        return corrupt(address, "the stored size", (uint64_t)stored_bytes,
                (uint64_t)kv_run_stored_bytes_max(shape));
    run_header header;
    memcpy(&header, stored, sizeof header);
    if (header.stored_bytes != (uint64_t)stored_bytes)
        return corrupt(address, "stored_bytes", header.stored_bytes, (uint64_t)stored_bytes);
    RT_TRY(check_checksum(codec, address, stored, stored_bytes, &header));
    RT_TRY(check_header(address, shape, &header));
    return check_table(address, shape, stored, stored_bytes);
}

static bool decode_tile(kv_codec *codec, const kv_run_shape *shape, int32_t i,
        const tile_entry *entry, const uint8_t *stored, uint8_t *tile) {
    if (!kv_dtype_is_sealed(shape->dtype))
        return kv_tile_decode(codec->tiles, shape->dtype, rows_of(shape, i), shape->head_dim,
                (kv_tile_kind)entry->kind, stored, entry->n_bytes, tile);
    const int64_t n_bytes = kv_sealed_page_bytes(shape->dtype, shape->head_dim);
    return kv_page_decode(
            codec->tiles, (kv_tile_kind)entry->kind, stored, entry->n_bytes, tile, n_bytes);
}

static rt_status decode_at(kv_codec *codec, const kv_run_address *address,
        const kv_run_shape *shape, const uint8_t *stored, int32_t i, uint8_t *tile) {
    const tile_entry entry = entry_of(stored, i);
    const int64_t at = tile_offset(stored, n_tiles_of(shape), i);
    if (decode_tile(codec, shape, i, &entry, stored + at, tile)) return RT_OK;
    return corrupt(address, "a tile that cannot be read", (uint64_t)i, 0);
}

rt_status kv_run_decode_rows(kv_codec *codec, const kv_run_address *address,
        const kv_run_shape *shape, const void *stored, int32_t first, void *k, void *v) {
    rt_assert(first >= 0 && first < shape->n_tokens && first % KV_TILE_TOKENS == 0);
    const int32_t i = first / tile_tokens(shape);
    if (!kv_dtype_is_sealed(shape->dtype)) {
        RT_TRY(decode_at(codec, address, shape, stored, i, k));
        return decode_at(codec, address, shape, stored, n_across(shape) + i, v);
    }
    const int32_t end = (int32_t)rt_min64(i + KV_TILE_TOKENS / KV_SEALED_TOKENS, n_across(shape));
    for (int32_t page = i; page < end; page++)
        RT_TRY(decode_at(codec, address, shape, stored, page,
                (uint8_t *)k + raw_offset(shape, page) - raw_offset(shape, i)));
    return RT_OK;
}

rt_status kv_run_decode(kv_codec *codec, const kv_run_address *address, const kv_run_shape *shape,
        const void *stored, int64_t stored_bytes, void *raw) {
    RT_TRY(kv_run_check(codec, address, shape, stored, stored_bytes));
    for (int32_t i = 0; i < n_tiles_of(shape); i++)
        RT_TRY(decode_at(codec, address, shape, stored, i, (uint8_t *)raw + raw_offset(shape, i)));
    return RT_OK;
}
