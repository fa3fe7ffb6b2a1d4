/* Ranks that hold the same heads keep a copy each: a damaged one is named by verify, whichever it is, and
 * the other one stands in for it: nothing is computed again, and the copy is whole again afterwards.
 *
 * Method: a random model with 2 KV heads and 4 ranks, so two of them to a head; a book of a segment and a
 * tail. One rank's segment is damaged in its header or in its data; verified first, or found by whoever
 * opens it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_checkpoint.h"
#include "help_needle.h"
#include "help_ranks.h"
#include "kvstore/kvstore.h"

enum { N_IDS = 4300, N_RANKS = 4 };

static const char *model;
static const char *base;
static int32_t ids[N_IDS];
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

static void open_all(const char *dir, glm_engine **engine, glm_session **session) {
    char pattern[4096];
    (void)snprintf(pattern, sizeof pattern, "%s/%s/r%%r", base, dir);
    const glm_options options = {.model_dir = model,
            .tensor_parallel = N_RANKS,
            .max_len = N_IDS,
            .chunk = 1024,
            .threads = 1,
            .persists = true,
            .needs_kept = true,
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = &(const char *){pattern}};
    help_require(glm_engine_open(&options, engine), "open");
    help_require(glm_session_create(*engine, N_IDS, session), "session");
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
    help_require(kv_books_verify(books, "b", &report), "verify");
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

static void check(const char *rank, const char *place, bool is_verified) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse;
    printf("%s of %s is damaged%s\n", place, rank, is_verified ? ", and verified" : "");
    shell("cd '%s' && rm -rf copy && cp -r made copy && "
          "f=$(ls -S copy/%s/vault/*/*/*.kvs | head -n 1) && n=$(stat -c %%s \"$f\") && "
          "printf damage | dd of=\"$f\" bs=1 seek=$((%s)) conv=notrunc 2>/dev/null",
            base, rank, strcmp(place, "header") == 0 ? "16" : "n / 2");
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

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const help_shape shape = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 8,
            .n_kv_heads = 2,
            .head_dim = 16,
            .ffn = 128,
            .vocab = 304,
            .dtype = "float32"};
    model = help_random_model(&shape, 13);
    base = ckh_make_dir();
    for (int i = 0; i < N_IDS; i++) ids[i] = (int32_t)((i * 7919LL + i * (int64_t)i) % 300);
    make_book();
    check("r1", "data", false);
    check("r2", "header", true);
    if (getenv("GLM_TEST_FAST")) return n_failed ? 1 : 0;
    check("r0", "data", true);
    check("r3", "data", true);
    check("r3", "header", false);
    return n_failed ? 1 : 0;
}
