#include "help_mpi.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parallel/parallel.h"

bool help_mpi_is_there(char *why) {
    if (system("command -v mpirun >/dev/null 2>&1") != 0) {
        (void)snprintf(why, 256, "there is no mpirun here");
        return false;
    }
    char text[256];
    if (par_mpi_describe(text, sizeof text) == RT_OK) return true;
    (void)snprintf(why, 256, "%s", rt_error_text());
    return false;
}

/* More ranks than cores, and as root, in Open MPI's words; MPICH allows both. The sanitizers see what
 * MPI's libraries keep, and how they lock, but not where: they unload themselves. */
static void set_environment(void) {
    (void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    (void)setenv("TSAN_OPTIONS", "detect_deadlocks=0", 1);
    (void)setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    (void)setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    (void)setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    (void)setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 1);
}

void help_mpi_exec(int n_ranks, const char *argument) {
    char count[16];
    char program[4096];
    (void)snprintf(count, sizeof count, "%d", n_ranks);
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return;
    program[n] = '\0';
    set_environment();
    (void)execlp("mpirun", "mpirun", "-n", count, program, argument, (char *)NULL);
}

int help_mpi_run(int n_ranks, const char *argument) {
    (void)fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        help_mpi_exec(n_ranks, argument);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int help_free_port(void) {
    static int held =
            -1; /* bound, so that the kernel gives it to nobody; who asks for it by number gets it */
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    if (held >= 0) (void)close(held);
    held = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (held < 0) return -1;
    (void)setsockopt(held, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    const bool is_there = bind(held, (struct sockaddr *)(void *)&name, length) == 0 &&
                          getsockname(held, (struct sockaddr *)(void *)&name, &length) == 0;
    return is_there ? ntohs(name.sin_port) : -1;
}
