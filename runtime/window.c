/* Windows of a walk, between the store's rows and attention's pages. Loads and stores are
 * shared out to the engine's threads, a run at a time. */
#include "engine.h"

typedef struct window_job {
    const glm_engine *engine;
    attn_shape shape;
    kv_walk *walk;
} window_job;

static char *row_at(const attn_shape *shape, void *rows, int64_t row) {
    return (char *)rows + row * shape->head_dim * rt_dtype_bytes(shape->kv_dtype);
}

static void load_item(void *context, int64_t item, int thread) {
    const window_job *job = context;
    kv_rows rows;
    if (!kv_walk_load(job->walk, item, thread, &rows)) return;
    for (int32_t row = 0; row < rows.n_tokens; row += ATTN_PAGE_TOKENS) {
        const int32_t n = (int32_t)rt_min64(rows.n_tokens - row, ATTN_PAGE_TOKENS);
        attn_page_pack(&job->shape, rows.pages[row / ATTN_PAGE_TOKENS], rows.kv_head, 0, n,
                row_at(&job->shape, rows.k, row), row_at(&job->shape, rows.v, row));
    }
}

static void store_item(void *context, int64_t item, int thread) {
    const window_job *job = context;
    const kv_rows rows = kv_walk_rows(job->walk, item, thread);
    for (int32_t row = 0; row < rows.n_tokens; row += ATTN_PAGE_TOKENS) {
        const int32_t n = (int32_t)rt_min64(rows.n_tokens - row, ATTN_PAGE_TOKENS);
        attn_page_unpack(&job->shape, rows.pages[row / ATTN_PAGE_TOKENS], rows.kv_head, 0, n,
                row_at(&job->shape, rows.k, row), row_at(&job->shape, rows.v, row));
    }
    kv_walk_store(job->walk, item, thread);
}

static window_job make_job(const glm_engine *engine, kv_walk *walk) {
    return (window_job){.engine = engine,
            .shape = glm_attn_shape(&engine->config, engine->plan.kv_dtype),
            .walk = walk};
}

rt_status glm_window_enter(glm_engine *engine, kv_walk *walk, kv_window *window) {
    window_job job = make_job(engine, walk);
    RT_TRY(kv_walk_next(walk, window));
    if (window->n_parts == 0) return RT_OK;
    if (window->n_loads > 0) rt_pool_run(engine->pool, window->n_loads, load_item, &job);
    return kv_walk_loaded(walk);
}

rt_status glm_window_leave(glm_engine *engine, kv_walk *walk) {
    window_job job = make_job(engine, walk);
    int64_t n_stores = 0;
    for (;;) {
        RT_TRY(kv_walk_leave(walk, &n_stores));
        if (n_stores == 0) return RT_OK;
        rt_pool_run(engine->pool, n_stores, store_item, &job);
    }
}
