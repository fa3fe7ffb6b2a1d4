/* A child process gives its output or a named failure, in time, and nothing of it is left: whether it
 * fails, hangs, floods, takes memory, closes its output, leaves others behind, or a signal comes meanwhile.
 *
 * Method: a shell that does each of these; a pipe tells whether what it left behind is dead. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/child.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"

static int n_failed;

static void expect(bool is_true, const char *what, const char *detail) {
    if (is_true) return;
    printf("FAIL %s: %s (last error: %s)\n", what, detail, rt_error_text());
    n_failed++;
}

static rt_status run(const char *script, int fd, rt_child_limits limits, char **out, int64_t *n) {
    const char *const argv[] = {"sh", "-c", script, NULL};
    if (limits.seconds <= 0.0) limits.seconds = 200.0;
    if (limits.memory_bytes == 0) limits.memory_bytes = RT_GIB;
    if (limits.output_bytes == 0) limits.output_bytes = RT_MIB;
    *out = NULL;
    return rt_child_run(argv, fd, &limits, out, n);
}

static void expect_output(const char *script, int fd, const char *wanted) {
    char *out = NULL;
    int64_t n = 0;
    const rt_status status = run(script, fd, (rt_child_limits){0}, &out, &n);
    expect(status == RT_OK && n == (int64_t)strlen(wanted) && strcmp(out, wanted) == 0, script,
            out ? out : "");
    free(out);
}

static void expect_failure(
        const char *script, rt_child_limits limits, rt_status wanted, const char *says) {
    char *out = NULL;
    int64_t n = 0;
    expect(run(script, -1, limits, &out, &n) == wanted, script, "its status");
    expect(strstr(rt_error_text(), says) != NULL, script, says);
    expect(out == NULL, script, "nothing to free");
}

static void check_output(void) {
    expect_output("echo one; echo two >&2; printf three", -1, "one\nthree");
    expect_output("", -1, "");
    expect_output("cat; pwd", -1, "/\n");
    expect_output("exec >&-; sleep 0.2", -1, "");
}

static void check_environment(void) {
    expect(setenv("GLM_TEST_SECRET", "1", 1) == 0, "setenv", "");
    expect_output("env | grep GLM_TEST_SECRET || echo none", -1, "none\n");
    const int fd = open("/dev/null", O_RDONLY); /* without O_CLOEXEC: leaks unless it is closed */
    char script[64];
    (void)snprintf(script, sizeof script, "test -e /dev/fd/%d && echo there; echo over", fd + 20);
    expect(dup2(fd, fd + 20) >= 0, "dup2", "");
    expect_output(script, -1, "over\n");
    (void)close(fd + 20);
    (void)close(fd);
}

/* Whatever number it has here, it is 3 there. */
static void check_file(void) {
    char path[] = "/tmp/glm1m-child-XXXXXX";
    const int fd = mkstemp(path);
    expect(fd >= 0 && write(fd, "hello", 5) == 5, "a file", path);
    expect_output("cat " RT_CHILD_FILE, fd, "hello");
    (void)close(fd);
    (void)unlink(path);
}

static void check_failures(void) {
    const rt_child_limits any = {0};
    expect_failure("echo 'it is broken' >&2; echo more >&2; exit 3", any, RT_EIO,
            "sh ended with 3: it is broken");
    expect_failure("echo 'Warning: odd' >&2; echo; echo 'and broken' >&2; exit 1", any, RT_EIO,
            "sh ended with 1: and broken");
    expect_failure("echo 'Warning: odd' >&2; exit 1", any, RT_EIO, "sh ended with 1: Warning: odd");
    expect_failure("exit 1", any, RT_EIO, "sh ended with 1: it does not say why");
    expect_failure("kill -9 $$", any, RT_EIO, "sh was killed by signal 9");
    expect_failure(
            "sleep 500", (rt_child_limits){.seconds = 0.3}, RT_EIO, "sh takes longer than 0 s");
    expect_failure("exec >&- 2>&-; sleep 500", (rt_child_limits){.seconds = 0.3}, RT_EIO, "longer");
    expect_failure("trap '' TERM INT HUP; while :; do :; done", (rt_child_limits){.seconds = 0.3},
            RT_EIO, "longer");
    expect_failure("yes", (rt_child_limits){.output_bytes = 100000}, RT_EUSAGE,
            "sh writes more than 100000 bytes");
    expect_failure("yes >&2", (rt_child_limits){.seconds = 0.3}, RT_EIO, "longer");
    expect_failure("exec dd if=/dev/zero of=/dev/null bs=200M count=1",
            (rt_child_limits){.memory_bytes = 64 * RT_MIB}, RT_EIO, "sh ended with 1");
    const atomic_bool stop = true;
    expect_failure(
            "sleep 500", (rt_child_limits){.stop = &stop}, RT_EINTERRUPTED, "stopped while sh ran");
    const char *const none[] = {"no-such-program-of-glm1m", NULL};
    char *out = NULL;
    int64_t n = 0;
    const rt_child_limits limits = {
            .seconds = 200.0, .memory_bytes = RT_GIB, .output_bytes = RT_MIB};
    expect(rt_child_run(none, -1, &limits, &out, &n) == RT_EUNSUPPORTED, "no program", none[0]);
    expect(strstr(rt_error_text(), none[0]) != NULL, "no program", "its name");
}

/* The pipe's end comes when nobody holds it any more. */
static void check_nothing_is_left(const char *script, double seconds) {
    int ends[2];
    char *out = NULL;
    int64_t n = 0;
    char byte = 0;
    expect(pipe2(ends, O_CLOEXEC) == 0, "a pipe", "");
    const double started_s = rt_now();
    (void)!run(script, ends[1], (rt_child_limits){.seconds = seconds}, &out, &n);
    free(out);
    (void)close(ends[1]);
    expect(read(ends[0], &byte, 1) == 0, script, "somebody still writes");
    expect(rt_now() - started_s < 400.0, script, "it is waited for");
    (void)close(ends[0]);
}

static volatile sig_atomic_t n_signals;
static void count_signal(int number) {
    (void)number;
    n_signals++;
}

static void count_signals(int number) {
    const struct sigaction counted = {.sa_handler = count_signal};
    expect(sigaction(number, &counted, NULL) == 0, "sigaction", "");
    n_signals = 0;
}

/* The linker puts this before poll(): a signal that comes between two of them. */
static bool raises_alarm;
int __real_poll(struct pollfd *fds, nfds_t n, int ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms) {
    const int n_ready = __real_poll(fds, n, ms);
    if (raises_alarm) (void)raise(SIGALRM);
    raises_alarm = false;
    return n_ready;
}

/* Its handler has run, and the program is dead. Ctrl-Z and a later fg are no such signal. */
static void check_signals(void) {
    const rt_child_limits any = {0};
    count_signals(SIGALRM);
    expect_failure("kill -ALRM $PPID; sleep 500", any, RT_EINTERRUPTED, "interrupted while sh ran");
    expect(n_signals == 1, "one signal", "");
    raises_alarm = true;
    expect_failure("sleep 500", any, RT_EINTERRUPTED, "interrupted while sh ran");
    raises_alarm = true;
    expect_failure("yes >&2", any, RT_EINTERRUPTED, "interrupted while sh ran");
    expect(n_signals == 3, "three signals", "");
    count_signals(SIGCONT);
    expect_output(
            "for i in 1 2 3 4 5; do kill -CONT $PPID; sleep 0.03; done; echo over", -1, "over\n");
    expect(n_signals > 0, "signals to go on", "");
}

int main(void) {
    check_output();
    check_environment();
    check_file();
    check_failures();
    check_nothing_is_left("sleep 500 & exit 0", 200.0);
    check_nothing_is_left("sleep 500 | sleep 500", 0.3);
    check_nothing_is_left("(sleep 500 &) ; yes", 200.0);
    check_signals();
    return n_failed > 0;
}
