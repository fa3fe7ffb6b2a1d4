/* One decode step on a GPU.
 *
 * The pages of every (layer, sequence) are listed on the device, and which sequences share them (pages_cuda.c): those
 * attend to them in one pass. Where memory holds all of all sequences, the lists are brought up to date first
 * and then all layers are queued: from the second step of as many sequences on, as one graph (graphs_cuda.c). Where it does not, and
 * in a step that completes an extent, which the store then wants to write, layers are queued as they are walked,
 * and sequences attend window by window: the bits are the same. What lies between the attention of one layer and that of the next is a
 * graph then. A layer's last window is left when the next layer's queries, of the last layer the choice of tokens, are queued: what
 * goes to the disk is encoded beside those. Weights that come layer by layer are in no graph, nor is a step at once that fills e4m3
 * pages: a sequence's last page is open, and listed among the others where it belongs, until it is full and a kernel seals it.
 *
 * A step of several tokens of one sequence (speculate.c) has a row for each in all that a row is computed by: the kernels of
 * products, chosen as for one (linear_cuda.h), and attention's, of which a row's bits depend on no other. So the bits are
 * those of as many steps. It is in no graph: its kernels, some 11 a layer, come a few microseconds apart, and each takes
 * longer. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"
#include "engine_cuda.h"
#include "ranks.h"

static rt_stream compute_of(const glm_cuda *cuda) {
    return cuda->device.compute;
}

static void *const *const *lists_of(const glm_engine *engine, int32_t layer, int32_t i) {
    void ***lists = engine->cuda->seq_pages + (int64_t)layer * engine->plan.max_seqs + i;
    return (void *const *const *)lists;
}

/* ---- pages that a step fills ----------------------------------------------------------------- */

static bool fills_page(const kv_window_part *part) {
    return part->open_pages && part->n_tokens % ATTN_PAGE_TOKENS == 0;
}

static void note_filled(glm_cuda_filled *filled, const kv_window_part *part) {
    if (!fills_page(part)) return;
    filled->open_pages[filled->n] = part->open_pages[0];
    filled->pages[filled->n++] = part->pages[part->n_tokens / ATTN_PAGE_TOKENS - 1];
}

static rt_status seal(glm_cuda *cuda, const glm_cuda_filled *filled) {
    void *both[2 * GLM_DECODE_SEQS_MAX];
    const size_t bytes = (size_t)filled->n * sizeof *both;
    if (filled->n == 0) return RT_OK;
    memcpy(both, filled->open_pages, bytes);
    memcpy(both + filled->n, filled->pages, bytes);
    return glm_cuda_seal(cuda, both, filled->n);
}

/* ---- what a step is told --------------------------------------------------------------------- */

static glm_cuda_draw draw_of(const glm_draw *draw) {
    static const float below_1 =
            0x1.fffffep-1f; /* 1, to which a draw may be rounded, is past all candidates */
    const glm_sampling *s = &draw->sampling;
    return (glm_cuda_draw){.temperature = s->temperature,
            .top_p = s->top_p,
            .at = fminf((float)glm_sampling_draw(s->seed, draw->step), below_1),
            .top_k = s->top_k,
            .margin = glm_sampling_margin(s),
            .n_valid = (int32_t)draw->n_valid};
}

rt_status glm_cuda_send_step(glm_engine *engine, const glm_cuda_tokens *tokens) {
    glm_cuda *cuda = engine->cuda;
    const glm_cuda_step *step = &cuda->host_step;
    const int64_t rows = cuda->step_rows;
    const int32_t n_each = tokens->n_each;
    if (cuda->has_pass_queued)
        RT_TRY(glm_cuda_ranks_settle(
                engine, glm_cuda_wait(compute_of(cuda), "tokens of several sequences")));
    cuda->has_pass_queued = false;
    for (int32_t i = 0; i < rows; i++) {
        const bool is_row = i < tokens->n * n_each;
        step->lengths[i] = i < tokens->n ? tokens->lengths[i] : 0;
        step->positions[i] = is_row ? tokens->lengths[i / n_each] - n_each + i % n_each : 0;
        step->ids[i] = is_row ? tokens->ids[i] : 0;
        step->draws[i] =
                i < engine->drawing.n ? draw_of(&engine->drawing.draws[i]) : (glm_cuda_draw){0};
    }
    return glm_cuda_copy_in(
            cuda->step_memory, cuda->host_step_memory, glm_cuda_step_bytes(rows), compute_of(cuda));
}

/* ---- what a step computes -------------------------------------------------------------------- */

/* The only sequence's tokens, which lie in one page. */
static rt_status append_several(glm_engine *engine, int32_t layer, const glm_cuda_tokens *tokens) {
    glm_cuda *cuda = engine->cuda;
    const int64_t pos = tokens->lengths[0] - tokens->n_each;
    void **pages = cuda->pages + glm_cuda_list_at(engine, layer, 0) + pos / ATTN_PAGE_TOKENS;
    const attn_cuda_append_args args = {
            .qkv = cuda->qkv, .n_tokens = tokens->n_each, .pos = pos, .pages = pages, .q = cuda->q};
    return attn_cuda_append(&cuda->shape, &args, compute_of(cuda));
}

/* Sequences [first, first + n) of the step: q, and keys and values into pages. */
static rt_status append(glm_engine *engine, int32_t layer, const glm_cuda_tokens *tokens,
        int32_t first, int32_t n) {
    glm_cuda *cuda = engine->cuda;
    if (tokens->n_each > 1) return append_several(engine, layer, tokens);
    const attn_cuda_append_args args = {
            .qkv = cuda->qkv + first * glm_config_qkv_rows(&engine->part),
            .n_tokens = n,
            .positions = cuda->step.positions + first,
            .seq_pages = lists_of(engine, layer, first),
            .q = cuda->q + first * glm_config_q_width(&engine->part)};
    return attn_cuda_append(&cuda->shape, &args, compute_of(cuda));
}

/* q -> attended, over the keys that the passes have; n_splits of a sequence at most, 0: all. Without a list where it would
 * say nothing, for a kernel that is faster so; Hopper's wants the longest first. */
static rt_status attend(glm_engine *engine, int32_t layer, const glm_cuda_tokens *tokens,
        const glm_cuda_passes *passes, int64_t n_splits) {
    glm_cuda *cuda = engine->cuda;
    const bool is_hopper = cuda->device.capability == 90;
    const bool is_listed = is_hopper || n_splits > 0 || passes->n_together > 1;
    char *scratch = cuda->decode_scratch;
    void ***lists = cuda->open_pages + (int64_t)layer * engine->plan.max_seqs;
    void *const *const *open = attn_is_lossy(&cuda->shape) ? (void *const *const *)lists : NULL;
    const attn_cuda_decode_args args = {.q = cuda->q,
            .q_stride = glm_config_q_width(&engine->part),
            .lengths = cuda->step.lengths,
            .max_tokens = engine->plan.max_len,
            .n_seqs = tokens->n,
            .n_queries = tokens->n_each,
            .pages = lists_of(engine, layer, 0),
            .attended = cuda->attended,
            .open_pages = open,
            .tickets = (uint32_t *)(void *)scratch,
            .scratch = scratch + attn_cuda_decode_ticket_bytes(&cuda->shape, engine->plan.max_seqs),
            .passes = is_listed ? passes->passes : NULL,
            .order = passes->order,
            .n_passes = passes->n,
            .n_together = 1 << glm_cuda_together_kind(passes->n_together),
            .n_splits = n_splits};
    return is_hopper ? attn_cuda_decode_sm90(&cuda->shape, &args, compute_of(cuda))
                     : attn_cuda_decode_sm80(&cuda->shape, &args, compute_of(cuda));
}

/* x, and the update of the layer before -> qkv */
static rt_status begin_layer(
        glm_engine *engine, int32_t index, const glm_cuda_layer *layer, int32_t n) {
    glm_cuda *cuda = engine->cuda;
    uint16_t *post_norm = index > 0 ? cuda->weights.layers[index - 1].post_mlp_norm : NULL;
    RT_TRY(glm_cuda_add_update(
            engine, engine->decode_hidden, index > 0, post_norm, layer->input_norm, n));
    return glm_cuda_linear(cuda->cublas, &layer->qkv, cuda->normed, glm_cuda_decoded(n), cuda->qkv,
            false, compute_of(cuda));
}

/* attended -> x and the layer's update, which is left for the next one to add. */
static rt_status end_layer(glm_engine *engine, const glm_cuda_layer *layer, int32_t n) {
    glm_cuda *cuda = engine->cuda;
    RT_TRY(glm_cuda_ranks_update(engine, &layer->attn_out, cuda->attended, glm_cuda_decoded(n)));
    RT_TRY(glm_cuda_add_update(
            engine, engine->decode_hidden, true, layer->post_attn_norm, layer->mlp_norm, n));
    RT_TRY(glm_cuda_mlp(engine, layer, glm_cuda_decoded(n)));
    return glm_cuda_step_done(&cuda->device, "a layer of decode");
}

static rt_status begin_step(glm_engine *engine, int32_t n) {
    const glm_cuda *cuda = engine->cuda;
    return glm_cuda_ranks_embed(engine, cuda->step.ids, n, engine->decode_hidden);
}

static rt_status end_step(glm_engine *engine, int32_t n) {
    glm_cuda *cuda = engine->cuda;
    const int32_t last = engine->config.n_layers - 1;
    RT_TRY(glm_cuda_add_update(engine, engine->decode_hidden, true,
            cuda->weights.layers[last].post_mlp_norm, cuda->weights.final_norm, n));
    RT_TRY(glm_cuda_ranks_logits(engine, glm_cuda_decoded(n)));
    const glm_cuda_sample_args args = {.logits = cuda->logits,
            .stride = engine->config.vocab,
            .n = n,
            .draws = cuda->step.draws,
            .ids = cuda->drawn};
    return glm_cuda_sample(&args, compute_of(cuda));
}

rt_status glm_cuda_queue_between(
        glm_engine *engine, int32_t index, int32_t n_rows, const glm_cuda_layer **layer) {
    if (index == 0)
        RT_TRY(begin_step(engine, n_rows));
    else
        RT_TRY(end_layer(engine, *layer, n_rows));
    if (index == engine->config.n_layers) return end_step(engine, n_rows);
    RT_TRY(glm_cuda_stream_layer(engine, index, layer));
    return begin_layer(engine, index, *layer, n_rows);
}

/* ---- all layers at once ---------------------------------------------------------------------- */

rt_status glm_cuda_queue_step(glm_engine *engine, const glm_cuda_tokens *tokens) {
    const int32_t n_rows = tokens->n * tokens->n_each;
    const int32_t n_layers = engine->config.n_layers;
    const glm_cuda_layer *layer = NULL;
    for (int32_t index = 0; index < n_layers; index++) {
        RT_TRY(glm_cuda_queue_between(engine, index, n_rows, &layer));
        RT_TRY(append(engine, index, tokens, 0, tokens->n));
        RT_TRY(seal(engine->cuda, &engine->cuda->filled[index]));
        RT_TRY(attend(engine, index, tokens, &engine->cuda->passes, 0));
    }
    return glm_cuda_queue_between(engine, n_layers, n_rows, &layer);
}

static rt_status visit(glm_engine *engine, int32_t layer, kv_walk *walk) {
    glm_cuda_filled *filled = &engine->cuda->filled[layer];
    filled->n = 0;
    for (;;) {
        kv_window window;
        RT_TRY(glm_window_enter(engine, walk, &window));
        if (window.n_parts == 0) return RT_OK;
        for (int32_t i = 0; i < window.n_parts; i++) {
            RT_TRY(glm_cuda_list_pages(engine, layer, &window.parts[i]));
            note_filled(filled, &window.parts[i]);
        }
        RT_TRY(glm_window_leave(engine, walk));
    }
}

static rt_status list_all_pages(glm_engine *engine, const glm_cuda_tokens *tokens) {
    for (int32_t layer = 0; layer < engine->config.n_layers; layer++) {
        kv_walk *walk = NULL;
        RT_TRY(kv_walk_begin(engine->store, layer, tokens->seqs, tokens->lengths, tokens->n,
                KV_WALK_ALL, &walk));
        const rt_status status = visit(engine, layer, walk);
        kv_walk_end(walk);
        RT_TRY(status);
    }
    return glm_cuda_pass_all(engine, tokens->lengths, tokens->n);
}

static rt_status run_at_once(glm_engine *engine, const glm_cuda_tokens *tokens) {
    RT_TRY(glm_cuda_ranks_agree(engine, list_all_pages(engine, tokens)));
    const bool is_plain =
            engine->cuda->filled[0].n > 0 || glm_cuda_streams(engine) || tokens->n_each > 1;
    return glm_group_end(engine,
            is_plain ? glm_cuda_queue_step(engine, tokens) : glm_cuda_graph_step(engine, tokens));
}

/* ---- layer by layer -------------------------------------------------------------------------- */

/* Keys and values go into the last window's pages; queries are wanted in the first one already, and made then for
 * themselves. */
static rt_status append_to_part(glm_engine *engine, int32_t layer, const kv_window_part *part,
        const glm_cuda_tokens *tokens) {
    const int64_t n_each = tokens->n_each;
    const glm_chunk chunk = {.pos = tokens->lengths[part->seq] - n_each, .n = n_each};
    if (part->is_last) return append(engine, layer, tokens, part->seq, 1);
    if (part->first_pos > 0) return RT_OK;
    return glm_cuda_append_to_spare(engine, &chunk, part->seq * n_each);
}

/* All of all n, at once. */
static bool is_whole(const kv_window *window, int32_t n) {
    int32_t n_whole = 0;
    for (int32_t i = 0; i < window->n_parts; i++) {
        const kv_window_part *part = &window->parts[i];
        n_whole += part->seq < n && part->first_pos == 0 && part->is_last;
    }
    return n_whole == n;
}

static rt_status append_to_parts(
        glm_engine *engine, int32_t layer, const kv_window *window, const glm_cuda_tokens *tokens) {
    const int32_t n = tokens->n;
    if (is_whole(window, n)) return append(engine, layer, tokens, 0, n);
    for (int32_t i = 0; i < window->n_parts; i++)
        if (window->parts[i].seq < n)
            RT_TRY(append_to_part(engine, layer, &window->parts[i], tokens));
    return RT_OK;
}

/* Windows begin at multiples of an extent, that is of a split. What sequences share comes once for all of them, and is
 * attended to so. */
rt_status glm_cuda_attend_to_parts(
        glm_engine *engine, int32_t layer, const kv_window *window, const glm_cuda_tokens *tokens) {
    glm_cuda_filled filled = {0};
    glm_cuda_passes passes;
    int64_t n_splits = 0;
    const int32_t n = tokens->n;
    if (n == 0) return RT_OK;
    for (int32_t i = 0; i < window->n_parts; i++) {
        const kv_window_part *part = &window->parts[i];
        if (part->seq >= n) continue;
        RT_TRY(glm_cuda_list_pages(engine, layer, part));
        note_filled(&filled, part);
        n_splits = rt_max64(n_splits, rt_div_up(part->n_tokens, ATTN_SPLIT_TOKENS));
    }
    RT_TRY(append_to_parts(engine, layer, window, tokens));
    RT_TRY(seal(engine->cuda, &filled));
    RT_TRY(glm_cuda_pass_window(engine, layer, window, tokens->lengths, n, &passes));
    return passes.n > 0 ? attend(engine, layer, tokens, &passes, n_splits) : RT_OK;
}

/* A step that is queued as its layers are walked. */
typedef struct by_layers {
    glm_engine *engine;
    const glm_cuda_tokens *tokens;
    glm_cuda_step_kind *kind;    /* whose graphs are what lies between attention; NULL: of none */
    const glm_cuda_layer *layer; /* without graphs: whose weights were taken last */
    kv_walk *walk; /* whose last window was attended to, and is not left yet; NULL: none */
} by_layers;

static rt_status queue_between(by_layers *s, int32_t index) {
    const glm_cuda_device *device = &s->engine->cuda->device;
    const int32_t n_rows = s->tokens->n * s->tokens->n_each;
    const glm_cuda_graph *graphs = s->kind ? s->kind->graphs : NULL;
    if (!graphs) return glm_cuda_queue_between(s->engine, index, n_rows, &s->layer);
    RT_TRY(glm_cuda_graph_launch(graphs[index], device->compute));
    return glm_cuda_step_done(device, "a layer of decode");
}

static rt_status attend_to_windows(const by_layers *s, int32_t layer) {
    for (;;) {
        kv_window window;
        RT_TRY(glm_window_enter(s->engine, s->walk, &window));
        RT_TRY(glm_cuda_attend_to_parts(s->engine, layer, &window, s->tokens));
        if (window.is_last) return glm_cuda_window_done(s->engine);
        RT_TRY(glm_window_leave(s->engine, s->walk));
    }
}

static void end_walk(by_layers *s) {
    if (s->walk) kv_walk_end(s->walk);
    s->walk = NULL;
}

static rt_status leave(by_layers *s) {
    const rt_status status = s->walk ? glm_cuda_leave_late(s->engine, s->walk) : RT_OK;
    end_walk(s);
    return status;
}

/* qkv -> attended, of all sequences. The layer before is left when this one's q, k and v are queued. */
static rt_status attend_in_layer(by_layers *s, int32_t index) {
    glm_engine *engine = s->engine;
    RT_TRY(leave(s));
    const rt_status status = kv_walk_begin(engine->store, index, s->tokens->seqs,
            s->tokens->lengths, s->tokens->n, KV_WALK_ALL, &s->walk);
    if (status != RT_OK) s->walk = NULL;
    RT_TRY(status);
    if (index + 1 < engine->config.n_layers) kv_walk_then(s->walk, index + 1);
    return attend_to_windows(s, index);
}

static rt_status queue_layers(by_layers *s) {
    glm_engine *engine = s->engine;
    const int32_t n_layers = engine->config.n_layers;
    for (int32_t index = 0; index < n_layers; index++) {
        RT_TRY(glm_group_end(engine, queue_between(s, index)));
        RT_TRY(glm_cuda_ranks_agree(engine, attend_in_layer(s, index)));
    }
    RT_TRY(glm_group_end(engine, queue_between(s, n_layers)));
    return glm_cuda_ranks_agree(engine, leave(s));
}

static rt_status run_by_layers(glm_engine *engine, const glm_cuda_tokens *tokens) {
    by_layers s = {.engine = engine, .tokens = tokens};
    if (!glm_cuda_streams(engine) && tokens->n_each == 1)
        RT_TRY(glm_group_end(engine, glm_cuda_graph_layers(engine, tokens, &s.kind)));
    const rt_status status = queue_layers(&s);
    if (status == RT_OK && s.kind) s.kind->has_run = true;
    end_walk(&s);
    return status;
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* Nothing leaves memory in this step, on any rank: all take the same way. */
static rt_status stay_in_memory(glm_engine *engine, const glm_cuda_tokens *tokens, int64_t *stay) {
    *stay = 1;
    if (!engine->plan.kv_overflows) return RT_OK;
    for (int32_t i = 0; i < tokens->n; i++)
        if (kv_seq_streams(tokens->seqs[i]) ||
                tokens->lengths[i] % engine->plan.kv_extent_tokens == 0)
            *stay = 0;
    return glm_step_smallest(engine, stay);
}

static rt_status bring_logits(glm_engine *engine, int64_t n) {
    return glm_cuda_copy_out(engine->logits, engine->cuda->logits,
            n * engine->config.vocab * (int64_t)sizeof(float), compute_of(engine->cuda));
}

/* Four bytes a row instead of the vocabulary, where that is all that is asked for; of other ranks nothing is. */
static rt_status bring_answer(glm_engine *engine, int32_t n) {
    glm_cuda *cuda = engine->cuda;
    if (!glm_cuda_is_read(engine)) return RT_OK;
    if (engine->drawing.n != n) return bring_logits(engine, n);
    return glm_cuda_copy_out(
            cuda->host_drawn, cuda->drawn, n * (int64_t)sizeof(int32_t), compute_of(cuda));
}

rt_status glm_cuda_fetch_logits(glm_engine *engine, int64_t n) {
    const rt_status status = glm_group_end(engine, bring_logits(engine, n));
    const rt_status waited =
            glm_cuda_ranks_settle(engine, glm_cuda_wait(compute_of(engine->cuda), "logits"));
    return status == RT_OK ? waited : status;
}

static rt_status run(glm_engine *engine, const glm_cuda_tokens *tokens) {
    int64_t stay = 0;
    RT_TRY(glm_group_end(engine, glm_cuda_send_step(engine, tokens)));
    RT_TRY(stay_in_memory(engine, tokens, &stay));
    if (stay)
        RT_TRY(run_at_once(engine, tokens));
    else
        RT_TRY(run_by_layers(engine, tokens));
    return glm_group_end(engine, bring_answer(engine, tokens->n * tokens->n_each));
}

/* After a failure: what the device has listed is not known any more, and is sent again; a sequence may have attended
 * to some of its keys. */
void glm_cuda_start_afresh(glm_engine *engine) {
    char why[1024];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    glm_cuda_forget_pages(engine);
    if (glm_cuda_clear_tickets(engine) != RT_OK) (void)!rt_fail(RT_EDEVICE, "%s", why);
}

static rt_status take_step(glm_engine *engine, const glm_cuda_tokens *tokens) {
    glm_cuda *cuda = engine->cuda;
    rt_assert(tokens->n * tokens->n_each <= cuda->step_rows);
    for (int32_t i = 0; i < tokens->n; i++) rt_assert(tokens->lengths[i] <= engine->plan.max_len);
    rt_status status = run(engine, tokens);
    glm_cuda_note_refused(engine);
    if (status == RT_OK)
        status = glm_cuda_ranks_settle(engine, glm_cuda_wait(compute_of(cuda), "a decode step"));
    else
        glm_cuda_finish(compute_of(cuda)); /* what is queued reads the host's lists */
    if (status != RT_OK) glm_cuda_start_afresh(engine);
    for (int32_t i = 0; status == RT_OK && i < engine->drawing.n; i++)
        engine->drawing.ids[i] = cuda->host_drawn[i];
    return status;
}

rt_status glm_cuda_decode_step(glm_engine *engine, kv_seq *const *seqs, const int64_t *lengths,
        const int32_t *ids, int32_t n) {
    const glm_cuda_tokens tokens = {
            .seqs = seqs, .lengths = lengths, .ids = ids, .n = n, .n_each = 1};
    return take_step(engine, &tokens);
}

/* Of more rows than a product was refused for, on any rank, it is no pass of the bits of as many steps: there are to be fewer. */
static rt_status look_for_refused(glm_engine *engine, int32_t n) {
    int64_t n_alike = glm_cublas_fewest_refused(engine->cuda->cublas, true) - 1;
    RT_TRY(glm_step_smallest(engine, &n_alike));
    if (n > n_alike) glm_cuda_limit_drafts(engine, n_alike);
    return RT_OK;
}

rt_status glm_cuda_decode_several(
        glm_engine *engine, kv_seq *seq, int64_t length, const int32_t *ids, int32_t n) {
    const glm_cuda_tokens tokens = {
            .seqs = &seq, .lengths = &length, .ids = ids, .n = 1, .n_each = n};
    rt_assert((length - n) / ATTN_PAGE_TOKENS == length / ATTN_PAGE_TOKENS); /* none is filled */
    RT_TRY(take_step(engine, &tokens));
    return look_for_refused(engine, n);
}
