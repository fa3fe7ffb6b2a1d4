/* Who started this process, read from the environment. A launcher is recognised by the variables it
 * alone sets for each rank; what a batch script inherits (SLURM_NTASKS, SLURM_PROCID) is no sign: a
 * program in it is one process, and may start its own ranks.
 *
 * Sources: Open MPI, "Environment variables set for MPI applications"; MPICH, PMI-1 wire protocol;
 * Slurm, srun(1), "OUTPUT ENVIRONMENT VARIABLES"; PyTorch, torchrun, "Environment variables". */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel.h"

/* RT_EUSAGE when it is set to something that is no number from `least` on. */
static rt_status read_number(const char *name, int32_t least, int32_t *out) {
    const char *text = getenv(name);
    if (!text || !*text) return rt_fail(RT_EUSAGE, "parallel: %s is not set", name);
    char *end = NULL;
    errno = 0;
    const long number = strtol(text, &end, 10);
    if (errno || *end || number < least || number > INT32_MAX)
        return rt_fail(RT_EUSAGE, "parallel: %s=%s is not a number from %" PRId32 " on", name, text,
                least);
    *out = (int32_t)number;
    return RT_OK;
}

static bool is_set(const char *name) {
    const char *text = getenv(name);
    return text && *text;
}

/* The first of these that is set, NULL where none is. */
static const char *first_set(const char *a, const char *b, const char *c) {
    return is_set(a) ? a : is_set(b) ? b : is_set(c) ? c : NULL;
}

static rt_status check(const par_world *world, const char *rank_name, const char *size_name) {
    if (world->rank < world->n_ranks) return RT_OK;
    return rt_fail(RT_EUSAGE, "parallel: %s=%" PRId32 ", but %s=%" PRId32, rank_name, world->rank,
            size_name, world->n_ranks);
}

/* Any launcher's rank and size, by the names of its variables. */
static rt_status read_world(par_world *out, const char *rank_name, const char *size_name) {
    RT_TRY(read_number(rank_name, 0, &out->rank));
    RT_TRY(read_number(size_name, 1, &out->n_ranks));
    return check(out, rank_name, size_name);
}

/* srun --mpi=pmix says who we are in PMIx's variables, and how many in Slurm's. */
static rt_status read_pmix(par_world *out) {
    const char *size = first_set("PMIX_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS");
    if (!size)
        return rt_fail(RT_EUSAGE, "parallel: PMIX_RANK is set, but nothing says how many ranks "
                                  "there are; Slurm and Open MPI's mpirun do");
    return read_world(out, "PMIX_RANK", size);
}

/* torchrun itself listens on MASTER_PORT, for the ranks' stores of keys, where it says so: then the next port
 * is ours. */
static rt_status read_torchrun(par_world *out, char address[PAR_ADDRESS_BYTES]) {
    RT_TRY(read_world(out, "RANK", "WORLD_SIZE"));
    out->transport = out->n_ranks == 1 ? PAR_BY_SELF : PAR_BY_TCP;
    if (out->n_ranks == 1) return RT_OK;
    int32_t port = 0;
    if (!is_set("MASTER_ADDR"))
        return rt_fail(RT_EUSAGE,
                "parallel: WORLD_SIZE=%" PRId32 " needs MASTER_ADDR and "
                "MASTER_PORT, where rank 0 listens",
                out->n_ranks);
    RT_TRY(read_number("MASTER_PORT", 1, &port));
    port += is_set("TORCHELASTIC_USE_AGENT_STORE") &&
            strcmp(getenv("TORCHELASTIC_USE_AGENT_STORE"), "True") == 0;
    const int n = snprintf(address, PAR_ADDRESS_BYTES, "%s:%" PRId32, getenv("MASTER_ADDR"), port);
    if (port > 65535 || n >= PAR_ADDRESS_BYTES)
        return rt_fail(RT_EUSAGE, "parallel: MASTER_ADDR:MASTER_PORT is no address");
    out->address = address;
    return RT_OK;
}

rt_status par_world_from_environment(par_world *out, char address[PAR_ADDRESS_BYTES]) {
    *out = (par_world){.transport = PAR_BY_MPI};
    if (is_set("OMPI_COMM_WORLD_RANK"))
        return read_world(out, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
    if (is_set("PMIX_RANK")) return read_pmix(out);
    if (is_set("PMI_RANK")) return read_world(out, "PMI_RANK", "PMI_SIZE");
    if (is_set("RANK") && is_set("WORLD_SIZE")) return read_torchrun(out, address);
    *out = (par_world){.transport = PAR_BY_SELF, .n_ranks = 1};
    if (!is_set("SLURM_STEP_NUM_TASKS") || strcmp(getenv("SLURM_STEP_NUM_TASKS"), "1") == 0)
        return RT_OK;
    return rt_fail(RT_EUSAGE,
            "parallel: srun started %s processes that do not know each other; start them with "
            "srun --mpi=pmix, or with -n 1 and let -tp start the ranks of one machine",
            getenv("SLURM_STEP_NUM_TASKS"));
}
