/* Logits by the CUDA backend: within the 2x rule of the exact ones, whatever the length and the kernels, and the
 * same bits in whatever order the device does what the program's events allow, by graph or without.
 *
 * Method: random models on a GPU that tests/standin plays; the plain definition in fp64 and in bf16. Prefill
 * lengths around a page, then four decode steps: the first as it comes, the rest as a graph. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_engine.h"
#include "help_model.h"
#include "standin/standin_cuda.h"

enum { N_STEPS = 4, N_MAX = 300 + N_STEPS };

static int n_failed;
static int32_t ids[N_MAX];

/* Prefilled rows: the first, one in the middle, the last; then those of the steps. */
static int64_t list_wanted(int64_t n, int64_t wanted[3 + N_STEPS]) {
    int64_t n_wanted = 0;
    if (n > 2) wanted[n_wanted++] = 0;
    if (n > 2) wanted[n_wanted++] = n / 2;
    wanted[n_wanted++] = n - 1;
    for (int64_t i = 0; i < N_STEPS; i++) wanted[n_wanted + i] = n + i;
    return n_wanted;
}

static void check_length(glm_engine *cuda, glm_engine *cpu, const char *dir, int64_t n) {
    int64_t wanted[3 + N_STEPS];
    const int64_t n_wanted = list_wanted(n, wanted);
    const int64_t n_rows = n_wanted + N_STEPS;
    const int64_t n_numbers = n_rows * glm_engine_config(cuda)->vocab;
    double *exact = help_model_logits(dir, ids, n + N_STEPS, false, wanted, n_rows);
    double *rounded = help_model_logits(dir, ids, n + N_STEPS, true, wanted, n_rows);
    float *got = help_engine_logits(cuda, ids, n, wanted, n_wanted, N_STEPS);
    float *on_cpu = help_engine_logits(cpu, ids, n, wanted, n_wanted, N_STEPS);
    char what[64];
    (void)snprintf(what, sizeof what, "cuda, %lld tokens", (long long)n);
    n_failed += !help_model_is_near(what, got, exact, rounded, n_numbers);
    (void)snprintf(what, sizeof what, "cpu, %lld tokens", (long long)n);
    n_failed += !help_model_is_near(what, on_cpu, exact, rounded, n_numbers);
    free(exact);
    free(rounded);
    free(got);
    free(on_cpu);
}

static void check_model(const char *dir, int32_t capability, const int64_t *lengths, int n) {
    standin_cuda_get()->capability = capability;
    glm_engine *cuda = help_engine_open(dir, "cuda", N_MAX, 0);
    glm_engine *cpu = help_engine_open(dir, "cpu", N_MAX, 0);
    for (int i = 0; i < n; i++) check_length(cuda, cpu, dir, lengths[i]);
    glm_engine_close(cuda);
    glm_engine_close(cpu);
}

static float *run_in_order(const char *dir, standin_order order, uint64_t seed, bool syncs) {
    const int64_t n = 130;
    const int64_t wanted[] = {5, n - 1};
    standin_cuda_get()->order = order;
    standin_cuda_get()->seed = seed;
    (void)setenv("GLM_SYNC", syncs ? "1" : "0", 1);
    glm_engine *engine = help_engine_open(dir, "cuda", N_MAX, 48); /* 3 chunks, queued at once */
    float *logits = help_engine_logits(engine, ids, n, wanted, 2, N_STEPS);
    glm_engine_close(engine);
    return logits;
}

static void check_orders(const char *dir) {
    const size_t bytes = (size_t)(2 + N_STEPS) * 272 * sizeof(float);
    standin_cuda *gpu = standin_cuda_get();
    const int64_t n_launches = gpu->n_graph_launches;
    float *late = run_in_order(dir, STANDIN_LATE, 0, false);
    if (gpu->n_graph_launches != n_launches + N_STEPS - 1) {
        printf("FAIL: %lld graphs were launched\n", (long long)(gpu->n_graph_launches - n_launches));
        n_failed++;
    }
    for (int i = 0; i < 4; i++) {
        float *other = i == 0   ? run_in_order(dir, STANDIN_EARLY, 0, false)
                       : i == 1 ? run_in_order(dir, STANDIN_LATE, 0, true)
                                : run_in_order(dir, STANDIN_RANDOM, (uint64_t)i, false);
        if (memcmp(other, late, bytes) != 0) {
            printf("FAIL: other logits in order %d\n", i);
            n_failed++;
        }
        free(other);
    }
    free(late);
    gpu->order = STANDIN_LATE;
}

static void check_nothing_is_left(void) {
    const standin_cuda *gpu = standin_cuda_get();
    if (gpu->n_objects == 0 && gpu->device_bytes == 0) return;
    printf("FAIL: %lld objects and %lld bytes of the device are left\n",
            (long long)gpu->n_objects, (long long)gpu->device_bytes);
    n_failed++;
}

int main(void) {
    const int64_t lengths[] = {1, 127, 128, 129, 300};
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    help_engine_ids(ids, N_MAX, 3);
    check_model(help_model_for_gpu(false), 80, lengths, is_fast ? 4 : 5);
    if (!is_fast) check_model(help_model_for_gpu(false), 90, lengths + 3, 1);
    check_model(help_model_for_gpu(true), 80, lengths, 2);
    check_orders(help_model_for_gpu(false));
    check_nothing_is_left();
    return n_failed ? 1 : 0;
}
