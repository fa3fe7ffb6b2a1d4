/* How fast a machine is, for the plan's estimates: the CPU is measured in about 80 milliseconds. */
#ifndef GLM_PLAN_SPEED_H
#define GLM_PLAN_SPEED_H

#include "attention/attention.h"
#include "linear_by.h"

typedef struct glm_speed {
    double flops;           /* of linear layers, all threads, FLOP/s; of a GPU, what prefill gets */
    double attention_flops; /* of attention in prefill; of a GPU, the same */
    double usual_flops; /* the same each time, whatever else runs: of such cores, of such a GPU */
    double bytes_per_s; /* reading memory that no cache holds, all threads; of a GPU, what decode gets */
    int32_t n_blocks;        /* of a GPU: how many tiles of attention are computed at once */
    double link_bytes_per_s; /* from the host's memory to the GPU's; 0: there is none */
} glm_speed;

/* Of such cores, without a measurement: usual_flops. RT_OK */
RT_MUST_CHECK rt_status glm_usual_speed(int32_t n_threads, glm_speed *out);

/* What is measured. */
typedef struct glm_speed_trial {
    int32_t n_threads;       /* which end with it */
    glm_linear_by linear_by; /* who multiplies many rows */
    attn_shape attention;    /* one that attn_cpu_check passes; of it a KV head's group */
    int64_t read_bytes; /* what a token reads: as much, of which caches hold as much; at most 64 MiB, more than
                                they do */
} glm_speed_trial;

/* Memory that the measurement takes, given back when it is done. */
int64_t glm_measure_speed_bytes(const glm_speed_trial *of);

/* flops, attention_flops and bytes_per_s of the CPU. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_measure_speed(const glm_speed_trial *of, glm_speed *out);

/* What that leaves to one of n_ranks processes of n_threads each that share n_cores: it was measured by one alone. */
void glm_speed_share(glm_speed *speed, int32_t n_ranks, int32_t n_threads, int32_t n_cores);

#endif
