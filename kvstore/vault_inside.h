/* What the vault's own files share: vault.c (open), vault_find.c, vault_writer.c, vault_state.c and
 * others named below. */
#ifndef KV_VAULT_INSIDE_H
#define KV_VAULT_INSIDE_H

#include "segment.h"
#include "vault.h"
#include "vault_dirs.h"
#include "vault_index.h"
#include "vault_space.h"

/* A segment of the same model that holds other heads. */
typedef struct kv_foreign {
    kv_hash chain, parent;
    kv_heads heads;
    int32_t n_heads;
    kv_dirs *dirs; /* the vault's own, or the other ranks' */
    char *path;
    bool is_bad; /* during an import: it was tried */
} kv_foreign;

enum { KV_SHARD_BYTES = 40, KV_KNOWN_WORTH = 64 };

struct kv_vault {
    kv_dirs dirs;
    kv_dirs other_dirs; /* n_dirs 0: none */
    kv_foreign *foreign;
    int64_t n_foreign, foreign_room;
    char imported_from[KV_PATH_BYTES]; /* what the last import, or mending, read: for people */
    kv_heads heads;
    char shard[KV_SHARD_BYTES]; /* in the names of its files: ".2-3of4"; "" for all heads */
    int64_t disk_bytes_max;
    kv_segment_shape shape;
    kv_hash fingerprint;
    char *fingerprint_text;
    kv_hash root;
    kv_index index;
    kv_writer *writers; /* open */
    kv_segment **ready; /* [n_ready]: opened for a book's ids, and likely to be found next */
    int32_t n_ready;
    int64_t n_learned; /* segments that were looked into, or written, since what is known was kept: of KV_KNOWN_WORTH it is */
    char *others;      /* how the fingerprints of other folders differ; "" */
    kv_vault_stats stats;
};

/* What a file and its directories may take beside its data: tables of the file system. */
enum { KV_SPACE_SLACK = 32 << 10 };

/* The path of a segment of this vault. */
kv_path kv_vault_path(const kv_vault *vault, int32_t dir, const kv_hash *chain, const char *suffix);
/* vault_import.c: remember a file that holds other heads. Bad files are nobody's here. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_vault_note_foreign(
        kv_vault *vault, kv_dirs *dirs, const char *path, const kv_hash *chain);
/* The same of one that has been looked into. */
RT_MUST_CHECK rt_status kv_vault_note_foreign_seen(
        kv_vault *vault, kv_dirs *dirs, const char *path, const kv_segment_brief *brief);
/* The same of all other ranks' directories. */
RT_MUST_CHECK rt_status kv_vault_look_around(kv_vault *vault);
/* Import every segment that follows `parent`. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_vault_import_children(kv_vault *vault, const kv_hash *parent);
void kv_vault_forget_foreign(kv_vault *vault);
/* A file of other ranks that has this head of the segment; NULL: none. */
const kv_foreign *kv_vault_holder(const kv_vault *vault, const kv_hash *chain, int32_t head);
/* Whether every head of the segment is in some file beside this vault's own, whole or not. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_vault_has_copy(kv_vault *vault, const kv_hash *chain, bool *has_copy);
/* vault_look.c: look into a file that is named as a segment of this vault, and index it. What is damaged is quarantined,
 * what is another's counted. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_vault_look_into(
        kv_vault *vault, int32_t dir, const char *path, const kv_hash *chain);
/* Into segments that lie in `dirs`, this vault's own or not, many side by side. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_vault_look_into_all(
        kv_vault *vault, kv_dirs *dirs, const kv_entry *const *entries, int64_t n);
/* vault_shards.c: ".2-3of4", n heads from `first` on, of `all`. */
void kv_shard_name(int32_t first, int32_t n, int32_t all, char shard[KV_SHARD_BYTES]);
/* Whether a header is of this vault's model. */
bool kv_vault_is_own(const kv_vault *vault, const kv_segment_header *header);
/* The segment, if its file is there: from the index or, written by another process, from the disk. */
const kv_known *kv_vault_know(kv_vault *vault, const kv_hash *chain);
/* Into the index, and into what is known without a look; `ids` are its first ones, unverified. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_vault_learn(
        kv_vault *vault, const kv_segment_header *header, const int32_t *ids, int32_t dir);
/* Once so many were learnt that scans, which look at them until then, would take long; the lock is not held. */
void kv_vault_keep_known(kv_vault *vault);
/* Open one that is known. What does not verify is quarantined, what does not open forgotten. */
RT_MUST_CHECK rt_status kv_vault_open_segment(
        kv_vault *vault, const kv_known *known, kv_segment **out);
/* Instead of closing it: open, for whoever opens it next; closed after the next find. */
void kv_vault_put_by(kv_vault *vault, kv_segment *segment);
void kv_vault_close_ready(kv_vault *vault);
/* Room for n_bytes in the budget. The lock is held. */
RT_MUST_CHECK rt_status kv_vault_make_room(kv_vault *vault, int64_t n_bytes);
/* The disk has less than the budget: let others go, as much as everything, with what temporary names say that is reserved, is
 * more than when it was counted. The lock is held. */
RT_MUST_CHECK rt_status kv_vault_make_way(kv_vault *vault);
/* A fresh file beside `path` with room for n_bytes in the budget and on the disk, locked by its owner.
 * The lock is held. RT_ENOFIT, RT_EIO, RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_vault_new_file(kv_vault *vault, int32_t dir, const kv_path *path,
        int64_t n_bytes, kv_path *temporary, kv_file **out);
/* The same where there is room in the budget, and the folder is there. */
RT_MUST_CHECK rt_status kv_vault_create_file(
        kv_vault *vault, const kv_path *path, int64_t n_bytes, kv_path *temporary, kv_file **out);
/* Remove a file that is not needed; what cannot be removed is swept some day. */
void kv_vault_discard(kv_vault *vault, const char *path);
/* The file is synced: give it its name, durably. The lock is held. On failure it has neither name. */
RT_MUST_CHECK rt_status kv_vault_name_file(
        kv_vault *vault, const kv_path *temporary, const kv_path *path);
/* The fingerprint's text, once. The lock is held. */
RT_MUST_CHECK rt_status kv_vault_save_fingerprint(kv_vault *vault);

#endif
