/* The segment file's own parts, between bytes and numbers: header, index, footer. No I/O here; every
 * byte may be hostile. The layout is in segment_format.c. Private to kvstore. */
#ifndef KV_SEGMENT_FORMAT_H
#define KV_SEGMENT_FORMAT_H

#include "chain.h"
#include "codec.h"

enum {
    KV_SEGMENT_TOKENS = KV_RUN_TOKENS, /* the most; only a book's last segment has fewer */
    KV_BLOCK_BYTES = 4096,
    KV_DTYPE_LAST = RT_FP8, /* what kv_run_decode knows */
    KV_SEGMENT_LAYERS_MAX = 4096,
    KV_SEGMENT_HEADS_MAX = 4096,
    KV_SEGMENT_RUNS_MAX = 1 << 16
};

/* What every segment of one model looks like. `dtype` is what a run's values are; only the codec
 * looks inside. */
typedef struct kv_segment_shape {
    int32_t dtype; /* rt_dtype */
    int32_t n_layers;
    int32_t n_kv_heads;
    int32_t head_dim;
} kv_segment_shape;

/* Which KV heads of a model: those of one rank, from `first` on. all 0: every one. Runs are addressed by
 * a head's number in the whole model, so that they can move from one rank's file to another's. */
typedef struct kv_heads {
    int32_t first;
    int32_t all;
} kv_heads;

typedef struct kv_segment_header {
    kv_hash fingerprint;
    kv_hash parent;
    kv_hash chain;
    int64_t first_pos;
    int32_t n_tokens;
    kv_segment_shape shape;
    kv_heads heads;
    int64_t created_s; /* seconds since 1970 */
} kv_segment_header;

typedef struct kv_run_place {
    int64_t offset;
    int64_t n_bytes; /* 0: not there, in a suspended segment */
} kv_run_place;

typedef struct kv_segment_footer {
    bool is_complete; /* else suspended: some layers are missing */
    int64_t index_offset;
    int64_t file_bytes;
    uint64_t index_checksum;
    uint64_t header_checksum;
    kv_hash chain;
} kv_segment_footer;

/* Where things are. */
int64_t kv_segment_runs_offset(int32_t n_tokens);
int64_t kv_segment_index_bytes(const kv_segment_shape *shape); /* whole blocks */
int64_t kv_segment_run_bytes_max(const kv_segment_shape *shape, int32_t n_tokens);
/* The largest a segment file can be. */
int64_t kv_segment_bytes_max(const kv_segment_shape *shape, int32_t n_tokens);
/* Whether all of these sizes are in range. */
bool kv_segment_shape_is_valid(const kv_segment_shape *shape);
bool kv_heads_are_valid(const kv_heads *heads, int32_t n_kv_heads);

/* What kv_run_encode and kv_run_decode need of a run, and of all of a segment. */
kv_run_address kv_segment_run_address(
        const kv_segment_header *header, int32_t layer, int32_t kv_head);
kv_run_shape kv_segment_run_shape(const kv_segment_header *header);

/* Of a block that begins with it: of all behind it. */
uint64_t kv_block_checksum(const void *block);
/* Write one block; returns its checksum. */
uint64_t kv_segment_write_header(const kv_segment_header *header, uint8_t block[KV_BLOCK_BYTES]);
void kv_segment_write_footer(const kv_segment_footer *footer, uint8_t block[KV_BLOCK_BYTES]);
/* places [n_layers][n_kv_heads] -> index, kv_segment_index_bytes(); returns its checksum. */
uint64_t kv_segment_write_index(
        const kv_segment_shape *shape, const kv_run_place *places, uint8_t *index);

/* Errors: RT_ECORRUPT      not what was written; the text names the field
 *         RT_EUNSUPPORTED  a later version's */
RT_MUST_CHECK rt_status kv_segment_read_header(
        const uint8_t block[KV_BLOCK_BYTES], kv_segment_header *out, uint64_t *checksum);
/* Fits the header, and a file of file_bytes. */
RT_MUST_CHECK rt_status kv_segment_read_footer(const uint8_t block[KV_BLOCK_BYTES],
        const kv_segment_header *header, uint64_t header_checksum, int64_t file_bytes,
        kv_segment_footer *out);
/* The runs fill the room between tokens and index exactly, those of a layer side by side. */
RT_MUST_CHECK rt_status kv_segment_read_index(const uint8_t *index, const kv_segment_header *header,
        const kv_segment_footer *footer, kv_run_place *places);

#endif
