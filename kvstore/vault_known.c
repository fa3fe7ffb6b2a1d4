/* Keeping what is known of segments: DIR/vault/segments.known of every directory says it of those that lie there
 * (vault_briefs.h), so whoever writes one there again, whatever other directories it has, finds what it must forget.
 *
 * Only whole files replace one another, and each begins with a checksum of all of it: a file that begins as the last one
 * did that was read is that one, and is not read again. */
#include <fcntl.h>
#include <stdlib.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_dirs.h"

enum { KNOWN_BYTES_MAX = 1 << 30 };

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_read_already(kv_dirs *dirs, kv_file *file, const kv_briefs *kept) {
    char front[KV_IO_ALIGN];
    return kept->checksum != 0 &&
           kv_blocks_read(dirs->blocks, file, 0, sizeof front, front) == RT_OK &&
           kv_briefs_said_checksum(front, sizeof front) == kept->checksum;
}

/* What a directory keeps no more this process goes on to know, but for the sizes. */
static rt_status let_go(kv_dirs *dirs, kv_briefs *kept) {
    rt_status status = RT_OK;
    for (int64_t i = 0; i < kept->n && status == RT_OK; i++) {
        kept->all[i].bytes = KV_SIZE_UNKNOWN;
        status = kv_briefs_put(&dirs->learned, &kept->all[i]);
    }
    kv_briefs_free(kept);
    return status;
}

static rt_status read_file(kv_dirs *dirs, kv_file *file, kv_briefs *kept) {
    char *text = NULL;
    int64_t n_bytes;
    if (is_read_already(dirs, file, kept)) return RT_OK;
    RT_TRY(let_go(dirs, kept));
    rt_status status = kv_dirs_take_text(dirs, file, KNOWN_BYTES_MAX, &text, &n_bytes);
    if (status == RT_OK) status = kv_briefs_parse(kept, text, n_bytes);
    free(text);
    return status;
}

/* What a directory's file says now; *exists though nothing is kept, and its checksum is 0, where it cannot be read, or is
 * none of ours. RT_ENOMEM. */
static rt_status load(kv_dirs *dirs, int32_t dir, bool *exists) {
    const kv_path path = kv_dirs_join(dirs, dir, "", KV_KNOWN_NAME);
    kv_briefs *kept = &dirs->kept[dir];
    kv_file *file = NULL;
    kv_io_stat st;
    rt_status status = kv_path_stat(dirs->io, path.text, &st, exists);
    if (status != RT_OK) *exists = true; /* for all one can see */
    *exists = *exists && (status != RT_OK || st.is_file);
    if (status == RT_OK && *exists)
        status = kv_file_open(dirs->io, path.text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, &file);
    if (status == RT_OK) status = file ? read_file(dirs, file, kept) : let_go(dirs, kept);
    kv_blocks_close_file(dirs->blocks, file);
    if (status == RT_OK || status == RT_ENOMEM) return status;
    return let_go(dirs, kept);
}

static bool has_file(const kv_listing *roots, int32_t dir) {
    for (int64_t i = 0; i < roots->n_entries; i++)
        if (roots->entries[i].kind == KV_ENTRY_KNOWN && roots->entries[i].dir == dir) return true;
    return false;
}

rt_status kv_dirs_load_known(kv_dirs *dirs, const kv_listing *roots) {
    for (int32_t dir = 0; dir < dirs->n_dirs; dir++) {
        bool ignored;
        if (has_file(roots, dir) && !dirs->ignores_known)
            RT_TRY(load(dirs, dir, &ignored));
        else
            RT_TRY(let_go(dirs, &dirs->kept[dir]));
    }
    return RT_OK;
}

static const kv_brief *kept_brief(const kv_dirs *dirs, const kv_entry *entry) {
    return kv_briefs_find(&dirs->kept[entry->dir], &entry->hash, kv_shard_number(entry->shard));
}

const kv_brief *kv_dirs_brief(const kv_dirs *dirs, const kv_entry *entry) {
    if (entry->kind != KV_ENTRY_SEGMENT) return NULL;
    const kv_brief *kept = kept_brief(dirs, entry);
    return kept ? kept
                : kv_briefs_find(&dirs->learned, &entry->hash, kv_shard_number(entry->shard));
}

int64_t kv_dirs_known_size(const kv_dirs *dirs, const kv_entry *entry) {
    const kv_brief *kept = entry->kind == KV_ENTRY_SEGMENT ? kept_brief(dirs, entry) : NULL;
    return kept ? kept->bytes : KV_SIZE_UNKNOWN;
}

/* ---- keeping --------------------------------------------------------------------------------- */

/* A file system that counts blocks some time after it was told to sync them (ZFS) says too little until then, and what is
 * kept stays. */
static int64_t settled_size(const kv_entry *entry) {
    const kv_io_stat *st = &entry->stat;
    return st->physical_bytes >= st->n_bytes ? st->physical_bytes : KV_SIZE_UNKNOWN;
}

/* Of the segments in one directory; *text is NULL where there is nothing to say. */
static rt_status format_known(const kv_dirs *dirs, int32_t dir, const kv_listing *listing,
        char **text, int64_t *n_bytes) {
    kv_brief *some = NULL;
    int64_t n = 0;
    *text = NULL;
    RT_TRY(rt_calloc(listing->n_entries + 1, sizeof *some, "what is known of segments", &some));
    for (int64_t i = 0; i < listing->n_entries; i++) {
        const kv_entry *entry = &listing->entries[i];
        const kv_brief *brief = entry->dir == dir ? kv_dirs_brief(dirs, entry) : NULL;
        if (!brief) continue;
        some[n] = *brief;
        some[n++].bytes = settled_size(entry);
    }
    const rt_status status = n > 0 ? kv_briefs_format(some, n, text, n_bytes) : RT_OK;
    free(some);
    return status;
}

static rt_status save_in(
        kv_dirs *dirs, int32_t dir, const kv_listing *listing, int64_t bytes_max, int64_t *n_used) {
    const kv_path path = kv_dirs_join(dirs, dir, "", KV_KNOWN_NAME);
    char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(format_known(dirs, dir, listing, &text, &n_bytes));
    if (!text || kv_briefs_said_checksum(text, n_bytes) == dirs->kept[dir].checksum) {
        free(text);
        return RT_OK;
    }
    rt_status status = RT_OK;
    *n_used += n_bytes + 2 * KV_IO_ALIGN;
    if (*n_used > bytes_max) status = rt_fail(RT_ENOFIT, "kvstore: no room for %s", path.text);
    if (status == RT_OK) status = kv_dirs_write_text(dirs, dir, &path, text, n_bytes);
    free(text);
    return status;
}

rt_status kv_dirs_save_known(kv_dirs *dirs, int64_t bytes_max) {
    kv_listing listing;
    RT_TRY(kv_dirs_scan(dirs, &listing));
    int64_t n_used = listing.bytes;
    rt_status status = RT_OK;
    for (int32_t dir = 0; dir < dirs->n_dirs && status == RT_OK; dir++)
        status = save_in(dirs, dir, &listing, bytes_max, &n_used);
    kv_listing_free(&listing);
    return status;
}

/* ---- forgetting ------------------------------------------------------------------------------ */

/* What is kept is not what its file says any more, then. */
static bool forget_in(kv_briefs *kept, const kv_hash *chains, int32_t n, uint64_t shard) {
    bool is_changed = false;
    for (int32_t i = 0; i < n; i++) {
        const kv_brief *brief = kv_briefs_find(kept, &chains[i], shard);
        if (!brief || brief->bytes < 0) continue;
        kept->all[brief - kept->all].bytes = KV_SIZE_UNKNOWN;
        is_changed = true;
    }
    if (is_changed) kept->checksum = 0;
    return is_changed;
}

static rt_status write_kept(kv_dirs *dirs, int32_t dir, const kv_path *path) {
    kv_briefs *kept = &dirs->kept[dir];
    char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(kv_briefs_format(kept->all, kept->n, &text, &n_bytes));
    const rt_status status = kv_dirs_write_text(dirs, dir, path, text, n_bytes);
    if (status == RT_OK) kept->checksum = kv_briefs_said_checksum(text, n_bytes);
    free(text);
    return status;
}

/* It goes first, and so what is written takes no more room than there was. */
static rt_status replace(kv_dirs *dirs, int32_t dir) {
    const kv_path path = kv_dirs_join(dirs, dir, "", KV_KNOWN_NAME);
    RT_TRY(kv_path_unlink(dirs->io, path.text));
    if (dirs->kept[dir].n > 0 && write_kept(dirs, dir, &path) == RT_OK) return RT_OK;
    return kv_path_sync_dir(dirs->io, dirs->roots[dir]);
}

rt_status kv_dirs_forget_sizes(
        kv_dirs *dirs, const kv_hash *chains, int32_t n, uint64_t shard, bool *is_forgotten) {
    *is_forgotten = false;
    rt_assert(dirs->is_locked);
    for (int32_t dir = 0; dir < dirs->n_dirs; dir++) {
        bool exists;
        RT_TRY(load(dirs, dir, &exists));
        const bool is_unread = exists && dirs->kept[dir].checksum == 0;
        if (!forget_in(&dirs->kept[dir], chains, n, shard) && !is_unread) continue;
        RT_TRY(replace(dirs, dir));
        *is_forgotten = true;
    }
    return RT_OK;
}
