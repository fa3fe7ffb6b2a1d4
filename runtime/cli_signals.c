#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "cli.h"
#include "cli_signals.h"

/* What handlers may touch, beside rt_interrupted_by: lock-free, times as of now_ns(), the pipe that wakes a prompt
 * (-1: no prompt waits), and what has happened to the terminal that it is shown on. */
static atomic_llong first_ns;
static atomic_llong continued_ns;
static atomic_int prompt_pipe = -1;
static atomic_int happened;
static atomic_bool is_watched;

/* timeout(1) signals its child and then its group, which the child is in: two of those are one. */
static const long long together_ns = 250000000;

static long long now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* errno is whose work the signal interrupted. */
static void write_ignoring(int fd, const char *text, size_t n_bytes) {
    const int before = errno;
    const ssize_t ignored = write(fd, text, n_bytes);
    (void)ignored;
    errno = before;
}

static bool is_sent_again(int number, const siginfo_t *info) {
    return info->si_code != SI_KERNEL && number == atomic_load(&rt_interrupted_by) &&
           now_ns() - atomic_load(&first_ns) < together_ns;
}

/* Where a prompt waits, nothing runs that would have to be stopped: it is woken, and decides. */
static void on_signal(int number, siginfo_t *info, void *context) {
    static const char text[] = "\nstopping after the step that is running; again to stop at once\n";
    (void)context;
    if (is_sent_again(number, info)) return;
    const int pipe_end = atomic_load(&prompt_pipe);
    const int first = atomic_load(&rt_interrupted_by);
    if (pipe_end < 0 && first) _exit(GLM_EXIT_SIGNAL + number);
    if (first == 0 || first == SIGINT) atomic_store(&rt_interrupted_by, number);
    atomic_store(&first_ns, now_ns());
    if (pipe_end >= 0)
        write_ignoring(pipe_end, "", 1);
    else
        write_ignoring(STDERR_FILENO, text, sizeof text - 1);
}

/* The pipe is written to after the flag is set: a prompt that looked before is woken from its poll(), whichever thread the
 * signal was given to. */
static void tell_prompt(int what) {
    if (!atomic_load(&is_watched)) return;
    (void)atomic_fetch_or(&happened, what);
    const int pipe_end = atomic_load(&prompt_pipe);
    if (pipe_end >= 0) write_ignoring(pipe_end, "", 1);
}

/* After Ctrl-Z or SIGSTOP, which cannot be seen coming. */
static void on_continue(int number) {
    (void)number;
    atomic_store(&continued_ns, now_ns());
    tell_prompt(GLM_PROMPT_CONTINUED);
}

static void on_terminal(int number) {
    tell_prompt(number == SIGTSTP ? GLM_PROMPT_STOP : GLM_PROMPT_RESIZED);
}

double glm_cli_continued_at(void) {
    return (double)atomic_load(&continued_ns) * 1e-9;
}

/* What whoever started us wants to be ignored, as nohup does SIGHUP, is. */
static void catch_unless_ignored(int number, const struct sigaction *action) {
    struct sigaction before;
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_IGN) return;
    (void)sigaction(number, action, NULL);
}

static void leave_to_the_system(int number) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    catch_unless_ignored(number, &action);
}

void glm_cli_catch_signals(void) {
    /* SA_RESTART: a write to stdout half done must not fail because of Ctrl-C. */
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_RESTART | SA_SIGINFO;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    catch_unless_ignored(SIGHUP, &action);
    catch_unless_ignored(SIGUSR1, &action);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_continue;
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGCONT, &action, NULL);
    /* A file that may not grow is an error with a name, not the end. */
    (void)signal(SIGXFSZ, SIG_IGN);
}

int glm_cli_interrupted(void) {
    return atomic_load(&rt_interrupted_by);
}

const char *glm_cli_signal_name(int number) {
    return number == SIGTERM   ? "SIGTERM"
           : number == SIGHUP  ? "SIGHUP"
           : number == SIGUSR1 ? "SIGUSR1"
                               : "Ctrl-C";
}

rt_status glm_cli_check_interrupted(void) {
    const int number = glm_cli_interrupted();
    if (!number) return RT_OK;
    return rt_fail(RT_EINTERRUPTED, "stopped by %s", glm_cli_signal_name(number));
}

bool glm_cli_forget_interrupt(void) {
    int expected = SIGINT;
    return atomic_compare_exchange_strong(&rt_interrupted_by, &expected, 0);
}

/* ---- prompts --------------------------------------------------------------------------------- */

rt_status glm_signal_pipe_open(glm_signal_pipe *wake) {
    if (pipe2(wake->ends, O_CLOEXEC | O_NONBLOCK) == 0) return RT_OK;
    return rt_fail_errno(RT_EIO, "cli: cannot make a pipe for signals");
}

void glm_signal_pipe_begin(const glm_signal_pipe *wake) {
    atomic_store(&prompt_pipe, wake->ends[1]);
}

static void drain(const glm_signal_pipe *wake) {
    char bytes[16];
    while (read(wake->ends[0], bytes, sizeof bytes) > 0) {
    }
}

/* What came meanwhile is in rt_interrupted_by. */
void glm_signal_pipe_end(const glm_signal_pipe *wake) {
    atomic_store(&prompt_pipe, -1);
    drain(wake);
}

void glm_signal_pipe_watch_terminal(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_terminal;
    action.sa_flags = SA_RESTART;
    atomic_store(&is_watched, true);
    catch_unless_ignored(SIGTSTP, &action);
    catch_unless_ignored(SIGWINCH, &action);
}

void glm_signal_pipe_unwatch_terminal(void) {
    leave_to_the_system(SIGTSTP);
    leave_to_the_system(SIGWINCH);
    atomic_store(&is_watched, false);
    if (atomic_exchange(&happened, 0) & GLM_PROMPT_STOP) (void)raise(SIGTSTP);
}

int glm_signal_pipe_take(const glm_signal_pipe *wake) {
    drain(wake);
    return atomic_exchange(&happened, 0);
}

void glm_signal_pipe_stop_here(void) {
    leave_to_the_system(SIGTSTP);
    (void)raise(SIGTSTP);
    glm_signal_pipe_watch_terminal();
}

void glm_signal_pipe_close(glm_signal_pipe *wake) {
    rt_assert(atomic_load(&prompt_pipe) < 0);
    (void)close(wake->ends[0]);
    (void)close(wake->ends[1]);
}
