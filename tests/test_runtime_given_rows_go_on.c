/* A prefill that gives every position's logits and is stopped goes on in another process: what was given is not given
 * again, no step is done twice, and all rows together are the bits of a run that was not stopped. A caller that has lost
 * what it was given gets every row; a prefill that wants the last row only goes on where such a one was stopped, and
 * such a one where that was, as far as its rows were computed.
 *
 * Method: a random model, a text of two spans; stop after k steps, close the engine, open another, restore as far as
 * rows were given, and go on; memcmp against glm_prefill_begin with every position listed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_model.h"

enum { TOKENS_MAX = 4400, VOCAB = 272 };

static int32_t ids[TOKENS_MAX];
static int64_t n_tokens;
static float *want; /* [n_tokens][VOCAB] */
static const char *dirs[1];
static glm_options options;

/* A disk with nothing on it. */
static void change_disk(void) {
    dirs[0] = help_dir();
}

/* Rows given so far, of all processes. */
typedef struct taking {
    int64_t first; /* the session's length */
    int64_t n_taken;
} taking;

static rt_status take(void *context, int64_t at, int64_t n, const float *logits) {
    taking *t = context;
    CHECK(t->first + at == t->n_taken);
    const float *due = want + t->n_taken * VOCAB;
    CHECK(memcmp(logits, due, (size_t)(n * VOCAB) * sizeof *due) == 0);
    t->n_taken += n;
    return RT_OK;
}

static void check_last(const glm_session *session) {
    const float *rows = NULL;
    int64_t n = 0;
    help_require(glm_session_logits(session, &rows, &n), "logits");
    CHECK(n == 1);
    CHECK(memcmp(rows, want + (n_tokens - 1) * VOCAB, VOCAB * sizeof *rows) == 0);
}

/* One process, which does at most so many steps; `t` NULL: only the last row is wanted. How many it did. */
static int64_t run(taking *t, int64_t most) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse;
    glm_prefill_progress progress = {0};
    int64_t n_steps = 0;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, n_tokens, &session), "session");
    help_require(glm_session_restore(session, ids, n_tokens, &reuse), "restore");
    if (t && t->n_taken < glm_session_length(session)) glm_session_truncate(session, t->n_taken);
    const int64_t n = glm_session_length(session);
    if (t) t->first = n;
    help_require(t ? glm_prefill_begin_all(session, ids + n, n_tokens - n, t->n_taken - n, take, t)
                   : glm_prefill_begin(session, ids + n, n_tokens - n, NULL, 1),
            "begin");
    for (; !progress.is_done && n_steps < most; n_steps++)
        help_require(glm_prefill_step(session, &progress), "step");
    if (progress.is_done)
        check_last(session);
    else
        help_require(glm_prefill_suspend(session), "suspend");
    glm_session_free(session);
    glm_engine_close(engine);
    return n_steps;
}

static void check_same(int64_t stop, int64_t n_whole) {
    taking t = {0};
    change_disk();
    CHECK(run(&t, stop) == stop);
    const int64_t n_rest = run(&t, INT64_MAX);
    CHECK(stop + n_rest == n_whole && t.n_taken == n_tokens);
}

static void check_lost(int64_t stop) {
    taking t = {0};
    change_disk();
    (void)run(&t, stop);
    t = (taking){0};
    (void)run(&t, INT64_MAX);
    CHECK(t.n_taken == n_tokens);
}

/* Of one that wants the last row only no step is done twice but that of a finished span, which does nothing. */
static void check_last_row_goes_on(int64_t stop, int64_t n_whole) {
    taking t = {0};
    change_disk();
    (void)run(&t, stop);
    CHECK(stop + run(NULL, INT64_MAX) <= n_whole);
}

static void check_goes_on_from_last_row(int64_t stop) {
    taking t = {0};
    change_disk();
    (void)run(NULL, stop);
    (void)run(&t, INT64_MAX);
    CHECK(t.n_taken == n_tokens);
}

static void compute_want(void) {
    static int64_t every[TOKENS_MAX];
    glm_engine *engine = NULL;
    glm_options all = options;
    for (int64_t i = 0; i < n_tokens; i++) every[i] = i;
    all.max_logits = n_tokens;
    all.persists = false;
    help_require(glm_engine_open(&all, &engine), "open");
    CHECK(glm_engine_config(engine)->vocab == VOCAB);
    want = help_engine_logits(engine, ids, n_tokens, every, n_tokens, 0);
    glm_engine_close(engine);
}

/* Stops after `stride` steps, after twice as many, and so on. */
static void check_stops(int64_t n, int64_t chunk, int64_t stride) {
    taking t = {0};
    options.max_len = n_tokens = n;
    options.chunk = chunk;
    compute_want();
    change_disk();
    const int64_t n_whole = run(&t, INT64_MAX);
    CHECK(t.n_taken == n_tokens);
    change_disk();
    const int64_t n_plain = run(NULL, INT64_MAX);
    for (int64_t stop = stride; stop < n_whole; stop += stride) {
        check_same(stop, n_whole);
        check_lost(stop);
        check_last_row_goes_on(stop, n_whole);
        if (stop < n_plain) check_goes_on_from_last_row(stop);
    }
    printf("%" PRId64 " tokens: %" PRId64 " steps\n", n, n_whole);
    free(want);
}

int main(void) {
    change_disk();
    options = (glm_options){.model_dir = help_model_for_gpu(false),
            .device = "cpu",
            .max_logits = 300,
            .persists = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    help_engine_ids(ids, TOKENS_MAX, 5);
    check_stops(400, 128, getenv("GLM_TEST_FAST") ? 3 : 1);
    options.span = 4096;
    if (!getenv("GLM_TEST_FAST")) check_stops(4224, 4096, 4); /* two spans */
    return 0;
}
