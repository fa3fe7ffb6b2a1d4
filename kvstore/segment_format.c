/* A segment file, by byte offset; every number little-endian, every part whole blocks of 4096:
 *
 *   header, one block
 *      0  u64  checksum: XXH3-64 of bytes 8 .. 4096
 *      8  u32  magic "KVS1"
 *     12  u16  format version, 1
 *     14  u16  0x0102, which another byte order would read as 0x0201
 *     16  u8   fingerprint[32]
 *     48  u8   parent[32]: the chain hash of the segment before, or the root
 *     80  u8   chain[32]: this segment's own, which is also the file's name
 *    112  i64  first_pos, a multiple of 4096
 *    120  i32  n_tokens, 1 .. 4096
 *    124  i32  dtype of the runs
 *    128  i32  n_layers
 *    132  i32  n_kv_heads in this file, a run each
 *    136  i32  head_dim
 *    140  u32  tokens of a full segment, 4096
 *    144  u32  tokens of a tile, 256
 *    148  u32  runs start and end at multiples of this, 4096
 *    152  i64  created, seconds since 1970
 *    160  i32  number of the first KV head, 0 unless the file is one rank's part of a model,
 *    164  i32  that has so many; 0: the file holds all there are
 *    168       zeros
 *   token ids, i32[n_tokens], then zeros
 *   runs, as codec.c lays them out; layers in any order, the heads of a layer side by side
 *   index: {i64 offset, i64 bytes} [n_layers][n_kv_heads], then zeros; {0, 0}: not there (suspended)
 *   footer, one block
 *      0  u64  checksum: XXH3-64 of bytes 8 .. 4096
 *      8  u32  magic: "KVSC" complete, "KVSP" suspended
 *     12  u32  format version, 1
 *     16  i64  offset of the index
 *     24  i64  bytes of the file
 *     32  u64  XXH3-64 of the index, zeros included
 *     40  u64  checksum of the header
 *     48  u8   chain[32]
 *     80       zeros
 *
 * The footer is written last and the file gets its name after a sync, so a file with a name and a
 * footer is whole. Token ids are checked by the chain hash itself, runs by their own checksums. */
#include "segment_format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/size.h"

/* Tests build this file with a check gone, to see that the fuzz targets notice. */
#ifndef KV_MUTANT_SEGMENT
#define KV_MUTANT_SEGMENT 0
#endif
enum { MUTANT_HEADER = 1, MUTANT_INDEX = 2 };

enum {
    MAGIC = 0x3153564b,           /* "KVS1" */
    MAGIC_COMPLETE = 0x4353564b,  /* "KVSC" */
    MAGIC_SUSPENDED = 0x5053564b, /* "KVSP" */
    VERSION = 1,
    ENDIAN = 0x0102
};

typedef struct header_block {
    uint64_t checksum;
    uint32_t magic;
    uint16_t version;
    uint16_t endian;
    kv_hash fingerprint, parent, chain;
    int64_t first_pos;
    int32_t n_tokens;
    int32_t dtype;
    int32_t n_layers;
    int32_t n_kv_heads;
    int32_t head_dim;
    uint32_t segment_tokens;
    uint32_t tile_tokens;
    uint32_t run_align;
    int64_t created_s;
    int32_t first_kv_head;
    int32_t all_kv_heads;
    uint8_t zeros[KV_BLOCK_BYTES - 168];
} header_block;

typedef struct footer_block {
    uint64_t checksum;
    uint32_t magic;
    uint32_t version;
    int64_t index_offset;
    int64_t file_bytes;
    uint64_t index_checksum;
    uint64_t header_checksum;
    kv_hash chain;
    uint8_t zeros[KV_BLOCK_BYTES - 80];
} footer_block;

_Static_assert(sizeof(header_block) == KV_BLOCK_BYTES, "as laid out above");
_Static_assert(sizeof(footer_block) == KV_BLOCK_BYTES, "as laid out above");
_Static_assert(sizeof(kv_run_place) == 16, "as laid out above");

/* ---- sizes ----------------------------------------------------------------------------------- */

static int64_t n_runs_of(const kv_segment_shape *shape) {
    return (int64_t)shape->n_layers * shape->n_kv_heads;
}

bool kv_segment_shape_is_valid(const kv_segment_shape *shape) {
    return shape->dtype >= 0 && shape->dtype <= KV_DTYPE_LAST && shape->n_layers > 0 &&
           shape->n_layers <= KV_SEGMENT_LAYERS_MAX && shape->n_kv_heads > 0 &&
           shape->n_kv_heads <= KV_SEGMENT_HEADS_MAX && n_runs_of(shape) <= KV_SEGMENT_RUNS_MAX &&
           shape->head_dim > 0 && shape->head_dim <= KV_HEAD_DIM_MAX;
}

bool kv_heads_are_valid(const kv_heads *heads, int32_t n_kv_heads) {
    if (heads->all == 0) return heads->first == 0;
    return heads->all <= KV_SEGMENT_HEADS_MAX && heads->first >= 0 && n_kv_heads > 0 &&
           n_kv_heads < heads->all && heads->first <= heads->all - n_kv_heads;
}

int64_t kv_segment_runs_offset(int32_t n_tokens) {
    return KV_BLOCK_BYTES + rt_round_up(n_tokens * (int64_t)sizeof(int32_t), KV_BLOCK_BYTES);
}

int64_t kv_segment_index_bytes(const kv_segment_shape *shape) {
    return rt_round_up(n_runs_of(shape) * (int64_t)sizeof(kv_run_place), KV_BLOCK_BYTES);
}

int64_t kv_segment_run_bytes_max(const kv_segment_shape *shape, int32_t n_tokens) {
    const kv_run_shape run = {
            .dtype = (rt_dtype)shape->dtype, .head_dim = shape->head_dim, .n_tokens = n_tokens};
    return kv_run_stored_bytes_max(&run);
}

int64_t kv_segment_bytes_max(const kv_segment_shape *shape, int32_t n_tokens) {
    return kv_segment_runs_offset(n_tokens) +
           n_runs_of(shape) * kv_segment_run_bytes_max(shape, n_tokens) +
           kv_segment_index_bytes(shape) + KV_BLOCK_BYTES;
}

kv_run_address kv_segment_run_address(
        const kv_segment_header *header, int32_t layer, int32_t kv_head) {
    kv_run_address address = {.first_pos = header->first_pos,
            .layer = layer,
            .kv_head = header->heads.first + kv_head};
    memcpy(address.chain, header->chain.bytes, sizeof address.chain);
    return address;
}

kv_run_shape kv_segment_run_shape(const kv_segment_header *header) {
    return (kv_run_shape){.dtype = (rt_dtype)header->shape.dtype,
            .head_dim = header->shape.head_dim,
            .n_tokens = header->n_tokens};
}

/* ---- write ----------------------------------------------------------------------------------- */

uint64_t kv_block_checksum(const void *block) {
    return XXH3_64bits(
            (const uint8_t *)block + sizeof(uint64_t), KV_BLOCK_BYTES - sizeof(uint64_t));
}

uint64_t kv_segment_write_header(const kv_segment_header *header, uint8_t block[KV_BLOCK_BYTES]) {
    header_block b = {.magic = MAGIC,
            .version = VERSION,
            .endian = ENDIAN,
            .fingerprint = header->fingerprint,
            .parent = header->parent,
            .chain = header->chain,
            .first_pos = header->first_pos,
            .n_tokens = header->n_tokens,
            .dtype = header->shape.dtype,
            .n_layers = header->shape.n_layers,
            .n_kv_heads = header->shape.n_kv_heads,
            .head_dim = header->shape.head_dim,
            .segment_tokens = KV_SEGMENT_TOKENS,
            .tile_tokens = KV_TILE_TOKENS,
            .run_align = KV_STORED_ALIGN,
            .created_s = header->created_s,
            .first_kv_head = header->heads.first,
            .all_kv_heads = header->heads.all};
    b.checksum = kv_block_checksum(&b);
    memcpy(block, &b, sizeof b);
    return b.checksum;
}

void kv_segment_write_footer(const kv_segment_footer *footer, uint8_t block[KV_BLOCK_BYTES]) {
    footer_block b = {.magic = footer->is_complete ? MAGIC_COMPLETE : MAGIC_SUSPENDED,
            .version = VERSION,
            .index_offset = footer->index_offset,
            .file_bytes = footer->file_bytes,
            .index_checksum = footer->index_checksum,
            .header_checksum = footer->header_checksum,
            .chain = footer->chain};
    b.checksum = kv_block_checksum(&b);
    memcpy(block, &b, sizeof b);
}

uint64_t kv_segment_write_index(
        const kv_segment_shape *shape, const kv_run_place *places, uint8_t *index) {
    const size_t n_bytes = (size_t)kv_segment_index_bytes(shape);
    const size_t n_used = (size_t)n_runs_of(shape) * sizeof *places;
    memcpy(index, places, n_used);
    memset(index + n_used, 0, n_bytes - n_used);
    return XXH3_64bits(index, n_bytes);
}

/* ---- read ------------------------------------------------------------------------------------ */

static rt_status corrupt(const char *what, int64_t found, int64_t expected) {
    return rt_fail(
            RT_ECORRUPT, "kvstore: %s is %" PRId64 ", expected %" PRId64, what, found, expected);
}

static bool is_zero(const uint8_t *bytes, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++)
        if (bytes[i]) return false;
    return true;
}

static rt_status check_checksum(const char *what, const void *block, uint64_t found) {
    const uint64_t checksum = kv_block_checksum(block);
    if (checksum == found) return RT_OK;
    return rt_fail(RT_ECORRUPT, "kvstore: %s: checksum %016" PRIx64 ", stored %016" PRIx64, what,
            checksum, found);
}

static rt_status check_version(const char *what, uint32_t version) {
    if (version == VERSION) return RT_OK;
    if (version > VERSION)
        return rt_fail(RT_EUNSUPPORTED,
                "kvstore: %s of format version %" PRIu32 "; this program knows version %d", what,
                version, VERSION);
    return corrupt("the format version", version, VERSION);
}

static rt_status check_header_numbers(const header_block *b) {
    if (b->first_pos < 0 || b->first_pos % KV_SEGMENT_TOKENS ||
            b->first_pos > INT64_MAX - 2 * KV_SEGMENT_TOKENS)
        return corrupt("the first position, a multiple of the segment,", b->first_pos, 0);
    if (b->n_tokens < 1 || (b->n_tokens > KV_SEGMENT_TOKENS && KV_MUTANT_SEGMENT != MUTANT_HEADER))
        return corrupt("the token count", b->n_tokens, KV_SEGMENT_TOKENS);
    if (b->segment_tokens != KV_SEGMENT_TOKENS)
        return corrupt("the size of a segment", b->segment_tokens, KV_SEGMENT_TOKENS);
    if (b->tile_tokens != KV_TILE_TOKENS)
        return corrupt("the size of a tile", b->tile_tokens, KV_TILE_TOKENS);
    if (b->run_align != KV_STORED_ALIGN)
        return corrupt("the alignment of runs", b->run_align, KV_STORED_ALIGN);
    if (!is_zero(b->zeros, sizeof b->zeros))
        return corrupt("what must be zero in the header", 1, 0);
    const kv_heads heads = {b->first_kv_head, b->all_kv_heads};
    if (!kv_heads_are_valid(&heads, b->n_kv_heads))
        return corrupt("the first KV head", b->first_kv_head, 0);
    return RT_OK;
}

rt_status kv_segment_read_header(
        const uint8_t block[KV_BLOCK_BYTES], kv_segment_header *out, uint64_t *checksum) {
    header_block b;
    memcpy(&b, block, sizeof b);
    if (b.magic != MAGIC) return corrupt("the header's magic", b.magic, MAGIC);
    RT_TRY(check_checksum("a segment's header", &b, b.checksum));
    if (b.endian != ENDIAN) return corrupt("the byte order", b.endian, ENDIAN);
    RT_TRY(check_version("a segment", b.version));
    RT_TRY(check_header_numbers(&b));
    *out = (kv_segment_header){.fingerprint = b.fingerprint,
            .parent = b.parent,
            .chain = b.chain,
            .first_pos = b.first_pos,
            .n_tokens = b.n_tokens,
            .shape = {.dtype = b.dtype,
                    .n_layers = b.n_layers,
                    .n_kv_heads = b.n_kv_heads,
                    .head_dim = b.head_dim},
            .heads = {.first = b.first_kv_head, .all = b.all_kv_heads},
            .created_s = b.created_s};
    if (b.dtype > KV_DTYPE_LAST)
        return rt_fail(RT_EUNSUPPORTED, "kvstore: a segment of values of kind %" PRId32, b.dtype);
    if (!kv_segment_shape_is_valid(&out->shape))
        return corrupt("layers x KV heads", n_runs_of(&out->shape), KV_SEGMENT_RUNS_MAX);
    *checksum = b.checksum;
    return RT_OK;
}

static rt_status check_footer_numbers(const footer_block *b, const kv_segment_header *header,
        uint64_t header_checksum, int64_t file_bytes) {
    const int64_t index_bytes = kv_segment_index_bytes(&header->shape);
    const int64_t index_offset = file_bytes - KV_BLOCK_BYTES - index_bytes;
    if (b->file_bytes != file_bytes) return corrupt("the file's size", file_bytes, b->file_bytes);
    if (b->index_offset != index_offset || index_offset < kv_segment_runs_offset(header->n_tokens))
        return corrupt("the offset of the index", b->index_offset, index_offset);
    if (b->header_checksum != header_checksum)
        return corrupt("the header's checksum in the footer", (int64_t)b->header_checksum,
                (int64_t)header_checksum);
    if (!kv_hash_equal(&b->chain, &header->chain))
        return corrupt("the chain hash in the footer", b->chain.bytes[0], header->chain.bytes[0]);
    if (!is_zero(b->zeros, sizeof b->zeros))
        return corrupt("what must be zero in the footer", 1, 0);
    return RT_OK;
}

rt_status kv_segment_read_footer(const uint8_t block[KV_BLOCK_BYTES],
        const kv_segment_header *header, uint64_t header_checksum, int64_t file_bytes,
        kv_segment_footer *out) {
    footer_block b;
    memcpy(&b, block, sizeof b);
    if (b.magic != MAGIC_COMPLETE && b.magic != MAGIC_SUSPENDED)
        return corrupt("the footer's magic", b.magic, MAGIC_COMPLETE);
    RT_TRY(check_checksum("a segment's footer", &b, b.checksum));
    RT_TRY(check_version("a segment's footer", b.version));
    RT_TRY(check_footer_numbers(&b, header, header_checksum, file_bytes));
    *out = (kv_segment_footer){.is_complete = b.magic == MAGIC_COMPLETE,
            .index_offset = b.index_offset,
            .file_bytes = b.file_bytes,
            .index_checksum = b.index_checksum,
            .header_checksum = b.header_checksum,
            .chain = b.chain};
    return RT_OK;
}

/* The runs of one layer: all of them, side by side, of possible sizes; or none, if suspended. */
static rt_status check_layer(const kv_run_place *runs, const kv_segment_header *header,
        const kv_segment_footer *footer, kv_run_place *extent) {
    const int64_t run_max = kv_segment_run_bytes_max(&header->shape, header->n_tokens);
    const int64_t from = kv_segment_runs_offset(header->n_tokens);
    *extent = (kv_run_place){.offset = runs[0].offset};
    for (int32_t head = 0; head < header->shape.n_kv_heads; head++) {
        const kv_run_place *run = &runs[head];
        if (!footer->is_complete && runs[0].n_bytes == 0 && run->n_bytes == 0 && run->offset == 0)
            continue;
        if (run->n_bytes < KV_STORED_ALIGN || run->n_bytes > run_max ||
                run->n_bytes % KV_STORED_ALIGN)
            return corrupt("the size of a run", run->n_bytes, run_max);
        if (run->offset % KV_STORED_ALIGN || run->offset < from ||
                run->offset > footer->index_offset - run->n_bytes)
            return corrupt("the offset of a run", run->offset, from);
        if (run->offset != extent->offset + extent->n_bytes)
            return corrupt("the offset of the next head's run", run->offset,
                    extent->offset + extent->n_bytes);
        extent->n_bytes += run->n_bytes;
    }
    return RT_OK;
}

static int compare_extents(const void *a, const void *b) {
    const kv_run_place *p = a, *q = b;
    if (p->offset != q->offset) return p->offset < q->offset ? -1 : 1;
    return p->n_bytes < q->n_bytes ? -1 : p->n_bytes > q->n_bytes;
}

static rt_status check_extents(kv_run_place *extents, int32_t n, int64_t from, int64_t to) {
    qsort(extents, (size_t)n, sizeof *extents, compare_extents);
    int64_t at = from;
    for (int32_t i = 0; i < n; i++) {
        if (extents[i].n_bytes == 0) continue;
        if (extents[i].offset != at && KV_MUTANT_SEGMENT != MUTANT_INDEX)
            return corrupt("the offset of a layer", extents[i].offset, at);
        at += extents[i].n_bytes;
    }
    return at == to ? RT_OK : corrupt("the end of the runs", at, to);
}

rt_status kv_segment_read_index(const uint8_t *index, const kv_segment_header *header,
        const kv_segment_footer *footer, kv_run_place *places) {
    const size_t n_bytes = (size_t)kv_segment_index_bytes(&header->shape);
    const size_t n_used = (size_t)n_runs_of(&header->shape) * sizeof *places;
    const uint64_t checksum = XXH3_64bits(index, n_bytes);
    if (checksum != footer->index_checksum)
        return rt_fail(RT_ECORRUPT,
                "kvstore: a segment's index: checksum %016" PRIx64 ", stored %016" PRIx64, checksum,
                footer->index_checksum);
    if (!is_zero(index + n_used, n_bytes - n_used))
        return corrupt("what must be zero after the index", 1, 0);
    memcpy(places, index, n_used);
    kv_run_place extents[KV_SEGMENT_LAYERS_MAX];
    for (int32_t layer = 0; layer < header->shape.n_layers; layer++)
        RT_TRY(check_layer(places + (int64_t)layer * header->shape.n_kv_heads, header, footer,
                &extents[layer]));
    return check_extents(extents, header->shape.n_layers, kv_segment_runs_offset(header->n_tokens),
            footer->index_offset);
}
