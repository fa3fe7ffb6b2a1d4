/* A budget that does not hold the KV changes no bit: with one needle in every page every one is found,
 * logits of prefill and of every decode are those of a run without a budget, memory stays within the
 * plan, and what lies on disk is read once a pass, however many questions share it.
 *
 * Method: the context is prefilled once; the questions are forks of it, decoded 32 at a time. A run
 * without a budget prefills one question after another and writes every row of logits to a file; runs with
 * budgets, threads and ways of I/O of their own prefill them together, and compare with it, each in a process of
 * its own, whose peak is that run's alone. What lies on disk is counted extent by extent before every pass. First
 * the same, smaller, with ordinary weights. `test_runtime_overflow_changes_no_bit PAGES` does so many pages,
 * without a budget and with 1/16. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_needle.h"
#include "kvstore/store_impl.h"
#include "runtime/base/log.h"
#include "runtime/base/machine.h"
#include "runtime/engine.h"

enum {
    ORDINARY_BUDGET = 640 << 10,
    PAGE = 128,
    N_TOGETHER = 32,
    ROOM = 512,
    N_DIGITS = 7,
    VOCAB = 272,
    TOKEN_BYTES = 3072
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool has_own_memory = false; /* the sanitizer's is several times the program's */
#else
static const bool has_own_memory = true;
#endif

/* One way to run. */
typedef struct setup {
    const char *name;
    double share; /* of the KV's size, in memory; 0: no budget, and the rows are written */
    int32_t threads;
    const char *kv_io;
    const char *kv_packing;
} setup;

typedef struct run {
    const setup *setup;
    FILE *rows; /* of logits, in order */
    glm_engine *engine;
    int64_t n_failed;
    int64_t n_found;
    int64_t n_passes;
    int64_t spilled_bytes; /* summed over the decode passes */
    int64_t read_bytes;
    double prefill_s;
} run;

/* ---- rows of logits -------------------------------------------------------------------------- */

static void check_row(run *r, const glm_session *session, const char *what) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    float want[VOCAB];
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    if (r->setup->share == 0.0) {
        if (fwrite(logits, sizeof *logits, VOCAB, r->rows) != VOCAB) exit(1);
        return;
    }
    if (fread(want, sizeof *want, VOCAB, r->rows) == VOCAB &&
            memcmp(want, logits, sizeof want) == 0)
        return;
    printf("FAIL %s: %s has other logits\n", r->setup->name, what);
    r->n_failed++;
}

/* ---- what lies on disk ----------------------------------------------------------------------- */

static int64_t stored_bytes(const kv_seq *seq, int32_t layer, int64_t extent) {
    const kv_stored *stored = *kv_stored_slot(seq, layer, extent);
    if (!stored || *kv_page_slot(seq, layer, extent * kv_pages_of_extent(seq->store))) return 0;
    int64_t bytes = 0;
    for (int32_t head = 0; head < seq->store->config.shape.n_kv_heads; head++)
        bytes += stored->run_bytes[head];
    return bytes;
}

/* Of some forks of one prefix, what they share counted once. */
static int64_t spilled_bytes(glm_session *const *forks, int32_t n) {
    const kv_seq *first = forks[0]->seq;
    int64_t bytes = 0;
    for (int32_t i = 0; first->stored && i < n; i++) {
        const kv_seq *seq = forks[i]->seq;
        for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
            for (int64_t e = 0; e < seq->n_extents; e++)
                if (i == 0 || *kv_stored_slot(seq, layer, e) != *kv_stored_slot(first, layer, e))
                    bytes += stored_bytes(seq, layer, e);
    }
    return bytes;
}

/* ---- context and questions ------------------------------------------------------------------- */

/* Bytes of a pass that reads what the forks share, and nothing else, once. */
typedef struct counted {
    int64_t before;
} counted;

static counted begin_pass(run *r, glm_session *const *forks, int32_t n) {
    r->spilled_bytes += spilled_bytes(forks, n);
    r->n_passes++;
    return (counted){kv_store_stats(r->engine->store).bytes_read};
}

static void end_pass(run *r, counted c) {
    r->read_bytes += kv_store_stats(r->engine->store).bytes_read - c.before;
}

/* The first token of each, from prefills one after another, or of some questions together. */
static void prefill_some(
        run *r, glm_session *const *forks, const glm_ids *questions, int32_t n, int32_t *next) {
    const int32_t *ids[N_TOGETHER];
    int64_t n_ids[N_TOGETHER];
    const bool is_alone = r->setup->share == 0.0;
    for (int32_t i = 0; i < n; i++) {
        ids[i] = questions[i].ids;
        n_ids[i] = questions[i].n;
    }
    if (!is_alone) {
        const counted c = begin_pass(r, forks, n);
        help_require(glm_prefill_together(forks, ids, n_ids, n), "questions");
        end_pass(r, c);
    }
    for (int32_t i = 0; i < n; i++) {
        if (is_alone) help_require(glm_prefill(forks[i], ids[i], n_ids[i]), "question");
        check_row(r, forks[i], "a question");
        next[i] = help_next(forks[i]);
    }
}

/* As many as a chunk holds in one pass. */
static void prefill_questions(
        run *r, glm_session *const *forks, const glm_ids *questions, int32_t n, int32_t *next) {
    const int64_t chunk = glm_engine_plan(r->engine)->chunk;
    for (int32_t at = 0; at < n;) {
        int64_t n_rows = 0;
        int32_t end = at;
        while (end < n && (end == at || n_rows + questions[end].n <= chunk))
            n_rows += questions[end++].n;
        prefill_some(r, forks + at, questions + at, end - at, next + at);
        at = end;
    }
}

static void begin_questions(run *r, const glm_session *context, int64_t first_page, int32_t n,
        glm_session **forks, int32_t *next) {
    glm_ids questions[N_TOGETHER] = {{0}};
    const int64_t length = glm_session_length(context);
    for (int32_t i = 0; i < n; i++) {
        char key[64];
        glm_needle_words(first_page + i, key);
        help_append_question(&questions[i], key);
        help_require(glm_session_fork(context, length, length + ROOM, &forks[i]), "fork");
    }
    prefill_questions(r, forks, questions, n, next);
    for (int32_t i = 0; i < n; i++) glm_ids_free(&questions[i]);
}

static void decode_together(run *r, glm_session *const *forks, const int32_t *ids, int32_t n) {
    const counted c = begin_pass(r, forks, n);
    help_require(glm_decode(forks, ids, n), "decode");
    end_pass(r, c);
}

static void ask_together(run *r, const glm_session *context, int64_t first_page, int32_t n) {
    glm_session *forks[N_TOGETHER];
    int32_t next[N_TOGETHER];
    char answers[N_TOGETHER][N_DIGITS + 1] = {{0}};
    begin_questions(r, context, first_page, n, forks, next);
    for (int digit = 0; digit < N_DIGITS; digit++) {
        for (int32_t i = 0; i < n; i++) answers[i][digit] = (char)next[i];
        decode_together(r, forks, next, n);
        for (int32_t i = 0; i < n; i++) {
            check_row(r, forks[i], "a decoded token");
            next[i] = help_next(forks[i]);
        }
    }
    for (int32_t i = 0; i < n; i++) {
        char value[8];
        help_value(first_page + i, value);
        r->n_found += strcmp(value, answers[i]) == 0;
        if (strcmp(value, answers[i]) != 0) {
            printf("FAIL %s, page %" PRId64 ": \"%s\" instead of %s\n", r->setup->name,
                    first_page + i, answers[i], value);
            r->n_failed++;
        }
        glm_session_free(forks[i]);
    }
}

/* ---- one run --------------------------------------------------------------------------------- */

static void check_cost(run *r, int64_t peak_bytes) {
    const glm_plan *plan = glm_engine_plan(r->engine);
    printf("%s: %" PRId64 " found; prefill %.1f s; extents of %" PRId32 " x %" PRId32
           " tokens, chunk %" PRId64 ", %" PRId64 " bytes read in %" PRId64 " passes over %" PRId64
           "; peak %.3f of the plan\n",
            r->setup->name, r->n_found, r->prefill_s, plan->kv_extent_tokens,
            plan->kv_window_extents, plan->chunk, r->read_bytes, r->n_passes,
            r->n_passes ? r->spilled_bytes / r->n_passes : 0,
            (double)peak_bytes / (double)plan->total_bytes);
    if (plan->kv_overflows != (r->setup->share > 0.0)) {
        printf("FAIL %s: overflows %d\n", r->setup->name, plan->kv_overflows);
        r->n_failed++;
    }
    if (r->spilled_bytes == 0 && r->setup->share > 0.0) {
        printf("FAIL %s: nothing was on disk\n", r->setup->name);
        r->n_failed++;
    }
    if (20 * r->read_bytes > 21 * r->spilled_bytes || r->read_bytes < r->spilled_bytes) {
        printf("FAIL %s: what is on disk is not read once a pass\n", r->setup->name);
        r->n_failed++;
    }
    if (has_own_memory && peak_bytes > plan->total_bytes) {
        printf("FAIL %s: planned %" PRId64 " bytes, peak %" PRId64 "\n", r->setup->name,
                plan->total_bytes, peak_bytes);
        r->n_failed++;
    }
}

static bool run_setup(const setup *s, const char *model, const glm_ids *ids, const char *rows) {
    const char *dirs[] = {model};
    const glm_options options = {.model_dir = model,
            .max_len = ids->n + ROOM,
            .max_seqs = N_TOGETHER,
            .extra_kv_tokens = (int64_t)N_TOGETHER * (ROOM + PAGE),
            .host_kv_bytes = (int64_t)(s->share * (double)(ids->n * TOKEN_BYTES)),
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = dirs,
            .kv_io = s->kv_io,
            .kv_packing = s->kv_packing,
            .threads = s->threads};
    run r = {.setup = s, .rows = fopen(rows, s->share == 0.0 ? "w" : "r")};
    glm_session *context = NULL;
    if (!r.rows) return false;
    help_require(glm_engine_open(&options, &r.engine), s->name);
    rt_assert(glm_engine_plan(r.engine)->kv_page_bytes * r.engine->config.n_layers ==
              PAGE * TOKEN_BYTES);
    help_require(glm_session_create(r.engine, ids->n, &context), "session");
    const double start = rt_now();
    help_require(glm_prefill(context, ids->ids, ids->n), "prefill");
    r.prefill_s = rt_now() - start;
    check_row(&r, context, "the context");
    for (int64_t page = 1; page < ids->n / PAGE; page += N_TOGETHER) {
        const int64_t left = ids->n / PAGE - page;
        ask_together(&r, context, page, (int32_t)rt_min64(left, N_TOGETHER));
    }
    check_cost(&r, rt_machine_peak_rss());
    glm_session_free(context);
    glm_engine_close(r.engine);
    return fclose(r.rows) == 0 && r.n_failed == 0;
}

static bool passes(const setup *s, const char *model, const glm_ids *ids, const char *rows) {
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        const bool is_good = run_setup(s, model, ids, rows);
        (void)fflush(stdout);
        _exit(is_good ? 0 : 1);
    }
    int result = 1;
    return child > 0 && waitpid(child, &result, 0) == child && result == 0;
}

/* The first setup makes the rows that the others compare with. */
static bool all_pass(const char *model, int64_t n_pages, const setup *setups, int n_setups) {
    char rows[128];
    glm_ids ids = {0};
    (void)snprintf(rows, sizeof rows, "%s/rows", model);
    help_append_needles(&ids, n_pages);
    bool is_good = true;
    for (int i = 0; i < n_setups && (i == 0 || is_good); i++)
        is_good = passes(&setups[i], model, &ids, rows);
    glm_ids_free(&ids);
    return is_good;
}

/* ---- ordinary weights ------------------------------------------------------------------------ */

/* Logits of a prefill, and of a few tokens decoded for two forks at once. */
static void write_rows(
        const glm_options *options, const glm_ids *ids, bool overflows, float *rows) {
    enum { FORKS = 2, STEPS = 3 };
    glm_engine *engine = NULL;
    glm_session *context = NULL;
    glm_session *forks[FORKS];
    help_require(glm_engine_open(options, &engine), "open");
    rt_assert(glm_engine_plan(engine)->kv_overflows == overflows);
    help_require(glm_session_create(engine, ids->n, &context), "session");
    help_require(glm_prefill(context, ids->ids, ids->n), "prefill");
    const int64_t vocab = engine->config.vocab;
    for (int i = 0; i < FORKS; i++)
        help_require(glm_session_fork(context, ids->n - i, ids->n + STEPS, &forks[i]), "fork");
    for (int step = 0; step < STEPS; step++) {
        const int32_t next[FORKS] = {3 + step, 40 - step};
        help_require(glm_decode(forks, next, FORKS), "decode");
        for (int i = 0; i < FORKS; i++) {
            const float *logits = NULL;
            int64_t n_rows = 0;
            help_require(glm_session_logits(forks[i], &logits, &n_rows), "logits");
            memcpy(rows + (step * FORKS + i) * vocab, logits, (size_t)vocab * sizeof *rows);
        }
    }
    for (int i = 0; i < FORKS; i++) glm_session_free(forks[i]);
    glm_session_free(context);
    glm_engine_close(engine);
}

/* A model every key and value of whose text has its part in every logit. (The embedded one attends to
 * few, and would not notice most.) */
static bool every_row_counts(const char *dir) {
    enum { N_ROWS = 6, N_VOCAB = 300 };
    static float want[N_ROWS * N_VOCAB], got[N_ROWS * N_VOCAB];
    static const char *const packings[] = {"dense", "plain"};
    const char *dirs[] = {dir};
    glm_ids ids = {0};
    for (int32_t i = 0; i < 520; i++) help_require(glm_ids_push(&ids, i * 37 % 60), "push");
    glm_options o = {.model_dir = "tests/golden/native_bf16_kv4",
            .max_len = ids.n + 8,
            .chunk = 128,
            .max_seqs = 2,
            .extra_kv_tokens = 300,
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = dirs};
    write_rows(&o, &ids, false, want);
    bool is_good = true;
    o.host_kv_bytes = ORDINARY_BUDGET;
    for (int i = 0; i < 2; i++) {
        o.kv_packing = packings[i];
        write_rows(&o, &ids, true, got);
        if (memcmp(want, got, sizeof want) == 0) continue;
        printf("FAIL ordinary weights, %s: other logits\n", packings[i]);
        is_good = false;
    }
    glm_ids_free(&ids);
    return is_good;
}

int main(int argc, char **argv) {
    static const setup large[] = {
            {.name = "without a budget"}, {.name = "in 1/16", .share = 1.0 / 16}};
    static const setup small[] = {{.name = "without a budget"}, {.name = "1/8", .share = 1.0 / 8},
            {.name = "1/4, one thread, dense",
                    .share = 1.0 / 4,
                    .threads = 1,
                    .kv_packing = "dense"},
            {.name = "1/2, two threads, plain",
                    .share = 1.0 / 2,
                    .threads = 2,
                    .kv_packing = "plain"},
            {.name = "1/1.1", .share = 1.0 / 1.1},
            {.name = "1/8, pread, two threads", .share = 1.0 / 8, .threads = 2, .kv_io = "pread"}};
    static const setup few[] = {{.name = "without a budget"},
            {.name = "1/4, one thread, dense",
                    .share = 1.0 / 4,
                    .threads = 1,
                    .kv_packing = "dense"},
            {.name = "1/2, pread, two threads, plain",
                    .share = 1.0 / 2,
                    .threads = 2,
                    .kv_io = "pread",
                    .kv_packing = "plain"}};
    const char *model = help_needle_model();
    if (argc > 1) return all_pass(model, atoll(argv[1]), large, 2) ? 0 : 1;
    if (!every_row_counts(model)) return 1;
    if (getenv("GLM_TEST_FAST")) return all_pass(model, 12, few, 3) ? 0 : 1;
    const bool is_good = all_pass(model, 24, small, sizeof small / sizeof *small);
    return all_pass(model, 64, large, 2) && is_good ? 0 : 1;
}
