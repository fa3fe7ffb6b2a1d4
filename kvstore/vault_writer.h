/* A writer from inside: what vault_writer.c (begin and place), vault_finish.c and vault_suspend.c (to a .part file,
 * and back) share. */
#ifndef KV_VAULT_WRITER_H
#define KV_VAULT_WRITER_H

#include "vault_inside.h"

struct kv_writer {
    kv_vault *vault;
    kv_writer *next; /* of the vault's open ones */
    kv_segment_header header;
    int32_t *ids;
    kv_run_place *places; /* [n_layers][n_kv_heads]; 0 bytes: not placed */
    int64_t at;           /* where the next run goes */
    int32_t dir;
    kv_path temporary;
    kv_file *file;
    kv_segment *parent; /* NULL: the root, or not finished yet */
};

/* The open writer of the segment with this hash; NULL: none. */
kv_writer *kv_writer_of(const kv_vault *vault, const kv_hash *chain);

/* A writer without a file, its ids copied; kv_writer_free() undoes it. The arguments are kv_writer_begin's.
 * Errors: RT_ENOMEM */
RT_MUST_CHECK rt_status kv_writer_new(
        kv_vault *vault, const kv_segment_header *header, const int32_t *ids, kv_writer **out);
RT_MUST_CHECK rt_status kv_writer_make_header(kv_vault *vault, const kv_hash *parent,
        int64_t first_pos, const int32_t *ids, int32_t n_tokens, kv_segment_header *out);
/* What its file can come to, all layers in it. */
int64_t kv_writer_bytes_max(const kv_writer *writer);
/* It is one of the vault's open ones from here on. */
void kv_writer_link(kv_writer *writer);
/* Closes its file, whose content stays as it is. */
void kv_writer_free(kv_writer *writer);

/* The parent is the root, or stored (then it is held), or being written. The lock is held.
 * Errors: RT_EIO  it is none of them; as kv_vault_open_segment */
RT_MUST_CHECK rt_status kv_writer_hold_parent(kv_writer *writer);

/* vault_finish.c: all of several files but the runs: header, ids, index and a footer that says whether all layers are
 * there; their sizes; synced, side by side.
 * Errors: RT_EIO, RT_ENOFIT, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_writers_complete(
        kv_writer *const *writers, int32_t n_writers, bool is_complete);
/* They are: <chain><suffix> for each, in order, then their directories synced side by side. The lock is held. Of the
 * first *n_named the names are durable; that is all of them, or a failure is returned. What was renamed has its new name
 * as `temporary`.
 * Errors: RT_EIO, RT_ENOFIT, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_writers_name(
        kv_writer *const *writers, int32_t n_writers, const char *suffix, int32_t *n_named);
/* The directories of the names that they have as `temporary`, side by side. RT_EIO, RT_ENOFIT, RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_writers_sync_folders(kv_writer *const *writers, int32_t n_writers);
/* Its file, unless that is finished. One that was renamed has a name that is another writer's as soon as the lock is given
 * back: then it is removed before. */
void kv_writer_remove_file(kv_writer *writer);
/* Free the writer, and remove its file, unless that is finished. Returns `status`. */
RT_MUST_CHECK rt_status kv_writer_give_up(kv_writer *writer, rt_status status);

#endif
