#include "help_fault_runs.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_mpi.h"
#include "help_ranks.h"
#include "runtime/base/log.h"

enum { DIR_BYTES = 1024, PATH_BYTES = 2048, RUN_S_MAX = 300 };

static pid_t members[PAR_RANKS_MAX]; /* by TCP */

void help_fault_shell(const char *format, ...) {
    char command[3 * PATH_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    if (system(command) != 0) {
        printf("FAIL: %s\n", command);
        exit(1);
    }
}

/* A process of the run, or mpirun. */
static void be_started(const help_fault_setup *setup, const char *dir, int n_ranks,
        const char *fault, int rank, int port) {
    char number[3][16];
    char log[PATH_BYTES];
    char errors[PATH_BYTES];
    (void)snprintf(number[0], sizeof number[0], "%d", n_ranks);
    (void)snprintf(number[1], sizeof number[1], "%d", rank);
    (void)snprintf(number[2], sizeof number[2], "%d", port);
    (void)snprintf(log, sizeof log, "%s/log", dir);
    (void)snprintf(errors, sizeof errors, "%s/errors", dir);
    (void)setenv("GLM_TEST_DIR", dir, 1);
    (void)setenv("GLM_TEST_MODEL", setup->model, 1);
    (void)setenv("GLM_TEST_LOG", log, 1);
    (void)setenv("GLM_TEST_RANKS", number[0], 1);
    (void)setenv("GLM_TEST_FAULT", fault, 1);
    if (setup->spills) (void)setenv("GLM_TEST_SPILLS", "1", 1);
    if (!freopen(errors, "a", stderr)) _exit(96);
    if (setup->transport == PAR_BY_LOCAL)
        (void)execl("/proc/self/exe", "zero", "zero", (char *)NULL);
    if (setup->transport == PAR_BY_MPI) help_mpi_exec(n_ranks, "member");
    (void)setenv("WORLD_SIZE", number[0], 1);
    (void)setenv("RANK", number[1], 1);
    (void)setenv("MASTER_PORT", number[2], 1);
    (void)setenv("MASTER_ADDR", "127.0.0.1", 1);
    (void)execl("/proc/self/exe", "member", "member", (char *)NULL);
    _exit(96);
}

/* Rank 0, or mpirun. */
static pid_t start_zero(
        const help_fault_setup *setup, const char *dir, int n_ranks, const char *fault) {
    const int port = setup->transport == PAR_BY_TCP ? help_free_port() : 0;
    (void)fflush(stdout);
    for (int rank = setup->transport == PAR_BY_TCP ? n_ranks - 1 : 0; rank >= 0; rank--) {
        members[rank] = fork();
        if (members[rank] == 0) be_started(setup, dir, n_ranks, fault, rank, port);
    }
    return members[0];
}

/* When the fault was, 0 if it was not. */
static double read_log(const char *dir, int faulty, help_fault_outcome *out) {
    char path[PATH_BYTES];
    char line[256];
    double happened = 0.0;
    double last = 0.0;
    (void)snprintf(path, sizeof path, "%s/log", dir);
    FILE *file = fopen(path, "r");
    out->n_noticed = 0;
    while (file && fgets(line, sizeof line, file)) {
        double at = 0.0;
        int rank = 0;
        int status = 0;
        if (sscanf(line, "F %lf %63[^\n]", &at, out->step) == 2) happened = at;
        if (sscanf(line, "E %d %d %lf", &rank, &status, &at) != 3) continue;
        if (rank == faulty || status != RT_EPEER) continue;
        out->n_noticed++;
        last = at > last ? at : last;
    }
    if (file) (void)fclose(file);
    out->has_happened = happened > 0.0;
    out->detected_s = out->has_happened && last > 0.0 ? last - happened : 0.0;
    return happened;
}

/* Until every process of the run is gone. One that froze among ranks by TCP is let go on when it is the last. */
static void wait_for_all(const help_fault_setup *setup, pid_t zero, int n_ranks, const char *dir,
        const help_fault *fault, help_fault_outcome *out) {
    double waited_s = 0.0; /* while this program itself was running */
    double last = rt_now();
    double left_alone = 0.0;
    int n_left = setup->transport == PAR_BY_TCP ? n_ranks : 0;
    out->exit_code = -1;
    for (;;) {
        int status = 0;
        const pid_t pid = waitpid(-1, &status, WNOHANG);
        n_left -= pid > 0;
        if (n_left == 1 && fault->kind == HELP_FAULT_STOP && left_alone == 0.0) {
            left_alone = rt_now();
            (void)kill(members[fault->rank], SIGCONT);
        }
        if (pid == zero)
            out->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (pid < 0) break; /* no child is left, and orphans would be ours */
        if (pid > 0) continue;
        waited_s += rt_now() - last < 1.0 ? rt_now() - last : 0.0;
        last = rt_now();
        if (waited_s > RUN_S_MAX) {
            out->has_hung = true;
            (void)kill(zero, SIGKILL);
            for (int r = 1; r < n_ranks && setup->transport == PAR_BY_TCP; r++)
                (void)kill(members[r], SIGKILL);
        }
        (void)usleep(1000);
    }
    const double happened = read_log(dir, fault->rank, out);
    out->gone_s = happened > 0.0 ? rt_now() - happened : 0.0;
}

static void read_errors(const char *dir, help_fault_outcome *out) {
    char path[PATH_BYTES];
    char line[1024];
    (void)snprintf(path, sizeof path, "%s/errors", dir);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        (void)sscanf(line, "reused %" SCNd64, &out->reused);
        (void)sscanf(line, "operations %d", &out->operations);
        if (strncmp(line, "glm1m: ", 7) == 0)
            (void)snprintf(out->text, sizeof out->text, "%.*s", (int)strcspn(line, "\n"), line);
    }
    if (file) (void)fclose(file);
}

/* Rows of logits of a run; the caller frees. NULL: there are none. */
static float *read_logits(const help_fault_setup *setup, const char *name, int64_t *n) {
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s/logits", setup->base, name);
    FILE *file = fopen(path, "rb");
    float *logits = calloc(1024, sizeof *logits);
    *n = file ? (int64_t)fread(logits, sizeof *logits, 1024, file) : 0;
    if (file) (void)fclose(file);
    if (*n > 0) return logits;
    free(logits);
    return NULL;
}

bool help_fault_is_right(const help_fault_setup *setup, const char *name, int like, double bound) {
    char clean[32];
    int64_t n = 0;
    int64_t n_want = 0;
    (void)snprintf(clean, sizeof clean, "clean%d", like);
    float *got = read_logits(setup, name, &n);
    float *want = read_logits(setup, clean, &n_want);
    const bool is_same = got && want && n == n_want &&
                         (bound > 0.0 ? help_relative_error(got, want, n) <= bound
                                      : memcmp(got, want, (size_t)n * sizeof *got) == 0);
    free(got);
    free(want);
    return is_same;
}

help_fault_outcome help_fault_run(
        const help_fault_setup *setup, const char *name, int n_ranks, const help_fault *fault) {
    char dir[DIR_BYTES];
    char text[64];
    help_fault_outcome out = {0};
    (void)snprintf(dir, sizeof dir, "%s/%s", setup->base, name);
    (void)snprintf(
            text, sizeof text, "%s %d %d", help_fault_name(fault->kind), fault->rank, fault->at);
    help_fault_shell("mkdir -p '%s' && rm -f '%s/log' '%s/logits' '%s/errors'", dir, dir, dir, dir);
    const pid_t zero = start_zero(setup, dir, n_ranks, text);
    wait_for_all(setup, zero, n_ranks, dir, fault, &out);
    read_errors(dir, &out);
    out.is_right = out.exit_code == 0 && help_fault_is_right(setup, name, n_ranks, 0.0);
    return out;
}

int help_fault_count(const help_fault_setup *setup, int n_ranks) {
    char name[32];
    const help_fault none = {.kind = HELP_FAULT_NONE};
    (void)snprintf(name, sizeof name, "clean%d", n_ranks);
    const help_fault_outcome out = help_fault_run(setup, name, n_ranks, &none);
    if (out.exit_code != 0) {
        printf("FAIL: without a fault, %d ranks: exit code %d: %s\n", n_ranks, out.exit_code,
                out.text);
        exit(1);
    }
    return out.operations;
}
