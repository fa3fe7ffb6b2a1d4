/* What is read back from disk is what was computed: logits after a book, restored by another engine,
 * are those of the engine that made it, to the last bit, also with another chunk, span, number of
 * threads and budget.
 *
 * Method: prefill a text of two and a half segments, keep it as a book, and decode a few tokens.
 * Then, in engines of their own: restore all, or as much as another text shares, and compare. First
 * the same, smaller, with a random model. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_dir.h"
#include "help_needle.h"

enum { N_STEPS = 3, ROOM = 64 };

static const char *dirs[1];

typedef struct answer {
    float *logits; /* [N_STEPS + 1][vocab] */
    int64_t vocab;
    glm_reuse reuse;
} answer;

static void take_row(answer *a, const glm_session *session, int step) {
    const float *row = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &row, &n_rows), "logits");
    memcpy(a->logits + step * a->vocab, row + (n_rows - 1) * a->vocab,
            (size_t)a->vocab * sizeof(float));
}

static answer ask(const glm_options *options, const glm_ids *ids, const char *book) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    help_require(glm_engine_open(options, &engine), "open");
    answer a = {.vocab = glm_engine_config(engine)->vocab};
    a.logits = calloc((size_t)((N_STEPS + 1) * a.vocab), sizeof(float));
    help_require(glm_session_create(engine, options->max_len, &session), "session");
    help_require(glm_session_restore(session, ids->ids, ids->n, &a.reuse), "restore");
    const int64_t n = a.reuse.n_tokens;
    help_require(glm_prefill(session, ids->ids + n, ids->n - n), "prefill");
    take_row(&a, session, 0);
    if (book) help_require(glm_session_keep(session, book, "source=a test\n"), "keep");
    for (int step = 1; step <= N_STEPS; step++) {
        const int32_t id = help_next(session);
        help_require(glm_decode(&session, &id, 1), "decode");
        take_row(&a, session, step);
    }
    glm_session_free(session);
    glm_engine_close(engine);
    return a;
}

static void require_equal(const char *what, const answer *want, answer *got, int64_t n_reused) {
    const size_t bytes = (size_t)((N_STEPS + 1) * want->vocab) * sizeof(float);
    if (memcmp(want->logits, got->logits, bytes) != 0) {
        printf("FAIL %s: other logits\n", what);
        exit(1);
    }
    if (got->reuse.n_tokens != n_reused) {
        printf("FAIL %s: %" PRId64 " tokens reused instead of %" PRId64 " (%s)\n", what,
                got->reuse.n_tokens, n_reused, got->reuse.reason);
        exit(1);
    }
    printf("%s: %" PRId64 " reused; %s\n", what, got->reuse.n_tokens, got->reuse.reason);
    free(got->logits);
}

/* A model with ordinary weights: every key and value of the text has its part in every logit. (The
 * embedded one attends to few, and would not notice most.) */
static void check_every_row_counts(void) {
    glm_ids ids = {0};
    for (int32_t i = 0; i < 400; i++) help_require(glm_ids_push(&ids, i * 37 % 60), "push");
    glm_options o = {.model_dir = "tests/golden/native_bf16_kv4", .max_len = ids.n + ROOM};
    const answer want = ask(&o, &ids, NULL);
    o.persists = true;
    o.kv_disk_dirs = dirs;
    o.n_kv_disk_dirs = 1;
    answer got = ask(&o, &ids, "small");
    require_equal("a book of ordinary numbers", &want, &got, 0);
    got = ask(&o, &ids, NULL);
    require_equal("and read back", &want, &got, ids.n - 1);
    free(want.logits);
    glm_ids_free(&ids);
}

/* Budgets: what is on disk is streamed, not loaded; not even the unfinished extents of all layers stay in memory. */
enum { STREAMS = 45 << 20, PARKS = 27 << 20 };

/* The text again, by the engine that makes the book and by others. */
static void check_same_text(const glm_options *plain, glm_options kept, const glm_ids *ids) {
    const answer want = ask(plain, ids, NULL);
    answer got = ask(&kept, ids, "first");
    require_equal("making the book", &want, &got, 0);
    got = ask(&kept, ids, NULL);
    require_equal("all of it again", &want, &got, ids->n - 1);
    kept.threads = 1;
    kept.chunk = 256;
    kept.span = 4096;
    kept.host_kv_bytes = STREAMS;
    got = ask(&kept, ids, NULL);
    require_equal("with another budget", &want, &got, ids->n - 1);
    free(want.logits);
}

static void check_parked(glm_options kept, const glm_ids *ids) {
    const glm_ids shorter = {.ids = ids->ids, .n = ids->n - 50};
    kept.host_kv_bytes = PARKS;
    const answer parked = ask(&kept, &shorter, "parked");
    kept.host_kv_bytes = STREAMS;
    answer got = ask(&kept, &shorter, NULL);
    require_equal("a book made in a budget that parks it", &parked, &got, shorter.n - 1);
    free(parked.logits);
}

static void check_other_text(
        const glm_options *plain, glm_options kept, const glm_ids *ids, int64_t change_at) {
    glm_ids other = {0};
    help_require(glm_ids_append(&other, ids->ids, ids->n), "append");
    other.ids[change_at] ^= 1;
    const answer want = ask(plain, &other, NULL);
    kept.host_kv_bytes = STREAMS;
    answer got = ask(&kept, &other, NULL);
    require_equal("another text from some token on", &want, &got, change_at);
    kept.host_kv_bytes = 0;
    kept.kv_io = "pread";
    got = ask(&kept, &other, "second");
    require_equal("and in memory", &want, &got, change_at);
    got = ask(&kept, &other, NULL);
    require_equal("which is a book too", &want, &got, ids->n - 1);
    free(want.logits);
    glm_ids_free(&other);
}

static void check_ids(const glm_options *kept, const glm_ids *ids) {
    int32_t *book = NULL;
    int64_t n_book = 0;
    glm_engine *engine = NULL;
    help_require(glm_engine_open(kept, &engine), "open");
    help_require(glm_book_ids(engine, "first", &book, &n_book), "ids of a book");
    if (n_book != ids->n || memcmp(book, ids->ids, (size_t)n_book * sizeof *book) != 0) {
        printf("FAIL the book has other ids\n");
        exit(1);
    }
    free(book);
    glm_engine_close(engine);
}

int main(void) {
    dirs[0] = help_dir();
    check_every_row_counts();
    glm_ids ids = {0};
    help_append_opening(&ids);
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    help_append_filler(&ids, (is_fast ? 4500 : 10240 - 100) - ids.n, 1);
    const glm_options plain = {.model_dir = help_needle_model(), .max_len = ids.n + ROOM};
    glm_options kept = plain;
    kept.persists = true;
    kept.kv_disk_dirs = dirs;
    kept.n_kv_disk_dirs = 1;
    check_same_text(&plain, kept, &ids);
    kept.threads = 1;
    kept.chunk = 256;
    kept.span = 4096;
    check_parked(kept, &ids);
    check_other_text(&plain, kept, &ids, is_fast ? 4200 : 9000);
    check_ids(&kept, &ids);
    glm_ids_free(&ids);
    return 0;
}
