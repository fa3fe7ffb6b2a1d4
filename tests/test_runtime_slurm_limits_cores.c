/* Where Slurm binds no cores, nobody uses more of them than the job has on this node, nor than --cpus-per-task gave: each
 * task that srun started has its own, ranks that a task starts share that task's, and a batch script has those of its
 * node's tasks.
 *
 * Method: Slurm's variables, set here; what ranks would tell one another is played. */
#include <string.h>

#include "help_check.h"
#include "runtime/base/machine.h"
#include "runtime/base/slurm.h"
#include "runtime/ranks.h"

static void set(
        const char *per_task, const char *n_tasks, const char *n_nodes, const char *of_step) {
    const char *const names[] = {
            "SLURM_CPUS_PER_TASK", "SLURM_NTASKS", "SLURM_JOB_NUM_NODES", "SLURM_STEP_NUM_TASKS"};
    const char *const values[] = {per_task, n_tasks, n_nodes, of_step};
    for (int i = 0; i < 4; i++)
        CHECK((values[i] ? setenv(names[i], values[i], 1) : unsetenv(names[i])) == 0);
}

static rt_status share(par_comm *comm, const void *mine, int64_t n_bytes, void *all) {
    for (int32_t r = 0; r < comm->n_ranks; r++)
        memcpy((char *)all + r * n_bytes, mine, (size_t)n_bytes);
    return RT_OK;
}

/* Of two ranks on this machine. */
static int cores_of_ranks(const char *transport) {
    par_comm comm = {.n_ranks = 2, .share = share, .transport = transport};
    int32_t cores = 0;
    CHECK(glm_ranks_cores(&comm, &cores) == RT_OK);
    return cores;
}

int main(void) {
    CHECK(unsetenv("SLURM_CPUS_ON_NODE") == 0);
    set(NULL, NULL, NULL, NULL);
    const int all = rt_machine_cores();
    CHECK(rt_slurm_cores(64, 1) == 64 && cores_of_ranks("local") == all);

    set("16", "4", "2", "4"); /* srun */
    CHECK(rt_slurm_cores(64, 1) == 16 && rt_slurm_cores(64, 2) == 32 && rt_slurm_cores(8, 1) == 8);
    CHECK(rt_slurm_cores(64, 4) == 64 && rt_slurm_cores(64, 5) == 64);
    set("16", "4", "2", NULL); /* the batch script: two tasks a node */
    CHECK(rt_slurm_cores(64, 1) == 32 && rt_slurm_cores(64, 4) == 64);
    set("16", NULL, NULL, NULL);
    CHECK(rt_slurm_cores(64, 1) == 16);
    set("none", "x", "-1", NULL);
    CHECK(rt_slurm_cores(64, 1) == 64);
    set("99999999999999999999", "4", "0", "4");
    CHECK(rt_slurm_cores(64, 2) == 64);

    set(NULL, "1", "1", NULL); /* sbatch --ntasks=1, no more: one core of a node that others use, too */
    CHECK(setenv("SLURM_CPUS_ON_NODE", "1", 1) == 0);
    CHECK(rt_slurm_cores(64, 1) == 1 && rt_slurm_cores(64, 4) == 1 && rt_machine_cores() == 1);
    CHECK(setenv("SLURM_CPUS_ON_NODE", "24", 1) == 0);
    CHECK(rt_slurm_cores(64, 1) == 24 && rt_slurm_cores(8, 1) == 8);
    set("16", "4", "2", "4");
    CHECK(rt_slurm_cores(64, 1) == 16 && rt_slurm_cores(64, 2) == 24);
    CHECK(unsetenv("SLURM_CPUS_ON_NODE") == 0);

    set("1", "2", "1", "2");
    CHECK(rt_machine_cores() == 1);
    CHECK(cores_of_ranks("local") == 1); /* both in one task */
    CHECK(cores_of_ranks("mpi") == (all < 2 ? all : 2));
    return 0;
}
