/* Pages of one sequence: where they come from and go to. */
#include "runtime/base/size.h"
#include "store_impl.h"

static bool borrow(kv_seq *seq) {
    kv_store *store = seq->store;
    if (store->n_work == 0) return false;
    store->n_work--;
    seq->n_borrowed++;
    return true;
}

/* A promised page of the store's, given back by whom it was lent to. */
static void return_work(kv_store *store) {
    if (store->n_work < store->n_work_max)
        store->n_work++;
    else
        kv_pool_unpromise(&store->pool, 1);
}

rt_status kv_seq_take(kv_seq *seq, void **out) {
    kv_pool *pool = &seq->store->pool;
    if (seq->promised > 0) {
        seq->promised--;
    } else if (!borrow(seq)) {
        if (kv_pool_room(pool) == 0)
            return rt_fail(RT_ENOFIT,
                    "kvstore: no page is left for a sequence; forks still hold what it shared");
        kv_pool_promise(pool, 1);
    }
    *out = kv_pool_take(pool);
    seq->n_held++;
    return RT_OK;
}

/* Pages of its own that it could have: what it has, and what it is promised. */
static int64_t n_own(const kv_seq *seq) {
    return seq->promised + seq->n_held - seq->n_borrowed;
}

void kv_seq_release(kv_seq *seq) {
    if (seq->kind == KV_SEQ_IN_MEMORY) return;
    const int64_t n_more = rt_min64(n_own(seq) - seq->entitled, seq->promised);
    if (n_more <= 0) return;
    kv_pool_unpromise(&seq->store->pool, n_more);
    seq->promised -= n_more;
}

void kv_seq_settle(kv_seq *seq) {
    kv_pool *pool = &seq->store->pool;
    seq->grows_late = false;
    seq->parks = seq->kind == KV_SEQ_PARKS;
    if (seq->kind != KV_SEQ_OVERFLOWS) return;
    const int64_t n_lost = rt_max64(seq->entitled - n_own(seq), 0);
    const int64_t n_back = rt_min64(n_lost, kv_pool_room(pool));
    kv_pool_promise(pool, n_back);
    seq->promised += n_back;
    seq->parks = n_back < n_lost;
}

rt_status kv_seq_take_pages(kv_seq *seq, int32_t layer, int64_t first, int64_t end) {
    const kv_config *config = &seq->store->config;
    for (int64_t i = first / config->shape.page_tokens; i < kv_held_pages(config, end); i++) {
        void **slot = kv_page_slot(seq, layer, i);
        if (!*slot) RT_TRY(kv_seq_take(seq, slot));
    }
    return RT_OK;
}

static void drop(kv_seq *seq, void *page) {
    kv_pool *pool = &seq->store->pool;
    if (!kv_pool_drop(pool, page)) return;
    kv_pool_promise(pool, 1);
    if (seq->n_borrowed == 0) {
        seq->promised++;
        return;
    }
    seq->n_borrowed--;
    return_work(seq->store);
}

void kv_seq_drop(kv_seq *seq, void *page) {
    seq->n_held--;
    drop(seq, page);
}

void kv_seq_drop_pages(kv_seq *seq, int32_t layer, int64_t first, int64_t end) {
    const int64_t n_kept = seq->n_kept * kv_pages_of_extent(seq->store);
    for (int64_t i = first; i < rt_min64(end, seq->n_slots); i++) {
        void **slot = kv_page_slot(seq, layer, i);
        if (!*slot) continue;
        seq->n_held -= i >= n_kept;
        drop(seq, *slot);
        *slot = NULL;
    }
}

void kv_seq_drop_stored(kv_seq *seq, int32_t layer, int64_t extent) {
    kv_stored **stored = kv_stored_slot(seq, layer, extent);
    seq->n_cells += kv_stored_drop(&seq->store->staging, *stored);
    *stored = NULL;
}

rt_status kv_seq_replace_stored(kv_seq *seq, int32_t layer, int64_t extent) {
    const kv_stored *before = *kv_stored_slot(seq, layer, extent);
    const bool leaves_a_cell =
            before && before->cell >= 0 && (before->refs == 1 || before->n_spares > 0);
    if (seq->n_cells == 0 && !leaves_a_cell) {
        RT_TRY(kv_scratch_reserve(seq->store->staging.scratch, 1));
        seq->n_cells++;
    }
    kv_seq_drop_stored(seq, layer, extent);
    seq->n_cells--;
    return RT_OK;
}

void kv_seq_cut_stored(kv_seq *seq, int64_t n_tokens) {
    if (!seq->stored) return;
    const int64_t first = rt_div_up(n_tokens, seq->store->config.overflow.extent_tokens);
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        for (int64_t e = first; e < seq->n_extents; e++) kv_seq_drop_stored(seq, layer, e);
}

/* Less of it is another's now: pages of the extent that is cut count as its own. */
static void keep_less(kv_seq *seq, int64_t n_extents) {
    if (n_extents >= seq->n_kept) return;
    const int64_t of_extent = kv_pages_of_extent(seq->store);
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        for (int64_t i = n_extents * of_extent; i < (n_extents + 1) * of_extent; i++)
            seq->n_held += i < seq->n_slots && *kv_page_slot(seq, layer, i);
    if (seq->n_pinned > 0) seq->n_pinned -= seq->n_kept - n_extents;
    seq->n_kept = n_extents;
}

void kv_seq_cut(kv_seq *seq, int64_t n_tokens) {
    const kv_config *config = &seq->store->config;
    const int64_t n_pages = kv_held_pages(config, n_tokens);
    for (int32_t layer = 0; layer < config->n_layers; layer++) {
        kv_seq_drop_pages(seq, layer, n_pages, seq->n_slots);
        seq->filled[layer] = rt_min64(seq->filled[layer], n_tokens);
    }
    keep_less(seq, n_tokens / config->overflow.extent_tokens);
    kv_seq_cut_stored(seq, n_tokens);
}
