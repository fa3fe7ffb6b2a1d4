/* Logits by the CUDA backend: within the 2x rule of the exact ones, whatever the length and the kernels, and the
 * same bits in whatever order the device does what the program's events allow, by graph or without, and with weights
 * that come layer by layer; tokens that a step draws are those that its logits lead to; what the device is asked
 * for is what the plan says; every position's logits, given as a prefill goes, are those asked for by name. With fp8 KV within twice the CPU's own error with it, and the same bits whatever the
 * chunk.
 *
 * Method: random models on a GPU that tests/standin plays; the plain definition in fp64 and in bf16. Prefill
 * lengths around a page, then four decode steps: the first as it comes, the rest as a graph. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N_STEPS = 4, N_MAX = 300 + N_STEPS, VOCAB = 272 };

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
    glm_engine *cuda = help_engine_open(dir, "cuda", NULL, N_MAX, 0);
    glm_engine *cpu = help_engine_open(dir, "cpu", NULL, N_MAX, 0);
    for (int i = 0; i < n; i++) check_length(cuda, cpu, dir, lengths[i]);
    glm_engine_close(cuda);
    glm_engine_close(cpu);
}

typedef struct way {
    standin_order order;
    uint64_t seed;
    bool syncs;
    int64_t weights_bytes; /* of the device's memory; 0: as there is */
} way;

static glm_plan plan; /* of the last engine */

/* What graphs take besides is the driver's: 10 KiB a node. */
static void check_bill(void) {
    const standin_cuda *gpu = standin_cuda_get();
    const int64_t planned = plan.gpu_total_bytes - plan.driver_bytes;
    const int64_t off = gpu->device_bytes_max - planned;
    const bool has_graphs = gpu->n_graph_nodes_max * 10240 <= plan.graphs_bytes;
    if (off >= -planned / 1000 && off <= 0 && has_graphs) return;
    printf("FAIL: %lld bytes of the device were taken, %lld planned; %lld nodes, %lld bytes planned\n",
            (long long)gpu->device_bytes_max, (long long)planned, (long long)gpu->n_graph_nodes_max,
            (long long)plan.graphs_bytes);
    n_failed++;
}

static float *run_in_order(const char *dir, int64_t n, way w) {
    const int64_t wanted[] = {5, n - 1};
    const glm_options options = {.model_dir = dir,
            .device = "cuda",
            .device_weights_bytes = w.weights_bytes,
            .max_len = N_MAX,
            .chunk = n / 3 + 5, /* 3 chunks, queued at once */
            .max_logits = 8,
            .threads = 1};
    standin_cuda *gpu = standin_cuda_get();
    glm_engine *engine = NULL;
    gpu->order = w.order;
    gpu->seed = w.seed;
    gpu->device_bytes_max = gpu->n_graph_nodes_max = 0;
    (void)setenv("GLM_SYNC", w.syncs ? "1" : "0", 1);
    help_require(glm_engine_open(&options, &engine), "engine");
    float *logits = help_engine_logits(engine, ids, n, wanted, 2, N_STEPS);
    plan = *glm_engine_plan(engine);
    glm_engine_close(engine);
    check_bill();
    return logits;
}

static void check_same(const char *dir, int64_t n, way w, const float *expected) {
    float *other = run_in_order(dir, n, w);
    if (memcmp(other, expected, (size_t)(2 + N_STEPS) * 272 * sizeof(float)) != 0) {
        printf("FAIL: other logits in order %d %llu, %d layers come from the host\n", w.order,
                (unsigned long long)w.seed, plan.n_streamed_layers);
        n_failed++;
    }
    free(other);
}

static void check_orders(const char *dir) {
    static const way ways[] = {{STANDIN_EARLY, 0, false, 0}, {STANDIN_LATE, 0, true, 0},
            {STANDIN_RANDOM, 2, false, 0}, {STANDIN_RANDOM, 3, false, 0}};
    standin_cuda *gpu = standin_cuda_get();
    const int64_t n_launches = gpu->n_graph_launches;
    float *late = run_in_order(dir, 130, (way){STANDIN_LATE, 0, false, 0});
    if (gpu->n_graph_launches != n_launches + N_STEPS - 1) {
        printf("FAIL: %lld graphs were launched\n",
                (long long)(gpu->n_graph_launches - n_launches));
        n_failed++;
    }
    for (int i = 0; i < 4; i++) check_same(dir, 130, ways[i], late);
    free(late);
    gpu->order = STANDIN_LATE;
}

enum { N_FP8 = 254 };

static float *run_fp8(const char *dir, const char *device, int64_t chunk, const int64_t *wanted) {
    standin_cuda *gpu = standin_cuda_get();
    gpu->device_bytes_max = gpu->n_graph_nodes_max = 0;
    glm_engine *engine = help_engine_open(dir, device, "fp8", N_MAX, chunk);
    float *logits = help_engine_logits(engine, ids, N_FP8, wanted, 2, N_STEPS);
    plan = *glm_engine_plan(engine);
    if (plan.on_gpu) check_bill();
    glm_engine_close(engine);
    return logits;
}

/* The CPU's error is that of rounding; the GPU's may be as far again. The steps fill a page and begin the next. */
static void check_fp8(const char *dir, int32_t capability) {
    const int64_t wanted[2 + N_STEPS] = {130, N_FP8 - 1, N_FP8, N_FP8 + 1, N_FP8 + 2, N_FP8 + 3};
    const int64_t n = (2 + N_STEPS) * 272;
    standin_cuda_get()->capability = capability;
    standin_cuda_get()->order = STANDIN_RANDOM;
    double *exact = help_model_logits(dir, ids, N_FP8 + N_STEPS, false, wanted, 2 + N_STEPS);
    double *rounded = calloc((size_t)n, sizeof *rounded);
    float *on_cpu = run_fp8(dir, "cpu", 0, wanted);
    float *whole = run_fp8(dir, "cuda", 0, wanted);
    float *in_chunks = run_fp8(dir, "cuda", 48, wanted);
    for (int64_t i = 0; i < n; i++) rounded[i] = (double)on_cpu[i];
    n_failed += !help_model_is_near("cuda, fp8", whole, exact, rounded, n);
    if (memcmp(whole, in_chunks, (size_t)n * sizeof *whole) != 0) {
        printf("FAIL: other logits with fp8 and another chunk\n");
        n_failed++;
    }
    standin_cuda_get()->order = STANDIN_LATE;
    free(exact);
    free(rounded);
    free(on_cpu);
    free(whole);
    free(in_chunks);
}

/* Some layers stay and three come; all come. A layer comes while the one before is computed, but for the very first. */
static void check_streamed(const char *dir, uint64_t n_seeds) {
    const int64_t n = 40;
    float *late = run_in_order(dir, n, (way){STANDIN_LATE, 0, false, 0});
    const int64_t all = plan.weights_bytes;
    standin_cuda_get()->n_exposed = 0;
    check_same(dir, n, (way){STANDIN_COPIES, 0, false, all - 1}, late);
    if (standin_cuda_get()->n_exposed > 1) {
        printf("FAIL: %lld layers came when they were waited for\n",
                (long long)standin_cuda_get()->n_exposed);
        n_failed++;
    }
    const int64_t layer = all - plan.weights_bytes;
    if (plan.n_streamed_layers != 3 || plan.weights_host_bytes != 3 * layer) {
        printf("FAIL: %d layers come from the host\n", plan.n_streamed_layers);
        n_failed++;
    }
    for (uint64_t seed = 4; seed < 4 + n_seeds; seed++)
        check_same(
                dir, n, (way){STANDIN_RANDOM, seed, false, all - (seed % 2 ? 3 * layer : 1)}, late);
    free(late);
    standin_cuda_get()->order = STANDIN_LATE;
}

/* Sessions of the same text, one greedy and the others not, decoded together: the tokens that the device draws, without
 * the logits, are glm_sample's of the same logits, which are there all the same when they are asked for. */
static void check_draws(const char *dir) {
    enum { N = 4 };
    static const glm_sampling how[N] = {{.top_p = 1.0f},
            {.temperature = 0.9f, .top_p = 0.8f, .seed = 5},
            {.temperature = 1.5f, .top_p = 1.0f, .min_p = 0.3f, .seed = 6},
            {.temperature = 1.5f, .top_p = 0.9f, .top_k = 20, .min_p = 0.1f, .seed = 7}};
    glm_engine *engine = NULL;
    glm_session *sessions[N];
    const glm_options options = {.model_dir = dir,
            .device = "cuda",
            .max_len = 64,
            .max_seqs = N,
            .extra_kv_tokens = N * 128,
            .threads = 1};
    int64_t n_copied = 0;
    int32_t chosen[N];
    help_require(glm_engine_open(&options, &engine), "engine");
    for (int i = 0; i < N; i++) {
        help_require(glm_session_create(engine, 32, &sessions[i]), "session");
        help_require(glm_prefill(sessions[i], ids, 5), "prefill");
        help_require(glm_session_choose(sessions[i], 260, &how[i], 0, &chosen[i]), "a token");
    }
    for (int64_t step = 1; step < 2 + N_STEPS; step++) {
        help_require(glm_decode(sessions, chosen, N), "decode");
        for (int i = 0; i < N; i++) {
            const int64_t before = standin_cuda_get()->n_calls;
            const float *logits = NULL;
            int64_t n_rows = 0;
            int32_t expected = 0;
            help_require(
                    glm_session_choose(sessions[i], 260, &how[i], step, &chosen[i]), "a token");
            n_copied += standin_cuda_get()->n_calls - before;
            if (step % 2) continue; /* as a rule nobody asks */
            help_require(glm_session_logits(sessions[i], &logits, &n_rows), "logits");
            help_require(glm_sample(logits, 272, 260, &how[i], step, &expected), "a token");
            if (expected == chosen[i]) continue;
            printf("FAIL: step %lld drew %d, its logits lead to %d\n", (long long)step, chosen[i],
                    expected);
            n_failed++;
        }
    }
    if (n_copied != 0) {
        printf("FAIL: logits were brought for tokens that were drawn\n");
        n_failed++;
    }
    for (int i = 0; i < N; i++) glm_session_free(sessions[i]);
    glm_engine_close(engine);
}

/* Sessions that add one token, a few and more, in one pass: the bits of one after another. */
static void check_together(const char *dir, standin_order order) {
    enum { N = 4 };
    static const int64_t n_before[N] = {5, 130, 9, 120};
    static const int64_t n_ids[N] = {1, 3, 1, 20};
    static float apart[N][VOCAB];
    const glm_options options = {.model_dir = dir,
            .device = "cuda",
            .max_len = 160,
            .max_seqs = N,
            .extra_kv_tokens = N * 256,
            .chunk = 48,
            .threads = 1};
    for (int is_together = 0; is_together < 2; is_together++) {
        glm_engine *engine = NULL;
        glm_session *sessions[N];
        const int32_t *added[N];
        standin_cuda_get()->order = is_together ? order : STANDIN_LATE;
        help_require(glm_engine_open(&options, &engine), "engine");
        for (int i = 0; i < N; i++) {
            added[i] = ids + n_before[i];
            help_require(glm_session_create(engine, 160, &sessions[i]), "session");
            help_require(glm_prefill(sessions[i], ids, n_before[i]), "prefill");
            if (is_together) continue;
            help_require(n_ids[i] == 1 ? glm_decode(&sessions[i], added[i], 1)
                                       : glm_prefill(sessions[i], added[i], n_ids[i]),
                    "alone");
            help_engine_row(sessions[i], apart[i], VOCAB);
        }
        if (is_together) help_require(glm_prefill_together(sessions, added, n_ids, N), "together");
        for (int i = 0; i < N; i++) {
            float row[VOCAB];
            if (is_together) help_engine_row(sessions[i], row, VOCAB);
            if (is_together && memcmp(row, apart[i], sizeof row) != 0) {
                printf("FAIL: other logits together, session %d\n", i);
                n_failed++;
            }
            glm_session_free(sessions[i]);
        }
        glm_engine_close(engine);
    }
    standin_cuda_get()->order = STANDIN_LATE;
}

/* Every position's, given as the prefill goes: those of positions asked for by name. */
typedef struct every {
    float *rows;
    int64_t n;
} every;

static rt_status take(void *context, int64_t at, int64_t n, const float *logits) {
    every *e = context;
    n_failed += at != e->n;
    memcpy(e->rows + at * VOCAB, logits, (size_t)(n * VOCAB) * sizeof *logits);
    e->n += n;
    return RT_OK;
}

static void check_every_row(const char *dir) {
    enum { N = 200, N_WANTED = 5 };
    const int64_t wanted[N_WANTED] = {0, 7, 8, 128, N - 1};
    glm_engine *engine = help_engine_open(dir, "cuda", NULL, N, 128);
    glm_session *session = NULL;
    glm_prefill_progress progress = {0};
    every e = {.rows = calloc((size_t)N * VOCAB, sizeof(float))};
    float *named = help_engine_logits(engine, ids, N, wanted, N_WANTED, 0);
    help_require(glm_session_create(engine, N, &session), "session");
    help_require(glm_prefill_begin_all(session, ids, N, 0, take, &e), "begin");
    while (!progress.is_done) help_require(glm_prefill_step(session, &progress), "step");
    n_failed += e.n != N;
    for (int i = 0; i < N_WANTED; i++) {
        const float *row = e.rows + wanted[i] * VOCAB;
        if (memcmp(row, named + i * VOCAB, VOCAB * sizeof *row) == 0) continue;
        printf("FAIL: row %lld, given among all, is another\n", (long long)wanted[i]);
        n_failed++;
    }
    free(named);
    free(e.rows);
    glm_session_free(session);
    glm_engine_close(engine);
}

static void check_nothing_is_left(void) {
    const standin_cuda *gpu = standin_cuda_get();
    if (gpu->n_objects == 0 && gpu->device_bytes == 0) return;
    printf("FAIL: %lld objects and %lld bytes of the device are left\n", (long long)gpu->n_objects,
            (long long)gpu->device_bytes);
    n_failed++;
}

int main(void) {
    const int64_t lengths[] = {1, 127, 128, 129, 300};
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    help_engine_ids(ids, N_MAX, 3);
    check_model(help_model_for_gpu(false), 80, lengths, is_fast ? 4 : 5);
    if (!is_fast) check_model(help_model_for_gpu(false), 90, lengths + 3, 1);
    check_model(help_model_for_gpu(true), 80, lengths, 2);
    check_fp8(help_model_for_gpu(false), 80);
    if (!is_fast) check_fp8(help_model_for_gpu(false), 90);
    standin_plain_use(is_fast); /* what follows is about the host's code */
    check_orders(help_model_for_gpu(false));
    check_every_row(help_model_for_gpu(false));
    check_streamed(help_model_for_gpu(true), is_fast ? 1 : 4);
    check_draws(help_model_for_gpu(false));
    if (!is_fast) check_together(help_model_for_gpu(false), STANDIN_LATE);
    check_together(help_model_for_gpu(false), STANDIN_RANDOM);
    check_nothing_is_left();
    return n_failed ? 1 : 0;
}
