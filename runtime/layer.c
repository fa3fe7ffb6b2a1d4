/* One transformer layer, top to bottom.
 *
 *   x += W_out attention(rope(W_qkv norm(x) + b))
 *   x += W_down (silu(W_gate norm(x)) * W_up norm(x))
 *
 * Source: GLM-4 (arXiv:2406.12793), modeling code of the published checkpoints. */
#include "engine.h"

static int64_t q_width(const glm_config *config) {
    return (int64_t)config->n_heads * config->head_dim;
}

static attn_segment segment_of(const kv_view *keys) {
    return (attn_segment){
            .pages = keys->pages, .first_pos = keys->first_pos, .n_tokens = keys->n_tokens};
}

/* normed = norm(x) */
static void norm(glm_engine *engine, const float *weight, int64_t n, const void *hidden) {
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

/* attended -> output projection -> x */
static void project_out(glm_engine *engine, const glm_layer *layer, int64_t n, void *hidden) {
    const glm_ops *ops = &engine->ops;
    ops->linear(ops, &layer->attn_out, NULL, 0, layer->attn_out.n_out, engine->buffers.attended, n,
            engine->buffers.update);
    add_update(engine, layer->post_attn_norm, n, hidden);
}

static void mlp(glm_engine *engine, const glm_layer *layer, int64_t n, void *hidden) {
    const glm_ops *ops = &engine->ops;
    const glm_buffers *b = &engine->buffers;
    const int64_t ffn = engine->config.ffn;
    const glm_rows gate = b->gate_up;
    const glm_rows up = {b->gate_up.data + glm_pad(ffn), b->gate_up.stride};
    norm(engine, layer->mlp_norm, n, hidden);
    ops->linear(ops, &layer->gate, NULL, 0, ffn, b->normed, n, gate);
    ops->linear(ops, &layer->up, NULL, 0, ffn, b->normed, n, up);
    ops->swiglu(ops, gate, up, n, ffn);
    ops->linear(ops, &layer->down, NULL, 0, layer->down.n_out, gate, n, b->update);
    add_update(engine, layer->post_mlp_norm, n, hidden);
}

/* q (rotated) in buffers.qkv -> attended */
static void attend(glm_engine *engine, const kv_view *keys, int64_t pos, int64_t n) {
    const glm_buffers *b = &engine->buffers;
    attn_cpu *attention = engine->ops.attention;
    attn_state state = {.max = b->state_max,
            .sum = b->state_sum,
            .out = b->attended.data,
            .part_max = b->part_max,
            .part_sum = b->part_sum,
            .part_out = b->part.data};
    const attn_segment segment = segment_of(keys);
    attn_reset(attention, &state, n);
    attn_prefill(attention, b->qkv.data, b->qkv.stride, n, pos, &segment, &state);
    attn_finish(attention, &state, n, NULL);
}

static void *const *pages_from(const kv_view *keys, int64_t pos) {
    return keys->pages + (pos - keys->first_pos) / ATTN_PAGE_TOKENS;
}

void glm_layer_prefill(glm_engine *engine, const glm_layer *layer, const kv_view *keys, int64_t pos,
        int64_t n, void *hidden) {
    const glm_ops *ops = &engine->ops;
    const glm_buffers *b = &engine->buffers;
    norm(engine, layer->input_norm, n, hidden);
    ops->linear(ops, &layer->qkv, layer->qkv_bias, 0, layer->qkv.n_out, b->normed, n, b->qkv);
    attn_append(ops->attention, b->qkv.data, n, pos, pages_from(keys, pos));
    attend(engine, keys, pos, n);
    project_out(engine, layer, n, hidden);
    mlp(engine, layer, n, hidden);
}

void glm_layer_store_keys(glm_engine *engine, const glm_layer *layer, const kv_view *keys,
        int64_t pos, int64_t n, const void *hidden) {
    const glm_ops *ops = &engine->ops;
    const glm_buffers *b = &engine->buffers;
    const int64_t first = q_width(&engine->config);
    const int64_t width = layer->qkv.n_out - first;
    norm(engine, layer->input_norm, n, hidden);
    ops->linear(ops, &layer->qkv, layer->qkv_bias, first, width, b->normed, n,
            (glm_rows){b->qkv.data, width});
    attn_append_kv(ops->attention, b->qkv.data, width, n, pos, pages_from(keys, pos));
}

void glm_layer_attend(glm_engine *engine, const glm_layer *layer, const kv_view *keys, int64_t pos,
        int64_t n, void *hidden) {
    const glm_ops *ops = &engine->ops;
    const glm_buffers *b = &engine->buffers;
    norm(engine, layer->input_norm, n, hidden);
    ops->linear(
            ops, &layer->qkv, layer->qkv_bias, 0, q_width(&engine->config), b->normed, n, b->qkv);
    attn_rotate_q(ops->attention, b->qkv.data, b->qkv.stride, n, pos);
    attend(engine, keys, pos, n);
    project_out(engine, layer, n, hidden);
    mlp(engine, layer, n, hidden);
}

void glm_layer_decode(
        glm_engine *engine, const glm_layer *layer, const kv_view *keys, int32_t n, void *hidden) {
    const glm_ops *ops = &engine->ops;
    const glm_buffers *b = &engine->buffers;
    norm(engine, layer->input_norm, n, hidden);
    ops->linear(ops, &layer->qkv, layer->qkv_bias, 0, layer->qkv.n_out, b->normed, n, b->qkv);
    attn_segment segments[GLM_DECODE_SEQS_MAX];
    for (int32_t i = 0; i < n; i++) {
        const int64_t pos = keys[i].n_tokens - 1;
        attn_append(
                ops->attention, b->qkv.data + i * b->qkv.stride, 1, pos, pages_from(&keys[i], pos));
        segments[i] = segment_of(&keys[i]);
    }
    attn_decode(ops->attention, b->qkv.data, b->qkv.stride, segments, n, b->attended.data,
            b->decode_scratch);
    project_out(engine, layer, n, hidden);
    mlp(engine, layer, n, hidden);
}

void glm_layer_logits(glm_engine *engine, const void *hidden, int64_t n, float *logits) {
    const glm_ops *ops = &engine->ops;
    const int64_t vocab = engine->config.vocab;
    const int64_t chunk = engine->plan.chunk;
    const int64_t row_bytes = glm_hidden_row_bytes(engine);
    const glm_rows rows = {logits, glm_pad(vocab)};
    for (int64_t done = 0; done < n; done += chunk) {
        const int64_t count = rt_min64(chunk, n - done);
        norm(engine, engine->weights.final_norm, count, (const char *)hidden + done * row_bytes);
        ops->linear(ops, &engine->weights.head, NULL, 0, vocab, engine->buffers.normed, count,
                (glm_rows){logits + done * rows.stride, rows.stride});
    }
    if (rows.stride == vocab) return;
    for (int64_t i = 1; i < n; i++)
        __builtin_memmove(
                logits + i * vocab, logits + i * rows.stride, (size_t)vocab * sizeof *logits);
}

/* Two FLOP a weight and token; attention: scores and weighted values, 2 x 2 FLOP a head, dim and
 * visible key. */
double glm_layer_flop(const glm_config *config, int64_t pos, int64_t n) {
    const double weights =
            (double)config->hidden * ((double)glm_config_qkv_rows(config) +
                                             (double)q_width(config) + 3.0 * (double)config->ffn);
    const double keys = (double)n * ((double)pos + ((double)n + 1.0) / 2.0);
    return 2.0 * weights * (double)n + 4.0 * (double)q_width(config) * keys;
}

double glm_head_flop(const glm_config *config, int64_t n) {
    return 2.0 * (double)config->hidden * (double)config->vocab * (double)n;
}
