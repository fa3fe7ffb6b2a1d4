/* A rank whose heartbeat thread cannot be started tells all ranks so and why, who else would say no more than that it is gone.
 *
 * Method: two ranks by TCP, two processes; pthread_create of rank 1 fails (it is replaced when this program is linked). */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_check.h"
#include "help_mpi.h"
#include "parallel/parallel.h"

static bool has_no_threads;

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int __wrap_pthread_create(
        pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context) {
    return has_no_threads ? EAGAIN : __real_pthread_create(thread, attributes, run, context);
}

/* What rank r is told, as exit code. */
static int open_as(int32_t rank, int32_t n_ranks, const char *address) {
    par_comm *comm = NULL;
    const par_world world = {
            .transport = PAR_BY_TCP, .rank = rank, .n_ranks = n_ranks, .address = address};
    has_no_threads = rank == 1;
    const rt_status status = par_comm_open(&world, &comm);
    const char *text = rt_error_text();
    const bool is_named = strstr(text, "rank 1 on ") && strstr(text, "no heartbeat thread");
    if (status != RT_OK && is_named && strstr(text, strerror(EAGAIN))) return 0;
    printf("FAIL rank %d: status %d: %s\n", (int)rank, (int)status, text);
    return 1;
}

int main(void) {
    enum { N_RANKS = 3 };
    char address[64];
    pid_t children[N_RANKS];
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", help_free_port());
    for (int32_t rank = 0; rank < N_RANKS; rank++) {
        children[rank] = fork();
        CHECK(children[rank] >= 0);
        if (children[rank] == 0) return open_as(rank, N_RANKS, address);
    }
    for (int rank = 0; rank < N_RANKS; rank++) {
        int status = -1;
        CHECK(waitpid(children[rank], &status, 0) == children[rank]);
        CHECK(status == 0);
    }
    return 0;
}
