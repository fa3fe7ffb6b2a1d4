#include "slurm.h"

#include <stdlib.h>

#include "size.h"

/* At least 1; `otherwise`: not set. */
static int64_t number_of(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    int64_t n = 0;
    return text && rt_parse_size(text, false, &n) == RT_OK && n > 0 ? n : otherwise;
}

int rt_slurm_cores(int cores, int n_processes) {
    cores = (int)rt_min64(cores, number_of("SLURM_CPUS_ON_NODE", cores));
    const int64_t of_task = number_of("SLURM_CPUS_PER_TASK", cores);
    int64_t n_tasks = n_processes;
    if (!getenv("SLURM_STEP_NUM_TASKS"))
        n_tasks = rt_max64(n_tasks,
                rt_div_up(number_of("SLURM_NTASKS", 1), number_of("SLURM_JOB_NUM_NODES", 1)));
    return of_task < cores / n_tasks ? (int)(of_task * n_tasks) : cores;
}
