/* A book made by some ranks opens with any other number of them: nothing is computed again, and the
 * logits are those of a text prefilled by so many, within what the order of sums allows. Where a
 * rank's directory cannot be read the error names the shard, rank, host and directory, whichever rank it is
 * that needs it; a text without a name is computed again, and so is a file that was lost where the rest of
 * the shard is there.
 *
 * Method: a random model of 8 query heads over 4 KV heads (damaged or foreign rows of keys change its
 * logits by their own size); a text of 4,300 tokens, so a full segment and a tail; each number of ranks
 * makes the book, each other one opens a copy: in a directory a rank, and in one for all. Bound as in
 * test_runtime_ranks_give_the_same_logits, twice: keys are of one cut, the rest of another. Another host
 * is a directory that is not there any more: root reads all others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_ranks.h"

enum { N_IDS = 4300 };

static const char *model;
static int32_t ids[N_IDS];
static int n_failed;

static glm_options options_for(int n_ranks, const char *const *dir) {
    return (glm_options){.model_dir = model,
            .tensor_parallel = n_ranks,
            .max_len = N_IDS,
            .chunk = 512,
            .threads = 1,
            .persists = true,
            .needs_kept = true,
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = dir};
}

static float *copy_logits(const glm_session *session, int64_t vocab) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    float *copy = malloc((size_t)vocab * sizeof *copy);
    memcpy(copy, logits, (size_t)vocab * sizeof *copy);
    return copy;
}

/* Prefill all but the last id and keep it; the last logits. The caller frees. */
static float *make_book(int n_ranks, const char *dir, int64_t *vocab) {
    const glm_options options = options_for(n_ranks, &dir);
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, N_IDS, &session), "session");
    help_require(glm_prefill(session, ids, N_IDS - 1), "prefill");
    help_require(glm_session_keep(session, "b", "source=test\n"), "keep");
    help_require(glm_decode(&session, &ids[N_IDS - 1], 1), "decode");
    *vocab = glm_engine_config(engine)->vocab;
    float *logits = copy_logits(session, *vocab);
    glm_session_free(session);
    glm_engine_close(engine);
    return logits;
}

static float *open_book(int n_ranks, const char *dir, const char *what) {
    const glm_options options = options_for(n_ranks, &dir);
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse;
    int32_t *book = NULL;
    int64_t n_book = 0;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, N_IDS, &session), "session");
    help_require(glm_book_ids(engine, "b", &book, &n_book), what);
    help_require(glm_session_restore(session, ids, N_IDS, &reuse), what);
    if (n_book != N_IDS - 1 || memcmp(book, ids, (size_t)n_book * sizeof *ids) != 0 ||
            reuse.n_tokens != N_IDS - 1) {
        printf("FAIL %s: %lld tokens in the book, %lld found: %s\n", what, (long long)n_book,
                (long long)reuse.n_tokens, reuse.reason);
        n_failed++;
        help_require(glm_session_rewind(session, 0), "rewind");
        help_require(glm_prefill(session, ids, N_IDS - 1), "prefill");
    }
    help_require(glm_decode(&session, &ids[N_IDS - 1], 1), "decode");
    float *logits = copy_logits(session, glm_engine_config(engine)->vocab);
    free(book);
    glm_session_free(session);
    glm_engine_close(engine);
    return logits;
}

static void copy_dir(const char *from, const char *to) {
    char command[8192];
    (void)snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
    if (system(command) != 0) exit(1);
}

static void check_move(int from, int to, const char *pattern, const float *const *want,
        int64_t vocab, const char *made, const char *copy) {
    char what[64];
    char dir[4096];
    (void)snprintf(what, sizeof what, "%d ranks -> %d, in \"%s\"", from, to, pattern);
    (void)snprintf(dir, sizeof dir, "%s/%s", copy, pattern);
    copy_dir(made, copy);
    float *got = open_book(to, dir, what);
    const double error = help_relative_error(got, want[to], vocab);
    printf("%s: relative error %.2e\n", what, error);
    if (!(error <= 2e-5)) n_failed++;
    free(got);
}

/* A book of 2 ranks without the directory of rank 1, opened by so many: which of them says so, "" for
 * rank 0, which speaks for all. An unnamed prefix is computed again, and the reason says why. */
static void check_missing(const char *made, const char *copy, int n_ranks, const char *who) {
    char command[8192];
    char dir[4096];
    char where[4200];
    const char *dirs[1] = {dir};
    copy_dir(made, copy);
    (void)snprintf(command, sizeof command, "rm -r '%s/r1'", copy);
    (void)snprintf(dir, sizeof dir, "%s/r%%r", copy);
    (void)snprintf(where, sizeof where, " in %s/r1, which is not readable here", made);
    if (system(command) != 0) exit(1);
    const glm_options options = options_for(n_ranks, dirs);
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse;
    int32_t *book = NULL;
    int64_t n_book = 0;
    help_require(glm_engine_open(&options, &engine), "open");
    const rt_status status = glm_book_ids(engine, "b", &book, &n_book);
    printf("%d ranks without rank 1's directory: %s\n", n_ranks,
            status == RT_OK ? "ok" : rt_error_text());
    if (status != RT_ECORRUPT || strncmp(rt_error_text(), who, strlen(who)) != 0 ||
            !strstr(rt_error_text(), "KV heads 2 to 3 of 4 are with rank 1 on ") ||
            !strstr(rt_error_text(), where))
        n_failed++;
    help_require(glm_session_create(engine, N_IDS, &session), "session");
    help_require(glm_session_restore(session, ids, N_IDS, &reuse), "restore");
    printf("    unnamed: %lld tokens: %s\n", (long long)reuse.n_tokens, reuse.reason);
    if (reuse.n_tokens != 0 || (n_ranks > 1 && strncmp(reuse.reason, who, strlen(who)) != 0) ||
            !strstr(reuse.reason, "KV head 2 is in no directory that can be read"))
        n_failed++;
    glm_session_free(session);
    glm_engine_close(engine);
}

/* A file of rank 1's is gone, or was found damaged: no reason to refuse the book. */
static void check_lost(const char *made, const char *copy, const char *deed) {
    char command[8192];
    char dir[4096];
    copy_dir(made, copy);
    (void)snprintf(dir, sizeof dir, "%s/r%%r", copy);
    (void)snprintf(command, sizeof command, "f=$(ls -S '%s'/r1/vault/*/*/*.kvs | head -n 1); %s",
            copy, deed);
    if (system(command) != 0) exit(1);
    const glm_options options = options_for(2, &(const char *){dir});
    glm_engine *engine = NULL;
    int32_t *book = NULL;
    int64_t n_book = 0;
    help_require(glm_engine_open(&options, &engine), "open");
    if (glm_book_ids(engine, "b", &book, &n_book) != RT_OK) {
        printf("FAIL %s: %s\n", deed, rt_error_text());
        n_failed++;
    }
    free(book);
    glm_engine_close(engine);
}

static void check_all(const int *counts, int n_counts, const char *pattern) {
    const char *base = help_dir_in_memory();
    float *want[9] = {0};
    int64_t vocab = 0;
    char made[9][256];
    char copy[256];
    char dir[4096];
    (void)snprintf(copy, sizeof copy, "%s/copy", base);
    for (int i = 0; i < n_counts; i++) {
        (void)snprintf(made[i], sizeof made[i], "%s/%d", base, counts[i]);
        (void)snprintf(dir, sizeof dir, "%s/%s", made[i], pattern);
        want[counts[i]] = make_book(counts[i], dir, &vocab);
    }
    for (int i = 0; i < n_counts; i++)
        for (int j = 0; j < n_counts; j++)
            if (i != j)
                check_move(counts[i], counts[j], pattern, (const float *const *)want, vocab,
                        made[i], copy);
    for (int i = 0; i < n_counts; i++)
        if (counts[i] == 2 && strcmp(pattern, "r%r") == 0) {
            check_missing(made[i], copy, 1, "kvstore: ");
            check_missing(made[i], copy, 2, "rank 1 on ");
            if (n_counts > 2) check_missing(made[i], copy, 4, "rank 2 on ");
            check_lost(made[i], copy, "rm \"$f\"");
            check_lost(made[i], copy, "mv \"$f\" \"$f.bad\"");
        }
    for (int i = 0; i < 9; i++) free(want[i]);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    static const int all[] = {1, 2, 4, 8};
    static const int few[] = {2, 4};
    const help_shape shape = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 8,
            .n_kv_heads = 4,
            .head_dim = 16,
            .ffn = 128,
            .vocab = 304,
            .dtype = "float32"};
    model = help_random_model(&shape, 11);
    for (int i = 0; i < N_IDS; i++) ids[i] = (int32_t)((i * 7919LL + i * (int64_t)i) % 300);
    if (getenv("GLM_TEST_FAST")) {
        check_all(few, 2, "r%r");
    } else {
        check_all(all, 4, "r%r");
        check_all(few, 2, "all");
    }
    return n_failed ? 1 : 0;
}
