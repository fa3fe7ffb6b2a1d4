/* Pages that a walk takes: for new tokens, for what it loads, and for the copy of a page that is written and
 * that another sequence reads. */
#include "store_impl.h"

/* Whether a page that the sequence lacks is to be the window's. */
static bool is_lent(const kv_walk *walk, int32_t seq, int64_t page) {
    return walk->store->config.overflow.appends_by_windows &&
           kv_walk_goes(walk, seq, page / kv_pages_of_extent(walk->store));
}

/* ---- tails ----------------------------------------------------------------------------------- */

/* The page that new tokens share with old ones, where it is another sequence's, too. */
static void **shared_last_page(const kv_seq *seq, int32_t layer) {
    const int64_t filled = seq->filled[layer];
    const int32_t page_tokens = seq->store->config.shape.page_tokens;
    if (seq->open || filled % page_tokens == 0) return NULL;
    void **last = kv_page_slot(seq, layer, filled / page_tokens);
    return *last && kv_pool_is_shared(&seq->store->pool, *last) ? last : NULL;
}

/* It must be this sequence's alone. */
static rt_status own_last_page(kv_seq *seq, int32_t layer) {
    void **last = shared_last_page(seq, layer);
    if (!last) return RT_OK;
    void *copy = NULL;
    RT_TRY(kv_seq_take(seq, &copy));
    kv_pool_copy(&seq->store->pool, copy, *last);
    seq->store->n_copied++;
    kv_seq_drop(seq, *last);
    *last = copy;
    return RT_OK;
}

/* The window's; one of the sequence's own, or of the store's, where it is to stay. */
static rt_status give_page(kv_walk *walk, int32_t i, int64_t page) {
    kv_seq *seq = walk->seqs[i];
    void **slot = kv_page_slot(seq, walk->layer, page);
    if (*slot) return RT_OK;
    if (!is_lent(walk, i, page)) return kv_seq_take(seq, slot);
    rt_assert(walk->n_lent < walk->store->n_window);
    *slot = walk->store->window[walk->n_lent];
    kv_pool_share(&walk->store->pool, *slot);
    seq->n_held++;
    walk->lent[walk->n_lent++] = (kv_lent){.seq = seq, .page = page};
    return RT_OK;
}

static rt_status take_pages(kv_walk *walk, int32_t i, int64_t first, int64_t end) {
    for (int64_t page = first; page < end; page++) RT_TRY(give_page(walk, i, page));
    return RT_OK;
}

void kv_walk_take_back(kv_walk *walk) {
    while (walk->n_lent > 0) {
        const kv_lent *lent = &walk->lent[--walk->n_lent];
        void **slot = kv_page_slot(lent->seq, walk->layer, lent->page);
        if (*slot == walk->store->window[walk->n_lent])
            kv_seq_drop_pages(lent->seq, walk->layer, lent->page, lent->page + 1);
    }
}

static int64_t first_page(const kv_walk *walk, int64_t extent) {
    return extent * kv_pages_of_extent(walk->store);
}

static int64_t end_of_pages(const kv_walk *walk, int32_t seq, int64_t extent, int64_t n_extents) {
    return rt_min64(kv_held_pages(&walk->store->config, walk->ends[seq]),
            first_page(walk, extent + n_extents));
}

kv_lacks kv_walk_tail_lacks(const kv_walk *walk, int32_t i, int64_t extent, int64_t n_extents) {
    const int64_t end = end_of_pages(walk, i, extent, n_extents);
    kv_lacks lacks = {0};
    if (extent == kv_walk_tail_extent(walk, i))
        lacks.n_taken = shared_last_page(walk->seqs[i], walk->layer) != NULL;
    for (int64_t page = first_page(walk, extent); page < end; page++) {
        if (*kv_page_slot(walk->seqs[i], walk->layer, page)) continue;
        if (is_lent(walk, i, page))
            lacks.n_lent++;
        else
            lacks.n_taken++;
    }
    return lacks;
}

/* One that was cut inside what it shares is promised pages for that again only when its next span begins: what is
 * looked at before that does not stay. */
static bool is_unpromised(const kv_walk *walk, int32_t i) {
    const kv_seq *seq = walk->seqs[i];
    const int64_t extent = kv_walk_tail_extent(walk, i);
    if (!walk->store->config.overflow.appends_by_windows) return false;
    if (walk->ends[i] > seq->filled[walk->layer] || extent >= kv_walk_n_extents(walk, i))
        return false;
    return !kv_walk_is_resident(walk, i, extent) &&
           kv_walk_tail_lacks(walk, i, extent, 1).n_taken > seq->promised;
}

/* A tail that is in memory grows now; one that has yet to be loaded does in its window. So does one that would
 * borrow where the window lends, or where others may: what the store has is enough for one at a time. */
rt_status kv_walk_grow_tail(kv_walk *walk, int32_t i) {
    kv_seq *seq = walk->seqs[i];
    const int64_t filled = seq->filled[walk->layer];
    const int64_t extent = kv_walk_tail_extent(walk, i);
    if (seq->kind == KV_SEQ_IN_MEMORY) seq->parks = is_unpromised(walk, i);
    if (walk->ends[i] <= filled || seq->kind == KV_SEQ_IN_MEMORY) return RT_OK;
    const bool is_resident = filled % kv_walk_extent_tokens(walk)
                                     ? kv_walk_is_resident(walk, i, extent)
                                     : seq->kind == KV_SEQ_OVERFLOWS;
    if (!is_resident) return RT_OK;
    const kv_lacks lacks = kv_walk_tail_lacks(walk, i, extent, kv_walk_n_extents(walk, i) - extent);
    seq->grows_late = (walk->n_seqs > 1 || walk->store->config.overflow.appends_by_windows) &&
                      lacks.n_taken + lacks.n_lent > seq->promised;
    if (seq->grows_late) return RT_OK;
    RT_TRY(own_last_page(seq, walk->layer));
    return kv_seq_take_pages(seq, walk->layer, extent * kv_walk_extent_tokens(walk), walk->ends[i]);
}

/* ---- what is loaded -------------------------------------------------------------------------- */

/* Where pages of the step end that belong to a member, of positions it holds or is about to. */
static int64_t end_of_own_pages(const kv_walk *walk, const kv_step *step, int32_t seq) {
    if (step->kind == KV_STEP_TAILS) return end_of_pages(walk, seq, step->extent, step->n_extents);
    return first_page(walk, step->extent + step->n_extents);
}

rt_status kv_walk_take_pages(kv_walk *walk, const kv_step *step) {
    for (int32_t i = 0; i < step->n_members; i++) {
        const int32_t seq = kv_walk_member(walk, step, i);
        if (step->kind == KV_STEP_TAILS) RT_TRY(own_last_page(walk->seqs[seq], walk->layer));
        RT_TRY(take_pages(
                walk, seq, first_page(walk, step->extent), end_of_own_pages(walk, step, seq)));
    }
    return RT_OK;
}

/* What they hold is not what was stored. */
void kv_walk_drop_pages(kv_walk *walk, const kv_step *step) {
    for (int32_t i = 0; i < step->n_members; i++) {
        const int32_t seq = kv_walk_member(walk, step, i);
        if (step->kind == KV_STEP_TAILS && walk->seqs[seq]->grows_late)
            continue; /* it has its tokens */
        kv_seq_drop_pages(walk->seqs[seq], walk->layer, first_page(walk, step->extent),
                end_of_own_pages(walk, step, seq));
    }
}
