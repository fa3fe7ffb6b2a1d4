/* Opening the vault, and what its parts share. vault_find.c reads, vault_writer.c and vault_suspend.c write. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_inside.h"

enum { FINGERPRINT_BYTES_MAX = 64 << 10, KNOWN_WORTH_MIDWAY = 4096 };

/* ---- shared ---------------------------------------------------------------------------------- */

kv_path kv_vault_path(
        const kv_vault *vault, int32_t dir, const kv_hash *chain, const char *suffix) {
    char ending[KV_SHARD_BYTES + 16];
    (void)snprintf(ending, sizeof ending, "%s%s", vault->shard, suffix);
    return kv_dirs_path(&vault->dirs, dir, &vault->fingerprint, chain, ending);
}

bool kv_vault_is_own(const kv_vault *vault, const kv_segment_header *header) {
    const kv_segment_shape *a = &vault->shape, *b = &header->shape;
    return kv_hash_equal(&vault->fingerprint, &header->fingerprint) && a->dtype == b->dtype &&
           a->n_layers == b->n_layers && a->n_kv_heads == b->n_kv_heads &&
           a->head_dim == b->head_dim && vault->heads.first == header->heads.first &&
           vault->heads.all == header->heads.all;
}

rt_status kv_vault_learn(
        kv_vault *vault, const kv_segment_header *header, const int32_t *ids, int32_t dir) {
    kv_brief brief = {.chain = header->chain,
            .parent = header->parent,
            .shard = kv_shard_number(vault->shard),
            .first_pos = header->first_pos,
            .bytes = KV_SIZE_UNKNOWN,
            .n_tokens = header->n_tokens};
    const int64_t n_ids = rt_min64(header->n_tokens, KV_BRIEF_IDS);
    memcpy(brief.head_ids, ids, (size_t)n_ids * sizeof *ids);
    RT_TRY(kv_briefs_put(&vault->dirs.learned, &brief));
    vault->n_learned++;
    return kv_index_add(&vault->index, &brief, dir);
}

static rt_status save_known(kv_vault *vault) {
    RT_TRY(kv_dirs_lock_stoppable(&vault->dirs));
    const rt_status status = kv_dirs_save_known(&vault->dirs, vault->disk_bytes_max);
    kv_dirs_unlock(&vault->dirs);
    return status;
}

/* Many segments that had to be looked into are not, the next time. Where that cannot be kept, they are; it is not told in
 * place of what a run has failed for. */
static void keep_known(kv_vault *vault, int64_t n_worth) {
    char why[KV_WHY_BYTES];
    if (vault->n_learned < n_worth) return;
    vault->n_learned = 0;
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    if (save_known(vault) == RT_OK) return;
    const rt_status restored = rt_fail(RT_EIO, "%s", why);
    (void)restored;
}

void kv_vault_keep_known(kv_vault *vault) {
    keep_known(vault, KNOWN_WORTH_MIDWAY);
}

static bool has_file(const kv_vault *vault, int32_t dir, const kv_hash *chain) {
    const kv_path path = kv_vault_path(vault, dir, chain, ".kvs");
    kv_io_stat st;
    bool exists;
    return kv_path_stat(vault->dirs.io, path.text, &st, &exists) == RT_OK && exists;
}

const kv_known *kv_vault_know(kv_vault *vault, const kv_hash *chain) {
    const kv_known *known = kv_index_find(&vault->index, chain);
    if (known && has_file(vault, known->dir, chain)) return known;
    kv_index_remove(&vault->index, chain); /* evicted by another, or quarantined */
    for (int32_t dir = 0; dir < vault->dirs.n_dirs; dir++) {
        const kv_path path = kv_vault_path(vault, dir, chain, ".kvs");
        if (!has_file(vault, dir, chain) ||
                kv_vault_look_into(vault, dir, path.text, chain) != RT_OK)
            continue;
        known = kv_index_find(&vault->index, chain);
        if (known) return known;
    }
    return NULL;
}

void kv_vault_put_by(kv_vault *vault, kv_segment *segment) {
    kv_segment **more = realloc(vault->ready, (size_t)(vault->n_ready + 1) * sizeof *more);
    if (!more) {
        kv_segment_close(segment);
        return;
    }
    vault->ready = more;
    vault->ready[vault->n_ready++] = segment;
}

void kv_vault_close_ready(kv_vault *vault) {
    for (int32_t i = 0; i < vault->n_ready; i++) kv_segment_close(vault->ready[i]);
    free(vault->ready);
    vault->ready = NULL;
    vault->n_ready = 0;
}

static kv_segment *take_ready(kv_vault *vault, const kv_hash *chain) {
    for (int32_t i = 0; i < vault->n_ready; i++) {
        kv_segment *segment = vault->ready[i];
        if (!segment || !kv_hash_equal(&segment->header.chain, chain)) continue;
        vault->ready[i] = NULL;
        return segment;
    }
    return NULL;
}

static rt_status put_aside(kv_vault *vault, const kv_path *path) {
    char why[KV_WHY_BYTES];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    const bool is_aside = kv_dirs_quarantine(&vault->dirs, path->text, why);
    return rt_fail(RT_ECORRUPT, "%s; %s", why, kv_aside_text(is_aside));
}

rt_status kv_vault_open_segment(kv_vault *vault, const kv_known *known, kv_segment **out) {
    const kv_hash chain = known->chain;
    if ((*out = take_ready(vault, &chain))) return RT_OK;
    const kv_path path = kv_vault_path(vault, known->dir, &chain, ".kvs");
    kv_segment *segment = NULL;
    rt_status status = kv_segment_open(&vault->dirs, path.text, &chain, &segment);
    if (status == RT_OK &&
            !(kv_vault_is_own(vault, &segment->header) && segment->footer.is_complete)) {
        kv_segment_close(segment);
        status = rt_fail(
                RT_ECORRUPT, "kvstore: %s is not of this model, or not complete", path.text);
    }
    if (status == RT_ECORRUPT) status = put_aside(vault, &path);
    if (status != RT_OK) {
        if (status != RT_ENOMEM) kv_index_remove(&vault->index, &chain);
        return status;
    }
    kv_path_touch(vault->dirs.io, path.text);
    *out = segment;
    return RT_OK;
}

/* ---- room and names -------------------------------------------------------------------------- */

static void count_space(kv_vault *vault, const kv_space_report *report) {
    vault->stats.n_swept += report->n_swept;
    vault->stats.n_evicted += report->n_evicted;
    vault->stats.bytes_used = report->bytes_used;
}

rt_status kv_vault_make_room(kv_vault *vault, int64_t n_bytes) {
    kv_space_report report;
    const rt_status status = kv_space_make_room(
            &vault->dirs, vault->disk_bytes_max, n_bytes + KV_SPACE_SLACK, &report);
    count_space(vault, &report);
    return status;
}

void kv_vault_discard(kv_vault *vault, const char *path) {
    char why[KV_WHY_BYTES]; /* it goes, mostly, for something that has failed: that is what is told */
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    if (kv_path_unlink(vault->dirs.io, path) == RT_OK) return;
    const rt_status restored = rt_fail(RT_EIO, "%s", why);
    (void)restored;
}

static rt_status create_locked(kv_vault *vault, const kv_path *path, kv_file **out) {
    bool got = false;
    RT_TRY(kv_file_open(vault->dirs.io, path->text, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, out));
    rt_status status = kv_file_lock(*out, KV_IO_EXCLUSIVE, &got);
    if (status == RT_OK && got) return RT_OK;
    if (status == RT_OK) status = rt_fail(RT_EIO, "kvstore: %s cannot be locked", path->text);
    kv_blocks_close_file(vault->dirs.blocks, *out);
    *out = NULL;
    kv_vault_discard(vault, path->text);
    return status;
}

rt_status kv_vault_make_way(kv_vault *vault) {
    kv_space_report report;
    RT_TRY(kv_space_shrink(&vault->dirs, vault->stats.bytes_used, &report));
    count_space(vault, &report);
    return RT_OK;
}

/* Once, let others go, as much as is asked for: their count has the new file in it, with all that it reserves, and files that
 * were created since all was counted are in bytes_used. */
static rt_status reserve(kv_vault *vault, kv_file *file, int64_t n_bytes) {
    const rt_status status = kv_file_reserve(file, n_bytes);
    if (status == RT_OK) vault->stats.bytes_used += n_bytes;
    if (status != RT_ENOFIT) return status;
    RT_TRY(kv_vault_make_way(vault));
    return kv_file_reserve(file, n_bytes);
}

rt_status kv_vault_create_file(
        kv_vault *vault, const kv_path *path, int64_t n_bytes, kv_path *temporary, kv_file **out) {
    rt_assert(vault->dirs.is_locked);
    *temporary = kv_dirs_temporary(path, n_bytes);
    RT_TRY(create_locked(vault, temporary, out));
    const rt_status status = reserve(vault, *out, n_bytes);
    if (status == RT_OK) return RT_OK;
    kv_blocks_close_file(vault->dirs.blocks, *out);
    kv_vault_discard(vault, temporary->text);
    *out = NULL;
    return status;
}

rt_status kv_vault_new_file(kv_vault *vault, int32_t dir, const kv_path *path, int64_t n_bytes,
        kv_path *temporary, kv_file **out) {
    rt_assert(vault->dirs.is_locked);
    RT_TRY(kv_vault_make_room(vault, n_bytes));
    RT_TRY(kv_dirs_make_for(&vault->dirs, dir, path));
    return kv_vault_create_file(vault, path, n_bytes, temporary, out);
}

rt_status kv_vault_name_file(kv_vault *vault, const kv_path *temporary, const kv_path *path) {
    rt_assert(vault->dirs.is_locked);
    const kv_path folder = kv_path_parent(path);
    rt_status status = kv_path_rename(vault->dirs.io, temporary->text, path->text);
    if (status != RT_OK) {
        kv_vault_discard(vault, temporary->text);
        return status;
    }
    status = kv_path_sync_dir(vault->dirs.io, folder.text);
    if (status != RT_OK) kv_vault_discard(vault, path->text);
    return status;
}

rt_status kv_vault_save_fingerprint(kv_vault *vault) {
    char hex[KV_HEX_BYTES], name[KV_HEX_BYTES + 16];
    (void)snprintf(name, sizeof name, "%s.fingerprint", kv_hash_hex(&vault->fingerprint, hex));
    char folder[9];
    (void)snprintf(folder, sizeof folder, "%.8s", hex);
    const kv_path path = kv_dirs_join(&vault->dirs, 0, folder, name);
    kv_io_stat st;
    bool exists;
    RT_TRY(kv_path_stat(vault->dirs.io, path.text, &st, &exists));
    if (exists) return RT_OK;
    const int64_t n_bytes = (int64_t)strlen(vault->fingerprint_text);
    RT_TRY(kv_vault_make_room(vault, n_bytes + KV_IO_ALIGN));
    return kv_dirs_write_text(&vault->dirs, 0, &path, vault->fingerprint_text, n_bytes);
}

/* ---- open, close ----------------------------------------------------------------------------- */

/* Another model's text: the first that can be read tells how it differs. */
static void note_other(kv_vault *vault, const kv_entry *entry) {
    if (*vault->others || kv_hash_equal(&entry->hash, &vault->fingerprint)) return;
    char *text = NULL;
    int64_t n_bytes;
    bool exists;
    if (kv_dirs_read_text(&vault->dirs, entry->path, FINGERPRINT_BYTES_MAX, &text, &n_bytes,
                &exists) == RT_OK &&
            exists)
        (void)kv_fingerprint_difference(
                text, vault->fingerprint_text, vault->others, KV_REASON_BYTES);
    free(text);
}

/* What is known of it is enough, or nobody wants to know more. */
static rt_status index_known(
        kv_vault *vault, const kv_entry *entry, const char *model, bool *is_unknown) {
    *is_unknown = false;
    if (entry->kind == KV_ENTRY_FINGERPRINT) note_other(vault, entry);
    if (entry->kind == KV_ENTRY_OTHER) vault->stats.n_strays++;
    if (entry->kind != KV_ENTRY_SEGMENT || strncmp(entry->model, model, 8) != 0) return RT_OK;
    *is_unknown = true;
    if (strcmp(entry->shard, vault->shard) != 0) return RT_OK;
    const kv_path place = kv_vault_path(vault, entry->dir, &entry->hash, ".kvs");
    const bool is_in_place = strcmp(place.text, entry->path) == 0;
    const kv_brief *brief = kv_dirs_brief(&vault->dirs, entry);
    *is_unknown = is_in_place && !brief;
    vault->stats.n_strays += !is_in_place;
    return is_in_place && brief ? kv_index_add(&vault->index, brief, entry->dir) : RT_OK;
}

static rt_status index_listed(kv_vault *vault, const kv_listing *listing, const char *model) {
    const kv_entry **some = NULL;
    int64_t n = 0;
    rt_status status =
            rt_calloc(listing->n_entries + 1, sizeof(kv_entry *), "segments to look into", &some);
    for (int64_t i = 0; i < listing->n_entries && status == RT_OK; i++) {
        bool is_unknown;
        status = index_known(vault, &listing->entries[i], model, &is_unknown);
        if (is_unknown) some[n++] = &listing->entries[i];
    }
    for (int64_t i = 0; i < n && status == RT_OK; i += KNOWN_WORTH_MIDWAY) {
        status = kv_vault_look_into_all(
                vault, &vault->dirs, some + i, rt_min64(n - i, KNOWN_WORTH_MIDWAY));
        kv_vault_keep_known(vault);
    }
    free(some);
    return status;
}

/* What lies there, without dead temporaries. Where nothing can be locked, as in a read-only directory, what is there can
 * still be read. */
static rt_status sweep(kv_vault *vault, kv_listing *listing) {
    kv_space_report report;
    rt_status status = kv_dirs_lock_stoppable(&vault->dirs);
    if (status == RT_OK) {
        status = kv_space_sweep(&vault->dirs, listing, &report);
        kv_dirs_unlock(&vault->dirs);
        if (status == RT_OK) count_space(vault, &report);
        return status;
    }
    status = kv_dirs_scan(&vault->dirs, listing);
    vault->stats.bytes_used = listing->bytes;
    return status;
}

static rt_status index_all(kv_vault *vault, bool is_on_top) {
    kv_listing listing;
    char model[KV_HEX_BYTES];
    kv_hash_hex(&vault->fingerprint, model);
    RT_TRY(sweep(vault, &listing));
    if (is_on_top) vault->disk_bytes_max += vault->stats.bytes_used;
    const rt_status status = index_listed(vault, &listing, model);
    kv_listing_free(&listing);
    if (status == RT_OK) keep_known(vault, KV_KNOWN_WORTH);
    return status;
}

static rt_status copy_config(kv_vault *vault, const kv_vault_config *config) {
    vault->disk_bytes_max = config->disk_bytes_max;
    vault->shape = config->shape;
    vault->heads = config->heads;
    if (config->heads.all > 0)
        kv_shard_name(
                config->heads.first, config->shape.n_kv_heads, config->heads.all, vault->shard);
    vault->fingerprint = config->fingerprint;
    vault->fingerprint_text = strndup(config->fingerprint_text, FINGERPRINT_BYTES_MAX - 1);
    vault->others = calloc(1, KV_REASON_BYTES);
    if (!vault->fingerprint_text || !vault->others)
        return rt_fail(RT_ENOMEM, "kvstore: no memory for the fingerprint");
    return kv_chain_root(&config->fingerprint, &vault->root);
}

rt_status kv_vault_open(const kv_vault_config *config, kv_vault **out) {
    rt_assert(kv_segment_shape_is_valid(&config->shape) && config->disk_bytes_max >= 0);
    rt_assert(kv_heads_are_valid(&config->heads, config->shape.n_kv_heads));
    kv_vault *vault = NULL;
    rt_status status = RT_OK;
    RT_TRY(rt_calloc(1, sizeof *vault, "the vault", &vault));
    status = kv_dirs_open(config->io, config->dirs, config->n_dirs, &vault->dirs);
    if (status != RT_OK) {
        free(vault);
        return status;
    }
    RT_TRY_GOTO(status, copy_config(vault, config), out);
    RT_TRY_GOTO(status, kv_dirs_make(&vault->dirs), out);
    RT_TRY_GOTO(status, index_all(vault, config->is_on_top), out);
    if (config->n_other_dirs > 0)
        RT_TRY_GOTO(status,
                kv_dirs_open(
                        config->io, config->other_dirs, config->n_other_dirs, &vault->other_dirs),
                out);
    RT_TRY_GOTO(status, kv_vault_look_around(vault), out);
    *out = vault;
    return RT_OK;
out:
    kv_vault_close(vault);
    return status;
}

void kv_vault_close(kv_vault *vault) {
    if (!vault) return;
    rt_assert(!vault->writers);
    kv_vault_close_ready(vault);
    keep_known(vault, KV_KNOWN_WORTH);
    kv_index_free(&vault->index);
    kv_vault_forget_foreign(vault);
    if (vault->other_dirs.n_dirs > 0) kv_dirs_close(&vault->other_dirs);
    kv_dirs_close(&vault->dirs);
    free(vault->fingerprint_text);
    free(vault->others);
    free(vault);
}

kv_vault_stats kv_vault_stats_of(const kv_vault *vault) {
    kv_vault_stats stats = vault->stats;
    stats.n_segments = vault->index.n_known;
    stats.n_quarantined = vault->dirs.n_quarantined + vault->other_dirs.n_quarantined;
    stats.n_stuck = vault->dirs.n_stuck + vault->other_dirs.n_stuck;
    stats.last_bad = *vault->dirs.last_bad ? vault->dirs.last_bad : vault->other_dirs.last_bad;
    return stats;
}

const kv_hash *kv_vault_root(const kv_vault *vault) {
    return &vault->root;
}
