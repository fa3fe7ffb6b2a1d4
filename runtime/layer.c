/* One transformer layer on the CPU, top to bottom.
 *
 *   x += W_out attention(rope(W_qkv norm(x) + b))
 *   x += W_down (silu(W_gate norm(x)) * W_up norm(x))
 *
 * Source: GLM-4 (arXiv:2406.12793), modeling code of the published checkpoints. */
#include "layer_inside.h"
#include "ranks.h"

/* normed = norm(x) */
void glm_layer_norm(glm_engine *engine, const float *weight, int64_t n, const void *hidden) {
    engine->ops.norm(&engine->ops, hidden, engine->plan.hidden_dtype, weight,
            engine->config.rms_eps, n, engine->config.hidden, engine->buffers.normed);
}

/* x += update, through the 0414 models' extra norm where there is one. */
static void add_update(glm_engine *engine, const float *post_norm, int64_t n, void *hidden) {
    const glm_ops *ops = &engine->ops;
    const int64_t width = engine->config.hidden;
    if (post_norm)
        ops->norm_rows(ops, engine->buffers.update, post_norm, engine->config.rms_eps, n, width);
    ops->add(ops, hidden, engine->plan.hidden_dtype, engine->buffers.update, n, width);
}

/* A rank's update is from its heads, or its columns of the MLP: summed over ranks it is the layer's. */
static rt_status sum_update(glm_engine *engine, int64_t n) {
    if (engine->comm->n_ranks == 1) return RT_OK;
    const glm_rows update = engine->buffers.update;
    return engine->comm->all_reduce(engine->comm, update.data, n * update.stride, NULL);
}

/* attended -> output projection -> x */
static rt_status project_out(glm_engine *engine, const glm_layer *layer, int64_t n, void *hidden) {
    const glm_ops *ops = &engine->ops;
    ops->linear(ops, &layer->attn_out, NULL, 0, layer->attn_out.n_out, engine->buffers.attended, n,
            engine->buffers.update);
    RT_TRY(sum_update(engine, n));
    add_update(engine, layer->post_attn_norm, n, hidden);
    return RT_OK;
}

static glm_rows rows_from(glm_rows rows, int64_t first) {
    return (glm_rows){rows.data + first * rows.stride, rows.stride};
}

/* normed -> update, of n <= GLM_MLP_ROWS rows from `first` on */
static void mlp_rows(glm_engine *engine, const glm_layer *layer, int64_t first, int64_t n) {
    const glm_ops *ops = &engine->ops;
    const glm_buffers *b = &engine->buffers;
    const int64_t ffn = engine->part.ffn;
    const glm_rows normed = rows_from(b->normed, first);
    const glm_rows gate = b->gate_up;
    const glm_rows up = {b->gate_up.data + glm_pad(ffn), b->gate_up.stride};
    ops->linear(ops, &layer->gate, NULL, 0, ffn, normed, n, gate);
    ops->linear(ops, &layer->up, NULL, 0, ffn, normed, n, up);
    ops->swiglu(ops, gate, up, n, ffn);
    ops->linear(
            ops, &layer->down, NULL, 0, layer->down.n_out, gate, n, rows_from(b->update, first));
}

/* In blocks of as many rows each, or nearly: few rows cost as much as many. */
static rt_status mlp(glm_engine *engine, const glm_layer *layer, int64_t n, void *hidden) {
    const int64_t block = rt_div_up(n, rt_div_up(n, GLM_MLP_ROWS));
    glm_layer_norm(engine, layer->mlp_norm, n, hidden);
    for (int64_t first = 0; first < n; first += block)
        mlp_rows(engine, layer, first, rt_min64(block, n - first));
    RT_TRY(sum_update(engine, n));
    add_update(engine, layer->post_mlp_norm, n, hidden);
    return RT_OK;
}

rt_status glm_layer_finish(glm_engine *engine, const glm_layer *layer, int64_t n, void *hidden) {
    RT_TRY(project_out(engine, layer, n, hidden));
    return mlp(engine, layer, n, hidden);
}

/* Pages of a part from position `pos` on. */
static void *const *pages_from(const kv_window_part *part, int64_t pos) {
    return part->pages + (pos - part->first_pos) / ATTN_PAGE_TOKENS;
}

attn_segment glm_layer_segment(const kv_window_part *part) {
    return (attn_segment){.pages = part->pages,
            .first_pos = part->first_pos,
            .n_tokens = part->n_tokens,
            .open_pages = part->open_pages,
            .open_pos = part->open_pos};
}

/* Where rows from `pos` on are written: in open pages, where full ones are sealed. */
static void *const *pages_to_write(const kv_window_part *part, int64_t pos) {
    if (!part->open_pages) return pages_from(part, pos);
    return part->open_pages + (pos - part->open_pos) / ATTN_PAGE_TOKENS;
}

typedef struct seal_job {
    attn_shape shape;
    const kv_window_part *part;
} seal_job;

static void seal_item(void *context, int64_t item, int thread) {
    (void)thread;
    const seal_job *job = context;
    const int64_t pos = job->part->open_pos + item * ATTN_PAGE_TOKENS;
    attn_page_seal(&job->shape, job->part->open_pages[item], *pages_from(job->part, pos));
}

/* Open pages that the new rows have filled. */
static void seal_full(glm_engine *engine, const kv_window_part *part) {
    const int64_t end = part->first_pos + part->n_tokens;
    if (!part->open_pages) return;
    seal_job job = {.shape = glm_attn_shape(&engine->part, engine->plan.kv_dtype), .part = part};
    const int64_t n = (end - part->open_pos) / ATTN_PAGE_TOKENS;
    if (n > 0) rt_pool_run(engine->pool, n, seal_item, &job);
}

void glm_layer_append(glm_engine *engine, const kv_window_part *part, int64_t row0, int64_t pos0) {
    const glm_rows qkv = engine->buffers.qkv;
    const int64_t pos = part->first_pos + part->n_tokens - part->n_new;
    if (part->n_new == 0) return;
    rt_assert(pos >= pos0);
    float *row = qkv.data + (row0 + pos - pos0) * qkv.stride;
    attn_append_kv(engine->ops.attention, row + glm_config_q_width(&engine->part), qkv.stride,
            part->n_new, pos, pages_to_write(part, pos));
    seal_full(engine, part);
}

attn_state glm_layer_state(const glm_engine *engine, int64_t row0) {
    const glm_buffers *b = &engine->buffers;
    const int64_t heads = row0 * engine->part.n_heads;
    return (attn_state){.max = b->state_max + heads,
            .sum = b->state_sum + heads,
            .out = b->attended.data + heads * engine->part.head_dim,
            .part_max = b->part_max + heads,
            .part_sum = b->part_sum + heads,
            .part_out = b->part.data + heads * engine->part.head_dim};
}

/* ---- prefill --------------------------------------------------------------------------------- */

/* normed -> k and v of every token; q, rotated, of those that attend. */
static void project(glm_engine *engine, const glm_layer *layer, const glm_chunk *chunk) {
    const glm_ops *ops = &engine->ops;
    const glm_buffers *b = &engine->buffers;
    const int64_t q = glm_config_q_width(&engine->part);
    const int64_t from = chunk->attend_pos - chunk->pos;
    const glm_rows normed = rows_from(b->normed, from);
    const glm_rows q_rows = rows_from(b->qkv, from);
    const glm_rows kv = {b->qkv.data + q, b->qkv.stride};
    if (chunk->n_attend == chunk->n) {
        ops->linear(ops, &layer->qkv, layer->qkv_bias, 0, layer->qkv.n_out, b->normed, chunk->n,
                b->qkv);
    } else {
        ops->linear(ops, &layer->qkv, layer->qkv_bias, q, layer->qkv.n_out - q, b->normed, chunk->n,
                kv);
        if (chunk->n_attend > 0)
            ops->linear(ops, &layer->qkv, layer->qkv_bias, 0, q, normed, chunk->n_attend, q_rows);
    }
    attn_rotate_q(ops->attention, q_rows.data, q_rows.stride, chunk->n_attend, chunk->attend_pos);
}

static rt_status attend_to_windows(
        glm_engine *engine, kv_walk *walk, const glm_chunk *chunk, attn_state *state) {
    attn_cpu *attention = engine->ops.attention;
    const glm_buffers *b = &engine->buffers;
    const float *q = b->qkv.data + (chunk->attend_pos - chunk->pos) * b->qkv.stride;
    for (;;) {
        kv_window window;
        RT_TRY(glm_window_enter(engine, walk, &window));
        if (window.n_parts == 0) return RT_OK;
        const kv_window_part *part = &window.parts[0];
        glm_layer_append(engine, part, 0, chunk->pos);
        const attn_segment segment = glm_layer_segment(part);
        attn_prefill(
                attention, q, b->qkv.stride, chunk->n_attend, chunk->attend_pos, &segment, state);
        RT_TRY(glm_window_leave(engine, walk));
    }
}

/* q, k, v -> attended */
static rt_status attend(
        glm_engine *engine, const glm_layer *layer, kv_walk *walk, const glm_chunk *chunk) {
    attn_cpu *attention = engine->ops.attention;
    attn_state state = glm_layer_state(engine, 0);
    project(engine, layer, chunk);
    attn_reset(attention, &state, chunk->n_attend);
    RT_TRY(attend_to_windows(engine, walk, chunk, &state));
    attn_finish(attention, &state, chunk->n_attend, NULL);
    return RT_OK;
}

/* x -> attended */
static rt_status attend_prefill(glm_engine *engine, int32_t layer_index, kv_seq *seq,
        const glm_chunk *chunk, const void *hidden) {
    const glm_layer *layer = &engine->weights.layers[layer_index];
    const int64_t end = chunk->pos + chunk->n;
    kv_walk *walk = NULL;
    const rt_status begun = kv_walk_begin(engine->store, layer_index, &seq, &end, 1,
            chunk->n_attend > 0 ? KV_WALK_ALL : KV_WALK_LAST, &walk);
    if (begun != RT_OK) return glm_layer_agree(engine, begun);
    glm_layer_norm(engine, layer->input_norm, chunk->n, hidden);
    /* Ranks that share the sequence instead of heads would join their (out, lse) partials here. */
    const rt_status status = attend(engine, layer, walk, chunk);
    kv_walk_end(walk);
    return glm_layer_agree(engine, status);
}

rt_status glm_cpu_prefill(glm_engine *engine, int32_t layer_index, kv_seq *seq,
        const glm_chunk *chunk, void *hidden) {
    const glm_layer *layer = &engine->weights.layers[layer_index];
    const int64_t row_bytes = glm_hidden_row_bytes(engine);
    RT_TRY(attend_prefill(engine, layer_index, seq, chunk, hidden));
    if (chunk->n_attend == 0) return RT_OK;
    void *rows = (char *)hidden + (chunk->attend_pos - chunk->pos) * row_bytes;
    return glm_layer_finish(engine, layer, chunk->n_attend, rows);
}

/* ---- decode ---------------------------------------------------------------------------------- */

static void rotate_each(glm_engine *engine, const int64_t *lengths, int32_t n) {
    const glm_rows qkv = engine->buffers.qkv;
    for (int32_t i = 0; i < n; i++)
        attn_rotate_q(
                engine->ops.attention, qkv.data + i * qkv.stride, qkv.stride, 1, lengths[i] - 1);
}

static rt_status decode_windows(glm_engine *engine, kv_walk *walk, const attn_decode_step *step) {
    for (;;) {
        kv_window window;
        RT_TRY(glm_window_enter(engine, walk, &window));
        if (window.n_parts == 0) return RT_OK;
        attn_segment segments[GLM_DECODE_SEQS_MAX] = {0};
        for (int32_t i = 0; i < window.n_parts; i++) {
            const kv_window_part *part = &window.parts[i];
            glm_layer_append(engine, part, part->seq, step->lengths[part->seq] - 1);
            segments[part->seq] = glm_layer_segment(part);
        }
        attn_decode_window(engine->ops.attention, step, segments);
        RT_TRY(glm_window_leave(engine, walk));
    }
}

/* normed -> attended */
static rt_status attend_one_each(glm_engine *engine, const glm_layer *layer, kv_walk *walk,
        const int64_t *lengths, int32_t n) {
    const glm_ops *ops = &engine->ops;
    const glm_buffers *b = &engine->buffers;
    ops->linear(ops, &layer->qkv, layer->qkv_bias, 0, layer->qkv.n_out, b->normed, n, b->qkv);
    rotate_each(engine, lengths, n);
    const attn_decode_step step = {.q = b->qkv.data,
            .stride = b->qkv.stride,
            .lengths = lengths,
            .n_seqs = n,
            .scratch = b->decode_scratch};
    attn_decode_begin(ops->attention, &step);
    RT_TRY(decode_windows(engine, walk, &step));
    attn_decode_finish(ops->attention, &step, b->attended.data);
    return RT_OK;
}

/* x -> attended */
static rt_status attend_decode(glm_engine *engine, int32_t layer_index, kv_seq *const *seqs,
        const int64_t *lengths, int32_t n, const void *hidden) {
    const glm_layer *layer = &engine->weights.layers[layer_index];
    kv_walk *walk = NULL;
    const rt_status begun =
            kv_walk_begin(engine->store, layer_index, seqs, lengths, n, KV_WALK_ALL, &walk);
    if (begun != RT_OK) return glm_layer_agree(engine, begun);
    if (layer_index + 1 < engine->config.n_layers) kv_walk_then(walk, layer_index + 1);
    glm_layer_norm(engine, layer->input_norm, n, hidden);
    const rt_status status = attend_one_each(engine, layer, walk, lengths, n);
    kv_walk_end(walk);
    return glm_layer_agree(engine, status);
}

static rt_status decode_layer(glm_engine *engine, int32_t layer_index, kv_seq *const *seqs,
        const int64_t *lengths, int32_t n, void *hidden) {
    const glm_layer *layer = &engine->weights.layers[layer_index];
    RT_TRY(attend_decode(engine, layer_index, seqs, lengths, n, hidden));
    return glm_layer_finish(engine, layer, n, hidden);
}

rt_status glm_cpu_decode(glm_engine *engine, kv_seq *const *seqs, const int64_t *lengths,
        const int32_t *ids, int32_t n) {
    RT_TRY(glm_cpu_embed(engine, ids, n, engine->decode_hidden));
    for (int32_t layer = 0; layer < engine->config.n_layers; layer++) {
        if (engine->plan.n_ranks == 1) RT_TRY(glm_engine_ask_stop(engine, "decode"));
        RT_TRY(decode_layer(engine, layer, seqs, lengths, n, engine->decode_hidden));
    }
    return glm_cpu_logits(engine, engine->decode_hidden, n, n, engine->logits);
}
