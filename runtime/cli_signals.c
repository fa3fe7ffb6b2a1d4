#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* What a handler may touch: lock-free, and the pipe that wakes a prompt (-1: no prompt waits). */
static atomic_int first_signal;
static atomic_int prompt_pipe = -1;

static void write_ignoring(int fd, const char *text, size_t n_bytes) {
    const ssize_t ignored = write(fd, text, n_bytes);
    (void)ignored;
}

/* Where a prompt waits, nothing runs that would have to be stopped: it is woken, and decides. */
static void on_signal(int number) {
    static const char text[] = "\nstopping after the step that is running; again to stop at once\n";
    const int pipe_end = atomic_load(&prompt_pipe);
    if (pipe_end < 0 && atomic_load(&first_signal)) _exit(128 + number);
    if (atomic_load(&first_signal) != SIGTERM) atomic_store(&first_signal, number);
    if (pipe_end >= 0)
        write_ignoring(pipe_end, "", 1);
    else
        write_ignoring(STDERR_FILENO, text, sizeof text - 1);
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
    return atomic_load(&first_signal);
}

rt_status glm_cli_check_interrupted(void) {
    const int number = glm_cli_interrupted();
    if (!number) return RT_OK;
    return rt_fail(RT_EINTERRUPTED, "stopped by %s", number == SIGTERM ? "SIGTERM" : "Ctrl-C");
}

bool glm_cli_forget_interrupt(void) {
    int expected = SIGINT;
    return atomic_compare_exchange_strong(&first_signal, &expected, 0);
}

/* Prompts */

rt_status glm_signal_pipe_open(glm_signal_pipe *wake) {
    if (pipe2(wake->ends, O_CLOEXEC | O_NONBLOCK) == 0) return RT_OK;
    return rt_fail_errno(RT_EIO, "cli: cannot make a pipe for signals");
}

void glm_signal_pipe_begin(const glm_signal_pipe *wake) {
    atomic_store(&prompt_pipe, wake->ends[1]);
}

/* What came meanwhile is in first_signal. */
void glm_signal_pipe_end(const glm_signal_pipe *wake) {
    atomic_store(&prompt_pipe, -1);
    char bytes[16];
    while (read(wake->ends[0], bytes, sizeof bytes) > 0) {
    }
}

void glm_signal_pipe_close(glm_signal_pipe *wake) {
    rt_assert(atomic_load(&prompt_pipe) < 0);
    (void)close(wake->ends[0]);
    (void)close(wake->ends[1]);
}
