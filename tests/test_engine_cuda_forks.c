/* Forks of books that a GPU decodes together have the bits that each has alone, and what they share is read about once
 * for all of them; whether memory holds it all, and steps are graphs, or it comes window by window, and of fp8 pages
 * too.
 *
 * Method: two books of more than a split, which the CPU made, are restored on a GPU that tests/standin plays. Five
 * forks, one of them of the second book, take steps each by itself; then the first four at once; then the last four, in
 * whose places others were, all of them shorter. Logits are compared, and the bytes that kernels copied into shared
 * memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_model.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum {
    N_FORKS = 5,
    OF_SECOND = 1, /* book */
    AT_ONCE = 4,
    N_STEPS = 2, /* as it comes, and a graph */
    VOCAB = 272,
    FIRST_LENGTH = 4096 + 60,
    N_BOOK = FIRST_LENGTH + 30 * (N_FORKS - 1),
    N_MAX = N_BOOK + 16
};

typedef struct fork_rows {
    float at[N_FORKS][N_STEPS][VOCAB];
    int64_t bytes;
} fork_rows;

static int32_t ids[2][N_MAX]; /* of either book; what forks add is of the other one */
static int n_failed;
static bool is_fast;
static bool is_plain; /* decode */
static const char *dirs[1];
static glm_plan plan; /* of the last engine */

static glm_engine *open_on(const char *device, const char *kv_dtype, int64_t kv_bytes) {
    glm_engine *engine = NULL;
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = device,
            .kv_dtype = kv_dtype,
            .device_kv_bytes = kv_bytes,
            .max_len = N_MAX,
            .max_seqs = AT_ONCE + 2,
            .extra_kv_tokens = N_MAX + AT_ONCE * 512 + 1024,
            .chunk = 128,
            .threads = 1,
            .persists = true,
            .needs_kept = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    help_require(glm_engine_open(&options, &engine), device);
    return engine;
}

static glm_session *restore_book(glm_engine *engine, const int32_t *of) {
    glm_session *book = NULL;
    glm_reuse reuse = {0};
    help_require(glm_session_create(engine, N_MAX, &book), "session");
    help_require(glm_session_restore(book, of, N_BOOK, &reuse), "restore");
    standin_plain_use(true); /* what is looked at is decode */
    help_require(glm_prefill(book, of + reuse.n_tokens, N_BOOK - reuse.n_tokens), "prefill");
    standin_plain_use(is_plain);
    return book;
}

/* Forks [first, first + n), at once. */
static void decode_forks(glm_session *const books[2], int first, int n, fork_rows *rows) {
    glm_session *forks[AT_ONCE];
    for (int i = 0; i < n; i++)
        help_require(glm_session_fork(books[first + i == OF_SECOND],
                             FIRST_LENGTH + 30 * (first + i), N_MAX, &forks[i]),
                "fork");
    const int64_t before = standin_cuda_get()->bytes_copied;
    for (int step = 0; step < N_STEPS; step++) {
        int32_t next[AT_ONCE];
        for (int i = 0; i < n; i++)
            next[i] = ids[first + i != OF_SECOND][(first + i) * N_STEPS + step];
        help_require(glm_decode(forks, next, n), "decode");
        for (int i = 0; i < n; i++) help_engine_row(forks[i], rows->at[first + i][step], VOCAB);
    }
    rows->bytes += standin_cuda_get()->bytes_copied - before;
    for (int i = 0; i < n; i++) glm_session_free(forks[i]);
}

static bool is_as_alone(const fork_rows *together, const fork_rows *alone, int first) {
    return memcmp(alone->at[first], together->at[first], AT_ONCE * sizeof alone->at[0]) == 0;
}

/* Forks of one book alone have fewer passes than those of two, in the same graph. */
static void check_fewer_passes(glm_session *const books[2]) {
    static fork_rows alone, together;
    glm_session *const one[] = {books[0], books[0]};
    decode_forks(books, 0, AT_ONCE, &together);
    const int64_t n_lists = standin_plain_lists();
    for (int i = 0; i < AT_ONCE; i++) decode_forks(one, i, 1, &alone);
    const int64_t n_alone = standin_plain_lists() - n_lists;
    decode_forks(one, 0, AT_ONCE, &together);
    if (n_lists == 0 || n_alone > 0) {
        printf("FAIL: passes are listed for forks %lld times, for one alone %lld\n",
                (long long)n_lists, (long long)n_alone);
        n_failed++;
    }
    if (is_as_alone(&together, &alone, 0)) return;
    printf("FAIL: other logits in fewer passes than before\n");
    n_failed++;
}

static void check_same_graph(void) {
    is_plain = true;
    standin_cuda_get()->order = STANDIN_LATE;
    glm_engine *engine = open_on("cuda", NULL, 0);
    glm_session *books[] = {restore_book(engine, ids[0]), restore_book(engine, ids[1])};
    check_fewer_passes(books);
    for (int i = 0; i < 2; i++) glm_session_free(books[i]);
    glm_engine_close(engine);
    is_plain = is_fast;
}

/* What three of four read of the first split comes once instead of three times. */
static void check(const char *kv_dtype, int64_t kv_bytes, int32_t capability, standin_order order) {
    static fork_rows alone, together, later;
    standin_cuda *gpu = standin_cuda_get();
    gpu->capability = capability;
    gpu->order = order;
    gpu->seed = 5;
    alone.bytes = together.bytes = 0;
    glm_engine *engine = open_on("cuda", kv_dtype, kv_bytes);
    plan = *glm_engine_plan(engine);
    glm_session *books[] = {restore_book(engine, ids[0]), restore_book(engine, ids[1])};
    for (int i = 0; i < AT_ONCE; i++) decode_forks(books, i, 1, &alone);
    const double share = 1.0 / (double)alone.bytes;
    for (int i = AT_ONCE; i < N_FORKS && !is_fast; i++) decode_forks(books, i, 1, &alone);
    decode_forks(books, 0, AT_ONCE, &together);
    if (!is_fast) decode_forks(books, N_FORKS - AT_ONCE, AT_ONCE, &later);
    for (int i = 0; i < 2; i++) glm_session_free(books[i]);
    glm_engine_close(engine);
    const bool is_right = is_as_alone(&together, &alone, 0) &&
                          (is_fast || is_as_alone(&later, &alone, N_FORKS - AT_ONCE));
    const bool is_once = share * (double)together.bytes < 0.6;
    printf("%s: %s pages, sm_%d, memory for %lld of %d tokens: %.3f of the bytes\n",
            is_right && is_once ? "ok  " : "FAIL", kv_dtype ? kv_dtype : "bf16", capability,
            (long long)plan.kv_pinned_tokens, N_MAX, share * (double)together.bytes);
    n_failed += !is_right || !is_once;
}

/* Of the plan that holds all, with a window of one extent and room for what forks have for themselves. */
static int64_t less_memory(const char *kv_dtype) {
    glm_engine *engine = open_on("cuda", kv_dtype, 0);
    plan = *glm_engine_plan(engine);
    glm_engine_close(engine);
    const int64_t extent_bytes = 4096 / 128 * plan.kv_page_bytes;
    const int64_t pages = 2 * 2 * rt_div_up(N_MAX, 128) * plan.kv_page_bytes;
    const int64_t windows = (plan.kv_window_extents - 1) * extent_bytes;
    return glm_plan_kv_here(&plan) - pages - windows + 2 * extent_bytes + RT_MIB / 2;
}

static void write_books(const char *kv_dtype) {
    glm_engine *engine = open_on("cpu", kv_dtype, 0);
    for (int i = 0; i < 2; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s%d", kv_dtype ? kv_dtype : "bf16", i);
        help_engine_keep(engine, ids[i], N_BOOK, name);
    }
    glm_engine_close(engine);
}

int main(void) {
    is_fast = getenv("GLM_TEST_FAST") != NULL;
    is_plain = is_fast; /* the kernels have sanitized tests of their own */
    dirs[0] = help_dir();
    for (int i = 0; i < 2; i++) help_engine_ids(ids[i], N_MAX, 12 + (uint64_t)i);
    write_books(NULL);
    check_same_graph();
    check(NULL, 0, is_fast ? 80 : 90, STANDIN_LATE);
    if (is_fast) return n_failed ? 1 : 0;
    write_books("fp8");
    check("fp8", less_memory("fp8"), 80, STANDIN_RANDOM);
    if (plan.kv_pinned_tokens >= N_MAX) {
        printf("FAIL: the GPU's memory was to hold less\n");
        n_failed++;
    }
    return n_failed ? 1 : 0;
}
