/* A signal that comes just before a command waits for its input stops it as one that comes while it waits.
 *
 * Method: a pipe that nobody writes to; SIGTERM is there before it is read, handled or held back, as in the moment in
 * front of the wait. An alarm ends what waits all the same. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/cli_signals.h"

static bool stops(const char *what) {
    int ends[2];
    char *bytes = NULL;
    int64_t n_bytes = 0;
    if (pipe(ends) != 0) return false;
    (void)alarm(20);
    const rt_status status = rt_file_read_stream(ends[0], "a pipe", 1000, &bytes, &n_bytes);
    (void)alarm(0);
    (void)close(ends[0]);
    (void)close(ends[1]);
    if (status == RT_EINTERRUPTED && glm_cli_interrupted() == SIGTERM) return true;
    printf("FAIL: %s: status %d, signal %d\n", what, (int)status, glm_cli_interrupted());
    return false;
}

/* As a handler that had no time to run. */
static bool stops_when_held_back(void) {
    sigset_t held;
    sigset_t before;
    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &held, &before);
    (void)raise(SIGTERM);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return stops("held back");
}

int main(void) {
    glm_cli_catch_signals();
    return stops_when_held_back() && stops("handled before") ? 0 : 1;
}
