/* Looking into segments of which nothing is known yet: those of the vault's own heads are indexed, others remembered as
 * what may be put together (vault_import.c). Many are looked into side by side; what cannot be read so is looked into
 * alone, where it is told why. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_inside.h"

static bool is_own_file(const kv_vault *vault, const kv_dirs *dirs, const kv_entry *entry) {
    return dirs == &vault->dirs && strcmp(entry->shard, vault->shard) == 0;
}

/* One that is named as a segment of this vault. */
static rt_status index_seen(kv_vault *vault, int32_t dir, const kv_segment_brief *brief) {
    if (kv_vault_is_own(vault, &brief->header) && brief->is_complete)
        return kv_vault_learn(vault, &brief->header, brief->head_ids, dir);
    vault->stats.n_strays++;
    return RT_OK;
}

rt_status kv_vault_look_into(kv_vault *vault, int32_t dir, const char *path, const kv_hash *chain) {
    kv_segment_brief brief;
    const rt_status status = kv_segment_peek(&vault->dirs, path, chain, &brief);
    if (status == RT_OK) return index_seen(vault, dir, &brief);
    if (status == RT_ENOMEM) return status;
    if (status == RT_ECORRUPT) kv_dirs_quarantine(&vault->dirs, path, rt_error_text());
    vault->stats.n_strays += status != RT_ECORRUPT;
    return RT_OK;
}

static rt_status look_alone(kv_vault *vault, kv_dirs *dirs, const kv_entry *entry) {
    if (!is_own_file(vault, dirs, entry))
        return kv_vault_note_foreign(vault, dirs, entry->path, &entry->hash);
    return kv_vault_look_into(vault, entry->dir, entry->path, &entry->hash);
}

static rt_status take_seen(
        kv_vault *vault, kv_dirs *dirs, const kv_entry *entry, const kv_segment_brief *brief) {
    if (!is_own_file(vault, dirs, entry))
        return kv_vault_note_foreign_seen(vault, dirs, entry->path, brief);
    return index_seen(vault, entry->dir, brief);
}

static rt_status look_side_by_side(
        kv_vault *vault, kv_dirs *dirs, const kv_entry *const *entries, int32_t n) {
    const char *paths[KV_PEEKS_AT_ONCE];
    const kv_hash *chains[KV_PEEKS_AT_ONCE];
    bool is_seen[KV_PEEKS_AT_ONCE];
    kv_segment_brief *briefs = NULL;
    rt_status status = RT_OK;
    RT_TRY(rt_calloc(n, sizeof *briefs, "a look into segments", &briefs));
    for (int32_t i = 0; i < n; i++) {
        paths[i] = entries[i]->path;
        chains[i] = &entries[i]->hash;
    }
    kv_segments_peek(dirs, paths, chains, n, briefs, is_seen);
    for (int32_t i = 0; i < n && status == RT_OK; i++)
        status = is_seen[i] ? take_seen(vault, dirs, entries[i], &briefs[i])
                            : look_alone(vault, dirs, entries[i]);
    free(briefs);
    return status;
}

rt_status kv_vault_look_into_all(
        kv_vault *vault, kv_dirs *dirs, const kv_entry *const *entries, int64_t n) {
    for (int64_t i = 0; i < n; i += KV_PEEKS_AT_ONCE)
        RT_TRY(look_side_by_side(
                vault, dirs, entries + i, (int32_t)rt_min64(n - i, KV_PEEKS_AT_ONCE)));
    return RT_OK;
}
