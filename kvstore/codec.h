/* Runs: the store's unit of I/O, lossless, checksummed and bound to their address.
 *
 * A run is what one layer and KV head hold for up to 4096 tokens. Raw it is canonical rows,
 * [K|V][token][head_dim], little-endian; stored it is a header and one compressed tile for every 256 tokens of
 * K and of V. Of lossy types it is sealed pages of 128 tokens instead, opaque bytes of a fixed size (an
 * unfinished last one is zeros), each a tile: of int8 and int4 stored as they are, there is next to nothing
 * left to compress; of fp8 through zstd, unless that is left out. What comes back is what went in, bit for bit,
 * whatever the values mean and whichever instruction set decodes; anything else is RT_ECORRUPT. Private to
 * kvstore. */
#ifndef KV_CODEC_H
#define KV_CODEC_H

#include "runtime/base/float16.h"
#include "runtime/base/machine.h"
#include "runtime/base/status.h"

enum {
    KV_RUN_TOKENS = 4096,
    KV_TILE_TOKENS = 256,
    KV_SEALED_TOKENS = 128, /* of a sealed page */
    KV_HEAD_DIM_MAX = 256,
    KV_STORED_ALIGN = 4096 /* stored runs are whole blocks of O_DIRECT */
};

/* Where a run belongs. Every field is in the checksum: a run read from the wrong place, of another
 * session or of an earlier write fails like a damaged one. */
typedef struct kv_run_address {
    uint8_t chain[32];   /* the book's chain hash, or the session's salt */
    uint64_t generation; /* of this place, where places are written again; else 0 */
    int64_t first_pos;
    int32_t layer;
    int32_t kv_head;
} kv_run_address;

typedef struct kv_run_shape {
    rt_dtype dtype;
    int32_t head_dim; /* 1 .. KV_HEAD_DIM_MAX */
    int32_t n_tokens; /* 1 .. KV_RUN_TOKENS */
} kv_run_shape;

/* Whether runs of this type are sealed pages, and the bytes of one. */
bool kv_dtype_is_sealed(rt_dtype dtype);
int64_t kv_sealed_page_bytes(rt_dtype dtype, int32_t head_dim);

/* Bytes of a run as it is in memory: K, then V. */
int64_t kv_run_raw_bytes(const kv_run_shape *shape);
/* The most a stored run can take; a multiple of KV_STORED_ALIGN. */
int64_t kv_run_stored_bytes_max(const kv_run_shape *shape);

/* Contexts and scratch of one thread, about 1 MiB; nothing is allocated after this.
 * Errors: RT_ENOMEM. `isa` is at most rt_machine_isa(). */
typedef struct kv_codec kv_codec;
RT_MUST_CHECK rt_status kv_codec_create(rt_isa isa, kv_codec **out);
void kv_codec_free(kv_codec *codec);

/* How kv_run_encode packs from here on; KV_PACK_DENSE until it is said. Content does not depend on it,
 * and kv_run_decode reads both. */
typedef enum kv_packing {
    KV_PACK_DENSE, /* planes through zstd where that shrinks them: the least disk */
    KV_PACK_PLAIN /* planes as they are: about a tenth more disk for KV like the 9B's, a fraction of
                    * the CPU to read it */
} kv_packing;
void kv_codec_pack(kv_codec *codec, kv_packing packing);

/* raw, kv_run_raw_bytes() -> stored, room for kv_run_stored_bytes_max(). Cannot fail: what does not
 * shrink is stored as it is. Returns the bytes stored, a multiple of KV_STORED_ALIGN. */
int64_t kv_run_encode(kv_codec *codec, const kv_run_address *address, const kv_run_shape *shape,
        const void *raw, void *stored);

/* The same in steps, in any order and by several threads, each with a codec of its own that packs alike: rows [first,
 * first + KV_TILE_TOKENS), fewer at the run's end, as kv_run_decode_rows gives them, to their place in `stored`; then, once
 * all are there, the run is packed. The bytes are those of kv_run_encode. */
void kv_run_encode_rows(kv_codec *codec, const kv_run_shape *shape, int32_t first, const void *k,
        const void *v, void *stored);
int64_t kv_run_pack(
        kv_codec *codec, const kv_run_address *address, const kv_run_shape *shape, void *stored);

/* The way back. On failure `raw` is unspecified and must not be attended to.
 *
 * Errors: RT_ECORRUPT  anything but the run that was stored at this address, in this shape */
RT_MUST_CHECK rt_status kv_run_decode(kv_codec *codec, const kv_run_address *address,
        const kv_run_shape *shape, const void *stored, int64_t stored_bytes, void *raw);

/* The same in steps, so that rows are used while they are in the caches: the check of everything but
 * what is inside the tiles, then rows [first, first + KV_TILE_TOKENS) of a run that passed it, fewer at its
 * end; `first` is a multiple of that. k and v: [rows][head_dim]; sealed pages go to k, v is unused. */
RT_MUST_CHECK rt_status kv_run_check(const kv_codec *codec, const kv_run_address *address,
        const kv_run_shape *shape, const void *stored, int64_t stored_bytes);
RT_MUST_CHECK rt_status kv_run_decode_rows(kv_codec *codec, const kv_run_address *address,
        const kv_run_shape *shape, const void *stored, int32_t first, void *k, void *v);

/* Recompute the checksum over stored bytes: the last step of kv_run_encode, and how tests get past
 * it to the checks behind. stored_bytes >= KV_STORED_ALIGN. */
void kv_run_seal(
        kv_codec *codec, const kv_run_address *address, void *stored, int64_t stored_bytes);

#endif
