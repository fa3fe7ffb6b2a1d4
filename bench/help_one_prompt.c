#include "help_one_prompt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- options --------------------------------------------------------------------------------- */

static void fail(const char *program, const char *what, const char *text) {
    (void)fprintf(stderr, "%s: %s%s\n", program, what, text);
    exit(2);
}

static int64_t count(const char *program, const char *name, const char *text) {
    char *end = NULL;
    const long long value = strtoll(text, &end, 10);
    if (*end || value < 1 || value > INT32_MAX)
        fail(program, name, " takes a number from 1 to 2147483647");
    return value;
}

static void parse_lengths(const char *program, char *text, one_prompt *job) {
    for (char *place = NULL, *word = strtok_r(text, ",", &place); word;
            word = strtok_r(NULL, ",", &place)) {
        if (job->n_lengths == ONE_PROMPT_LENGTHS_MAX)
            fail(program, "--lengths", " takes at most 8");
        const int64_t length = count(program, "--lengths", word);
        if (job->n_lengths > 0 && length <= job->lengths[job->n_lengths - 1])
            fail(program, "--lengths", " must ascend");
        job->lengths[job->n_lengths++] = length;
    }
}

one_prompt one_prompt_parse(int argc, char **argv, const char *program) {
    one_prompt job = {.begun = now(), .n_answer = 32, .n_threads = 2};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (i + 1 == argc) fail(program, name, " takes a value (bench/help_one_prompt.h)");
        char *value = argv[++i];
        if (strcmp(name, "--model") == 0)
            job.model = value;
        else if (strcmp(name, "--lengths") == 0)
            parse_lengths(program, value, &job);
        else if (strcmp(name, "--answer") == 0)
            job.n_answer = count(program, name, value);
        else if (strcmp(name, "--threads") == 0)
            job.n_threads = (int)count(program, name, value);
        else if (strcmp(name, "--kv") == 0)
            job.kv = value;
        else if (strcmp(name, "--chunk") == 0)
            job.chunk = count(program, name, value);
        else if (strcmp(name, "--variant") == 0)
            job.variant = value;
        else if (strcmp(name, "--logits") == 0)
            job.logits = value;
        else if (strcmp(name, "--kept") == 0)
            job.n_kept = count(program, name, value);
        else if (strcmp(name, "--in") == 0)
            job.kept_in = value;
        else
            fail(program, "no such option: ", name);
    }
    if (!job.model) fail(program, "--model", " is missing");
    if (job.n_lengths == 0) fail(program, "--lengths", " is missing");
    if ((job.n_kept > 0) != (job.kept_in != NULL)) fail(program, "--kept and --in", " go together");
    if (job.n_kept >= job.lengths[0]) fail(program, "--kept", " must be below the first length");
    return job;
}

/* ---- the job --------------------------------------------------------------------------------- */

/* Since the program began: the kernel forgets at exec what the process was before. */
static double peak_rss_mib(void) {
    char line[128];
    double kib = 0.0;
    FILE *file = fopen("/proc/self/status", "r");
    if (!file) return 0.0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtod(line + 6, NULL);
    (void)fclose(file);
    return kib / 1024.0;
}

static int32_t *make_ids(int64_t n, int32_t vocab) {
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    uint32_t state = 1;
    for (int64_t i = 0; ids && i < n; i++) {
        state = state * 1664525U + 1013904223U;
        ids[i] = (int32_t)((uint64_t)state * (uint32_t)vocab >> 32);
    }
    return ids;
}

static void keep(FILE *file, const one_prompt_runtime *runtime) {
    if (!file) return;
    const size_t n = (size_t)runtime->vocab();
    if (fwrite(runtime->logits(), sizeof(float), n, file) != n)
        fail("--logits", "", "cannot be written");
}

/* Tokens that are held then. */
static int64_t begin_with_kept(
        const one_prompt *job, const one_prompt_runtime *runtime, const int32_t *ids) {
    if (job->n_kept == 0) return 0;
    const int64_t n = runtime->restore(job, ids);
    (void)printf("{\"kept\": %" PRId64 ", \"restored_s\": %.6f}\n", n, now() - job->begun);
    if (n == 0) {
        runtime->prefill(ids, job->n_kept);
        runtime->keep(job, ids);
    }
    return job->n_kept;
}

static double decode_all(const one_prompt *job, const one_prompt_runtime *runtime,
        const int32_t *ids, FILE *logits) {
    const double begun = now();
    for (int64_t i = 0; i < job->n_answer; i++) {
        runtime->decode(ids[i]);
        keep(logits, runtime);
    }
    return now() - begun;
}

void one_prompt_run(const one_prompt *job, const one_prompt_runtime *runtime) {
    const int64_t n_max = job->lengths[job->n_lengths - 1] + job->n_answer;
    FILE *logits = job->logits ? fopen(job->logits, "w") : NULL;
    if (job->logits && !logits) fail("--logits", "", " cannot be written");
    runtime->open(job, n_max);
    const double ready = now();
    int32_t *ids = make_ids(n_max, runtime->vocab());
    if (!ids) fail("ids", "", ": no memory");
    int64_t done = begin_with_kept(job, runtime, ids);
    for (int i = 0; i < job->n_lengths; i++) {
        const int64_t length = job->lengths[i];
        const double begun = now();
        runtime->prefill(ids + done, length - done);
        const double first = now();
        keep(logits, runtime);
        const double decode_s = decode_all(job, runtime, ids + length, logits);
        runtime->cut(done = length);
        (void)printf("{\"length\": %" PRId64
                     ", \"ready_s\": %.6f, \"first_s\": %.6f, \"prefill_s\": %.6f, "
                     "\"decode_s\": %.6f, \"rss_mib\": %.1f}\n",
                length, ready - job->begun, first - job->begun, first - begun, decode_s,
                peak_rss_mib());
    }
    free(ids);
    if (logits && fclose(logits) != 0) fail("--logits", "", " cannot be written");
}
