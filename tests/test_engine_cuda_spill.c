/* A GPU whose memory does not hold a sequence's KV: pages come from the host's memory and from the disk and leave for
 * them, window by window, and no bit of any logit is another, in prefill and in decode, of one sequence and of several,
 * in whatever order the device works. What is taken of both memories is what the plan says, and pinned is what leaves.
 * Whenever the host waits inside a prefill, for the device or for the disk, the device has work queued, and what the
 * device waits for itself went on beside a kernel; what a (layer, chunk) item reads first was asked for in the one before.
 *
 * Method: a book that the CPU made is continued on a GPU that tests/standin plays: by a prefill and by decode steps;
 * with memory for all of it, with less, which streams whole extents and keeps the unfinished one, and with so little
 * that that is parked between walks, too; each with the host's memory for all that leaves, for one extent, for none. A
 * book of three extents, in windows of two of them and of one, of which the first stays; one that ends a little before an
 * extent does, which a decode step then completes, or, with fp8 KV, the prefill: what the GPU has kept of it is read by the
 * CPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/attn_fp8.h"
#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"
#include "help_ranks.h"
#include "kvstore/io.h"
#include "kvstore/kvstore.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum {
    EXTENT = 4096,
    N_TEXT = EXTENT + 70,
    N_SHORT = EXTENT - 6,      /* the first step of decode fills its extent, */
    N_CROSS = EXTENT - 3,      /* the prefill */
    N_LONG = 3 * EXTENT + 126, /* what comes are two chunks */
    N_MORE = 5,
    N_STEPS_MAX = 2,
    VOCAB = 272,
    N_MAX = N_LONG + 64, /* of ids */
    N_FORKS = 3
};

static int32_t ids[N_MAX];
static int64_t n_steps;
static const char *kv_dtype;
static int64_t chunk = 128;
static int32_t window;     /* extents; 0: the plan chooses */
static int64_t disk_bytes; /* 0: no limit */
static int n_failed;
static char dir[64];

static void fail(const char *what, long long number) {
    printf("FAIL: %s (%lld)\n", what, number);
    n_failed++;
}

/* Of the shell, with $DIR. */
static void run(const char *command) {
    if (setenv("DIR", dir, 1) != 0 || system(command) != 0) exit(1);
}

static void remove_all(void) {
    run("rm -rf \"$DIR\" \"$DIR.books\"");
}

/* The book, and nothing of what was kept besides, is on disk. */
static void only_the_book(void) {
    run("rm -rf \"$DIR\" && cp -r \"$DIR.books\" \"$DIR\"");
}

/* Of a sequence that goes on from a book of n. */
static int64_t max_len(int64_t n) {
    return rt_round_up(n, EXTENT) + 1024;
}

static glm_engine *open_on(
        const char *device, int64_t n, int64_t kv_bytes, int64_t rows_bytes, int32_t n_seqs) {
    const glm_options options = {.model_dir = help_model_for_gpu_of(2),
            .device = device,
            .kv_dtype = kv_dtype,
            .device_kv_bytes = kv_bytes,
            .host_kv_bytes = rows_bytes,
            .max_len = max_len(n),
            .max_seqs = n_seqs,
            .extra_kv_tokens = n_seqs > 1 ? n_seqs * 128 : 0,
            .chunk = chunk,
            .kv_window_tokens = (int64_t)window * EXTENT,
            .kv_disk_bytes = disk_bytes};
    standin_cuda_get()->device_bytes_max = 0;
    return help_engine_open_in(dir, options);
}

static void write_book(int64_t n, const char *name) {
    run("rm -rf \"$DIR\" && mkdir \"$DIR\"");
    glm_engine *engine = open_on("cpu", n, 0, 0, 1);
    help_engine_keep(engine, ids, n, name);
    glm_engine_close(engine);
    run("rm -rf \"$DIR.books\" && cp -r \"$DIR\" \"$DIR.books\"");
}

/* ---- waits for the disk ------------------------------------------------------------------------ *
 *
 * The linker puts these between the runtime, the store and the functions that they are named for (CMakeLists.txt). A read
 * counts as waited for also where it had come: how fast the disk is decides nothing here. */

enum { OPS_MAX = 32 };

static struct disk_waits {
    const kv_io_op *ops[OPS_MAX]; /* that were started, */
    int64_t begun_in[OPS_MAX];    /* in which walk */
    int64_t n_walks;
    int32_t layer;   /* of the walk there is; -1: there is none */
    bool must_be_on; /* its first read should have begun before */
    int64_t n_reads;
    int64_t n_idle; /* waited for when the device had nothing to do; */
    int64_t n_late; /* begun when the walk was that waits for them */
} disk;

static int slot_of(const kv_io_op *op) {
    int i = 0;
    while (disk.ops[i] && disk.ops[i] != op && i < OPS_MAX - 1) i++;
    return i;
}

void __real_kv_io_start(kv_io *io, kv_io_op *op);
void __wrap_kv_io_start(kv_io *io, kv_io_op *op);
void __wrap_kv_io_start(kv_io *io, kv_io_op *op) {
    const int i = slot_of(op);
    disk.ops[i] = op;
    disk.begun_in[i] = disk.n_walks;
    __real_kv_io_start(io, op);
}

rt_status __real_kv_io_wait(kv_io *io, kv_io_op *op);
rt_status __wrap_kv_io_wait(kv_io *io, kv_io_op *op);
rt_status __wrap_kv_io_wait(kv_io *io, kv_io_op *op) {
    if (disk.layer < 0 || (op->is_write && op->is_done)) return __real_kv_io_wait(io, op);
    disk.n_idle += standin_cuda_n_queued() == 0;
    if (op->is_write) return __real_kv_io_wait(io, op);
    disk.n_reads++;
    disk.n_late += disk.must_be_on && disk.begun_in[slot_of(op)] == disk.n_walks;
    disk.must_be_on = false;
    return __real_kv_io_wait(io, op);
}

/* Items after the first one of a prefill or of a step are of the same layer or of a later one. */
rt_status __real_kv_walk_begin(kv_store *store, int32_t layer, kv_seq *const *seqs,
        const int64_t *ends, int32_t n_seqs, kv_walk_extent extent, kv_walk **out);
rt_status __wrap_kv_walk_begin(kv_store *store, int32_t layer, kv_seq *const *seqs,
        const int64_t *ends, int32_t n_seqs, kv_walk_extent extent, kv_walk **out);
rt_status __wrap_kv_walk_begin(kv_store *store, int32_t layer, kv_seq *const *seqs,
        const int64_t *ends, int32_t n_seqs, kv_walk_extent extent, kv_walk **out) {
    static int32_t last_layer;
    disk.must_be_on = disk.n_walks > 0 && layer >= last_layer && extent == KV_WALK_ALL;
    disk.n_walks++;
    last_layer = disk.layer = layer;
    return __real_kv_walk_begin(store, layer, seqs, ends, n_seqs, extent, out);
}

void __real_kv_walk_end(kv_walk *walk);
void __wrap_kv_walk_end(kv_walk *walk);
void __wrap_kv_walk_end(kv_walk *walk) {
    disk.layer = -1;
    __real_kv_walk_end(walk);
}

/* ---- a book, continued -------------------------------------------------------------------------- */

static void check_is(const char *what, int64_t taken, int64_t planned) {
    if (taken <= planned && taken >= planned - planned / 100) return;
    printf("FAIL: %lld bytes of %s are taken, %lld planned\n", (long long)taken, what,
            (long long)planned);
    n_failed++;
}

static glm_plan plan; /* of the last engine on a GPU */

static int64_t extent_bytes(void) {
    return EXTENT / 128 * plan.kv_page_bytes;
}

/* Of the host's memory, for the rows of both heads. */
static int64_t rows_bytes_of_extent(void) {
    return kv_dtype ? 2 * rt_round_up(EXTENT / 128 * (int64_t)ATTN_FP8_HEAD_BYTES, 4096)
                    : 2 * 2 * EXTENT * 128 * 2;
}

static void continue_book(int64_t n, int64_t kv_bytes, int64_t rows_bytes, float *logits) {
    standin_cuda *gpu = standin_cuda_get();
    only_the_book();
    glm_engine *engine = open_on("cuda", n, kv_bytes, rows_bytes, 1);
    plan = *glm_engine_plan(engine);
    check_is("the GPU's memory", gpu->device_bytes_max, plan.gpu_total_bytes - plan.driver_bytes);
    check_is("pinned memory", gpu->pinned_bytes, plan.pinned_bytes + plan.kv_rows_bytes);
    const int64_t n_kept = kv_dtype ? n / 128 * 128 : n; /* sealed pages are whole */
    gpu->n_drained = gpu->n_exposed = 0;
    disk = (struct disk_waits){.layer = -1};
    help_engine_go_on(engine, ids, n + N_MORE, n_kept, n_steps, logits);
    glm_engine_close(engine);
}

/* Memory for less than there is: the GPU's keeps unfinished extents, or none of the two; the host's holds all that leaves the
 * GPU's, an extent, or nothing. */
typedef enum of_host { ALL, ONE, NOTHING } of_host;
typedef struct way {
    bool keeps_tails;
    of_host host;
    standin_order order;
    int32_t window;   /* extents, */
    int32_t n_pinned; /* and those at the beginning that stay */
} way;

/* Of the plan that holds all, without its pages and with a window of so many extents; with unfinished and pinned extents of
 * both layers. */
static int64_t budget(int64_t n, const way *w) {
    const int64_t pages = 2 * rt_div_up(max_len(n), 128) * plan.kv_page_bytes;
    const int64_t windows = (plan.kv_window_extents - w->window) * extent_bytes();
    return glm_plan_kv_here(&plan) - pages - windows + RT_MIB / 2 +
           2 * (w->keeps_tails + w->n_pinned) * extent_bytes();
}

/* The host waits for the logits of the prefill and of each step, and before a pass of several; what the device waits for
 * goes on beside kernels. Where the prefill fills an extent, nothing follows in its last layer. */
static void check_overlap(int64_t n, const way *w) {
    const standin_cuda *gpu = standin_cuda_get();
    if (w->order != STANDIN_COPIES) return;
    const int64_t fills = n == N_CROSS;
    if (gpu->n_drained > 2 + n_steps + fills)
        fail("the device has nothing to do while the host waits", gpu->n_drained);
    if (gpu->n_exposed > fills)
        fail("the device waits for what could not go on beside it", gpu->n_exposed);
    if (w->host != NOTHING) return;
    if (disk.n_reads < 3 * n / EXTENT) fail("reads", disk.n_reads);
    if (disk.n_idle > 0)
        fail("the device has nothing to do while the host waits for the disk", disk.n_idle);
    if (disk.n_late > 0) fail("walks that read nothing before they began", disk.n_late);
}

/* Nothing is pinned for what stays; a few extents are on their way. */
static void check_rows(int64_t n, const way *w) {
    const int64_t n_rows = plan.kv_rows_bytes / rows_bytes_of_extent();
    const int64_t n_leaving = 2 * (max_len(n) / EXTENT + 1 - w->n_pinned);
    const int64_t least[] = {n_leaving, 1, 0};
    const int64_t most[] = {n_leaving + w->window + 3, 1, 0};
    if (plan.kv_window_extents != w->window || plan.kv_pinned_tokens != w->n_pinned * EXTENT)
        fail("extents that stay in the GPU's memory", plan.kv_pinned_tokens / EXTENT);
    if (n_rows < least[w->host] || n_rows > most[w->host])
        fail("extents in the host's memory", n_rows);
}

static void check_way(int64_t n, const way *w, int64_t kv_bytes, const float *all) {
    static float less[1 + N_STEPS_MAX][VOCAB];
    const int64_t rows_bytes[] = {0, rows_bytes_of_extent(), 1};
    standin_cuda *gpu = standin_cuda_get();
    gpu->order = w->order;
    gpu->seed = 11;
    window = w->window;
    continue_book(n, kv_bytes, rows_bytes[w->host], less[0]);
    window = 0;
    check_rows(n, w);
    check_overlap(n, w);
    if (memcmp(all, less, (size_t)(1 + n_steps) * sizeof less[0]) == 0) return;
    printf("FAIL: other logits where pages come and go: a book of %lld, %s, tails %d, windows of %d, order %d\n",
            (long long)n, kv_dtype ? kv_dtype : "bf16", w->keeps_tails, w->window, (int)w->order);
    n_failed++;
}

/* What the GPU kept, opened by the CPU: nothing is computed again, and the logits are near. */
static void check_on_cpu(int64_t n, const float *gpu_row) {
    static float row[VOCAB];
    const int64_t n_kept = (n + N_MORE + n_steps) / EXTENT * EXTENT;
    glm_engine *engine = open_on("cpu", n, 0, 0, 1);
    const int64_t steps = n_steps;
    help_engine_go_on(engine, ids, n + N_MORE + steps, n_kept, 0, row);
    glm_engine_close(engine);
    const double error = help_relative_error(row, gpu_row, VOCAB);
    if (error > 0.05)
        fail("the CPU reads something else, error in thousandths", (long long)(1000 * error));
}

/* The GPU's memory: all of the KV; then less of it. */
static void check_book(int64_t n, const way *ways, int n_ways) {
    static float all[1 + N_STEPS_MAX][VOCAB];
    int64_t budgets[2];
    standin_cuda_get()->order = STANDIN_LATE;
    continue_book(n, 0, 0, all[0]);
    if (plan.kv_pinned_tokens < n || plan.kv_rows_bytes > 0)
        fail("the GPU's memory was to hold all", n);
    for (int i = 0; i < n_ways; i++) budgets[i] = budget(n, &ways[i]);
    for (int i = 0; i < n_ways; i++) check_way(n, &ways[i], budgets[i], all[0]);
    if ((n + N_MORE + n_steps) / EXTENT > n / EXTENT) check_on_cpu(n, all[n_steps]);
}

/* Of the GPU's memory, to park a book and to have room for a fork's own tokens. */
static int64_t forks_budget(int64_t n) {
    static const way tight = {.window = 1};
    glm_engine *engine = open_on("cuda", n, 0, 0, 1);
    plan = *glm_engine_plan(engine);
    glm_engine_close(engine);
    return budget(n, &tight) + extent_bytes();
}

/* Forks of a book add one token, a few and more, in one pass or one after another: the same bits. The GPU's memory parks
 * the book, and has room for a fork's own tokens: all of a fork but what it shares is in memory. */
static void check_together(int64_t n) {
    static const int64_t n_added[N_FORKS] = {1, 3, 100};
    static float rows[2][N_FORKS][VOCAB];
    const int64_t kv_bytes = forks_budget(n);
    for (int is_together = 0; is_together < 2; is_together++) {
        glm_session *book = NULL;
        glm_session *forks[N_FORKS];
        const int32_t *added[N_FORKS];
        glm_reuse reuse;
        standin_cuda_get()->order = is_together ? STANDIN_COPIES : STANDIN_LATE;
        only_the_book();
        glm_engine *engine = open_on("cuda", n, kv_bytes, 0, 1 + N_FORKS);
        help_require(glm_session_create(engine, n, &book), "session");
        help_require(glm_session_restore(book, ids, n, &reuse), "restore");
        for (int i = 0; i < N_FORKS; i++) {
            added[i] = ids + n + 7 * i;
            help_require(glm_session_fork(book, reuse.n_tokens, n + 110, &forks[i]), "fork");
            if (is_together) continue;
            help_require(n_added[i] == 1 ? glm_decode(&forks[i], added[i], 1)
                                         : glm_prefill(forks[i], added[i], n_added[i]),
                    "alone");
            help_engine_row(forks[i], rows[0][i], VOCAB);
        }
        if (is_together)
            help_require(glm_prefill_together(forks, added, n_added, N_FORKS), "together");
        for (int i = 0; i < N_FORKS; i++) {
            if (is_together) help_engine_row(forks[i], rows[1][i], VOCAB);
            glm_session_free(forks[i]);
        }
        glm_session_free(book);
        glm_engine_close(engine);
    }
    for (int i = 0; i < N_FORKS; i++)
        if (memcmp(rows[0][i], rows[1][i], sizeof rows[0][i]) != 0)
            fail("other logits together, fork", i);
}

/* In the first layer, where the extent that it filled is on its way to the host's memory. */
static void suspend_prefill(glm_session *session, const int32_t *next, int64_t n) {
    glm_prefill_progress progress;
    help_require(glm_prefill_begin(session, next, n, NULL, 1), "begin");
    help_require(glm_prefill_step(session, &progress), "step");
    (void)!glm_prefill_suspend(session); /* there may be no room for it */
}

/* How an extent is filled: by a prefill, by a second one after it was suspended, or as what several sequences add at once. */
typedef enum filling { PREFILLED, TWICE, TOGETHER, N_FILLINGS } filling;

/* A prefill brings in the unfinished extent, another one fills it, a step of decode reads it: rows[3]. */
static void fill_extent(int64_t kv_bytes, filling how, float (*rows)[VOCAB]) {
    const int64_t n_next = 8;
    glm_session *session = NULL;
    glm_reuse reuse;
    const int32_t *next = ids + N_SHORT + 2;
    only_the_book();
    glm_engine *engine = open_on("cuda", N_SHORT, kv_bytes, 0, 1);
    plan = *glm_engine_plan(engine);
    help_require(glm_session_create(engine, max_len(N_SHORT), &session), "session");
    help_require(glm_session_restore(session, ids, N_SHORT + 2, &reuse), "restore");
    help_require(
            glm_prefill(session, ids + reuse.n_tokens, N_SHORT + 2 - reuse.n_tokens), "prefill");
    help_engine_row(session, rows[0], VOCAB);
    if (how == TWICE) suspend_prefill(session, next, n_next);
    help_require(how == TOGETHER ? glm_prefill_together(&session, &next, &n_next, 1)
                                 : glm_prefill(session, next, n_next),
            "prefill");
    help_engine_row(session, rows[1], VOCAB);
    help_require(glm_decode(&session, next + n_next, 1), "decode");
    help_engine_row(session, rows[2], VOCAB);
    glm_session_free(session);
    glm_engine_close(engine);
}

/* An extent that is filled and that the disk has no room to keep goes to the host's memory: nobody waits for it, no layer
 * brings in anything, and its pages are the next layer's at once. */
static void check_unkept(void) {
    static float all[3][VOCAB];
    static float less[3][VOCAB];
    chunk = 384; /* one holds the extent's end and what follows */
    standin_cuda_get()->order = STANDIN_LATE;
    fill_extent(0, PREFILLED, all);
    static const way tails = {.keeps_tails = true, .window = 1};
    const int64_t kv_bytes = budget(N_SHORT, &tails);
    disk_bytes = plan.kv_disk_bytes / 2 +
                 RT_MIB; /* an extent of two layers and 4 slots, not 10; too little to keep one */
    for (filling how = PREFILLED; how < N_FILLINGS; how++) {
        standin_cuda_get()->order = how == TOGETHER ? STANDIN_COPIES : STANDIN_LATE;
        fill_extent(kv_bytes, how, less);
        if (memcmp(all, less, sizeof all) != 0)
            fail("other logits behind an extent that was not kept; filled so", how);
    }
    disk_bytes = 0;
    chunk = 128;
}

int main(void) {
    static const way short_ways[] = {
            {true, NOTHING, STANDIN_LATE, 1, 0}, {false, ONE, STANDIN_RANDOM, 1, 0}};
    static const way fp8_ways[] = {
            {true, ALL, STANDIN_COPIES, 1, 0}, {false, ONE, STANDIN_LATE, 1, 0}};
    static const way long_ways[] = {
            {true, NOTHING, STANDIN_COPIES, 2, 0}, {true, ALL, STANDIN_RANDOM, 1, 1}};
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    standin_plain_use(is_fast); /* the kernels have sanitized tests of their own */
    (void)snprintf(dir, sizeof dir, "/tmp/cuda-spill-XXXXXX");
    if (!mkdtemp(dir)) return 1;
    (void)atexit(remove_all);
    help_engine_ids(ids, N_MAX, 9);
    n_steps = 2;
    if (!is_fast) {
        write_book(N_SHORT, "short");
        check_unkept();
        check_book(N_SHORT, short_ways, 2);
    }
    kv_dtype = "fp8";
    write_book(N_CROSS, "fp8");
    check_book(N_CROSS, fp8_ways, is_fast ? 1 : 2);
    kv_dtype = NULL;
    n_steps = 1;
    write_book(N_LONG, "long");
    check_book(N_LONG, long_ways, is_fast ? 1 : 2);
    write_book(N_TEXT, "text");
    check_together(N_TEXT);
    return n_failed ? 1 : 0;
}
