#include "interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

atomic_int rt_interrupted_by;

/* Between the question and the wait no signal comes: it is held back until ppoll() waits, which it ends then. */
int rt_poll_interruptible(struct pollfd *fds, nfds_t n) {
    sigset_t held;
    sigset_t before;
    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGINT);
    (void)sigaddset(&held, SIGTERM);
    (void)sigaddset(&held, SIGHUP);
    (void)sigaddset(&held, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &held, &before);
    int n_ready = -1;
    int error = EINTR;
    if (!atomic_load(&rt_interrupted_by)) {
        n_ready = ppoll(fds, n, NULL, &before);
        error = errno;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return n_ready;
}
