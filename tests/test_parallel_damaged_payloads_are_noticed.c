/* Ranks of one machine: bytes that are not what their checksum says end the group, whichever piece of whichever
 * collective it is; nobody is given them.
 *
 * Method: this program has parallel/local_data.c built in with a checksum that is wrong at one call, on one of two ranks,
 * the first, the second and so on until a run has fewer. */
#include "help_payloads.h"

#define XXH3_64bits checksum_of
#include "parallel/local_data.c"
#undef XXH3_64bits

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int outcome_of_rank(par_comm *comm) {
    const char *liar = getenv("TEST_LIAR");
    if (liar && atoi(liar) == comm->rank) n_left = atoi(getenv("TEST_CALL"));
    return outcome_of(comm);
}

static int outcome_of_group(int liar, int call) {
    char text[16];
    par_comm *comm = NULL;
    int status = 0;
    const pid_t pid = fork();
    if (pid == 0) {
        (void)snprintf(text, sizeof text, "%d", liar);
        (void)setenv("TEST_LIAR", text, 1);
        (void)snprintf(text, sizeof text, "%d", call);
        (void)setenv("TEST_CALL", text, 1);
        require(par_local_launch(N_RANKS, "/proc/self/exe", &comm) == RT_OK, "launch", liar, call);
        _exit(outcome_of_rank(comm));
    }
    require(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status), "no exit", liar, call);
    return WEXITSTATUS(status);
}

int main(int argc, char **argv) {
    enum { CALLS_LEAST = 8 };
    par_comm *comm = NULL;
    if (argc == 3 && strcmp(argv[1], "rank") == 0)
        return par_local_join(atoi(argv[2]), &comm) == RT_OK ? outcome_of_rank(comm) : 1;
    check_every_checksum(outcome_of_group, CALLS_LEAST);
    return 0;
}
