/* A driver that knows no graph with a kernel that begins early (those before CUDA 12.3), is asked when the engine is opened: decode
 * goes by graphs all the same, of one rank and of two, of which one alone refuses, with the same bits, and that its kernels begin
 * late is said. Where the driver knows them they do begin early.
 *
 * Method: a tiny random model on GPUs of compute capability 9.0 that tests/standin plays: what is refused while a graph is recorded
 * spoils it, and all that is queued then is refused. Room for two splits of keys: then there is something to merge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"
#include "help_ranks.h"
#include "help_said.h"
#include "runtime/base/log.h"
#include "standin/standin_cuda.h"

enum { N_IDS = 5, N_STEPS = 4, MAX_LEN = 8192, VOCAB = 272, N_LAYERS = 2 };

static int32_t ids[256];
static int n_failed;

static void require(bool condition, const char *what, int64_t number) {
    if (condition) return;
    printf("FAIL: %s (%lld)\n", what, (long long)number);
    n_failed++;
}

static float *steps(const char *model, int32_t n_ranks) {
    const glm_options options = {.model_dir = model,
            .device = "cuda",
            .tensor_parallel = n_ranks,
            .max_len = MAX_LEN,
            .threads = 1};
    const int64_t wanted[] = {N_IDS - 1};
    glm_engine *engine = NULL;
    standin_cuda_get()->n_graph_launches = standin_cuda_get()->n_early = 0;
    help_require(glm_engine_open(&options, &engine), "engine");
    float *logits = help_engine_logits(engine, ids, N_IDS, wanted, 1, N_STEPS);
    glm_engine_close(engine);
    require(standin_cuda_get()->n_graph_launches == N_STEPS - 1, "launches of graphs",
            standin_cuda_get()->n_graph_launches);
    return logits;
}

/* `refusing`: which device does. Late once, kernels of a process remain so: rank 0 is this process, and the other one refuses. */
static void check(const char *model, int32_t n_ranks, const char *refusing) {
    float *early = steps(model, n_ranks);
    /* Twice two that do nothing, a step as it comes and one that is recorded. */
    require(standin_cuda_get()->n_early == 2 * 2 + 2 * N_LAYERS, "kernels that begin early",
            standin_cuda_get()->n_early);
    (void)setenv("STANDIN_CUDA_NO_EARLY_ON", refusing, 1);
    float *late = steps(model, n_ranks);
    (void)unsetenv("STANDIN_CUDA_NO_EARLY_ON");
    require(memcmp(early, late, (1 + N_STEPS) * VOCAB * sizeof(float)) == 0,
            "other logits, of ranks", n_ranks);
    free(early);
    free(late);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    (void)setenv("STANDIN_CUDA_CAPABILITY", "90", 1);
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    (void)setenv("GLM_LOG", "info", 1);
    help_require(rt_log_init(), "log");
    help_engine_ids(ids, 256, 4);
    help_listen();
    check(help_model_of_two_ranks(), 2, "1");
    check(help_model_for_gpu(false), 1, "0");
    /* By rank 1, and then by this process. */
    require(help_said("kernels begin one after the other: ", NULL) == 2, "times that it is said",
            help_said("kernels begin one after the other: ", NULL));
    require(help_said("without a graph", NULL) == 0, "steps without a graph", 0);
    return n_failed ? 1 : 0;
}
