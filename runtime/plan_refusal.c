/* Why a plan does not fit, and what would. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/size.h"
#include "hub.h"
#include "plan_bill.h"

static rt_status refuse_disk(const glm_plan *plan) {
    char disk[RT_SIZE_TEXT];
    char limit[RT_SIZE_TEXT];
    char *cache = NULL;
    if (!plan->kv_disk_dir) RT_TRY(glm_cache_directory(&cache));
    char kept[RT_SIZE_TEXT + 64] = "";
    if (plan->kv_kept_bytes > 0)
        (void)snprintf(kept, sizeof kept, ", besides %s that are kept there",
                rt_format_bytes(plan->kv_kept_bytes, limit));
    const rt_status status = rt_fail(RT_ENOFIT,
            "plan: the KV of %" PRId64
            " tokens takes %s of disk, and %s may be taken in %s%s%s (--kv-disk-space, "
            "--kv-disk-dir); at most %" PRId64 " tokens fit",
            plan->max_len, rt_format_bytes(plan->kv_must_bytes, disk),
            rt_format_bytes(plan->kv_disk_limit_bytes, limit),
            plan->kv_disk_dir ? plan->kv_disk_dir : cache,
            plan->n_kv_disk_dirs > 1 ? " and other directories" : "", kept, plan->fitting_len);
    free(cache);
    return status;
}

static rt_status refuse_weights(const glm_plan *plan) {
    char limit[RT_SIZE_TEXT];
    char weights[RT_SIZE_TEXT];
    return rt_fail(RT_ENOFIT,
            "plan: --device-weights-space %s: with all layers that can coming from the host the weights "
            "take %s of the GPU's memory",
            rt_format_bytes(plan->weights_limit_bytes, limit),
            rt_format_bytes(plan->weights_bytes, weights));
}

static rt_status refuse_gpu(const glm_plan *plan) {
    char total[RT_SIZE_TEXT];
    char limit[RT_SIZE_TEXT];
    char kv[RT_SIZE_TEXT];
    const bool is_kv_limited = plan->kv_limit_bytes > 0;
    const int64_t limit_bytes = is_kv_limited ? plan->kv_limit_bytes : plan->gpu_limit_bytes;
    return rt_fail(RT_ENOFIT,
            "plan: %" PRId64 " tokens need %s of the GPU's memory (%s of it KV) and %s may be "
            "taken (%s); at most %" PRId64 " tokens fit, or --device cpu",
            plan->max_len, rt_format_bytes(plan->gpu_total_bytes, total),
            rt_format_bytes(glm_plan_kv_here(plan), kv), rt_format_bytes(limit_bytes, limit),
            is_kv_limited ? "--device-kv-space, for KV" : "free, but for a reserve",
            plan->fitting_len);
}

/* Not even a window of the KV. */
static rt_status refuse_streaming(const glm_plan *plan) {
    char limit[RT_SIZE_TEXT];
    char kv[RT_SIZE_TEXT];
    return rt_fail(RT_ENOFIT,
            "plan: the KV of %" PRId64
            " tokens is %s and --host-kv-space %s is too little to stream it from disk%s; at "
            "most %" PRId64 " tokens fit",
            plan->max_len, rt_format_bytes(plan->kv_host_bytes, kv),
            rt_format_bytes(plan->kv_limit_bytes, limit),
            plan->kv_persists ? " in segments of 4096 tokens, as books are kept" : "",
            plan->fitting_len);
}

static rt_status refuse_memory(const glm_plan *plan) {
    char total[RT_SIZE_TEXT];
    char limit[RT_SIZE_TEXT];
    char kv[RT_SIZE_TEXT];
    return rt_fail(RT_ENOFIT,
            "plan: %" PRId64
            " tokens need %s (%s of it KV) and %s is available%s%s; at most %" PRId64 " tokens fit",
            plan->max_len, rt_format_bytes(plan->total_bytes, total),
            rt_format_bytes(plan->kv_host_bytes, kv), rt_format_bytes(plan->limit_bytes, limit),
            plan->limit_name ? ", because of " : "", plan->limit_name ? plan->limit_name : "",
            plan->fitting_len);
}

rt_status glm_plan_require(const glm_plan *plan) {
    if (plan->fits) return RT_OK;
    if (!glm_bill_has_room_for_weights(plan)) return refuse_weights(plan);
    if (plan->on_gpu && (plan->gpu_total_bytes > plan->gpu_limit_bytes || !plan->kv_fits))
        return refuse_gpu(plan);
    if (plan->total_bytes > plan->limit_bytes) return refuse_memory(plan);
    return plan->kv_fits ? refuse_disk(plan) : refuse_streaming(plan);
}
