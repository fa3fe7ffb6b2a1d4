/* KV store: where K and V are. Pages of one layer, 128 tokens each, held for sequences.
 *
 * The store hands out page memory and never looks inside: layout and values are attention's. A
 * sequence is a list of pages per layer plus a committed length. Tokens are added a span at a
 * time: begin (pages become writable), fill layer by layer through views, commit (they count) or
 * abort (they never were). Sequences share whole pages by counted references.
 *
 * Budgets are hard: the pool is one allocation made at open, reservations are made when a sequence
 * is created, and appending within a reservation cannot fail for want of room. One thread at a
 * time uses a store; a sequence changes state only while none of its views is out.
 *
 *   state of a sequence        idle --kv_span_begin--> open --kv_span_commit--> idle (longer)
 *                                                      open --kv_span_abort---> idle (as before) */
#ifndef KV_KVSTORE_H
#define KV_KVSTORE_H

#include "runtime/base/float16.h"
#include "runtime/base/status.h"

/* What a page holds, in numbers the store needs to describe it; values stay opaque. */
typedef struct kv_shape {
    rt_dtype dtype;
    int32_t n_kv_heads;
    int32_t head_dim;
    int32_t page_tokens; /* 128 */
} kv_shape;

typedef struct kv_config {
    kv_shape shape;
    int32_t n_layers;
    int64_t page_bytes;     /* one layer's page as attention lays it out */
    int64_t host_bytes_max; /* hard cap of page memory; whole pages of it are used */
} kv_config;

typedef struct kv_store kv_store;
typedef struct kv_seq kv_seq;

/* Pages of page memory that n_tokens of one sequence take, all layers. For plans. */
int64_t kv_pages_for(const kv_config *config, int64_t n_tokens);

/* Errors: RT_ENOFIT  host_bytes_max is less than one page per layer
 *         RT_ENOMEM  the pool could not be allocated */
RT_MUST_CHECK rt_status kv_store_open(const kv_config *config, kv_store **out);
/* All sequences must be gone. Accepts NULL. */
void kv_store_close(kv_store *store);

/* An empty sequence with room for max_tokens.
 * Errors: RT_ENOFIT  fewer unreserved pages than needed; the message says tokens asked and left */
RT_MUST_CHECK rt_status kv_seq_create(kv_store *store, int64_t max_tokens, kv_seq **out);
void kv_seq_free(kv_seq *seq);

/* A sequence holding the first n_tokens of `parent` (idle; n_tokens <= its length) with room for
 * max_tokens >= n_tokens. Whole pages are shared; a partial last page is copied.
 * Errors: as kv_seq_create. */
RT_MUST_CHECK rt_status kv_seq_fork(
        kv_seq *parent, int64_t n_tokens, int64_t max_tokens, kv_seq **out);

/* Committed tokens. */
int64_t kv_seq_length(const kv_seq *seq);
/* Tokens it has room for. */
int64_t kv_seq_max_tokens(const kv_seq *seq);

/* Forget tokens from n_tokens on (idle sequences). A page shared with another sequence is copied
 * before it is next written. Whole pages forgotten while shared stay with the other sequence: room
 * for their like is no longer reserved, and is sought again when a span begins. */
void kv_seq_truncate(kv_seq *seq, int64_t n_tokens);

/* Make positions [length, length + n_tokens) writable in every layer.
 * Errors: RT_EUSAGE  beyond max_tokens
 *         RT_ENOFIT  shared pages were truncated and nothing unreserved is left to replace them
 *         RT_EIO     reserved for tiers that can fail */
RT_MUST_CHECK rt_status kv_span_begin(kv_seq *seq, int64_t n_tokens);
/* The span's tokens count from here on. RT_EIO: a tier could not keep them; as after an abort. */
RT_MUST_CHECK rt_status kv_span_commit(kv_seq *seq);
/* Back to the length before kv_span_begin; its pages are free again. No-op when idle. */
void kv_span_abort(kv_seq *seq);

/* Pages of one layer covering positions [first_pos, first_pos + n_tokens), first_pos a multiple of
 * page_tokens, inside the committed length plus the open span. Pointers stay valid until
 * kv_release; pages of the open span may be written, earlier ones only read. */
typedef struct kv_view {
    void *const *pages;
    int64_t n_pages;
    int64_t first_pos;
    int64_t n_tokens;
} kv_view;
RT_MUST_CHECK rt_status kv_acquire(
        kv_seq *seq, int32_t layer, int64_t first_pos, int64_t n_tokens, kv_view *out);
void kv_release(kv_seq *seq, kv_view *view);

typedef struct kv_stats {
    int64_t pages_total;
    int64_t pages_used;     /* with at least one reference */
    int64_t pages_shared;   /* with more than one */
    int64_t pages_reserved; /* promised to sequences, used or not */
    int64_t pages_copied;   /* copies made when shared pages were written or forked, ever */
} kv_stats;
kv_stats kv_store_stats(const kv_store *store);

/* ---- books ----------------------------------------------------------------------------------- */

/* What is persisted, without a model: named prefixes below some --kv-disk-dir directories. Books are
 * written by the store; here they are listed, read, verified and removed. A process may do this
 * beside others that use the same directories. */
typedef struct kv_books kv_books;

enum { KV_BOOK_NAME_MAX = 100 };

typedef struct kv_book {
    char name[KV_BOOK_NAME_MAX + 1];
    uint8_t fingerprint[32];
    char *fingerprint_text; /* "key=value" lines; "" where it is lost */
    int64_t n_tokens;
    int64_t created_s; /* seconds since 1970 */
    char *note;        /* lines the writer added: source, sha256 */
    int32_t n_segments;
    int32_t n_missing;    /* of them, not on the disk any more */
    int64_t stored_bytes; /* physical, of those that are */
    uint8_t (*chains)[32];
} kv_book;
void kv_book_free(kv_book *book);

/* [A-Za-z0-9._-], 1 to 100 bytes, no leading dot or dash. RT_EUSAGE says what is wrong. */
RT_MUST_CHECK rt_status kv_book_check_name(const char *name);

/* Directories that do not exist hold no books. RT_EUSAGE, RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_books_open(const char *const *dirs, int32_t n_dirs, kv_books **out);
void kv_books_close(kv_books *books);

/* *names[*n_names], in order; damaged ones too. The caller frees each and the array. RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_books_list(kv_books *books, char ***names, int64_t *n_names);
/* Errors: RT_EUSAGE  no book of that name; RT_ECORRUPT  its manifest is damaged; RT_EIO; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_books_read(kv_books *books, const char *name, kv_book *out);
/* The name only; its segments go when room is needed, or by kv_books_gc. As kv_books_read; a damaged
 * one is removed too. */
RT_MUST_CHECK rt_status kv_books_remove(kv_books *books, const char *name);

typedef struct kv_book_report {
    int64_t n_segments; /* looked at */
    int64_t n_runs;     /* read and decoded */
    int64_t bytes_read;
    int64_t n_bad;         /* segments missing or damaged */
    char first_error[512]; /* "" if none */
} kv_book_report;
/* Read and decode every run of a book. Damage is in the report, and quarantined. As kv_books_read. */
RT_MUST_CHECK rt_status kv_books_verify(kv_books *books, const char *name, kv_book_report *report);

typedef struct kv_gc_report {
    int64_t n_removed; /* files: dead temporaries, quarantined ones, segments no book holds */
    int64_t bytes_before;
    int64_t bytes_after;
} kv_gc_report;
/* Remove what is dead or quarantined, then what no book holds, the cheapest to compute again first,
 * until no more than bytes_max are used (0: all of it). What is in use stays. RT_EIO, RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_books_gc(kv_books *books, int64_t bytes_max, kv_gc_report *report);

#endif
