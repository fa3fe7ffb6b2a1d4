/* Beginning segments, and placing runs in them. A writer's file, while it has no name of its own:
 *
 *   begin    lock; room in the budget; create; owner's lock; room on the disk; unlock: a span's all at once
 *   place    runs go to the file's end, by the caller's own operations
 *   finish   header, ids, index, footer; size; sync; lock; rename; sync directory; index; unlock (vault_finish.c)
 *   suspend  the same with another footer and another name; resume is the way back (vault_suspend.c)
 *
 * Always true:
 *
 *   1. Only a file whose bytes are synced gets a name that is looked up.
 *   2. A predecessor's temporary is never written to: its writes may still land.
 *   3. A writer whose parent is finished holds that parent open, so it and all before it stay. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/memory.h"
#include "vault_writer.h"

/* ---- creation -------------------------------------------------------------------------------- */

static bool is_root(const kv_vault *vault, const kv_hash *hash) {
    return kv_hash_equal(&vault->root, hash);
}

kv_writer *kv_writer_of(const kv_vault *vault, const kv_hash *chain) {
    kv_writer *writer = vault->writers;
    while (writer && !kv_hash_equal(&writer->header.chain, chain)) writer = writer->next;
    return writer;
}

void kv_writer_link(kv_writer *writer) {
    writer->next = writer->vault->writers;
    writer->vault->writers = writer;
}

static void unlink_writer(kv_writer *writer) {
    kv_writer **link = &writer->vault->writers;
    while (*link && *link != writer) link = &(*link)->next;
    if (*link) *link = writer->next;
}

void kv_writer_free(kv_writer *writer) {
    unlink_writer(writer);
    kv_blocks_close_file(writer->vault->dirs.blocks, writer->file);
    kv_segment_close(writer->parent);
    free(writer->places);
    free(writer->ids);
    free(writer);
}

rt_status kv_writer_new(
        kv_vault *vault, const kv_segment_header *header, const int32_t *ids, kv_writer **out) {
    const kv_segment_shape *shape = &vault->shape;
    kv_writer *writer = NULL;
    RT_TRY(rt_calloc(1, sizeof *writer, "a segment's writer", &writer));
    writer->vault = vault;
    writer->header = *header;
    writer->at = kv_segment_runs_offset(header->n_tokens);
    writer->dir = kv_dirs_home(&vault->dirs, &header->chain);
    rt_status status = rt_calloc((int64_t)shape->n_layers * shape->n_kv_heads,
            sizeof *writer->places, "a segment's index", &writer->places);
    if (status == RT_OK)
        status = rt_calloc(header->n_tokens, sizeof *writer->ids, "a segment's ids", &writer->ids);
    if (status != RT_OK) {
        kv_writer_free(writer);
        return status;
    }
    memcpy(writer->ids, ids, (size_t)header->n_tokens * sizeof *ids);
    *out = writer;
    return RT_OK;
}

rt_status kv_writer_make_header(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_tokens, kv_segment_header *out) {
    rt_assert(n_tokens >= 1 && n_tokens <= KV_SEGMENT_TOKENS);
    rt_assert(first_pos >= 0 && first_pos % KV_SEGMENT_TOKENS == 0);
    rt_assert((first_pos == 0) == is_root(vault, parent));
    *out = (kv_segment_header){.fingerprint = vault->fingerprint,
            .parent = *parent,
            .first_pos = first_pos,
            .n_tokens = n_tokens,
            .shape = vault->shape,
            .heads = vault->heads,
            .created_s = (int64_t)time(NULL)};
    return kv_chain_next(parent, ids, n_tokens, &out->chain);
}

/* The parent is the root, or stored (then it is held), or being written. */
rt_status kv_writer_hold_parent(kv_writer *writer) {
    kv_vault *vault = writer->vault;
    const kv_hash *parent = &writer->header.parent;
    if (is_root(vault, parent) || kv_writer_of(vault, parent)) return RT_OK;
    const kv_known *known = kv_vault_know(vault, parent);
    if (!known)
        return rt_fail(RT_EIO,
                "kvstore: tokens from %" PRId64 " on cannot be kept: those before are not stored",
                writer->header.first_pos);
    return kv_vault_open_segment(vault, known, &writer->parent);
}

/* ---- begin ----------------------------------------------------------------------------------- */

int64_t kv_writer_bytes_max(const kv_writer *writer) {
    return kv_segment_bytes_max(&writer->vault->shape, writer->header.n_tokens);
}

/* Room for all, and their folders. */
static rt_status make_room(kv_vault *vault, kv_writer *const *writers, int32_t n) {
    kv_path *paths = NULL;
    int32_t *dirs = NULL;
    int64_t n_bytes = (n - 1) * (int64_t)KV_SPACE_SLACK; /* of one more it is added */
    rt_status status = rt_calloc(n, sizeof *paths, "paths of segments", &paths);
    if (status == RT_OK) status = rt_calloc(n, sizeof *dirs, "paths of segments", &dirs);
    for (int32_t i = 0; i < n && status == RT_OK; i++) {
        n_bytes += kv_writer_bytes_max(writers[i]);
        dirs[i] = writers[i]->dir;
        paths[i] = kv_vault_path(vault, dirs[i], &writers[i]->header.chain, ".kvs");
    }
    if (status == RT_OK) status = kv_vault_make_room(vault, n_bytes);
    if (status == RT_OK) status = kv_dirs_make_for_all(&vault->dirs, dirs, paths, n);
    free(paths);
    free(dirs);
    return status;
}

static rt_status create_file(kv_writer *writer) {
    const kv_path path = kv_vault_path(writer->vault, writer->dir, &writer->header.chain, ".kvs");
    return kv_vault_create_file(
            writer->vault, &path, kv_writer_bytes_max(writer), &writer->temporary, &writer->file);
}

/* Parents are held before anything makes way. */
static rt_status create_files(kv_vault *vault, kv_writer *const *writers, int32_t n) {
    if (n == 0) return RT_OK;
    RT_TRY(kv_dirs_lock(&vault->dirs));
    rt_status status = kv_vault_save_fingerprint(vault);
    for (int32_t i = 0; i < n && status == RT_OK; i++) status = kv_writer_hold_parent(writers[i]);
    if (status == RT_OK) status = make_room(vault, writers, n);
    for (int32_t i = 0; i < n && status == RT_OK; i++) status = create_file(writers[i]);
    kv_dirs_unlock(&vault->dirs);
    return status;
}

/* Known is not enough: whoever relies on it would find out too late. One that is damaged is in quarantine
 * then, and is written again. */
static bool is_stored(kv_vault *vault, const kv_hash *chain) {
    const kv_known *known = kv_vault_know(vault, chain);
    kv_segment *segment = NULL;
    if (!known || kv_vault_open_segment(vault, known, &segment) != RT_OK) return false;
    kv_segment_close(segment);
    return true;
}

/* NULL: it is stored, or being written. It is one of the vault's open ones, without a file. */
static rt_status new_unless_stored(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_tokens, kv_hash *chain, kv_writer **out) {
    kv_segment_header header;
    *out = NULL;
    RT_TRY(kv_writer_make_header(vault, parent, first_pos, ids, n_tokens, &header));
    *chain = header.chain;
    if (kv_writer_of(vault, chain) || is_stored(vault, chain)) return RT_OK;
    RT_TRY(kv_writer_new(vault, &header, ids, out));
    kv_writer_link(*out);
    return RT_OK;
}

rt_status kv_writer_begin(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_tokens, kv_writer **out) {
    kv_hash chain;
    RT_TRY(new_unless_stored(vault, parent, first_pos, ids, n_tokens, &chain, out));
    if (!*out) return RT_OK;
    rt_status status = create_files(vault, out, 1);
    if (status == RT_OK) return RT_OK;
    status = kv_writer_give_up(*out, status);
    *out = NULL;
    return status;
}

/* As writers of n whole segments, those that are not NULL in `some`, too. */
static rt_status begin_all(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n, kv_writer **out, kv_writer **some) {
    kv_hash chain = *parent;
    int32_t n_some = 0;
    for (int32_t i = 0; i < n; i++) {
        const kv_hash before = chain;
        const int64_t at = (int64_t)i * KV_SEGMENT_TOKENS;
        RT_TRY(new_unless_stored(
                vault, &before, first_pos + at, ids + at, KV_SEGMENT_TOKENS, &chain, &out[i]));
        if (out[i]) some[n_some++] = out[i];
    }
    return create_files(vault, some, n_some);
}

rt_status kv_writers_begin(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n, kv_writer **out) {
    kv_writer **some = NULL;
    for (int32_t i = 0; i < n; i++) out[i] = NULL;
    RT_TRY(rt_calloc(n + 1, sizeof(kv_writer *), "segments to begin", &some));
    rt_status status = begin_all(vault, parent, first_pos, ids, n, out, some);
    for (int32_t i = 0; i < n && status != RT_OK; i++) {
        if (out[i]) status = kv_writer_give_up(out[i], status);
        out[i] = NULL;
    }
    free(some);
    return status;
}

void kv_writer_remove_file(kv_writer *writer) {
    if (!writer->file) return;
    kv_vault_discard(writer->vault, writer->temporary.text);
    kv_blocks_close_file(writer->vault->dirs.blocks, writer->file);
    writer->file = NULL;
}

rt_status kv_writer_give_up(kv_writer *writer, rt_status status) {
    kv_writer_remove_file(writer);
    kv_writer_free(writer);
    return status;
}

void kv_writer_abort(kv_writer *writer) {
    if (!writer) return;
    const rt_status ignored = kv_writer_give_up(writer, RT_OK);
    (void)ignored;
}

/* ---- placing --------------------------------------------------------------------------------- */

const kv_segment_header *kv_writer_header(const kv_writer *writer) {
    return &writer->header;
}

kv_run_address kv_writer_address(const kv_writer *writer, int32_t layer, int32_t kv_head) {
    return kv_segment_run_address(&writer->header, layer, kv_head);
}

static kv_run_place *layer_places(const kv_writer *writer, int32_t layer) {
    rt_assert(layer >= 0 && layer < writer->header.shape.n_layers);
    return writer->places + (int64_t)layer * writer->header.shape.n_kv_heads;
}

bool kv_writer_has_layer(const kv_writer *writer, int32_t layer) {
    return layer_places(writer, layer)->n_bytes > 0;
}

const kv_run_place *kv_writer_layer(const kv_writer *writer, int32_t layer) {
    rt_assert(kv_writer_has_layer(writer, layer));
    return layer_places(writer, layer);
}

kv_file *kv_writer_file(const kv_writer *writer) {
    return writer->file;
}

void kv_writer_place(kv_writer *writer, int32_t layer, const int64_t *run_bytes, kv_file **file,
        int64_t *offset) {
    const kv_segment_header *h = &writer->header;
    const int64_t run_max = kv_segment_run_bytes_max(&h->shape, h->n_tokens);
    kv_run_place *places = layer_places(writer, layer);
    rt_assert(!kv_writer_has_layer(writer, layer));
    *file = writer->file;
    *offset = writer->at;
    for (int32_t head = 0; head < h->shape.n_kv_heads; head++) {
        rt_assert(run_bytes[head] >= KV_STORED_ALIGN && run_bytes[head] <= run_max);
        rt_assert(run_bytes[head] % KV_STORED_ALIGN == 0);
        places[head] = (kv_run_place){.offset = writer->at, .n_bytes = run_bytes[head]};
        writer->at += run_bytes[head];
    }
}

int32_t kv_writer_n_layers(const kv_writer *writer) {
    int32_t n = 0;
    for (int32_t layer = 0; layer < writer->header.shape.n_layers; layer++)
        n += kv_writer_has_layer(writer, layer);
    return n;
}
