/* Decode steps as graphs. What is queued for a step of the same kind differs in nothing but what it reads from the device's memory:
 * it is recorded once, and launched from then on, so that no kernel waits for the host.
 *
 *   at once     All of a step whose pages are all on the device is one graph. Of a kind are steps of as many sequences, and of
 *               as many in a pass up to a power of two.
 *   by layers   Where pages come and go, one a layer: all that lies between the attention of the layer before and its own,
 *               which differs by windows. Of a kind are steps of as many sequences.
 *
 * The first step of a kind is taken as it comes, to its end: libraries set themselves up in it, NCCL its connections for sums of
 * this size. A kind that comes along now and then, as one by layers does that fills an extent, is no reason to make any.
 *
 * A driver keeps graphs in memory of the device. So there are those of AT_ONCE_MAX and BY_LAYERS_MAX kinds at most, which the plan
 * counts; then one that has not been taken for a while gives way to the next, and where there is none a step is taken as it comes. So
 * are all steps of which CUDA refuses to make a graph, for want of memory or otherwise, or of which one would leave too little for
 * what is loaded later: the bits are the same, and it is said once. Ranks have the graphs of a step all or none: NCCL may sum
 * otherwise in one. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/size.h"
#include "engine_cuda.h"
#include "ranks.h"

enum {
    AT_ONCE_MAX = 16,
    BY_LAYERS_MAX = 4,
    IDLE_STEPS = 64, /* a while: more than recording anew takes */
    NODE_BYTES = 10 << 10,
    LEFT_BYTES = 64 << 20
};

static rt_stream compute_of(const glm_engine *engine) {
    return engine->cuda->device.compute;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static int64_t n_kinds_max(const glm_plan *plan) {
    int64_t n_at_once = 0;
    for (int32_t n = 1; n <= plan->max_seqs && n_at_once < AT_ONCE_MAX; n++)
        n_at_once += glm_cuda_together_kind(n) + 1;
    const int64_t n_by_layers = plan->kv_overflows ? plan->max_seqs : 0;
    return rt_min64(n_at_once, AT_ONCE_MAX) + rt_min64(n_by_layers, BY_LAYERS_MAX);
}

/* Kernels of a step: in a layer four products, of each of which cuBLASLt may make two kernels; two of attention and append, which by
 * layers are in no graph; two norms, swiglu; of ranks two sums and roundings. */
static int64_t n_nodes(const glm_config *config, const glm_plan *plan) {
    const int64_t of_layer =
            4 * 2 + 2 + 1 + 2 + 1 + (config->has_post_norms ? 2 : 0) + (plan->sums_on_gpu ? 4 : 0);
    const int64_t of_ends = 1 + 1 + 2 + 1 + (plan->sums_on_gpu ? 4 : 0);
    return config->n_layers * of_layer + of_ends;
}

/* "Around 10KB per kernel node": NVIDIA/cccl, pull request 3768, of a cache of graphs. */
int64_t glm_cuda_graphs_bytes(const glm_config *config, const glm_plan *plan) {
    if (plan->n_streamed_layers > 0) return 0;
    return n_kinds_max(plan) * n_nodes(config, plan) * NODE_BYTES;
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

static rt_status open_kinds(glm_cuda_graphs *graphs, int64_t n_kinds, int32_t n_each) {
    *graphs = (glm_cuda_graphs){.n_kinds = n_kinds, .n_each = n_each};
    return rt_calloc(n_kinds, sizeof *graphs->kinds, "graphs", &graphs->kinds);
}

rt_status glm_cuda_graphs_open(glm_engine *engine) {
    glm_cuda *cuda = engine->cuda;
    const int64_t n = (int64_t)engine->plan.max_seqs + 1;
    RT_TRY(look_for_early(engine));
    RT_TRY(open_kinds(&cuda->at_once, n * GLM_CUDA_TOGETHER_KINDS, 1));
    return open_kinds(&cuda->by_layers, n, engine->config.n_layers + 1);
}

static void drop(const glm_cuda_graphs *graphs, glm_cuda_step_kind *kind) {
    for (int32_t i = 0; kind->graphs && i < graphs->n_each; i++)
        glm_cuda_graph_free(kind->graphs[i]);
    free(kind->graphs);
    kind->graphs = NULL;
}

static void close_kinds(glm_cuda_graphs *graphs) {
    for (int64_t i = 0; graphs->kinds && i < graphs->n_kinds; i++) drop(graphs, &graphs->kinds[i]);
    free(graphs->kinds);
    *graphs = (glm_cuda_graphs){0};
}

void glm_cuda_graphs_close(glm_engine *engine) {
    close_kinds(&engine->cuda->at_once);
    close_kinds(&engine->cuda->by_layers);
}

/* ---- making room ----------------------------------------------------------------------------- */

static bool is_idle(const glm_cuda *cuda, const glm_cuda_step_kind *kind) {
    return cuda->n_steps - kind->last_step >= IDLE_STEPS;
}

/* Of those that have graphs, the one that was taken least lately. */
static glm_cuda_step_kind *oldest(const glm_cuda_graphs *graphs) {
    glm_cuda_step_kind *found = NULL;
    for (int64_t i = 0; i < graphs->n_kinds; i++) {
        glm_cuda_step_kind *kind = &graphs->kinds[i];
        if (kind->graphs && (!found || kind->last_step < found->last_step)) found = kind;
    }
    return found;
}

static bool make_room(const glm_cuda *cuda, glm_cuda_graphs *graphs, int32_t n_max) {
    if (graphs->n < n_max) return true;
    glm_cuda_step_kind *kind = oldest(graphs);
    if (!is_idle(cuda, kind)) return false;
    drop(graphs, kind);
    graphs->n--;
    return true;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* A step whose graphs are wanted. */
typedef struct wanted {
    glm_engine *engine;
    const glm_cuda_tokens *tokens;
    glm_cuda_graphs *graphs; /* of its way, and among those */
    glm_cuda_step_kind *kind;
    const glm_cuda_layer *layer; /* by layers: whose weights were taken last */
} wanted;

static bool is_by_layers(const wanted *w) {
    return w->graphs == &w->engine->cuda->by_layers;
}

static rt_status queue(wanted *w, int32_t index) {
    return is_by_layers(w) ? glm_cuda_queue_between(w->engine, index, w->tokens->n, &w->layer)
                           : glm_cuda_queue_step(w->engine, w->tokens);
}

/* *out is NULL where CUDA refuses, and rt_error_text says why; and where it is not to be kept. */
static rt_status record_one(wanted *w, int32_t index, bool is_kept, glm_cuda_graph *out) {
    RT_TRY(glm_cuda_graph_begin(compute_of(w->engine)));
    const rt_status status = queue(w, index);
    (void)!glm_cuda_graph_end(compute_of(w->engine), status == RT_OK && is_kept, out);
    return status;
}

/* What graphs take nobody tells; whole ones of others' models took 24 MiB (vllm-project/vllm, issue 50780), more with older drivers (issue
 * 5517). Kernels that are loaded later, and NCCL's connections, are to find their memory: without it a step fails. */
static bool is_enough_left(void) {
    char left[RT_SIZE_TEXT];
    const int64_t bytes = glm_cuda_free_now();
    if (bytes < 0 || bytes >= LEFT_BYTES) return true;
    (void)!rt_fail(RT_ENOMEM, "cuda: with graphs %s of the GPU's memory would be left",
            rt_format_bytes(bytes, left));
    return false;
}

/* All, or kind->graphs is NULL. Behind one that is refused the others are still recorded, as each rank is to call for all
 * sums. An error where those were called for in vain: that is not done twice. */
static rt_status record(wanted *w) {
    glm_cuda_graph **graphs = &w->kind->graphs;
    rt_status status = rt_calloc(w->graphs->n_each, sizeof **graphs, "graphs", graphs);
    bool are_all = status == RT_OK;
    for (int32_t i = 0; i < w->graphs->n_each && status == RT_OK; i++) {
        status = record_one(w, i, are_all, *graphs + i);
        are_all = (*graphs)[i] != NULL;
    }
    if (!are_all || !is_enough_left()) drop(w->graphs, w->kind);
    return w->engine->plan.sums_on_gpu ? status : RT_OK;
}

/* How it went: what graphs took is what the plan has guessed. */
static void say(const wanted *w, bool are_made, int64_t free_before) {
    if (!are_made)
        rt_log(RT_LOG_WARN, "engine", "decode goes on without a graph, which is slower: %s",
                rt_error_text());
    else if (rt_log_enabled(RT_LOG_INFO, "engine"))
        rt_log(RT_LOG_INFO, "engine", "%s seqs=%" PRId32 " gpu_bytes=%" PRId64,
                is_by_layers(w) ? "graphs of a decode step, one a layer,"
                                : "graph of a decode step",
                w->tokens->n, free_before - glm_cuda_free_now());
}

static rt_status make(wanted *w) {
    glm_engine *engine = w->engine;
    const bool is_wanted = !engine->cuda->device.waits_always;
    const bool is_told = rt_log_enabled(RT_LOG_INFO, "engine");
    const int64_t free_before = is_told ? glm_cuda_free_now() : 0;
    if (is_wanted) RT_TRY(record(w));
    int64_t are_all = w->kind->graphs != NULL;
    if (is_wanted) say(w, are_all, free_before);
    const rt_status status = glm_step_smallest(engine, &are_all);
    if (status == RT_OK && are_all) {
        w->graphs->n++;
        return RT_OK;
    }
    w->graphs->is_refused = true;
    drop(w->graphs, w->kind);
    return status;
}

/* ---- a step ---------------------------------------------------------------------------------- */

static bool is_due(const wanted *w) {
    return w->kind->has_run && !is_idle(w->engine->cuda, w->kind) && !w->kind->graphs &&
           !w->graphs->is_refused;
}

static rt_status find_or_make(wanted *w, int32_t n_max) {
    glm_cuda *cuda = w->engine->cuda;
    const bool is_made_now = is_due(w) && make_room(cuda, w->graphs, n_max);
    w->kind->last_step = ++cuda->n_steps;
    return is_made_now ? make(w) : RT_OK;
}

rt_status glm_cuda_graph_step(glm_engine *engine, const glm_cuda_tokens *tokens) {
    glm_cuda *cuda = engine->cuda;
    const int32_t together = glm_cuda_together_kind(cuda->passes.n_together);
    glm_cuda_step_kind *kind = &cuda->at_once.kinds[tokens->n * GLM_CUDA_TOGETHER_KINDS + together];
    wanted w = {.engine = engine, .tokens = tokens, .graphs = &cuda->at_once, .kind = kind};
    RT_TRY(find_or_make(&w, AT_ONCE_MAX));
    if (kind->graphs) {
        RT_TRY(glm_cuda_graph_launch(kind->graphs[0], compute_of(engine)));
        return glm_cuda_step_done(&cuda->device, "a decode step");
    }
    RT_TRY(glm_cuda_queue_step(engine, tokens));
    kind->has_run = true;
    return RT_OK;
}

rt_status glm_cuda_graph_layers(
        glm_engine *engine, const glm_cuda_tokens *tokens, glm_cuda_step_kind **out) {
    glm_cuda_graphs *graphs = &engine->cuda->by_layers;
    *out = &graphs->kinds[tokens->n];
    wanted w = {.engine = engine, .tokens = tokens, .graphs = graphs, .kind = *out};
    return find_or_make(&w, BY_LAYERS_MAX);
}
