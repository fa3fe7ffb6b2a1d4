/* Whoever makes a group, or connects to one that is being made, and sees a rank leave that was there already says so at
 * once, with its number, and waits for nobody else; nothing that was open then stays open.
 *
 * Method: three ranks by TCP, three processes; rank 1 ends where it would connect its heartbeat (tcp_connect is replaced
 * when this program is linked). And a port where nobody listens any more is tried by who has a connection with rank 0, which
 * has ended, or has not. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_check.h"
#include "help_mpi.h"
#include "parallel/tcp.h"

static int n_connections_max = 100;

rt_status __real_tcp_connect(const tcp_invitation *, int32_t, double, const int *, int *);
rt_status __wrap_tcp_connect(const tcp_invitation *, int32_t, double, const int *, int *);

rt_status __wrap_tcp_connect(const tcp_invitation *invitation, int32_t rank, double timeout_s,
        const int *joined, int *fd) {
    if (n_connections_max-- == 0) _exit(0);
    return __real_tcp_connect(invitation, rank, timeout_s, joined, fd);
}

static int n_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* What rank 0 is told, as exit code; others lose whom they notice first. */
static int open_as(int32_t rank, int32_t n_ranks, const char *address, int32_t leaving) {
    par_comm *comm = NULL;
    const par_world world = {
            .transport = PAR_BY_TCP, .rank = rank, .n_ranks = n_ranks, .address = address};
    char expected[64];
    (void)snprintf(expected, sizeof expected, "rank %d left, its connection ended", (int)leaving);
    if (rank == leaving) n_connections_max = 1;
    const int n_before = n_descriptors();
    const rt_status status = par_comm_open(&world, &comm);
    const int n_more = n_descriptors() - n_before;
    if (status == RT_EPEER && n_more == 0 && (rank > 0 || strstr(rt_error_text(), expected)))
        return 0;
    (void)fprintf(stderr, "FAIL rank %d: status %d, %d more descriptors: %s\n", (int)rank,
            (int)status, n_more, rt_error_text());
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

/* Rank 0 as rank 1 sees it: its listener is closed, and their connection ends, or stays for so long as is tried. */
static void check_rank_0(bool leaves, const char *expected) {
    tcp_invitation invitation;
    int joined[PAR_RANKS_MAX], ends[2];
    int listener = -1;
    int fd = -1;
    for (int r = 0; r < PAR_RANKS_MAX; r++) joined[r] = -1;
    CHECK(tcp_listen(true, &invitation, &listener) == RT_OK && close(listener) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    joined[0] = ends[0];
    if (leaves) CHECK(close(ends[1]) == 0);
    const rt_status status = __real_tcp_connect(&invitation, 1, leaves ? 600.0 : 0.5, joined, &fd);
    CHECK(status == RT_EPEER && strstr(rt_error_text(), expected));
    (void)close(ends[0]);
    if (!leaves) (void)close(ends[1]);
}

int main(void) {
    check_rank_0(true, "rank 0 left, its connection ended, while rank 1 tried");
    check_rank_0(false, "rank 1 cannot reach rank 0");
    check(2, 1);
    check(3, 1);
    return 0;
}
