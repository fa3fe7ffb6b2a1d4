/* Decode steps as graphs. What is queued for a step of the same kind, of as many sequences and of as many in a pass up to a
 * power of two, differs in nothing but what it reads from the device's memory: it is recorded once, and launched as one
 * from then on, so that no kernel waits for the host. The first step of a kind is taken as it comes: libraries set
 * themselves up in it, NCCL its connections for sums of this size.
 *
 * A driver keeps graphs in memory of the device. So there are GLM_CUDA_GRAPHS_MAX at most, which the plan counts; then one
 * that has not been launched for a while gives way to the next, and where there is none a step is taken as it comes. So are
 * all steps of which CUDA refuses to make a graph, for want of memory or otherwise: the bits are the same, and it is said
 * once. Ranks have a graph of a step all or none: NCCL may sum otherwise in one. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine_cuda.h"
#include "ranks.h"

enum {
    GRAPHS_MAX = 16,
    IDLE_STEPS = 64, /* a while: more than recording anew takes */
    NODE_BYTES = 10 << 10
};

static rt_stream compute_of(const glm_engine *engine) {
    return engine->cuda->device.compute;
}

static int64_t n_places(const glm_engine *engine) {
    return ((int64_t)engine->plan.max_seqs + 1) * GLM_CUDA_TOGETHER_KINDS;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static int64_t n_graphs_max(int32_t max_seqs) {
    int64_t n_kinds = 0;
    for (int32_t n = 1; n <= max_seqs && n_kinds < GRAPHS_MAX; n++)
        n_kinds += glm_cuda_together_kind(n) + 1;
    return rt_min64(n_kinds, GRAPHS_MAX);
}

/* Kernels of a step: in a layer four products, of each of which cuBLASLt may make two kernels; two of attention, append, two
 * norms, swiglu; of ranks two sums and roundings. */
static int64_t n_nodes(const glm_config *config, const glm_plan *plan) {
    const int64_t of_layer =
            4 * 2 + 2 + 1 + 2 + 1 + (config->has_post_norms ? 2 : 0) + (plan->sums_on_gpu ? 4 : 0);
    const int64_t of_ends = 1 + 1 + 2 + 1 + (plan->sums_on_gpu ? 4 : 0);
    return config->n_layers * of_layer + of_ends;
}

/* "Around 10KB per kernel node": NVIDIA/cccl, pull request 3768, of a cache of graphs. */
int64_t glm_cuda_graphs_bytes(const glm_config *config, const glm_plan *plan) {
    if (plan->n_streamed_layers > 0) return 0;
    return n_graphs_max(plan->max_seqs) * n_nodes(config, plan) * NODE_BYTES;
}

/* ---- open and close -------------------------------------------------------------------------- */

static rt_status record_nothing(rt_stream compute) {
    glm_cuda_graph graph = NULL;
    RT_TRY(glm_cuda_graph_begin(compute));
    const rt_status status = attn_cuda_merge_nothing(compute);
    const rt_status ended = glm_cuda_graph_end(compute, status == RT_OK, &graph);
    glm_cuda_graph_free(graph);
    return status == RT_OK ? ended : status;
}

/* Kernels that begin early are in graphs since CUDA 12.3, and a driver may be older: what it refuses in a step that is recorded
 * would leave all steps without graphs, and end a group of ranks. So it is asked beforehand. */
static rt_status look_for_early(const glm_engine *engine) {
    const glm_cuda_device *device = &engine->cuda->device;
    if (device->capability != 90 || device->waits_always || glm_cuda_streams(engine)) return RT_OK;
    RT_TRY(attn_cuda_merge_nothing(device->compute)); /* loaded, which is not done in a graph */
    if (record_nothing(device->compute) == RT_OK) return RT_OK;
    attn_cuda_merge_late();
    rt_log(RT_LOG_INFO, "engine", "decode's kernels begin one after the other: %s",
            rt_error_text());
    return RT_OK;
}

rt_status glm_cuda_graphs_open(glm_engine *engine) {
    RT_TRY(look_for_early(engine));
    return rt_calloc(
            n_places(engine), sizeof(glm_cuda_step_kind), "graphs", &engine->cuda->graphs.kinds);
}

static void drop(glm_cuda_graphs *graphs, glm_cuda_step_kind *kind) {
    glm_cuda_graph_free(kind->graph);
    kind->graph = NULL;
    graphs->n--;
}

void glm_cuda_graphs_close(glm_engine *engine) {
    glm_cuda_graphs *graphs = &engine->cuda->graphs;
    for (int64_t i = 0; graphs->kinds && i < n_places(engine); i++)
        if (graphs->kinds[i].graph) drop(graphs, &graphs->kinds[i]);
    free(graphs->kinds);
    *graphs = (glm_cuda_graphs){0};
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* Of those that there are, the one that was launched least lately. */
static glm_cuda_step_kind *oldest(const glm_engine *engine) {
    const glm_cuda_graphs *graphs = &engine->cuda->graphs;
    glm_cuda_step_kind *found = NULL;
    for (int64_t i = 0; i < n_places(engine); i++) {
        glm_cuda_step_kind *kind = &graphs->kinds[i];
        if (kind->graph && (!found || kind->last_step < found->last_step)) found = kind;
    }
    return found;
}

static bool make_room(glm_engine *engine) {
    glm_cuda_graphs *graphs = &engine->cuda->graphs;
    if (graphs->n < GRAPHS_MAX) return true;
    glm_cuda_step_kind *kind = oldest(engine);
    if (graphs->n_steps - kind->last_step <= IDLE_STEPS) return false;
    drop(graphs, kind);
    return true;
}

/* *out is NULL where CUDA refuses, and rt_error_text says why. An error where sums over ranks were called for in vain: that
 * is not done twice. */
static rt_status record(glm_engine *engine, const glm_cuda_tokens *tokens, glm_cuda_graph *out) {
    rt_status status = glm_cuda_graph_begin(compute_of(engine));
    *out = NULL;
    if (status == RT_OK) {
        status = glm_cuda_queue_step(engine, tokens);
        (void)!glm_cuda_graph_end(compute_of(engine), status == RT_OK, out);
    }
    return engine->plan.sums_on_gpu ? status : RT_OK;
}

/* How it went: what a graph took is what the plan has guessed. */
static void say(int32_t n, bool is_made, int64_t free_before) {
    if (!is_made)
        rt_log(RT_LOG_WARN, "engine", "decode goes on without a graph, which is slower: %s",
                rt_error_text());
    else if (rt_log_enabled(RT_LOG_INFO, "engine"))
        rt_log(RT_LOG_INFO, "engine", "graph of a decode step seqs=%" PRId32 " gpu_bytes=%" PRId64,
                n, free_before - glm_cuda_free_now());
}

static rt_status make(glm_engine *engine, const glm_cuda_tokens *tokens, glm_cuda_step_kind *kind) {
    glm_cuda_graphs *graphs = &engine->cuda->graphs;
    const bool is_wanted = !engine->cuda->device.waits_always;
    const bool is_told = rt_log_enabled(RT_LOG_INFO, "engine");
    const int64_t free_before = is_told ? glm_cuda_free_now() : 0;
    if (is_wanted) RT_TRY(record(engine, tokens, &kind->graph));
    const bool is_mine = kind->graph != NULL;
    int64_t are_all = is_mine;
    graphs->n += is_mine;
    if (is_wanted) say(tokens->n, is_mine, free_before);
    RT_TRY(glm_step_smallest(engine, &are_all));
    if (are_all) return RT_OK;
    graphs->is_refused = true;
    if (is_mine) drop(graphs, kind);
    return RT_OK;
}

rt_status glm_cuda_graph_step(glm_engine *engine, const glm_cuda_tokens *tokens) {
    glm_cuda *cuda = engine->cuda;
    glm_cuda_graphs *graphs = &cuda->graphs;
    glm_cuda_step_kind *kind = &graphs->kinds[tokens->n * GLM_CUDA_TOGETHER_KINDS +
                                              glm_cuda_together_kind(cuda->passes.n_together)];
    const bool is_first = kind->last_step == 0;
    kind->last_step = ++graphs->n_steps;
    if (!is_first && !kind->graph && !graphs->is_refused && make_room(engine))
        RT_TRY(make(engine, tokens, kind));
    if (!kind->graph) return glm_cuda_queue_step(engine, tokens);
    RT_TRY(glm_cuda_graph_launch(kind->graph, compute_of(engine)));
    return glm_cuda_step_done(&cuda->device, "a decode step");
}
