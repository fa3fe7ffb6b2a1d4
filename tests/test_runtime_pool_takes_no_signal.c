/* A pool's workers take none of the signals that users and terminals send: they wait for the thread that made the pool, whose
 * mask is as it was.
 *
 * Method: with every one of them held back in this thread, what is sent to the process stays pending while a worker that would
 * take it is there; let through, it arrives here. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/pool.h"

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCONT, SIGTSTP, SIGWINCH};
enum { N_NUMBERS = sizeof numbers / sizeof *numbers, N_THREADS = 4 };

static atomic_int n_taken;
static pthread_t taker;

static void take(int number) {
    (void)number;
    taker = pthread_self();
    (void)atomic_fetch_add(&n_taken, 1);
}

static bool is_ours(int number) {
    const struct timespec moment = {.tv_nsec = 20 * 1000000};
    sigset_t one;
    sigset_t before;
    sigset_t waiting;
    (void)sigemptyset(&one);
    (void)sigaddset(&one, number);
    if (pthread_sigmask(SIG_BLOCK, &one, &before) != 0 || sigismember(&before, number))
        return false;
    atomic_store(&n_taken, 0);
    (void)kill(getpid(), number);
    (void)nanosleep(&moment, NULL);
    const bool is_pending = sigpending(&waiting) == 0 && sigismember(&waiting, number) == 1;
    const bool is_taken = atomic_load(&n_taken) > 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return is_pending && !is_taken && atomic_load(&n_taken) == 1 &&
           pthread_equal(taker, pthread_self());
}

int main(void) {
    rt_pool *pool = NULL;
    int n_failed = 0;
    for (int i = 0; i < N_NUMBERS; i++) (void)signal(numbers[i], take);
    if (rt_pool_create(N_THREADS, &pool) != RT_OK) return 1;
    for (int i = 0; i < N_NUMBERS; i++) {
        if (is_ours(numbers[i])) continue;
        printf("FAIL: signal %d was taken by a worker, or not at all\n", numbers[i]);
        n_failed++;
    }
    rt_pool_free(pool);
    return n_failed > 0;
}
