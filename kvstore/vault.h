/* The vault: persisted prefixes. Immutable segment files, found by a chain of hashes over the model's
 * fingerprint and all token ids so far; books are names for some of them. Private to kvstore.
 *
 *   DIR/vault/lock                                   one process at a time reserves or removes
 *   DIR/vault/segments.known                         vault_known.c: what is known of those in DIR without opening them
 *   DIR/vault/books/NAME.book                        book_format.c; in the first DIR
 *   DIR/vault/<8 hex of fingerprint>/<hex>.fingerprint    its text, to explain mismatches
 *   DIR/vault/<8 hex of fingerprint>/<hh>/<chain hex>.kvs segment_format.c; hh: first 2 of the chain
 *                                         .../<chain hex>.2-3of4.kvs  of KV heads 2 and 3 of 4
 *                                         .../<chain hex>.part   a suspended segment
 *                                         .../<key hex>.state    vault_state.c, vault_records.c
 *                                         .../NUMBERS.tmp        being written; the owner holds a lock
 *                                         .../NAME.bad           quarantined
 *
 * With several DIRs, a file goes to DIR number (hash mod n) and is looked for in all of them.
 *
 *   a segment:  begin -> place ... -> finish -> found        suspend -> .part -> resume -> (place ...)
 *                          \-> abort: gone                     any death before finish: swept later
 *
 * Calls block, except that run data is moved by the caller with kv_io operations on a segment's or
 * writer's file. One thread at a time uses a vault; processes share its directories. What fails to
 * verify is renamed to .bad, counted, and is a miss; nothing here ever returns bytes it doubts. */
#ifndef KV_VAULT_H
#define KV_VAULT_H

#include "chain.h"
#include "codec.h"
#include "io_files.h"
#include "kvstore.h"
#include "segment_format.h"

typedef struct kv_vault kv_vault;
typedef struct kv_segment kv_segment;
typedef struct kv_writer kv_writer;

/* ---- the vault ------------------------------------------------------------------------------- */

typedef struct kv_vault_config {
    kv_io *io; /* the caller's; outlives the vault */
    const char *const *dirs;
    int32_t n_dirs;
    int64_t disk_bytes_max; /* hard cap of physical bytes below all DIR/vault */
    bool is_on_top;         /* of what is there already, which it does not count */
    const char *const
            *other_dirs; /* of other ranks: read, damaged files put aside; may be absent */
    int32_t n_other_dirs;
    kv_segment_shape shape;
    kv_heads heads;
    kv_hash fingerprint;
    const char *fingerprint_text; /* "key=value" lines */
} kv_vault_config;

/* Index what is there: every segment of this fingerprint, header and footer of those that are not known yet. Strays are skipped, bad
 * files quarantined, dead temporaries removed; none of them is an error, nor is a read-only
 * directory. Everything in `config` but io is copied.
 * Errors: RT_EUSAGE  no directory, or one twice; RT_EIO  a directory cannot be made or listed
 *         RT_ENOMEM */
RT_MUST_CHECK rt_status kv_vault_open(const kv_vault_config *config, kv_vault **out);
/* All segments, prefixes and writers must be closed. Accepts NULL. */
void kv_vault_close(kv_vault *vault);

typedef struct kv_vault_stats {
    int64_t n_segments;    /* in the index now */
    int64_t n_strays;      /* files at open that are none of ours, or of a later version */
    int64_t n_quarantined; /* ever: at open, by a find, by kv_segment_quarantine */
    int64_t n_stuck;       /* ever: that did not verify either, and could not be put aside */
    int64_t n_swept;       /* dead temporaries removed */
    int64_t n_evicted;     /* files removed to make room */
    int64_t n_written;     /* segments finished */
    int64_t bytes_used;    /* physical: all when it was counted last, and files created since */
    const char *last_bad;  /* path and reason of the last of both; "" if none; the vault's */
} kv_vault_stats;
kv_vault_stats kv_vault_stats_of(const kv_vault *vault);

/* The chain before the first token. */
const kv_hash *kv_vault_root(const kv_vault *vault);

/* ---- find ------------------------------------------------------------------------------------ */

enum { KV_REASON_BYTES = 512 };

/* The longest stored prefix of some ids. All segments but the last one match wholly; the last one
 * matches up to n_tokens. */
typedef struct kv_prefix {
    int64_t n_tokens;
    int32_t n_segments;
    kv_segment **segments;        /* opened, in order; may be taken out and set to NULL */
    char reason[KV_REASON_BYTES]; /* why it ends there, in words */
    bool is_failure;              /* what follows is there, and cannot be had */
} kv_prefix;

/* Ids are compared with the files' own. A segment that fails to verify, or cannot be opened, ends the
 * prefix before it.
 * Errors: RT_ENOMEM; anything else is a shorter prefix and a reason */
RT_MUST_CHECK rt_status kv_vault_find(
        kv_vault *vault, const int32_t *ids, int64_t n_ids, kv_prefix *out);
/* The same from `after` on, which is the chain of the first n_before of the ids, whole segments that are not looked for:
 * out->n_tokens counts those, too, and out->segments does not. */
RT_MUST_CHECK rt_status kv_vault_find_after(kv_vault *vault, const kv_hash *after, int64_t n_before,
        const int32_t *ids, int64_t n_ids, kv_prefix *out);
/* Texts that end with ids[n_ids], or with the one before, inside a segment: index that one, where another process has written
 * it. RT_ENOMEM */
RT_MUST_CHECK rt_status kv_vault_notice(kv_vault *vault, const int32_t *ids, int64_t n_ids);
/* How many tokens of ids kv_vault_find_after would find after kv_vault_notice: in whole segments, and in one behind them that is not
 * whole. They have their files, which are not looked into, but for the last one where its text does not end as this one does:
 * its ids are compared. What only other ranks have counts where their files have all heads: it is imported when it is to be
 * found. RT_ENOMEM */
RT_MUST_CHECK rt_status kv_vault_count_after(kv_vault *vault, const kv_hash *after,
        int64_t n_before, const int32_t *ids, int64_t n_ids, int64_t *n_tokens);
/* Close the segments that are still in it. */
void kv_prefix_free(kv_prefix *prefix);

/* How many of n whole segments, from the first one on, have their files still; they are not looked into.
 * Errors: RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_vault_still_has(
        kv_vault *vault, const int32_t *ids, int64_t n_segments, int64_t *n_there);

/* A segment of this vault's heads, put together from other ranks' where their files hold all of them; its
 * parent is stored. *is_there: it is stored now. *is_there false with status RT_OK: the thread's error
 * text says why ("... KV head 3 is in no directory that can be read").
 * Errors: RT_ENOMEM */
RT_MUST_CHECK rt_status kv_vault_import(kv_vault *vault, const kv_hash *chain, bool *is_there);

/* Of several ranks' books, what kv_store_lacks and kv_store_sees say (kvstore.h). */
RT_MUST_CHECK rt_status kv_vault_lacks(
        kv_vault *vault, const int32_t *ids, int64_t n_ids, int32_t *head);
RT_MUST_CHECK rt_status kv_vault_sees(kv_vault *vault, const int32_t *ids, int64_t n_ids,
        int32_t first, int32_t n, bool *is_seen);

/* ---- a segment, opened ----------------------------------------------------------------------- */

/* Verified header, ids, index, footer; runs are not read yet. While it is open nobody removes it. */
const kv_segment_header *kv_segment_header_of(const kv_segment *segment);
kv_file *kv_segment_file(const kv_segment *segment);
/* Runs of one layer, [n_kv_heads], side by side in the file; valid until the close. */
const kv_run_place *kv_segment_layer(const kv_segment *segment, int32_t layer);
/* kv_segment_run_address of its header. */
kv_run_address kv_segment_address(const kv_segment *segment, int32_t layer, int32_t kv_head);
/* A run of it did not decode: rename the file to .bad, so that nobody finds it again, unless that was
 * done, or another file has its name by now. False: it has its name still. The segment stays open until it is closed. */
bool kv_segment_quarantine(kv_segment *segment, const char *why);
/* No operation on its file is in flight. Accepts NULL. */
void kv_segment_close(kv_segment *segment);

/* ---- writing --------------------------------------------------------------------------------- */

/* Start a segment: ids[n_tokens] at first_pos after `parent` (a chain hash, or the root), n_tokens
 * 1 .. 4096, first_pos a multiple of 4096. Room for the largest it can get is reserved first, in the
 * budget and on the disk; unpinned segments, the cheapest to compute again first, make way. The parent
 * must be stored or begun by this vault; it, and what is before it, stays. Several may be open.
 * *out is NULL if that very segment is stored already: nothing to write.
 *
 * Errors, with which to go on without persistence: RT_ENOFIT  no room even so
 *         RT_EIO  the parent is not there, or the disk; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_writer_begin(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_tokens, kv_writer **out);

/* The same of whole segments, each the parent of the next: their room is made at once, their folders are made together.
 * All that are not stored already, or none of them and a failure. out: [n_segments] */
RT_MUST_CHECK rt_status kv_writers_begin(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_segments, kv_writer **out);

/* Chain hash and first position are its header's; the shape is that of every segment. */
const kv_segment_header *kv_writer_header(const kv_writer *writer);
kv_run_address kv_writer_address(const kv_writer *writer, int32_t layer, int32_t kv_head);
bool kv_writer_has_layer(const kv_writer *writer, int32_t layer);
/* Layers that are placed. */
int32_t kv_writer_n_layers(const kv_writer *writer);
/* Where the encoded runs of a layer go: all heads, run_bytes[n_kv_heads] as kv_run_encode returned
 * them, one after another from *offset on in *file. Layers come in any order, each once. The caller
 * writes them, waits, and only then finishes or suspends. */
void kv_writer_place(kv_writer *writer, int32_t layer, const int64_t *run_bytes, kv_file **file,
        int64_t *offset);

/* All layers are placed and written. On success the segment is durable and will be found; parents
 * are finished before children. `segment`, unless NULL, receives it opened. The writer is gone
 * either way; on failure, so is what was written (unless only opening it again failed).
 * Errors: RT_EIO, RT_ENOFIT, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_writer_finish(kv_writer *writer, kv_segment **segment);
/* The same of several, each the parent of the next or of none of them, whose files are synced side by side, and then their
 * names. The first *n_finished are as above, their segments open; that is all of them, or a failure is returned. segments:
 * [n_writers], or NULL. */
RT_MUST_CHECK rt_status kv_writers_finish(
        kv_writer *const *writers, int32_t n_writers, kv_segment **segments, int32_t *n_finished);
/* No operation on its file is in flight. Accepts NULL. */
void kv_writer_abort(kv_writer *writer);

/* Keep what is placed and written, durably, for a later process; the files are synced side by side. All or none are kept,
 * none if `before` is a failure, which is returned then. The writers are gone either way.
 * Errors: as finish */
RT_MUST_CHECK rt_status kv_writers_suspend(
        kv_writer *const *writers, int32_t n_writers, rt_status before);
/* Go on with a suspended segment, with the same arguments as begin. Its layers are there
 * (kv_writer_has_layer), their runs to be verified by whoever reads them (kv_writer_layer).
 * *out is NULL if there is none, or none that verifies. On failure it stays suspended.
 * Errors: as kv_writer_begin */
RT_MUST_CHECK rt_status kv_writer_resume(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_tokens, kv_writer **out);
/* The same of whole segments, each the parent of the next: their room is made at once, and none of them makes way for it.
 * out: [n_segments] */
RT_MUST_CHECK rt_status kv_writers_resume(kv_vault *vault, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_segments, kv_writer **out);
/* Runs of a layer that is placed, [n_kv_heads], in the writer's file. */
const kv_run_place *kv_writer_layer(const kv_writer *writer, int32_t layer);
kv_file *kv_writer_file(const kv_writer *writer);

/* ---- state ----------------------------------------------------------------------------------- */

typedef struct kv_part {
    void *bytes;
    int64_t n_bytes;
} kv_part;

/* Bytes beside a suspended prefill (its hidden states), under a key of the caller's: durable, replaced
 * whole, checksummed with the key.
 * Errors: RT_ENOFIT, RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_vault_save_state(
        kv_vault *vault, const kv_hash *key, const kv_part *parts, int32_t n_parts);
/* Sizes are the caller's, and must be those that were saved. *found is false where there is none, or
 * none that verifies, then the bytes are unspecified. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_vault_load_state(
        kv_vault *vault, const kv_hash *key, const kv_part *parts, int32_t n_parts, bool *found);
void kv_vault_drop_state(kv_vault *vault, const kv_hash *key);

/* State that is never in memory whole, under such a key, too: records that are added one after another and read in that
 * order, with the same sizes. However many they are, they cost two syncs, of the file and of its name's directory.
 *
 *   begin    room for records of bytes_max together (kv_record_bytes of each). RT_ENOFIT, RT_EIO, RT_ENOMEM
 *   add      the bytes are copied; what fails is said by finish
 *   finish   durable, and found under its key, in place of what was there; with a few bytes of the caller's, which
 *            open gives back. It is ended either way. RT_ENOFIT, RT_EIO
 *   open     *out is NULL where there are none, or none that verify. RT_ENOMEM
 *   read     *is_there is false where a record does not verify, or is another: then its bytes are unspecified. RT_ENOMEM
 *   end      of what is read; what is written is gone. Accepts NULL
 *   drop     end, and what was read is gone */
typedef struct kv_records kv_records;
int64_t kv_record_bytes(int64_t n_bytes);
RT_MUST_CHECK rt_status kv_records_begin(
        kv_vault *vault, const kv_hash *key, int64_t bytes_max, kv_records **out);
void kv_records_add(kv_records *records, const void *bytes, int64_t n_bytes);
RT_MUST_CHECK rt_status kv_records_finish(
        kv_records *records, const void *note, int64_t note_bytes);
RT_MUST_CHECK rt_status kv_records_open(
        kv_vault *vault, const kv_hash *key, void *note, int64_t note_bytes, kv_records **out);
RT_MUST_CHECK rt_status kv_records_read(
        kv_records *records, void *bytes, int64_t n_bytes, bool *is_there);
void kv_records_end(kv_records *records);
void kv_records_drop(kv_records *records);

/* ---- books ----------------------------------------------------------------------------------- */

/* Name the segments of a prefix, in order: they are kept until the book is removed. Replaces a
 * book of that name. n_tokens may end inside the last segment. `note`: lines for people
 * ("source=...").
 * Errors: RT_EUSAGE  the name, or the note has control characters
 *         RT_EIO  a segment is not stored (any more), or the disk; RT_ENOFIT, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_vault_write_book(kv_vault *vault, const char *name,
        const kv_hash *chains, int32_t n_segments, int64_t n_tokens, const char *note);
/* RT_EUSAGE: the book was made with another fingerprint; the text says how they differ. */
RT_MUST_CHECK rt_status kv_vault_check_book(const kv_vault *vault, const kv_book *book);

#endif
