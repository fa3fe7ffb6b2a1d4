/* On a real GPU: logits within the 2x rule of the exact ones whatever the length, by tokens, by chunks and by sessions
 * together, with weights that come layer by layer, with fp8 KV; the same command twice gives the same bits.
 *
 * Method: random models; the plain definition in fp64 and in bf16. The CPU's logits are held to the same rule beside
 * them. Where there is no GPU it skips; test_engine_cuda_logits asks the same of the backend on what plays one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"

enum { N_STEPS = 4, N_MAX = 1100 + N_STEPS, N_ROWS = 3 + N_STEPS, VOCAB = 272 };

static int n_failed;
static int32_t ids[N_MAX];

typedef struct truth {
    double *exact, *rounded;
    int64_t n_wanted, n_rows; /* prefilled; and those of the steps */
    int64_t wanted[N_ROWS];
} truth;

/* Prefilled rows: the last, and where there are many an early one and one in the middle; then those of the steps. */
static truth find_truth(const char *dir, int64_t n) {
    truth t = {0};
    if (n > 7) t.wanted[t.n_wanted++] = n / 7;
    if (n > 7) t.wanted[t.n_wanted++] = n / 2;
    t.wanted[t.n_wanted++] = n - 1;
    t.n_rows = t.n_wanted;
    for (int64_t i = 0; i < N_STEPS; i++) t.wanted[t.n_rows++] = n + i;
    t.exact = help_model_logits(dir, ids, n + N_STEPS, false, t.wanted, t.n_rows);
    t.rounded = help_model_logits(dir, ids, n + N_STEPS, true, t.wanted, t.n_rows);
    return t;
}
static void free_truth(truth *t) {
    free(t->exact);
    free(t->rounded);
}

static float *logits_of(const glm_options *options, const truth *t, int64_t n) {
    glm_engine *engine = NULL;
    help_require(glm_engine_open(options, &engine), "engine");
    float *logits = help_engine_logits(engine, ids, n, t->wanted, t->n_wanted, N_STEPS);
    glm_engine_close(engine);
    return logits;
}

static glm_options on(const char *device, const char *dir, int64_t chunk) {
    return (glm_options){.model_dir = dir,
            .device = device,
            .max_len = N_MAX,
            .chunk = chunk,
            .max_logits = 8,
            .threads = 2};
}

static void check(const char *what, const glm_options *options, const truth *t, int64_t n) {
    char text[96];
    float *logits = logits_of(options, t, n);
    float *again = logits_of(options, t, n);
    const size_t n_numbers = (size_t)t->n_rows * VOCAB;
    (void)snprintf(text, sizeof text, "%s, %lld tokens", what, (long long)n);
    n_failed += !help_model_is_near(text, logits, t->exact, t->rounded, (int64_t)n_numbers);
    if (memcmp(logits, again, n_numbers * sizeof *logits) != 0) {
        printf("FAIL: %s: other bits the second time\n", text);
        n_failed++;
    }
    free(logits);
    free(again);
}

/* Weights of which one byte has no room: layers then come from the host, for each pass. */
static glm_options streamed_of(const char *dir) {
    glm_options options = on("cuda", dir, 0);
    glm_engine *engine = NULL;
    help_require(glm_engine_open(&options, &engine), "engine");
    options.device_weights_bytes = glm_engine_plan(engine)->weights_bytes - 1;
    glm_engine_close(engine);
    help_require(glm_engine_open(&options, &engine), "engine");
    printf("%d layers come from the host\n", glm_engine_plan(engine)->n_streamed_layers);
    n_failed += glm_engine_plan(engine)->n_streamed_layers == 0;
    glm_engine_close(engine);
    return options;
}

static void check_length(const char *dir, int64_t n, bool streams) {
    truth t = find_truth(dir, n);
    glm_options cpu = on("cpu", dir, 0);
    glm_options whole = on("cuda", dir, 0);
    glm_options cut = on("cuda", dir, n / 3 + 5);
    check("cpu", &cpu, &t, n);
    check("cuda", &whole, &t, n);
    check("cuda in chunks", &cut, &t, n);
    if (streams) {
        glm_options streamed = streamed_of(dir);
        check("cuda, layers from the host", &streamed, &t, n);
    }
    free_truth(&t);
}

/* What the CPU answers with fp8 KV is off by that; the GPU may be as far again. */
static void check_fp8(const char *dir, int64_t n) {
    truth t = find_truth(dir, n);
    glm_options cpu = on("cpu", dir, 0);
    glm_options cuda = on("cuda", dir, 0);
    cpu.kv_dtype = cuda.kv_dtype = "fp8";
    float *on_cpu = logits_of(&cpu, &t, n);
    for (int64_t i = 0; i < t.n_rows * VOCAB; i++) t.rounded[i] = (double)on_cpu[i];
    check("cuda, fp8", &cuda, &t, n);
    free(on_cpu);
    free_truth(&t);
}

/* Sessions that add one token, a few and more in one pass, and then decode together. */
static void check_together(const char *dir) {
    enum { N = 4 };
    static const int64_t n_before[N] = {5, 130, 9, 700};
    static const int64_t n_ids[N] = {1, 3, 1, 150};
    glm_options options = on("cuda", dir, 256);
    options.max_seqs = N;
    options.extra_kv_tokens = (int64_t)N * 1024;
    glm_engine *engine = NULL;
    glm_session *sessions[N];
    const int32_t *added[N];
    help_require(glm_engine_open(&options, &engine), "engine");
    for (int i = 0; i < N; i++) {
        added[i] = ids + n_before[i];
        help_require(glm_session_create(engine, 1024, &sessions[i]), "session");
        help_require(glm_prefill(sessions[i], ids, n_before[i]), "prefill");
    }
    help_require(glm_prefill_together(sessions, added, n_ids, N), "together");
    for (int i = 0; i < N; i++) {
        const int64_t wanted = n_before[i] + n_ids[i] - 1;
        double *exact = help_model_logits(dir, ids, wanted + 1, false, &wanted, 1);
        double *rounded = help_model_logits(dir, ids, wanted + 1, true, &wanted, 1);
        float row[VOCAB];
        char text[64];
        help_engine_row(sessions[i], row, VOCAB);
        (void)snprintf(text, sizeof text, "together, session %d", i);
        n_failed += !help_model_is_near(text, row, exact, rounded, VOCAB);
        free(exact);
        free(rounded);
        glm_session_free(sessions[i]);
    }
    glm_engine_close(engine);
}

int main(void) {
    help_engine_ids(ids, N_MAX, 3);
    const char *native = help_model_for_gpu(false), *with_norms = help_model_for_gpu(true);
    if (!help_engine_has_gpu(native)) return 77;
    const int64_t lengths[] = {1, 127, 128, 129, 300, 1100};
    for (int i = 0; i < 6; i++) check_length(native, lengths[i], false);
    check_length(with_norms, 257, true);
    check_fp8(native, 254);
    check_fp8(native, 1100);
    check_together(native);
    return n_failed ? 1 : 0;
}
