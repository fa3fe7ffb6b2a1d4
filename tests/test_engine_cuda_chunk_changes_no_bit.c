/* On a GPU a row's bits depend on no other rows: they are the same whatever the chunk, whatever other positions' logits are
 * asked for, beside any other sequences in a step, and where tokens of some are prefilled in the same pass as others are
 * decoded.
 *
 * Method: a random model, on a GPU that tests/standin plays, whose cuBLASLt adds in another order with nearly every number
 * of rows that it is asked for a kernel for; and where it refuses to take a kernel for a number of rows, which the engine
 * must know. The same program without the stand-in, test_engine_gpu_chunk_changes_no_bit, is for a real GPU (tests/gpu.sh):
 * there the layers are the 9B's, for which the real cuBLASLt has other kernels for other numbers of rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_ranks.h"
#include "runtime/engine_cuda.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

#pragma weak standin_cuda_get
#pragma weak standin_plain_use

enum { PAGE = 128, N_SEQS = 5, N_STEPS = 2, N_WANTED = 3, VOCAB = 272, N_MAX = 5000 };

static int n_failed;
static int32_t ids[N_MAX + 64];

static bool is_played(void) {
    return standin_cuda_get != NULL;
}

static int64_t n_tokens(void) {
    return is_played() ? PAGE + 30 : N_MAX;
}

/* Of a session: what a check begins with and adds. */
static int64_t room(void) {
    return n_tokens() + 2 * PAGE;
}

static void expect(bool is_right, const char *what, int64_t which) {
    if (is_right) return;
    printf("FAIL: %s (%lld)\n", what, (long long)which);
    n_failed++;
}

static const char *make_model(void) {
    const help_shape small = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 2,
            .n_kv_heads = 1,
            .head_dim = 128,
            .ffn = 72,
            .vocab = VOCAB,
            .dtype = "bfloat16"};
    help_shape shape = small;
    if (!is_played()) {
        shape.hidden = 4096;
        shape.n_heads = 32;
        shape.n_kv_heads = 4;
        shape.ffn = 13696;
    }
    return help_random_model(&shape, 11);
}

static glm_engine *open_in_chunks(const char *model, int64_t chunk) {
    const glm_options options = {.model_dir = model,
            .device = "cuda",
            .max_len = room(),
            .chunk = chunk,
            .max_seqs = N_SEQS,
            .extra_kv_tokens = N_SEQS * (room() + PAGE),
            .max_logits = N_SEQS,
            .threads = 2};
    glm_engine *engine = NULL;
    if (glm_engine_open(&options, &engine) == RT_OK) return engine;
    printf("no GPU to compute on: %s\n", rt_error_text());
    exit(is_played() ? 1 : 77);
}

/* A test of bits that depend on rows after all would say nothing of what it is about. */
static void close_engine(glm_engine *engine) {
    const int64_t n_refused = glm_cublas_refused(engine->cuda->cublas);
    if (n_refused > 0)
        printf("this cuBLASLt does not let a kernel be taken for other numbers of rows: %lld times; bits may "
               "depend on the chunk here\n",
                (long long)n_refused);
    n_failed += n_refused > 0;
    glm_engine_close(engine);
}

/* ---- chunks, and what else is asked for ------------------------------------------------------ */

typedef struct rows {
    float at[N_WANTED + N_STEPS][VOCAB];
} rows;

static void run_in_chunks(const char *model, int64_t chunk, rows *out) {
    const int64_t n = n_tokens();
    const int64_t wanted[N_WANTED] = {n / 7, n / 2, n - 1};
    glm_engine *engine = open_in_chunks(model, chunk);
    float *all = help_engine_logits(engine, ids, n, wanted, N_WANTED, N_STEPS);
    float *last = help_engine_logits(engine, ids, n, &wanted[N_WANTED - 1], 1, 0);
    memcpy(out->at, all, sizeof out->at);
    expect(memcmp(last, out->at[N_WANTED - 1], sizeof out->at[0]) == 0,
            "a row of logits has other bits alone than with others, chunk", chunk);
    free(all);
    free(last);
    close_engine(engine);
}

/* Says of each row that has other bits which it is, and by how much they differ. */
static void compare(const rows *whole, const rows *cut, int64_t chunk) {
    for (int i = 0; i < N_WANTED + N_STEPS; i++) {
        if (memcmp(whole->at[i], cut->at[i], sizeof cut->at[i]) == 0) continue;
        printf("FAIL: other logits in chunks of %lld, %s %d: error %.2g\n", (long long)chunk,
                i < N_WANTED ? "row" : "decoded token", i < N_WANTED ? i : i - N_WANTED,
                help_relative_error(cut->at[i], whole->at[i], VOCAB));
        n_failed++;
    }
}

static void check_chunks(const char *model) {
    static rows whole, cut;
    const int64_t chunks[] = {PAGE, is_played() ? 50 : 2 * PAGE, 1000};
    run_in_chunks(model, n_tokens(), &whole);
    for (int i = 0; i < (is_played() ? 2 : 3); i++) {
        run_in_chunks(model, chunks[i], &cut);
        compare(&whole, &cut, chunks[i]);
    }
}

/* ---- beside others --------------------------------------------------------------------------- */

static int64_t length_of(int i) {
    return 20 + 30 * i;
}

static void make_sessions(glm_engine *engine, glm_session *sessions[N_SEQS]) {
    for (int i = 0; i < N_SEQS; i++) {
        help_require(glm_session_create(engine, room(), &sessions[i]), "session");
        help_require(glm_prefill(sessions[i], ids + i, length_of(i)), "prefill");
    }
}

static void decode(glm_session *const *sessions, int first, int n, float out[][VOCAB]) {
    int32_t next[N_SEQS];
    for (int i = 0; i < n; i++) next[i] = ids[first + i + 100];
    help_require(glm_decode(sessions + first, next, n), "decode");
    for (int i = 0; i < n; i++) help_engine_row(sessions[first + i], out[first + i], VOCAB);
    for (int i = 0; i < n; i++) glm_session_truncate(sessions[first + i], length_of(first + i));
}

static void check_decode(glm_session *const *sessions) {
    static float alone[N_SEQS][VOCAB], beside[N_SEQS][VOCAB];
    for (int i = 0; i < N_SEQS; i++) decode(sessions, i, 1, alone);
    for (int n = 2; n <= N_SEQS; n++) {
        decode(sessions, 0, n, beside);
        expect(memcmp(alone, beside, (size_t)n * sizeof beside[0]) == 0,
                "other logits beside others, sequences", n);
    }
}

/* Some of one token, which are decoded, among others; the last one leaves one token of a chunk. */
static void check_together(glm_session *const *sessions) {
    static float alone[N_SEQS][VOCAB], beside[N_SEQS][VOCAB];
    static const int64_t n_ids[N_SEQS] = {7, 1, 40, 1, PAGE + 1};
    const int32_t *added[N_SEQS];
    for (int i = 0; i < N_SEQS; i++) {
        added[i] = ids + 100 + i;
        if (n_ids[i] > 1) help_require(glm_prefill(sessions[i], added[i], n_ids[i]), "prefill");
        if (n_ids[i] == 1) help_require(glm_decode(&sessions[i], added[i], 1), "decode");
        help_engine_row(sessions[i], alone[i], VOCAB);
        glm_session_truncate(sessions[i], length_of(i));
    }
    help_require(glm_prefill_together(sessions, added, n_ids, N_SEQS), "together");
    for (int i = 0; i < N_SEQS; i++) {
        help_engine_row(sessions[i], beside[i], VOCAB);
        expect(memcmp(alone[i], beside[i], sizeof alone[i]) == 0, "other logits together, sequence",
                i);
    }
}

static void check_sequences(const char *model) {
    glm_session *sessions[N_SEQS];
    glm_engine *engine = open_in_chunks(model, PAGE);
    make_sessions(engine, sessions);
    check_decode(sessions);
    check_together(sessions);
    for (int i = 0; i < N_SEQS; i++) glm_session_free(sessions[i]);
    close_engine(engine);
}

/* ---- kernels that are refused ---------------------------------------------------------------- */

/* The answer is right, in other bits, and known to be. */
static void check_refused(const char *model) {
    static rows right;
    const int64_t n = n_tokens();
    const int64_t wanted[N_WANTED] = {n / 7, n / 2, n - 1};
    run_in_chunks(model, n, &right);
    standin_cuda_get()->refused_rows = PAGE;
    for (int i = 0; i < 4; i++) { /* ways to say so */
        glm_engine *engine = open_in_chunks(model, PAGE);
        float *got = help_engine_logits(engine, ids, n, wanted, N_WANTED, N_STEPS);
        const double error =
                help_relative_error(got, right.at[0], (int64_t)(sizeof right / sizeof *got));
        expect(error > 0.0 && error < 0.02, "logits by kernels of another number of rows", i);
        expect(glm_cublas_refused(engine->cuda->cublas) > 0, "kernels that are refused", i);
        free(got);
        glm_engine_close(engine);
    }
    standin_cuda_get()->refused_rows = 0;
}

int main(void) {
    help_engine_ids(ids, N_MAX + 64, 31);
    if (is_played()) {
        standin_plain_use(true);
        standin_cuda_get()->is_unguarded = true;
    }
    const char *model = make_model();
    check_chunks(model);
    check_sequences(model);
    if (is_played()) check_refused(model);
    return n_failed ? 1 : 0;
}
