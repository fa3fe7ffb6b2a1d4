/* Windows of a walk, between the store's rows and attention's pages. On the CPU loads and stores are
 * shared out to the engine's threads, a run at a time. */
#include "backend.h"
#include "base/ends.h"
#include "base/log.h"

typedef struct window_job {
    attn_shape shape;
    kv_walk *walk;
    int64_t n_items;
    rt_ends ends;
} window_job;

static char *row_at(const attn_shape *shape, void *rows, int64_t row) {
    return (char *)rows + row * shape->head_dim * rt_dtype_bytes(shape->kv_dtype);
}

/* Sealed pages lie one after the other, full ones only. */
static void pack_sealed(const attn_shape *shape, const kv_rows *rows) {
    const int64_t page_bytes = attn_page_canonical_bytes(shape);
    for (int32_t page = 0; page < rows->n_tokens / ATTN_PAGE_TOKENS; page++)
        attn_page_pack_sealed(
                shape, rows->pages[page], rows->kv_head, (char *)rows->k + page * page_bytes);
}

static void unpack_sealed(const attn_shape *shape, const kv_rows *rows) {
    const int64_t page_bytes = attn_page_canonical_bytes(shape);
    for (int32_t page = 0; page < rows->n_tokens / ATTN_PAGE_TOKENS; page++)
        attn_page_unpack_sealed(
                shape, rows->pages[page], rows->kv_head, (char *)rows->k + page * page_bytes);
}

static void pack_rows(const attn_shape *shape, const kv_rows *rows) {
    for (int32_t row = 0; row < rows->n_tokens; row += ATTN_PAGE_TOKENS) {
        const int32_t n = (int32_t)rt_min64(rows->n_tokens - row, ATTN_PAGE_TOKENS);
        attn_page_pack(shape, rows->pages[row / ATTN_PAGE_TOKENS], rows->kv_head, 0, n,
                row_at(shape, rows->k, row), row_at(shape, rows->v, row));
    }
}

static void unpack_rows(const attn_shape *shape, const kv_rows *rows) {
    for (int32_t row = 0; row < rows->n_tokens; row += ATTN_PAGE_TOKENS) {
        const int32_t n = (int32_t)rt_min64(rows->n_tokens - row, ATTN_PAGE_TOKENS);
        attn_page_unpack(shape, rows->pages[row / ATTN_PAGE_TOKENS], rows->kv_head, 0, n,
                row_at(shape, rows->k, row), row_at(shape, rows->v, row));
    }
}

static void rows_to_pages(const attn_shape *shape, const kv_rows *rows) {
    if (attn_is_lossy(shape) && !rows->is_open)
        pack_sealed(shape, rows);
    else
        pack_rows(shape, rows);
}

static void pages_to_rows(const attn_shape *shape, const kv_rows *rows) {
    if (attn_is_lossy(shape) && !rows->is_open)
        unpack_sealed(shape, rows);
    else
        unpack_rows(shape, rows);
}

rt_status glm_cpu_rows_to_pages(glm_engine *engine, const kv_rows *rows) {
    const attn_shape shape = glm_attn_shape(&engine->part, engine->plan.kv_dtype);
    rows_to_pages(&shape, rows);
    return RT_OK;
}

rt_status glm_cpu_pages_to_rows(glm_engine *engine, const kv_rows *rows) {
    const attn_shape shape = glm_attn_shape(&engine->part, engine->plan.kv_dtype);
    pages_to_rows(&shape, rows);
    return RT_OK;
}

/* ---- windows --------------------------------------------------------------------------------- */

/* Run by run of one head, then those of the next: attention takes heads in that order, too. */
static int64_t take_run(window_job *job, int thread) {
    const int64_t n_extents = job->n_items / job->shape.n_kv_heads;
    const int64_t i = rt_ends_take(&job->ends, job->n_items, thread);
    return i % n_extents * job->shape.n_kv_heads + i / n_extents;
}

static void load_item(void *context, int64_t any, int thread) {
    window_job *job = context;
    const int64_t item = take_run(job, thread);
    kv_rows rows;
    (void)any;
    for (int64_t row = 0; kv_walk_load(job->walk, item, row, thread, &rows); row += rows.n_tokens)
        rows_to_pages(&job->shape, &rows);
}

/* Piece by piece: an extent that has filled up in decode has no more runs than heads. */
static void store_item(void *context, int64_t item, int thread) {
    const window_job *job = context;
    const int64_t n_pieces = kv_walk_pieces(job->walk);
    const int64_t store = item / n_pieces, first = item % n_pieces * KV_PIECE_TOKENS;
    const kv_rows rows = kv_walk_piece(job->walk, store, first, thread);
    if (rows.n_tokens == 0) return;
    pages_to_rows(&job->shape, &rows);
    kv_walk_store(job->walk, store, &rows, first, thread);
}

static window_job make_job(const glm_engine *engine, kv_walk *walk, int64_t n_items) {
    return (window_job){.shape = glm_attn_shape(&engine->part, engine->plan.kv_dtype),
            .walk = walk,
            .n_items = n_items};
}

rt_status glm_cpu_load_window(glm_engine *engine, kv_walk *walk, int64_t n_loads) {
    window_job job = make_job(engine, walk, n_loads);
    rt_pool_run(engine->pool, n_loads, load_item, &job);
    return RT_OK;
}

rt_status glm_cpu_store_window(glm_engine *engine, kv_walk *walk, int64_t n_stores) {
    window_job job = make_job(engine, walk, n_stores);
    rt_pool_run(engine->pool, n_stores * kv_walk_pieces(walk), store_item, &job);
    return RT_OK;
}

static rt_status load_next(glm_engine *engine, kv_walk *walk, kv_window *window) {
    RT_TRY(kv_walk_next(walk, window));
    if (window->n_parts == 0) return RT_OK;
    if (window->n_loads > 0) RT_TRY(engine->backend->load_window(engine, walk, window->n_loads));
    return kv_walk_loaded(walk);
}

/* Where a copy stands in for a damaged file nothing has happened but that: whether all ranks go on is agreed
 * upon once they have attended, as always. */
rt_status glm_window_enter(glm_engine *engine, kv_walk *walk, kv_window *window) {
    rt_status status = load_next(engine, walk, window);
    for (int i = 0; (status == RT_ECORRUPT || status == RT_EIO) && i < GLM_RECOVERIES_MAX; i++) {
        char text[KV_MEND_TEXT];
        RT_TRY(kv_walk_mend(walk, status, text));
        rt_log(RT_LOG_WARN, "window", "%s", text);
        status = load_next(engine, walk, window);
    }
    return status;
}

rt_status glm_window_leave(glm_engine *engine, kv_walk *walk) {
    int64_t n_stores = 0;
    for (;;) {
        RT_TRY(kv_walk_leave(walk, &n_stores));
        if (n_stores == 0) return RT_OK;
        RT_TRY(engine->backend->store_window(engine, walk, n_stores));
    }
}
