/* Pages that a walk takes: for new tokens, for what it loads, and for the copy of a page that is written and
 * that another sequence reads. */
#include "store_impl.h"

static int32_t member(const kv_walk *walk, const kv_step *step, int32_t i) {
    return walk->members[step->members_at + i];
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

static rt_status take_pages(kv_seq *seq, int32_t layer, int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
        void **slot = kv_page_slot(seq, layer, i);
        if (!*slot) RT_TRY(kv_seq_take(seq, slot));
    }
    return RT_OK;
}

static int64_t first_tail_page(const kv_walk *walk, int32_t seq) {
    return kv_walk_tail_extent(walk, seq) * kv_pages_of_extent(walk->store);
}

static int64_t n_pages_at_end(const kv_walk *walk, int32_t seq) {
    return kv_held_pages(&walk->store->config, walk->ends[seq]);
}

int64_t kv_walk_tail_lacks(const kv_walk *walk, int32_t i) {
    int64_t n = shared_last_page(walk->seqs[i], walk->layer) != NULL;
    for (int64_t page = first_tail_page(walk, i); page < n_pages_at_end(walk, i); page++)
        n += *kv_page_slot(walk->seqs[i], walk->layer, page) == NULL;
    return n;
}

static rt_status take_tail(kv_walk *walk, int32_t i) {
    kv_seq *seq = walk->seqs[i];
    RT_TRY(own_last_page(seq, walk->layer));
    return take_pages(seq, walk->layer, first_tail_page(walk, i), n_pages_at_end(walk, i));
}

/* A tail that is in memory grows now; one that has yet to be loaded does in its window. So does one that
 * would borrow where others may: what the store has is enough for one at a time. */
rt_status kv_walk_grow_tail(kv_walk *walk, int32_t i) {
    kv_seq *seq = walk->seqs[i];
    const int64_t filled = seq->filled[walk->layer];
    if (walk->ends[i] <= filled || seq->kind == KV_SEQ_IN_MEMORY) return RT_OK;
    const bool is_resident = filled % kv_walk_extent_tokens(walk)
                                     ? kv_walk_is_resident(walk, i, kv_walk_tail_extent(walk, i))
                                     : seq->kind == KV_SEQ_OVERFLOWS;
    if (!is_resident) return RT_OK;
    seq->grows_late = walk->n_seqs > 1 && kv_walk_tail_lacks(walk, i) > seq->promised;
    return seq->grows_late ? RT_OK : take_tail(walk, i);
}

/* ---- what is loaded -------------------------------------------------------------------------- */

/* Pages of the step that belong to a member, of positions it holds or is about to. */
static int64_t first_own_page(const kv_walk *walk, const kv_step *step, int32_t seq) {
    if (step->kind == KV_STEP_TAILS) return first_tail_page(walk, seq);
    return step->extent * kv_pages_of_extent(walk->store);
}

static int64_t end_of_own_pages(const kv_walk *walk, const kv_step *step, int32_t seq) {
    if (step->kind == KV_STEP_TAILS) return n_pages_at_end(walk, seq);
    return (step->extent + step->n_extents) * kv_pages_of_extent(walk->store);
}

rt_status kv_walk_take_pages(kv_walk *walk, const kv_step *step) {
    for (int32_t i = 0; i < step->n_members; i++) {
        const int32_t seq = member(walk, step, i);
        if (step->kind == KV_STEP_TAILS) RT_TRY(own_last_page(walk->seqs[seq], walk->layer));
        RT_TRY(take_pages(walk->seqs[seq], walk->layer, first_own_page(walk, step, seq),
                end_of_own_pages(walk, step, seq)));
    }
    return RT_OK;
}

/* What they hold is not what was stored. */
void kv_walk_drop_pages(kv_walk *walk, const kv_step *step) {
    for (int32_t i = 0; i < step->n_members; i++) {
        const int32_t seq = member(walk, step, i);
        if (step->kind == KV_STEP_TAILS && walk->seqs[seq]->grows_late) continue; /* it has its tokens */
        kv_seq_drop_pages(walk->seqs[seq], walk->layer, first_own_page(walk, step, seq),
                end_of_own_pages(walk, step, seq));
    }
}
