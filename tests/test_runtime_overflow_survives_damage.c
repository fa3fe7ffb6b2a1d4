/* Whatever happens to stored segments on the disk, answers stay the same, to the last bit: what is
 * damaged is put aside, said, and computed again.
 *
 * Method: a random model, all of whose keys count, a text of two segments and a bit. Between two engines files are flipped in
 * header, ids, runs and footer, zeroed, cut, removed, swapped; and flipped, zeroed and cut while an engine
 * streams from them, in the middle of its prefill and before it decodes, also beside another's prefill. Logits of the prefill and of a
 * few decoded tokens are compared with those of an engine without a disk; of a prefill that gives every position's, which
 * goes back behind what it has given, each once. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "help_dir.h"
#include "help_kv_vault.h"
#include "help_needle.h"
#include "help_ranks.h"

enum { N_STEPS = 2, ROOM = 64, PATH_BYTES = 512 };

static char dir[64], log_path[96];
static const char *dirs[1];

static void remove_all(void) {
    (void)unlink(log_path);
    help_remove_dir(dir);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* The segments in order of their names, two at least. */
static int64_t segments(char paths[][PATH_BYTES], int64_t most) {
    char command[128];
    int64_t n = 0;
    (void)snprintf(command, sizeof command, "find '%s' -name '*.kvs' | sort", dir);
    FILE *list = popen(command, "r");
    CHECK(list);
    for (; n < most && fgets(paths[n], PATH_BYTES, list); n++)
        paths[n][strcspn(paths[n], "\n")] = 0;
    CHECK(pclose(list) == 0);
    return n;
}

static void delete_all(const char *suffix) {
    char command[128];
    (void)snprintf(command, sizeof command, "find '%s' -name '*%s' -delete", dir, suffix);
    CHECK(system(command) == 0);
}

static int64_t bytes_of(const char *path) {
    struct stat st;
    CHECK(stat(path, &st) == 0);
    return st.st_size;
}

static void overwrite(const char *path, int64_t at, int64_t n, int flip) {
    uint8_t bytes[4096];
    const int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pread(fd, bytes, (size_t)n, at) == n);
    for (int64_t i = 0; i < n; i++) bytes[i] = flip ? bytes[i] ^ (uint8_t)flip : 0;
    CHECK(pwrite(fd, bytes, (size_t)n, at) == n && fsync(fd) == 0 && close(fd) == 0);
}

typedef enum damage {
    HEADER,
    IDS,
    RUN,
    ZEROS,
    FOOTER,
    CUT,
    EMPTY,
    GONE,
    SWAPPED,
    N_DAMAGES
} damage;

static const char *const names[N_DAMAGES] = {[HEADER] = "a bit of the header",
        [IDS] = "a bit of the ids",
        [RUN] = "a bit of every run",
        [ZEROS] = "zeros in every run",
        [FOOTER] = "a bit of the footer",
        [CUT] = "cut",
        [EMPTY] = "empty",
        [GONE] = "gone",
        [SWAPPED] = "swapped"};

/* In every 4096th byte of the middle: whichever run lies there. */
static void spoil_runs(const char *path, int64_t n, int flip) {
    const int64_t bytes = bytes_of(path);
    for (int64_t at = 40 << 10; at < bytes - (16 << 10); at += 4096) overwrite(path, at, n, flip);
}

static void swap(const char *a, const char *b) {
    char between[PATH_BYTES + 8];
    (void)snprintf(between, sizeof between, "%s.swap", a);
    CHECK(rename(a, between) == 0 && rename(b, a) == 0 && rename(between, b) == 0);
}

static void do_damage(damage kind, int64_t which) {
    static char paths[8][PATH_BYTES];
    const int64_t n = segments(paths, 8);
    CHECK(n > 0);
    const char *path = paths[which % n];
    const int64_t bytes = bytes_of(path);
    if (kind == HEADER) overwrite(path, 100, 1, 4);
    if (kind == IDS) overwrite(path, 4096 + 50, 1, 4);
    if (kind == RUN) spoil_runs(path, 1, 16);
    if (kind == ZEROS) spoil_runs(path, 512, 0);
    if (kind == FOOTER) overwrite(path, bytes - 4000, 1, 4);
    if (kind == CUT) CHECK(truncate(path, bytes - 4096) == 0);
    if (kind == EMPTY) CHECK(truncate(path, 0) == 0);
    if (kind == GONE) CHECK(unlink(path) == 0);
    if (kind == SWAPPED) swap(path, paths[(which + 1) % n]);
}

/* ---- engines --------------------------------------------------------------------------------- */

typedef struct answer {
    float *logits; /* [N_STEPS + 1][vocab] */
    int64_t n;
    glm_reuse reuse;
} answer;

/* What happens while the engine works: before step `step` of the prefill, or before it decodes. */
typedef struct accident {
    damage kind;    /* N_DAMAGES: none */
    int64_t step;   /* -1: before it decodes, */
    bool is_beside; /* while another session's prefill is under way */
    bool of_all; /* what is stored is not looked for, and every position's logits are asked for */
} accident;

static const accident no_accident = {.kind = N_DAMAGES, .step = 0};

static void take_row(answer *a, const glm_session *session, int step) {
    const float *row = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &row, &n_rows), "logits");
    const int64_t vocab = a->n / (N_STEPS + 1);
    memcpy(a->logits + step * vocab, row + (n_rows - 1) * vocab, (size_t)vocab * sizeof *row);
}

/* Every position's logits [n][vocab], as the first prefill that gives them has them; later ones are compared. */
static struct {
    float *want;
    bool is_known;
    int64_t vocab;
    int64_t n_given;
} all;

static rt_status take_all(void *context, int64_t at, int64_t n, const float *logits) {
    const size_t bytes = (size_t)(n * all.vocab) * sizeof *logits;
    (void)context;
    CHECK(at == all.n_given);
    if (all.is_known)
        CHECK(memcmp(all.want + at * all.vocab, logits, bytes) == 0);
    else
        memcpy(all.want + at * all.vocab, logits, bytes);
    all.n_given += n;
    return RT_OK;
}

static void begin(glm_session *session, const int32_t *ids, int64_t n_ids, bool of_all) {
    if (of_all) {
        if (!all.want) all.want = calloc((size_t)(n_ids * all.vocab), sizeof *all.want);
        all.n_given = 0;
        help_require(glm_prefill_begin_all(session, ids, n_ids, 0, take_all, NULL), "begin");
    } else {
        help_require(glm_prefill_begin(session, ids, n_ids, NULL, 1), "begin");
    }
}

static void prefill(glm_session *session, const int32_t *ids, int64_t n_ids, accident what) {
    glm_prefill_progress progress = {0};
    begin(session, ids, n_ids, what.of_all);
    for (int64_t step = 0; !progress.is_done; step++) {
        if (step == what.step && what.kind != N_DAMAGES) do_damage(what.kind, 0);
        help_require(glm_prefill_step(session, &progress), "step");
    }
    CHECK(!what.of_all || all.n_given == n_ids);
    all.is_known = all.is_known || what.of_all;
}

/* What was lost takes a prefill, which another session has: so it is said, and that is all that happens. */
static void decode_beside(glm_engine *engine, glm_session *session, int32_t id) {
    glm_session *other = NULL;
    const int64_t n = glm_session_length(session);
    help_require(glm_session_create(engine, 16, &other), "another session");
    help_require(glm_prefill_begin(other, &id, 1, NULL, 1), "another prefill");
    CHECK(glm_decode(&session, &id, 1) == RT_EUSAGE && glm_session_length(session) == n);
    glm_prefill_abort(other);
    help_require(glm_session_rewind(session, n), "rewind");
    help_require(glm_decode(&session, &id, 1), "decode");
    glm_session_free(other);
}

static answer ask(const glm_options *options, const glm_ids *ids, accident what) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    help_require(glm_engine_open(options, &engine), "open");
    answer a = {.n = (N_STEPS + 1) * glm_engine_config(engine)->vocab};
    a.logits = calloc((size_t)a.n, sizeof(float));
    help_require(glm_session_create(engine, options->max_len, &session), "session");
    all.vocab = glm_engine_config(engine)->vocab;
    if (!what.of_all)
        help_require(glm_session_restore(session, ids->ids, ids->n, &a.reuse), "restore");
    prefill(session, ids->ids + a.reuse.n_tokens, ids->n - a.reuse.n_tokens, what);
    take_row(&a, session, 0);
    if (what.step == -1) do_damage(what.kind, 0);
    for (int step = 1; step <= N_STEPS; step++) {
        const int32_t id = help_next(session);
        if (step == 1 && what.is_beside)
            decode_beside(engine, session, id);
        else
            help_require(glm_decode(&session, &id, 1), "decode");
        take_row(&a, session, step);
    }
    glm_session_free(session);
    glm_engine_close(engine);
    return a;
}

static void require_equal(const char *what, const answer *want, answer *got) {
    if (memcmp(want->logits, got->logits, (size_t)want->n * sizeof(float)) != 0) {
        printf("FAIL %s: other logits\n", what);
        exit(1);
    }
    free(got->logits);
}

/* ---- what is said ---------------------------------------------------------------------------- */

static int old_stderr;

static void listen(void) {
    (void)fflush(stderr);
    const int fd = open(log_path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
    CHECK(fd >= 0);
    old_stderr = dup(2);
    CHECK(old_stderr >= 0 && dup2(fd, 2) == 2 && close(fd) == 0);
}

/* Whether the log has the words. */
static bool heard(const char *words) {
    static char text[1 << 16];
    (void)fflush(stderr);
    CHECK(dup2(old_stderr, 2) == 2 && close(old_stderr) == 0);
    FILE *file = fopen(log_path, "r");
    CHECK(file);
    const size_t n = fread(text, 1, sizeof text - 1, file);
    CHECK(fclose(file) == 0);
    text[n] = 0;
    return strstr(text, words) != NULL;
}

/* ---- between engines ------------------------------------------------------------------------- */

/* From files without damage, put aside or not, to files without damage. */
static void check_between(const glm_options *options, const glm_ids *ids, const answer *want,
        damage kind, int budget) {
    const int64_t n_whole = ids->n / 4096 * 4096;
    delete_all(".bad");
    do_damage(kind, budget);
    listen();
    answer got = ask(options, ids, no_accident);
    /* Where it was looked for, or where it was read. */
    const bool is_said =
            heard("again from token=") || (got.reuse.n_tokens < n_whole && *got.reuse.reason);
    require_equal(names[kind], want, &got);
    printf("%s, %s: %" PRId64 " reused; %s\n", names[kind], budget ? "streamed" : "in memory",
            got.reuse.n_tokens, got.reuse.reason);
    CHECK(is_said);
    CHECK(kvh_count_files(dir, ".bad") >= (kind != GONE));
    CHECK(kvh_count_files(dir, ".kvs") ==
            n_whole / 4096); /* whole again, which the next case shows */
}

static void check_while(
        const glm_options *options, const glm_ids *ids, const answer *want, accident what) {
    delete_all(".bad");
    if (what.of_all) delete_all(".kvs"); /* those that it writes are to be damaged */
    listen();
    answer got = ask(options, ids, what);
    const bool is_said = heard("again from token=");
    require_equal(names[what.kind], want, &got);
    printf("%s, while it is read: %" PRId64 " reused\n", names[what.kind], got.reuse.n_tokens);
    CHECK(is_said && kvh_count_files(dir, ".bad") > 0);
}

int main(void) {
    const bool is_fast = getenv("GLM_TEST_FAST");
    (void)snprintf(dir, sizeof dir, "/tmp/damage-XXXXXX");
    if (!mkdtemp(dir)) return 1;
    (void)snprintf(log_path, sizeof log_path, "%s.log", dir);
    (void)atexit(remove_all);
    dirs[0] = dir;
    glm_ids ids = {0};
    help_append_opening(&ids);
    help_append_filler(&ids, (is_fast ? 4096 : 8192) + 150 - ids.n, 1);
    /* Less than the text takes, and enough for its last extents. */
    const int64_t streams = (int64_t)(is_fast ? 19 : 22) << 19;
    const help_shape shape = {.hidden = 64,
            .n_layers = 3,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 32,
            .ffn = 96,
            .vocab = 272,
            .dtype = "bfloat16"};
    const glm_options plain = {
            .model_dir = help_random_model(&shape, 3), .max_len = ids.n + ROOM, .chunk = 1024};
    const answer want = ask(&plain, &ids, no_accident);
    glm_options kept = plain;
    kept.persists = true;
    kept.kv_disk_dirs = dirs;
    kept.n_kv_disk_dirs = 1;
    answer got = ask(&kept, &ids, no_accident);
    require_equal("kept", &want, &got);
    for (int kind = 0; kind < N_DAMAGES; kind++) {
        if (is_fast && kind != IDS) continue;
        const int budget = kind % 2;
        kept.host_kv_bytes = budget * streams;
        check_between(&kept, &ids, &want, (damage)kind, budget);
    }
    kept.host_kv_bytes = streams;
    check_while(&kept, &ids, &want, (accident){ZEROS, -1, true, false});
    if (!is_fast) {
        check_while(&kept, &ids, &want, (accident){ZEROS, -1, false, false});
        check_while(&kept, &ids, &want, (accident){RUN, 1, false, false});
        check_while(&kept, &ids, &want, (accident){EMPTY, 2, false, false});
        got = ask(&plain, &ids, (accident){N_DAMAGES, 0, false, true});
        require_equal("every position's", &want, &got);
        kept.span = 4096;
        check_while(&kept, &ids, &want,
                (accident){RUN, 25, false, true}); /* the third span's second layer */
        got = ask(&kept, &ids, no_accident);
        require_equal("after all that", &want, &got);
        CHECK(got.reuse.n_tokens == ids.n / 4096 * 4096);
    }
    free(all.want);
    free(want.logits);
    glm_ids_free(&ids);
    return 0;
}
