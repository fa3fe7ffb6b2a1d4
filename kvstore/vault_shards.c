/* Which shards of a prefix can be read here: a rank's segments hold some KV heads, and what it needs of
 * others lies in files of theirs. */
#include <inttypes.h>
#include <stdio.h>

#include "runtime/base/size.h"
#include "vault_inside.h"

void kv_shard_name(int32_t first, int32_t n, int32_t all, char shard[KV_SHARD_BYTES]) {
    (void)snprintf(
            shard, KV_SHARD_BYTES, ".%" PRId32 "-%" PRId32 "of%" PRId32, first, first + n - 1, all);
}

/* *chain: after the segment that begins at `at`. */
static rt_status go_on(const int32_t *ids, int64_t n_ids, int64_t at, kv_hash *chain) {
    kv_hash next;
    const int64_t n = rt_min64(n_ids - at, KV_SEGMENT_TOKENS);
    RT_TRY(kv_chain_next(chain, ids + at, (int32_t)n, &next));
    *chain = next;
    return RT_OK;
}

rt_status kv_vault_lacks(kv_vault *vault, const int32_t *ids, int64_t n_ids, int32_t *head) {
    kv_hash chain = vault->root;
    *head = -1;
    for (int64_t at = 0; at < n_ids && *head < 0; at += KV_SEGMENT_TOKENS) {
        RT_TRY(go_on(ids, n_ids, at, &chain));
        if (kv_vault_know(vault, &chain)) continue;
        for (int32_t i = 0; i < vault->shape.n_kv_heads && *head < 0; i++)
            if (!kv_vault_holder(vault, &chain, vault->heads.first + i))
                *head = vault->heads.first + i;
    }
    return RT_OK;
}

static bool is_in(
        const kv_dirs *dirs, const kv_vault *vault, const kv_hash *chain, const char *suffix) {
    for (int32_t dir = 0; dir < dirs->n_dirs; dir++) {
        const kv_path path = kv_dirs_path(dirs, dir, &vault->fingerprint, chain, suffix);
        kv_io_stat st;
        bool exists = false;
        if (kv_path_stat(dirs->io, path.text, &st, &exists) == RT_OK && exists) return true;
    }
    return false;
}

static bool sees_segment(const kv_vault *vault, const kv_hash *chain, const char *shard) {
    static const char *const endings[] = {".kvs", ".kvs.bad"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char suffix[KV_SHARD_BYTES + 16];
        (void)snprintf(suffix, sizeof suffix, "%s%s", shard, endings[i]);
        if (is_in(&vault->dirs, vault, chain, suffix)) return true;
        if (is_in(&vault->other_dirs, vault, chain, suffix)) return true;
    }
    return false;
}

rt_status kv_vault_sees(kv_vault *vault, const int32_t *ids, int64_t n_ids, int32_t first,
        int32_t n, bool *is_seen) {
    char shard[KV_SHARD_BYTES] = "";
    kv_hash chain = vault->root;
    if (n < vault->heads.all) kv_shard_name(first, n, vault->heads.all, shard);
    *is_seen = false;
    for (int64_t at = 0; at < n_ids && !*is_seen; at += KV_SEGMENT_TOKENS) {
        RT_TRY(go_on(ids, n_ids, at, &chain));
        *is_seen = sees_segment(vault, &chain, shard);
    }
    return RT_OK;
}
