/* What a job of Slurm was promised, which binds nobody where Slurm binds no cores. */
#ifndef RT_SLURM_H
#define RT_SLURM_H

/* Of `cores`, those that n_processes here may use together: what --cpus-per-task gives as many tasks, and the batch
 * script itself, which is none, the tasks of its node; never more than the job has on this node, which is what it has where
 * --cpus-per-task was not given. All of them where this is no job. */
int rt_slurm_cores(int cores, int n_processes);

#endif
