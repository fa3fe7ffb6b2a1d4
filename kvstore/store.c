/* The store: one pool of pages, and where they overflow to, staging, a window and pages to work in. */
#include <inttypes.h>
#include <stdlib.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "store_impl.h"

/* Extents of a store that does not overflow: longer than anything. */
enum { PAGES_OF_ENDLESS = 1 << 20 };

int64_t kv_pages_for(const kv_config *config, int64_t n_tokens) {
    rt_assert(n_tokens >= 0 && config->n_layers > 0 && config->shape.page_tokens > 0);
    int64_t n_pages = 0;
    if (!rt_checked_mul(kv_pages_of_layer(config, n_tokens), config->n_layers, &n_pages))
        return INT64_MAX;
    return n_pages;
}

/* --- sizes --- */

static int64_t pages_of_extent(const kv_config *config) {
    return config->overflow.extent_tokens / config->shape.page_tokens;
}

static int64_t n_window_pages(const kv_config *config) {
    return config->overflow.window_extents * pages_of_extent(config);
}

/* An unfinished extent, and what is appended to it, unless that passes through the window. */
static int64_t n_work_pages(const kv_config *config) {
    if (config->overflow.appends_by_windows) return pages_of_extent(config);
    return pages_of_extent(config) + kv_pages_of_layer(config, config->overflow.append_tokens);
}

int64_t kv_codec_bytes(void) {
    return RT_MIB;
}

int64_t kv_overflow_bytes(const kv_config *config) {
    if (config->overflow.n_dirs == 0) return 0;
    return kv_staging_bytes(config) +
           (n_window_pages(config) + n_work_pages(config)) * config->page_bytes;
}

int64_t kv_overflow_host_bytes(const kv_config *config) {
    return config->overflow.n_dirs == 0 ? 0 : kv_staging_bytes(config);
}

int64_t kv_overflow_tail_bytes(const kv_config *config) {
    return config->n_layers * pages_of_extent(config) * config->page_bytes;
}

int64_t kv_overflow_rows_bytes(const kv_config *config) {
    return kv_host_cell_bytes(config);
}

int64_t kv_overflow_extents(const kv_config *config, int64_t n_tokens) {
    const int64_t n_extents = rt_div_up(n_tokens, config->overflow.extent_tokens);
    return n_extents * config->n_layers + kv_staging_slots(config);
}

int64_t kv_overflow_disk_bytes(const kv_config *config, int64_t n_tokens) {
    return kv_overflow_extents(config, n_tokens) * kv_cell_bytes(config);
}

/* --- the store --- */

static void check_config(const kv_config *config) {
    const kv_overflow *to = &config->overflow;
    rt_assert(config->n_layers > 0 && config->page_bytes > 0 && config->host_bytes_max >= 0);
    rt_assert(config->shape.page_tokens > 0 && config->shape.n_kv_heads > 0);
    rt_assert(config->shape.head_dim > 0);
    rt_assert(kv_dtype_is_sealed(config->shape.dtype) == (config->open.page_bytes > 0));
    if (to->n_dirs == 0) return;
    rt_assert(to->extent_tokens > 0 && to->extent_tokens <= KV_RUN_TOKENS);
    rt_assert(to->extent_tokens % config->shape.page_tokens == 0);
    rt_assert(to->window_extents > 0 && to->append_tokens > 0 && to->n_threads > 0);
}

static rt_status check_budget(const kv_config *config, int64_t n_pages) {
    if (config->overflow.n_dirs > 0 &&
            config->host_bytes_max < kv_overflow_bytes(config) + kv_open_bytes(config))
        return rt_fail(RT_ENOFIT,
                "kvstore: host budget %" PRId64 " bytes; an overflow by extents of %" PRId32
                " tokens needs %" PRId64,
                config->host_bytes_max, config->overflow.extent_tokens, kv_overflow_bytes(config));
    if (config->overflow.n_dirs == 0 && n_pages < config->n_layers)
        return rt_fail(RT_ENOFIT,
                "kvstore: host budget %" PRId64 " bytes holds %" PRId64 " pages of %" PRId64
                " bytes; one page for each of %" PRId32 " layers is the least",
                config->host_bytes_max, n_pages, config->page_bytes, config->n_layers);
    return RT_OK;
}

static rt_status open_overflow(kv_store *store) {
    const kv_config *config = &store->config;
    RT_TRY(kv_staging_open(config, &store->staging));
    store->has_overflow = true;
    const int64_t n_window = n_window_pages(config);
    RT_TRY(rt_calloc(n_window, sizeof *store->window, "a window of pages", &store->window));
    kv_pool_promise(&store->pool, n_window + n_work_pages(config));
    store->n_work = store->n_work_max = n_work_pages(config);
    for (; store->n_window < n_window; store->n_window++)
        store->window[store->n_window] = kv_pool_take(&store->pool);
    return RT_OK;
}

static rt_status open_parts(kv_store *store) {
    kv_config *config = &store->config;
    const bool overflows = config->overflow.n_dirs > 0;
    const int64_t staging = (overflows ? kv_staging_bytes(config) : 0) + kv_open_bytes(config);
    const int64_t n_pages =
            rt_min64(rt_max64(config->host_bytes_max - staging, 0) / config->page_bytes, INT32_MAX);
    RT_TRY(check_budget(config, n_pages));
    RT_TRY(kv_pool_open(n_pages, config->page_bytes, config->device, &store->pool));
    RT_TRY(kv_open_start(store));
    if (overflows) return open_overflow(store);
    config->overflow.extent_tokens = PAGES_OF_ENDLESS * config->shape.page_tokens;
    return RT_OK;
}

rt_status kv_store_open_over(const kv_config *config, kv_io *io, kv_store **out) {
    check_config(config);
    kv_store *store = NULL;
    if (rt_calloc(1, sizeof *store, "the KV store", &store) != RT_OK) {
        (void)!kv_io_close(io);
        return RT_ENOMEM;
    }
    store->config = *config;
    store->staging.io = io;
    store->walk.store = store;
    const rt_status status = open_parts(store);
    if (status != RT_OK) {
        kv_store_close(store);
        return status;
    }
    *out = store;
    return RT_OK;
}

rt_status kv_store_open(const kv_config *config, kv_store **out) {
    return kv_store_open_over(config, NULL, out);
}

static void close_overflow(kv_store *store) {
    for (int64_t i = 0; i < store->n_window; i++)
        (void)kv_pool_drop(&store->pool, store->window[i]);
    kv_pool_unpromise(&store->pool, store->n_work);
    free(store->window);
    kv_vault_close(store->vault);
    if (!kv_staging_close(&store->staging)) store->staging = (kv_staging){0};
}

void kv_store_close(kv_store *store) {
    if (!store) return;
    rt_assert(store->n_seqs == 0);
    if (store->has_overflow)
        close_overflow(store);
    else
        (void)kv_staging_close(&store->staging);
    if (store->pool.memory) kv_pool_close(&store->pool);
    kv_open_stop(store);
    kv_walk_free(&store->walk);
    free(store);
}

const char *kv_store_io_text(const kv_store *store) {
    return store->has_overflow ? kv_io_describe(store->staging.io) : "";
}

static void add_overflow_stats(const kv_staging *staging, kv_stats *stats) {
    const kv_io_stats io = kv_io_stats_of(staging->io);
    stats->host_bytes = kv_scratch_host_bytes_used(staging->scratch);
    stats->disk_bytes = kv_scratch_bytes_used(staging->scratch);
    stats->disk_bytes_reserved = kv_scratch_bytes_reserved(staging->scratch);
    stats->bytes_written = io.bytes_written;
    stats->bytes_read = io.bytes_read;
    stats->raw_bytes_written = staging->raw_bytes_written;
    stats->raw_bytes_read = staging->raw_bytes_read;
    stats->stall_s = staging->stall_s;
}

kv_stats kv_store_stats(const kv_store *store) {
    const kv_pool *pool = &store->pool;
    const int64_t n_used = pool->n_pages - pool->n_free;
    kv_stats stats = {.pages_total = pool->n_pages,
            .pages_used = n_used,
            .pages_shared = pool->n_shared,
            .pages_reserved = n_used + pool->n_promised,
            .pages_copied = store->n_copied,
            .last_bad = ""};
    if (store->has_overflow) add_overflow_stats(&store->staging, &stats);
    if (store->vault) {
        const kv_vault_stats kept = kv_vault_stats_of(store->vault);
        stats.n_quarantined = kept.n_quarantined;
        stats.n_stuck = kept.n_stuck;
        stats.last_bad = kept.last_bad;
    }
    return stats;
}
