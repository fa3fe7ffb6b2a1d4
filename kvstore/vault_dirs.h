/* The directories under the vault: paths, the lock, what lies there. Shared by the vault, which has a
 * model, and the books, which need none. Private to kvstore. */
#ifndef KV_VAULT_DIRS_H
#define KV_VAULT_DIRS_H

#include "chain.h"
#include "io_blocks.h"
#include "vault_briefs.h"

enum { KV_PATH_BYTES = 4096, KV_DIRS_MAX = 1024, KV_WHY_BYTES = 512 };

typedef struct kv_dirs {
    kv_io *io;
    kv_blocks *blocks;
    int32_t n_dirs;
    char **roots;      /* "DIR/vault" */
    uint64_t *devices; /* [n_dirs]: that they are on; 0: not known */
    kv_file **locks;   /* [n_dirs]: open while locked */
    bool is_locked;
    kv_briefs *kept;       /* [n_dirs]: as the last scan found it in each */
    kv_briefs learned;     /* of segments, since these were opened; no sizes */
    bool ignores_known;    /* all is looked at, as where nothing was kept */
    int64_t n_quarantined; /* ever, through these */
    int64_t n_stuck;       /* and those that could not be put aside */
    char last_bad[KV_PATH_BYTES + KV_WHY_BYTES]; /* the last of them, and why; "" */
} kv_dirs;

/* Nothing is made yet. RT_EUSAGE: no directory, too many, too long. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_dirs_open(
        kv_io *io, const char *const *dirs, int32_t n_dirs, kv_dirs *out);
void kv_dirs_close(kv_dirs *dirs);
/* DIR/vault, durably. RT_EUSAGE: two are the same directory. RT_EIO, RT_ENOFIT. */
RT_MUST_CHECK rt_status kv_dirs_make(kv_dirs *dirs);

/* One process (and one kv_dirs) at a time: for whoever reserves, names or removes. Not recursive. A directory that has been
 * removed meanwhile is made again, on the file system that it was on: a drive that is not mounted any more is not to be
 * replaced by what its mount point lies on.
 * RT_EIO: cannot be locked, or another process held it for half a minute, or for 10 s since this one was asked to stop; that
 * it waits is told after 2 s. */
RT_MUST_CHECK rt_status kv_dirs_lock(kv_dirs *dirs);
/* The same where nothing is lost that was computed: whoever asks this process to stop ends the wait, and nothing is made.
 * RT_EINTERRUPTED, too. */
RT_MUST_CHECK rt_status kv_dirs_lock_stoppable(kv_dirs *dirs);
void kv_dirs_unlock(kv_dirs *dirs);

/* ---- paths ----------------------------------------------------------------------------------- */

typedef struct kv_path {
    char text[KV_PATH_BYTES];
} kv_path;

/* Where a hash belongs. */
int32_t kv_dirs_home(const kv_dirs *dirs, const kv_hash *hash);
/* DIR/vault/<8 hex>/<hh>/<hash><suffix> */
kv_path kv_dirs_path(const kv_dirs *dirs, int32_t dir, const kv_hash *fingerprint,
        const kv_hash *hash, const char *suffix);
/* A fresh name beside it, which says what is reserved. */
kv_path kv_dirs_temporary(const kv_path *beside, int64_t reserved_bytes);
/* A shared lock, until it is closed. Whoever removes a file locks it first, so one that is locked and has a name stays.
 * RT_EIO: it is another's, or has been removed */
RT_MUST_CHECK rt_status kv_dirs_hold(kv_file *file);
/* "DIR/vault/<folder>/<name>", folder or name may be "". */
kv_path kv_dirs_join(const kv_dirs *dirs, int32_t dir, const char *folder, const char *name);
/* The directory that a path is in. */
kv_path kv_path_parent(const kv_path *path);
/* Make the directories between DIR/vault and the path. */
RT_MUST_CHECK rt_status kv_dirs_make_for(const kv_dirs *dirs, int32_t dir, const kv_path *path);
/* The same of several paths, each with the number of its DIR. RT_EIO, RT_ENOFIT, RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_dirs_make_for_all(
        const kv_dirs *dirs, const int32_t *dir, const kv_path *paths, int32_t n);
/* Rename to .bad, and count; false: it could not be renamed. The thread's last error stays `why`, if it was. */
bool kv_dirs_quarantine(kv_dirs *dirs, const char *path, const char *why);
/* That, in words. */
const char *kv_aside_text(bool is_aside);

/* ---- what lies there ------------------------------------------------------------------------- */

typedef enum kv_entry_kind {
    KV_ENTRY_DIR,
    KV_ENTRY_SEGMENT,
    KV_ENTRY_PART,
    KV_ENTRY_STATE,
    KV_ENTRY_TEMPORARY,
    KV_ENTRY_BAD,
    KV_ENTRY_BOOK,
    KV_ENTRY_FINGERPRINT,
    KV_ENTRY_LOCK,
    KV_ENTRY_KNOWN,
    KV_ENTRY_OTHER
} kv_entry_kind;

typedef struct kv_entry {
    kv_entry_kind kind;
    int32_t dir;
    char *path;
    const char *name; /* its last component */
    char model[9];    /* the folder below DIR/vault it is in; "" */
    kv_hash hash;     /* in its name, where the kind has one */
    char shard[40];   /* and which heads, as ".2-3of4"; "" */
    int64_t bytes;    /* physical, or reserved where that is more */
    kv_io_stat stat;
    int32_t depth;  /* 1: in DIR/vault */
    bool is_unseen; /* a segment that is known: its stat has kind and size alone */
    bool is_gone;
} kv_entry;

typedef struct kv_listing {
    kv_entry *entries;
    int64_t n_entries;
    int64_t room;
    int64_t bytes; /* of all */
} kv_listing;

/* Everything below all DIR/vault. Files that come and go meanwhile may be missed. */
RT_MUST_CHECK rt_status kv_dirs_scan(kv_dirs *dirs, kv_listing *out);
void kv_listing_free(kv_listing *listing);

/* ---- what is known without a look (vault_known.c, vault_briefs.h) ----------------------------- */

#define KV_KNOWN_NAME "segments.known"
/* What the directories that are listed in `roots` have kept, as it is now. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_dirs_load_known(kv_dirs *dirs, const kv_listing *roots);
/* Of a segment; NULL: nothing. Until the next scan, or put. */
const kv_brief *kv_dirs_brief(const kv_dirs *dirs, const kv_entry *entry);
/* Its physical size as its directory has kept it; KV_SIZE_UNKNOWN. */
int64_t kv_dirs_known_size(const kv_dirs *dirs, const kv_entry *entry);
/* Keep what is known of the segments that are there, where that has changed. The lock is held.
 * Errors: RT_ENOFIT  no room in the budget, or on the disk; RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_dirs_save_known(kv_dirs *dirs, int64_t bytes_max);
/* How large these segments were, which are about to get their names, again then, is known no more, durably; *is_forgotten:
 * it was. All else stays known, where it can be written. The lock is held. RT_EIO, RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_dirs_forget_sizes(
        kv_dirs *dirs, const kv_hash *chains, int32_t n, uint64_t shard, bool *is_forgotten);

/* ---- small files ----------------------------------------------------------------------------- */

/* Text padded with new lines to whole blocks; written beside, synced, renamed, durable. The caller holds the lock and has
 * made room. */
RT_MUST_CHECK rt_status kv_dirs_write_text(
        kv_dirs *dirs, int32_t dir, const kv_path *path, const char *text, int64_t n_bytes);
/* The whole of it and a NUL; free(). *exists is false where there is no such regular file.
 * RT_ECORRUPT: larger than bytes_max, or no whole blocks. */
RT_MUST_CHECK rt_status kv_dirs_read_text(kv_dirs *dirs, const char *path, int64_t bytes_max,
        char **text, int64_t *n_bytes, bool *exists);
/* The same of a regular file that is open. */
RT_MUST_CHECK rt_status kv_dirs_take_text(
        kv_dirs *dirs, kv_file *file, int64_t bytes_max, char **text, int64_t *n_bytes);
/* The same of several regular files, side by side; texts[i] is NULL where that failed, to be read alone then. */
enum { KV_TEXTS_AT_ONCE = 32 };
void kv_dirs_read_texts(kv_dirs *dirs, const char *const *paths, int32_t n, int64_t bytes_max,
        char **texts, int64_t *n_bytes);

#endif
