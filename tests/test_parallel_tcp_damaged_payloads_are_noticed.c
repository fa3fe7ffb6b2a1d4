/* Ranks by TCP: bytes that are not what their checksum says end the group, whichever message it is; nobody is given them.
 *
 * Method: this program has parallel/comm_tcp.c built in with a checksum that is wrong at one call, on one of two ranks, the
 * first, the second and so on until a run has fewer. */
#include "help_payloads.h"

#define XXH3_64bits checksum_of
#include "parallel/comm_tcp.c"
#undef XXH3_64bits

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "help_mpi.h"

static pid_t start(int rank, char *address, bool is_liar, int call) {
    const par_world world = {
            .transport = PAR_BY_TCP, .rank = rank, .n_ranks = N_RANKS, .address = address};
    par_comm *comm = NULL;
    const pid_t pid = fork();
    if (pid != 0) return pid;
    require(par_comm_open(&world, &comm) == RT_OK, "no group", rank, call);
    if (is_liar) n_left = call;
    _exit(outcome_of(comm));
}

/* WRONG where one is, GOOD where both are; otherwise CHECKSUM where one says so. */
static int outcome_of_group(int liar, int call) {
    char address[32];
    pid_t children[N_RANKS];
    int outcomes[N_RANKS];
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", help_free_port());
    for (int r = 0; r < N_RANKS; r++) children[r] = start(r, address, r == liar, call);
    for (int r = 0; r < N_RANKS; r++) {
        int status = 0;
        require(waitpid(children[r], &status, 0) == children[r] && WIFEXITED(status), "no exit",
                liar, call);
        outcomes[r] = WEXITSTATUS(status);
    }
    if (outcomes[0] == OUTCOME_WRONG || outcomes[1] == OUTCOME_WRONG) return OUTCOME_WRONG;
    return outcomes[0] > outcomes[1] ? outcomes[0] : outcomes[1];
}

int main(void) {
    enum { CALLS_LEAST = 4 };
    check_every_checksum(outcome_of_group, CALLS_LEAST);
    return 0;
}
