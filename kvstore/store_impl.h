/* Inside the store: what store.c, seq*.c and walk*.c share. */
#ifndef KV_STORE_IMPL_H
#define KV_STORE_IMPL_H

#include "kvstore.h"
#include "pages.h"
#include "runtime/base/size.h"
#include "stored.h"

/* Whether an extent that has no slot needs none: its rows are in memory. */
static inline bool kv_stored_is_lasting(const kv_stored *stored, const kv_slot *slot) {
    return !slot && stored->rows && !stored->is_lost;
}

/* How a sequence holds its own tokens. */
typedef enum kv_seq_kind {
    KV_SEQ_IN_MEMORY, /* every page is promised */
    KV_SEQ_OVERFLOWS, /* pages for an unfinished extent of every layer, and for what is pinned */
    KV_SEQ_PARKS      /* nothing between walks */
} kv_seq_kind;

/* One window to be. */
typedef enum kv_step_kind { KV_STEP_RESIDENT, KV_STEP_STREAMED, KV_STEP_TAILS } kv_step_kind;
typedef struct kv_step {
    kv_step_kind kind;
    int64_t extent;     /* the first one, of every member */
    int64_t n_extents;  /* of every member that has so many; but for KV_STEP_RESIDENT */
    bool is_kept;       /* KV_STEP_STREAMED: into pages of its one member, to stay */
    int64_t members_at; /* in kv_walk.members */
    int32_t n_members;
    int64_t first_load; /* in kv_walk.loads */
    int64_t n_loads;
} kv_step;

/* An extent to be brought into memory. */
typedef struct kv_load {
    kv_stored *stored;
    kv_slot *slot;  /* where it is being read to; NULL: it is not yet */
    int32_t member; /* whose pages; -1: the window's */
    int64_t extent;
    int64_t n_tokens;
} kv_load;

/* A page of the window in a sequence's place for one: for tokens that do not stay in memory. */
typedef struct kv_lent {
    kv_seq *seq;
    int64_t page;
} kv_lent;

/* An extent to be taken out of memory. */
typedef struct kv_store_job {
    kv_seq *seq;
    int64_t extent;
    int32_t n_tokens;
    bool goes; /* its pages are free then */
    kv_slot *slot;
    kv_stored *stored;
} kv_store_job;

typedef struct kv_outcome {
    rt_status status;
    char text[256];
} kv_outcome;

struct kv_walk {
    kv_store *store;
    int32_t layer;
    kv_seq *const *seqs;
    const int64_t *ends;
    int32_t n_seqs;
    kv_walk_extent extent;
    bool is_open;
    bool may_store; /* something may go to disk: reads leave room for that */

    /* Made when the walk begins; the arrays grow and stay. */
    kv_step *steps;
    int64_t n_steps, steps_room;
    int32_t *members;
    int64_t n_members, members_room;
    kv_load *loads;
    int64_t n_loads, loads_room;
    int64_t *cursors;      /* [n_seqs]: the next extent of each */
    kv_window_part *parts; /* [n_seqs] */
    int64_t seqs_room;
    void **open_pages; /* of all sequences that are appended to, */
    int64_t *open_at;  /* [n_seqs]: where a sequence's begin in them; -1: it has none */
    int64_t *open_n;   /* [n_seqs]: how many they are */
    int64_t n_open, open_room;
    kv_lent *lent;  /* [pages of a window]: where they are, from the first on, */
    int64_t n_lent; /* until the next step */

    int64_t step;         /* the next one; the window is of the one before */
    int64_t next_read;    /* loads before it are being read or were */
    int32_t next_layer;   /* of the walk that follows; -1: not known */
    int64_t next_extent;  /* extents of it before this one are in memory, or being read */
    kv_outcome *outcomes; /* [window loads x n_kv_heads] */
    bool is_left;         /* the window's stores were listed */
    bool is_loading;      /* not all that its pages are to hold is there */
    kv_store_job *jobs;   /* what the window leaves behind */
    int64_t n_jobs, jobs_room;
    int64_t job;     /* jobs before it are on their way */
    int64_t n_batch; /* jobs from there on that have slots */
};

struct kv_store {
    kv_config config;
    kv_pool pool;
    int64_t n_copied;
    int32_t n_seqs;

    /* Where pages are sealed. */
    kv_pool open_pages;
    int64_t n_open_work; /* of them, for what a walk appends */

    /* Where pages overflow. */
    bool has_overflow;
    kv_staging staging;
    void **window;      /* [window_extents x pages of an extent] */
    int64_t n_window;   /* pages in it */
    int64_t n_work_max; /* pages for what a walk appends */
    int64_t n_work;     /* of them, those promised to nobody's sequence now */
    kv_walk walk;

    /* What is kept on disk for good. */
    kv_vault *vault; /* NULL: nothing is */
    bool keeps_forks;
    char keep_failed[512]; /* why a sequence is not, of the last one; "" */
    rt_status keep_status; /* of that failure */
};

struct kv_seq {
    kv_store *store;
    kv_seq_kind kind;
    void **pointers; /* [n_layers][n_slots]; NULL: not in memory */
    void **tail;     /* [n_layers]: the shared page a copy replaced; NULL outside such a span */
    void **open;     /* [n_layers]: the open page of an unfinished one; NULL: there is none */
    int64_t n_open;  /* open pages promised to it */
    int64_t n_open_borrowed;
    kv_stored **stored; /* [n_layers][n_extents], where the store overflows */
    int64_t *filled;    /* [n_layers]: tokens it holds; >= length, more in an open span */
    int32_t *ids;       /* [max_tokens]: of the tokens it holds */
    int64_t n_slots;    /* pages of a layer at max_tokens */
    int64_t n_extents;  /* at max_tokens */
    int64_t n_pages;    /* KV_SEQ_IN_MEMORY: of a layer now */
    int64_t max_tokens;
    int64_t length;
    int64_t span; /* tokens of the open span; 0 when idle */
    int64_t promised;
    int64_t entitled;   /* what was promised when it was made */
    int64_t made_up;    /* of `promised`, what the open span added (rule 4) */
    int64_t n_borrowed; /* pages of the store's n_work */
    int64_t n_held;     /* pages in memory, but for those of its first n_kept extents */
    int64_t n_kept;     /* its first extents are another's, whose memory they may be in */
    bool streams;       /* or may not: those pass through the window */
    int64_t n_pinned;   /* those before it, and not before n_kept, stay in memory */
    int64_t n_cells;    /* reserved on disk, besides those of its stored extents */
    bool is_walked;
    bool parks;      /* in this walk: nothing that it is given stays in memory */
    bool grows_late; /* in this walk: its tail, which is in memory, takes its pages in its own window */

    /* Kept for good, extent by extent (persist.c); NULL where nothing is. */
    bool is_persisted;
    bool resumes;   /* the span that begins now is one that was suspended */
    bool is_orphan; /* a fork of one that was not kept any more: its first segments may be nowhere */
    kv_hash *chains; /* [n_extents]: of the first n_chained, which are whole */
    int64_t n_chained;
    kv_writer **writers; /* [n_extents]: of those the open span completes */
    kv_writer *last;     /* of the last, partial one, while a book is made */
    kv_records *records; /* of the open span, which is being suspended or resumed; NULL: neither */
};

/* kv_store_open over I/O of the caller's, which is the store's from then on, also on failure. For tests,
 * which put their own engine there. */
RT_MUST_CHECK rt_status kv_store_open_over(const kv_config *config, kv_io *io, kv_store **out);

static inline int64_t kv_pages_of_layer(const kv_config *config, int64_t n_tokens) {
    return rt_div_up(n_tokens, config->shape.page_tokens);
}

/* Pages that hold n_tokens: where they are sealed, only full ones do. */
static inline int64_t kv_held_pages(const kv_config *config, int64_t n_tokens) {
    if (config->open.page_bytes > 0) return n_tokens / config->shape.page_tokens;
    return kv_pages_of_layer(config, n_tokens);
}

/* Tokens of them that are in pages which can be stored. */
static inline int64_t kv_held_tokens(const kv_config *config, int64_t n_tokens) {
    if (config->open.page_bytes == 0) return n_tokens;
    return n_tokens / config->shape.page_tokens * config->shape.page_tokens;
}

static inline void **kv_page_slot(const kv_seq *seq, int32_t layer, int64_t page) {
    return seq->pointers + (int64_t)layer * seq->n_slots + page;
}

static inline kv_stored **kv_stored_slot(const kv_seq *seq, int32_t layer, int64_t extent) {
    return seq->stored + (int64_t)layer * seq->n_extents + extent;
}

static inline int64_t kv_walk_extent_tokens(const kv_walk *walk) {
    return walk->store->config.overflow.extent_tokens;
}

/* Of the window that the walk is at. */
static inline const kv_step *kv_walk_step(const kv_walk *walk) {
    return &walk->steps[walk->step - 1];
}

static inline int64_t kv_pages_of_extent(const kv_store *store) {
    return store->config.overflow.extent_tokens / store->config.shape.page_tokens;
}

/* seq.c, for seq_span.c.
 *
 * Free pages of the pool are the sequence's from here on, for n_tokens (RT_ENOFIT says so many); or anybody's. */
RT_MUST_CHECK rt_status kv_seq_promise(kv_seq *seq, int64_t n_pages, int64_t n_tokens);
void kv_seq_unpromise(kv_seq *seq, int64_t n_pages);
/* Back to n_tokens or, where open rows are gone, a little less, whatever the kind. */
void kv_seq_shorten(kv_seq *seq, int64_t n_tokens);
/* Out of what is promised. */
void *kv_seq_copy_page(kv_seq *seq, const void *page);

/* seq_pages.c: pages of one sequence, one by one.
 *
 * A page out of what is promised to the sequence, else borrowed from the store's, else unreserved.
 * RT_ENOFIT: there is none. */
RT_MUST_CHECK rt_status kv_seq_take(kv_seq *seq, void **out);
/* Pages for positions [first, end) of a layer where there are none. */
RT_MUST_CHECK rt_status kv_seq_take_pages(kv_seq *seq, int32_t layer, int64_t first, int64_t end);
/* Reference given up; a page that becomes free goes back to where pages of the sequence come from. */
void kv_seq_drop(kv_seq *seq, void *page);
/* The slots of pages [first, end) of a layer, emptied. */
void kv_seq_drop_pages(kv_seq *seq, int32_t layer, int64_t first, int64_t end);
/* Forget everything from n_tokens on, in a sequence that overflows or parks. */
void kv_seq_cut(kv_seq *seq, int64_t n_tokens);
/* A reserved cell for an extent that is to be stored; what was stored of it before goes. The sequence's own cell, or, where
 * forks hold on to what it stored, another. RT_ENOFIT: there is none, and what was stored stays. */
RT_MUST_CHECK rt_status kv_seq_replace_stored(kv_seq *seq, int32_t layer, int64_t extent);
void kv_seq_drop_stored(kv_seq *seq, int32_t layer, int64_t extent);
/* Forget stored extents from n_tokens on. */
void kv_seq_cut_stored(kv_seq *seq, int64_t n_tokens);

/* What is promised to a sequence and what it holds are made up to what it is entitled to, as far as there is
 * room, or what is more is given back: `parks` and `grows_late` for a walk that begins.
 *
 *   release   what is more, of one that is done with */
void kv_seq_settle(kv_seq *seq);
void kv_seq_release(kv_seq *seq);

/* Whether an extent of the sequence is to be in its own pages once it has been loaded. */
static inline bool kv_seq_keeps(const kv_seq *seq, int64_t extent) {
    if (extent < seq->n_kept) return false;
    return seq->kind == KV_SEQ_IN_MEMORY || (extent < seq->n_pinned && !seq->parks);
}

/* open_pages.c: pages that are being filled, where full ones are sealed; nothing to do otherwise.
 *
 *   begin    of a walk: open pages for the new tokens of a sequence; RT_ENOFIT
 *   end      those up to `end` were appended, and full pages sealed: the last, unfinished one stays
 *   drop     those of a walk that did not come to that
 *   cut      to n_tokens or, where an open page is missing, fewer: returns how many
 *   take     one for a layer that ends inside a page, to be filled from elsewhere; RT_ENOFIT */
RT_MUST_CHECK rt_status kv_open_start(kv_store *store);
void kv_open_stop(kv_store *store);
RT_MUST_CHECK rt_status kv_open_reserve(kv_seq *seq);
void kv_open_free(kv_seq *seq);
RT_MUST_CHECK rt_status kv_open_begin(kv_walk *walk, int32_t seq);
void kv_open_end(kv_walk *walk, int32_t seq, int64_t end);
void kv_open_drop(kv_walk *walk);
int64_t kv_open_cut(kv_seq *seq, int64_t n_tokens);
RT_MUST_CHECK rt_status kv_open_take(kv_seq *seq, int32_t layer);
/* Copies of the parent's, for a fork of so many tokens. */
void kv_open_fork(kv_seq *seq, const kv_seq *parent);

/* persist.c: what becomes of a sequence is kept, from its first token on.
 *
 *   start   of a new sequence that is; RT_ENOMEM
 *   share   of a fork that is: what its parent knows of the segments that they share
 *   begin   writers for the extents that the open span completes; without them (no room, say) the
 *           sequence goes on and is not kept any further
 *   commit  their segments are durable, and found
 *   abort   they never were
 *   free    the memory */
RT_MUST_CHECK rt_status kv_persist_start(kv_seq *seq);
void kv_persist_share(kv_seq *seq, const kv_seq *parent);
/* RT_EUSAGE: nothing of it is kept; otherwise why not all of it is (kv_store_check_kept). */
RT_MUST_CHECK rt_status kv_persist_check(const kv_seq *seq);
void kv_persist_begin(kv_seq *seq);
void kv_persist_commit(kv_seq *seq);
void kv_persist_abort(kv_seq *seq);
void kv_persist_free(kv_seq *seq);
/* What a writer of the extent has is not to be read any more. */
void kv_persist_lose(kv_seq *seq, int64_t extent);

/* suspend.c: what was being written of a suspension is gone; what was being read stays. */
void kv_suspend_end(kv_seq *seq);

/* walk.c: what the store closes. */
void kv_walk_free(kv_walk *walk);

/* walk_pages.c: pages of sequences' own.
 *
 *   tail_lacks  those that a tail takes in n_extents from `extent` on, for its new tokens and what is yet to be
 *               loaded: of the window's, where it lends them; others, and a copy of the last one
 *   grow_tail   takes them when the walk begins, unless that is to be later; RT_ENOFIT
 *   take        those that members of a step lack; RT_ENOFIT
 *   drop        back again, where they were not loaded
 *   take_back   the window's, where they still are */
typedef struct kv_lacks {
    int64_t n_lent;
    int64_t n_taken;
} kv_lacks;
kv_lacks kv_walk_tail_lacks(const kv_walk *walk, int32_t seq, int64_t extent, int64_t n_extents);
RT_MUST_CHECK rt_status kv_walk_grow_tail(kv_walk *walk, int32_t seq);
void kv_walk_take_back(kv_walk *walk);
RT_MUST_CHECK rt_status kv_walk_take_pages(kv_walk *walk, const kv_step *step);
void kv_walk_drop_pages(kv_walk *walk, const kv_step *step);

/* Whether what the step loads goes into pages of its members, and not of the window. */
static inline bool kv_step_has_pages(const kv_step *step) {
    return step->kind == KV_STEP_TAILS || step->is_kept;
}

/* walk_stores.c: slots taken for stores that never came. */
void kv_walk_drop_stores(kv_walk *walk);

/* walk_reads.c: reading ahead of the walk, as far as there is staging.
 *
 *   begin   what was read for this walk before it began is taken over, and more is read
 *   ahead   more, whenever staging has become free */
void kv_walk_begin_reads(kv_walk *walk);
void kv_walk_read_ahead(kv_walk *walk);

/* walk_steps.c: the steps of the walk whose sequences are set. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_walk_list_steps(kv_walk *walk);
/* Member i of a step: whose sequence it is, of the walk's. */
static inline int32_t kv_walk_member(const kv_walk *walk, const kv_step *step, int32_t i) {
    return walk->members[step->members_at + i];
}
/* The first extent of the sequence that this walk may still write. */
int64_t kv_walk_tail_extent(const kv_walk *walk, int32_t seq);
/* Whether the sequence's part of an extent is in memory, all that it needs. */
bool kv_walk_is_resident(const kv_walk *walk, int32_t seq, int64_t extent);
/* Extents of the sequence in this walk. */
int64_t kv_walk_n_extents(const kv_walk *walk, int32_t seq);
/* Whether an extent that this walk appends to, or brings in to look at, leaves memory with its window. */
bool kv_walk_goes(const kv_walk *walk, int32_t seq, int64_t extent);

#endif
