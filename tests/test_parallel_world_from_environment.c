/* Who started this process is read from the environment: each launcher's variables, what a batch
 * script merely inherits, and what is contradictory or no number.
 *
 * Method: set the variables each launcher is documented to set, and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/parallel.h"

static int n_failed;

/* What par_world_from_environment says with these variables, "A=1 B=2", alone. */
static rt_status ask(const char *variables, par_world *world, char address[PAR_ADDRESS_BYTES]) {
    char text[512];
    char *rest = NULL;
    (void)clearenv();
    (void)snprintf(text, sizeof text, "%s", variables);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        *equals = '\0';
        (void)setenv(word, equals + 1, 1);
    }
    return par_world_from_environment(world, address);
}

static void found(const char *variables, par_transport transport, int rank, int n_ranks,
        const char *expected) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    const rt_status status = ask(variables, &world, address);
    const bool is_right =
            status == RT_OK && world.transport == transport && world.rank == rank &&
            world.n_ranks == n_ranks &&
            (expected ? world.address && strcmp(world.address, expected) == 0 : !world.address);
    if (is_right) return;
    (void)printf("FAIL: %s\n", variables);
    n_failed++;
}

static void refused(const char *variables, const char *reason) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    if (ask(variables, &world, address) == RT_EUSAGE && strstr(rt_error_text(), reason)) return;
    (void)printf("FAIL: %s is not refused with %s\n", variables, reason);
    n_failed++;
}

int main(void) {
    found("", PAR_BY_SELF, 0, 1, NULL);
    found("OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=8 OMPI_COMM_WORLD_LOCAL_RANK=1 PMIX_RANK=5",
            PAR_BY_MPI, 5, 8, NULL);
    found("PMI_RANK=2 PMI_SIZE=4 MPI_LOCALRANKID=2", PAR_BY_MPI, 2, 4, NULL);
    found("PMI_RANK=0 PMI_SIZE=1", PAR_BY_MPI, 0, 1, NULL);
    found("PMIX_RANK=3 SLURM_STEP_NUM_TASKS=4 SLURM_NTASKS=64 SLURM_LOCALID=1 SLURM_PROCID=3",
            PAR_BY_MPI, 3, 4, NULL);
    found("RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500", PAR_BY_TCP, 1,
            2, "10.0.0.1:29500");
    found("RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 "
          "TORCHELASTIC_USE_AGENT_STORE=True",
            PAR_BY_TCP, 1, 2, "10.0.0.1:29501");
    found("RANK=0 WORLD_SIZE=1 MASTER_ADDR=localhost MASTER_PORT=29500", PAR_BY_SELF, 0, 1, NULL);
    /* A batch script's own process, and one started by srun -n 1, are alone. */
    found("SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_JOB_ID=7", PAR_BY_SELF, 0, 1, NULL);
    found("SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0", PAR_BY_SELF, 0, 1, NULL);

    refused("SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0", "srun --mpi=pmix");
    refused("RANK=0 WORLD_SIZE=2", "MASTER_ADDR");
    refused("RANK=0 WORLD_SIZE=2 MASTER_ADDR=a", "MASTER_PORT");
    refused("RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=65536", "no address");
    refused("RANK=2 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1", "RANK=2, but WORLD_SIZE=2");
    refused("RANK=x WORLD_SIZE=2", "RANK=x is not a number");
    refused("RANK=-1 WORLD_SIZE=2", "RANK=-1 is not a number");
    refused("OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE is not set");
    refused("PMI_RANK=0 PMI_SIZE=99999999999", "PMI_SIZE=99999999999");
    refused("PMIX_RANK=0", "PMIX_RANK is set");
    return n_failed ? 1 : 0;
}
