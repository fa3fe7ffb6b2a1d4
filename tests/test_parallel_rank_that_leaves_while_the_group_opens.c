/* Whoever makes a group and sees a rank leave that was there already says so at once, with its number, and waits for nobody
 * else.
 *
 * Method: three ranks by TCP, three processes; rank 1 ends where it would connect its heartbeat (tcp_connect is replaced
 * when this program is linked). */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_check.h"
#include "help_mpi.h"
#include "parallel/tcp.h"

static int n_connections_max = 100;

rt_status __real_tcp_connect(const tcp_invitation *, int32_t, double, int *);
rt_status __wrap_tcp_connect(const tcp_invitation *, int32_t, double, int *);

rt_status __wrap_tcp_connect(
        const tcp_invitation *invitation, int32_t rank, double timeout_s, int *fd) {
    if (n_connections_max-- == 0) _exit(0);
    return __real_tcp_connect(invitation, rank, timeout_s, fd);
}

/* What rank 0 is told, as exit code; others lose whom they notice first. */
static int open_as(int32_t rank, int32_t n_ranks, const char *address, int32_t leaving) {
    par_comm *comm = NULL;
    const par_world world = {
            .transport = PAR_BY_TCP, .rank = rank, .n_ranks = n_ranks, .address = address};
    char expected[64];
    (void)snprintf(expected, sizeof expected, "rank %d left, its connection ended", (int)leaving);
    if (rank == leaving) n_connections_max = 1;
    const rt_status status = par_comm_open(&world, &comm);
    if (status == RT_EPEER && (rank > 0 || strstr(rt_error_text(), expected))) return 0;
    (void)fprintf(stderr, "FAIL rank %d: status %d: %s\n", (int)rank, (int)status, rt_error_text());
    return 1;
}

static void check(int32_t n_ranks, int32_t leaving) {
    char address[64];
    pid_t children[3];
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", help_free_port());
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        children[rank] = fork();
        CHECK(children[rank] >= 0);
        if (children[rank] == 0) _exit(open_as(rank, n_ranks, address, leaving));
    }
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        int status = -1;
        CHECK(waitpid(children[rank], &status, 0) == children[rank]);
        CHECK(status == 0);
    }
}

int main(void) {
    check(2, 1);
    check(3, 1);
    return 0;
}
