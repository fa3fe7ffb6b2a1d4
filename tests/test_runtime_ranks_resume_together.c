/* A prefill that was stopped goes on once every rank has room for it. Where one has none, none goes on: the text is computed
 * without being kept, or refused where all of it must be, and what is on disk of it stays, on the ranks that have room, too.
 *
 * Method: two ranks, each with a directory; a prefill that is stopped in its second layer. A file beside what is kept takes
 * all of one rank's budget, and is removed; then the steps that were left are made, and no others. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_ranks.h"

enum { N_IDS = 4200, N_STEPS = 10, STOP = 7, RANKS = 2, MIB = 1 << 20, BUDGET = 24 * MIB };

static int32_t ids[N_IDS];
static const char *model;

typedef struct run {
    glm_engine *engine;
    glm_session *session;
} run;

static run begin(const char *dir, bool keeps_all) {
    char pattern[4096];
    const char *const dirs[] = {pattern};
    const glm_options options = {.model_dir = model,
            .tensor_parallel = RANKS,
            .max_len = N_IDS + 1,
            .chunk = 1024,
            .threads = 1,
            .persists = true,
            .keeps_all = keeps_all,
            .needs_kept = keeps_all,
            .kv_disk_bytes = BUDGET,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    run r = {0};
    glm_reuse reuse;
    (void)snprintf(pattern, sizeof pattern, "%s/r%%r", dir);
    help_require(glm_engine_open(&options, &r.engine), "open");
    help_require(glm_session_create(r.engine, N_IDS + 1, &r.session), "session");
    help_require(glm_session_restore(r.session, ids, N_IDS, &reuse), "restore");
    CHECK(reuse.n_tokens == 0);
    return r;
}

static void end(run *r) {
    glm_session_free(r->session);
    glm_engine_close(r->engine);
}

/* Steps until done, or until `most`. */
static int run_steps(const run *r, int most) {
    glm_prefill_progress progress = {0};
    int n = 0;
    for (; !progress.is_done && n < most; n++)
        help_require(glm_prefill_step(r->session, &progress), "step");
    return n;
}

/* All that is left; the last row of logits, for free(). */
static float *finish(const run *r, int n_steps, int64_t *n_bytes) {
    const float *row = NULL;
    int64_t n_rows = 0;
    help_require(glm_prefill_begin(r->session, ids, N_IDS, NULL, 1), "begin");
    const int n = run_steps(r, INT32_MAX);
    if (n != n_steps) printf("%d steps, not %d\n", n, n_steps);
    CHECK(n == n_steps);
    help_require(glm_session_logits(r->session, &row, &n_rows), "logits");
    *n_bytes = glm_engine_config(r->engine)->vocab * (int64_t)sizeof *row;
    float *copy = malloc((size_t)*n_bytes);
    CHECK(copy && n_rows == 1);
    memcpy(copy, row, (size_t)*n_bytes);
    return copy;
}

/* So many files of one rank have names that end so. */
static bool has(const char *dir, int rank, const char *suffix, int n) {
    char command[8192];
    (void)snprintf(command, sizeof command, "test \"$(find '%s/r%d' -name '*%s' | wc -l)\" -eq %d",
            dir, rank, suffix, n);
    return system(command) == 0;
}

static void check_files(const char *dir, int n_suspended, int n_kept) {
    for (int rank = 0; rank < RANKS; rank++)
        CHECK(has(dir, rank, ".part", n_suspended) && has(dir, rank, ".state", n_suspended) &&
                has(dir, rank, ".kvs", n_kept) && has(dir, rank, ".tmp", 0));
}

/* Stopped; the directory. */
static const char *suspend(void) {
    const char *dir = help_dir_in_memory();
    run r = begin(dir, false);
    help_require(glm_prefill_begin(r.session, ids, N_IDS, NULL, 1), "begin");
    CHECK(run_steps(&r, STOP) == STOP);
    help_require(glm_prefill_suspend(r.session), "suspend");
    end(&r);
    check_files(dir, 1, 0);
    return dir;
}

/* In so many steps. */
static void check_finish(const char *dir, const float *whole, int n_steps) {
    int64_t n_bytes = 0;
    run r = begin(dir, false);
    float *row = finish(&r, n_steps, &n_bytes);
    CHECK(memcmp(row, whole, (size_t)n_bytes) == 0);
    free(row);
    end(&r);
}

/* With what takes all of a rank's budget, or without it. */
static void fill(const char *dir, int rank, bool is_full) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/r%d/vault/other", dir, rank);
    if (!is_full) {
        CHECK(unlink(path) == 0);
        return;
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0 && posix_fallocate(fd, 0, BUDGET) == 0 && close(fd) == 0);
}

static void check(const float *whole, int full_rank) {
    const char *dir = suspend();
    fill(dir, full_rank, true);
    check_finish(dir, whole, N_STEPS);
    check_files(dir, 1, 0);

    run r = begin(dir, true);
    CHECK(glm_prefill_begin(r.session, ids, N_IDS, NULL, 1) == RT_ENOFIT);
    printf("rank %d is full: %s\n", full_rank, rt_error_text());
    CHECK(strstr(rt_error_text(), "do not fit on the disk"));
    CHECK((full_rank == 1) == (strstr(rt_error_text(), "rank 1 on ") != NULL));
    end(&r);
    check_files(dir, 1, 0);

    fill(dir, full_rank, false);
    check_finish(dir, whole, N_STEPS - STOP);
    check_files(dir, 0, 1);
}

int main(int argc, char **argv) {
    int exit_code;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const help_shape shape = {.hidden = 32,
            .n_layers = 2,
            .n_heads = RANKS,
            .n_kv_heads = RANKS,
            .head_dim = 32,
            .ffn = 32,
            .vocab = 272,
            .dtype = "bfloat16"};
    int64_t n_bytes = 0;
    model = help_random_model(&shape, 3);
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = i * 37 % 271;
    run r = begin(help_dir_in_memory(), false);
    float *whole = finish(&r, N_STEPS, &n_bytes);
    end(&r);
    if (!getenv("GLM_TEST_FAST")) check(whole, 0);
    check(whole, 1);
    free(whole);
    return 0;
}
