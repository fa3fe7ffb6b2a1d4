/* The KV cache's part of the plan: all of it in memory, or what a budget leaves there and the rest
 * on disk. */
#ifndef GLM_PLAN_KV_H
#define GLM_PLAN_KV_H

#include "base/memory.h"
#include "kvstore/kvstore.h"
#include "plan.h"

/* The store as the plan has it. Directories and the kind of I/O are for the engine to fill in.
 *
 *   part  the model, or one rank's part of it */
kv_config glm_plan_kv_config(const glm_config *part, const glm_plan *plan);

/* Fill the plan's kv_ fields for its max_len, given its chunk.
 *
 *   budget_bytes      memory that KV may take
 *   extra_kv_tokens   room besides max_len, for forks
 *   may_overflow      whether what does not fit may go to disk
 * False when it does not fit into memory. */
bool glm_plan_kv(const glm_config *part, int64_t budget_bytes, int64_t extra_kv_tokens,
        bool may_overflow, glm_plan *plan);

/* Beside a GPU, after glm_plan_kv: kv_rows_bytes, as much of `budget_bytes` of the host's memory as what leaves the GPU's
 * takes, and with it kv_disk_bytes. */
void glm_plan_kv_rows(
        const glm_config *part, int64_t budget_bytes, int64_t extra_kv_tokens, glm_plan *plan);

/* What the host's memory may take besides kv_host_bytes for all of it to be on huge pages, at most GLM_KV_ROUNDING. */
enum { GLM_KV_ROUNDING = 3 * RT_HUGE_PAGE_BYTES };
int64_t glm_plan_kv_rounding(const glm_config *part, const glm_plan *plan);

/* What the disks under `dirs` have free, together; 0 when none can be asked. */
int64_t glm_plan_disk_free(const char *const *dirs, int n_dirs);

#endif
