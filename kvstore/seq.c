/* Sequences over the page pool. Always true of one that is in memory:
 *
 *   1. It has div_up(length + span, page_tokens) pages in every layer and holds one reference to
 *      each that is in memory; the others are in stored extents that it shares.
 *   2. Positions from `length` on are written only in pages nobody else references: whole pages
 *      are shared, the partial last one is copied, at the fork or when a span begins.
 *   3. `promised` free pages of the pool belong to the sequence. Made with room for max_tokens
 *      it has them for every page it lacks, so a span within max_tokens cannot fail.
 *   4. The one exception: a page that is truncated away while another sequence still shares it does
 *      not come back. The next span makes up for it from pages promised to nobody, or fails.
 *   5. An open span can be undone (seq_span.c).
 *
 * One that overflows or parks takes pages only while a walk appends to a layer (walk.c):
 *
 *   6. Extents before filled / extent_tokens are in memory or stored, or both; the rest of a
 *      layer, its tail, is in memory or stored up to filled.
 *   7. Idle, it has none of the store's pages, which it borrows during a walk. What it has and what it is
 *      promised are together what it is entitled to; less only where others hold on to what it had, and
 *      nothing is left to make up for it: then its tails are parked, too, like those of one that parks. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "store_impl.h"

static void **slot(const kv_seq *seq, int32_t layer, int64_t page) {
    return kv_page_slot(seq, layer, page);
}

static bool is_open(const kv_seq *seq) {
    return seq->span > 0;
}

static int64_t pages_for(const kv_seq *seq, int64_t n_tokens) {
    return kv_held_pages(&seq->store->config, n_tokens);
}

/* ---- room ------------------------------------------------------------------------------------ */

static rt_status refuse(const kv_store *store, int64_t n_tokens, int64_t n_needed) {
    const int64_t room = kv_pool_room(&store->pool);
    const int64_t n_left = room / store->config.n_layers * store->config.shape.page_tokens;
    char needed[RT_SIZE_TEXT], left[RT_SIZE_TEXT];
    return rt_fail(RT_ENOFIT,
            "kvstore: %" PRId64 " tokens need %" PRId64 " more pages (%s); %" PRId64 " of %" PRId64
            " pages are left (%s), room for %" PRId64 " tokens",
            n_tokens, n_needed,
            rt_format_bytes(
                    rt_min64(n_needed, INT64_MAX / store->pool.page_bytes) * store->pool.page_bytes,
                    needed),
            room, store->pool.n_pages, rt_format_bytes(room * store->pool.page_bytes, left),
            n_left);
}

rt_status kv_seq_promise(kv_seq *seq, int64_t n_pages, int64_t n_tokens) {
    if (n_pages > kv_pool_room(&seq->store->pool)) return refuse(seq->store, n_tokens, n_pages);
    kv_pool_promise(&seq->store->pool, n_pages);
    seq->promised += n_pages;
    return RT_OK;
}

void kv_seq_unpromise(kv_seq *seq, int64_t n_pages) {
    rt_assert(n_pages <= seq->promised);
    kv_pool_unpromise(&seq->store->pool, n_pages);
    seq->promised -= n_pages;
}

/* Extents of its own, after n_kept of another, that stay in memory besides the unfinished one. */
static int64_t n_pinned_of(const kv_seq *seq, int64_t n_kept, int64_t room) {
    const kv_overflow *to = &seq->store->config.overflow;
    const int64_t of_extents = seq->store->config.n_layers * kv_pages_of_extent(seq->store);
    const int64_t n_wanted = to->pinned_tokens / to->extent_tokens - n_kept;
    return rt_max64(rt_min64(n_wanted, room / of_extents - 1), 0);
}

/* Cells for what leaves memory: not for what is kept in segments, but for its tails; nor for what is pinned, which
 * takes others should it have to leave all the same (kv_seq_replace_stored). */
static rt_status reserve_cells(kv_seq *seq, int64_t n_kept, int64_t n_pinned) {
    kv_store *store = seq->store;
    const int64_t n_going = rt_max64(seq->n_extents - n_kept - n_pinned, 1);
    const int64_t n_cells = (seq->is_persisted ? 1 : n_going) * store->config.n_layers;
    RT_TRY(kv_scratch_reserve(store->staging.scratch, n_cells));
    seq->n_cells = n_cells;
    return RT_OK;
}

/* What a sequence is made of that holds n_kept extents of another and n_needed pages of its own. */
static rt_status choose_kind(kv_seq *seq, int64_t n_kept, int64_t n_needed) {
    kv_store *store = seq->store;
    const int64_t room = kv_pool_room(&store->pool);
    if (n_needed <= room) return kv_seq_promise(seq, n_needed, seq->max_tokens);
    if (!store->has_overflow) return refuse(store, seq->max_tokens, n_needed);
    const int64_t of_extents = store->config.n_layers * kv_pages_of_extent(store);
    seq->kind = room >= of_extents ? KV_SEQ_OVERFLOWS : KV_SEQ_PARKS;
    if (seq->kind == KV_SEQ_PARKS) return reserve_cells(seq, n_kept, 0);
    const int64_t n_pinned = n_pinned_of(seq, n_kept, room);
    RT_TRY(reserve_cells(seq, n_kept, n_pinned));
    seq->n_pinned = n_pinned > 0 ? n_kept + n_pinned : 0;
    seq->entitled = (1 + n_pinned) * of_extents;
    return kv_seq_promise(seq, seq->entitled, seq->max_tokens);
}

/* ---- making and freeing ---------------------------------------------------------------------- */

/* A page has a pointer, and an extent, which may be as small as a page. */
int64_t kv_seq_lists_bytes(const kv_config *config, int64_t max_tokens) {
    const int64_t n_pages = kv_pages_of_layer(config, max_tokens);
    return max_tokens * (int64_t)sizeof(int32_t) +
           2 * n_pages * config->n_layers * (int64_t)sizeof(void *);
}

static rt_status allocate(kv_seq *seq) {
    const kv_store *store = seq->store;
    const int64_t n_layers = store->config.n_layers;
    RT_TRY(rt_calloc(
            seq->n_slots * n_layers, sizeof(void *), "a sequence's page pointers", &seq->pointers));
    RT_TRY(rt_calloc(n_layers, sizeof(void *), "a sequence's tail", &seq->tail));
    RT_TRY(rt_calloc(n_layers, sizeof(int64_t), "a sequence's lengths", &seq->filled));
    RT_TRY(rt_calloc(seq->max_tokens, sizeof *seq->ids, "a sequence's tokens", &seq->ids));
    if (!store->has_overflow) return RT_OK;
    RT_TRY(rt_calloc(
            seq->n_extents * n_layers, sizeof(void *), "a sequence's extents", &seq->stored));
    return kv_persist_start(seq);
}

static void free_memory(kv_seq *seq) {
    free(seq->pointers);
    free(seq->tail);
    free(seq->filled);
    free(seq->ids);
    free(seq->stored);
    kv_persist_free(seq);
    kv_open_free(seq);
    free(seq);
}

/* An empty sequence that will hold n_kept extents of another, n_needed pages of its own. */
static rt_status new_seq(kv_store *store, int64_t max_tokens, int64_t n_kept, int64_t n_needed,
        bool is_persisted, kv_seq **out) {
    kv_seq *seq = NULL;
    RT_TRY(rt_calloc(1, sizeof *seq, "a sequence", &seq));
    *seq = (kv_seq){.store = store,
            .n_kept = n_kept,
            .n_slots = kv_pages_of_layer(&store->config, max_tokens),
            .n_extents = rt_div_up(max_tokens, store->config.overflow.extent_tokens),
            .max_tokens = max_tokens,
            .is_persisted = is_persisted};
    rt_status status = choose_kind(seq, n_kept, n_needed);
    if (status == RT_OK) status = kv_open_reserve(seq);
    if (status == RT_OK) status = allocate(seq);
    if (status != RT_OK) {
        kv_seq_unpromise(seq, seq->promised);
        if (store->has_overflow) kv_scratch_unreserve(store->staging.scratch, seq->n_cells);
        free_memory(seq);
        return status;
    }
    store->n_seqs++;
    *out = seq;
    return RT_OK;
}

rt_status kv_seq_create(kv_store *store, int64_t max_tokens, kv_seq **out) {
    rt_assert(max_tokens >= 0);
    return new_seq(store, max_tokens, 0, kv_pages_for(&store->config, max_tokens),
            store->vault != NULL, out);
}

static void shrink(kv_seq *seq, int64_t n_pages) {
    rt_assert(n_pages >= 0 && n_pages <= seq->n_pages);
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        kv_seq_drop_pages(seq, layer, n_pages, seq->n_pages);
    seq->n_pages = n_pages;
}

void kv_seq_shorten(kv_seq *seq, int64_t wanted) {
    const int64_t n_tokens = kv_open_cut(seq, wanted);
    seq->length = n_tokens;
    seq->n_chained = rt_min64(seq->n_chained, n_tokens / KV_SEGMENT_TOKENS);
    if (seq->kind != KV_SEQ_IN_MEMORY) {
        kv_seq_cut(seq, n_tokens);
        return;
    }
    shrink(seq, pages_for(seq, n_tokens));
    kv_seq_cut_stored(seq, n_tokens);
    seq->n_kept = rt_min64(seq->n_kept, n_tokens / seq->store->config.overflow.extent_tokens);
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        seq->filled[layer] = n_tokens;
}

void kv_seq_free(kv_seq *seq) {
    if (!seq) return;
    kv_span_abort(seq);
    rt_assert(!seq->is_walked);
    kv_store *store = seq->store;
    kv_seq_shorten(seq, 0);
    kv_seq_unpromise(seq, seq->promised);
    if (store->has_overflow) kv_scratch_unreserve(store->staging.scratch, seq->n_cells);
    store->n_seqs--;
    free_memory(seq);
}

/* ---- forks ----------------------------------------------------------------------------------- */

/* Whole pages of a layer that a fork at n_tokens has in common with its parent, in memory or stored. Where
 * the fork is inside a stored extent, it loads that one into pages of its own. Layers differ: of a parked
 * sequence whose span was given up, those that were walked are stored and the others may be in memory. */
static int64_t n_pages_shared(const kv_seq *parent, int32_t layer, int64_t n_tokens) {
    const int64_t of_extent = kv_pages_of_extent(parent->store);
    const int64_t n_pages = n_tokens / parent->store->config.shape.page_tokens;
    const int64_t first = n_tokens / parent->store->config.overflow.extent_tokens * of_extent;
    const bool is_inside = first * parent->store->config.shape.page_tokens < n_tokens;
    return is_inside && !*slot(parent, layer, first) ? first : n_pages;
}

static int64_t n_pages_shared_by_all(const kv_seq *parent, int64_t n_tokens) {
    int64_t n = 0;
    for (int32_t layer = 0; layer < parent->store->config.n_layers; layer++)
        n += n_pages_shared(parent, layer, n_tokens);
    return n;
}

/* An unfinished extent on disk, of which the fork and its parent have a reference each: the first of them that appends
 * writes it anew, into the cell that was reserved for the fork's. */
static void leave_spare(kv_seq *seq, kv_stored *tail) {
    if (!tail || tail->cell < 0 || seq->n_cells == 0) return;
    seq->n_cells--;
    tail->n_spares++;
}

static void share(kv_seq *seq, const kv_seq *parent, int64_t n_tokens) {
    kv_store *store = seq->store;
    const int64_t n_extents = rt_div_up(n_tokens, store->config.overflow.extent_tokens);
    const int64_t n_kept = seq->n_kept * kv_pages_of_extent(store);
    for (int32_t layer = 0; layer < store->config.n_layers; layer++) {
        const int64_t n_pages = n_pages_shared(parent, layer, n_tokens);
        for (int64_t i = 0; i < n_pages; i++) {
            void *page = *slot(parent, layer, i);
            if (page) kv_pool_share(&store->pool, page);
            seq->n_held += page && i >= n_kept;
            seq->streams |= !page && i < n_kept;
            *slot(seq, layer, i) = page;
        }
        for (int64_t e = 0; seq->stored && e < n_extents; e++) {
            kv_stored *stored = kv_stored_share(*kv_stored_slot(parent, layer, e));
            if (e >= seq->n_kept) leave_spare(seq, stored);
            *kv_stored_slot(seq, layer, e) = stored;
        }
        seq->filled[layer] = n_tokens;
    }
    memcpy(seq->ids, parent->ids, (size_t)n_tokens * sizeof *seq->ids);
    seq->length = n_tokens;
}

void *kv_seq_copy_page(kv_seq *seq, const void *page) {
    rt_assert(seq->promised > 0);
    seq->promised--;
    void *copy = kv_pool_take(&seq->store->pool);
    kv_pool_copy(&seq->store->pool, copy, page);
    seq->store->n_copied++;
    return copy;
}

/* The partial last page of a layer: copied now where its like is promised, when it is written otherwise. */
static void fork_tail(kv_seq *seq, const kv_seq *parent, int32_t layer) {
    const int64_t page = n_pages_shared(parent, layer, seq->length);
    if (seq->n_pages != page + 1)
        return; /* no partial one, or in an extent that is yet to be loaded */
    void *shared = *slot(parent, layer, page);
    if (!shared) return;
    if (seq->kind != KV_SEQ_IN_MEMORY) kv_pool_share(&seq->store->pool, shared);
    seq->n_held++;
    *slot(seq, layer, page) =
            seq->kind == KV_SEQ_IN_MEMORY ? kv_seq_copy_page(seq, shared) : shared;
}

/* Where a fork can be made: not inside a sealed page. */
static int64_t fork_point(const kv_seq *parent, int64_t n_tokens) {
    const int32_t page_tokens = parent->store->config.shape.page_tokens;
    if (!parent->open || n_tokens / page_tokens == parent->length / page_tokens) return n_tokens;
    return n_tokens / page_tokens * page_tokens;
}

rt_status kv_seq_fork(kv_seq *parent, int64_t wanted, int64_t max_tokens, kv_seq **out) {
    rt_assert(!is_open(parent) && !parent->is_walked);
    rt_assert(wanted >= 0 && wanted <= parent->length && max_tokens >= wanted);
    kv_store *store = parent->store;
    const int64_t n_tokens = fork_point(parent, wanted);
    const int64_t n_kept = n_tokens / store->config.overflow.extent_tokens;
    const int64_t n_needed =
            kv_pages_for(&store->config, max_tokens) - n_pages_shared_by_all(parent, n_tokens);
    kv_seq *seq = NULL;
    RT_TRY(new_seq(store, max_tokens, n_kept, n_needed, store->vault && store->keeps_forks, &seq));
    share(seq, parent, n_tokens);
    kv_persist_share(seq, parent);
    seq->n_pages = pages_for(seq, n_tokens);
    for (int32_t layer = 0; layer < store->config.n_layers; layer++) fork_tail(seq, parent, layer);
    kv_open_fork(seq, parent);
    *out = seq;
    return RT_OK;
}

/* ---- lengths --------------------------------------------------------------------------------- */

int64_t kv_seq_length(const kv_seq *seq) {
    return seq->length;
}

int64_t kv_seq_filled(const kv_seq *seq, int32_t layer) {
    return seq->filled[layer];
}

const int32_t *kv_seq_ids(const kv_seq *seq) {
    return seq->ids;
}

bool kv_seq_is_in_memory(const kv_seq *seq) {
    return seq->kind == KV_SEQ_IN_MEMORY;
}

bool kv_seq_streams(const kv_seq *seq) {
    return seq->kind != KV_SEQ_IN_MEMORY || seq->streams;
}

int64_t kv_seq_max_tokens(const kv_seq *seq) {
    return seq->max_tokens;
}

void kv_seq_truncate(kv_seq *seq, int64_t n_tokens) {
    rt_assert(!is_open(seq) && !seq->is_walked);
    rt_assert(n_tokens >= 0 && n_tokens <= seq->length);
    kv_seq_shorten(seq, n_tokens);
}
