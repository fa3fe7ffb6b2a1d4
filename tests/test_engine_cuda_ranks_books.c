/* Books and ranks that are GPUs: what CPU ranks have written opens on any number of GPUs, and the other way round,
 * nothing computed again, logits within what rounding allows; and where the GPUs' memory does not hold the keys,
 * which then come from each rank's disk, window by window, they are the same bit for bit. Forks of such a book that are
 * decoded together have the bits of each alone, and what they share is read about once.
 *
 * Method: GPUs and NCCL that tests/standin plays, a random model of 4 query heads over 4 KV heads (foreign rows of keys
 * change its logits by their own size). A text of more than a segment, written by 2 CPU ranks, goes on on 4 GPUs,
 * with memory for it and without, and on 2, where forks take steps each by itself and then at once, either GPU in a random
 * order of its own; a short one is written by 4 GPUs. Bound as in test_engine_cuda_ranks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_ranks.h"
#include "standin/standin_cuda.h"

enum {
    N_LONG = 4096 + 1070,
    N_SHORT = 200,
    N_MORE = 5,
    N_STEPS = 2, /* as it comes, and a graph */
    VOCAB = 304,
    N_MAX = N_LONG + 64,
    N_FORKS = 3
};
static const double bound = 1.9e-2;

static int n_failed;
static const char *model;
static char dir[4096];
static int32_t ids[N_MAX];
static glm_plan plan;   /* of the last engine */
static int32_t n_forks; /* that it has room for */

typedef struct rows {
    float at[1 + N_STEPS][VOCAB];
} rows;

static glm_engine *open_on(const char *device, int n_ranks, int64_t kv_bytes) {
    const glm_options options = {.model_dir = model,
            .device = device,
            .tensor_parallel = n_ranks,
            .device_kv_bytes = kv_bytes,
            .max_len = N_MAX,
            .max_seqs = 1 + n_forks,
            .extra_kv_tokens = n_forks * (int64_t)N_MAX,
            .chunk = 128};
    glm_engine *engine = help_engine_open_in(dir, options);
    plan = *glm_engine_plan(engine);
    return engine;
}

static void write_book(const char *device, int n_ranks, int64_t n) {
    (void)snprintf(dir, sizeof dir, "%s/r%%r", help_dir_in_memory());
    glm_engine *engine = open_on(device, n_ranks, 0);
    help_engine_keep(engine, ids, n, "text");
    glm_engine_close(engine);
}

/* What rank 0 has taken of its GPU, beside what its driver and NCCL would. */
static void check_bill(void) {
    const int64_t planned = plan.gpu_total_bytes - plan.driver_bytes;
    const int64_t off = standin_cuda_get()->device_bytes_max - planned;
    if (off >= -planned / 1000 && off <= 0) return;
    printf("FAIL: %lld bytes of the device more than planned\n", (long long)off);
    n_failed++;
}

static void go_on(const char *device, int n_ranks, int64_t kv_bytes, int64_t n_book, rows *out) {
    standin_cuda_get()->device_bytes_max = 0;
    glm_engine *engine = open_on(device, n_ranks, kv_bytes);
    help_engine_go_on(engine, ids, n_book + N_MORE, n_book, N_STEPS, out->at[0]);
    glm_engine_close(engine);
    if (plan.on_gpu) check_bill();
}

static void compare(const char *what, const rows *got, const rows *want) {
    const double error = help_relative_error(got->at[0], want->at[0], (1 + N_STEPS) * VOCAB);
    printf("%s: relative error %.2e, bound %.1e\n", what, error, bound);
    n_failed += !(error <= bound);
}

/* The last extent is unfinished, and parked between walks. */
static void check_streamed(int n_ranks, int64_t n_book, const rows *want) {
    rows got;
    go_on("cuda", n_ranks, help_engine_little_kv(&plan, 2), n_book, &got);
    if (plan.kv_pinned_tokens >= N_MAX) {
        printf("FAIL: the GPUs' memory was not to hold all\n");
        n_failed++;
    }
    if (memcmp(&got, want, sizeof got) == 0) return;
    printf("FAIL: %d GPUs: other logits where pages come and go\n", n_ranks);
    n_failed++;
}

/* Forks [first, first + n) of a book, at once. Bytes that this rank's kernels copied. */
static int64_t decode_forks(const glm_session *book, int64_t n_book, int first, int n, rows *out) {
    glm_session *forks[N_FORKS];
    const int64_t before = standin_cuda_get()->bytes_copied;
    for (int i = 0; i < n; i++)
        help_require(glm_session_fork(book, n_book - 30 * (first + i), N_MAX, &forks[i]), "fork");
    for (int step = 0; step < N_STEPS; step++) {
        int32_t next[N_FORKS];
        for (int i = 0; i < n; i++) next[i] = ids[(first + i) * N_STEPS + step];
        help_require(glm_decode(forks, next, n), "decode");
        for (int i = 0; i < n; i++) help_engine_row(forks[i], out[first + i].at[step], VOCAB);
    }
    for (int i = 0; i < n; i++) glm_session_free(forks[i]);
    return standin_cuda_get()->bytes_copied - before;
}

/* Shared is a split of keys, where the book is that long. */
static void check_forks(int n_ranks, int64_t n_book) {
    static rows alone[N_FORKS], together[N_FORKS];
    glm_session *book = NULL;
    glm_reuse reuse = {0};
    int64_t bytes = 0;
    n_forks = N_FORKS;
    standin_cuda_get()->order = STANDIN_RANDOM;
    (void)setenv("STANDIN_CUDA_ORDER", "77", 1); /* the other ranks' */
    glm_engine *engine = open_on("cuda", n_ranks, 0);
    help_require(glm_session_create(engine, n_book, &book), "session");
    help_require(glm_session_restore(book, ids, n_book, &reuse), "restore");
    help_require(glm_prefill(book, ids + reuse.n_tokens, n_book - reuse.n_tokens), "prefill");
    for (int i = 0; i < N_FORKS; i++) bytes += decode_forks(book, n_book, i, 1, alone);
    const double share = (double)decode_forks(book, n_book, 0, N_FORKS, together) / (double)bytes;
    glm_session_free(book);
    glm_engine_close(engine);
    n_forks = 0;
    standin_cuda_get()->order = STANDIN_LATE;
    (void)unsetenv("STANDIN_CUDA_ORDER");
    const bool is_right =
            reuse.n_tokens == n_book - 1 && memcmp(alone, together, sizeof alone) == 0;
    const bool is_once = n_book < N_LONG || share < 0.6;
    printf("%s: %d forks on %d GPUs, together and alone: %.3f of the bytes\n",
            is_right && is_once ? "ok  " : "FAIL", N_FORKS, n_ranks, share);
    n_failed += !is_right || !is_once;
}

int main(int argc, char **argv) {
    int exit_code = 0;
    static rows on_cpu;
    static rows on_gpu;
    (void)setenv("STANDIN_CUDA_DEVICES", "4", 1);
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    const help_shape shape = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 4,
            .n_kv_heads = 4,
            .head_dim = 128,
            .ffn = 96,
            .vocab = VOCAB,
            .dtype = "bfloat16"};
    model = help_random_model(&shape, 11);
    help_engine_ids(ids, N_MAX, 9);

    const int64_t n = is_fast ? N_SHORT : N_LONG;
    const int n_ranks = is_fast ? 2 : 4;
    write_book("cpu", 2, n);
    go_on("cpu", 1, 0, n, &on_cpu);
    go_on("cuda", n_ranks, 0, n, &on_gpu);
    compare("written by 2 CPU ranks, read by several GPUs", &on_gpu, &on_cpu);
    if (!is_fast) check_streamed(n_ranks, n, &on_gpu);
    check_forks(2, n);

    write_book("cuda", n_ranks, N_SHORT);
    go_on("cpu", 1, 0, N_SHORT, &on_cpu);
    for (int n_readers = 1; n_readers <= (is_fast ? 1 : 2); n_readers++) {
        go_on("cuda", n_readers, 0, N_SHORT, &on_gpu);
        compare(n_readers == 1 ? "written by several GPUs, read by 1 and by the CPU"
                               : "written by 4 GPUs, read by 2 and by the CPU",
                &on_gpu, &on_cpu);
    }
    return n_failed ? 1 : 0;
}
