/* Why a plan does not fit, and what would. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/size.h"
#include "hub.h"
#include "plan_bill.h"

enum { CLAUSE = 96 };

/* What would fit instead. */
static const char *what_fits(const glm_plan *plan, char text[CLAUSE]) {
    if (plan->fitting_len > 0)
        (void)snprintf(text, CLAUSE, "at most %" PRId64 " tokens fit", plan->fitting_len);
    else
        (void)snprintf(text, CLAUSE, "no length fits");
    return text;
}

/* The least of a cap that does, as the user would give it; nothing where none does. */
static const char *what_is_enough(int64_t least_bytes, char text[CLAUSE]) {
    char least[RT_SIZE_TEXT];
    text[0] = '\0';
    if (least_bytes > 0)
        (void)snprintf(text, CLAUSE, "; %s is the least that will do",
                rt_format_bytes(least_bytes, least));
    return text;
}

/* The cap is of all ranks here, and so is what is said. */
static const char *of_ranks(const glm_plan *plan, char text[CLAUSE]) {
    text[0] = '\0';
    if (plan->ranks_here > 1)
        (void)snprintf(text, CLAUSE, " for %" PRId32 " ranks", plan->ranks_here);
    return text;
}

static rt_status refuse_disk(const glm_plan *plan) {
    char disk[RT_SIZE_TEXT];
    char limit[RT_SIZE_TEXT];
    char ranks[CLAUSE];
    char enough[CLAUSE];
    char fits[CLAUSE];
    char *cache = NULL;
    if (!plan->kv_disk_dir) RT_TRY(glm_cache_path(&cache));
    const int64_t n = plan->ranks_here;
    char kept[RT_SIZE_TEXT + 64] = "";
    if (plan->kv_kept_bytes > 0)
        (void)snprintf(kept, sizeof kept, ", besides %s that are kept there",
                rt_format_bytes(n * plan->kv_kept_bytes, limit));
    const rt_status status = rt_fail(RT_ENOFIT,
            "plan: the KV of %" PRId64
            " tokens takes up to %s of disk%s, and %s may be taken in %s%s%s (--kv-disk-space, "
            "--kv-disk-dir)%s; %s",
            plan->max_len, rt_format_bytes(n * plan->kv_must_bytes, disk), of_ranks(plan, ranks),
            rt_format_bytes(n * plan->kv_disk_limit_bytes, limit),
            plan->kv_disk_dir ? plan->kv_disk_dir : cache,
            plan->n_kv_disk_dirs > 1 ? " and other directories" : "", kept,
            what_is_enough(plan->least_disk_bytes, enough), what_fits(plan, fits));
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
    char fits[CLAUSE];
    const bool is_kv_limited =
            plan->kv_limit_bytes > 0 && plan->gpu_total_bytes <= plan->gpu_limit_bytes;
    const int64_t limit_bytes = is_kv_limited ? plan->kv_limit_bytes : plan->gpu_limit_bytes;
    return rt_fail(RT_ENOFIT,
            "plan: %" PRId64 " tokens need %s of the GPU's memory (%s of it KV) and %s may be "
            "taken (%s); %s, or --device cpu",
            plan->max_len, rt_format_bytes(plan->gpu_total_bytes, total),
            rt_format_bytes(glm_plan_kv_here(plan), kv), rt_format_bytes(limit_bytes, limit),
            is_kv_limited    ? "--device-kv-space, for KV"
            : plan->gpu_name ? "all of it, but for a reserve"
                             : "free, with what CUDA has taken, but for a reserve",
            what_fits(plan, fits));
}

/* Not even a window of the KV. */
static rt_status refuse_streaming(const glm_plan *plan) {
    char limit[RT_SIZE_TEXT];
    char kv[RT_SIZE_TEXT];
    char ranks[CLAUSE];
    char enough[CLAUSE];
    char fits[CLAUSE];
    const int64_t n = plan->ranks_here;
    return rt_fail(RT_ENOFIT,
            "plan: the KV of %" PRId64
            " tokens is %s%s and --host-kv-space %s is too little to stream it from disk%s%s; %s",
            plan->max_len, rt_format_bytes(n * plan->kv_host_bytes, kv), of_ranks(plan, ranks),
            rt_format_bytes(n * plan->kv_limit_bytes, limit),
            plan->kv_persists ? " in segments of 4096 tokens, as books are kept" : "",
            what_is_enough(plan->least_host_kv_bytes, enough), what_fits(plan, fits));
}

static rt_status refuse_memory(const glm_plan *plan) {
    char total[RT_SIZE_TEXT];
    char limit[RT_SIZE_TEXT];
    char kv[RT_SIZE_TEXT];
    char fits[CLAUSE];
    return rt_fail(RT_ENOFIT,
            "plan: %" PRId64 " tokens need %s (%s of it KV) and %s is available%s%s; %s",
            plan->max_len, rt_format_bytes(plan->total_bytes, total),
            rt_format_bytes(plan->kv_host_bytes, kv), rt_format_bytes(plan->limit_bytes, limit),
            plan->limit_name ? ", because of " : "", plan->limit_name ? plan->limit_name : "",
            what_fits(plan, fits));
}

rt_status glm_plan_require(const glm_plan *plan) {
    if (plan->fits) return RT_OK;
    if (!glm_bill_has_room_for_weights(plan)) return refuse_weights(plan);
    if (plan->on_gpu && (plan->gpu_total_bytes > plan->gpu_limit_bytes || !plan->kv_fits))
        return refuse_gpu(plan);
    if (plan->total_bytes > plan->limit_bytes) return refuse_memory(plan);
    return plan->kv_fits ? refuse_disk(plan) : refuse_streaming(plan);
}
