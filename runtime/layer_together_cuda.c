/* One layer over the tokens that several sequences add, on a GPU: one pass over the weights. As layer_together.c: rows
 * are sequence by sequence, the decoded ones first; they take decode's kernels, attention's in one launch where memory holds
 * them, the others prefill's, attention's each for itself. So the bits are those of glm_decode and of glm_prefill. What
 * that costs: where there are both kinds each matrix is multiplied twice, once for each, and read from memory twice. */
#include "backend.h"
#include "engine_cuda.h"
#include "ranks.h"

typedef struct pass {
    glm_engine *engine;
    int32_t layer;
    const glm_added *added;
    int32_t n;
    glm_added_rows rows;
} pass;

static glm_cuda_tokens decoded_of(const pass *p) {
    return (glm_cuda_tokens){.lengths = p->rows.ends, .n = p->rows.n_decoded, .n_each = 1};
}

/* Once for all layers. Draws that the step is told of besides are the last decode's, and nobody reads them. */
static rt_status begin(const pass *p) {
    static const int32_t no_ids[GLM_DECODE_SEQS_MAX];
    if (p->layer > 0) return RT_OK;
    glm_cuda_tokens tokens = decoded_of(p);
    tokens.ids = no_ids;
    RT_TRY(glm_cuda_send_step(p->engine, &tokens));
    p->engine->cuda->has_pass_queued = true;
    return RT_OK;
}

static rt_status attend_to_window(const pass *p, const kv_window *window) {
    const glm_cuda_tokens decoded = decoded_of(p);
    RT_TRY(glm_cuda_attend_to_parts(p->engine, p->layer, window, &decoded));
    for (int32_t i = 0; i < window->n_parts; i++) {
        const kv_window_part *part = &window->parts[i];
        const glm_added *added = &p->added[part->seq];
        const glm_chunk chunk = {
                .pos = added->pos, .n = added->n, .attend_pos = added->pos, .n_attend = added->n};
        if (part->seq >= p->rows.n_decoded)
            RT_TRY(glm_cuda_attend_to_window(
                    p->engine, &chunk, p->rows.row0[part->seq], part, part->first_pos == 0));
    }
    return glm_cuda_step_done(&p->engine->cuda->device, "attention of several sequences");
}

static rt_status attend_to_windows(const pass *p, kv_walk *walk) {
    for (;;) {
        kv_window window;
        RT_TRY(glm_window_enter(p->engine, walk, &window));
        if (window.n_parts == 0) return RT_OK;
        RT_TRY(attend_to_window(p, &window));
        RT_TRY(glm_window_leave(p->engine, walk));
    }
}

/* x -> attended */
static rt_status attend(
        const pass *p, const glm_cuda_layer *layer, glm_cuda_rows rows, uint16_t *hidden) {
    glm_engine *engine = p->engine;
    glm_cuda *cuda = engine->cuda;
    kv_seq *seqs[GLM_DECODE_SEQS_MAX];
    kv_walk *walk = NULL;
    for (int32_t i = 0; i < p->n; i++) seqs[i] = p->added[i].seq;
    RT_TRY(kv_walk_begin(engine->store, p->layer, seqs, p->rows.ends, p->n, KV_WALK_ALL, &walk));
    if (p->layer + 1 < engine->config.n_layers) kv_walk_then(walk, p->layer + 1);
    rt_status status = glm_cuda_add_update(engine, hidden, false, NULL, layer->input_norm, rows.n);
    if (status == RT_OK)
        status = glm_cuda_linear(cuda->cublas, &layer->qkv, cuda->normed, rows, cuda->qkv, false,
                cuda->device.compute);
    if (status == RT_OK) status = attend_to_windows(p, walk);
    kv_walk_end(walk);
    return status;
}

static rt_status run(pass *p, uint16_t *hidden) {
    glm_engine *engine = p->engine;
    const glm_cuda_rows rows = {.n_decoded = p->rows.n_decoded, .n = p->rows.n};
    const glm_cuda_layer *layer = NULL;
    rt_status status = begin(p);
    if (status == RT_OK) status = glm_cuda_stream_layer(engine, p->layer, &layer);
    RT_TRY(glm_group_end(engine, status));
    RT_TRY(glm_cuda_ranks_agree(engine, attend(p, layer, rows, hidden)));
    return glm_group_end(engine, glm_cuda_finish_layer(engine, layer, rows, hidden));
}

rt_status glm_cuda_layer_together(
        glm_engine *engine, int32_t layer, const glm_added *added, int32_t n, void *hidden) {
    pass p = {.engine = engine,
            .layer = layer,
            .added = added,
            .n = n,
            .rows = glm_rows_of_added(added, n)};
    const rt_status status = run(&p, hidden);
    if (status == RT_OK) return RT_OK;
    /* What is queued reads the host's lists. */
    glm_cuda_finish(engine->cuda->device.compute);
    glm_cuda_start_afresh(engine);
    return status;
}
