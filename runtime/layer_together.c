/* One layer over the tokens that several sequences add: one pass over the weights, and over the KV that
 * the sequences share.
 *
 * The buffers hold the rows sequence by sequence. Sequences that are decoded come first and take decode's
 * kernel, which serves all of them by one pass over memory; the others take prefill's, each with a state of
 * its own. No bit depends on which kernel computes a row, nor on what is beside it (attention.h, rule 3). */
#include "layer_inside.h"
#include "ranks.h"

/* The layer's share of one pass. */
typedef struct pass {
    glm_engine *engine;
    const glm_added *added;
    int32_t n;
    glm_added_rows rows;
    attn_decode_step step;                  /* of the sequences that are decoded */
    attn_state states[GLM_DECODE_SEQS_MAX]; /* of each other one */
} pass;

static float *q_of(const pass *p, int32_t i) {
    return p->engine->buffers.qkv.data + p->rows.row0[i] * p->engine->buffers.qkv.stride;
}

/* normed -> q, rotated, k and v */
static void project(const pass *p, const glm_layer *layer, int64_t n_rows) {
    const glm_ops *ops = &p->engine->ops;
    const glm_buffers *b = &p->engine->buffers;
    ops->linear(ops, &layer->qkv, layer->qkv_bias, 0, layer->qkv.n_out, b->normed, n_rows, b->qkv);
    for (int32_t i = 0; i < p->n; i++)
        attn_rotate_q(ops->attention, q_of(p, i), b->qkv.stride, p->added[i].n, p->added[i].pos);
}

static void reset(pass *p) {
    const glm_buffers *b = &p->engine->buffers;
    attn_cpu *attention = p->engine->ops.attention;
    p->step = (attn_decode_step){.q = b->qkv.data,
            .stride = b->qkv.stride,
            .lengths = p->rows.ends,
            .n_seqs = p->rows.n_decoded,
            .scratch = b->decode_scratch};
    if (p->rows.n_decoded > 0) attn_decode_begin(attention, &p->step);
    for (int32_t i = p->rows.n_decoded; i < p->n; i++) {
        p->states[i] = glm_layer_state(p->engine, p->rows.row0[i]);
        attn_reset(attention, &p->states[i], p->added[i].n);
    }
}

static void attend_window(pass *p, const kv_window *window) {
    attn_cpu *attention = p->engine->ops.attention;
    attn_segment decoded[GLM_DECODE_SEQS_MAX] = {0};
    bool has_decoded = false;
    for (int32_t i = 0; i < window->n_parts; i++) {
        const kv_window_part *part = &window->parts[i];
        const glm_added *added = &p->added[part->seq];
        glm_layer_append(p->engine, part, p->rows.row0[part->seq], added->pos);
        const attn_segment segment = glm_layer_segment(part);
        if (part->seq < p->rows.n_decoded) {
            decoded[part->seq] = segment;
            has_decoded = true;
        } else {
            attn_prefill(attention, q_of(p, part->seq), p->engine->buffers.qkv.stride, added->n,
                    added->pos, &segment, &p->states[part->seq]);
        }
    }
    if (has_decoded) attn_decode_window(attention, &p->step, decoded);
}

/* normed -> attended */
static rt_status attend(pass *p, const glm_layer *layer, kv_walk *walk, int64_t n_rows) {
    attn_cpu *attention = p->engine->ops.attention;
    project(p, layer, n_rows);
    reset(p);
    for (;;) {
        kv_window window;
        RT_TRY(glm_window_enter(p->engine, walk, &window));
        if (window.n_parts == 0) break;
        attend_window(p, &window);
        RT_TRY(glm_window_leave(p->engine, walk));
    }
    if (p->rows.n_decoded > 0)
        attn_decode_finish(attention, &p->step, p->engine->buffers.attended.data);
    for (int32_t i = p->rows.n_decoded; i < p->n; i++)
        attn_finish(attention, &p->states[i], p->added[i].n, NULL);
    return RT_OK;
}

/* x -> attended */
static rt_status attend_all(pass *p, int32_t layer_index, int64_t n_rows, const void *hidden) {
    glm_engine *engine = p->engine;
    const glm_layer *layer = &engine->weights.layers[layer_index];
    kv_seq *seqs[GLM_DECODE_SEQS_MAX];
    kv_walk *walk = NULL;
    for (int32_t i = 0; i < p->n; i++) seqs[i] = p->added[i].seq;
    const rt_status begun =
            kv_walk_begin(engine->store, layer_index, seqs, p->rows.ends, p->n, KV_WALK_ALL, &walk);
    if (begun != RT_OK) return glm_layer_agree(engine, begun);
    if (layer_index + 1 < engine->config.n_layers) kv_walk_then(walk, layer_index + 1);
    glm_layer_norm(engine, layer->input_norm, n_rows, hidden);
    const rt_status status = attend(p, layer, walk, n_rows);
    kv_walk_end(walk);
    return glm_layer_agree(engine, status);
}

rt_status glm_cpu_together(
        glm_engine *engine, int32_t layer, const glm_added *added, int32_t n, void *hidden) {
    pass p = {.engine = engine, .added = added, .n = n, .rows = glm_rows_of_added(added, n)};
    const int64_t n_rows = p.rows.n;
    RT_TRY(attend_all(&p, layer, n_rows, hidden));
    return glm_layer_finish(engine, &engine->weights.layers[layer], n_rows, hidden);
}
