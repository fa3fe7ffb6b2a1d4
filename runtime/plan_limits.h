/* What a rank may take of its machine, which it shares with others. For plan.c alone. */
#ifndef GLM_PLAN_LIMITS_H
#define GLM_PLAN_LIMITS_H

#include "plan.h"

/* Ranks on this machine, and the cores that those may use together: as the options say, or all. */
int32_t glm_ranks_here(const glm_options *options);
int32_t glm_cores_here(const glm_options *options);
/* Threads of one of them: as the options say, or its share of the cores. */
int32_t glm_threads_of(const glm_options *options);

#endif
