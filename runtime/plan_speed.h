/* How fast a machine is, for the plan's estimates: the CPU is measured in about 60 milliseconds. */
#ifndef GLM_PLAN_SPEED_H
#define GLM_PLAN_SPEED_H

#include "base/status.h"

typedef struct glm_speed {
    double flops; /* of our own matrix kernel, all threads, FLOP/s; of a GPU, what prefill gets */
    double usual_flops; /* the same each time, whatever else runs: of such cores, of such a GPU */
    double bytes_per_s; /* reading memory that no cache holds, all threads; of a GPU, what decode gets */
    int32_t n_blocks;        /* of a GPU: how many tiles of attention are computed at once */
    double link_bytes_per_s; /* from the host's memory to the GPU's; 0: there is none */
} glm_speed;

/* Of such cores, without a measurement: usual_flops. RT_OK */
RT_MUST_CHECK rt_status glm_usual_speed(int32_t n_threads, glm_speed *out);

/* Memory that the measurement takes, given back when it is done. */
int64_t glm_measure_speed_bytes(int32_t n_threads, int64_t read_bytes);

/* flops and bytes_per_s of the CPU, by n_threads threads, which end with it. What it reads is as large as read_bytes, what a
 * token reads, so that caches hold as much of it; at most 64 MiB, more than they do. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_measure_speed(int32_t n_threads, int64_t read_bytes, glm_speed *out);

/* What that leaves to one of n_ranks processes of n_threads each that share n_cores: it was measured by one alone. */
void glm_speed_share(glm_speed *speed, int32_t n_ranks, int32_t n_threads, int32_t n_cores);

#endif
