/* A decode step of which CUDA refuses to make a graph, as memory is short, or whose graph would leave too little of it, is taken as it
 * comes: the same bits, no failure, and one warning, however many steps there are; on several ranks none then launches a graph, whichever was refused. No
 * more graphs are kept than the plan counts with: the one that was used least lately gives way, when it was not for a while,
 * and steps that find no room have the bits of those that do.
 *
 * Method: a tiny random model on a GPU that tests/standin plays, which counts graphs and their nodes. Of seventeen sequences
 * the first n are decoded together, each n twice and a third time: more kinds of steps than places. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_engine.h"
#include "help_model.h"
#include "help_needle.h"
#include "help_ranks.h"
#include "help_said.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N = 17, N_KEPT = 16, N_IDLE = 64, N_IDS = 5, N_STEPS = 4, VOCAB = 272, NODE_BYTES = 10240 };

static int32_t ids[256];
static int n_failed;

static void require(bool condition, const char *what, int64_t number) {
    if (condition) return;
    printf("FAIL: %s (%lld)\n", what, (long long)number);
    n_failed++;
}

static glm_engine *open_gpu(int32_t max_seqs) {
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = "cuda",
            .max_len = 128,
            .max_seqs = max_seqs,
            .extra_kv_tokens = max_seqs > 1 ? max_seqs * 128 : 0,
            .threads = 1};
    glm_engine *engine = NULL;
    help_require(glm_engine_open(&options, &engine), "engine");
    return engine;
}

/* ---- refused --------------------------------------------------------------------------------- */

static float *steps(bool are_refused) {
    standin_cuda *gpu = standin_cuda_get();
    const int64_t wanted[] = {N_IDS - 1};
    gpu->refuses_graphs = are_refused;
    gpu->n_graph_launches = 0;
    glm_engine *engine = open_gpu(1);
    float *logits = help_engine_logits(engine, ids, N_IDS, wanted, 1, N_STEPS);
    glm_engine_close(engine);
    gpu->refuses_graphs = false;
    require(gpu->n_graph_launches == (are_refused ? 0 : N_STEPS - 1), "launches of graphs",
            gpu->n_graph_launches);
    return logits;
}

static void check_refused(void) {
    int64_t bytes = 0;
    standin_cuda_get()->n_graph_nodes_max = 0;
    float *as_graphs = steps(false);
    const int64_t expected = standin_cuda_get()->n_graph_nodes_max * NODE_BYTES;
    require(help_said("graph of a decode step seqs=1 ", &bytes) == 1, "graphs that were told of",
            0);
    require(bytes == expected, "bytes of a graph", bytes);
    float *as_they_come = steps(true);
    require(help_said("without a graph", NULL) == 1, "warnings",
            help_said("without a graph", NULL));
    require(memcmp(as_graphs, as_they_come, (1 + N_STEPS) * VOCAB * sizeof(float)) == 0,
            "other logits without graphs", 0);
    free(as_graphs);
    free(as_they_come);
}

/* A graph of `bytes`, of a device that has 80 MiB left: whether there is one, in the end. */
static bool is_kept(int64_t bytes, float rows[2][VOCAB]) {
    standin_cuda *gpu = standin_cuda_get();
    const int64_t all = gpu->memory_bytes;
    glm_session *session = NULL;
    glm_engine *engine = open_gpu(1);
    help_require(glm_session_create(engine, 32, &session), "session");
    help_require(glm_prefill(session, ids, N_IDS), "prefill");
    gpu->memory_bytes = gpu->device_bytes + 80 * (int64_t)RT_MIB;
    gpu->graph_bytes = bytes;
    for (int i = 0; i < 3; i++) help_require(glm_decode(&session, &ids[N_IDS + i], 1), "decode");
    const bool is_there = gpu->n_graphs == 1;
    help_engine_row(session, rows[is_there], VOCAB);
    glm_session_free(session);
    glm_engine_close(engine);
    gpu->memory_bytes = all;
    gpu->graph_bytes = 0;
    return is_there;
}

static void check_left(void) {
    static float rows[2][VOCAB];
    const int64_t before = help_said("without a graph", NULL);
    require(is_kept(8 * RT_MIB, rows), "no graph, though enough is left", 0);
    require(!is_kept(24 * RT_MIB, rows), "a graph that leaves too little", 0);
    require(help_said("without a graph", NULL) == before + 1, "warnings of too little left",
            help_said("without a graph", NULL));
    require(memcmp(rows[0], rows[1], sizeof rows[0]) == 0, "other logits with enough left", 0);
}

static float *steps_of_ranks(const char *model, int64_t *n) {
    const glm_options options = {
            .model_dir = model, .device = "cuda", .tensor_parallel = 2, .threads = 1};
    standin_cuda_get()->n_graph_launches = 0;
    return help_ranks_logits(&options, ids, 3 * N_STEPS, N_STEPS, n);
}

/* Rank 0, which this process is, could launch one. */
static void check_ranks(void) {
    const char *model = help_model_of_two_ranks();
    int64_t n = 0;
    float *as_graphs = steps_of_ranks(model, &n);
    require(standin_cuda_get()->n_graph_launches > 0, "graphs of two ranks", 0);
    (void)setenv("STANDIN_CUDA_NO_GRAPHS_ON", "1", 1);
    float *as_they_come = steps_of_ranks(model, &n);
    (void)unsetenv("STANDIN_CUDA_NO_GRAPHS_ON");
    require(standin_cuda_get()->n_graph_launches == 0, "graphs, though the other rank has none",
            standin_cuda_get()->n_graph_launches);
    require(memcmp(as_graphs, as_they_come, (size_t)n * sizeof *as_graphs) == 0,
            "other logits of two ranks without graphs", 0);
    free(as_graphs);
    free(as_they_come);
}

/* ---- kept ------------------------------------------------------------------------------------ */

/* One step of the first n, from where they all began. */
static void step(glm_session *const *sessions, int n, float (*rows)[VOCAB]) {
    for (int i = 0; i < n; i++) glm_session_truncate(sessions[i], N_IDS);
    help_require(glm_decode(sessions, ids + 10, n), "decode");
    for (int i = 0; i < n; i++) help_engine_row(sessions[i], rows[i], VOCAB);
}

static bool is_launched(glm_session *const *sessions, int n, float (*rows)[VOCAB]) {
    const int64_t before = standin_cuda_get()->n_graph_launches;
    step(sessions, n, rows);
    return standin_cuda_get()->n_graph_launches > before;
}

static void check_kept(void) {
    static float first[N + 1][N][VOCAB], again[N][VOCAB];
    const standin_cuda *gpu = standin_cuda_get();
    glm_session *sessions[N];
    glm_engine *engine = open_gpu(N);
    standin_cuda_get()->n_graph_nodes_max = 0;
    for (int i = 0; i < N; i++) {
        help_require(glm_session_create(engine, 32, &sessions[i]), "session");
        help_require(glm_prefill(sessions[i], ids + 3 * i, N_IDS), "prefill");
    }
    for (int n = 1; n <= N; n++) {
        step(sessions, n, first[n]);
        require(is_launched(sessions, n, again) == (n <= N_KEPT), "a graph, of sequences", n);
        require(memcmp(first[n], again, (size_t)n * sizeof again[0]) == 0,
                "other logits by graph, of sequences", n);
    }
    require(gpu->n_graphs == N_KEPT, "graphs", gpu->n_graphs);
    for (int i = 0; i < N_IDLE; i++) step(sessions, 2, again);
    require(!is_launched(sessions, N, again), "a graph of a kind that comes now and then", N);
    require(is_launched(sessions, N, again), "a graph that another one has made room for", N);
    require(memcmp(first[N], again, sizeof again) == 0, "other logits then, of sequences", N);
    require(gpu->n_graphs == N_KEPT, "graphs", gpu->n_graphs);
    require(gpu->n_graph_nodes_max * NODE_BYTES <= glm_engine_plan(engine)->graphs_bytes,
            "nodes of graphs, and so many are not planned", gpu->n_graph_nodes_max);
    for (int i = 0; i < N; i++) glm_session_free(sessions[i]);
    glm_engine_close(engine);
    require(gpu->n_graphs == 0 && gpu->n_objects == 0, "graphs are left", gpu->n_graphs);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    (void)setenv("STANDIN_CUDA_PLAIN", "1", 1); /* another rank's, too */
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    standin_plain_use(true);
    (void)setenv("GLM_LOG", "info", 1);
    help_require(rt_log_init(), "log");
    help_engine_ids(ids, 256, 4);
    help_listen();
    check_refused();
    check_left();
    check_kept();
    check_ranks();
    return n_failed ? 1 : 0;
}
