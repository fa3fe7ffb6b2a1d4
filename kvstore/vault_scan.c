/* What lies in the vault's directories: DIR/vault, the folders in it, and the folders in those. Kinds
 * are told by names alone; whoever opens a file finds out whether the name is true. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_dirs.h"

enum { DEPTH_MAX = 3, MODEL_DIGITS = 8 };

/* ---- names ----------------------------------------------------------------------------------- */

static bool ends_in(const char *name, const char *suffix) {
    const size_t n = strlen(name), n_suffix = strlen(suffix);
    return n > n_suffix && strcmp(name + n - n_suffix, suffix) == 0;
}

/* ".<number>-<number>of<number>" */
static bool is_shard(const char *text, size_t n) {
    int first, last, all, used = 0;
    char copy[40];
    if (n == 0) return true;
    if (n >= sizeof copy) return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    return sscanf(copy, ".%6d-%6dof%6d%n", &first, &last, &all, &used) == 3 && used == (int)n;
}

/* "<64 hex><shard><suffix>" */
static bool is_hash_and(const char *name, const char *suffix, kv_hash *hash, char shard[40]) {
    const size_t n = strlen(name), n_fixed = KV_HEX_BYTES - 1 + strlen(suffix);
    if (n < n_fixed || !ends_in(name, suffix) || !kv_hash_parse(name, hash)) return false;
    if (!is_shard(name + KV_HEX_BYTES - 1, n - n_fixed)) return false;
    memcpy(shard, name + KV_HEX_BYTES - 1, n - n_fixed);
    shard[n - n_fixed] = 0;
    return true;
}

static kv_entry_kind kind_of(
        const char *name, const kv_io_stat *st, kv_hash *hash, char shard[40]) {
    static const struct {
        const char *suffix;
        kv_entry_kind kind;
    } hashed[] = {{".kvs", KV_ENTRY_SEGMENT}, {".part", KV_ENTRY_PART}, {".state", KV_ENTRY_STATE},
            {".fingerprint", KV_ENTRY_FINGERPRINT}};
    if (st->is_dir) return KV_ENTRY_DIR;
    if (!st->is_file) return KV_ENTRY_OTHER;
    for (size_t i = 0; i < sizeof hashed / sizeof *hashed; i++)
        if (is_hash_and(name, hashed[i].suffix, hash, shard)) return hashed[i].kind;
    if (ends_in(name, ".tmp")) return KV_ENTRY_TEMPORARY;
    if (ends_in(name, ".bad")) return KV_ENTRY_BAD;
    if (ends_in(name, ".book")) return KV_ENTRY_BOOK;
    return strcmp(name, "lock") == 0 ? KV_ENTRY_LOCK : KV_ENTRY_OTHER;
}

/* The number in "<pid>.<random>.<reserved bytes>.tmp"; 0 if there is none. */
static int64_t reserved_bytes(const char *name) {
    const char *dot = strchr(name, '.');
    dot = dot ? strchr(dot + 1, '.') : NULL;
    const long long n = dot ? strtoll(dot + 1, NULL, 10) : 0;
    return rt_min64(rt_max64(n, 0), INT64_MAX / 1024);
}

/* ---- the walk -------------------------------------------------------------------------------- */

static rt_status add(kv_listing *listing, const kv_entry *entry) {
    RT_TRY(rt_make_room(&listing->entries, sizeof *listing->entries, listing->n_entries,
            &listing->room, "files of the vault"));
    listing->entries[listing->n_entries++] = *entry;
    return RT_OK;
}

static rt_status walk(kv_dirs *dirs, int32_t dir, const kv_path *folder, const char *model,
        int depth, kv_listing *out);

/* One name of a folder: the entry, and what is below it. */
static rt_status visit(kv_dirs *dirs, int32_t dir, const kv_path *folder, const char *name,
        const char *model, int depth, kv_listing *out) {
    kv_path path;
    const int n = snprintf(path.text, sizeof path.text, "%s/%s", folder->text, name);
    if (n < 0 || n >= (int)sizeof path.text) return RT_OK; /* none of ours */
    kv_entry entry = {.dir = dir};
    bool exists;
    RT_TRY(kv_path_stat(dirs->io, path.text, &entry.stat, &exists));
    if (!exists) return RT_OK;
    entry.kind = kind_of(name, &entry.stat, &entry.hash, entry.shard);
    (void)snprintf(entry.model, sizeof entry.model, "%s", model);
    entry.bytes = entry.stat.physical_bytes;
    if (entry.kind == KV_ENTRY_TEMPORARY) entry.bytes = rt_max64(entry.bytes, reserved_bytes(name));
    entry.path = strdup(path.text);
    if (!entry.path) return rt_fail(RT_ENOMEM, "kvstore: no memory to list %s", path.text);
    entry.name = strrchr(entry.path, '/') + 1;
    if (add(out, &entry) != RT_OK) {
        free(entry.path);
        return RT_ENOMEM;
    }
    out->bytes += entry.bytes;
    if (entry.kind != KV_ENTRY_DIR || depth == DEPTH_MAX) return RT_OK;
    const bool is_model = depth == 1 && strlen(name) == MODEL_DIGITS;
    return walk(dirs, dir, &path, is_model ? name : model, depth + 1, out);
}

static rt_status walk(kv_dirs *dirs, int32_t dir, const kv_path *folder, const char *model,
        int depth, kv_listing *out) {
    kv_names names;
    RT_TRY(kv_path_list(dirs->io, folder->text, &names));
    rt_status status = RT_OK;
    for (int64_t i = 0; i < names.n_names && status == RT_OK; i++)
        status = visit(dirs, dir, folder, names.names[i], model, depth, out);
    kv_names_free(&names);
    return status;
}

rt_status kv_dirs_scan(kv_dirs *dirs, kv_listing *out) {
    *out = (kv_listing){0};
    for (int32_t dir = 0; dir < dirs->n_dirs; dir++) {
        const kv_path root = kv_dirs_join(dirs, dir, "", "");
        kv_io_stat st;
        bool exists;
        rt_status status = kv_path_stat(dirs->io, root.text, &st, &exists);
        if (status == RT_OK && exists) {
            out->bytes += st.physical_bytes;
            status = walk(dirs, dir, &root, "", 1, out);
        }
        if (status != RT_OK) {
            kv_listing_free(out);
            return status;
        }
    }
    return RT_OK;
}

void kv_listing_free(kv_listing *listing) {
    for (int64_t i = 0; i < listing->n_entries; i++) free(listing->entries[i].path);
    free(listing->entries);
    *listing = (kv_listing){0};
}
