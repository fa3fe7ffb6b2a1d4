/* Suspending a segment, and going on with it. To suspend is to finish, but with a footer that says "not complete" and the
 * name <chain>.part, which no reader looks up. To resume:
 *
 *   open      the .part file, as its owner; another process may have it
 *   read      its header, ids, index and footer: the very segment, of this vault's model
 *   hold      its parent, as begin does
 *   take over a fresh temporary name, durably, before a byte changes; the whole room again
 *
 * What does not verify is quarantined, and is no suspended segment then. */
#include <fcntl.h>
#include <string.h>

#include "runtime/base/size.h"
#include "vault_writer.h"

static rt_status suspend_all(kv_writer *const *writers, int32_t n) {
    kv_vault *vault = writers[0]->vault;
    int32_t n_named = 0;
    RT_TRY(kv_writers_complete(writers, n, false));
    RT_TRY(kv_dirs_lock(&vault->dirs));
    const rt_status status = kv_writers_name(writers, n, ".part", &n_named);
    for (int32_t i = 0; i < n && status != RT_OK; i++) kv_writer_remove_file(writers[i]);
    kv_dirs_unlock(&vault->dirs);
    return status;
}

rt_status kv_writers_suspend(kv_writer *const *writers, int32_t n_writers, rt_status before) {
    const rt_status status =
            before == RT_OK && n_writers > 0 ? suspend_all(writers, n_writers) : before;
    for (int32_t i = 0; i < n_writers; i++)
        if (status == RT_OK)
            kv_writer_free(writers[i]);
        else
            kv_writer_abort(writers[i]);
    return status;
}

/* Open the suspended file as its owner. *found is false where there is none, or another owner. */
static rt_status open_part(kv_writer *writer, const kv_path *path, bool *found) {
    kv_vault *vault = writer->vault;
    kv_io_stat st;
    RT_TRY(kv_path_stat(vault->dirs.io, path->text, &st, found));
    *found = *found && st.is_file;
    if (!*found) return RT_OK;
    RT_TRY(kv_file_open(
            vault->dirs.io, path->text, O_RDWR | O_NOFOLLOW | O_NONBLOCK, &writer->file));
    return kv_file_lock(writer->file, KV_IO_EXCLUSIVE, found);
}

static bool is_as_expected(const kv_writer *writer, const kv_segment *part) {
    const kv_segment_header *h = &writer->header;
    return kv_vault_is_own(writer->vault, &part->header) && !part->footer.is_complete &&
           kv_hash_equal(&h->parent, &part->header.parent) &&
           h->first_pos == part->header.first_pos && h->n_tokens == part->header.n_tokens &&
           memcmp(writer->ids, part->ids, (size_t)h->n_tokens * sizeof *part->ids) == 0;
}

/* What is in it: read over a second descriptor, so that the owner's stays as it is. */
static rt_status read_part(kv_writer *writer, const kv_path *path) {
    kv_vault *vault = writer->vault;
    kv_file *file = NULL;
    kv_segment *part = NULL;
    RT_TRY(kv_file_open(vault->dirs.io, path->text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, &file));
    RT_TRY(kv_segment_adopt(&vault->dirs, path->text, &writer->header.chain, file, &part));
    const bool is_good = is_as_expected(writer, part);
    if (is_good) {
        const kv_segment_shape *shape = &part->header.shape;
        const size_t n_runs = (size_t)shape->n_layers * (size_t)shape->n_kv_heads;
        memcpy(writer->places, part->places, n_runs * sizeof *writer->places);
        writer->at = part->footer.index_offset;
    }
    kv_segment_close(part);
    return is_good ? RT_OK : rt_fail(RT_ECORRUPT, "kvstore: %s is another segment's", path->text);
}

/* A fresh temporary name, and then the whole room again: the old name is gone for good before
 * anything in the file changes, or a crash would leave it with half of what follows. */
static rt_status take_over(kv_writer *writer, const kv_path *path) {
    kv_vault *vault = writer->vault;
    kv_io *io = vault->dirs.io;
    const int64_t bytes_max = kv_segment_bytes_max(&vault->shape, writer->header.n_tokens);
    const kv_path folder = kv_path_parent(path);
    kv_io_stat st;
    RT_TRY(kv_file_stat(writer->file, &st));
    RT_TRY(kv_vault_make_room(vault, rt_max64(bytes_max - st.physical_bytes, 0)));
    writer->temporary = kv_dirs_temporary(path, bytes_max);
    RT_TRY(kv_path_rename(io, path->text, writer->temporary.text));
    rt_status status = kv_path_sync_dir(io, folder.text);
    if (status == RT_OK) status = kv_file_reserve(writer->file, bytes_max);
    if (status == RT_ENOFIT) { /* unchanged: perhaps another day */
        const rt_status ignored = kv_path_rename(io, writer->temporary.text, path->text);
        (void)ignored;
        return rt_fail(RT_ENOFIT, "kvstore: the disk is full: %s cannot be resumed", path->text);
    }
    if (status != RT_OK) kv_vault_discard(vault, writer->temporary.text);
    return status;
}

static rt_status resume_in(kv_writer *writer, int32_t dir, bool *found) {
    kv_vault *vault = writer->vault;
    const kv_path path = kv_vault_path(vault, dir, &writer->header.chain, ".part");
    rt_status status = open_part(writer, &path, found);
    if (status == RT_OK && *found) status = read_part(writer, &path);
    if (status == RT_OK && *found) status = kv_writer_hold_parent(writer);
    if (status == RT_OK && *found) status = take_over(writer, &path);
    if (status == RT_ECORRUPT) kv_dirs_quarantine(&vault->dirs, path.text, rt_error_text());
    if (status == RT_OK && *found) {
        writer->dir = dir;
        return RT_OK;
    }
    kv_blocks_close_file(vault->dirs.blocks, writer->file);
    writer->file = NULL;
    *found = false;
    return status == RT_ECORRUPT || status == RT_EUNSUPPORTED ? RT_OK : status;
}

static void discard_parts(kv_vault *vault, const kv_hash *chain) {
    for (int32_t dir = 0; dir < vault->dirs.n_dirs; dir++) {
        const kv_path path = kv_vault_path(vault, dir, chain, ".part");
        kv_vault_discard(vault, path.text);
    }
}

rt_status kv_writer_resume(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_tokens, kv_writer **out) {
    kv_segment_header header;
    kv_writer *writer = NULL;
    *out = NULL;
    RT_TRY(kv_writer_make_header(vault, parent, first_pos, ids, n_tokens, &header));
    if (kv_writer_of(vault, &header.chain)) return RT_OK;
    RT_TRY(kv_dirs_lock(&vault->dirs));
    rt_status status = RT_OK;
    bool found = false;
    if (kv_vault_know(vault, &header.chain))
        discard_parts(vault, &header.chain);
    else
        status = kv_writer_new(vault, &header, ids, &writer);
    for (int32_t dir = 0; dir < vault->dirs.n_dirs && writer && !found && status == RT_OK; dir++)
        status = resume_in(writer, dir, &found);
    kv_dirs_unlock(&vault->dirs);
    if (writer && !found) {
        kv_writer_free(writer);
        return status;
    }
    if (!writer) return status;
    kv_writer_link(writer);
    *out = writer;
    return RT_OK;
}
