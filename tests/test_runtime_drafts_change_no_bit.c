/* Decode with drafts gives the logits and the lengths of decode without, to the last bit: however many of the drafted
 * tokens are right, whatever the session is asked for between, also where KV is lossy or goes to disk, and on several
 * ranks.
 *
 * Method: a random model, a text of passages that come again, some of them changed. The same calls once by glm_decode and
 * once by glm_decode_ahead, over pages, the end of an extent and up to the session's, with forks, cuts, prefills and those of another session between; the rows
 * are compared with memcmp. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_checkpoint.h"
#include "help_needle.h"
#include "help_ranks.h"
#include "runtime/draft.h"
#include "runtime/engine.h"

enum { N_PROMPT = 3900, N_TEXT = 4260, N_STEPS = 400, N_OTHER = 256, VOCAB = 304 };

static int32_t text[N_TEXT];
static int n_failed;

typedef struct history {
    float rows[N_STEPS][VOCAB];
    int64_t lengths[N_STEPS];
    int32_t n;
    glm_drafts drafts;
} history;

static uint32_t draw(uint32_t *state, uint32_t n) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % n;
}

/* Passages of 4 to 40 tokens, two in three of them from before; in these one token in 25 is another. The end, where the
 * session is full, repeats itself. */
static void make_text(void) {
    uint32_t state = 7;
    for (int32_t i = 0; i < N_TEXT;) {
        const int32_t n = 4 + (int32_t)draw(&state, 37);
        const bool is_old = i > 200 && draw(&state, 3) > 0;
        const int32_t from = is_old ? (int32_t)draw(&state, (uint32_t)(i - 50)) : 0;
        for (int32_t k = 0; k < n && i < N_TEXT; k++, i++)
            text[i] = is_old && draw(&state, 25) > 0 ? text[from + k] : (int32_t)draw(&state, 300);
    }
    for (int32_t i = N_TEXT - 60; i < N_TEXT; i++) text[i] = text[i - 10];
}

static void note(history *h, const glm_session *session, const glm_session *of) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    memcpy(h->rows[h->n], logits + (n_rows - 1) * VOCAB, sizeof h->rows[0]);
    h->lengths[h->n++] = glm_session_length(of);
}

static void decode_in_fork(history *h, const glm_session *parent, int64_t length) {
    glm_session *fork = NULL;
    help_require(glm_session_fork(parent, length, length + 40, &fork), "fork");
    help_require(glm_decode(&fork, &text[glm_session_length(fork)], 1), "decode in a fork");
    note(h, fork, parent);
    glm_session_free(fork);
}

static rt_status ignore(void *context, int64_t at, int64_t n, const float *logits) {
    (void)context, (void)at, (void)n, (void)logits;
    return RT_OK;
}

/* Another session's prefill up to where logits of its tokens are made, or to its end: these come into the memory where
 * drafts have theirs. */
static void prefill_other(glm_session *other, bool is_begun) {
    const glm_plan *plan = glm_engine_plan(other->engine);
    glm_prefill_progress progress = {0};
    if (!is_begun) {
        glm_session_truncate(other, 0);
        help_require(glm_prefill_begin_all(other, text, plan->chunk + 40, 0, ignore, NULL), "begin");
        for (int i = 0; i < 3 * 2 + 1; i++)
            help_require(glm_prefill_step(other, &progress), "step");
    }
    while (is_begun && !progress.is_done) help_require(glm_prefill_step(other, &progress), "step");
}

static void take_step(
        history *h, glm_session *session, glm_session *other, int step, bool is_ahead) {
    const int64_t length = glm_session_length(session);
    if (step % 50 == 22 || step % 50 == 24) prefill_other(other, step % 50 == 24);
    if (step % 50 == 17) {
        decode_in_fork(h, session, length - length % 3);
        return;
    }
    if (step % 50 == 31) glm_session_truncate(session, length - 3);
    const int64_t now = glm_session_length(session);
    if (step % 50 == 43)
        help_require(glm_prefill(session, text + now, 3), "prefill");
    else if (is_ahead && step % 10 != 4)
        help_require(glm_decode_ahead(session, text[now]), "decode ahead");
    else
        help_require(glm_decode(&session, &text[now], 1), "decode");
    note(h, session, session);
}

static void run(const glm_options *options, bool is_ahead, bool must_overflow, history *h) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_session *other = NULL;
    help_require(glm_engine_open(options, &engine), "open");
    help_require(glm_session_create(engine, N_TEXT, &session), "session");
    help_require(glm_session_create(engine, N_OTHER, &other), "session");
    if (glm_engine_plan(engine)->kv_overflows != must_overflow) {
        printf("FAIL: KV %s\n", must_overflow ? "does not overflow" : "overflows");
        n_failed++;
    }
    help_require(glm_prefill(session, text, N_PROMPT), "prefill");
    for (int step = 0; step < N_STEPS && glm_session_length(session) < N_TEXT; step++)
        take_step(h, session, other, step, is_ahead);
    h->drafts = glm_engine_drafts(engine);
    glm_session_free(other);
    glm_session_free(session);
    glm_engine_close(engine);
}

static void check(glm_options options, bool must_overflow, const char *what) {
    static history plain;
    static history ahead;
    plain.n = ahead.n = 0;
    options.max_len = N_TEXT;
    options.chunk = 128;
    options.max_seqs = 2;
    options.extra_kv_tokens = N_TEXT + 2 * N_OTHER;
    run(&options, false, must_overflow, &plain);
    options.n_speculative = GLM_DRAFT_MAX;
    run(&options, true, must_overflow, &ahead);
    printf("%s: %" PRId64 " of %" PRId64 " drafted tokens right\n", what, ahead.drafts.n_taken,
            ahead.drafts.n_drafted);
    if (plain.drafts.n_drafted != 0 || ahead.drafts.n_taken < N_STEPS / 8 ||
            ahead.drafts.n_taken > ahead.drafts.n_drafted - N_STEPS / 20) {
        printf("FAIL %s: too few are right, or wrong\n", what);
        n_failed++;
    }
    if (plain.n != ahead.n || plain.lengths[plain.n - 1] != N_TEXT) {
        printf("FAIL %s: %d steps, without drafts %d, or not to the session's end\n", what, ahead.n,
                plain.n);
        n_failed++;
        return;
    }
    for (int i = 0; i < plain.n; i++) {
        if (plain.lengths[i] == ahead.lengths[i] &&
                memcmp(plain.rows[i], ahead.rows[i], sizeof plain.rows[i]) == 0)
            continue;
        printf("FAIL %s: step %d, length %" PRId64 ", without drafts %" PRId64 "\n", what, i,
                ahead.lengths[i], plain.lengths[i]);
        n_failed++;
        return;
    }
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const help_shape shape = {.hidden = 64,
            .n_layers = 3,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 16,
            .ffn = 128,
            .vocab = VOCAB,
            .dtype = "bfloat16"};
    const char *disk = ckh_make_dir();
    const glm_options plain = {.model_dir = help_random_model(&shape, 13), .threads = 2};
    glm_options other = plain;
    make_text();
    check(plain, false, "in memory");
    other.kv_dtype = "int8";
    check(other, false, "int8");
    other.kv_dtype = "fp8";
    other.host_kv_bytes = INT64_C(1) << 20;
    other.n_kv_disk_dirs = 1;
    other.kv_disk_dirs = &disk;
    check(other, true, "fp8, and on disk");
    if (getenv("GLM_TEST_FAST")) return n_failed ? 1 : 0;
    other.kv_dtype = NULL;
    check(other, true, "on disk");
    other.persists = true;
    other.host_kv_bytes = INT64_C(64) << 20;
    check(other, true, "kept on disk");
    other = plain;
    other.tensor_parallel = 2;
    other.threads = 1;
    check(other, false, "two ranks");
    return n_failed ? 1 : 0;
}
