/* One tile: up to 256 tokens of one head's K or V <-> bytes. Private to the codec. */
#ifndef KV_CODEC_TILE_H
#define KV_CODEC_TILE_H

#include "codec.h"
#include "codec_simd.h"

/* How a tile is stored. */
typedef enum kv_tile_kind {
    KV_TILE_RAW = 0,
    KV_TILE_EXP4 = 1, /* of rows */
    KV_TILE_ZSTD = 2  /* of sealed pages: one frame, with zstd's own checksum */
} kv_tile_kind;

/* Contexts and scratch of one thread. */
typedef struct kv_tile_codec kv_tile_codec;
/* Errors: RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_tile_codec_create(const kv_codec_kernels *kernels, kv_tile_codec **out);
void kv_tile_codec_free(kv_tile_codec *codec);

/* What kv_tile_encode does from here on; KV_PACK_DENSE at first. */
void kv_tile_codec_pack(kv_tile_codec *codec, kv_packing packing);

/* n_rows x dim values of `dtype` at `raw` -> at most as many bytes at `stored`. Returns how many. */
int64_t kv_tile_encode(kv_tile_codec *codec, rt_dtype dtype, int32_t n_rows, int32_t dim,
        const void *raw, uint8_t *stored, kv_tile_kind *kind);

/* The way back; false when `stored` is not exactly one tile of this size. Safe on any bytes. */
bool kv_tile_decode(kv_tile_codec *codec, rt_dtype dtype, int32_t n_rows, int32_t dim,
        kv_tile_kind kind, const uint8_t *stored, int64_t stored_bytes, void *raw);

/* The same of a sealed page, n_bytes of codes and scales. Where it `is_promising`, and packing is dense, zstd is
 * tried: its sign and mantissa are noise, but e4m3's exponents are not. */
int64_t kv_page_encode(kv_tile_codec *codec, bool is_promising, const void *raw, int64_t n_bytes,
        uint8_t *stored, kv_tile_kind *kind);
bool kv_page_decode(kv_tile_codec *codec, kv_tile_kind kind, const uint8_t *stored,
        int64_t stored_bytes, void *raw, int64_t n_bytes);

#endif
