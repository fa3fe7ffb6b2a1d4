/* Ctrl-Z, and a while later fg: the time between is no part of a rate and an ETA.
 *
 * Method: the program stops itself; another lets it go on once it stands. A pause is left out with what
 * was run since the update before, and no more than that. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_check.h"
#include "runtime/base/log.h"
#include "runtime/cli_progress.h"
#include "runtime/cli_signals.h"

static const double pause_s = 0.3;

/* Until the process stands still, and then for pause_s. */
static _Noreturn void let_go_on(pid_t program) {
    char path[64];
    char state = 'R';
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)program);
    while (state != 'T') {
        FILE *file = fopen(path, "re");
        if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1) _exit(1);
        (void)fclose(file);
        (void)usleep(1000);
    }
    (void)usleep((useconds_t)(pause_s * 1e6));
    (void)kill(program, SIGCONT);
    _exit(0);
}

static void pause_once(void) {
    const pid_t program = getpid();
    const pid_t child = fork();
    if (child == 0) let_go_on(program);
    (void)raise(SIGSTOP);
    int status = -1;
    (void)waitpid(child, &status, 0);
    CHECK(status == 0);
}

int main(void) {
    const glm_cli cli = {0};
    glm_progress bar;
    glm_cli_catch_signals();
    glm_progress_begin(&bar, &cli, "prefill", "tokens");
    const double started_s = bar.started_s;
    glm_progress_update(&bar, 10, 100, 0.0, 0.0);
    CHECK(bar.started_s == started_s);

    const double before_s = rt_now();
    pause_once();
    glm_progress_update(&bar, 20, 100, 0.0, 0.0);
    const double left_out_s = bar.started_s - started_s;
    CHECK(left_out_s >= pause_s);
    CHECK(left_out_s <= rt_now() - before_s + (before_s - started_s));

    /* Once. */
    glm_progress_update(&bar, 30, 100, 0.0, 0.0);
    CHECK(bar.started_s - started_s == left_out_s);
    pause_once();
    glm_progress_update(&bar, 40, 100, 0.0, 0.0);
    CHECK(bar.started_s - started_s >= left_out_s + pause_s);
    return 0;
}
