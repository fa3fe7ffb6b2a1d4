/* Where a thread cannot be started on one of two ranks that are GPUs, whichever it is and on whichever rank, both ranks end at
 * once, and whoever opened the engine is told that it was a thread; or who gave up, where the other rank had no way to say
 * more yet.
 *
 * Method: pthread_create() of this program, and of the rank that it starts, fails at one call, for each in turn. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_ranks.h"
#include "runtime/runtime.h"

enum { S_MAX = 60, HEARTBEAT = 1, N_THREADS_MIN = 5, N_THREADS_MAX = 64 };

static const char at_name[] = "GLM_TEST_NO_THREAD_AT", rank_name[] = "GLM_TEST_NO_THREAD_RANK";
static const char *rank_text = "0"; /* of this process */
static atomic_int n_threads;
static int n_failed;

/* Of this rank's calls the one that fails; 0: none. */
static int fails_at(void) {
    const char *at = getenv(at_name), *rank = getenv(rank_name);
    return at && rank && strcmp(rank, rank_text) == 0 ? atoi(at) : 0;
}

int pthread_create(
        pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = NULL;
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&next, &symbol, sizeof next);
    if (++n_threads == fails_at()) return EAGAIN;
    return next(thread, attributes, run, argument);
}

static void give_up(int signal) {
    static const char text[] = "FAIL: a rank waits for one that is not there\n";
    (void)signal;
    (void)!write(STDOUT_FILENO, text, sizeof text - 1);
    _exit(1);
}

static void complain(int rank, int at, const char *why) {
    printf("FAIL thread %d of rank %d: %s\n", at, rank, why);
    n_failed++;
}

/* Whether the engine is opened. */
static bool open_without(const char *model, int rank, int at) {
    glm_engine *engine = NULL;
    const glm_options options = {.model_dir = model,
            .device = "cuda",
            .tensor_parallel = 2,
            .max_len = 64,
            .threads = 2};
    char text[16];
    (void)snprintf(text, sizeof text, "%d", at);
    (void)setenv(at_name, text, 1);
    (void)setenv(rank_name, rank ? "1" : "0", 1);
    n_threads = 0;
    (void)alarm(S_MAX);
    const rt_status status = glm_engine_open(&options, &engine);
    const char *why = rank == 1 && at == HEARTBEAT ? "rank 1 on" : "thread";
    if (status != RT_OK && !strstr(rt_error_text(), why)) complain(rank, at, rt_error_text());
    glm_engine_close(engine);
    (void)alarm(0);
    return status == RT_OK;
}

int main(int argc, char **argv) {
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    if (getenv(at_name)) rank_text = "1";
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    (void)signal(SIGALRM, give_up);
    const char *model = help_model_of_two_ranks();
    if (!open_without(model, 0, 0)) complain(0, 0, rt_error_text());
    const int n = n_threads; /* both ranks have as many, but for what a rank 0 has alone */
    int n_told = 0;
    if (n < N_THREADS_MIN || n > N_THREADS_MAX) complain(0, 0, "so many threads");
    for (int rank = 0; rank < 2; rank++)
        for (int at = 1; at <= n; at++) n_told += !open_without(model, rank, at);
    printf("%d threads: %d openings of %d end\n", n, n_told, 2 * n);
    if (n_told < 2 * N_THREADS_MIN) complain(0, 0, "an opening that goes on without one");
    return n_failed ? 1 : 0;
}
