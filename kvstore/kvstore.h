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

/* One line each, for reports. How disks are reached: "io_uring, with registered memory" or "pread,
 * because ..."; and what the drive that holds `dir`, or its nearest parent, offers: "80 GiB free,
 * ext2/3/4, O_DIRECT in steps of 512 bytes". A block is written there to a file without a name. */
enum { KV_DISK_TEXT = 256 };
void kv_disk_describe_way(char text[KV_DISK_TEXT]);
void kv_disk_describe(const char *dir, char text[KV_DISK_TEXT]);

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

#endif
