/* Open pages: rows of pages that are not full yet, where full ones are sealed.
 *
 * Idle, a sequence has one in every layer whose last page is unfinished; those are promised to it. A
 * walk that appends takes one for every further page it touches, of the sequence's own or of the
 * store's, and gives back all but the last. */
#include <stdlib.h>

#include "runtime/base/memory.h"
#include "store_impl.h"

static bool has_open(const kv_store *store) {
    return store->config.open.page_bytes > 0;
}

/* Of one walk, besides one page a sequence. */
static int64_t n_work(const kv_config *config) {
    return kv_pages_of_layer(config, config->open.append_tokens) + 1;
}

static int64_t n_pages(const kv_config *config) {
    return (int64_t)config->open.n_seqs * config->n_layers + n_work(config);
}

int64_t kv_open_bytes(const kv_config *config) {
    return config->open.page_bytes > 0 ? n_pages(config) * config->open.page_bytes : 0;
}

rt_status kv_open_start(kv_store *store) {
    if (!has_open(store)) return RT_OK;
    const kv_config *config = &store->config;
    RT_TRY(kv_pool_open(
            n_pages(config), config->open.page_bytes, config->device, &store->open_pages));
    store->n_open_work = n_work(config);
    kv_pool_promise(&store->open_pages, store->n_open_work);
    return RT_OK;
}

void kv_open_stop(kv_store *store) {
    if (!store->open_pages.memory) return;
    kv_pool_unpromise(&store->open_pages, store->n_open_work);
    kv_pool_close(&store->open_pages);
}

/* ---- a sequence ------------------------------------------------------------------------------ */

rt_status kv_open_reserve(kv_seq *seq) {
    kv_store *store = seq->store;
    if (!has_open(store)) return RT_OK;
    if (kv_pool_room(&store->open_pages) < store->config.n_layers)
        return rt_fail(RT_ENOFIT, "kvstore: %d sequences at a time were planned",
                store->config.open.n_seqs);
    RT_TRY(rt_calloc(store->config.n_layers, sizeof(void *), "open pages", &seq->open));
    kv_pool_promise(&store->open_pages, store->config.n_layers);
    seq->n_open = store->config.n_layers;
    return RT_OK;
}

static void *take(kv_seq *seq) {
    kv_store *store = seq->store;
    if (seq->n_open > 0) {
        seq->n_open--;
    } else {
        if (store->n_open_work == 0) return NULL;
        store->n_open_work--;
        seq->n_open_borrowed++;
    }
    return kv_pool_take(&store->open_pages);
}

static void give(kv_seq *seq, void *page) {
    kv_store *store = seq->store;
    (void)kv_pool_drop(&store->open_pages, page);
    kv_pool_promise(&store->open_pages, 1);
    if (seq->n_open_borrowed > 0) {
        seq->n_open_borrowed--;
        store->n_open_work++;
    } else {
        seq->n_open++;
    }
}

static void give_layer(kv_seq *seq, int32_t layer) {
    if (seq->open[layer]) give(seq, seq->open[layer]);
    seq->open[layer] = NULL;
}

void kv_open_free(kv_seq *seq) {
    if (!seq->open) return;
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) give_layer(seq, layer);
    kv_pool_unpromise(&seq->store->open_pages, seq->n_open);
    free(seq->open);
}

rt_status kv_open_take(kv_seq *seq, int32_t layer) {
    if (!seq->open || seq->filled[layer] % seq->store->config.shape.page_tokens == 0) return RT_OK;
    rt_assert(!seq->open[layer]);
    seq->open[layer] = take(seq);
    if (!seq->open[layer]) return rt_fail(RT_ENOFIT, "kvstore: no open page is left");
    return RT_OK;
}

/* Whether every layer has the rows of the page that n_tokens end in. */
static bool holds_rows(const kv_seq *seq, int64_t n_tokens) {
    const int32_t page_tokens = seq->store->config.shape.page_tokens;
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        if (!seq->open[layer] || seq->filled[layer] / page_tokens != n_tokens / page_tokens)
            return false;
    return true;
}

int64_t kv_open_cut(kv_seq *seq, int64_t n_tokens) {
    const int32_t page_tokens = seq->store->config.shape.page_tokens;
    if (!seq->open) return n_tokens;
    if (n_tokens % page_tokens && holds_rows(seq, n_tokens)) return n_tokens;
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) give_layer(seq, layer);
    return n_tokens / page_tokens * page_tokens;
}

void kv_open_fork(kv_seq *seq, const kv_seq *parent) {
    if (!seq->open || seq->length % seq->store->config.shape.page_tokens == 0) return;
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        seq->open[layer] = take(seq);
        kv_pool_copy(&seq->store->open_pages, seq->open[layer], parent->open[layer]);
        seq->store->n_copied++;
    }
}

/* ---- a walk ---------------------------------------------------------------------------------- */

static rt_status add(kv_walk *walk, int32_t i, void *page) {
    if (!page) return rt_fail(RT_ENOFIT, "kvstore: a walk appends more than was planned");
    RT_TRY(rt_make_room(&walk->open_pages, sizeof *walk->open_pages, walk->n_open, &walk->open_room,
            "open pages of a walk"));
    walk->open_pages[walk->n_open++] = page;
    walk->open_n[i]++;
    return RT_OK;
}

rt_status kv_open_begin(kv_walk *walk, int32_t i) {
    kv_seq *seq = walk->seqs[i];
    const kv_config *config = &walk->store->config;
    const int64_t filled = seq->filled[walk->layer];
    walk->open_at[i] = -1;
    if (!seq->open || walk->ends[i] <= filled) return RT_OK;
    walk->open_at[i] = walk->n_open;
    walk->open_n[i] = 0;
    const int64_t first = filled / config->shape.page_tokens;
    const int64_t end = kv_pages_of_layer(config, walk->ends[i]);
    if (seq->open[walk->layer]) RT_TRY(add(walk, i, seq->open[walk->layer]));
    for (int64_t page = first + (seq->open[walk->layer] != NULL); page < end; page++) {
        void *fresh = take(seq);
        const rt_status status = add(walk, i, fresh);
        if (status == RT_OK) continue;
        if (fresh) give(seq, fresh);
        return status;
    }
    return RT_OK;
}

/* Sequences end in any order: the shortest first. */
void kv_open_end(kv_walk *walk, int32_t i, int64_t end) {
    kv_seq *seq = walk->seqs[i];
    if (!seq->open || walk->open_at[i] < 0) return;
    void **pages = walk->open_pages + walk->open_at[i];
    const int32_t page_tokens = walk->store->config.shape.page_tokens;
    const int64_t n_full = end / page_tokens - seq->filled[walk->layer] / page_tokens;
    for (int64_t p = 0; p < n_full; p++) give(seq, pages[p]);
    if (n_full > 0) seq->open[walk->layer] = NULL;
    walk->open_at[i] += n_full;
    walk->open_n[i] -= n_full;
    if (end < walk->ends[i]) return;
    if (walk->open_n[i] > 0) seq->open[walk->layer] = pages[n_full];
    walk->open_at[i] = -1;
}

/* The first page of a sequence was its own before, and stays. */
void kv_open_drop(kv_walk *walk) {
    if (!walk->open_at) return;
    for (int32_t i = 0; i < walk->n_seqs; i++) {
        kv_seq *seq = walk->seqs[i];
        if (!seq->open || walk->open_at[i] < 0) continue;
        for (int64_t p = 0; p < walk->open_n[i]; p++) {
            void *page = walk->open_pages[walk->open_at[i] + p];
            if (page != seq->open[walk->layer]) give(seq, page);
        }
        walk->open_at[i] = -1;
    }
    walk->n_open = 0;
}
