/* Spans: tokens that are appended layer by layer, and count from the commit on. An open one can be undone:
 * until the commit, `tail` keeps the shared last page that the span replaced by its copy, and `made_up`
 * says what it took from pages promised to nobody (rule 4 of seq.c). */
#include <inttypes.h>
#include <string.h>

#include "runtime/base/size.h"
#include "store_impl.h"

/* ---- of a sequence in memory ----------------------------------------------------------------- */

static void grow(kv_seq *seq, int64_t n_pages) {
    rt_assert(n_pages >= seq->n_pages && n_pages <= seq->n_slots);
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        for (int64_t i = seq->n_pages; i < n_pages; i++) {
            rt_assert(seq->promised > 0);
            seq->promised--;
            *kv_page_slot(seq, layer, i) = kv_pool_take(&seq->store->pool);
        }
    seq->n_pages = n_pages;
}

/* The last page of a layer will be written beside its old tokens, and somebody else reads it. */
static bool has_shared_tail(const kv_seq *seq, int32_t layer) {
    if (seq->open || seq->length % seq->store->config.shape.page_tokens == 0) return false;
    const void *last = *kv_page_slot(seq, layer, seq->n_pages - 1);
    return last && kv_pool_is_shared(&seq->store->pool, last);
}

static int32_t n_shared_tails(const kv_seq *seq) {
    int32_t n = 0;
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        n += has_shared_tail(seq, layer);
    return n;
}

static void replace_tails(kv_seq *seq) {
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        if (!has_shared_tail(seq, layer)) continue;
        void **last = kv_page_slot(seq, layer, seq->n_pages - 1);
        seq->tail[layer] = *last;
        *last = kv_seq_copy_page(seq, *last);
    }
}

static void restore_tails(kv_seq *seq) {
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        if (!seq->tail[layer]) continue;
        void **last = kv_page_slot(seq, layer, seq->n_pages - 1);
        kv_seq_drop(seq, *last);
        *last = seq->tail[layer];
        seq->tail[layer] = NULL;
    }
}

static void forget_tails(kv_seq *seq) {
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        if (seq->tail[layer]) (void)kv_pool_drop(&seq->store->pool, seq->tail[layer]);
        seq->tail[layer] = NULL;
    }
}

/* Pages that a walk has yet to load, and that will stay, all layers. */
static int64_t n_unloaded(const kv_seq *seq) {
    if (!seq->stored) return 0;
    int64_t n = 0;
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        for (int64_t i = seq->n_kept * kv_pages_of_extent(seq->store); i < seq->n_pages; i++)
            n += *kv_page_slot(seq, layer, i) == NULL;
    return n;
}

static rt_status begin_in_memory(kv_seq *seq, int64_t n_tokens) {
    const int64_t n_pages = kv_held_pages(&seq->store->config, seq->length + n_tokens);
    const int64_t n_fresh = (n_pages - seq->n_pages) * seq->store->config.n_layers +
                            n_shared_tails(seq) + n_unloaded(seq);
    const int64_t missing = rt_max64(n_fresh - seq->promised, 0);
    RT_TRY(kv_seq_promise(seq, missing, n_tokens));
    seq->made_up = missing;
    replace_tails(seq);
    grow(seq, n_pages);
    return RT_OK;
}

static void abort_in_memory(kv_seq *seq) {
    kv_seq_shorten(seq, seq->length);
    restore_tails(seq);
    kv_seq_unpromise(seq, rt_min64(seq->made_up, seq->promised));
}

/* ---- of any ---------------------------------------------------------------------------------- */

static void note_ids(kv_seq *seq, const int32_t *ids, int64_t n_tokens) {
    int32_t *place = seq->ids + seq->length;
    if (ids)
        memcpy(place, ids, (size_t)n_tokens * sizeof *ids);
    else
        memset(place, 0, (size_t)n_tokens * sizeof *ids);
}

rt_status kv_span_begin(kv_seq *seq, const int32_t *ids, int64_t n_tokens) {
    rt_assert(seq->span == 0 && !seq->is_walked && n_tokens > 0);
    if (n_tokens > seq->max_tokens - seq->length)
        return rt_fail(RT_EUSAGE,
                "kvstore: %" PRId64 " tokens after %" PRId64 ", the sequence has room for %" PRId64,
                n_tokens, seq->length, seq->max_tokens);
    if (seq->kind == KV_SEQ_IN_MEMORY) RT_TRY(begin_in_memory(seq, n_tokens));
    note_ids(seq, ids, n_tokens);
    seq->span = n_tokens;
    kv_persist_begin(seq);
    return RT_OK;
}

void kv_span_commit(kv_seq *seq) {
    rt_assert(seq->span > 0 && !seq->is_walked);
    forget_tails(seq);
    seq->length += seq->span;
    seq->span = seq->made_up = 0;
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        rt_assert(seq->filled[layer] == seq->length);
    kv_persist_commit(seq);
}

void kv_span_abort(kv_seq *seq) {
    if (seq->span == 0) return;
    rt_assert(!seq->is_walked);
    if (seq->kind == KV_SEQ_IN_MEMORY)
        abort_in_memory(seq);
    else
        kv_seq_shorten(seq, seq->length);
    seq->span = seq->made_up = 0;
    kv_persist_abort(seq);
}
