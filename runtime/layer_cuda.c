/* One transformer layer on a GPU, and both ends of the model. As layer.c, but that
 *
 *   - queries are rotated, and keys and values stored, by one kernel (attn_cuda_append), which needs the pages
 *     of the chunk: those are in the last window. Where that is not also the first, queries are made with
 *     spare pages, and once more, the same, with the right ones;
 *   - everything is queued: the host runs up to GLM_CUDA_AHEAD (layer, chunk) items ahead;
 *   - the last window is left when all of the layer is queued: what goes to the disk is encoded beside the MLP, and what
 *     the next item reads first is on its way from there meanwhile. */
#include <string.h>

#include "backend.h"
#include "engine_cuda.h"
#include "ranks.h"

static rt_stream compute_of(const glm_cuda *cuda) {
    return cuda->device.compute;
}

static rt_status linear(glm_cuda *cuda, const glm_cuda_matrix *weight, const uint16_t *x,
        glm_cuda_rows rows, uint16_t *y) {
    return glm_cuda_linear(cuda->cublas, weight, x, rows, y, false, compute_of(cuda));
}

/* ---- between attention and MLP --------------------------------------------------------------- */

rt_status glm_cuda_add_update(glm_engine *engine, uint16_t *hidden, bool has_update,
        uint16_t *post_norm, const uint16_t *norm, int64_t n) {
    glm_cuda *cuda = engine->cuda;
    const int64_t width = engine->config.hidden;
    const float eps = engine->config.rms_eps;
    const rt_stream stream = compute_of(cuda);
    if (has_update && post_norm)
        RT_TRY(glm_cuda_add_norm(
                cuda->update, NULL, post_norm, eps, n, width, cuda->update, stream));
    return glm_cuda_add_norm(
            hidden, has_update ? cuda->update : NULL, norm, eps, n, width, cuda->normed, stream);
}

rt_status glm_cuda_mlp(glm_engine *engine, const glm_cuda_layer *layer, glm_cuda_rows rows) {
    glm_cuda *cuda = engine->cuda;
    RT_TRY(linear(cuda, &layer->gate_up, cuda->normed, rows, cuda->gate_up));
    RT_TRY(glm_cuda_swiglu(
            cuda->gate_up, rows.n, engine->part.ffn, cuda->activated, compute_of(cuda)));
    return glm_cuda_ranks_update(engine, &layer->down, cuda->activated, rows);
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Rows from `row` on: qkv -> q, and k and v into the pages of positions chunk->pos and on. */
static rt_status append(
        glm_engine *engine, const glm_chunk *chunk, int64_t row, void *const *pages) {
    glm_cuda *cuda = engine->cuda;
    const attn_cuda_append_args args = {.qkv = cuda->qkv + row * glm_config_qkv_rows(&engine->part),
            .n_tokens = chunk->n,
            .pos = chunk->pos,
            .pages = pages,
            .q = cuda->q + row * glm_config_q_width(&engine->part)};
    return attn_cuda_append(&cuda->shape, &args, compute_of(cuda));
}

rt_status glm_cuda_append_to_spare(glm_engine *engine, const glm_chunk *chunk, int64_t row) {
    const glm_cuda *cuda = engine->cuda;
    const int64_t n =
            (chunk->pos + chunk->n - 1) / ATTN_PAGE_TOKENS - chunk->pos / ATTN_PAGE_TOKENS + 1;
    rt_assert(n <= cuda->n_spare_pages);
    return append(engine, chunk, row, cuda->spare_list);
}

/* Pages of a window on the device; open_pages: NULL, or the chunk's. */
typedef struct window_lists {
    void *const *pages;
    void *const *open_pages;
} window_lists;

rt_status glm_cuda_prefill(glm_cuda *cuda, const attn_cuda_prefill_args *args) {
    return cuda->device.capability == 90
                   ? attn_cuda_prefill_sm90(&cuda->shape, args, compute_of(cuda))
                   : attn_cuda_prefill_sm80(&cuda->shape, args, compute_of(cuda));
}

static rt_status attend_to(glm_engine *engine, const glm_chunk *chunk, int64_t row,
        const kv_window_part *part, const window_lists *lists, bool is_first) {
    glm_cuda *cuda = engine->cuda;
    const int64_t n_heads = engine->part.n_heads;
    const int64_t in_chunk = chunk->attend_pos / ATTN_PAGE_TOKENS - chunk->pos / ATTN_PAGE_TOKENS;
    const attn_cuda_prefill_args args = {.q = cuda->q + (row + chunk->attend_pos - chunk->pos) *
                                                                glm_config_q_width(&engine->part),
            .q_stride = glm_config_q_width(&engine->part),
            .n_tokens = chunk->n_attend,
            .pos = chunk->attend_pos,
            .pages = lists->pages,
            .open_pages = lists->open_pages ? lists->open_pages + in_chunk : NULL,
            .first_pos = part->first_pos,
            .n_keys = part->n_tokens,
            .max = cuda->state_max + row * n_heads,
            .sum = cuda->state_sum + row * n_heads,
            .out = cuda->state_out + row * glm_config_q_width(&engine->part),
            .attended = cuda->attended + row * glm_config_q_width(&engine->part),
            .is_first = is_first,
            .is_last = part->is_last};
    if (chunk->n_attend == 0) return RT_OK;
    if (attn_is_lossy(&cuda->shape)) return glm_cuda_prefill_fp8(cuda, &args);
    return glm_cuda_prefill(cuda, &args);
}

/* Keys and values of the chunk; open pages that they fill are sealed. */
static rt_status append_to_window(glm_engine *engine, const glm_chunk *chunk, int64_t row,
        const kv_window_part *part, window_lists *lists) {
    glm_cuda *cuda = engine->cuda;
    void *const *own = lists->pages + (chunk->pos - part->first_pos) / ATTN_PAGE_TOKENS;
    const int64_t end = chunk->pos + chunk->n;
    if (!part->open_pages) return append(engine, chunk, row, own);
    rt_assert(part->open_pos == chunk->pos / ATTN_PAGE_TOKENS * ATTN_PAGE_TOKENS);
    RT_TRY(glm_cuda_tables_send(&cuda->tables, part->open_pages,
            rt_div_up(end - part->open_pos, ATTN_PAGE_TOKENS), compute_of(cuda),
            &lists->open_pages));
    RT_TRY(append(engine, chunk, row, lists->open_pages));
    return glm_cuda_seal_listed(
            cuda, lists->open_pages, own, (end - part->open_pos) / ATTN_PAGE_TOKENS);
}

rt_status glm_cuda_attend_to_window(glm_engine *engine, const glm_chunk *chunk, int64_t row,
        const kv_window_part *part, bool is_first) {
    glm_cuda *cuda = engine->cuda;
    const int64_t n_pages = rt_div_up(part->n_tokens, ATTN_PAGE_TOKENS);
    window_lists lists = {0};
    if (is_first && !part->is_last) RT_TRY(glm_cuda_append_to_spare(engine, chunk, row));
    RT_TRY(glm_cuda_tables_send(
            &cuda->tables, part->pages, n_pages, compute_of(cuda), &lists.pages));
    if (part->is_last) RT_TRY(append_to_window(engine, chunk, row, part, &lists));
    return attend_to(engine, chunk, row, part, &lists, is_first);
}

/* The last window is not left yet. */
static rt_status attend_to_windows(glm_engine *engine, kv_walk *walk, const glm_chunk *chunk) {
    for (bool is_first = true;; is_first = false) {
        kv_window window;
        RT_TRY(glm_window_enter(engine, walk, &window));
        rt_assert(window.n_parts == 1);
        const bool is_last = window.parts[0].is_last;
        RT_TRY(glm_cuda_attend_to_window(engine, chunk, 0, &window.parts[0], is_first));
        RT_TRY(glm_cuda_step_done(&engine->cuda->device, "attention"));
        if (is_last) return glm_cuda_window_done(engine);
        RT_TRY(glm_window_leave(engine, walk));
    }
}

/* x -> attended */
static rt_status attend_in_walk(glm_engine *engine, const glm_cuda_layer *layer, kv_walk *walk,
        const glm_chunk *chunk, uint16_t *hidden) {
    glm_cuda *cuda = engine->cuda;
    RT_TRY(glm_cuda_add_update(engine, hidden, false, NULL, layer->input_norm, chunk->n));
    RT_TRY(linear(cuda, &layer->qkv, cuda->normed, glm_cuda_prefilled(chunk->n), cuda->qkv));
    return attend_to_windows(engine, walk, chunk);
}

/* What it came to is for all ranks to know: one that has lost keys must not leave the others in a sum. The walk, of *seq to
 * *end, looks at both until it is over; NULL where it did not begin. */
static rt_status attend(glm_engine *engine, int32_t layer_index, const glm_cuda_layer *layer,
        kv_seq *const *seq, const int64_t *end, const glm_chunk *chunk, uint16_t *hidden,
        kv_walk **walk) {
    rt_status status = kv_walk_begin(engine->store, layer_index, seq, end, 1,
            chunk->n_attend > 0 ? KV_WALK_ALL : KV_WALK_LAST, walk);
    if (status != RT_OK) {
        *walk = NULL;
        return glm_cuda_ranks_agree(engine, status);
    }
    const int32_t next = glm_prefill_next_layer(engine);
    if (next >= 0) kv_walk_then(*walk, next);
    return glm_cuda_ranks_agree(engine, attend_in_walk(engine, layer, *walk, chunk, hidden));
}

/* ---- a layer --------------------------------------------------------------------------------- */

/* attended -> x, of the rows that go on. */
rt_status glm_cuda_finish_layer(
        glm_engine *engine, const glm_cuda_layer *layer, glm_cuda_rows rows, uint16_t *hidden) {
    RT_TRY(glm_cuda_ranks_update(engine, &layer->attn_out, engine->cuda->attended, rows));
    RT_TRY(glm_cuda_add_update(
            engine, hidden, true, layer->post_attn_norm, layer->mlp_norm, rows.n));
    RT_TRY(glm_cuda_mlp(engine, layer, rows));
    return glm_cuda_add_update(engine, hidden, true, layer->post_mlp_norm, NULL, rows.n);
}

static rt_status finish(glm_engine *engine, const glm_cuda_layer *layer, const glm_chunk *chunk,
        uint16_t *hidden, glm_cuda_event done) {
    glm_cuda *cuda = engine->cuda;
    uint16_t *first = hidden + (chunk->attend_pos - chunk->pos) * engine->config.hidden;
    if (chunk->n_attend > 0)
        RT_TRY(glm_cuda_finish_layer(engine, layer, glm_cuda_prefilled(chunk->n_attend), first));
    RT_TRY(glm_cuda_step_done(&cuda->device, "a layer"));
    return glm_cuda_event_record(done, compute_of(cuda));
}

rt_status glm_cuda_window_done(glm_engine *engine) {
    return glm_cuda_event_record(engine->cuda->computed, compute_of(engine->cuda));
}

rt_status glm_cuda_leave_late(glm_engine *engine, kv_walk *walk) {
    engine->cuda->leaves_late = true;
    const rt_status status = glm_window_leave(engine, walk);
    engine->cuda->leaves_late = false;
    return status;
}

rt_status glm_cuda_layer_prefill(glm_engine *engine, int32_t layer_index, kv_seq *seq,
        const glm_chunk *chunk, void *hidden) {
    glm_cuda *cuda = engine->cuda;
    const glm_cuda_layer *layer = NULL;
    const glm_cuda_event done = cuda->done[cuda->n_items++ % GLM_CUDA_AHEAD];
    const int64_t end = chunk->pos + chunk->n;
    kv_walk *walk = NULL;
    RT_TRY(glm_cuda_ranks_settle(engine, glm_cuda_event_wait(done)));
    RT_TRY(glm_group_end(engine, glm_cuda_stream_layer(engine, layer_index, &layer)));
    rt_status status = attend(engine, layer_index, layer, &seq, &end, chunk, hidden, &walk);
    if (status == RT_OK) status = glm_group_end(engine, finish(engine, layer, chunk, hidden, done));
    if (status == RT_OK) status = glm_cuda_ranks_agree(engine, glm_cuda_leave_late(engine, walk));
    if (walk) kv_walk_end(walk);
    return status;
}

/* ---- both ends ------------------------------------------------------------------------------- */

static rt_status embed(glm_engine *engine, const int32_t *ids, int64_t n, void *hidden) {
    glm_cuda *cuda = engine->cuda;
    RT_TRY(glm_cuda_event_wait(cuda->ids_sent));
    memcpy(cuda->host_ids, ids, (size_t)n * sizeof *ids);
    RT_TRY(glm_cuda_copy_in(cuda->ids, cuda->host_ids, n * (int64_t)sizeof *ids, compute_of(cuda)));
    RT_TRY(glm_cuda_event_record(cuda->ids_sent, compute_of(cuda)));
    return glm_cuda_ranks_embed(engine, cuda->ids, n, hidden);
}

rt_status glm_cuda_layer_embed(glm_engine *engine, const int32_t *ids, int64_t n, void *hidden) {
    return glm_group_end(engine, embed(engine, ids, n, hidden));
}

static rt_status logits_of(
        glm_engine *engine, const uint16_t *hidden, glm_cuda_rows rows, float *logits) {
    glm_cuda *cuda = engine->cuda;
    const glm_config *config = &engine->config;
    const rt_stream stream = compute_of(cuda);
    RT_TRY(glm_cuda_add_norm((uint16_t *)(uintptr_t)hidden, NULL, cuda->weights.final_norm,
            config->rms_eps, rows.n, config->hidden, cuda->normed, stream));
    RT_TRY(glm_cuda_ranks_logits(engine, rows));
    if (!glm_cuda_is_read(engine)) return RT_OK;
    return glm_cuda_copy_out(
            logits, cuda->logits, rows.n * config->vocab * (int64_t)sizeof *logits, stream);
}

void glm_cuda_note_refused(glm_engine *engine) {
    const glm_cublas *cublas = engine->cuda->cublas;
    if (glm_cublas_fewest_refused(cublas, false) < INT64_MAX ||
            glm_cublas_fewest_refused(cublas, true) <= engine->plan.max_seqs)
        engine->plan.linear_by = GLM_LINEAR_CUBLASLT_BY_ROWS;
}

rt_status glm_cuda_layer_logits(
        glm_engine *engine, const void *hidden, int64_t n_decoded, int64_t n, float *logits) {
    glm_cuda *cuda = engine->cuda;
    const glm_config *config = &engine->config;
    rt_status status = RT_OK;
    for (int64_t done = 0; done < n && status == RT_OK; done += cuda->logits_rows) {
        const int64_t count = rt_min64(cuda->logits_rows, n - done);
        const glm_cuda_rows rows = {
                .n_decoded = rt_min64(rt_max64(n_decoded - done, 0), count), .n = count};
        status = logits_of(engine, (const uint16_t *)hidden + done * config->hidden, rows,
                logits + done * config->vocab);
    }
    status = glm_group_end(engine, status);
    glm_cuda_note_refused(engine);
    const rt_status waited =
            glm_cuda_ranks_settle(engine, glm_cuda_wait(compute_of(cuda), "logits"));
    return status == RT_OK ? waited : status;
}
