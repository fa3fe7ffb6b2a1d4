/* What ranks of another number kept, made this rank's own.
 *
 * A rank's segment holds a run for each of its heads and layers. Runs are addressed, and checksummed,
 * by token chain, layer and the head's number in the whole model: so a segment of other heads is put
 * together from files of any cut by copying runs as they are. Each is checked on its way: a file that is
 * damaged is quarantined, whoever wrote it, and the next one that holds its heads takes its place. Its
 * writer may be stopped by the failure of another rank before it has met the damage itself, and would
 * take the file for whole when it comes to write the same tokens again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/machine.h"
#include "runtime/base/memory.h"
#include "vault_inside.h"

/* ---- what there is --------------------------------------------------------------------------- */

static bool is_same_model(const kv_vault *vault, const kv_segment_header *h) {
    return kv_hash_equal(&vault->fingerprint, &h->fingerprint) &&
           vault->shape.dtype == h->shape.dtype && vault->shape.n_layers == h->shape.n_layers &&
           vault->shape.head_dim == h->shape.head_dim;
}

rt_status kv_vault_note_foreign_seen(
        kv_vault *vault, kv_dirs *dirs, const char *path, const kv_segment_brief *brief) {
    if (!brief->is_complete || !is_same_model(vault, &brief->header)) return RT_OK;
    RT_TRY(rt_make_room(&vault->foreign, sizeof *vault->foreign, vault->n_foreign,
            &vault->foreign_room, "segments of other heads"));
    kv_foreign one = {.chain = brief->header.chain,
            .parent = brief->header.parent,
            .heads = brief->header.heads,
            .n_heads = brief->header.shape.n_kv_heads,
            .dirs = dirs,
            .path = strdup(path)};
    if (!one.path) return rt_fail(RT_ENOMEM, "kvstore: no memory for the path %s", path);
    vault->foreign[vault->n_foreign++] = one;
    return RT_OK;
}

rt_status kv_vault_note_foreign(
        kv_vault *vault, kv_dirs *dirs, const char *path, const kv_hash *chain) {
    kv_segment_brief brief;
    const rt_status status = kv_segment_peek(dirs, path, chain, &brief);
    if (status != RT_OK) return status == RT_ENOMEM ? status : RT_OK;
    return kv_vault_note_foreign_seen(vault, dirs, path, &brief);
}

/* Directories that are not there, or cannot be read, hold nothing. */
rt_status kv_vault_look_around(kv_vault *vault) {
    kv_listing listing;
    char model[KV_HEX_BYTES];
    const kv_entry **some = NULL;
    int64_t n = 0;
    if (vault->other_dirs.n_dirs == 0) return RT_OK;
    kv_hash_hex(&vault->fingerprint, model);
    rt_status status = kv_dirs_scan(&vault->other_dirs, &listing);
    if (status != RT_OK) return status == RT_ENOMEM ? status : RT_OK;
    status = rt_calloc(listing.n_entries + 1, sizeof(kv_entry *), "segments of other ranks", &some);
    for (int64_t i = 0; i < listing.n_entries && status == RT_OK; i++) {
        const kv_entry *entry = &listing.entries[i];
        if (entry->kind == KV_ENTRY_SEGMENT && strncmp(entry->model, model, 8) == 0)
            some[n++] = entry;
    }
    if (status == RT_OK) status = kv_vault_look_into_all(vault, &vault->other_dirs, some, n);
    free(some);
    kv_listing_free(&listing);
    return status;
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

static bool is_noted(const kv_vault *vault, const char *path) {
    for (int64_t i = 0; i < vault->n_foreign; i++)
        if (strcmp(vault->foreign[i].path, path) == 0) return true;
    return false;
}

/* A segment's files beside this vault's own in one directory: "<chain hex>....kvs". */
static rt_status look_in(kv_vault *vault, kv_dirs *dirs, int32_t dir, const kv_hash *chain) {
    const kv_path stem = kv_dirs_path(dirs, dir, &vault->fingerprint, chain, "");
    const kv_path own = kv_dirs_path(dirs, dir, &vault->fingerprint, chain, vault->shard);
    const kv_path folder = kv_path_parent(&stem);
    const char *name = strrchr(stem.text, '/') + 1;
    kv_names names;
    const rt_status listed = kv_path_list(dirs->io, folder.text, &names);
    if (listed != RT_OK) return listed == RT_ENOMEM ? listed : RT_OK;
    rt_status status = RT_OK;
    for (int64_t i = 0; i < names.n_names && status == RT_OK; i++) {
        const size_t n = strlen(names.names[i]);
        kv_path path;
        if (n < 4 || strcmp(names.names[i] + n - 4, ".kvs") != 0) continue;
        if (strncmp(names.names[i], name, strlen(name)) != 0) continue;
        (void)snprintf(path.text, sizeof path.text, "%.*s%s", (int)(name - stem.text), stem.text,
                names.names[i]);
        const size_t n_own = strlen(own.text);
        const bool is_own = dirs == &vault->dirs && strncmp(path.text, own.text, n_own) == 0 &&
                            strcmp(path.text + n_own, ".kvs") == 0;
        if (!is_own && !is_noted(vault, path.text))
            status = kv_vault_note_foreign(vault, dirs, path.text, chain);
    }
    kv_names_free(&names);
    return status;
}

/* What others have written since the vault was opened, and may have mended. */
static rt_status look_for(kv_vault *vault, const kv_hash *chain) {
    for (int64_t i = 0; i < vault->n_foreign; i++) vault->foreign[i].is_bad = false;
    if (vault->heads.all == 0 && vault->n_foreign == 0) return RT_OK;
    for (int32_t dir = 0; dir < vault->dirs.n_dirs; dir++)
        RT_TRY(look_in(vault, &vault->dirs, dir, chain));
    for (int32_t dir = 0; dir < vault->other_dirs.n_dirs; dir++)
        RT_TRY(look_in(vault, &vault->other_dirs, dir, chain));
    return RT_OK;
}

rt_status kv_vault_has_copy(kv_vault *vault, const kv_hash *chain, bool *has_copy) {
    RT_TRY(look_for(vault, chain));
    *has_copy = true;
    for (int32_t i = 0; i < vault->shape.n_kv_heads && *has_copy; i++)
        *has_copy = kv_vault_holder(vault, chain, vault->heads.first + i) != NULL;
    return RT_OK;
}

/* ---- copying --------------------------------------------------------------------------------- */

/* A segment on its way, from at most as many files as it has heads. */
typedef struct importing {
    kv_vault *vault;
    const kv_hash *chain;
    kv_segment **sources; /* [n_kv_heads]: where each head is; neighbours may be the same */
    kv_foreign **from;    /* [n_kv_heads]: the files that they are */
    kv_codec *codec;      /* for checks */
    uint8_t *runs;        /* of one layer */
    int64_t runs_room;
    bool is_blamed; /* a file was found bad, and is not taken again */
} importing;

static void close_sources(importing *im) {
    for (int32_t h = 0; im->sources && h < im->vault->shape.n_kv_heads; h++)
        if (h == 0 || im->sources[h] != im->sources[h - 1]) kv_segment_close(im->sources[h]);
    free(im->sources);
    free(im->from);
    free(im->runs);
    kv_codec_free(im->codec);
}

/* `status` is about the file that has this head. */
static rt_status blame(importing *im, int32_t i, rt_status status) {
    if (status == RT_OK || status == RT_ENOMEM) return status;
    im->from[i]->is_bad = im->is_blamed = true;
    return status;
}

static kv_foreign *find_source(const kv_vault *vault, const kv_hash *chain, int32_t head) {
    for (int64_t i = 0; i < vault->n_foreign; i++) {
        kv_foreign *f = &vault->foreign[i];
        if (!f->is_bad && head >= f->heads.first && head < f->heads.first + f->n_heads &&
                kv_hash_equal(&f->chain, chain))
            return f;
    }
    return NULL;
}

/* Nobody has the head, or all who have are damaged: then the last one's damage stays the text. */
static rt_status no_source(const importing *im, int32_t head) {
    char text[KV_WHY_BYTES];
    if (!kv_vault_holder(im->vault, im->chain, head))
        return rt_fail(
                RT_EIO, "kvstore: KV head %" PRId32 " is in no directory that can be read", head);
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    return rt_fail(RT_ECORRUPT, "%s", text);
}

static bool has_head(const kv_segment *segment, int32_t head) {
    const kv_segment_header *h = &segment->header;
    return head >= h->heads.first && head < h->heads.first + h->shape.n_kv_heads;
}

static rt_status open_source(importing *im, int32_t i) {
    const kv_vault *vault = im->vault;
    const int32_t head = vault->heads.first + i;
    if (i > 0 && has_head(im->sources[i - 1], head)) {
        im->sources[i] = im->sources[i - 1];
        im->from[i] = im->from[i - 1];
        return RT_OK;
    }
    kv_foreign *from = find_source(vault, im->chain, head);
    if (!from) return no_source(im, head);
    im->from[i] = from;
    const rt_status opened = kv_segment_open(from->dirs, from->path, im->chain, &im->sources[i]);
    if (opened == RT_ECORRUPT) kv_dirs_quarantine(from->dirs, from->path, rt_error_text());
    RT_TRY(blame(im, i, opened));
    const kv_segment_header *h = &im->sources[i]->header;
    const kv_segment_header *first = &im->sources[0]->header;
    if (is_same_model(vault, h) && has_head(im->sources[i], head) &&
            im->sources[i]->footer.is_complete && h->n_tokens == first->n_tokens &&
            h->first_pos == first->first_pos &&
            (h->first_pos == 0) == kv_hash_equal(&h->parent, &vault->root))
        return RT_OK;
    return blame(
            im, i, rt_fail(RT_ECORRUPT, "kvstore: %s is another file than it was", from->path));
}

static rt_status open_sources(importing *im) {
    const kv_vault *vault = im->vault;
    RT_TRY(rt_calloc(
            vault->shape.n_kv_heads, sizeof(kv_segment *), "other segments", &im->sources));
    RT_TRY(rt_calloc(vault->shape.n_kv_heads, sizeof(kv_foreign *), "other files", &im->from));
    RT_TRY(kv_codec_create(rt_machine_isa(), &im->codec));
    for (int32_t i = 0; i < vault->shape.n_kv_heads; i++) RT_TRY(open_source(im, i));
    im->runs_room = vault->shape.n_kv_heads *
                    kv_segment_run_bytes_max(&vault->shape, im->sources[0]->header.n_tokens);
    void *runs = NULL;
    RT_TRY(rt_malloc(im->runs_room, "a layer of a segment", &runs));
    im->runs = runs;
    return RT_OK;
}

static rt_status read_run(
        const importing *im, int32_t i, int32_t layer, uint8_t *to, int64_t *n_bytes) {
    kv_segment *from = im->sources[i];
    const int32_t head = im->vault->heads.first + i - from->header.heads.first;
    const kv_run_place *run = &kv_segment_layer(from, layer)[head];
    const kv_run_address address = kv_segment_address(from, layer, head);
    const kv_run_shape shape = kv_segment_run_shape(kv_segment_header_of(from));
    char text[KV_WHY_BYTES];
    rt_assert(run->n_bytes <= im->runs_room - (to - im->runs)); /* its index was checked */
    *n_bytes = run->n_bytes;
    RT_TRY(kv_blocks_read(from->dirs->blocks, from->file, run->offset, run->n_bytes, to));
    if (kv_run_check(im->codec, &address, &shape, to, run->n_bytes) == RT_OK) return RT_OK;
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    kv_segment_quarantine(from, text);
    return rt_fail(RT_ECORRUPT, "%s: %s", from->path, text);
}

static rt_status copy_layer(importing *im, kv_writer *writer, int32_t layer) {
    kv_vault *vault = im->vault;
    int64_t run_bytes[KV_SEGMENT_HEADS_MAX];
    int64_t at = 0;
    for (int32_t i = 0; i < vault->shape.n_kv_heads; at += run_bytes[i++])
        RT_TRY(blame(im, i, read_run(im, i, layer, im->runs + at, &run_bytes[i])));
    kv_file *file = NULL;
    int64_t offset = 0;
    kv_writer_place(writer, layer, run_bytes, &file, &offset);
    return kv_blocks_write(vault->dirs.blocks, file, offset, at, im->runs);
}

static rt_status copy(importing *im) {
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

/* "PATH", or "PATH and N more" */
static void note_sources(const importing *im) {
    kv_vault *vault = im->vault;
    int32_t n_more = 0;
    for (int32_t i = 1; i < vault->shape.n_kv_heads; i++) n_more += im->from[i] != im->from[i - 1];
    char more[32] = "";
    if (n_more > 0) (void)snprintf(more, sizeof more, " and %" PRId32 " more", n_more);
    (void)snprintf(
            vault->imported_from, sizeof vault->imported_from, "%s%s", im->from[0]->path, more);
}

static rt_status import_once(kv_vault *vault, const kv_hash *chain, bool *is_blamed) {
    importing im = {.vault = vault, .chain = chain};
    rt_status status = open_sources(&im);
    if (status == RT_OK) status = copy(&im);
    if (status == RT_OK) note_sources(&im);
    *is_blamed = im.is_blamed;
    close_sources(&im);
    return status;
}

rt_status kv_vault_import(kv_vault *vault, const kv_hash *chain, bool *is_there) {
    bool is_blamed = true;
    rt_status status = RT_EIO;
    *is_there = false;
    RT_TRY(look_for(vault, chain));
    if (vault->n_foreign == 0) return RT_OK;
    while (status != RT_OK && status != RT_ENOMEM && is_blamed)
        status = import_once(vault, chain, &is_blamed);
    *is_there = status == RT_OK;
    return status == RT_ENOMEM ? status : RT_OK;
}

rt_status kv_vault_import_children(kv_vault *vault, const kv_hash *parent) {
    bool is_there = false;
    for (int64_t i = 0; i < vault->n_foreign; i++) {
        const kv_hash chain = vault->foreign[i].chain; /* an import may add to the list */
        if (kv_hash_equal(&vault->foreign[i].parent, parent) && !kv_vault_know(vault, &chain))
            RT_TRY(kv_vault_import(vault, &chain, &is_there));
    }
    return RT_OK;
}
