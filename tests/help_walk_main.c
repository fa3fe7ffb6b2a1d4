/* Walks by seed, each in a process of its own, so that a crash is one more thing that is found; what fails is
 * made short. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_check.h"
#include "help_random.h"
#include "help_walk.h"
#include "runtime/base/log.h"
#include "runtime/random_model.h"

enum { SHRINK_S = 300, WALK_S = 500 };

typedef struct program {
    const walk_kind *kind;
    const char *name;
    char dir[64];
    /* A directory of a file system in memory, where there is one; the same otherwise. */
    char memory[64];
    char models[WALK_MODELS][128];
    int n_models;
    walk_counts *counts; /* shared with the child that walks */
} program;

static void remove_below(const program *p, const char *what) {
    char command[256];
    (void)snprintf(command, sizeof command, "rm -rf '%s'%s '%s'%s", p->dir, what, p->memory, what);
    if (system(command) != 0) exit(1);
}

static void write_models(program *p) {
    while (p->n_models < WALK_MODELS && p->kind->configs[p->n_models]) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/config.json", p->dir);
        FILE *file = fopen(path, "w");
        CHECK(file && fputs(p->kind->configs[p->n_models], file) >= 0 && fclose(file) == 0);
        char *model = p->models[p->n_models];
        (void)snprintf(model, sizeof p->models[0], "%s/model%d", p->dir, p->n_models);
        help_require(glm_random_model_write(model, path, 7), "make-model");
        p->n_models++;
    }
}

/* ---- one walk, in the child -------------------------------------------------------------------------------------------- */

/* Around the first extent's end, or the second's. */
static int64_t book_tokens(walk *w) {
    static const int64_t from_end[] = {-130, -7, -2, 0, 1, 70, 128, 300};
    const int64_t n = 4096 * (walk_below(w, 4) ? 1 : 2) + from_end[walk_below(w, 8)];
    w->longest = n + 30 + walk_below(w, 300);
    return n;
}

static void begin(const program *p, uint64_t seed, walk *w) {
    int64_t n_dtypes = 0;
    w->kind = p->kind;
    w->counts = p->counts;
    w->random = seed;
    while (p->kind->kv_dtypes[n_dtypes]) n_dtypes++;
    w->model = p->models[walk_below(w, p->n_models)];
    w->kv_dtype = p->kind->kv_dtypes[walk_below(w, n_dtypes)];
    w->is_lossy = strcmp(w->kv_dtype, "bf16") != 0 && strcmp(w->kv_dtype, "f32") != 0;
    w->persists = walk_below(w, 2);
    w->is_damaged = w->persists && !p->kind->tells_how && walk_below(w, 3) == 0;
    w->n_dirs = 1 + (int32_t)walk_below(w, 2);
    w->n_ranks = p->kind->ranks_max > 1 && walk_below(w, 4) == 0 ? p->kind->ranks_max : 1;
    const bool is_long = w->persists || (walk_below(w, 8) == 0 && !p->kind->tells_how);
    w->longest = is_long ? 4096 + 100 + walk_below(w, walk_below(w, 3) ? 1000 : 5000)
                         : 20 + p->kind->longest / 8 + walk_below(w, p->kind->longest);
    if (is_long && p->kind->tells_how) w->n_book = book_tokens(w);
    for (int i = 0; i < w->n_dirs; i++) {
        const char *dir = walk_below(w, 8) ? p->memory : p->dir;
        (void)snprintf(
                w->dirs[i], sizeof w->dirs[i], w->n_ranks > 1 ? "%s/kv%d-%%r" : "%s/kv%d", dir, i);
    }
    walk_say(w, "seed %" PRIu64 ": %s, KV as %s, up to %" PRId64 " tokens%s", seed, w->model,
            w->kv_dtype, w->longest,
            w->is_damaged ? ", kept, damaged"
            : w->persists ? ", kept"
                          : "");
    char dir[128];
    const char *dirs[] = {w->dirs[0], w->dirs[1], dir};
    (void)snprintf(dir, sizeof dir, w->n_ranks > 1 ? "%s/kvr-%%r" : "%s/kvr", p->memory);
    if (p->kind->begin) p->kind->begin(&w->random);
    if (w->n_book > 0) {
        walk_write_book(w, dirs, w->n_dirs);
        walk_write_book(w, dirs + 2, 1);
    }
    w->reference = walk_reference_open(
            p->kind, w->model, w->kv_dtype, w->n_ranks, w->n_book > 0 ? dir : NULL);
}

/* Steps 0 .. n_steps - 1, those of which is_taken, or all. */
static void take_walk(const program *p, uint64_t seed, int64_t n_steps, const bool *is_taken) {
    walk *w = calloc(1, sizeof *w);
    CHECK(w);
    begin(p, seed, w);
    walk_open(w);
    for (int64_t i = 0; i < n_steps; i++) {
        if (is_taken && !is_taken[i]) continue;
        p->counts->step = i;
        p->counts->n_steps++;
        w->random = seed * 1000003 + (uint64_t)i + 1;
        (void)random_next(&w->random);
        walk_step(w);
    }
    walk_look_at_all(w);
    walk_close(w);
    walk_reference_close(w->reference);
    free(w);
    p->counts->is_whole = true;
}

/* In a process; what it says goes to the file "script". */
static bool walks(const program *p, uint64_t seed, int64_t n_steps, const bool *is_taken) {
    char script[128];
    (void)snprintf(script, sizeof script, "%s/script", p->dir);
    remove_below(p, "/kv*");
    *p->counts = (walk_counts){0};
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        (void)alarm(WALK_S);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen(script, "w", stdout)) _exit(1);
        if (dup2(STDOUT_FILENO, STDERR_FILENO) < 0) _exit(1);
        take_walk(p, seed, n_steps, is_taken);
        exit(0);
    }
    int result = 1;
    CHECK(child > 0 && waitpid(child, &result, 0) == child);
    if (WIFSIGNALED(result))
        (void)snprintf(p->counts->text, sizeof p->counts->text, "signal %d", WTERMSIG(result));
    return result == 0 && p->counts->is_whole;
}

/* ---- what fails -------------------------------------------------------------------------------------------------------- */

/* Leave out what it does not take, by halves, quarters, ... and at last one by one. Where the walk said what was wrong, steps
 * that end it without a word, as the stand-in does, are another failure. */
static void shrink(
        const program *p, uint64_t seed, int64_t n_steps, bool *is_taken, bool says_what) {
    const double ends_at = rt_now() + SHRINK_S;
    for (int64_t size = n_steps; size > 0; size = size > 1 ? (size + 1) / 2 : 0) {
        for (int64_t at = 0; at < n_steps && rt_now() < ends_at; at += size) {
            bool *trial = malloc((size_t)n_steps);
            int64_t n_less = 0;
            CHECK(trial);
            memcpy(trial, is_taken, (size_t)n_steps);
            for (int64_t i = at; i < at + size && i < n_steps; i++) {
                n_less += trial[i];
                trial[i] = false;
            }
            if (n_less > 0 && !walks(p, seed, n_steps, trial) &&
                    says_what == (p->counts->text[0] != '\0'))
                memcpy(is_taken, trial, (size_t)n_steps);
            free(trial);
        }
    }
}

static void print_script(const program *p) {
    char command[256];
    (void)fflush(stdout);
    (void)snprintf(command, sizeof command, "cat '%s/script'", p->dir);
    if (system(command) != 0) exit(1);
}

static void explain(const program *p, uint64_t seed) {
    const int64_t n_steps = p->counts->step + 1;
    const bool says_what = p->counts->text[0] != '\0';
    bool *is_taken = malloc((size_t)n_steps);
    CHECK(is_taken);
    memset(is_taken, true, (size_t)n_steps);
    printf("FAIL seed %" PRIu64 ", step %" PRId64 ": %s\n", seed, n_steps - 1, p->counts->text);
    (void)fflush(stdout);
    shrink(p, seed, n_steps, is_taken, says_what);
    (void)walks(p, seed, n_steps, is_taken);
    print_script(p);
    printf("%s %" PRIu64 " %" PRId64 " =", p->name, seed, n_steps);
    for (int64_t i = 0; i < n_steps; i++)
        if (is_taken[i]) printf("%" PRId64 ",", i);
    printf("\n");
    free(is_taken);
}

/* ---- programs ---------------------------------------------------------------------------------------------------------- */

/* The steps of "=1,5,12" and no others. */
static int repeat(const program *p, uint64_t seed, int64_t n_steps, const char *list) {
    bool *is_taken = calloc((size_t)n_steps, sizeof *is_taken);
    CHECK(is_taken);
    for (const char *at = list + 1; *at;) {
        char *end = NULL;
        const int64_t i = strtoll(at, &end, 10);
        if (end == at) break;
        if (i < n_steps) is_taken[i] = true;
        at = *end == ',' ? end + 1 : end;
    }
    const bool is_good = walks(p, seed, n_steps, is_taken);
    print_script(p);
    free(is_taken);
    return is_good ? 0 : 1;
}

static int take_all(const program *p, uint64_t first, int64_t n_seeds, int64_t n_steps) {
    walk_counts all = {0};
    for (uint64_t seed = first; seed < first + (uint64_t)n_seeds; seed++) {
        const bool is_good = walks(p, seed, n_steps, NULL);
        all.n_steps += p->counts->n_steps;
        all.n_rows += p->counts->n_rows;
        all.n_refused += p->counts->n_refused;
        all.n_opened += p->counts->n_opened;
        if (seed % 20 == 0) (void)fprintf(stderr, "seed %" PRIu64 "\n", seed);
        if (is_good) continue;
        explain(p, seed);
        return 1;
    }
    printf("seeds %" PRIu64 " and on: %" PRId64 " steps in %" PRId64 " engines, %" PRId64
           " rows compared, %" PRId64 " calls refused\n",
            first, all.n_steps, all.n_opened, all.n_rows, all.n_refused);
    return 0;
}

int walk_main(const walk_kind *kind, uint64_t seed, int64_t n_seeds, int64_t n_steps, int argc,
        char **argv) {
    program p = {.kind = kind, .name = argv[0]};
    if (argc > 1) seed = strtoull(argv[1], NULL, 10);
    const bool is_list = argc > 3 && argv[3][0] == '=';
    if (argc > 2) n_steps = strtoll(argv[2], NULL, 10);
    if (argc > 1) n_seeds = argc > 3 && !is_list ? strtoll(argv[3], NULL, 10) : 1;
    (void)snprintf(p.dir, sizeof p.dir, "/tmp/glm1m-walk-XXXXXX");
    (void)snprintf(p.memory, sizeof p.memory, "/dev/shm/glm1m-test-%ld-XXXXXX", (long)getpid());
    CHECK(n_steps > 0 && mkdtemp(p.dir));
    if (!mkdtemp(p.memory)) memcpy(p.memory, p.dir, sizeof p.memory);
    p.counts =
            mmap(NULL, sizeof *p.counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p.counts != MAP_FAILED);
    write_models(&p);
    const int failed =
            is_list ? repeat(&p, seed, n_steps, argv[3]) : take_all(&p, seed, n_seeds, n_steps);
    remove_below(&p, "");
    return failed;
}
