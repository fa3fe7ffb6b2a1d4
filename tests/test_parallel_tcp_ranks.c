/* Ranks by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT: every collective gives what it should, bit for
 * bit (help_collectives.h), strangers on the port disturb nobody, and a rank that dies, freezes or sends
 * what is not due ends the group with a message that names it, also rank 0, whom nobody watches but the others
 * each for himself; once it is let go on rank 0 finds that out, too.
 *
 * Method: this program starts itself with those variables, as torchrun does, with 2, 3 and 4 ranks, in
 * any order; before rank 0 hears from the others, somebody else connects and talks. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "help_collectives.h"
#include "help_mpi.h"
#include "runtime/base/log.h"

static int n_failed;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    (void)printf("FAIL: %s\n", what);
    n_failed++;
}

/* ---- a rank ---------------------------------------------------------------------------------- */

/* What the others say of the rank at fault, or nothing. */
static int lose(par_comm *comm, const char *deed, const char *expected) {
    float data[5000] = {0};
    comm->step = 9;
    comm->step_name = "decode";
    rt_status status = par_hello(comm, "");
    if (comm->rank == 1 && strcmp(deed, "dies") == 0) (void)raise(SIGKILL);
    if (comm->rank == 0 && strcmp(deed, "freezes") == 0) (void)raise(SIGSTOP);
    /* Another step's sum, where the others are due. */
    const int64_t n = comm->rank == 1 && strcmp(deed, "differs") == 0 ? 100 : 50;
    const double begin = rt_now();
    while (status == RT_OK && rt_now() - begin < 200.0)
        status = comm->all_reduce(comm, data, n, NULL);
    const bool is_right = status == RT_EPEER && strstr(rt_error_text(), expected) &&
                          strstr(rt_error_text(), "(at step 9, decode, on rank ");
    if (!is_right) (void)printf("FAIL, rank %d: %s\n", comm->rank, rt_error_text());
    par_comm_close(comm);
    return is_right ? 0 : 1;
}

static int rank_main(const char *deed) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    par_comm *comm = NULL;
    rt_status status = par_world_from_environment(&world, address);
    if (status == RT_OK) status = par_comm_open(&world, &comm);
    if (status != RT_OK) {
        (void)printf("FAIL: %s\n", rt_error_text());
        return 1;
    }
    if (strcmp(deed, "dies") == 0) return lose(comm, deed, "rank 1 on ");
    if (strcmp(deed, "freezes") == 0) return lose(comm, deed, "rank 0 on ");
    if (strcmp(deed, "differs") == 0) return lose(comm, deed, "it is at another step");
    const int failed = help_collectives_check(comm);
    par_comm_close(comm);
    return failed ? 1 : 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET,
            .sin_port = htons((uint16_t)port),
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static pid_t start(int rank, int n_ranks, int port, const char *deed) {
    char text[3][16];
    const pid_t child = fork();
    if (child != 0) return child;
    (void)snprintf(text[0], 16, "%d", rank);
    (void)snprintf(text[1], 16, "%d", n_ranks);
    (void)snprintf(text[2], 16, "%d", port);
    (void)setenv("RANK", text[0], 1);
    (void)setenv("WORLD_SIZE", text[1], 1);
    (void)setenv("MASTER_PORT", text[2], 1);
    (void)setenv("MASTER_ADDR", "127.0.0.1", 1);
    (void)execl("/proc/self/exe", "rank", deed, (char *)NULL);
    _exit(127);
}

static bool has_ended(pid_t child) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

/* Connects as soon as rank 0 listens, says something else, and stays. */
static int disturb(int port, pid_t zero) {
    const struct sockaddr_in name = loopback(port);
    while (!has_ended(zero)) {
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (const struct sockaddr *)(const void *)&name, sizeof name) == 0) {
            const char text[] = "GET / HTTP/1.1 and more than a greeting is long\r\n\r\n";
            (void)send(fd, text, sizeof text, MSG_NOSIGNAL);
            return fd;
        }
        (void)close(fd);
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return -1;
}

/* Exit statuses; 128 + signal where one ended it. */
static void run(int n_ranks, const char *deed, int status_of[4]) {
    pid_t children[4];
    const int port = help_free_port();
    children[0] = start(0, n_ranks, port, deed);
    const bool is_disturbed = n_ranks == 2; /* which takes rank 0 two seconds */
    const int stranger = is_disturbed ? disturb(port, children[0]) : -1;
    expect(stranger >= 0 || !is_disturbed, "rank 0 does not listen");
    for (int r = n_ranks - 1; r >= 1; r--) children[r] = start(r, n_ranks, port, deed);
    for (int r = n_ranks - 1; r >= 0; r--) {
        int status = 0;
        if (r == 0) (void)kill(children[0], SIGCONT); /* all others have left */
        (void)waitpid(children[r], &status, 0);
        status_of[r] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    if (stranger >= 0) (void)close(stranger);
}

static void check_refusals(void) {
    par_comm *comm = NULL;
    const int port = help_free_port();
    struct sockaddr_in name = loopback(port);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)setsockopt(
            fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)); /* help_free_port holds it */
    expect(bind(fd, (struct sockaddr *)(void *)&name, sizeof name) == 0 && listen(fd, 1) == 0,
            "a port of our own");
    char address[64];
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", port);
    par_world world = {.transport = PAR_BY_TCP, .n_ranks = 2, .address = address};
    expect(par_comm_open(&world, &comm) == RT_EIO && strstr(rt_error_text(), "MASTER_PORT="),
            "a port that is taken");
    world.address = "no.such.host.invalid:29500";
    expect(par_comm_open(&world, &comm) == RT_EUSAGE && strstr(rt_error_text(), "no.such.host"),
            "a host that is none");
    (void)close(fd);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[0], "rank") == 0) return rank_main(argv[1]);
    int status[4];
    for (int n_ranks = 2; n_ranks <= 4; n_ranks++) {
        run(n_ranks, "works", status);
        for (int r = 0; r < n_ranks; r++) expect(status[r] == 0, "a rank of a group that works");
    }
    run(3, "dies", status);
    expect(status[0] == 0 && status[1] == 128 + SIGKILL && status[2] == 0, "rank 1 dies");
    run(3, "differs", status);
    expect(status[0] == 0 && status[1] == 0 && status[2] == 0, "rank 1 is at another step");
    if (!getenv("GLM_TEST_FAST")) {
        run(3, "freezes", status);
        expect(status[0] == 0 && status[1] == 0 && status[2] == 0, "rank 0 freezes");
    }
    check_refusals();
    return n_failed ? 1 : 0;
}
