/* Lossy KV by flag gives one answer: the same logits, bit for bit, for any chunk, span, number of
 * threads and budget, prefilled or decoded, forked or not, read back from disk or not. It differs
 * from the lossless answer, and finds the needle all the same.
 *
 * Method: one text with a needle, many engines; the reference is a run in memory. Positions are
 * chosen so that pages, extents and segments are cut: forks and truncations inside sealed pages are
 * made at their start, and what is missing is computed again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_dir.h"
#include "help_needle.h"

enum { N_STEPS = 7, ROOM = 200, N_DECODED = 150 };

static const char *dirs[1];
static int64_t vocab;

static void take_row(float *rows, const glm_session *session, int step) {
    const float *row = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &row, &n_rows), "logits");
    memcpy(rows + step * vocab, row + (n_rows - 1) * vocab, (size_t)vocab * sizeof(float));
}

static void go_on(glm_session *session, float *rows) {
    take_row(rows, session, 0);
    for (int step = 1; step <= N_STEPS; step++) {
        const int32_t id = help_next(session);
        help_require(glm_decode(&session, &id, 1), "decode");
        take_row(rows, session, step);
    }
}

/* How the text gets into the session. */
typedef enum way { WHOLE, DECODED_END, FORKED, TRUNCATED, RESTORED } way;

static void fill(glm_session *session, const glm_ids *ids, way how) {
    int64_t n = glm_session_length(session);
    if (how == DECODED_END) {
        help_require(glm_prefill(session, ids->ids, ids->n - N_DECODED), "prefill");
        for (int64_t i = ids->n - N_DECODED; i < ids->n; i++)
            help_require(glm_decode(&session, &ids->ids[i], 1), "decode");
        return;
    }
    if (how == TRUNCATED) {
        help_require(glm_prefill(session, ids->ids, ids->n), "prefill");
        glm_session_truncate(session, ids->n - 300);
        n = glm_session_length(session);
        if (n > ids->n - 300 || n <= ids->n - 300 - 128) {
            printf("FAIL truncated to %" PRId64 "\n", n);
            exit(1);
        }
    }
    help_require(glm_prefill(session, ids->ids + n, ids->n - n), "prefill");
}

static float *run(const glm_options *options, const glm_ids *ids, way how) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    help_require(glm_engine_open(options, &engine), "open");
    vocab = glm_engine_config(engine)->vocab;
    float *rows = calloc((size_t)((N_STEPS + 1) * vocab), sizeof *rows);
    help_require(glm_session_create(engine, ids->n + ROOM, &session), "session");
    glm_reuse reuse = {0};
    if (how == RESTORED)
        help_require(glm_session_restore(session, ids->ids, ids->n, &reuse), "restore");
    if (how == RESTORED && reuse.n_tokens < ids->n - 1 - 128) {
        printf("FAIL only %" PRId64 " tokens restored: %s\n", reuse.n_tokens, reuse.reason);
        exit(1);
    }
    fill(session, ids, how);
    if (how == FORKED) {
        glm_session *fork = NULL;
        help_require(glm_session_fork(session, ids->n - 200, ids->n + ROOM, &fork), "fork");
        fill(fork, ids, WHOLE);
        go_on(fork, rows);
        glm_session_free(fork);
    } else {
        if (options->persists && how == WHOLE)
            help_require(glm_session_keep(session, "book", ""), "keep");
        go_on(session, rows);
    }
    glm_session_free(session);
    glm_engine_close(engine);
    return rows;
}

static void check(const char *what, const glm_options *options, const glm_ids *ids, way how,
        const float *want) {
    float *got = run(options, ids, how);
    if (memcmp(want, got, (size_t)((N_STEPS + 1) * vocab) * sizeof *got) != 0) {
        printf("FAIL %s: other logits\n", what);
        exit(1);
    }
    printf("%s: the same\n", what);
    free(got);
}

/* A model with ordinary numbers: rounding them shows. (The embedded one's are few and exact.) */
static void check_it_rounds(const char *type) {
    glm_ids ids = {0};
    for (int32_t i = 0; i < 400; i++) help_require(glm_ids_push(&ids, i * 37 % 60), "push");
    glm_options o = {.model_dir = "tests/golden/native_bf16_kv4", .max_len = 400 + ROOM};
    float *exact = run(&o, &ids, WHOLE);
    o.kv_dtype = type;
    float *rounded = run(&o, &ids, WHOLE);
    o.chunk = 128;
    check("ordinary numbers in chunks", &o, &ids, WHOLE, rounded);
    check("ordinary numbers, decoded", &o, &ids, DECODED_END, rounded);
    if (memcmp(exact, rounded, (size_t)vocab * sizeof *exact) == 0) {
        printf("FAIL %s changes nothing: is it applied?\n", type);
        exit(1);
    }
    free(exact);
    free(rounded);
    glm_ids_free(&ids);
}

static void check_type(const char *type, const glm_ids *ids, const char *value) {
    glm_options plain = {
            .model_dir = NULL, .kv_dtype = type, .max_len = ids->n + ROOM, .chunk = 512};
    static const char *model;
    if (!model) model = help_needle_model();
    plain.model_dir = model;
    float *want = run(&plain, ids, WHOLE);
    for (int i = 0; i < N_STEPS; i++) {
        const float *row = want + i * vocab;
        int64_t best = 0;
        for (int64_t id = 1; id < vocab; id++)
            if (row[id] > row[best]) best = id;
        if (best != value[i]) {
            printf("FAIL %s: the needle is not found\n", type);
            exit(1);
        }
    }
    glm_options o = plain;
    o.chunk = 128;
    o.span = 4096;
    o.threads = 1;
    check("another chunk, span, one thread", &o, ids, WHOLE, want);
    check("the end decoded", &plain, ids, DECODED_END, want);
    o = plain;
    o.extra_kv_tokens = ids->n + ROOM;
    check("forked inside a page", &o, ids, FORKED, want);
    check("truncated inside a page", &plain, ids, TRUNCATED, want);
    o = plain;
    o.kv_disk_dirs = dirs;
    o.n_kv_disk_dirs = 1;
    o.host_kv_bytes = 3 << 20;
    check("streamed from disk", &o, ids, WHOLE, want);
    check("streamed, the end decoded", &o, ids, DECODED_END, want);
    check("streamed, truncated", &o, ids, TRUNCATED, want);
    o.host_kv_bytes = 0;
    o.persists = true;
    check("kept", &o, ids, WHOLE, want);
    check("restored", &o, ids, RESTORED, want);
    free(want);
}

int main(void) {
    dirs[0] = help_dir();
    glm_ids ids = {0};
    char value[8];
    help_value(5, value);
    help_append_opening(&ids);
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    help_append_filler(&ids, is_fast ? 600 : 2000, 1);
    help_append_needle(&ids, "quiet lantern", 5);
    help_append_filler(&ids, is_fast ? 700 : 3000, 2);
    help_append_question(&ids, "quiet lantern");
    check_it_rounds("int8");
    check_it_rounds("int4");
    check_it_rounds("fp8");
    check_type("int8", &ids, value);
    if (!is_fast) check_type("int4", &ids, value);
    if (!is_fast) check_type("fp8", &ids, value);
    glm_ids_free(&ids);
    return 0;
}
