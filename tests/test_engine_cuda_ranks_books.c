/* Books and ranks that are GPUs: what CPU ranks have written opens on any number of GPUs, and the other way round,
 * nothing computed again, logits within what rounding allows; and where the GPUs' memory does not hold the keys,
 * which then come from each rank's disk, window by window, they are the same bit for bit.
 *
 * Method: GPUs and NCCL that tests/standin plays, a random model of 4 query heads over 4 KV heads (foreign rows of keys
 * change its logits by their own size). A text of more than a segment, written by 2 CPU ranks, goes on on 4 GPUs,
 * with memory for it and without; a short one is written by 4 GPUs. Bound as in test_engine_cuda_ranks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_checkpoint.h"
#include "help_engine.h"
#include "help_needle.h"
#include "help_ranks.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"

enum { N_LONG = 4096 + 1070, N_SHORT = 200, N_MORE = 5, N_STEPS = 2, VOCAB = 304, N_MAX = N_LONG + 64 };
static const double bound = 1.9e-2;

static int n_failed;
static const char *model;
static char dir[4096];
static int32_t ids[N_MAX];
static glm_plan plan; /* of the last engine */

typedef struct rows {
    float at[1 + N_STEPS][VOCAB];
} rows;

static glm_engine *open_on(const char *device, int n_ranks, int64_t kv_bytes) {
    const glm_options options = {.model_dir = model,
            .device = device,
            .tensor_parallel = n_ranks,
            .device_kv_bytes = kv_bytes,
            .max_len = N_MAX,
            .chunk = 128};
    glm_engine *engine = help_engine_open_in(dir, options);
    plan = *glm_engine_plan(engine);
    return engine;
}

static void write_book(const char *device, int n_ranks, int64_t n) {
    (void)snprintf(dir, sizeof dir, "%s/r%%r", ckh_make_dir());
    glm_engine *engine = open_on(device, n_ranks, 0);
    help_engine_keep(engine, ids, n, "text");
    glm_engine_close(engine);
}

/* What rank 0 has taken of its GPU, beside what NCCL would. */
static void check_bill(int n_ranks) {
    const int64_t planned = plan.gpu_total_bytes - (n_ranks > 1 ? 512 * RT_MIB : 0);
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
    if (plan.on_gpu) check_bill(n_ranks);
}

static void compare(const char *what, const rows *got, const rows *want) {
    const double error = help_relative_error(got->at[0], want->at[0], (1 + N_STEPS) * VOCAB);
    printf("%s: relative error %.2e, bound %.1e\n", what, error, bound);
    n_failed += !(error <= bound);
}

/* The last extent is unfinished, and parked between walks: the plan's own bytes, less all pages but half a MiB, and
 * with a window of one extent. */
static void check_streamed(int n_ranks, int64_t n_book, const rows *want) {
    rows got;
    const int64_t pages = 2 * rt_div_up(N_MAX, 128) + (plan.kv_window_extents - 1) * 4096 / 128;
    go_on("cuda", n_ranks, glm_plan_kv_here(&plan) - pages * plan.kv_page_bytes + RT_MIB / 2, n_book,
            &got);
    if (plan.kv_pinned_tokens >= N_MAX) {
        printf("FAIL: the GPUs' memory was not to hold all\n");
        n_failed++;
    }
    if (memcmp(&got, want, sizeof got) == 0) return;
    printf("FAIL: %d GPUs: other logits where pages come and go\n", n_ranks);
    n_failed++;
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
