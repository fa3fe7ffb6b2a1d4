/* A prefill that is stopped after any step goes on there in another process: no step is done twice,
 * and the logits are those of one that was not stopped, to the last bit.
 *
 * Method: count the steps of a prefill. Then stop after k of them, close the engine, open another,
 * restore and prefill the same ids: k and the steps left add up. Spans that are shorter than the text,
 * unfinished extents, a span that begins inside an extent, a budget that streams. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_needle.h"

static char dir[64];
static const char *dirs[1];

static void empty_directory(void) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'/vault", dir);
    (void)!system(command);
}

static void remove_all(void) {
    empty_directory();
    (void)remove(dir);
}

/* Steps until done, or until `most`. */
static int64_t run_steps(glm_session *session, int64_t most, bool *is_done) {
    glm_prefill_progress progress = {0};
    int64_t n = 0;
    while (!progress.is_done && n < most) {
        help_require(glm_prefill_step(session, &progress), "step");
        n++;
    }
    *is_done = progress.is_done;
    return n;
}

typedef struct outcome {
    int64_t n_steps;
    int64_t n_reused;
    float *row; /* NULL: stopped */
    int64_t vocab;
} outcome;

static outcome run(const glm_options *options, const glm_ids *ids, int64_t most) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse;
    outcome o = {0};
    bool is_done = false;
    help_require(glm_engine_open(options, &engine), "open");
    help_require(glm_session_create(engine, options->max_len, &session), "session");
    help_require(glm_session_restore(session, ids->ids, ids->n, &reuse), "restore");
    o.n_reused = reuse.n_tokens;
    help_require(
            glm_prefill_begin(session, ids->ids + reuse.n_tokens, ids->n - reuse.n_tokens, NULL, 1),
            "begin");
    o.n_steps = run_steps(session, most, &is_done);
    if (is_done) {
        const float *row = NULL;
        int64_t n_rows = 0;
        help_require(glm_session_logits(session, &row, &n_rows), "logits");
        o.vocab = glm_engine_config(engine)->vocab;
        o.row = malloc((size_t)o.vocab * sizeof *row);
        memcpy(o.row, row, (size_t)o.vocab * sizeof *row);
    } else {
        help_require(glm_prefill_suspend(session), "suspend");
    }
    glm_session_free(session);
    glm_engine_close(engine);
    return o;
}

static void check_stop(const char *what, const glm_options *options, const glm_ids *ids,
        const outcome *whole, int64_t stop) {
    const outcome first = run(options, ids, stop);
    outcome second = run(options, ids, INT64_MAX);
    if (first.row || !second.row || first.n_steps + second.n_steps != whole->n_steps) {
        printf("FAIL %s: %" PRId64 " steps, stopped, and %" PRId64 " more; %" PRId64
               " in one go (%" PRId64 " tokens reused)\n",
                what, first.n_steps, second.n_steps, whole->n_steps, second.n_reused);
        exit(1);
    }
    if (memcmp(whole->row, second.row, (size_t)whole->vocab * sizeof(float)) != 0) {
        printf("FAIL %s: other logits after a stop at step %" PRId64 "\n", what, stop);
        exit(1);
    }
    free(second.row);
}

/* Before the first stop `begun` tokens are prefilled and kept. */
static void check(const char *what, const glm_options *options, const glm_ids *ids, int64_t begun) {
    const int64_t stride = getenv("GLM_TEST_FAST") ? 13 : 9;
    glm_ids beginning = {.ids = ids->ids, .n = begun};
    outcome whole = {0};
    for (int64_t stop = 0; stop == 0 || stop < whole.n_steps; stop += stop ? stride : 1) {
        empty_directory();
        if (begun) free(run(options, &beginning, INT64_MAX).row);
        if (stop == 0)
            whole = run(options, ids, INT64_MAX);
        else
            check_stop(what, options, ids, &whole, stop);
    }
    printf("%s: %" PRId64 " steps\n", what, whole.n_steps);
    free(whole.row);
}

/* Ordinary weights: every row that was saved has its part in the logits. */
static void check_every_row_counts(void) {
    glm_ids ids = {0};
    for (int32_t i = 0; i < 400; i++) help_require(glm_ids_push(&ids, i * 37 % 60), "push");
    const glm_options options = {.model_dir = "tests/golden/native_bf16_kv4",
            .max_len = ids.n,
            .chunk = 128,
            .persists = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    for (int64_t stop = 1; stop < 8; stop += 3) {
        empty_directory();
        outcome whole = run(&options, &ids, INT64_MAX);
        empty_directory();
        check_stop("ordinary numbers", &options, &ids, &whole, stop);
        free(whole.row);
    }
    glm_ids_free(&ids);
}

int main(void) {
    (void)snprintf(dir, sizeof dir, "/tmp/suspend-XXXXXX");
    if (!mkdtemp(dir)) return 1;
    (void)atexit(remove_all);
    dirs[0] = dir;
    check_every_row_counts();
    glm_ids ids = {0};
    help_append_opening(&ids);
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    help_append_filler(&ids, (is_fast ? 4200 : 9000) - ids.n, 1);
    glm_options options = {.model_dir = help_needle_model(),
            .max_len = ids.n,
            .chunk = 1024,
            .persists = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    check("one span", &options, &ids, 0);
    options.span = 4096;
    check("from a segment on", &options, &ids, 4097);
    if (is_fast) {
        glm_ids_free(&ids);
        return 0;
    }
    check("three spans", &options, &ids, 0);
    options.span = 0;
    options.host_kv_bytes = 44 << 20;
    check("streamed", &options, &ids, 0);
    glm_ids_free(&ids);
    return 0;
}
