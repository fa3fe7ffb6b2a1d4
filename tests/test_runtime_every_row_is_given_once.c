/* Every position's logits, given as a prefill goes, are the bits of those asked for by name: in order, each once, at most
 * max_logits a call, whatever span, chunk, threads and ranks, behind what a session holds already; the last row stays.
 * Who takes them may refuse: that ends the prefill, with the refusal's words, at the last span that was finished.
 *
 * Method: a random model; a text of two spans; memcmp against glm_prefill_begin with every position listed. A refused prefill
 * that goes on has given every row, too: sanitizers see those. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"

enum { N_TOKENS = 4400, N_HELD = 100, N_REFUSED = 4200, VOCAB = 272 };

static int32_t ids[N_TOKENS];
static float *want; /* [N_TOKENS][VOCAB] */

typedef struct taking {
    int64_t first;      /* position of row 0 */
    int64_t n_taken;    /* so far */
    int64_t most;       /* a call */
    int64_t refused_at; /* -1: never */
} taking;

static rt_status take(void *context, int64_t at, int64_t n, const float *logits) {
    taking *t = context;
    CHECK(at == t->n_taken && n >= 1 && n <= t->most);
    const float *due = want + (t->first + at) * VOCAB;
    CHECK(memcmp(logits, due, (size_t)(n * VOCAB) * sizeof *due) == 0);
    t->n_taken += n;
    if (t->refused_at >= 0 && t->n_taken > t->refused_at)
        return rt_fail(RT_EIO, "nobody takes row %d", (int)t->refused_at);
    return RT_OK;
}

static rt_status prefill_all(glm_session *session, taking *t) {
    glm_prefill_progress progress = {0};
    t->first = glm_session_length(session);
    t->n_taken = 0;
    help_require(glm_prefill_begin_all(session, ids + t->first, N_TOKENS - t->first, 0, take, t),
            "begin");
    while (!progress.is_done) {
        const rt_status status = glm_prefill_step(session, &progress);
        if (status != RT_OK) return status;
    }
    CHECK(t->n_taken == N_TOKENS - t->first && progress.tokens_done == t->n_taken);
    CHECK(progress.work_done > progress.work_total * 0.999 &&
            progress.work_done < progress.work_total * 1.001);
    return RT_OK;
}

static void check_last(const glm_session *session) {
    const float *rows = NULL;
    int64_t n = 0;
    help_require(glm_session_logits(session, &rows, &n), "logits");
    CHECK(n == 1);
    CHECK(memcmp(rows, want + (int64_t)(N_TOKENS - 1) * VOCAB, VOCAB * sizeof *rows) == 0);
}

/* Behind the first n_held tokens. */
static void check(glm_options options, int64_t n_held, const char *what) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    taking t = {.most = options.max_logits, .refused_at = -1};
    help_require(glm_engine_open(&options, &engine), what);
    help_require(glm_session_create(engine, N_TOKENS, &session), what);
    if (n_held > 0) help_require(glm_prefill(session, ids, n_held), what);
    help_require(prefill_all(session, &t), what);
    check_last(session);
    glm_session_free(session);
    glm_engine_close(engine);
    printf("%s: %d rows\n", what, (int)t.n_taken);
}

static void check_refusal(glm_options options, const char *what) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    taking t = {.most = options.max_logits, .refused_at = N_REFUSED};
    help_require(glm_engine_open(&options, &engine), what);
    help_require(glm_session_create(engine, N_TOKENS, &session), what);
    CHECK(prefill_all(session, &t) == RT_EIO);
    CHECK(strstr(rt_error_text(), "nobody takes row 4200"));
    CHECK(glm_session_length(session) == 4096);
    t.refused_at = -1;
    help_require(prefill_all(session, &t), what);
    CHECK(t.first == 4096);
    check_last(session);
    glm_session_free(session);
    glm_engine_close(engine);
    printf("%s: said, and gone on from 4096\n", what);
}

static void compute_want(glm_options options) {
    static int64_t every[N_TOKENS];
    glm_engine *engine = NULL;
    for (int64_t i = 0; i < N_TOKENS; i++) every[i] = i;
    free(want);
    options.max_logits = N_TOKENS;
    help_require(glm_engine_open(&options, &engine), "open");
    CHECK(glm_engine_config(engine)->vocab == VOCAB);
    want = help_engine_logits(engine, ids, N_TOKENS, every, N_TOKENS, 0);
    glm_engine_close(engine);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    glm_options options = {.model_dir = help_model_for_gpu(false),
            .max_len = N_TOKENS,
            .device = "cpu",
            .max_logits = 300};
    help_engine_ids(ids, N_TOKENS, 5);
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    compute_want(options);
    if (!is_fast) check(options, 0, "as planned");
    check(options, N_HELD, "behind 100 tokens");
    options.max_logits = 7;
    options.span = 4096;
    options.chunk = 130;
    options.threads = 3;
    if (!is_fast) check(options, 0, "chunks of 130, 7 rows a call, 3 threads");
    check_refusal(options, "refused");
    options.tensor_parallel = 2;
    options.threads = 1;
    options.chunk = 0;
    glm_options two = options;
    compute_want(two);
    if (!is_fast) check(two, 0, "2 ranks");
    check_refusal(two, "refused, 2 ranks");
    free(want);
    return 0;
}
