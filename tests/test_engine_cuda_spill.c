/* A GPU whose memory does not hold a sequence's KV: pages come from the host's memory and from the disk and leave for
 * them, window by window, and no bit of any logit is another, in prefill and in decode, in whatever order the device
 * works. What is taken of both memories is what the plan says.
 *
 * Method: a book that the CPU made is continued on a GPU that tests/standin plays: by a prefill and by decode steps;
 * with memory for all of it, with less, which streams the first extent and keeps the unfinished one, and with so little
 * that that is parked between walks, too; each with the host's memory for all that leaves, for one extent, for none. A
 * book of more than an extent; one that ends a little before an extent does, which a decode step then completes: that
 * with fp8 KV too, of which nothing stays in the host's memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_engine.h"
#include "help_model.h"
#include "help_needle.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"

enum {
    N_BOOK = 4096 + 1070,
    N_BOOK_SHORT = 4096 - 7, /* the second step of decode fills its extent */
    N_MORE = 5,
    N_STEPS_MAX = 3,
    VOCAB = 272,
    N_MAX = N_BOOK + 64,
    EXTENT_BYTES = 2 * 2 * 4096 * 128 * 2 /* K and V of 2 heads of a layer */
};

static int32_t ids[N_MAX];
static int64_t n_steps = N_STEPS_MAX;
static const char *kv_dtype;
static int n_failed;
static char dir[64];
static const char *dirs[1] = {dir};

/* Of the shell, with $DIR. */
static void run(const char *command) {
    if (setenv("DIR", dir, 1) != 0 || system(command) != 0) exit(1);
}

static void remove_all(void) {
    run("rm -rf \"$DIR\" \"$DIR.books\"");
}

static glm_engine *open_on(const char *device, int64_t kv_bytes, int64_t rows_bytes) {
    glm_engine *engine = NULL;
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = device,
            .kv_dtype = kv_dtype,
            .device_kv_bytes = kv_bytes,
            .host_kv_bytes = rows_bytes,
            .max_len = N_MAX,
            .chunk = 128,
            .threads = 1,
            .persists = true,
            .needs_kept = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    standin_cuda_get()->device_bytes_max = 0;
    help_require(glm_engine_open(&options, &engine), device);
    return engine;
}

static void write_book(int64_t n, const char *name) {
    glm_engine *engine = open_on("cpu", 0, 0);
    help_engine_keep(engine, ids, n, name);
    glm_engine_close(engine);
    run("rm -rf \"$DIR.books\" && cp -r \"$DIR\" \"$DIR.books\"");
}

static void check_is(const char *what, int64_t taken, int64_t planned) {
    if (taken <= planned && taken >= planned - planned / 100) return;
    printf("FAIL: %lld bytes of %s are taken, %lld planned\n", (long long)taken, what,
            (long long)planned);
    n_failed++;
}

static glm_plan plan; /* of the last engine */

/* The book, and nothing of what was kept besides, is on disk. */
static void continue_book(int64_t n, int64_t kv_bytes, int64_t rows_bytes, float *logits) {
    const standin_cuda *gpu = standin_cuda_get();
    run("rm -rf \"$DIR\" && cp -r \"$DIR.books\" \"$DIR\"");
    glm_engine *engine = open_on("cuda", kv_bytes, rows_bytes);
    plan = *glm_engine_plan(engine);
    check_is("the GPU's memory", gpu->device_bytes_max, plan.gpu_total_bytes);
    check_is("pinned memory", gpu->pinned_bytes, plan.pinned_bytes + plan.kv_rows_bytes);
    const int64_t n_kept = kv_dtype ? n / 128 * 128 : n; /* sealed pages are whole */
    help_engine_go_on(engine, ids, n + N_MORE, n_kept, n_steps, logits);
    glm_engine_close(engine);
}

/* Memory for less than there is: the GPU's keeps unfinished extents, or none of the two; the host's. */
typedef struct way {
    bool keeps_tails;
    int64_t rows_bytes; /* 0: all that leaves the GPU's */
    standin_order order;
} way;

static void check_way(int64_t n, const way *w, int64_t kv_bytes, const float *all) {
    static float less[1 + N_STEPS_MAX][VOCAB];
    standin_cuda *gpu = standin_cuda_get();
    gpu->order = w->order;
    gpu->seed = 11;
    continue_book(n, kv_bytes, w->rows_bytes, less[0]);
    const int64_t n_rows = plan.kv_rows_bytes / EXTENT_BYTES;
    if (plan.kv_pinned_tokens >= N_MAX || (w->rows_bytes == 0) != (n_rows > 1)) {
        printf("FAIL: the GPU's memory was to hold less, the host's some, not %lld extents\n",
                (long long)n_rows);
        n_failed++;
    }
    if (memcmp(all, less, (size_t)(1 + n_steps) * sizeof less[0]) == 0) return;
    printf("FAIL: other logits where pages come and go: a book of %lld, tails %d, %lld extents in memory\n",
            (long long)n, w->keeps_tails, (long long)n_rows);
    n_failed++;
}

/* The GPU's memory: all of the KV but a MiB; less than two unfinished extents. */
static void check_book(int64_t n, const way *ways, int n_ways) {
    static float all[1 + N_STEPS_MAX][VOCAB];
    standin_cuda_get()->order = STANDIN_LATE;
    continue_book(n, 0, 0, all[0]);
    if (plan.kv_pinned_tokens < N_MAX || plan.kv_rows_bytes > 0) {
        printf("FAIL: the GPU's memory was to hold all\n");
        n_failed++;
    }
    const int64_t pages = 2 * rt_div_up(N_MAX, 128) * plan.kv_page_bytes;
    const int64_t budgets[] = {plan.kv_host_bytes - pages + RT_MIB, plan.kv_host_bytes - RT_MIB};
    for (int i = 0; i < n_ways; i++) check_way(n, &ways[i], budgets[ways[i].keeps_tails], all[0]);
}

int main(void) {
    static const way short_ways[] = {{false, EXTENT_BYTES, STANDIN_LATE}, {true, 0, STANDIN_LATE},
            {false, 0, STANDIN_LATE}, {true, 1, STANDIN_RANDOM}};
    static const way long_ways[] = {
            {false, EXTENT_BYTES, STANDIN_RANDOM}, {true, 0, STANDIN_COPIES}, {true, 1, STANDIN_LATE}};
    static const way of_fp8 = {false, 1, STANDIN_RANDOM};
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    (void)snprintf(dir, sizeof dir, "/tmp/cuda-spill-XXXXXX");
    if (!mkdtemp(dir)) return 1;
    (void)atexit(remove_all);
    help_engine_ids(ids, N_MAX, 9);
    write_book(N_BOOK_SHORT, "short");
    check_book(N_BOOK_SHORT, short_ways, is_fast ? 1 : 3);
    kv_dtype = "fp8";
    n_steps = 2;
    write_book(N_BOOK_SHORT, "fp8");
    check_book(N_BOOK_SHORT, &of_fp8, 1);
    kv_dtype = NULL;
    n_steps = is_fast ? 1 : 2;
    write_book(N_BOOK, "text");
    check_book(N_BOOK, long_ways, is_fast ? 1 : 3);
    return n_failed ? 1 : 0;
}
