/* Sequences over the page pool. Every layer of a sequence has the same number of pages, so one
 * count serves all; pointers[layer][i] is kept ready for kv_acquire. Always true:
 *
 *   1. A sequence has div_up(length + span, page_tokens) pages in every layer and holds one
 *      reference to each of them.
 *   2. Positions from `length` on are written only in pages nobody else references: whole pages
 *      are shared, the partial last one is copied, at the fork or when a span begins.
 *   3. `promised` free pages of the pool belong to the sequence. Made with room for max_tokens
 *      it has them for every page it lacks, so a span within max_tokens cannot fail.
 *   4. The one exception: a page that is truncated away while another sequence still shares it does
 *      not come back. The next span makes up for it from pages promised to nobody, or fails.
 *   5. An open span can be undone: until the commit, `tail` keeps the shared last page that the
 *      span replaced by its copy, and `made_up` says what rule 4 added. */
#include "kvstore.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

struct kv_store {
    kv_config config;
    kv_pool pool;
    int64_t n_copied;
    int32_t n_seqs;
};

struct kv_seq {
    kv_store *store;
    void **pointers; /* [n_layers][n_slots] */
    void **tail;     /* [n_layers]: the shared page a copy replaced; NULL outside such a span */
    int64_t n_slots; /* pages of a layer at max_tokens */
    int64_t n_pages; /* of a layer now */
    int64_t max_tokens;
    int64_t length;
    int64_t span; /* tokens of the open span; 0 when idle */
    int64_t promised;
    int64_t made_up; /* of them, what the open span added (rule 4) */
    int32_t n_views;
};

static int64_t pages_of_layer(const kv_config *config, int64_t n_tokens) {
    return rt_div_up(n_tokens, config->shape.page_tokens);
}

int64_t kv_pages_for(const kv_config *config, int64_t n_tokens) {
    rt_assert(n_tokens >= 0 && config->n_layers > 0 && config->shape.page_tokens > 0);
    int64_t n_pages = 0;
    if (!rt_checked_mul(pages_of_layer(config, n_tokens), config->n_layers, &n_pages))
        return INT64_MAX;
    return n_pages;
}

/* --- the store --- */

static void check_config(const kv_config *config) {
    rt_assert(config->n_layers > 0 && config->page_bytes > 0 && config->host_bytes_max >= 0);
    rt_assert(config->shape.page_tokens > 0 && config->shape.n_kv_heads > 0);
    rt_assert(config->shape.head_dim > 0);
}

rt_status kv_store_open(const kv_config *config, kv_store **out) {
    check_config(config);
    const int64_t n_pages = rt_min64(config->host_bytes_max / config->page_bytes, INT32_MAX);
    if (n_pages < config->n_layers)
        return rt_fail(RT_ENOFIT,
                "kvstore: host budget %" PRId64 " bytes holds %" PRId64 " pages of %" PRId64
                " bytes; one page for each of %" PRId32 " layers is the least",
                config->host_bytes_max, n_pages, config->page_bytes, config->n_layers);
    kv_store *store = NULL;
    RT_TRY(rt_calloc(1, sizeof *store, "the KV store", &store));
    store->config = *config;
    const rt_status status = kv_pool_open(n_pages, config->page_bytes, &store->pool);
    if (status != RT_OK) {
        free(store);
        return status;
    }
    *out = store;
    return RT_OK;
}

void kv_store_close(kv_store *store) {
    if (!store) return;
    rt_assert(store->n_seqs == 0);
    kv_pool_close(&store->pool);
    free(store);
}

kv_stats kv_store_stats(const kv_store *store) {
    const kv_pool *pool = &store->pool;
    const int64_t n_used = pool->n_pages - pool->n_free;
    return (kv_stats){.pages_total = pool->n_pages,
            .pages_used = n_used,
            .pages_shared = pool->n_shared,
            .pages_reserved = n_used + pool->n_promised,
            .pages_copied = store->n_copied};
}

/* --- pages of a sequence --- */

static void **slot(const kv_seq *seq, int32_t layer, int64_t page) {
    return seq->pointers + (int64_t)layer * seq->n_slots + page;
}

static bool is_open(const kv_seq *seq) {
    return seq->span > 0;
}

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

static rt_status promise(kv_seq *seq, int64_t n_pages, int64_t n_tokens) {
    if (n_pages > kv_pool_room(&seq->store->pool)) return refuse(seq->store, n_tokens, n_pages);
    kv_pool_promise(&seq->store->pool, n_pages);
    seq->promised += n_pages;
    return RT_OK;
}

static void unpromise(kv_seq *seq, int64_t n_pages) {
    rt_assert(n_pages <= seq->promised);
    kv_pool_unpromise(&seq->store->pool, n_pages);
    seq->promised -= n_pages;
}

static void *take_page(kv_seq *seq) {
    rt_assert(seq->promised > 0);
    seq->promised--;
    return kv_pool_take(&seq->store->pool);
}

/* A page that becomes free is promised to the sequence again: it may want to grow back. */
static void drop_page(kv_seq *seq, void *page) {
    if (!kv_pool_drop(&seq->store->pool, page)) return;
    kv_pool_promise(&seq->store->pool, 1);
    seq->promised++;
}

static void *copy_page(kv_seq *seq, const void *page) {
    void *copy = take_page(seq);
    memcpy(copy, page, (size_t)seq->store->config.page_bytes);
    seq->store->n_copied++;
    return copy;
}

static void grow(kv_seq *seq, int64_t n_pages) {
    rt_assert(n_pages >= seq->n_pages && n_pages <= seq->n_slots);
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        for (int64_t i = seq->n_pages; i < n_pages; i++) *slot(seq, layer, i) = take_page(seq);
    seq->n_pages = n_pages;
}

static void shrink(kv_seq *seq, int64_t n_pages) {
    rt_assert(n_pages >= 0 && n_pages <= seq->n_pages);
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        for (int64_t i = n_pages; i < seq->n_pages; i++) drop_page(seq, *slot(seq, layer, i));
    seq->n_pages = n_pages;
}

/* --- sequences --- */

static rt_status new_seq(kv_store *store, int64_t max_tokens, kv_seq **out) {
    const int32_t n_layers = store->config.n_layers;
    const int64_t n_slots = pages_of_layer(&store->config, max_tokens);
    kv_seq *seq = NULL;
    RT_TRY(rt_calloc(1, sizeof *seq, "a sequence", &seq));
    *seq = (kv_seq){.store = store, .n_slots = n_slots, .max_tokens = max_tokens};
    rt_status status = rt_calloc(
            n_slots * n_layers, sizeof(void *), "a sequence's page pointers", &seq->pointers);
    if (status == RT_OK)
        status = rt_calloc(n_layers, sizeof(void *), "a sequence's tail", &seq->tail);
    if (status != RT_OK) {
        free(seq->pointers);
        free(seq);
        return status;
    }
    store->n_seqs++;
    *out = seq;
    return RT_OK;
}

/* A sequence of n_shared pages a layer from `parent` and the promise of all the others. */
static rt_status make_seq(
        kv_store *store, const kv_seq *parent, int64_t n_shared, int64_t max_tokens, kv_seq **out) {
    rt_assert(max_tokens >= 0);
    const int32_t n_layers = store->config.n_layers;
    const int64_t n_needed = kv_pages_for(&store->config, max_tokens) - n_shared * n_layers;
    if (n_needed > kv_pool_room(&store->pool)) return refuse(store, max_tokens, n_needed);
    kv_seq *seq = NULL;
    RT_TRY(new_seq(store, max_tokens, &seq));
    RT_TRY(promise(seq, n_needed, max_tokens));
    for (int32_t layer = 0; layer < n_layers; layer++)
        for (int64_t i = 0; i < n_shared; i++) {
            *slot(seq, layer, i) = *slot(parent, layer, i);
            kv_pool_share(&store->pool, *slot(seq, layer, i));
        }
    seq->n_pages = n_shared;
    *out = seq;
    return RT_OK;
}

rt_status kv_seq_create(kv_store *store, int64_t max_tokens, kv_seq **out) {
    return make_seq(store, NULL, 0, max_tokens, out);
}

rt_status kv_seq_fork(kv_seq *parent, int64_t n_tokens, int64_t max_tokens, kv_seq **out) {
    rt_assert(!is_open(parent));
    rt_assert(n_tokens >= 0 && n_tokens <= parent->length && max_tokens >= n_tokens);
    kv_store *store = parent->store;
    const int64_t n_shared = n_tokens / store->config.shape.page_tokens;
    kv_seq *seq = NULL;
    RT_TRY(make_seq(store, parent, n_shared, max_tokens, &seq));
    if (n_tokens % store->config.shape.page_tokens) {
        for (int32_t layer = 0; layer < store->config.n_layers; layer++)
            *slot(seq, layer, n_shared) = copy_page(seq, *slot(parent, layer, n_shared));
        seq->n_pages++;
    }
    seq->length = n_tokens;
    *out = seq;
    return RT_OK;
}

void kv_seq_free(kv_seq *seq) {
    if (!seq) return;
    kv_span_abort(seq);
    rt_assert(seq->n_views == 0);
    shrink(seq, 0);
    unpromise(seq, seq->promised);
    seq->store->n_seqs--;
    free(seq->pointers);
    free(seq->tail);
    free(seq);
}

int64_t kv_seq_length(const kv_seq *seq) {
    return seq->length;
}

int64_t kv_seq_max_tokens(const kv_seq *seq) {
    return seq->max_tokens;
}

void kv_seq_truncate(kv_seq *seq, int64_t n_tokens) {
    rt_assert(!is_open(seq) && seq->n_views == 0);
    rt_assert(n_tokens >= 0 && n_tokens <= seq->length);
    shrink(seq, pages_of_layer(&seq->store->config, n_tokens));
    seq->length = n_tokens;
}

/* --- spans --- */

/* The last page will be written beside its old tokens, and somebody else reads it. Layers agree:
 * they are shared and dropped together. */
static bool has_shared_tail(const kv_seq *seq) {
    if (seq->length % seq->store->config.shape.page_tokens == 0) return false;
    return kv_pool_is_shared(&seq->store->pool, *slot(seq, 0, seq->n_pages - 1));
}

static void replace_tail(kv_seq *seq) {
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        void **last = slot(seq, layer, seq->n_pages - 1);
        seq->tail[layer] = *last;
        *last = copy_page(seq, *last);
    }
}

static void restore_tail(kv_seq *seq) {
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        void **last = slot(seq, layer, seq->n_pages - 1);
        drop_page(seq, *last);
        *last = seq->tail[layer];
        seq->tail[layer] = NULL;
    }
}

static void forget_tail(kv_seq *seq) {
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        (void)kv_pool_drop(&seq->store->pool, seq->tail[layer]);
        seq->tail[layer] = NULL;
    }
}

rt_status kv_span_begin(kv_seq *seq, int64_t n_tokens) {
    rt_assert(!is_open(seq) && seq->n_views == 0 && n_tokens > 0);
    if (n_tokens > seq->max_tokens - seq->length)
        return rt_fail(RT_EUSAGE,
                "kvstore: %" PRId64 " tokens after %" PRId64 ", the sequence has room for %" PRId64,
                n_tokens, seq->length, seq->max_tokens);
    const kv_config *config = &seq->store->config;
    const int64_t n_pages = pages_of_layer(config, seq->length + n_tokens);
    const bool copies_tail = has_shared_tail(seq);
    const int64_t n_fresh = (n_pages - seq->n_pages + copies_tail) * config->n_layers;
    const int64_t missing = rt_max64(n_fresh - seq->promised, 0);
    RT_TRY(promise(seq, missing, n_tokens));
    seq->made_up = missing;
    if (copies_tail) replace_tail(seq);
    grow(seq, n_pages);
    seq->span = n_tokens;
    return RT_OK;
}

rt_status kv_span_commit(kv_seq *seq) {
    rt_assert(is_open(seq) && seq->n_views == 0);
    if (seq->tail[0]) forget_tail(seq);
    seq->length += seq->span;
    seq->span = seq->made_up = 0;
    return RT_OK;
}

void kv_span_abort(kv_seq *seq) {
    if (!is_open(seq)) return;
    rt_assert(seq->n_views == 0);
    shrink(seq, pages_of_layer(&seq->store->config, seq->length));
    if (seq->tail[0]) restore_tail(seq);
    unpromise(seq, seq->made_up);
    seq->span = seq->made_up = 0;
}

/* --- views --- */

rt_status kv_acquire(
        kv_seq *seq, int32_t layer, int64_t first_pos, int64_t n_tokens, kv_view *out) {
    const kv_config *config = &seq->store->config;
    rt_assert(layer >= 0 && layer < config->n_layers);
    rt_assert(first_pos >= 0 && first_pos % config->shape.page_tokens == 0 && n_tokens >= 0);
    rt_assert(first_pos <= seq->length + seq->span - n_tokens);
    *out = (kv_view){.pages = slot(seq, layer, first_pos / config->shape.page_tokens),
            .n_pages = pages_of_layer(config, n_tokens),
            .first_pos = first_pos,
            .n_tokens = n_tokens};
    seq->n_views++;
    return RT_OK;
}

void kv_release(kv_seq *seq, kv_view *view) {
    rt_assert(seq->n_views > 0 && view->pages);
    seq->n_views--;
    *view = (kv_view){0};
}
