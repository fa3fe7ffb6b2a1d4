/* A prefill that is stopped after any step goes on there in another process: no step is done twice,
 * and the logits are those of one that was not stopped, to the last bit.
 *
 * Method: count the steps of a prefill. Then stop after k of them, close the engine, open another, restore and
 * prefill the same ids: k and the steps left add up, and progress begins where it was. Spans that are shorter
 * than the text, unfinished extents, a span that begins inside an extent or a page, budgets that stream and
 * park; lossless and lossy keys, which are exact in the page that is not full. Nothing of it stays on disk. Of both engines the
 * linker has __wrap_glm_measure_speed say the same speeds: they are the unit of work. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_dir.h"
#include "help_needle.h"
#include "help_ranks.h"
#include "runtime/plan_speed.h"

rt_status __wrap_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out);

rt_status __wrap_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out) {
    (void)trial;
    *out = (glm_speed){.flops = 1e11, .attention_flops = 3e11, .bytes_per_s = 1e10};
    return RT_OK;
}

static const char *dirs[1];

/* A disk with nothing on it. */
static void change_disk(void) {
    dirs[0] = help_dir();
}

static void check_nothing_stays(const char *what) {
    char command[512];
    (void)snprintf(command, sizeof command,
            "test -z \"$(find '%s' -name '*.state' -o -name '*.part')\"", dirs[0]);
    if (system(command) == 0) return;
    printf("FAIL %s: something of the suspended span is still on disk\n", what);
    exit(1);
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
    double left_before; /* work, when it began */
    double left;        /* and when it ended */
    float *row;         /* NULL: stopped */
    int64_t vocab;
} outcome;

static double work_left(const glm_session *session) {
    glm_prefill_progress progress;
    glm_prefill_where(session, &progress);
    return progress.work_total - progress.work_done;
}

/* With `begun` > 0 so many tokens are a prefill of their own before it, in the same session. */
static outcome run_after(
        const glm_options *options, const glm_ids *ids, int64_t begun, int64_t most) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse;
    outcome o = {0};
    bool is_done = false;
    help_require(glm_engine_open(options, &engine), "open");
    help_require(glm_session_create(engine, options->max_len, &session), "session");
    help_require(glm_session_restore(session, ids->ids, ids->n, &reuse), "restore");
    o.n_reused = reuse.n_tokens;
    if (begun) help_require(glm_prefill(session, ids->ids, begun), "prefill");
    const int64_t from = glm_session_length(session);
    help_require(glm_prefill_begin(session, ids->ids + from, ids->n - from, NULL, 1), "begin");
    o.left_before = work_left(session);
    o.n_steps = run_steps(session, most, &is_done);
    if (!is_done) o.left = work_left(session);
    if (is_done) {
        const int32_t next = 1; /* reads the rows of the last page in every layer */
        help_require(glm_decode(&session, &next, 1), "decode");
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

static outcome run(const glm_options *options, const glm_ids *ids, int64_t most) {
    return run_after(options, ids, 0, most);
}

/* The first process has prefilled `begun` tokens before; the second is given the whole text. */
static void check_stop_after(const char *what, const glm_options *options, const glm_ids *ids,
        int64_t begun, const outcome *whole, int64_t stop) {
    const outcome first = run_after(options, ids, begun, stop);
    outcome second = run(options, ids, INT64_MAX);
    if (first.row || !second.row || first.n_steps + second.n_steps != whole->n_steps) {
        printf("FAIL %s: %" PRId64 " steps, stopped, and %" PRId64 " more; %" PRId64
               " in one go (%" PRId64 " tokens reused)\n",
                what, first.n_steps, second.n_steps, whole->n_steps, second.n_reused);
        exit(1);
    }
    if (fabs(second.left_before - first.left) > 1e-9 * whole->left_before) {
        printf("FAIL %s: stopped with %g of work left, it goes on with %g\n", what, first.left,
                second.left_before);
        exit(1);
    }
    if (memcmp(whole->row, second.row, (size_t)whole->vocab * sizeof(float)) != 0) {
        printf("FAIL %s: other logits after a stop at step %" PRId64 "\n", what, stop);
        exit(1);
    }
    free(second.row);
    check_nothing_stays(what);
}

static void check_stop(const char *what, const glm_options *options, const glm_ids *ids,
        const outcome *whole, int64_t stop) {
    check_stop_after(what, options, ids, 0, whole, stop);
}

/* Before the first stop `begun` tokens are prefilled and kept. */
static void check(const char *what, const glm_options *options, const glm_ids *ids, int64_t begun) {
    const int64_t stride = getenv("GLM_TEST_FAST") ? 13 : 10; /* another place in each layer */
    glm_ids beginning = {.ids = ids->ids, .n = begun};
    outcome whole = {0};
    for (int64_t stop = 0; stop == 0 || stop < whole.n_steps; stop += stop ? stride : 1) {
        change_disk();
        if (begun) free(run(options, &beginning, INT64_MAX).row);
        if (stop == 0)
            whole = run(options, ids, INT64_MAX);
        else
            check_stop(what, options, ids, &whole, stop);
    }
    printf("%s: %" PRId64 " steps\n", what, whole.n_steps);
    free(whole.row);
}

/* Ordinary weights: every row that was saved has its part in the logits. The text ends inside a page,
 * and with `begun` the span that is stopped begins inside one. */
static void check_every_row_counts(const char *what, const char *type, int64_t begun) {
    glm_ids ids = {0};
    for (int32_t i = 0; i < 400; i++) help_require(glm_ids_push(&ids, i * 37 % 60), "push");
    const glm_options options = {.model_dir = "tests/golden/native_bf16_kv4",
            .max_len = ids.n + 1,
            .chunk = 128,
            .kv_dtype = type,
            .persists = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    change_disk();
    outcome whole = run_after(&options, &ids, begun, INT64_MAX);
    const int64_t stride = getenv("GLM_TEST_FAST") ? 4 : begun ? 1 : 3;
    for (int64_t stop = 1; stop < whole.n_steps; stop += stride) {
        change_disk();
        check_stop_after(what, &options, &ids, begun, &whole, stop);
    }
    free(whole.row);
    glm_ids_free(&ids);
}

/* Spans shorter than the text, and segments; whatever of the keys memory holds. */
static void check_long_texts(bool is_fast) {
    const help_shape shape = {.hidden = 64,
            .n_layers = 3,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 32,
            .ffn = 96,
            .vocab = 272,
            .dtype = "bfloat16"};
    glm_ids ids = {0};
    help_append_opening(&ids);
    help_append_filler(&ids, (is_fast ? 4200 : 9000) - ids.n, 1);
    glm_options options = {.model_dir = help_random_model(&shape, 3),
            .max_len = ids.n + 1,
            .chunk = 1024,
            .persists = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    const glm_ids fewer = {.ids = ids.ids, .n = 5000};
    if (!is_fast) check("one span", &options, &fewer, 0);
    options.span = 4096;
    check("from a segment on", &options, &ids, 4097);
    if (!is_fast) {
        check("three spans", &options, &ids, 0);
        options.kv_dtype = "int4";
        check("int4, from a segment on", &options, &ids, 4097);
        options.kv_dtype = "int8";
        check("int8, three spans", &options, &ids, 0);
        options.host_kv_bytes = 6 << 20;
        check("int8, streamed", &options, &ids, 0);
        options.kv_dtype = NULL;
        options.span = 0;
        options.host_kv_bytes = 11 << 20;
        check("streamed", &options, &ids, 0);
        options.host_kv_bytes = 17 << 19; /* not even its unfinished extents stay in memory */
        check("parked", &options, &ids, 4097);
    }
    glm_ids_free(&ids);
}

/* Memory has room for the unfinished extents of a few layers, and there are more: as they are loaded they go to disk again. */
static void check_many_layers(bool is_fast) {
    const help_shape shape = {.hidden = 32,
            .n_layers = 16,
            .n_heads = is_fast ? 1 : 2, /* what is stored is the same */
            .n_kv_heads = 1,
            .head_dim = 32,
            .ffn = 32,
            .vocab = 272,
            .dtype = "bfloat16"};
    glm_ids ids = {0};
    help_append_opening(&ids);
    help_append_filler(&ids, 8000 - ids.n, 1);
    const glm_options options = {.model_dir = help_random_model(&shape, 3),
            .max_len = ids.n + 1,
            .chunk = 1024,
            .persists = true,
            .host_kv_bytes = INT64_C(5) << 20,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    change_disk();
    const outcome whole = run_after(&options, &ids, 0, INT64_MAX);
    change_disk();
    check_stop_after("many layers, parked", &options, &ids, 0, &whole, whole.n_steps - 3);
    free(whole.row);
    glm_ids_free(&ids);
}

int main(void) {
    change_disk();
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    check_every_row_counts("ordinary numbers", NULL, 0);
    check_every_row_counts("int8 after others", "int8", 300);
    check_every_row_counts("int4 after others", "int4", 300);
    check_every_row_counts("fp8 after others", "fp8", 300);
    if (!is_fast) {
        check_every_row_counts("after others", NULL, 300);
        check_every_row_counts("int8", "int8", 0);
        check_every_row_counts("int4", "int4", 0);
    }
    check_long_texts(is_fast);
    check_many_layers(is_fast);
    return 0;
}
