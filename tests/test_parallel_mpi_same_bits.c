/* Ranks under mpirun: every collective gives what it should, bit for bit (help_collectives.h).
 *
 * Method: this program starts itself under mpirun with 2, 3 and 4 ranks. */
#include <stdio.h>
#include <string.h>

#include "help_collectives.h"
#include "help_mpi.h"

static int rank_main(void) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    par_comm *comm = NULL;
    if (par_world_from_environment(&world, address) != RT_OK) return 1;
    if (world.transport != PAR_BY_MPI) return 1;
    if (par_comm_open(&world, &comm) != RT_OK) {
        (void)printf("FAIL: %s\n", rt_error_text());
        return 1;
    }
    if (strcmp(comm->transport, "mpi") != 0 || !comm->library[0]) return 1;
    const int n_failed = help_collectives_check(comm);
    par_comm_close(comm);
    return n_failed ? 1 : 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "rank") == 0) return rank_main();
    char why[256];
    if (!help_mpi_is_there(why)) {
        (void)printf("skipped: %s\n", why);
        return 77;
    }
    int n_failed = 0;
    for (int n_ranks = 2; n_ranks <= 4; n_ranks++) {
        const int exit_code = help_mpi_run(n_ranks, "rank");
        if (exit_code == 0) continue;
        (void)printf("FAIL: %d ranks: exit %d\n", n_ranks, exit_code);
        n_failed++;
    }
    return n_failed ? 1 : 0;
}
