/* What ranks of another number kept, made this rank's own.
 *
 * A rank's segment holds a run for each of its heads and layers. Runs are addressed, and checksummed,
 * by token chain, layer and the head's number in the whole model: so a segment of other heads is put
 * together from files of any cut by copying runs as they are. A run that was damaged before is found
 * out when it is read, as in any segment. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_inside.h"

/* ---- what there is --------------------------------------------------------------------------- */

static bool is_same_model(const kv_vault *vault, const kv_segment_header *h) {
    return kv_hash_equal(&vault->fingerprint, &h->fingerprint) &&
           vault->shape.dtype == h->shape.dtype && vault->shape.n_layers == h->shape.n_layers &&
           vault->shape.head_dim == h->shape.head_dim;
}

rt_status kv_vault_note_foreign(
        kv_vault *vault, kv_dirs *dirs, const char *path, const kv_hash *chain) {
    kv_segment_brief brief;
    const rt_status status = kv_segment_peek(dirs, path, chain, &brief);
    if (status == RT_ENOMEM) return status;
    if (status != RT_OK || !brief.is_complete || !is_same_model(vault, &brief.header)) return RT_OK;
    if (vault->n_foreign == vault->foreign_room) {
        const int64_t room = rt_max64(64, 2 * vault->foreign_room);
        kv_foreign *more = realloc(vault->foreign, (size_t)room * sizeof *more);
        if (!more)
            return rt_fail(RT_ENOMEM, "kvstore: no memory for %" PRId64 " other segments", room);
        vault->foreign = more;
        vault->foreign_room = room;
    }
    kv_foreign one = {.chain = brief.header.chain,
            .parent = brief.header.parent,
            .heads = brief.header.heads,
            .n_heads = brief.header.shape.n_kv_heads,
            .dirs = dirs,
            .path = strdup(path)};
    if (!one.path) return rt_fail(RT_ENOMEM, "kvstore: no memory for the path %s", path);
    vault->foreign[vault->n_foreign++] = one;
    return RT_OK;
}

/* Directories that are not there, or cannot be read, hold nothing. */
rt_status kv_vault_look_around(kv_vault *vault) {
    kv_listing listing;
    char model[KV_HEX_BYTES];
    if (vault->other_dirs.n_dirs == 0) return RT_OK;
    kv_hash_hex(&vault->fingerprint, model);
    const rt_status status = kv_dirs_scan(&vault->other_dirs, &listing);
    if (status != RT_OK) return status == RT_ENOMEM ? status : RT_OK;
    rt_status noted = RT_OK;
    for (int64_t i = 0; i < listing.n_entries && noted == RT_OK; i++) {
        const kv_entry *entry = &listing.entries[i];
        if (entry->kind == KV_ENTRY_SEGMENT && strncmp(entry->model, model, 8) == 0)
            noted = kv_vault_note_foreign(vault, &vault->other_dirs, entry->path, &entry->hash);
    }
    kv_listing_free(&listing);
    return noted;
}

void kv_vault_forget_foreign(kv_vault *vault) {
    for (int64_t i = 0; i < vault->n_foreign; i++) free(vault->foreign[i].path);
    free(vault->foreign);
}

const kv_foreign *kv_vault_holder(const kv_vault *vault, const kv_hash *chain, int32_t head) {
    for (int64_t i = 0; i < vault->n_foreign; i++) {
        const kv_foreign *f = &vault->foreign[i];
        if (head >= f->heads.first && head < f->heads.first + f->n_heads &&
                kv_hash_equal(&f->chain, chain))
            return f;
    }
    return NULL;
}

/* ---- copying --------------------------------------------------------------------------------- */

/* A segment on its way, from at most as many files as it has heads. */
typedef struct import {
    kv_vault *vault;
    const kv_hash *chain;
    kv_segment **sources; /* [n_kv_heads]: where each head is; neighbours may be the same */
    uint8_t *runs;        /* of one layer */
    int64_t runs_room;
} import;

static void close_sources(import *im) {
    for (int32_t h = 0; im->sources && h < im->vault->shape.n_kv_heads; h++)
        if (h == 0 || im->sources[h] != im->sources[h - 1]) kv_segment_close(im->sources[h]);
    free(im->sources);
    free(im->runs);
}

static bool has_head(const kv_segment *segment, int32_t head) {
    const kv_segment_header *h = &segment->header;
    return head >= h->heads.first && head < h->heads.first + h->shape.n_kv_heads;
}

static rt_status open_source(import *im, int32_t i) {
    const kv_vault *vault = im->vault;
    const int32_t head = vault->heads.first + i;
    if (i > 0 && has_head(im->sources[i - 1], head)) {
        im->sources[i] = im->sources[i - 1];
        return RT_OK;
    }
    const kv_foreign *from = kv_vault_holder(vault, im->chain, head);
    if (!from)
        return rt_fail(
                RT_EIO, "kvstore: KV head %" PRId32 " is in no directory that can be read", head);
    RT_TRY(kv_segment_open(from->dirs, from->path, im->chain, &im->sources[i]));
    const kv_segment_header *h = &im->sources[i]->header;
    const kv_segment_header *first = &im->sources[0]->header;
    if (is_same_model(vault, h) && has_head(im->sources[i], head) &&
            im->sources[i]->footer.is_complete && h->n_tokens == first->n_tokens &&
            h->first_pos == first->first_pos &&
            (h->first_pos == 0) == kv_hash_equal(&h->parent, &vault->root))
        return RT_OK;
    return rt_fail(RT_ECORRUPT, "kvstore: %s is another file than it was", from->path);
}

static rt_status open_sources(import *im) {
    const kv_vault *vault = im->vault;
    RT_TRY(rt_calloc(
            vault->shape.n_kv_heads, sizeof(kv_segment *), "other segments", &im->sources));
    for (int32_t i = 0; i < vault->shape.n_kv_heads; i++) RT_TRY(open_source(im, i));
    im->runs_room = vault->shape.n_kv_heads *
                    kv_segment_run_bytes_max(&vault->shape, im->sources[0]->header.n_tokens);
    void *runs = NULL;
    RT_TRY(rt_malloc(im->runs_room, "a layer of a segment", &runs));
    im->runs = runs;
    return RT_OK;
}

static rt_status copy_layer(import *im, kv_writer *writer, int32_t layer) {
    kv_vault *vault = im->vault;
    int64_t run_bytes[KV_SEGMENT_HEADS_MAX];
    int64_t at = 0;
    for (int32_t i = 0; i < vault->shape.n_kv_heads; i++) {
        kv_segment *from = im->sources[i];
        const int32_t head = vault->heads.first + i - from->header.heads.first;
        const kv_run_place *run = &kv_segment_layer(from, layer)[head];
        rt_assert(run->n_bytes <= im->runs_room - at); /* its index was checked */
        RT_TRY(kv_blocks_read(
                from->dirs->blocks, from->file, run->offset, run->n_bytes, im->runs + at));
        run_bytes[i] = run->n_bytes;
        at += run->n_bytes;
    }
    kv_file *file = NULL;
    int64_t offset = 0;
    kv_writer_place(writer, layer, run_bytes, &file, &offset);
    return kv_blocks_write(vault->dirs.blocks, file, offset, at, im->runs);
}

static rt_status copy(import *im) {
    const kv_segment *like = im->sources[0];
    const kv_segment_header *h = &like->header;
    kv_writer *writer = NULL;
    RT_TRY(kv_writer_begin(im->vault, &h->parent, h->first_pos, like->ids, h->n_tokens, &writer));
    if (!writer) return RT_OK; /* stored meanwhile, or being written */
    rt_status status = RT_OK;
    for (int32_t layer = 0; layer < h->shape.n_layers && status == RT_OK; layer++)
        status = copy_layer(im, writer, layer);
    if (status == RT_OK) return kv_writer_finish(writer, NULL);
    kv_writer_abort(writer);
    return status;
}

/* ---- the interface --------------------------------------------------------------------------- */

rt_status kv_vault_import(kv_vault *vault, const kv_hash *chain, bool *is_there) {
import im = {.vault = vault, .chain = chain };
    *is_there = false;
    if (vault->n_foreign == 0) return RT_OK;
    rt_status status = open_sources(&im);
    if (status == RT_OK) status = copy(&im);
    close_sources(&im);
    *is_there = status == RT_OK;
    return status == RT_ENOMEM ? status : RT_OK;
}

rt_status kv_vault_import_children(kv_vault *vault, const kv_hash *parent) {
    bool is_there = false;
    for (int64_t i = 0; i < vault->n_foreign; i++)
        if (kv_hash_equal(&vault->foreign[i].parent, parent) &&
                !kv_vault_know(vault, &vault->foreign[i].chain))
            RT_TRY(kv_vault_import(vault, &vault->foreign[i].chain, &is_there));
    return RT_OK;
}
