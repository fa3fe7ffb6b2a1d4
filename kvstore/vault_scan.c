/* What lies in the vault's directories: DIR/vault, the folders in it, and the folders in those. Kinds
 * are told by names alone; whoever opens a file finds out whether the name is true.
 *
 * One level after another, so that on a slow disk all folders of a level are listed side by side, and all its files
 * looked at; segments that are known (vault_briefs.h) need no look. */
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

static kv_entry_kind kind_of(const char *name, kv_hash *hash, char shard[40]) {
    static const struct {
        const char *suffix;
        kv_entry_kind kind;
    } hashed[] = {{".kvs", KV_ENTRY_SEGMENT}, {".part", KV_ENTRY_PART}, {".state", KV_ENTRY_STATE},
            {".fingerprint", KV_ENTRY_FINGERPRINT}};
    for (size_t i = 0; i < sizeof hashed / sizeof *hashed; i++)
        if (is_hash_and(name, hashed[i].suffix, hash, shard)) return hashed[i].kind;
    if (ends_in(name, ".tmp")) return KV_ENTRY_TEMPORARY;
    if (ends_in(name, ".bad")) return KV_ENTRY_BAD;
    if (ends_in(name, ".book")) return KV_ENTRY_BOOK;
    if (strcmp(name, KV_KNOWN_NAME) == 0) return KV_ENTRY_KNOWN;
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

/* One name of a folder. */
static rt_status add_name(kv_listing *out, const kv_entry *folder, const char *name) {
    kv_entry entry = {.dir = folder->dir, .depth = folder->depth + 1};
    kv_path path;
    const int n = snprintf(path.text, sizeof path.text, "%s/%s", folder->path, name);
    if (n < 0 || n >= (int)sizeof path.text) return RT_OK; /* none of ours */
    const bool is_in_model = folder->depth == 1 && strlen(folder->name) == MODEL_DIGITS;
    (void)snprintf(
            entry.model, sizeof entry.model, "%s", is_in_model ? folder->name : folder->model);
    entry.path = strdup(path.text);
    if (!entry.path) return rt_fail(RT_ENOMEM, "kvstore: no memory to list %s", path.text);
    entry.name = strrchr(entry.path, '/') + 1;
    entry.kind = kind_of(entry.name, &entry.hash, entry.shard);
    const rt_status status = add(out, &entry);
    if (status != RT_OK) free(entry.path);
    return status;
}

/* What the folders among entries [from, to) have in them, behind all others. */
static rt_status list_folders(kv_dirs *dirs, kv_listing *out, int64_t from, int64_t to) {
    const char **paths = NULL;
    kv_names *names = NULL;
    int32_t n = 0;
    RT_TRY(rt_calloc(to - from + 1, sizeof *paths, "folders", &paths));
    for (int64_t i = from; i < to; i++)
        if (out->entries[i].kind == KV_ENTRY_DIR) paths[n++] = out->entries[i].path;
    rt_status status = rt_calloc(n + 1, sizeof *names, "names in folders", &names);
    if (status == RT_OK) status = kv_paths_list(dirs->io, paths, n, names);
    n = 0;
    for (int64_t i = from; i < to && names; i++) {
        if (out->entries[i].kind != KV_ENTRY_DIR) continue;
        const kv_entry folder = out->entries[i]; /* entries move as they become more */
        for (int64_t j = 0; j < names[n].n_names && status == RT_OK; j++)
            status = add_name(out, &folder, names[n].names[j]);
        kv_names_free(&names[n++]);
    }
    free(names);
    free(paths);
    return status;
}

/* What is known of an entry by now. */
static void judge(kv_entry *entry) {
    if (entry->stat.is_dir)
        entry->kind = KV_ENTRY_DIR;
    else if (!entry->stat.is_file)
        entry->kind = KV_ENTRY_OTHER;
    entry->bytes = entry->stat.physical_bytes;
    if (entry->kind == KV_ENTRY_TEMPORARY)
        entry->bytes = rt_max64(entry->bytes, reserved_bytes(entry->name));
}

/* Entries from `from` on that are not there any more are left out. */
static void judge_all(kv_listing *out, int64_t from) {
    int64_t n = from;
    for (int64_t i = from; i < out->n_entries; i++) {
        kv_entry *entry = &out->entries[i];
        if (entry->is_gone) {
            free(entry->path);
            continue;
        }
        judge(entry);
        out->bytes += entry->bytes;
        out->entries[n++] = *entry;
    }
    out->n_entries = n;
}

/* Those from `from` on, side by side. A segment that is known is there, with the size that is known. */
static rt_status look_at(kv_dirs *dirs, kv_listing *out, int64_t from) {
    const int64_t n_entries = out->n_entries - from;
    const char **paths = NULL;
    kv_io_stat *stats = NULL;
    bool *exist = NULL;
    int32_t n = 0;
    rt_status status = rt_calloc(n_entries + 1, sizeof *paths, "paths of the vault", &paths);
    if (status == RT_OK) status = rt_calloc(n_entries + 1, sizeof *stats, "sizes", &stats);
    if (status == RT_OK) status = rt_calloc(n_entries + 1, sizeof *exist, "sizes", &exist);
    for (int64_t i = from; i < out->n_entries && status == RT_OK; i++) {
        kv_entry *entry = &out->entries[i];
        const int64_t n_bytes = kv_dirs_known_size(dirs, entry);
        entry->is_unseen = n_bytes >= 0;
        if (entry->is_unseen)
            entry->stat = (kv_io_stat){.is_file = true, .physical_bytes = n_bytes};
        else
            paths[n++] = entry->path;
    }
    if (status == RT_OK) status = kv_paths_stat(dirs->io, paths, n, stats, exist);
    n = 0;
    for (int64_t i = from; i < out->n_entries && status == RT_OK; i++) {
        if (out->entries[i].is_unseen) continue;
        out->entries[i].stat = stats[n];
        out->entries[i].is_gone = !exist[n++];
    }
    free(paths);
    free(stats);
    free(exist);
    return status;
}

/* DIR/vault of every directory, as folders that are no entries. */
static rt_status list_roots(kv_dirs *dirs, kv_listing *out) {
    for (int32_t dir = 0; dir < dirs->n_dirs; dir++) {
        kv_io_stat st;
        bool exists;
        RT_TRY(kv_path_stat(dirs->io, dirs->roots[dir], &st, &exists));
        if (!exists) continue;
        out->bytes += st.physical_bytes;
        const kv_entry root = {.dir = dir, .path = dirs->roots[dir], .name = ""};
        kv_names names;
        rt_status status = kv_path_list(dirs->io, root.path, &names);
        for (int64_t i = 0; i < names.n_names && status == RT_OK; i++)
            status = add_name(out, &root, names.names[i]);
        kv_names_free(&names);
        RT_TRY(status);
    }
    return RT_OK;
}

static rt_status walk(kv_dirs *dirs, kv_listing *out) {
    int64_t from = 0;
    RT_TRY(list_roots(dirs, out));
    for (int depth = 1;; depth++) {
        if (depth == 1) RT_TRY(kv_dirs_load_known(dirs, out));
        RT_TRY(look_at(dirs, out, from));
        judge_all(out, from);
        const int64_t end = out->n_entries;
        if (depth == DEPTH_MAX || from == end) return RT_OK;
        RT_TRY(list_folders(dirs, out, from, end));
        from = end;
    }
}

rt_status kv_dirs_scan(kv_dirs *dirs, kv_listing *out) {
    *out = (kv_listing){0};
    const rt_status status = walk(dirs, out);
    if (status != RT_OK) kv_listing_free(out);
    return status;
}

void kv_listing_free(kv_listing *listing) {
    for (int64_t i = 0; i < listing->n_entries; i++) free(listing->entries[i].path);
    free(listing->entries);
    *listing = (kv_listing){0};
}
