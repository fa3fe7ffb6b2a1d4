/* Forks of one book that a GPU decodes together have the bits that each has alone, and what they share is read
 * about once for all of them; whether memory holds it all, and steps are graphs, or it comes window by window, and
 * of fp8 pages too.
 *
 * Method: a book of more than a split, which the CPU made, is restored on a GPU that tests/standin plays. Of its forks
 * two begin at its end, one a little before, one before the first split's end, so that it shares none. Each takes steps
 * by itself; then all at once; and once more, each in another's place. Logits are compared, and the bytes that
 * kernels copied into shared memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_engine.h"
#include "help_model.h"
#include "help_needle.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"

enum {
    N_BOOK = 4096 + 300,
    N_FORKS = 4,
    N_STEPS = 2, /* as it comes, and a graph */
    VOCAB = 272,
    N_MAX = N_BOOK + 16
};

typedef struct fork_rows {
    float at[N_FORKS][N_STEPS][VOCAB];
    int64_t bytes;
} fork_rows;

static int32_t ids[N_MAX + N_FORKS * N_STEPS];
static const int64_t lengths[N_FORKS] = {N_BOOK, 1000, N_BOOK, N_BOOK - 130};
static int n_failed;
static char dir[64];
static const char *dirs[1] = {dir};
static glm_plan plan; /* of the last engine */

static void remove_all(void) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0) exit(1);
}

static glm_engine *open_on(const char *device, const char *kv_dtype, int64_t kv_bytes) {
    glm_engine *engine = NULL;
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = device,
            .kv_dtype = kv_dtype,
            .device_kv_bytes = kv_bytes,
            .max_len = N_MAX,
            .max_seqs = N_FORKS + 1,
            .extra_kv_tokens = N_FORKS * 512 + 1024,
            .chunk = 128,
            .threads = 1,
            .persists = true,
            .needs_kept = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    help_require(glm_engine_open(&options, &engine), device);
    return engine;
}

static glm_session *restore_book(glm_engine *engine) {
    glm_session *book = NULL;
    glm_reuse reuse = {0};
    help_require(glm_session_create(engine, N_MAX, &book), "session");
    help_require(glm_session_restore(book, ids, N_BOOK, &reuse), "restore");
    help_require(glm_prefill(book, ids + reuse.n_tokens, N_BOOK - reuse.n_tokens), "prefill");
    return book;
}

/* n forks at once, the first of them `first`. */
static void decode_forks(glm_session *book, int first, int n, fork_rows *rows) {
    glm_session *forks[N_FORKS];
    for (int i = 0; i < n; i++)
        help_require(glm_session_fork(book, lengths[(first + i) % N_FORKS], N_MAX, &forks[i]), "fork");
    const int64_t before = standin_cuda_get()->bytes_copied;
    for (int step = 0; step < N_STEPS; step++) {
        int32_t next[N_FORKS];
        for (int i = 0; i < n; i++) next[i] = ids[N_MAX + (first + i) % N_FORKS * N_STEPS + step];
        help_require(glm_decode(forks, next, n), "decode");
        for (int i = 0; i < n; i++)
            help_engine_row(forks[i], rows->at[(first + i) % N_FORKS][step], VOCAB);
    }
    rows->bytes += standin_cuda_get()->bytes_copied - before;
    for (int i = 0; i < n; i++) glm_session_free(forks[i]);
}

static bool is_as_alone(const fork_rows *together, const fork_rows *alone) {
    return memcmp(alone->at, together->at, sizeof alone->at) == 0;
}

/* What three read of the first split comes once instead of three times. */
static void check(const char *kv_dtype, int64_t kv_bytes, int32_t capability, standin_order order) {
    static fork_rows alone, together, elsewhere;
    standin_cuda *gpu = standin_cuda_get();
    gpu->capability = capability;
    gpu->order = order;
    gpu->seed = 5;
    alone.bytes = together.bytes = 0;
    glm_engine *engine = open_on("cuda", kv_dtype, kv_bytes);
    plan = *glm_engine_plan(engine);
    glm_session *book = restore_book(engine);
    for (int i = 0; i < N_FORKS; i++) decode_forks(book, i, 1, &alone);
    decode_forks(book, 0, N_FORKS, &together);
    decode_forks(book, 1, N_FORKS, &elsewhere);
    glm_session_free(book);
    glm_engine_close(engine);
    const double share = (double)together.bytes / (double)alone.bytes;
    const bool is_right = is_as_alone(&together, &alone) && is_as_alone(&elsewhere, &alone);
    printf("%s: %s pages, sm_%d, memory for %lld of %d tokens: %.3f of the bytes\n",
            is_right && share < 0.5 ? "ok  " : "FAIL", kv_dtype ? kv_dtype : "bf16", capability,
            (long long)plan.kv_pinned_tokens, N_MAX, share);
    n_failed += !is_right || share > 0.5;
}

/* Of the plan that holds all, with a window of one extent and without the pages of all but an unfinished extent of both
 * layers. */
static int64_t less_memory(void) {
    const int64_t extent_bytes = 4096 / 128 * plan.kv_page_bytes;
    const int64_t pages = 2 * rt_div_up(N_MAX, 128) * plan.kv_page_bytes;
    const int64_t windows = (plan.kv_window_extents - 1) * extent_bytes;
    return glm_plan_kv_here(&plan) - pages - windows + 2 * extent_bytes + RT_MIB / 2;
}

static void write_book(const char *kv_dtype, const char *name) {
    glm_engine *engine = open_on("cpu", kv_dtype, 0);
    help_engine_keep(engine, ids, N_BOOK, name);
    glm_engine_close(engine);
}

int main(void) {
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    (void)snprintf(dir, sizeof dir, "/tmp/cuda-forks-XXXXXX");
    if (!mkdtemp(dir)) return 1;
    (void)atexit(remove_all);
    help_engine_ids(ids, N_MAX + N_FORKS * N_STEPS, 12);
    write_book(NULL, "text");
    check(NULL, 0, is_fast ? 80 : 90, STANDIN_LATE);
    if (is_fast) return n_failed ? 1 : 0;
    check(NULL, less_memory(), 80, STANDIN_RANDOM);
    if (plan.kv_pinned_tokens >= N_MAX) {
        printf("FAIL: the GPU's memory was to hold less\n");
        n_failed++;
    }
    write_book("fp8", "sealed");
    check("fp8", 0, 90, STANDIN_RANDOM);
    return n_failed ? 1 : 0;
}
