/* After a call to CUDA that was refused the engine goes on: the step that failed, taken again, has the bits that it has
 * without one: steps of decode of two sequences, of one with tokens drafted for it, a pass of several, prefills; with fp8 KV,
 * where a step fills a page. Nor does
 * a prefill that could not begin stop the session from being cut.
 *
 * Method: a tiny random model on a GPU that tests/standin plays, once for each call of a step, but waits: after one of
 * those that fails nothing goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N = 2, VOCAB = 272, N_IDS = 300 };
static int64_t n_held[N];

static int32_t ids[N_IDS];
static int n_failed;

typedef struct rows {
    float at[N][VOCAB];
} rows;

typedef rt_status step_fn(glm_session *const *sessions);

/* First in the other's places, so that lists of pages are sent. */
static rt_status decode(glm_session *const *sessions) {
    glm_session *turned[N] = {sessions[1], sessions[0]};
    RT_TRY(glm_decode(turned, ids + 140, N));
    RT_TRY(glm_decode(sessions, ids + 150, N)); /* as it comes; the graph */
    RT_TRY(glm_decode(sessions, ids + 160, N));
    return glm_decode(sessions, ids + 170, N);
}

/* Likewise. */
static rt_status together(glm_session *const *sessions) {
    glm_session *turned[N] = {sessions[1], sessions[0]};
    const int32_t *added[N] = {ids + 150, ids + 160};
    const int64_t one[N] = {1, 1}, more[N] = {1, 5};
    RT_TRY(glm_prefill_together(turned, added, one, N));
    RT_TRY(glm_prefill_together(sessions, added, more, N));
    return glm_decode(sessions, ids + 170, N);
}

/* The text goes round, so that what follows is drafted, once; the first of it is right. */
static rt_status ahead(glm_session *const *sessions) {
    for (int i = 0; i < 9; i++)
        RT_TRY(glm_decode_ahead(sessions[0], ids[i < 7 ? 40 + i % 3 : 50 + i]));
    RT_TRY(glm_decode(sessions, ids + 160, N));
    return glm_decode(sessions, ids + 170, N);
}

/* A sequence's last page is another one than before, in either place: first the other sequence's, then a new one. */
static rt_status open_pages(glm_session *const *sessions) {
    glm_session *turned[N] = {sessions[1], sessions[0]};
    RT_TRY(glm_decode(turned, ids + 140, N));
    return glm_decode(sessions, ids + 150, N);
}

static rt_status prefill(glm_session *const *sessions) {
    for (int i = 0; i < N; i++) RT_TRY(glm_prefill(sessions[i], ids + 150, 7));
    return glm_decode(sessions, ids + 170, N);
}

/* Back to what was prefilled; lossy KV may have lost some of a page. */
static void go_back(glm_session *const *sessions) {
    for (int i = 0; i < N; i++) {
        glm_session_truncate(
                sessions[i], glm_session_length(sessions[i]) < n_held[i] ? 0 : n_held[i]);
        const int64_t n = glm_session_length(sessions[i]);
        if (n == n_held[i]) continue;
        glm_session_truncate(sessions[i], 0);
        help_require(glm_prefill(sessions[i], ids, n_held[i]), "prefill");
    }
}

static void read_rows(glm_session *const *sessions, rows *out) {
    for (int i = 0; i < N; i++) help_engine_row(sessions[i], out->at[i], VOCAB);
}

/* Every n-th call. */
static void check(const char *kv_dtype, const char *what, step_fn *step, int64_t n) {
    static rows right, got;
    standin_cuda *gpu = standin_cuda_get();
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = "cuda",
            .kv_dtype = kv_dtype,
            .max_len = 160,
            .max_seqs = N,
            .n_speculative = 6,
            .extra_kv_tokens = 256,
            .threads = 1};
    glm_engine *engine = NULL;
    glm_session *sessions[N] = {0};
    help_require(glm_engine_open(&options, &engine), "engine");
    for (int i = 0; i < N; i++)
        help_require(glm_session_create(engine, 150, &sessions[i]), "session");
    go_back(sessions);
    const int64_t before = gpu->n_calls;
    help_require(step(sessions), what);
    const int64_t n_calls = gpu->n_calls - before;
    read_rows(sessions, &right);
    int64_t n_refused = 0;
    for (int64_t at = 1; at <= n_calls; at += n) {
        go_back(sessions);
        gpu->fail_at = gpu->n_calls + at;
        const bool is_refused = step(sessions) != RT_OK;
        gpu->fail_at = 0;
        n_refused += is_refused;
        go_back(sessions);
        help_require(step(sessions), what);
        read_rows(sessions, &got);
        if (memcmp(&right, &got, sizeof right) == 0) continue;
        printf("FAIL: %s, %s: other logits after call %lld failed\n", kv_dtype, what,
                (long long)at);
        n_failed++;
    }
    if ((step == ahead) != (glm_engine_drafts(engine).n_taken > 0)) {
        printf("FAIL: %s: %lld drafted tokens are right\n", what,
                (long long)glm_engine_drafts(engine).n_taken);
        n_failed++;
    }
    printf("%s, %s: %lld of %lld calls refused\n", kv_dtype, what, (long long)n_refused,
            (long long)n_calls);
    n_failed += n_refused == 0;
    for (int i = 0; i < N; i++) glm_session_free(sessions[i]);
    glm_engine_close(engine);
}

int main(void) {
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    standin_plain_use(true);
    standin_cuda_get()->waits_well = true;
    standin_cuda_get()->is_unguarded = true;
    help_engine_ids(ids, N_IDS, 21);
    n_held[0] = 5;
    n_held[1] = 3;
    check("bf16", "decode", decode, is_fast ? 17 : 5);
    check("bf16", "together", together, is_fast ? 17 : 3);
    check("bf16", "ahead", ahead, is_fast ? 53 : 29);
    check("bf16", "prefill", prefill, is_fast ? 17 : 3);
    n_held[0] = 125; /* a step fills a page */
    check("fp8", "decode", decode, is_fast ? 47 : 29);
    n_held[0] = 127;
    check("fp8", "open pages", open_pages, is_fast ? 17 : 2);
    return n_failed ? 1 : 0;
}
