/* What was kept of a fork gives the same logits, bit for bit, as the text prefilled by itself: in the engine that keeps it, and
 * in a later one, where a fork of the text that it parted from is filled up from the disk; in memory and beyond it, for KV
 * as it is and for KV that is rounded, decoded past a segment's end too, and by two ranks.
 *
 * Method: a random model, and two texts that part inside the second of three segments. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_ranks.h"

enum { SEGMENT = 4096, PARTED = SEGMENT + 300, ONE = 2 * SEGMENT - 500, TEXT = 2 * SEGMENT + 200 };
enum { DECODED = 8, PREFILLED = 2 * SEGMENT - 4, VOCAB = 304 };

static int32_t ids[2][TEXT];
static const char *model;

static glm_engine *open_engine(const glm_options *options) {
    glm_engine *engine = NULL;
    help_require(glm_engine_open(options, &engine), "open");
    return engine;
}

static void prefill_to(glm_session *session, int text, int64_t end) {
    const int64_t n = glm_session_length(session);
    help_require(glm_prefill(session, ids[text] + n, end - n), "prefill");
}

/* The second text from where the session is, on past the segment's end, and to its own: the logits of its last id. */
static void finish(glm_session *session, float *row) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    if (glm_session_length(session) < PREFILLED) prefill_to(session, 1, PREFILLED);
    while (glm_session_length(session) < PREFILLED + DECODED)
        help_require(glm_decode(&session, &ids[1][glm_session_length(session)], 1), "decode");
    prefill_to(session, 1, TEXT);
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    memcpy(row, logits, VOCAB * sizeof *row);
}

static void alone(const glm_options *options, float *row) {
    glm_engine *engine = open_engine(options);
    glm_session *session = NULL;
    help_require(glm_session_create(engine, TEXT, &session), "session");
    finish(session, row);
    glm_session_free(session);
    glm_engine_close(engine);
}

static void keep_fork(const glm_options *options, float *row) {
    glm_engine *engine = open_engine(options);
    glm_session *one = NULL, *fork = NULL;
    help_require(glm_session_create(engine, ONE, &one), "session");
    prefill_to(one, 0, ONE);
    help_require(glm_session_fork(one, PARTED, TEXT, &fork), "fork");
    finish(fork, row);
    CHECK(glm_session_kept(fork) == 2 * SEGMENT);
    glm_session_free(fork);
    glm_session_free(one);
    glm_engine_close(engine);
}

static void find_fork(const glm_options *options, float *row) {
    glm_engine *engine = open_engine(options);
    glm_session *one = NULL, *fork = NULL;
    glm_reuse reuse;
    int64_t n_tokens = 0;
    help_require(glm_session_create(engine, ONE, &one), "session");
    help_require(glm_session_restore(one, ids[0], ONE, &reuse), "restore");
    prefill_to(one, 0, ONE);
    help_require(glm_session_find_after(one, PARTED, ids[1], TEXT, &n_tokens), "find after");
    help_require(glm_session_fork(one, SEGMENT, TEXT, &fork), "fork");
    help_require(glm_session_restore(fork, ids[1], TEXT, &reuse), "restore a fork");
    CHECK(n_tokens == 2 * SEGMENT && reuse.n_tokens == n_tokens);
    finish(fork, row);
    glm_session_free(fork);
    glm_session_free(one);
    glm_engine_close(engine);
}

static void check(const char *what, const float *want, const float *got) {
    (void)printf("    %s\n", what);
    CHECK(memcmp(want, got, VOCAB * sizeof *got) == 0);
}

static void check_way(const char *kv_dtype, int64_t host_kv_bytes, int n_ranks) {
    static float want[VOCAB], got[VOCAB];
    char dir[256];
    const char *dirs[] = {dir};
    glm_options o = {.model_dir = model,
            .kv_dtype = kv_dtype,
            .tensor_parallel = n_ranks,
            .max_len = TEXT,
            .chunk = 512,
            .max_seqs = 2,
            .extra_kv_tokens = TEXT,
            .threads = 1,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    (void)printf("KV as %s, %" PRId64 " bytes of it in memory (0: all), %d ranks\n",
            kv_dtype ? kv_dtype : "it is", host_kv_bytes, n_ranks);
    (void)snprintf(dir, sizeof dir, "%s/%%r", help_dir());
    alone(&o, want);
    o.host_kv_bytes = host_kv_bytes;
    o.persists = o.needs_kept = o.keeps_forks = true;
    keep_fork(&o, got);
    check("kept", want, got);
    find_fork(&o, got);
    check("found", want, got);
}

int main(int argc, char **argv) {
    int exit_code;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const help_shape shape = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 32,
            .ffn = 96,
            .vocab = VOCAB,
            .dtype = "bfloat16"};
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    model = help_random_model(&shape, 5);
    for (int32_t i = 0; i < TEXT; i++) {
        ids[0][i] = i * 7 % 293;
        ids[1][i] = (i < PARTED ? i * 7 : i * 11 + 3) % 293;
    }
    check_way(NULL, 0, 1);
    check_way("int8", 4352 << 10, 1);
    if (is_fast) return 0;
    check_way(NULL, 7 << 20, 1);
    check_way("fp8", 0, 1);
    check_way(NULL, 0, 2);
    return 0;
}
