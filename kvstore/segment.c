#include "segment.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault.h"

enum { FRONT_BYTES = 2 * KV_BLOCK_BYTES };

/* ---- parts ----------------------------------------------------------------------------------- */

static rt_status open_regular(kv_dirs *dirs, const char *path, kv_file **out) {
    kv_io_stat st;
    bool exists;
    RT_TRY(kv_path_stat(dirs->io, path, &st, &exists));
    if (!exists) return rt_fail(RT_EIO, "kvstore: %s is not there any more", path);
    if (!st.is_file) return rt_fail(RT_EUNSUPPORTED, "kvstore: %s is not a regular file", path);
    return kv_file_open(dirs->io, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, out);
}

static rt_status file_size(kv_file *file, int64_t *n_bytes) {
    kv_io_stat st;
    RT_TRY(kv_file_stat(file, &st));
    if (!st.is_file) return rt_fail(RT_EUNSUPPORTED, "kvstore: not a regular file");
    if (st.n_bytes % KV_BLOCK_BYTES || st.n_bytes < 3 * KV_BLOCK_BYTES)
        return rt_fail(RT_ECORRUPT,
                "kvstore: the segment's size is %" PRId64 " bytes, not whole blocks of %d",
                st.n_bytes, KV_BLOCK_BYTES);
    *n_bytes = st.n_bytes;
    return RT_OK;
}

static rt_status check_front(
        const uint8_t *block, const kv_hash *chain, kv_segment_header *header, uint64_t *checksum) {
    RT_TRY(kv_segment_read_header(block, header, checksum));
    if (kv_hash_equal(&header->chain, chain)) return RT_OK;
    return rt_fail(RT_ECORRUPT, "kvstore: the segment is another one than its name says");
}

static rt_status check_ids(kv_segment *segment, const uint8_t *bytes, int64_t n_bytes) {
    const kv_segment_header *h = &segment->header;
    kv_hash chain;
    RT_TRY(rt_calloc(1, n_bytes, "a segment's ids", &segment->ids));
    memcpy(segment->ids, bytes, (size_t)n_bytes);
    for (int64_t i = h->n_tokens; i < n_bytes / 4; i++)
        if (segment->ids[i])
            return rt_fail(RT_ECORRUPT, "kvstore: what must be zero after the token ids is not");
    RT_TRY(kv_chain_next(&h->parent, segment->ids, h->n_tokens, &chain));
    if (kv_hash_equal(&chain, &h->chain)) return RT_OK;
    return rt_fail(RT_ECORRUPT, "kvstore: the segment's token ids do not have its chain hash");
}

/* Index and footer lie side by side at the end. */
static rt_status read_back(kv_segment *segment, int64_t file_bytes, uint64_t header_checksum) {
    const kv_segment_header *h = &segment->header;
    const int64_t index_bytes = kv_segment_index_bytes(&h->shape);
    const int64_t n_bytes = index_bytes + KV_BLOCK_BYTES;
    void *memory = NULL;
    if (n_bytes > file_bytes)
        return rt_fail(RT_ECORRUPT,
                "kvstore: the segment's %" PRId64 " bytes have no room for its index", file_bytes);
    RT_TRY(rt_calloc((int64_t)h->shape.n_layers * h->shape.n_kv_heads, sizeof *segment->places,
            "a segment's index", &segment->places));
    RT_TRY(rt_malloc(n_bytes, "a segment's index", &memory));
    uint8_t *index = memory;
    rt_status status = kv_blocks_read(
            segment->dirs->blocks, segment->file, file_bytes - n_bytes, n_bytes, index);
    if (status == RT_OK)
        status = kv_segment_read_footer(
                index + index_bytes, h, header_checksum, file_bytes, &segment->footer);
    if (status == RT_OK)
        status = kv_segment_read_index(index, h, &segment->footer, segment->places);
    free(memory);
    return status;
}

static rt_status read_parts(kv_segment *segment, const kv_hash *chain) {
    uint8_t front[KV_BLOCK_BYTES + KV_SEGMENT_TOKENS * sizeof(int32_t)];
    int64_t file_bytes = 0;
    uint64_t checksum = 0;
    RT_TRY(file_size(segment->file, &file_bytes));
    RT_TRY(kv_blocks_read(segment->dirs->blocks, segment->file, 0,
            rt_min64(file_bytes, (int64_t)sizeof front), front));
    RT_TRY(check_front(front, chain, &segment->header, &checksum));
    RT_TRY(read_back(segment, file_bytes, checksum)); /* there is room for all ids, then */
    return check_ids(segment, front + KV_BLOCK_BYTES,
            kv_segment_runs_offset(segment->header.n_tokens) - KV_BLOCK_BYTES);
}

/* ---- open ------------------------------------------------------------------------------------ */

/* A look under way: both ends of a file are asked for. */
typedef struct look {
    kv_file *file;
    int64_t file_bytes;
    kv_reader *front, *last;
} look;

static rt_status ask(kv_dirs *dirs, look *l) {
    RT_TRY(file_size(l->file, &l->file_bytes));
    RT_TRY(kv_reader_open(dirs->blocks, l->file, 0, FRONT_BYTES, &l->front));
    RT_TRY(kv_reader_open(
            dirs->blocks, l->file, l->file_bytes - KV_BLOCK_BYTES, KV_BLOCK_BYTES, &l->last));
    RT_TRY(kv_reader_start(l->front));
    return kv_reader_start(l->last);
}

static rt_status take(look *l, const kv_hash *chain, kv_segment_brief *out) {
    uint8_t front[FRONT_BYTES];
    uint8_t last[KV_BLOCK_BYTES];
    kv_segment_footer footer;
    uint64_t checksum = 0;
    RT_TRY(kv_reader_take(l->front, front, FRONT_BYTES));
    RT_TRY(check_front(front, chain, &out->header, &checksum));
    RT_TRY(kv_reader_take(l->last, last, KV_BLOCK_BYTES));
    RT_TRY(kv_segment_read_footer(last, &out->header, checksum, l->file_bytes, &footer));
    out->is_complete = footer.is_complete;
    memcpy(out->head_ids, front + KV_BLOCK_BYTES, sizeof out->head_ids);
    return RT_OK;
}

static void end_look(kv_dirs *dirs, look *l) {
    kv_reader_close(l->front);
    kv_reader_close(l->last);
    kv_blocks_close_file(dirs->blocks, l->file);
}

rt_status kv_segment_peek(
        kv_dirs *dirs, const char *path, const kv_hash *chain, kv_segment_brief *out) {
    look l = {0};
    rt_status status = open_regular(dirs, path, &l.file);
    if (status == RT_OK) status = ask(dirs, &l);
    if (status == RT_OK) status = take(&l, chain, out);
    end_look(dirs, &l);
    return status;
}

void kv_segments_peek(kv_dirs *dirs, const char *const *paths, const kv_hash *const *chains,
        int32_t n, kv_segment_brief *out, bool *is_seen) {
    look looks[KV_PEEKS_AT_ONCE] = {0};
    kv_file *files[KV_PEEKS_AT_ONCE];
    rt_assert(n <= KV_PEEKS_AT_ONCE);
    kv_files_open(dirs->io, paths, n, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, files);
    for (int32_t i = 0; i < n; i++) {
        looks[i].file = files[i];
        is_seen[i] = files[i] && ask(dirs, &looks[i]) == RT_OK;
    }
    for (int32_t i = 0; i < n; i++) {
        is_seen[i] = is_seen[i] && take(&looks[i], chains[i], &out[i]) == RT_OK;
        end_look(dirs, &looks[i]);
    }
}

rt_status kv_segment_adopt(
        kv_dirs *dirs, const char *path, const kv_hash *chain, kv_file *file, kv_segment **out) {
    kv_segment *segment = NULL;
    rt_status status = rt_calloc(1, sizeof *segment, "a segment", &segment);
    if (status != RT_OK) {
        kv_blocks_close_file(dirs->blocks, file);
        return status;
    }
    *segment = (kv_segment){.dirs = dirs, .file = file, .path = strdup(path)};
    if (!segment->path) status = rt_fail(RT_ENOMEM, "kvstore: no memory for the path %s", path);
    if (status == RT_OK) status = read_parts(segment, chain);
    if (status != RT_OK) {
        kv_segment_close(segment);
        return status;
    }
    *out = segment;
    return RT_OK;
}

rt_status kv_segment_open(kv_dirs *dirs, const char *path, const kv_hash *chain, kv_segment **out) {
    kv_file *file = NULL;
    RT_TRY(open_regular(dirs, path, &file));
    const rt_status status = kv_dirs_hold(file);
    if (status == RT_OK) return kv_segment_adopt(dirs, path, chain, file, out);
    kv_blocks_close_file(dirs->blocks, file);
    return status;
}

void kv_segment_close(kv_segment *segment) {
    if (!segment) return;
    kv_blocks_close_file(segment->dirs->blocks, segment->file);
    free(segment->path);
    free(segment->places);
    free(segment->ids);
    free(segment);
}

/* ---- what callers see ------------------------------------------------------------------------ */

const kv_segment_header *kv_segment_header_of(const kv_segment *segment) {
    return &segment->header;
}

kv_file *kv_segment_file(const kv_segment *segment) {
    return segment->file;
}

const kv_run_place *kv_segment_layer(const kv_segment *segment, int32_t layer) {
    rt_assert(layer >= 0 && layer < segment->header.shape.n_layers);
    return segment->places + (int64_t)layer * segment->header.shape.n_kv_heads;
}

kv_run_address kv_segment_address(const kv_segment *segment, int32_t layer, int32_t kv_head) {
    return kv_segment_run_address(&segment->header, layer, kv_head);
}

bool kv_segment_has_its_name(const kv_segment *segment) {
    kv_io_stat mine;
    kv_io_stat named;
    bool exists = false;
    if (kv_file_stat(segment->file, &mine) != RT_OK ||
            kv_path_stat(segment->dirs->io, segment->path, &named, &exists) != RT_OK)
        return true; /* for all one can see */
    return exists && mine.device == named.device && mine.inode == named.inode;
}

bool kv_segment_quarantine(kv_segment *segment, const char *why) {
    return !kv_segment_has_its_name(segment) ||
           kv_dirs_quarantine(segment->dirs, segment->path, why);
}
