#include "help_runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/needle_model.h"
#include "runtime/prose.h"
#include "runtime/random_model.h"

/* ---- the directory --------------------------------------------------------------------------- */

static char directory[512];

static void remove_directory(void) {
    char command[560];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0) (void)fprintf(stderr, "could not remove %s\n", directory);
}

static void write_model(const char *kind) {
    if (strcmp(kind, "needle") == 0)
        bench_must(glm_needle_model_write(directory));
    else if (strcmp(kind, "random") == 0)
        bench_must(glm_random_model_write(directory, NULL, 1));
    else
        bench_must(rt_fail(RT_EUSAGE, "a model %s: needle or random", kind));
}

const char *runs_directory(const char *parent, const char *kind) {
    (void)snprintf(directory, sizeof directory, "%s/glm1m-bench-XXXXXX", parent);
    if (!mkdtemp(directory)) bench_must(rt_fail_errno(RT_EIO, "cannot make %s", directory));
    (void)atexit(remove_directory);
    write_model(kind);
    return directory;
}

bool runs_kept_directory(const char *path, const char *kind) {
    (void)snprintf(directory, sizeof directory, "%s", path);
    if (mkdir(path, 0755) != 0) return true;
    write_model(kind);
    return false;
}

int32_t *runs_text(int64_t n_tokens) {
    char *text = NULL;
    int64_t n_bytes = 0;
    bench_must(glm_prose_make(1, n_tokens, &text, &n_bytes));
    int32_t *ids = bench_memory(n_tokens * (int64_t)sizeof *ids);
    for (int64_t i = 0; i < n_tokens; i++) ids[i] = (unsigned char)text[i];
    free(text);
    return ids;
}

/* ---- measures -------------------------------------------------------------------------------- */

double runs_cpu_seconds(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

void runs_hash_logits(const glm_session *session, uint64_t *hash) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    bench_must(glm_session_logits(session, &logits, &n_rows));
    for (int64_t i = 0; i < n_rows * RUNS_VOCAB; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        *hash = (*hash ^ bits) * 1099511628211u;
    }
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double runs_median(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, compare);
    return values[n / 2];
}

/* ---- children -------------------------------------------------------------------------------- */

void runs_in_child(runs_work *work, const void *context, void *result, size_t n_bytes) {
    int ends[2];
    int status = 1;
    (void)fflush(stdout);
    if (pipe(ends) != 0) bench_must(rt_fail_errno(RT_EIO, "no pipe"));
    const pid_t child = fork();
    if (child < 0) bench_must(rt_fail_errno(RT_EIO, "no process"));
    if (child == 0) {
        work(context, result);
        _exit(write(ends[1], result, n_bytes) == (ssize_t)n_bytes ? 0 : 1);
    }
    (void)close(ends[1]);
    const bool is_read = read(ends[0], result, n_bytes) == (ssize_t)n_bytes;
    (void)close(ends[0]);
    if (waitpid(child, &status, 0) != child || status != 0 || !is_read)
        bench_must(rt_fail(RT_EIO, "a run failed"));
}

/* ---- options --------------------------------------------------------------------------------- */

const char *runs_value(int argc, char **argv, int *i, const char *usage) {
    if (*i + 1 >= argc) bench_must(rt_fail(RT_EUSAGE, "usage: %s", usage));
    return argv[++*i];
}

int64_t runs_count(int argc, char **argv, int *i, const char *usage) {
    char *end = NULL;
    const long long count = strtoll(runs_value(argc, argv, i, usage), &end, 10);
    if (*end || count < 1) bench_must(rt_fail(RT_EUSAGE, "usage: %s", usage));
    return count;
}
