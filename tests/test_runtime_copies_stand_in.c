/* Ranks that hold the same heads keep a copy each: a damaged one is named by verify, whichever it is, and
 * the other one stands in for it, also while it streams from the disk: nothing is computed again, and the
 * copy is whole again afterwards. Where all copies are damaged it is computed again. Answers are the same, to
 * the last bit, and what happened to which file is said.
 *
 * Method: a random model with 2 KV heads and 4 ranks, so two of them to a head; a book of a segment and a
 * tail. One rank's segment is damaged in its header or in its data; verified first, or found by whoever
 * opens it; or by a prefill or decode that streams it, behind an engine that had opened it whole. One
 * rank alone puts its heads together from whichever copies are whole. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_ranks.h"
#include "help_verify_book.h"
#include "kvstore/kvstore.h"

enum { N_IDS = 4300, N_RANKS = 4, N_MORE = 40, N_DECODED = 2 };

static const char *model;
static const char *base;
static int32_t ids[N_IDS + N_MORE];
static int n_failed;

static void shell(const char *format, ...) RT_PRINTF(1, 2);
static void shell(const char *format, ...) {
    char command[8192];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    if (system(command) == 0) return;
    printf("FAIL: %s\n", command);
    exit(1);
}

/* host_kv_bytes 0: all of it is in memory. */
static void open_some(const char *dir, int n_ranks, int64_t host_kv_bytes, glm_engine **engine,
        glm_session **session) {
    char pattern[4096];
    (void)snprintf(pattern, sizeof pattern, "%s/%s/r%%r", base, dir);
    const glm_options options = {.model_dir = model,
            .tensor_parallel = n_ranks,
            .max_len = N_IDS + N_MORE,
            .host_kv_bytes = host_kv_bytes,
            .chunk = 1024,
            .threads = 1,
            .persists = true,
            .needs_kept = true,
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = &(const char *){pattern}};
    help_require(glm_engine_open(&options, engine), "open");
    help_require(glm_session_create(*engine, N_IDS + N_MORE, session), "session");
}

static void open_all(const char *dir, glm_engine **engine, glm_session **session) {
    open_some(dir, N_RANKS, 0, engine, session);
}

static void make_book(void) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    open_all("made", &engine, &session);
    help_require(glm_prefill(session, ids, N_IDS - 1), "prefill");
    help_require(glm_session_keep(session, "b", "source=test\n"), "keep");
    glm_session_free(session);
    glm_engine_close(engine);
}

/* Segments that verify finds bad; the first error. */
static int64_t verify(char *error, size_t n_bytes) {
    char dirs[N_RANKS][4096];
    const char *list[N_RANKS];
    kv_books *books = NULL;
    kv_book_report report;
    for (int r = 0; r < N_RANKS; r++) {
        (void)snprintf(dirs[r], sizeof dirs[r], "%s/copy/r%d", base, r);
        list[r] = dirs[r];
    }
    help_require(kv_books_open(list, N_RANKS, &books), "books");
    help_require(help_verify_book(books, "b", &report), "verify");
    (void)snprintf(error, n_bytes, "%s", report.first_error);
    kv_books_close(books);
    return report.n_bad;
}

static void check_verify(const char *rank, int64_t n_bad) {
    char error[1024];
    char where[64];
    const int64_t n_found = verify(error, sizeof error);
    (void)snprintf(where, sizeof where, "/copy/%s/vault/", rank);
    printf("    verify: %lld bad%s%s\n", (long long)n_found, n_found ? ": " : "", error);
    if (n_found != n_bad || (n_bad && !strstr(error, where))) n_failed++;
}

static void copy_book(void) {
    shell("cd '%s' && rm -rf copy && cp -r made copy", base);
}

/* The largest file, a whole segment: in its header, in its data, or all of it. */
static void damage(const char *rank, const char *place) {
    if (strcmp(place, "all") == 0) {
        shell("cd '%s' && truncate -s 0 $(ls -S copy/%s/vault/*/*/*.kvs | head -n 1)", base, rank);
        return;
    }
    shell("cd '%s' && f=$(ls -S copy/%s/vault/*/*/*.kvs | head -n 1) && n=$(stat -c %%s \"$f\") && "
          "printf damage | dd of=\"$f\" bs=1 seek=$((%s)) conv=notrunc,fsync 2>/dev/null",
            base, rank, strcmp(place, "header") == 0 ? "16" : "n / 2");
}

static void check(const char *rank, const char *place, bool is_verified) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse;
    printf("%s of %s is damaged%s\n", place, rank, is_verified ? ", and verified" : "");
    copy_book();
    damage(rank, place);
    if (is_verified) check_verify(rank, 1);
    open_all("copy", &engine, &session);
    help_require(glm_session_restore(session, ids, N_IDS, &reuse), "restore");
    printf("    %lld tokens reused %s\n", (long long)reuse.n_tokens, reuse.reason);
    if (reuse.n_tokens != N_IDS - 1) n_failed++;
    glm_session_free(session);
    glm_engine_close(engine);
    check_verify(rank, 0);
    shell("[ $(ls '%s/copy/%s/vault'/*/*/*.kvs | wc -l) -eq 2 ]", base, rank);
}

/* ---- while it streams ------------------------------------------------------------------------ */

typedef struct answer {
    float logits[(1 + N_DECODED) * 304];
    char log[1 << 14]; /* what all ranks said */
} answer;

static void take_row(const glm_session *session, answer *out, int row) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    memcpy(out->logits + row * 304, logits, 304 * sizeof *logits);
}

/* The book, some more tokens, some decoded. Two ranks may be damaged, NULL: not, once it is open; then, or
 * before the last token is decoded. */
static void ask(
        int64_t host_kv_bytes, const char *one, const char *other, bool is_late, answer *out) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse;
    open_some("copy", N_RANKS, host_kv_bytes, &engine, &session);
    help_require(glm_session_restore(session, ids, N_IDS, &reuse), "restore");
    if (reuse.n_tokens != N_IDS - 1) n_failed++;
    for (int step = 0; step <= N_DECODED; step++) {
        const bool is_now = step == (is_late ? N_DECODED : 0);
        if (is_now && one) damage(one, is_late && !other ? "all" : "data");
        if (is_now && other) damage(other, "data");
        const int32_t id = step;
        if (step == 0)
            help_require(glm_prefill(session, ids + N_IDS - 1, N_MORE - N_DECODED), "prefill");
        else
            help_require(glm_decode(&session, &id, 1), "decode");
        take_row(session, out, step);
    }
    glm_session_free(session);
    glm_engine_close(engine);
}

/* The same, and what is said to stderr meanwhile. */
static void ask_and_hear(
        int64_t host_kv_bytes, const char *one, const char *other, bool is_late, answer *out) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/log", base);
    (void)fflush(stderr);
    const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
    const int before = dup(2);
    if (file < 0 || before < 0 || dup2(file, 2) != 2) exit(1);
    ask(host_kv_bytes, one, other, is_late, out);
    (void)fflush(stderr);
    const ssize_t n = pread(file, out->log, sizeof out->log - 1, 0);
    out->log[n > 0 ? n : 0] = '\0';
    if (dup2(before, 2) != 2) exit(1);
    (void)close(file);
    (void)close(before);
    printf("%s", out->log);
}

/* "DIR/copy/r1/vault/....kvs: kvstore: ...", and what was done. */
static bool is_said(const answer *got, const char *rank, const char *what) {
    char where[4200];
    (void)snprintf(where, sizeof where, "%s/copy/%s/vault/", base, rank);
    const char *at = strstr(got->log, where);
    return at && strstr(at, what);
}

/* Of the one rank, or of the other: both have damage then, and the first to meet it stops the step. */
static void expect_said(const answer *got, const char *one, const char *other, const char *what) {
    if (is_said(got, one, what) || (other && is_said(got, other, what))) return;
    printf("FAIL: nobody says of %s%s%s \"%s\"\n", one, other ? " or " : "", other ? other : "",
            what);
    n_failed++;
}

/* One file of this rank is put aside, by itself or by whoever looked for a copy, and written again. */
static void expect_put_aside(const char *rank) {
    shell("cd '%s/copy/%s/vault' && [ $(ls */*/*.bad | wc -l) -eq 1 ] && "
          "[ $(ls */*/*.kvs | wc -l) -eq 2 ]",
            base, rank);
}

static void check_streaming(const answer *want, const char *one, const char *other, bool is_late) {
    static answer got;
    printf("%s%s%s damaged while it streams, %s\n", one, other ? " and " : "", other ? other : "",
            is_late ? "decode" : "prefill");
    copy_book();
    ask_and_hear(INT64_C(15) << 20, one, other, is_late, &got);
    if (memcmp(want->logits, got.logits, sizeof got.logits) != 0) {
        printf("FAIL: other logits\n");
        n_failed++;
    }
    const char *again = strstr(got.log, "again from token=0");
    if ((again != NULL) != (other != NULL)) {
        printf("FAIL: %scomputed again\n", again ? "" : "not ");
        n_failed++;
    }
    expect_said(
            &got, one, other, other ? "; put aside as .bad" : "; put aside as .bad; read from ");
    for (int i = 0; i < 2; i++) {
        const char *rank = i ? other : one;
        if (rank) expect_put_aside(rank);
    }
    check_verify(one, 0);
}

/* A rank alone takes whichever copy of a head is whole: the first one it finds is not, and is put aside
 * though another rank has written it. */
static void check_put_together(void) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse;
    copy_book();
    damage("r1", "data");
    damage("r2", "data");
    open_some("copy", 1, 0, &engine, &session);
    help_require(glm_session_restore(session, ids, N_IDS, &reuse), "restore");
    printf("one rank, r1 and r2 damaged: %lld tokens reused %s\n", (long long)reuse.n_tokens,
            reuse.reason);
    if (reuse.n_tokens != N_IDS - 1) n_failed++;
    glm_session_free(session);
    glm_engine_close(engine);
    shell("cd '%s/copy/r2/vault' && [ $(ls */*/*.bad | wc -l) -eq 1 ]", base);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const help_shape shape = {.hidden = 64,
            .n_layers = 8,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 16,
            .ffn = 128,
            .vocab = 304,
            .dtype = "float32"};
    model = help_random_model(&shape, 13);
    base = help_dir_in_memory();
    for (int i = 0; i < N_IDS + N_MORE; i++)
        ids[i] = (int32_t)((i * 7919LL + i * (int64_t)i) % 300);
    make_book();
    static answer want;
    copy_book();
    ask(0, NULL, NULL, false, &want);
    check_streaming(&want, "r1", NULL, false);
    check("r2", "header", true);
    check_put_together();
    if (getenv("GLM_TEST_FAST")) return n_failed ? 1 : 0;
    check("r1", "data", false);
    check_streaming(&want, "r2", NULL, true);
    check_streaming(&want, "r2", "r3", true);
    check_streaming(&want, "r0", "r1", false);
    check("r0", "data", true);
    check("r3", "data", true);
    check("r3", "header", false);
    return n_failed ? 1 : 0;
}
