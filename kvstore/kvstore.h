/* KV store: where K and V are. Pages of one layer, 128 tokens each, in memory or on disk.
 *
 * The store hands out page memory and never looks inside: layout and values are attention's. A
 * sequence is a list of pages per layer plus a committed length. Tokens are added a span at a
 * time: begin, append layer by layer through walks, commit (they count) or abort (they never
 * were). Sequences share what they have in common by counted references.
 *
 * Where the memory does not hold a sequence, its extents (extent_tokens tokens of one layer) are
 * compressed and written to disk as they are finished, and streamed back through a window each time
 * the layer is walked; a first part can be pinned. Where even the unfinished tails of all
 * sequences do not fit, those of further sequences are parked on disk between walks. What a walk
 * shows does not depend on any of this.
 *
 * Budgets are hard. Memory is one allocation made at open; room in memory and on disk is reserved when
 * a sequence is created. Appending within that reservation fails only where the disk fails, or with
 * RT_ENOFIT where a fork shares a parked tail: the second tail that must then be written is not reserved.
 * One thread at a time uses a store, but for kv_walk_load and kv_walk_store. There is one walk at a time,
 * and a sequence changes state only while it is in no walk.
 *
 * In this order: what a store is for; the store; sequences and their spans; what is kept on disk, and a span that is
 * suspended there; walks, by which pages are reached; counts; books, as they are seen without a model.
 *
 *   state of a sequence        idle --kv_span_begin--> open --kv_span_commit--> idle (longer)
 *                                                      open --kv_span_abort---> idle (as before) */
#ifndef KV_KVSTORE_H
#define KV_KVSTORE_H

#include "runtime/base/device.h"
#include "runtime/base/float16.h"
#include "runtime/base/machine.h"
#include "runtime/base/status.h"

/* ---- what a store is for --------------------------------------------------------------------- */

/* What a page holds, in numbers the store needs to describe it; values stay opaque. */
typedef struct kv_shape {
    rt_dtype dtype;
    int32_t n_kv_heads;
    int32_t head_dim;
    int32_t page_tokens;   /* 128 */
    int32_t first_kv_head; /* of one rank's part of a model: the model's number of its first head */
    int32_t all_kv_heads;  /* KV heads of the model; 0: n_kv_heads, this is all of it */
} kv_shape;

typedef enum kv_io_choice { KV_IO_CHOOSE, KV_IO_ONLY_URING, KV_IO_ONLY_PREAD } kv_io_choice;

/* Whether what is stored goes through zstd. Dense does, and takes the least disk. Plain does not: a tenth more disk for KV
 * like the 9B's, and a fraction of the CPU time to read. Choose decides when the first whole extent is stored, by how fast
 * the disk and the threads are measured to be. Every reader reads both, and they hold the same content. */
typedef enum kv_packing_choice {
    KV_PACKING_DENSE,
    KV_PACKING_PLAIN,
    KV_PACKING_CHOOSE
} kv_packing_choice;

/* Where pages go that memory does not hold. */
typedef struct kv_overflow {
    const char *const *dirs; /* one a drive; files in them have no names. Borrowed for the open */
    int32_t n_dirs;          /* 0: nothing leaves memory, and the other fields do not matter */
    int64_t bytes_max;       /* hard cap on disk */
    /* Host memory, besides host_bytes_max, where rows are stored uncompressed, in front of the disk: what it does not hold
     * goes to disk; what is kept for good is in both. */
    int64_t host_bytes;
    kv_io_choice io;
    kv_packing_choice packing;
    int32_t extent_tokens;  /* a multiple of page_tokens, at most 4096 */
    int32_t window_extents; /* streamed together */
    int64_t append_tokens;  /* the most that one walk appends to a sequence */
    /* True: a walk appends its new tokens window by window, in the window's own pages where they do not stay in memory.
     * False: all at once, in pages reserved for that. */
    bool appends_by_windows;
    int64_t pinned_tokens; /* of a sequence's first tokens, kept in memory where there is room */
    int32_t n_threads;     /* which load and store */
    rt_isa isa;
} kv_overflow;

/* Lossy types: a page is sealed (quantised) once it is full, and only sealed pages are stored. Until then its rows are
 * in an open page, of which a sequence has one in each layer. */
typedef struct kv_open {
    int64_t page_bytes; /* of an open page; 0: the type is not lossy, and the other fields do not matter */
    int32_t n_seqs;        /* sequences that may be there at a time */
    int64_t append_tokens; /* the most that one walk appends to a sequence */
} kv_open;

typedef struct kv_config {
    kv_shape shape;
    kv_open open;
    int32_t n_layers;
    int64_t page_bytes;     /* one layer's page as attention lays it out */
    int64_t host_bytes_max; /* hard cap of pages, windows and staging together */
    rt_device *device;      /* pages and windows are in its memory; NULL: in the host's */
    kv_overflow overflow;
} kv_config;

/* Canonical rows of one KV head of some pages, in a buffer of the calling thread. Of sealed pages instead: their bytes,
 * at k, one page after the other, for as many pages as n_tokens fill; v is NULL. */
typedef struct kv_rows {
    int32_t kv_head;
    int32_t n_tokens;
    void *const *pages; /* the first one starts with the first row */
    void *k;            /* [n_tokens][head_dim] */
    void *v;
    bool is_open; /* bf16 rows of an open page, where pages are sealed */
    /* The rows are not in a buffer, but in pinned memory (rt_device.pin) that a device reads and writes by itself,
     * until the extent is forgotten: copies may be queued, and kv_walk_store need not wait for them. */
    bool is_lasting;
} kv_rows;

typedef struct kv_store kv_store;
typedef struct kv_seq kv_seq;

/* ---- for reports and plans ------------------------------------------------------------------- */

/* One line each, for reports. How disks are reached: "io_uring, with registered memory" or "pread,
 * because ..."; and what the drive that holds `dir`, or its nearest parent, offers: "80 GiB free,
 * ext2/3/4, O_DIRECT in steps of 512 bytes". A block is written there to a file without a name. */
enum { KV_DISK_TEXT = 256 };
void kv_disk_describe_way(char text[KV_DISK_TEXT]);
void kv_disk_describe(const char *dir, char text[KV_DISK_TEXT]);

/* Pages that n_tokens of one sequence take, in all layers. */
int64_t kv_pages_for(const kv_config *config, int64_t n_tokens);
/* The part of host_bytes_max that an overflowing store needs besides its sequences' own pages:
 * windows, staging, rows on their way. 0 where nothing overflows. */
int64_t kv_overflow_bytes(const kv_config *config);
/* The part of that which is host memory where pages are in a device's memory: staging. */
int64_t kv_overflow_host_bytes(const kv_config *config);
/* Memory of one sequence that overflows, without anything pinned. */
int64_t kv_overflow_tail_bytes(const kv_config *config);
/* The codec's memory for one thread; not KV, so not part of host_bytes_max. */
int64_t kv_codec_bytes(void);
/* Open pages of all sequences; part of host_bytes_max. */
int64_t kv_open_bytes(const kv_config *config);
/* Token ids and page pointers of one sequence; not part of host_bytes_max either. */
int64_t kv_seq_lists_bytes(const kv_config *config, int64_t max_tokens);
/* What one extent of a layer takes of overflow.host_bytes; and how many extents n_tokens of a sequence have, those on their
 * way included. */
int64_t kv_overflow_rows_bytes(const kv_config *config);
int64_t kv_overflow_extents(const kv_config *config, int64_t n_tokens);
/* Disk that n_tokens of a sequence may take. */
int64_t kv_overflow_disk_bytes(const kv_config *config, int64_t n_tokens);

/* ---- the store ------------------------------------------------------------------------------- */

/* `config` is copied; a device must outlive the store.
 * Errors: RT_ENOFIT  host_bytes_max is less than one page per layer, or than an overflow needs
 *         RT_ENOMEM  the memory could not be allocated
 *         RT_EIO     a directory of the overflow cannot be written
 *         RT_EUNSUPPORTED  io_uring alone is wanted and is not to be had */
RT_MUST_CHECK rt_status kv_store_open(const kv_config *config, kv_store **out);
/* All sequences must be gone. Accepts NULL. */
void kv_store_close(kv_store *store);

/* How the disk is reached: "io_uring", "pread, because ..."; "" where nothing overflows. */
const char *kv_store_io_text(const kv_store *store);

/* ---- sequences ------------------------------------------------------------------------------- */

/* An empty sequence with room for max_tokens: in memory where enough is free, otherwise overflowing.
 * Errors: RT_ENOFIT  no room for either; the message says how many tokens were asked for and are left,
 *                    or how many bytes of disk */
RT_MUST_CHECK rt_status kv_seq_create(kv_store *store, int64_t max_tokens, kv_seq **out);
/* It must be in no walk; an open span is aborted. Accepts NULL. */
void kv_seq_free(kv_seq *seq);

/* A sequence holding the first n_tokens of `parent` (idle; n_tokens <= its length) with room for
 * max_tokens >= n_tokens. Whole pages and what is on disk are shared; a partial last page is copied.
 * A cut inside a sealed page is made at its start: kv_seq_length tells.
 * Errors: as kv_seq_create. */
RT_MUST_CHECK rt_status kv_seq_fork(
        kv_seq *parent, int64_t n_tokens, int64_t max_tokens, kv_seq **out);

/* Whether room in memory is reserved for all of its own pages; and whether walks over it show pages that do not stay,
 * as they do for a fork in memory of a sequence that is not. */
bool kv_seq_is_in_memory(const kv_seq *seq);
bool kv_seq_streams(const kv_seq *seq);

/* Committed tokens. */
int64_t kv_seq_length(const kv_seq *seq);
/* Tokens it has room for. */
int64_t kv_seq_max_tokens(const kv_seq *seq);

/* Forget the tokens of an idle sequence from n_tokens on; where that is inside a sealed page, from the start of the page. A
 * page shared with another sequence is copied before it is next written. Whole shared pages that are forgotten stay with
 * the other sequence, and with them their reservation: kv_span_begin seeks room for new ones. */
void kv_seq_truncate(kv_seq *seq, int64_t n_tokens);

/* Ids of the tokens it holds, and of the open span's; valid until the sequence is freed. */
const int32_t *kv_seq_ids(const kv_seq *seq);

/* Make positions [length, length + n_tokens) writable in every layer, for the tokens ids[n_tokens]. NULL:
 * all ids are 0, for stores that keep nothing on disk.
 * Errors: RT_EUSAGE  beyond max_tokens
 *         RT_ENOFIT  shared pages were truncated and nothing unreserved is left to replace them
 *         RT_ENOMEM */
RT_MUST_CHECK rt_status kv_span_begin(kv_seq *seq, const int32_t *ids, int64_t n_tokens);
/* The span's tokens count from now on. Every layer must have been walked to its end. */
void kv_span_commit(kv_seq *seq);
/* Back to the length before kv_span_begin; where that is inside a page that was sealed meanwhile, to the page's start. The
 * span's pages are free again. Does nothing on an idle sequence. */
void kv_span_abort(kv_seq *seq);

/* ---- what is kept on disk for good --------------------------------------------------------------
 *
 * After kv_store_keep a sequence is kept, in segments of 4096 tokens, as its spans are committed, and is found
 * again by its token ids, by any process with the same fingerprint. Of a fork, where forks are kept, the whole segments
 * that it shares are on disk once; the one that it parts in is its own from its first token on.
 * Each rank keeps the heads that it holds, in files of its own. What another number of ranks has kept is
 * found too, where their directories can be read, and is put together in a file of this rank. Where
 * something cannot be kept (a full disk) the sequence itself goes on. */

typedef struct kv_keep {
    const uint8_t *fingerprint;   /* [32]: of everything that K and V depend on */
    const char *fingerprint_text; /* its "key=value" lines, to explain mismatches */
    const char *const *dirs;
    int32_t n_dirs;
    const char *const
            *other_dirs; /* where other ranks keep theirs: read, and damaged files put aside */
    int32_t n_other_dirs;
    int64_t bytes_max; /* hard cap on disk */
    bool is_on_top;    /* what is there already does not count towards bytes_max */
    bool keeps_forks;  /* and not only what was created */
} kv_keep;

/* To be called once, before any sequence is created, on a store that overflows by extents of 4096 tokens.
 * `keep` is borrowed for the call.
 * Errors: RT_EIO  a directory; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_store_keep(kv_store *store, const kv_keep *keep);
/* Take that back, before any sequence is created. */
void kv_store_keep_nothing(kv_store *store);

typedef struct kv_found {
    int64_t n_tokens;
    char reason[512]; /* why it ends there, in words; "" when all was found */
    bool is_failure;  /* what follows is there, and cannot be had */
} kv_found;
/* Fill a sequence with the longest prefix of ids that is on disk. It is empty, or one that is kept and holds the first ids, in
 * whole segments: it goes on from there. Keys and values are read when they are walked. To find nothing is no failure.
 * RT_ENOMEM: it is as it was */
RT_MUST_CHECK rt_status kv_seq_find(
        kv_seq *seq, const int32_t *ids, int64_t n_ids, kv_found *found);
/* Before that: another process may have kept a text since the store was opened that ends with ids[n_ids], or with the one before
 * it, inside a segment. By its ids, and by them alone, that segment is noticed here, and found then. RT_ENOMEM */
RT_MUST_CHECK rt_status kv_seq_notice(kv_seq *seq, const int32_t *ids, int64_t n_ids);
/* Where kv_seq_find, after kv_seq_notice, would end for a fork of the sequence, which holds the first n_shared of the ids, at the
 * last whole segment of those: *n_tokens, in whole segments that have their files, and are not looked into, and in one behind them
 * that is not whole (kv_seq_keep_begin), as far as its tokens are the same. At most n_shared where none follow, or the sequence is
 * not kept. RT_ENOMEM */
RT_MUST_CHECK rt_status kv_seq_find_after(
        kv_seq *seq, int64_t n_shared, const int32_t *ids, int64_t n_ids, int64_t *n_tokens);

/* Make a book of all that an idle sequence holds: begin; if *has_tail, walk every layer with KV_WALK_SAVE;
 * then end. `note`: lines for people. Where `book` is NULL the tail is stored and found as whole segments are, without a
 * name. What fails is left: until then, or the next begin, the tail has its room on the disk.
 * Errors: RT_EUSAGE  the name; RT_ENOFIT, RT_EIO  it could not be kept, the text says why; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_seq_keep_begin(kv_seq *seq, bool *has_tail);
RT_MUST_CHECK rt_status kv_seq_keep_end(kv_seq *seq, const char *book, const char *note);
/* Instead, or after it has failed: of the tail nothing is on disk. The last error's text stays. */
void kv_seq_keep_leave(kv_seq *seq);
/* Why the last sequence that was to be kept was not; "" where all were. */
const char *kv_store_keep_failure(const kv_store *store);
/* The same as the failure that it was: RT_ENOFIT a full disk; RT_EIO, RT_ENOMEM, RT_ECORRUPT. */
RT_MUST_CHECK rt_status kv_store_check_kept(const kv_store *store);
/* Keep nothing more of a sequence, for this failure, which the thread's last error tells. */
void kv_seq_keep_no_more(kv_seq *seq, rt_status failure);
/* Tokens from the start of a sequence that are on disk for good, whole segments whose files are there now: somebody may
 * have removed what was kept. The last error's text stays. */
int64_t kv_seq_kept(const kv_seq *seq);

/* ---- a span that is suspended ---------------------------------------------------------------- */

/* A span in the middle of which a process ends, for a later one that is given the same ids.
 *
 *   suspend   kv_suspend_begin(); for every layer, in the window of a walk up to what it holds (KV_WALK_LAST), for
 *             every head with kv_seq_tail_rows(), and with kv_seq_open_rows(): pages -> rows, kv_suspend_rows();
 *             then kv_suspend_span(), after which the span is aborted here
 *   resume    kv_resume_span(); for every layer: kv_resume_layer(); for every head, of both:
 *             kv_resume_rows(), rows -> pages; such a walk, so that what is to be parked is; then
 *             kv_resume_hidden(), and kv_resume_end(); until then kv_resume_leave() puts it back
 *
 * Layers ascending, heads too, sealed rows before open ones: what is read comes in the order in which it was written.
 * Only of a sequence that is kept. Errors of suspending: RT_EUSAGE it is not; RT_ENOFIT, RT_EIO the disk;
 * nothing of it is resumed then; segments that were named already stay until room is needed. To resume nothing is no
 * failure. */
typedef struct kv_suspension {
    int64_t n_ids; /* of the whole text */
    int64_t begin; /* of the span */
    int64_t end;
    int32_t layer;     /* layers before this one hold tokens up to `end`; n_layers: all do */
    int64_t layer_end; /* this layer holds them up to here, and those after it up to `begin` */
    bool is_whole; /* the caller's: every row of the last layer is computed, not only those that were wanted */
    bool waits; /* resume: it is on disk, and stays there; why it cannot go on now kv_store_check_kept tells */
    void *hidden; /* bytes of the caller's, kept with it */
    int64_t hidden_bytes;
} kv_suspension;
/* Tokens that a layer holds: in an open span more than kv_seq_length, once it was walked. */
int64_t kv_seq_filled(const kv_seq *seq, int32_t layer);
/* Rows of a layer's unfinished extent, in the first thread's buffer; n_tokens 0: there are none. Where
 * pages are sealed those that are; and the rows of the open page besides. */
kv_rows kv_seq_tail_rows(kv_seq *seq, int32_t layer, int32_t kv_head);
kv_rows kv_seq_open_rows(kv_seq *seq, int32_t layer, int32_t kv_head);
/* Room for all of it; the hidden bytes are not read yet. */
RT_MUST_CHECK rt_status kv_suspend_begin(
        kv_seq *seq, const int32_t *ids, const kv_suspension *suspension);
/* Queue the rows to be written: where that fails, kv_suspend_span says so. */
void kv_suspend_rows(kv_seq *seq, const kv_rows *rows);
RT_MUST_CHECK rt_status kv_suspend_span(kv_seq *seq, const kv_suspension *suspension);
/* ids[n_ids]: the whole text; the sequence is idle and holds a prefix of it. `suspension` is filled;
 * its hidden bytes are read by kv_resume_hidden. What cannot go on now, as where the disk is full, is not there: it waits,
 * and nothing more of the sequence is kept, which would take what it waits for. What fails stays suspended, too. */
RT_MUST_CHECK rt_status kv_resume_span(
        kv_seq *seq, const int32_t *ids, int64_t n_ids, kv_suspension *suspension, bool *is_there);
/* Pages for the rows of a layer's unfinished extent. RT_ENOFIT */
RT_MUST_CHECK rt_status kv_resume_layer(kv_seq *seq, int32_t layer);
RT_MUST_CHECK rt_status kv_resume_rows(kv_seq *seq, kv_rows *rows, bool *is_there);
/* The hidden bytes, all else was read. */
RT_MUST_CHECK rt_status kv_resume_hidden(kv_seq *seq, const kv_suspension *s, bool *is_there);
/* It goes on: what is on disk of the suspension is gone then. */
void kv_resume_end(kv_seq *seq);
/* Instead: it is suspended as it was, and the span aborted. Nothing may have been appended. The last error's text stays. */
void kv_resume_leave(kv_seq *seq);

/* Bytes of the caller's, kept beside a text under its ids[n_ids] and a number of the caller's: durable, replaced whole,
 * checksummed; they go when room is needed. For any sequence that is kept, in whatever state. They are loaded with the size
 * that was saved. Errors: RT_EUSAGE the sequence is not kept; RT_ENOFIT, RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_seq_save_beside(const kv_seq *seq, const int32_t *ids, int64_t n_ids,
        int32_t what, void *bytes, int64_t n_bytes);
/* *is_there: false where there are none, or they do not verify. RT_ENOMEM */
RT_MUST_CHECK rt_status kv_seq_load_beside(const kv_seq *seq, const int32_t *ids, int64_t n_ids,
        int32_t what, void *bytes, int64_t n_bytes, bool *is_there);

/* ---- walks -------------------------------------------------------------------------------------
 *
 * A walk visits one layer of some sequences, from position 0 to the end of each, window by window:
 *
 *     kv_walk_begin                        starts reading; compute something else meanwhile
 *     while kv_walk_next gives a window
 *         in parallel, for each load:      while kv_walk_load: rows -> pages (attn_page_pack)
 *         kv_walk_loaded               (where that failed, kv_walk_mend, and the window again)
 *         append the new rows of parts that have some; attend to all parts
 *         while kv_walk_leave gives stores
 *             in parallel, for each piece of each store: kv_walk_piece; pages -> rows (unpack); kv_walk_store
 *     kv_walk_end
 *
 * Windows of one sequence come in ascending order and cover it once. Sequences that share pages or
 * an extent see it in the same window, at the same addresses. */

typedef struct kv_walk kv_walk;

/* What a window shows of one sequence. */
typedef struct kv_window_part {
    int32_t seq;        /* index into the walk's sequences */
    void *const *pages; /* of positions first_pos and on */
    int64_t first_pos;  /* a multiple of page_tokens */
    int64_t n_tokens;   /* the new ones included */
    int64_t n_new; /* how many of them, at the end, are new in this walk, to be appended here */
    bool is_last;  /* reaches the sequence's end */
    /* With n_new > 0 and a lossy type: the open pages, of positions open_pos and on, from the page of the first new token
     * on; those that get full are to be sealed into `pages`. */
    void *const *open_pages;
    int64_t open_pos;
} kv_window_part;

typedef struct kv_window {
    const kv_window_part *parts;
    int32_t n_parts; /* 0: the walk is over */
    bool is_last;    /* the walk is over when this window is left */
    int64_t n_loads;
} kv_window;

typedef enum kv_walk_extent {
    KV_WALK_ALL,  /* every position */
    KV_WALK_LAST, /* the last window of each sequence: to append without attending */
    KV_WALK_SAVE /* as KV_WALK_LAST, and the tail goes into the book being made (kv_seq_keep_begin) */
} kv_walk_extent;

/* Walk `layer` of n_seqs sequences, each once, up to ends[i] > 0 tokens; those beyond what the layer
 * holds already are new and lie inside the open span. The arrays are borrowed until kv_walk_end.
 * Errors: RT_ENOMEM; RT_EIO, RT_ENOFIT  an earlier write to disk failed */
RT_MUST_CHECK rt_status kv_walk_begin(kv_store *store, int32_t layer, kv_seq *const *seqs,
        const int64_t *ends, int32_t n_seqs, kv_walk_extent extent, kv_walk **out);
/* A hint that the next walk will be over `layer` of the same sequences: once everything for this walk is being read,
 * reading for that one begins. The walk need not come. */
void kv_walk_then(kv_walk *walk, int32_t layer);
/* Errors: RT_EIO  the disk. */
RT_MUST_CHECK rt_status kv_walk_next(kv_walk *walk, kv_window *out);
/* Rows of load number `load` of the window, from its row `first` on, decoded and verified, to be packed into
 * rows->pages. As many at a time as fit the caches; the next call's `first` is rows->n_tokens further. From any thread;
 * `thread` is less than the config's n_threads. False: there are no more, or it failed, which kv_walk_loaded then
 * reports. */
bool kv_walk_load(kv_walk *walk, int64_t load, int64_t first, int thread, kv_rows *rows);
/* Whether the rows of all loads of the window are lasting (kv_rows.is_lasting). */
bool kv_walk_is_lasting(const kv_walk *walk);
/* How many lasting extents the store has ever forgotten: the host may write other rows to where they were. */
int64_t kv_walk_rows_forgotten(const kv_walk *walk);
/* To be called after the loads of a window, also where there are none.
 * Errors: RT_ECORRUPT  bytes are not those that were stored; kv_walk_bad_pos says where */
RT_MUST_CHECK rt_status kv_walk_loaded(kv_walk *walk);
/* To be called after attention, until *n_stores, the stores to be made now, is 0: the window is done with then.
 * Errors: RT_EIO, RT_ENOFIT */
RT_MUST_CHECK rt_status kv_walk_leave(kv_walk *walk, int64_t *n_stores);
/* The rows of a store, and where they are unpacked to where that lasts. */
kv_rows kv_walk_rows(kv_walk *walk, int64_t store, int thread);
/* Where to unpack those from row `first` on to: KV_PIECE_TOKENS, or fewer at the end; of a store that lasts all at once.
 * n_tokens 0: there are none. From any thread, pieces in any order, each once. Then kv_walk_store encodes the piece. */
enum { KV_PIECE_TOKENS = 256 };
int64_t kv_walk_pieces(const kv_walk *walk); /* of a store, at most */
kv_rows kv_walk_piece(kv_walk *walk, int64_t store, int64_t first, int thread);
void kv_walk_store(kv_walk *walk, int64_t store, const kv_rows *piece, int64_t first, int thread);
/* After kv_walk_next or kv_walk_loaded has failed with `failure`. Where another file, of this rank or of others
 * (kv_keep.other_dirs), holds what was lost, it is read from there: RT_OK, and kv_walk_next gives the same window again;
 * `text` tells people which file is damaged, and which stands in for it. Otherwise `failure` is returned, with its text. */
enum { KV_MEND_TEXT = 2048 };
RT_MUST_CHECK rt_status kv_walk_mend(kv_walk *walk, rt_status failure, char text[KV_MEND_TEXT]);
/* To be called also after a failure, which leaves the sequences as before the walk, but for appended rows. */
void kv_walk_end(kv_walk *walk);

/* After RT_ECORRUPT or RT_EIO from a walk: the first position of `seq` that is lost, -1 if none is.
 * kv_seq_truncate to it, or to less, makes the sequence whole again. */
int64_t kv_walk_bad_pos(const kv_store *store, const kv_seq *seq);

/* ---- counts ---------------------------------------------------------------------------------- */

typedef struct kv_stats {
    int64_t pages_total;
    int64_t pages_used;     /* with at least one reference */
    int64_t pages_shared;   /* with more than one */
    int64_t pages_reserved; /* promised to sequences, used or not */
    int64_t pages_copied;   /* copies made when shared pages were written or forked, ever */
    int64_t host_bytes;     /* of overflow.host_bytes, now */
    int64_t disk_bytes;     /* of the overflow, now */
    int64_t disk_bytes_reserved;
    int64_t bytes_written; /* ever */
    int64_t bytes_read;
    int64_t raw_bytes_written; /* what they were before compression */
    int64_t raw_bytes_read;
    double stall_s; /* spent waiting for the disk */

    /* Of what is kept for good: */
    int64_t n_quarantined; /* files that did not verify, and that this store put aside as .bad */
    int64_t n_stuck;       /* the same that could not be renamed */
    const char *last_bad;  /* path and reason of the last of both; "": none. The store owns it */
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
    int32_t n_missing;     /* of them, not on the disk any more */
    int64_t stored_bytes;  /* physical bytes of those that are */
    uint8_t (*chains)[32]; /* [n_segments] what segments are found by (chain.h) */
} kv_book;
/* What kv_books_read allocated. */
void kv_book_free(kv_book *book);

/* [A-Za-z0-9._-], 1 to 100 bytes, no leading dot or dash. RT_EUSAGE says what is wrong. */
RT_MUST_CHECK rt_status kv_book_check_name(const char *name);

/* Directories that do not exist hold no books. RT_EUSAGE, RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_books_open(const char *const *dirs, int32_t n_dirs, kv_books **out);
/* Accepts NULL. */
void kv_books_close(kv_books *books);

/* Physical bytes of all that is kept there, of whatever model and name. RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_books_bytes(kv_books *books, int64_t *n_bytes);
/* The same; and what kv_books_read says of sizes, and of what is missing, is from here on as it is now, without a look at
 * every segment of every book. For whoever reads many. RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_books_survey(kv_books *books, int64_t *n_bytes);
/* *names[*n_names], in order; damaged ones too. The caller frees each and the array. RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_books_list(kv_books *books, char ***names, int64_t *n_names);
/* Errors: RT_EUSAGE  no book of that name; RT_ECORRUPT  its manifest is damaged; RT_EIO; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_books_read(kv_books *books, const char *name, kv_book *out);
/* Remove the name only: the segments go when room is needed, or by kv_books_gc. A damaged book can be removed, too. Errors:
 * as kv_books_read */
RT_MUST_CHECK rt_status kv_books_remove(kv_books *books, const char *name);

typedef struct kv_book_report {
    int64_t n_segments; /* looked at */
    int64_t n_runs;     /* read and decoded */
    int64_t bytes_read;
    int64_t n_bad;         /* segments missing or damaged */
    char first_error[512]; /* "" if none */
} kv_book_report;

/* Read and decode every run of a book, a segment a step. Damage is no error: it is in the report, and quarantined.
 * `books` outlives it.
 *
 * Errors: begin  as kv_books_read
 *         step   RT_ENOMEM */
typedef struct kv_verify kv_verify;
RT_MUST_CHECK rt_status kv_verify_begin(kv_books *books, const char *name, kv_verify **out);
RT_MUST_CHECK rt_status kv_verify_step(kv_verify *verify, bool *is_done);
/* So far; valid until the next step. */
const kv_book_report *kv_verify_report(const kv_verify *verify);
/* Accepts NULL. */
void kv_verify_end(kv_verify *verify);

typedef struct kv_gc_report {
    int64_t n_removed; /* files: dead temporaries, quarantined ones, segments no book holds */
    int64_t bytes_before;
    int64_t bytes_after;
} kv_gc_report;
/* Remove what is dead or quarantined, then what no book holds, the cheapest to compute again first,
 * until no more than bytes_max are used (0: all of it). What is in use stays. RT_EIO, RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_books_gc(kv_books *books, int64_t bytes_max, kv_gc_report *report);

/* ---- a store's books ------------------------------------------------------------------------- */

/* Token ids of a book, ids[book->n_tokens], from its segments.
 * Errors: RT_EUSAGE    nothing is kept by this store, or the book is of another fingerprint: how it
 *                      differs
 *         RT_ECORRUPT  a segment is missing or damaged; RT_ENOMEM */
RT_MUST_CHECK rt_status kv_store_book_ids(kv_store *store, const kv_book *book, int32_t *ids);

/* With several ranks: whether this store can find all that a book's ids[n_ids] need. *head is one of this store's KV
 * heads, by the whole model's numbers, whose keys and values are in no file that can be read; -1: there is none.
 * RT_ENOMEM, RT_EIO */
RT_MUST_CHECK rt_status kv_store_lacks(
        kv_store *store, const int32_t *ids, int64_t n_ids, int32_t *head);
/* Whether some segment of these ids, damaged or not, lies here in a file of exactly the KV heads [first, first + n):
 * then the directory of the rank that has these heads can be read. Errors: as above */
RT_MUST_CHECK rt_status kv_store_sees(kv_store *store, const int32_t *ids, int64_t n_ids,
        int32_t first, int32_t n, bool *is_seen);

#endif
