/* A decode step whose keys and values come and go is a graph for each layer, of what lies between its attention and that of the
 * layer before, and one that ends in the tokens: from the second step of as many sequences on, and with the bits that it has as it
 * comes, and where all is in memory. Where CUDA refuses one of them none is launched, which is said once; of ranks, which then
 * sum otherwise, none launches any. The plan counts with all their kernels, and nothing is left.
 *
 * Method: a text of an extent and a bit, as a book that the CPU made, goes on on one GPU and on two that tests/standin plays, which
 * counts graphs and their nodes: with memory for all of it, and with so little that the book comes through windows. Then a fork of
 * it takes part. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_dir.h"
#include "help_engine.h"
#include "help_needle.h"
#include "help_ranks.h"
#include "help_said.h"
#include "runtime/base/log.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum {
    N_BOOK = 4096 + 70,
    N_MAX = N_BOOK + 64,
    N_STEPS = 4,
    N_OF_BOTH = 2,
    N_LAYERS = 2,
    N_PIECES = N_LAYERS + 1,
    VOCAB = HELP_TWO_RANKS_VOCAB,
    NODE_BYTES = 10240
};

static const char *model;
static char dir[4096];
static int32_t ids[N_MAX];
static glm_plan plan; /* of the last engine */
static int n_failed;

typedef struct rows {
    float at[1 + N_STEPS + N_OF_BOTH][VOCAB];
} rows;

static void require(bool condition, const char *what, int64_t number) {
    if (condition) return;
    printf("FAIL: %s (%lld)\n", what, (long long)number);
    n_failed++;
}

static glm_engine *open_on(const char *device, int n_ranks, int64_t kv_bytes) {
    const glm_options options = {.model_dir = model,
            .device = device,
            .tensor_parallel = n_ranks,
            .device_kv_bytes = kv_bytes,
            .max_len = N_MAX,
            .max_seqs = 2,
            .extra_kv_tokens = 256,
            .chunk = 128};
    glm_engine *engine = help_engine_open_in(dir, options);
    plan = *glm_engine_plan(engine);
    return engine;
}

static void write_book(void) {
    (void)snprintf(dir, sizeof dir, "%s/r%%r", help_dir_in_memory());
    glm_engine *engine = open_on("cpu", 1, 0);
    help_engine_keep(engine, ids, N_BOOK, "text");
    glm_engine_close(engine);
}

/* Graphs that were launched in a step of n sequences. */
static int64_t step(glm_session *const *sessions, int32_t n, const int32_t *next, float *row) {
    const int64_t before = standin_cuda_get()->n_graph_launches;
    help_require(glm_decode(sessions, next, n), "decode");
    help_engine_row(sessions[0], row, VOCAB);
    return standin_cuda_get()->n_graph_launches - before;
}

/* The book and a few tokens more, one by one; then beside a fork, which has the first one's last token for another one.
 * n_expected: graphs launched in each step that is not the first of its kind. */
static void go_on(glm_engine *engine, int64_t n_expected, rows *out) {
    glm_session *both[2];
    glm_reuse reuse = {0};
    const int32_t *next = ids + N_BOOK;
    help_require(glm_session_create(engine, N_MAX, &both[0]), "session");
    help_require(glm_session_restore(both[0], ids, N_BOOK, &reuse), "restore");
    help_require(glm_prefill(both[0], ids + reuse.n_tokens, N_BOOK - reuse.n_tokens), "prefill");
    require(reuse.n_tokens == N_BOOK - 1, "tokens were restored", reuse.n_tokens);
    help_engine_row(both[0], out->at[0], VOCAB);
    for (int i = 0; i < N_STEPS; i++) {
        const int64_t n = step(both, 1, next + i, out->at[1 + i]);
        require(n == (i > 0 ? n_expected : 0), "graphs of a step", n);
    }
    help_require(glm_session_fork(both[0], N_BOOK + N_STEPS - 1, N_MAX, &both[1]), "fork");
    for (int i = 0; i < N_OF_BOTH; i++) {
        const int64_t n = step(both, 2, next + N_STEPS + 2 * i, out->at[1 + N_STEPS + i]);
        require(n == (i > 0 ? n_expected : 0), "graphs of a step of two", n);
    }
    glm_session_free(both[1]);
    glm_session_free(both[0]);
}

static void run(int n_ranks, int64_t kv_bytes, int64_t n_expected, rows *out) {
    standin_cuda *gpu = standin_cuda_get();
    gpu->n_graph_nodes_max = 0;
    glm_engine *engine = open_on("cuda", n_ranks, kv_bytes);
    go_on(engine, n_expected, out);
    require(gpu->n_graphs == 2 * n_expected, "graphs that there are", gpu->n_graphs);
    require(gpu->n_graph_nodes_max * NODE_BYTES <= plan.graphs_bytes,
            "nodes of graphs, and so many are not planned", gpu->n_graph_nodes_max);
    glm_engine_close(engine);
    require(gpu->n_graphs == 0 && gpu->n_objects == 0, "graphs are left", gpu->n_graphs);
}

static void compare(const char *what, int n_ranks, const rows *got, const rows *want) {
    if (memcmp(got, want, sizeof *got) == 0) return;
    printf("FAIL: %d GPUs: other logits %s\n", n_ranks, what);
    n_failed++;
}

static void check(int n_ranks) {
    static rows at_once, by_layers, as_they_come;
    standin_cuda *gpu = standin_cuda_get();
    int64_t bytes = 0;
    gpu->order = STANDIN_LATE;
    run(n_ranks, 0, 1, &at_once);
    const int64_t kv_bytes = help_engine_little_kv(&plan, N_LAYERS);
    gpu->order = STANDIN_RANDOM;
    const int64_t n_told = help_said("one a layer, seqs=2 ", &bytes);
    run(n_ranks, kv_bytes, N_PIECES, &by_layers);
    require(plan.kv_pinned_tokens < N_BOOK, "tokens stay, and all were not to",
            plan.kv_pinned_tokens);
    require(help_said("one a layer, seqs=2 ", &bytes) == n_told + n_ranks,
            "graphs that were told of", n_ranks);
    require(bytes > 0 && bytes <= plan.graphs_bytes, "bytes of graphs", bytes);
    compare("by graphs of layers", n_ranks, &by_layers, &at_once);
    const int64_t n_warned = help_said("without a graph", &bytes);
    gpu->refuses_graphs = n_ranks == 1;
    if (n_ranks > 1) (void)setenv("STANDIN_CUDA_NO_GRAPHS_ON", "1", 1);
    run(n_ranks, kv_bytes, 0, &as_they_come);
    gpu->refuses_graphs = false;
    require(help_said("without a graph", &bytes) == n_warned + 1, "warnings", n_warned);
    compare("without graphs", n_ranks, &as_they_come, &at_once);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    (void)setenv("STANDIN_CUDA_PLAIN", "1", 1); /* another rank's, too */
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    standin_plain_use(true); /* the kernels have tests of their own */
    (void)setenv("GLM_LOG", "info", 1);
    help_require(rt_log_init(), "log");
    help_engine_ids(ids, N_MAX, 21);
    model = help_model_of_two_ranks();
    write_book();
    help_listen();
    check(1);
    check(2);
    return n_failed ? 1 : 0;
}
