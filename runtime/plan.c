/* The memory bill. One function computes every byte for a given length; the refusal, the largest
 * length that fits, and the engine's own allocations all come from it. */
#include "plan.h"

#include <inttypes.h>
#include <string.h>

#include "base/machine.h"
#include "engine.h"
#include "plan_speed.h"

enum {
    CHUNK_DEFAULT = 1024,
    SPAN_UNIT = 4096,
    SPAN_MAX = 128 * 1024,
    SPAN_SECONDS_MAX = 300 /* a killed run loses at most about this much work */
};

/* The program itself: code, libraries, tokenizer, the C library's heap. */
static const int64_t program_bytes = 14 * RT_MIB;

/* ---- what was asked for ---------------------------------------------------------------------- */

static rt_status choose_kv_dtype(
        const glm_config *config, const glm_options *options, rt_dtype *out) {
    const char *name = options->kv_dtype;
    if (!name || strcmp(name, "auto") == 0)
        *out = config->dtype == RT_F32 ? RT_F32 : RT_BF16;
    else if (strcmp(name, "bf16") == 0)
        *out = RT_BF16;
    else if (strcmp(name, "f32") == 0)
        *out = RT_F32;
    else
        return rt_fail(RT_EUSAGE,
                "--kv-cache-dtype %s: this version stores bf16 and f32 (int8, int4 and fp8 are to "
                "come)",
                name);
    return RT_OK;
}

static rt_status check_options(const glm_config *config, const glm_options *options) {
    const char *device = options->device;
    if (device && strcmp(device, "auto") != 0 && strcmp(device, "cpu") != 0) {
        if (strcmp(device, "cuda") == 0)
            return rt_fail(RT_EUNSUPPORTED, "--device cuda: this version runs on the CPU only");
        return rt_fail(RT_EUSAGE, "--device %s: auto, cpu or cuda", device);
    }
    if (options->tensor_parallel > 1)
        return rt_fail(RT_EUNSUPPORTED,
                "--tensor-parallel-size %" PRId32 ": this version runs one rank",
                options->tensor_parallel);
    if (options->max_len < 0 || options->chunk < 0 || options->span < 0 ||
            options->host_kv_bytes < 0 || options->max_logits < 0 || options->extra_kv_tokens < 0)
        return rt_fail(RT_EUSAGE, "plan: lengths and budgets must not be negative");
    if (options->max_len > config->model_len)
        return rt_fail(RT_EUSAGE,
                "--max-model-len %" PRId64 ": the model's own limit is %" PRId64 " tokens",
                options->max_len, config->model_len);
    if (options->span % SPAN_UNIT != 0)
        return rt_fail(RT_EUSAGE, "--span %" PRId64 ": must be a multiple of %d tokens",
                options->span, SPAN_UNIT);
    if (options->max_seqs < 0 || options->max_seqs > GLM_DECODE_SEQS_MAX)
        return rt_fail(RT_EUSAGE, "plan: %" PRId32 " sequences at once, at most %d are possible",
                options->max_seqs, GLM_DECODE_SEQS_MAX);
    return RT_OK;
}

/* ---- the bill -------------------------------------------------------------------------------- */

/* Tokens of page memory for one sequence of max_len and its forks. */
static int64_t kv_bytes_for(const glm_config *config, const glm_plan *plan, int64_t extra_tokens) {
    const kv_config kv = {.shape = {.page_tokens = ATTN_PAGE_TOKENS},
            .n_layers = config->n_layers,
            .page_bytes = plan->kv_page_bytes};
    const int64_t pages = kv_pages_for(&kv, plan->max_len) + kv_pages_for(&kv, extra_tokens);
    return pages * plan->kv_page_bytes;
}

/* Fill in every size that follows from max_len, span and chunk. */
static void compute_bytes(
        const glm_checkpoint *checkpoint, const glm_options *options, glm_plan *plan) {
    const glm_config *config = glm_checkpoint_config(checkpoint);
    const attn_shape shape = glm_attn_shape(config, plan->kv_dtype);
    const int64_t hidden_row = config->hidden * rt_dtype_bytes(plan->hidden_dtype);
    plan->kv_page_bytes = attn_page_bytes(&shape);
    plan->kv_host_bytes = kv_bytes_for(config, plan, options->extra_kv_tokens);
    plan->kv_tokens = plan->max_len + options->extra_kv_tokens;
    plan->weights_bytes = glm_weights_bytes(checkpoint);
    plan->hidden_bytes = rt_min64(plan->span, plan->max_len) * hidden_row;
    plan->scratch_bytes = glm_engine_arena_bytes(config, plan) - plan->hidden_bytes +
                          glm_ops_cpu_bytes(&shape, plan->threads);
    plan->load_bytes = glm_weights_load_bytes(config, plan->threads);
    const int64_t running = plan->kv_host_bytes + plan->hidden_bytes + plan->scratch_bytes;
    plan->total_bytes = program_bytes + plan->weights_bytes + rt_max64(running, plan->load_bytes);
}

static bool is_within(const glm_options *options, const glm_plan *plan) {
    if (options->host_kv_bytes > 0 && plan->kv_host_bytes > options->host_kv_bytes) return false;
    return plan->total_bytes <= plan->limit_bytes;
}

/* The largest multiple of a page that fits, by bisection: the bill grows with the length. */
static int64_t largest_fitting(
        const glm_checkpoint *checkpoint, const glm_options *options, const glm_plan *plan) {
    const int64_t model_len = glm_checkpoint_config(checkpoint)->model_len;
    int64_t fits = 0;
    int64_t fails = model_len / ATTN_PAGE_TOKENS + 1;
    while (fails - fits > 1) {
        const int64_t middle = fits + (fails - fits) / 2;
        glm_plan trial = *plan;
        trial.max_len = middle * ATTN_PAGE_TOKENS;
        compute_bytes(checkpoint, options, &trial);
        if (is_within(options, &trial))
            fits = middle;
        else
            fails = middle;
    }
    return fits * ATTN_PAGE_TOKENS;
}

/* ---- spans and time -------------------------------------------------------------------------- */

static double flop_between(const glm_config *config, int64_t begin, int64_t end) {
    return config->n_layers * glm_layer_flop(config, begin, end - begin);
}

/* The last span costs most: the largest unit multiple that keeps it within the limit. */
static int64_t choose_span(const glm_config *config, const glm_plan *plan) {
    int64_t span = SPAN_UNIT;
    while (span + SPAN_UNIT <= SPAN_MAX) {
        const int64_t begin = rt_max64(plan->max_len - span - SPAN_UNIT, 0);
        const double seconds = flop_between(config, begin, plan->max_len) / plan->machine_flops;
        if (seconds > SPAN_SECONDS_MAX) break;
        span += SPAN_UNIT;
    }
    return span;
}

static void estimate_time(const glm_config *config, double bytes_per_s, glm_plan *plan) {
    plan->prefill_flop = flop_between(config, 0, plan->max_len);
    plan->prefill_s = plan->prefill_flop / plan->machine_flops;
    const double read =
            (double)plan->weights_bytes + (double)plan->kv_page_bytes * (double)config->n_layers *
                                                  (double)plan->max_len / ATTN_PAGE_TOKENS;
    plan->decode_tps = bytes_per_s / read;
}

rt_status glm_plan_make(
        const glm_checkpoint *checkpoint, const glm_options *options, glm_plan *out) {
    const glm_config *config = glm_checkpoint_config(checkpoint);
    RT_TRY(check_options(config, options));
    glm_plan plan = {.threads = options->threads ? options->threads : rt_machine_cores(),
            .max_seqs = options->max_seqs ? options->max_seqs : 1,
            .max_logits = options->max_logits ? options->max_logits : 1,
            .chunk = options->chunk ? options->chunk : CHUNK_DEFAULT,
            .hidden_dtype = config->dtype == RT_F32 ? RT_F32 : RT_BF16};
    RT_TRY(choose_kv_dtype(config, options, &plan.kv_dtype));
    rt_machine_memory memory;
    RT_TRY(rt_machine_memory_read(&memory));
    plan.limit_bytes = memory.available_bytes;
    glm_speed speed;
    RT_TRY(glm_measure_speed(plan.threads, &speed));
    plan.machine_flops = speed.flops;

    plan.max_len = options->max_len ? options->max_len : config->model_len;
    plan.span = options->span ? options->span : choose_span(config, &plan);
    plan.fitting_len = largest_fitting(checkpoint, options, &plan);
    if (options->max_len == 0 && plan.fitting_len > 0) {
        plan.max_len = rt_min64(plan.fitting_len, config->model_len);
        if (!options->span) plan.span = choose_span(config, &plan);
    }
    plan.chunk = rt_min64(plan.chunk, rt_round_up(plan.max_len, ATTN_PAGE_TOKENS));
    compute_bytes(checkpoint, options, &plan);
    plan.fits = is_within(options, &plan);
    estimate_time(config, speed.bytes_per_s, &plan);
    *out = plan;
    return RT_OK;
}

rt_status glm_plan_require(const glm_plan *plan) {
    if (plan->fits) return RT_OK;
    char total[RT_SIZE_TEXT];
    char limit[RT_SIZE_TEXT];
    char kv[RT_SIZE_TEXT];
    return rt_fail(RT_ENOFIT,
            "plan: %" PRId64 " tokens need %s (%s of it KV) and %s is available; at most %" PRId64
            " tokens fit",
            plan->max_len, rt_format_bytes(plan->total_bytes, total),
            rt_format_bytes(plan->kv_host_bytes, kv), rt_format_bytes(plan->limit_bytes, limit),
            plan->fitting_len);
}
