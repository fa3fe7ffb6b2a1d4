/* Suspending segments, and going on with them. To suspend is to finish, but with a footer that says "not complete" and the
 * name <chain>.part, which no reader looks up. To resume, the lock held, each step for all of a span's segments:
 *
 *   open      the .part file, as its owner: another process may have it, and from here on it makes way for nothing
 *   read      its header, ids, index and footer: the very segment, of this vault's model
 *   hold      its parent, as begin does
 *   room      in the budget, for what all of them can still grow by
 *   take over a fresh temporary name, durably, before a byte changes; then the whole room again
 *
 * What does not verify is quarantined, and is no suspended segment then. Where one finds no room all are left as they were. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_writer.h"

/* ---- suspending ------------------------------------------------------------------------------ */

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

/* ---- finding --------------------------------------------------------------------------------- */

static kv_path part_path(const kv_writer *writer) {
    return kv_vault_path(writer->vault, writer->dir, &writer->header.chain, ".part");
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

static rt_status find_in(kv_writer *writer, int32_t dir) {
    const kv_path path = kv_vault_path(writer->vault, dir, &writer->header.chain, ".part");
    bool found = false;
    rt_status status = open_part(writer, &path, &found);
    if (status == RT_OK && found) status = read_part(writer, &path);
    if (status == RT_ECORRUPT) kv_dirs_quarantine(&writer->vault->dirs, path.text, rt_error_text());
    if (status == RT_OK && found) {
        writer->dir = dir;
        return RT_OK;
    }
    kv_blocks_close_file(writer->vault->dirs.blocks, writer->file);
    writer->file = NULL;
    return status == RT_ECORRUPT || status == RT_EUNSUPPORTED ? RT_OK : status;
}

/* Its file, in whichever directory; without one it has none. */
static rt_status find_part(kv_writer *writer) {
    for (int32_t dir = 0; dir < writer->vault->dirs.n_dirs && !writer->file; dir++)
        RT_TRY(find_in(writer, dir));
    return RT_OK;
}

static void discard_parts(kv_vault *vault, const kv_hash *chain) {
    for (int32_t dir = 0; dir < vault->dirs.n_dirs; dir++) {
        const kv_path path = kv_vault_path(vault, dir, chain, ".part");
        kv_vault_discard(vault, path.text);
    }
}

/* Its parent is the root, stored, or being written. */
static bool has_parent(kv_vault *vault, const kv_segment_header *header) {
    const kv_hash *parent = &header->parent;
    return kv_hash_equal(kv_vault_root(vault), parent) || kv_writer_of(vault, parent) ||
           kv_vault_know(vault, parent);
}

/* The owner of its suspended file, or NULL: there is none, or it is stored, or being written, or nobody could find it. */
static rt_status open_writer(
        kv_vault *vault, const kv_segment_header *header, const int32_t *ids, kv_writer **out) {
    kv_writer *writer = NULL;
    if (kv_writer_of(vault, &header->chain)) return RT_OK;
    if (kv_vault_know(vault, &header->chain)) {
        discard_parts(vault, &header->chain);
        return RT_OK;
    }
    if (!has_parent(vault, header)) return RT_OK;
    RT_TRY(kv_writer_new(vault, header, ids, &writer));
    const rt_status status = find_part(writer);
    if (!writer->file) {
        kv_writer_free(writer);
        return status;
    }
    kv_writer_link(writer);
    *out = writer;
    return RT_OK;
}

/* ---- taking over ----------------------------------------------------------------------------- */

static rt_status make_room(kv_vault *vault, kv_writer *const *writers, int32_t n) {
    int64_t n_bytes = 0;
    for (int32_t i = 0; i < n; i++) {
        kv_io_stat st;
        RT_TRY(kv_file_stat(writers[i]->file, &st));
        n_bytes += rt_max64(kv_writer_bytes_max(writers[i]) - st.physical_bytes, 0);
    }
    return kv_vault_make_room(vault, n_bytes);
}

static rt_status rename_part(kv_writer *writer) {
    const kv_path path = part_path(writer);
    const kv_path temporary = kv_dirs_temporary(&path, kv_writer_bytes_max(writer));
    RT_TRY(kv_path_rename(writer->vault->dirs.io, path.text, temporary.text));
    writer->temporary = temporary;
    return RT_OK;
}

static rt_status reserve_all(kv_writer *const *writers, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        RT_TRY(kv_file_reserve(writers[i]->file, kv_writer_bytes_max(writers[i])));
    return RT_OK;
}

/* Their names say already what they reserve: others make way for all of it. */
static rt_status reserve(kv_vault *vault, kv_writer *const *writers, int32_t n) {
    rt_status status = reserve_all(writers, n);
    if (status == RT_ENOFIT) {
        RT_TRY(kv_vault_make_way(vault));
        status = reserve_all(writers, n);
    }
    if (status != RT_ENOFIT) return status;
    const kv_path path = part_path(writers[0]);
    return rt_fail(RT_ENOFIT, "kvstore: the disk is full: %s%s cannot be resumed", path.text,
            n > 1 ? " and others" : "");
}

/* The old names are gone for good before anything in a file changes, or a crash would leave one with half of what
 * follows. */
static rt_status take_over(kv_vault *vault, kv_writer *const *writers, int32_t n) {
    for (int32_t i = 0; i < n; i++) RT_TRY(kv_writer_hold_parent(writers[i]));
    RT_TRY(make_room(vault, writers, n));
    for (int32_t i = 0; i < n; i++) RT_TRY(rename_part(writers[i]));
    RT_TRY(kv_writers_sync_folders(writers, n));
    return reserve(vault, writers, n);
}

/* Perhaps another day: those that were renamed are suspended again, the others are as they were. */
static void leave(kv_writer **writers, int32_t n) {
    char why[KV_WHY_BYTES];
    int32_t n_renamed = 0;
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    for (int32_t i = 0; i < n; i++)
        if (*writers[i]->temporary.text)
            writers[n_renamed++] = writers[i];
        else
            kv_writer_free(writers[i]);
    if (kv_writers_suspend(writers, n_renamed, RT_OK) == RT_OK) return;
    const rt_status restored = rt_fail(RT_EIO, "%s", why);
    (void)restored;
}

/* ---- resuming -------------------------------------------------------------------------------- */

/* Writers of n headers; those that are not NULL in `some`, too, also on failure. The lock is held. */
static rt_status resume_all(kv_vault *vault, const kv_segment_header *headers, const int32_t *ids,
        int32_t n, kv_writer **out, kv_writer **some, int32_t *n_some) {
    for (int32_t i = 0; i < n; i++) {
        RT_TRY(open_writer(vault, &headers[i], ids + (int64_t)i * KV_SEGMENT_TOKENS, &out[i]));
        if (out[i]) some[(*n_some)++] = out[i];
    }
    return *n_some > 0 ? take_over(vault, some, *n_some) : RT_OK;
}

/* One, or several that are whole. */
static rt_status resume(kv_vault *vault, const kv_segment_header *headers, const int32_t *ids,
        int32_t n, kv_writer **out) {
    kv_writer **some = NULL;
    int32_t n_some = 0;
    for (int32_t i = 0; i < n; i++) out[i] = NULL;
    RT_TRY(rt_calloc(n + 1, sizeof(kv_writer *), "segments to resume", &some));
    rt_status status = kv_dirs_lock(&vault->dirs);
    if (status == RT_OK) {
        status = resume_all(vault, headers, ids, n, out, some, &n_some);
        kv_dirs_unlock(&vault->dirs);
    }
    if (status != RT_OK) leave(some, n_some);
    for (int32_t i = 0; i < n && status != RT_OK; i++) out[i] = NULL;
    free(some);
    return status;
}

rt_status kv_writer_resume(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_tokens, kv_writer **out) {
    kv_segment_header header;
    *out = NULL;
    RT_TRY(kv_writer_make_header(vault, parent, first_pos, ids, n_tokens, &header));
    return resume(vault, &header, ids, 1, out);
}

rt_status kv_writers_resume(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n, kv_writer **out) {
    kv_segment_header *headers = NULL;
    RT_TRY(rt_calloc(n + 1, sizeof *headers, "segments to resume", &headers));
    rt_status status = RT_OK;
    for (int32_t i = 0; i < n && status == RT_OK; i++) {
        const int64_t at = (int64_t)i * KV_SEGMENT_TOKENS;
        status = kv_writer_make_header(vault, i > 0 ? &headers[i - 1].chain : parent,
                first_pos + at, ids + at, KV_SEGMENT_TOKENS, &headers[i]);
    }
    if (status == RT_OK) status = resume(vault, headers, ids, n, out);
    free(headers);
    return status;
}
