#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static volatile sig_atomic_t first_signal;

static void on_signal(int number) {
    if (first_signal) _exit(128 + number);
    first_signal = number;
    static const char text[] = "\nstopping after the step that is running; again to stop at once\n";
    const ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
}

void glm_cli_catch_signals(void) {
    /* SA_RESTART: a write to stdout half done must not fail because of Ctrl-C. */
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    /* A file that may not grow is an error with a name, not the end. */
    (void)signal(SIGXFSZ, SIG_IGN);
}

int glm_cli_interrupted(void) {
    return first_signal;
}

rt_status glm_cli_check_interrupted(void) {
    if (!first_signal) return RT_OK;
    return rt_fail(
            RT_EINTERRUPTED, "stopped by %s", first_signal == SIGTERM ? "SIGTERM" : "Ctrl-C");
}
