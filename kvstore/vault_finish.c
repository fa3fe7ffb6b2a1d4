/* Finishing segments, those of a span all at once: on a slow disk it is the syncs that take time, and here as many of
 * them are waited for one after another for a hundred segments as for one, or a few times as many (io_sync.c).
 *
 *   complete   header, ids, index and footer of every file; sizes; the files synced side by side
 *   name       the vault's lock held: how large such segments were before is forgotten; the files renamed in order; their
 *              directories synced side by side
 *   publish    the segments in the index; opened again, which verifies all but their runs
 *
 * Of segments some of which cannot be finished the first ones are, up to the first that cannot: what fails for all
 * together is tried one by one. A crash in between leaves any of the names, each of a whole segment; one whose parent is
 * missing is found as soon as that is written again. */
#include <inttypes.h>
#include <stdlib.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_writer.h"

/* ---- complete -------------------------------------------------------------------------------- */

static int64_t file_bytes(const kv_writer *writer) {
    return writer->at + kv_segment_index_bytes(&writer->header.shape) + KV_BLOCK_BYTES;
}

static void queue_ids(kv_writer *writer) {
    const int64_t n_bytes = writer->header.n_tokens * (int64_t)sizeof *writer->ids;
    kv_blocks_queue(writer->vault->dirs.blocks, writer->file, KV_BLOCK_BYTES, n_bytes, writer->ids);
}

static rt_status queue_index(kv_writer *writer, uint64_t *checksum) {
    const kv_segment_shape *shape = &writer->header.shape;
    const int64_t n_bytes = kv_segment_index_bytes(shape);
    void *index = NULL;
    RT_TRY(rt_malloc(n_bytes, "a segment's index", &index));
    *checksum = kv_segment_write_index(shape, writer->places, index);
    kv_blocks_queue(writer->vault->dirs.blocks, writer->file, writer->at, n_bytes, index);
    free(index);
    return RT_OK;
}

/* All but the runs. */
static rt_status queue_parts(kv_writer *writer, bool is_complete) {
    uint8_t block[KV_BLOCK_BYTES];
    kv_blocks *blocks = writer->vault->dirs.blocks;
    kv_segment_footer footer = {.is_complete = is_complete,
            .index_offset = writer->at,
            .file_bytes = file_bytes(writer),
            .chain = writer->header.chain};
    footer.header_checksum = kv_segment_write_header(&writer->header, block);
    kv_blocks_queue(blocks, writer->file, 0, KV_BLOCK_BYTES, block);
    queue_ids(writer);
    RT_TRY(queue_index(writer, &footer.index_checksum));
    kv_segment_write_footer(&footer, block);
    kv_blocks_queue(
            blocks, writer->file, footer.file_bytes - KV_BLOCK_BYTES, KV_BLOCK_BYTES, block);
    return RT_OK;
}

static rt_status write_parts(kv_writer *const *writers, int32_t n, bool is_complete) {
    rt_status status = RT_OK;
    for (int32_t i = 0; i < n && status == RT_OK; i++)
        status = queue_parts(writers[i], is_complete);
    const rt_status settled = kv_blocks_settle(writers[0]->vault->dirs.blocks);
    return status == RT_OK ? settled : status;
}

rt_status kv_writers_complete(kv_writer *const *writers, int32_t n, bool is_complete) {
    kv_file **files = NULL;
    RT_TRY(rt_calloc(n, sizeof(kv_file *), "files of segments", &files));
    rt_status status = write_parts(writers, n, is_complete);
    for (int32_t i = 0; i < n && status == RT_OK; i++) {
        files[i] = writers[i]->file;
        status = kv_file_truncate(files[i], file_bytes(writers[i]));
    }
    if (status == RT_OK) status = kv_files_sync(writers[0]->vault->dirs.io, files, n);
    free(files);
    return status;
}

/* Of the first *n_done; all of them, or the next one's failure is returned. A file that could not be synced is not
 * synced again (kv_file_sync). */
static rt_status complete_first(kv_writer *const *writers, int32_t n, int32_t *n_done) {
    *n_done = n;
    if (n > 1 && kv_writers_complete(writers, n, true) == RT_OK) return RT_OK;
    for (*n_done = 0; *n_done < n; ++*n_done)
        RT_TRY(kv_writers_complete(writers + *n_done, 1, true));
    return RT_OK;
}

/* ---- name ------------------------------------------------------------------------------------ */

static rt_status rename_first(
        kv_writer *const *writers, int32_t n, const char *suffix, int32_t *n_renamed) {
    for (*n_renamed = 0; *n_renamed < n; ++*n_renamed) {
        kv_writer *writer = writers[*n_renamed];
        const kv_vault *vault = writer->vault;
        const kv_path path = kv_vault_path(vault, writer->dir, &writer->header.chain, suffix);
        RT_TRY(kv_path_rename(vault->dirs.io, writer->temporary.text, path.text));
        writer->temporary = path; /* which goes, if it is given up */
    }
    return RT_OK;
}

rt_status kv_writers_sync_folders(kv_writer *const *writers, int32_t n) {
    kv_path *folders = NULL;
    const char **paths = NULL;
    rt_status status = rt_calloc(n, sizeof *folders, "folders of segments", &folders);
    if (status == RT_OK) status = rt_calloc(n, sizeof(char *), "folders of segments", &paths);
    for (int32_t i = 0; i < n && status == RT_OK; i++) {
        folders[i] = kv_path_parent(&writers[i]->temporary);
        paths[i] = folders[i].text;
    }
    if (status == RT_OK) status = kv_paths_sync_dirs(writers[0]->vault->dirs.io, paths, n);
    free(folders);
    free(paths);
    return status;
}

rt_status kv_writers_name(
        kv_writer *const *writers, int32_t n, const char *suffix, int32_t *n_named) {
    rt_assert(writers[0]->vault->dirs.is_locked);
    const rt_status renamed = rename_first(writers, n, suffix, n_named);
    if (*n_named == 0) return renamed;
    const rt_status synced = kv_writers_sync_folders(writers, *n_named);
    if (synced != RT_OK) *n_named = 0;
    return synced != RT_OK ? synced : renamed;
}

/* ---- publish --------------------------------------------------------------------------------- */

static rt_status open_finished(kv_writer *writer, kv_segment **out) {
    const kv_known *known = kv_index_find(&writer->vault->index, &writer->header.chain);
    rt_assert(known);
    return kv_vault_open_segment(writer->vault, known, out);
}

/* The finished segment is in the index: whoever extends it, and is not finished too, holds it from here on. */
static rt_status hand_over(kv_writer *writer) {
    for (kv_writer *w = writer->vault->writers; w; w = w->next)
        if (w->file && !w->parent && kv_hash_equal(&w->header.parent, &writer->header.chain))
            RT_TRY(open_finished(writer, &w->parent));
    return RT_OK;
}

static rt_status publish(kv_writer *writer, kv_segment **segment) {
    kv_vault *vault = writer->vault;
    RT_TRY(kv_vault_learn(vault, &writer->header, writer->ids, writer->dir));
    vault->stats.n_written++;
    RT_TRY(hand_over(writer));
    return segment ? open_finished(writer, segment) : RT_OK;
}

/* The owners' locks end before the files: one that a late write goes on using, though it was repeated meanwhile, would keep
 * its lock, and we would wait for ourselves. */
static rt_status publish_first(
        kv_writer *const *writers, int32_t n, kv_segment **segments, int32_t *n_done) {
    for (int32_t i = 0; i < n; i++) {
        bool ignored;
        (void)!kv_file_lock(writers[i]->file, KV_IO_UNLOCKED, &ignored);
        kv_blocks_close_file(writers[i]->vault->dirs.blocks, writers[i]->file);
        writers[i]->file = NULL;
    }
    for (*n_done = 0; *n_done < n; ++*n_done)
        RT_TRY(publish(writers[*n_done], segments ? &segments[*n_done] : NULL));
    return RT_OK;
}

/* ---- the interface --------------------------------------------------------------------------- */

/* It is stored, or finished with it. */
static bool has_parent(kv_writer *const *writers, int32_t i) {
    const kv_writer *writer = writers[i];
    const kv_hash *parent = &writer->header.parent;
    return writer->parent || kv_hash_equal(&writer->vault->root, parent) ||
           (i > 0 && kv_hash_equal(&writers[i - 1]->header.chain, parent));
}

static rt_status check_first(kv_writer *const *writers, int32_t n, int32_t *n_good) {
    for (*n_good = 0; *n_good < n; ++*n_good) {
        const kv_writer *writer = writers[*n_good];
        rt_assert(kv_writer_n_layers(writer) == writer->header.shape.n_layers);
        if (!has_parent(writers, *n_good))
            return rt_fail(RT_EIO,
                    "kvstore: tokens from %" PRId64
                    " on cannot be kept: those before are not stored",
                    writer->header.first_pos);
    }
    return RT_OK;
}

/* Those that were there before, and may have been smaller, are not taken for what they were; what is known is kept again. */
static rt_status forget_sizes(kv_vault *vault, kv_writer *const *writers, int32_t n) {
    kv_hash *chains = NULL;
    bool is_forgotten;
    RT_TRY(rt_calloc(n, sizeof *chains, "names of segments", &chains));
    for (int32_t i = 0; i < n; i++) chains[i] = writers[i]->header.chain;
    const rt_status status = kv_dirs_forget_sizes(
            &vault->dirs, chains, n, kv_shard_number(vault->shard), &is_forgotten);
    if (is_forgotten) vault->n_learned = rt_max64(vault->n_learned, KV_KNOWN_WORTH);
    free(chains);
    return status;
}

/* Complete as they are, they get their names. */
static rt_status name_and_publish(
        kv_writer *const *writers, int32_t n, kv_segment **segments, int32_t *n_finished) {
    kv_vault *vault = writers[0]->vault;
    int32_t n_named = 0;
    RT_TRY(kv_dirs_lock(&vault->dirs));
    rt_status named = forget_sizes(vault, writers, n);
    if (named == RT_OK) named = kv_writers_name(writers, n, ".kvs", &n_named);
    for (int32_t i = n_named; i < n; i++) kv_writer_remove_file(writers[i]);
    const rt_status published = publish_first(writers, n_named, segments, n_finished);
    kv_dirs_unlock(&vault->dirs);
    kv_vault_keep_known(vault);
    return published != RT_OK ? published : named;
}

rt_status kv_writers_finish(
        kv_writer *const *writers, int32_t n, kv_segment **segments, int32_t *n_finished) {
    int32_t n_good = 0;
    *n_finished = 0;
    rt_status status = check_first(writers, n, &n_good);
    const rt_status completed = complete_first(writers, n_good, &n_good);
    if (completed != RT_OK) status = completed;
    if (n_good > 0) {
        const rt_status named = name_and_publish(writers, n_good, segments, n_finished);
        if (named != RT_OK) status = named;
    }
    for (int32_t i = 0; i < n; i++) status = kv_writer_give_up(writers[i], status);
    return status;
}

rt_status kv_writer_finish(kv_writer *writer, kv_segment **segment) {
    int32_t n_finished = 0;
    return kv_writers_finish(&writer, 1, segment, &n_finished);
}
