/* Budgets -> plan. What was asked for, on which device and among which ranks; then chunk, streamed layers and length are
 * chosen, each by filling in the bill (plan_bill.c) and looking whether it fits. */
#include "plan.h"

#include <inttypes.h>
#include <string.h>

#include "backend.h"
#include "base/size.h"
#include "linear_choice.h"
#include "parallel/parallel.h"
#include "plan_bill.h"
#include "plan_limits.h"
#include "plan_speed.h"
#include "tokenizer.h"

enum { CHUNK_MIN = ATTN_PAGE_TOKENS, CHUNK_KEEPS = 1024, CAP_MIB_MAX = 1 << 28 };

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
    else if (strcmp(name, "int8") == 0)
        *out = RT_INT8;
    else if (strcmp(name, "int4") == 0)
        *out = RT_INT4;
    else if (strcmp(name, "fp8") == 0)
        *out = RT_FP8;
    else
        return rt_fail(RT_EUSAGE,
                "--kv-cache-dtype %s: keys and values are kept as bf16, f32, fp8, int8 or int4",
                name);
    return RT_OK;
}

static rt_status check_options(const glm_config *config, const glm_options *options) {
    if (options->max_len < 0 || options->chunk < 0 || options->span < 0 ||
            options->host_kv_bytes < 0 || options->device_kv_bytes < 0 ||
            options->device_weights_bytes < 0 || options->kv_disk_bytes < 0 ||
            options->max_logits < 0 || options->extra_kv_tokens < 0)
        return rt_fail(RT_EUSAGE, "plan: lengths and budgets must not be negative");
    if (options->max_len > config->model_len)
        return rt_fail(RT_EUSAGE,
                "--max-model-len %" PRId64 ": the model's own limit is %" PRId64 " tokens",
                options->max_len, config->model_len);
    if (options->span % GLM_SPAN_UNIT != 0)
        return rt_fail(RT_EUSAGE, "--span %" PRId64 ": must be a multiple of %d tokens",
                options->span, GLM_SPAN_UNIT);
    if (options->max_seqs < 0 || options->max_seqs > GLM_DECODE_SEQS_MAX)
        return rt_fail(RT_EUSAGE, "plan: %" PRId32 " sequences at once, at most %d are possible",
                options->max_seqs, GLM_DECODE_SEQS_MAX);
    if (options->n_speculative < 0 || options->n_speculative > GLM_DRAFT_MAX)
        return rt_fail(RT_EUSAGE, "plan: %" PRId32 " drafted tokens, at most %d are possible",
                options->n_speculative, GLM_DRAFT_MAX);
    return RT_OK;
}

rt_status glm_plan_share(const glm_config *config, int32_t rank, int32_t n_ranks, par_shard *shard,
        glm_config *part) {
    const par_widths widths = {.n_heads = config->n_heads,
            .n_kv_heads = config->n_kv_heads,
            .ffn = config->ffn,
            .vocab = config->vocab};
    RT_TRY(par_shard_make(&widths, rank, n_ranks, shard));
    *part = *config;
    part->n_heads = shard->n_heads;
    part->n_kv_heads = shard->n_kv_heads;
    part->ffn = shard->n_ffn;
    part->vocab = shard->n_vocab;
    return RT_OK;
}

static rt_status start_plan(const glm_config *config, const glm_options *options, glm_plan *plan) {
    *plan = (glm_plan){.threads = glm_threads_of(options),
            .n_ranks = options->tensor_parallel ? options->tensor_parallel : 1,
            .ranks_here = glm_ranks_here(options),
            .max_seqs = options->max_seqs ? options->max_seqs : 1,
            .tokenizer_bytes = config->vocab * GLM_TOKENIZER_TOKEN_BYTES,
            .max_logits = options->max_logits ? options->max_logits : 1,
            .max_len = options->max_len ? options->max_len : config->model_len,
            .hidden_dtype = glm_config_hidden_dtype(config),
            .kv_limit_bytes = options->host_kv_bytes / glm_ranks_here(options),
            .kv_persists = options->persists,
            .kv_keeps_all = options->keeps_all,
            .kv_window_wanted = options->kv_window_tokens,
            .kv_disk_dir = options->n_kv_disk_dirs > 0 ? options->kv_disk_dirs[0] : NULL,
            .n_kv_disk_dirs = options->n_kv_disk_dirs,
            .kv_kept_bytes = options->kv_disk_bytes ? 0 : options->disk_kept_bytes,
            .limit_bytes = options->memory_bytes,
            .limit_name = options->memory_name};
    /* Unless it is given: most of what is free, not the last of it. */
    plan->kv_disk_limit_bytes = options->kv_disk_bytes
                                        ? options->kv_disk_bytes / glm_ranks_here(options)
                                        : options->disk_free_bytes / 10 * 8;
    return choose_kv_dtype(config, options, &plan->kv_dtype);
}

/* The least that any plan takes is what the CPU is measured with. Where that does not fit, who measures is killed, or told
 * that there is no memory for a measurement; and oneDNN, when it is tried, crashes. */
static rt_status check_room_to_measure(const glm_bill_request *of, const glm_plan *plan) {
    char needed[RT_SIZE_TEXT];
    char limit[RT_SIZE_TEXT];
    const glm_speed_trial trial = glm_bill_least_trial(of, plan);
    const int64_t least = glm_measure_speed_bytes(&trial);
    if (plan->limit_bytes >= least) return RT_OK;
    return rt_fail(RT_ENOFIT, "plan: no less than %s is needed and %s is available%s%s",
            rt_format_bytes(least, needed), rt_format_bytes(plan->limit_bytes, limit),
            plan->limit_name ? ", because of " : "", plan->limit_name ? plan->limit_name : "");
}

static rt_status choose_linear(const glm_bill_request *of, glm_plan *plan) {
    glm_linear_choice choice;
    RT_TRY(check_room_to_measure(of, plan));
    RT_TRY(glm_linear_choose(of->options->linear, &of->part, &choice));
    plan->linear_by = choice.by;
    return check_room_to_measure(of, plan); /* with its scratch */
}

/* NCCL may add the numbers of more than two ranks in another order where there are more of them: rows that go together
 * would not have the bits of each by itself. */
static bool may_draft(const glm_plan *plan) {
    return !plan->on_gpu || plan->n_ranks <= 2;
}

/* The one that is here, or one that is known by its name, whose speed is known then, too. */
static rt_status ask_device(glm_bill_request *of, glm_plan *plan, rt_device_memory *memory) {
    char text[512];
    plan->gpu_name = of->options->gpu_name;
    if (plan->gpu_name) return of->backend->expect(&plan->gpu_name, memory, &of->speed);
    if (of->backend->is_usable(0, text, sizeof text, memory)) return RT_OK;
    return rt_fail(RT_EUNSUPPORTED, "--device %s: %s", of->backend->name, text);
}

static rt_status choose_backend(glm_bill_request *of, glm_plan *plan) {
    rt_device_memory memory = {0};
    RT_TRY(glm_backend_choose(&of->part, of->options, plan, &of->backend));
    RT_TRY(ask_device(of, plan, &memory));
    plan->on_gpu = memory.free_bytes > 0;
    plan->n_speculative = may_draft(plan) ? of->options->n_speculative : 0;
    plan->max_logits = rt_max64(plan->max_logits, 1 + plan->n_speculative);
    if (!plan->on_gpu) return choose_linear(of, plan);
    plan->linear_by = GLM_LINEAR_CUBLASLT;
    plan->sums_on_gpu = plan->n_ranks > 1 || of->options->nccl;
    plan->context_bytes = memory.context_bytes;
    plan->gpu_limit_bytes = plan->context_bytes +
                            (of->options->gpu_memory_bytes ? of->options->gpu_memory_bytes
                                                           : glm_plan_gpu_limit(memory.free_bytes));
    plan->kv_rows_limit_bytes = plan->kv_limit_bytes;
    plan->kv_limit_bytes = of->options->device_kv_bytes;
    plan->weights_limit_bytes = of->options->device_weights_bytes;
    return RT_OK;
}

/* ---- what is chosen -------------------------------------------------------------------------- */

/* The largest multiple of a page that fits, by bisection: the bill grows with the length. */
static int64_t largest_fitting(const glm_bill_request *of, const glm_plan *plan) {
    int64_t fits = 0;
    int64_t fails = of->part.model_len / ATTN_PAGE_TOKENS + 1;
    while (fails - fits > 1) {
        const int64_t middle = fits + (fails - fits) / 2;
        glm_plan trial = *plan;
        trial.max_len = middle * ATTN_PAGE_TOKENS;
        glm_bill_fill(of, &trial);
        if (trial.fits)
            fits = middle;
        else
            fails = middle;
    }
    return fits * ATTN_PAGE_TOKENS;
}

static void set_chunk(const glm_bill_request *of, glm_plan *plan, int64_t tokens) {
    plan->chunk = tokens;
    glm_bill_fill(of, plan);
}

/* A smaller chunk, down to CHUNK_KEEPS, where that is all it takes for the KV to stay. */
static void keep_in_memory(const glm_bill_request *of, glm_plan *plan) {
    glm_plan trial = *plan;
    while (trial.kv_overflows && trial.chunk > CHUNK_KEEPS)
        set_chunk(of, &trial, of->backend->chunk(&of->part, &of->speed, trial.chunk));
    if (!trial.kv_overflows && trial.fits) *plan = trial;
}

static bool lacks_memory(const glm_plan *plan) {
    return plan->total_bytes > plan->limit_bytes || plan->gpu_total_bytes > plan->gpu_limit_bytes ||
           !plan->kv_fits;
}

/* Unless the user chose it, the chunk gives way first: half of it costs a few per cent of speed. */
static void choose_chunk(const glm_bill_request *of, glm_plan *plan) {
    set_chunk(of, plan,
            of->options->chunk ? of->options->chunk
                               : of->backend->chunk(&of->part, &of->speed, INT64_MAX));
    while (lacks_memory(plan) && !of->options->chunk && plan->chunk > CHUNK_MIN)
        set_chunk(of, plan, of->backend->chunk(&of->part, &of->speed, plan->chunk));
    if (plan->kv_overflows && !plan->kv_limit_bytes && !of->options->chunk)
        keep_in_memory(of, plan);
}

/* Of a GPU whose memory does not hold the weights, as many layers' come from the host as it takes; through two places, so
 * that fewer than three are none. The decode of all sequences waits for them: the KV overflows first. */
static void choose_streamed(const glm_bill_request *of, glm_plan *plan) {
    for (int32_t n = 3; n <= of->part.n_layers; n++) {
        plan->n_streamed_layers = n;
        choose_chunk(of, plan);
        if (glm_bill_fits_gpu(plan) && plan->kv_fits) return;
    }
}

/* "The most that fits" is what does with the chunk that a GPU wants; that all of the model's length would with no chunk says
 * nothing. */
static void start_over(const glm_bill_request *of, glm_plan *plan) {
    if (plan->on_gpu && !of->options->chunk)
        plan->chunk = of->backend->chunk(&of->part, &of->speed, INT64_MAX);
}

static bool must_stream(const glm_bill_request *of, const glm_plan *plan) {
    if (!plan->on_gpu || (glm_bill_fits_gpu(plan) && plan->kv_fits)) return false;
    return of->options->max_len > 0 || plan->weights_limit_bytes > 0 ||
           largest_fitting(of, plan) == 0;
}

/* The smallest cap that `cap` of the trial may be, in whole MiB for all ranks here; 0: none will do. */
static int64_t smallest_cap(const glm_bill_request *of, glm_plan *trial, int64_t *cap) {
    int64_t fails = 0;
    int64_t fits = 2 * CAP_MIB_MAX;
    while (fits - fails > 1) {
        const int64_t middle = fails + (fits - fails) / 2;
        *cap = middle * RT_MIB / trial->ranks_here;
        glm_bill_fill(of, trial);
        if (trial->fits)
            fits = middle;
        else
            fails = middle;
    }
    return fits <= CAP_MIB_MAX ? fits * RT_MIB : 0;
}

/* Of a length that does not fit because of them. */
static void find_least_caps(const glm_bill_request *of, glm_plan *plan) {
    if (plan->fits || plan->on_gpu) return;
    glm_plan trial = *plan;
    if (!plan->kv_fits && plan->kv_limit_bytes > 0)
        plan->least_host_kv_bytes = smallest_cap(of, &trial, &trial.kv_limit_bytes);
    trial = *plan;
    if (plan->kv_fits)
        plan->least_disk_bytes = smallest_cap(of, &trial, &trial.kv_disk_limit_bytes);
}

/* Of a GPU it is known already. What does not fit is measured, too: its times are told. */
static rt_status measure(glm_bill_request *of, glm_plan *plan) {
    const glm_options *options = of->options;
    glm_speed *speed = &of->speed;
    if (!plan->on_gpu) {
        const double usual = speed->usual_flops;
        const glm_speed_trial trial = glm_bill_trial(of, plan);
        RT_TRY(glm_measure_speed(&trial, speed));
        glm_speed_share(speed, glm_ranks_here(options), plan->threads, glm_cores_here(options));
        speed->usual_flops = usual;
    }
    plan->machine_flops = speed->flops;
    plan->attention_flops = speed->attention_flops;
    return RT_OK;
}

rt_status glm_plan_make(const glm_checkpoint *checkpoint, const glm_options *given, glm_plan *out) {
    glm_options limited;
    const glm_options *options = &limited;
    RT_TRY(glm_plan_ask_limits(given, &limited));
    glm_bill_request of = {.checkpoint = checkpoint,
            .options = options,
            .part = *glm_checkpoint_config(checkpoint),
            /* "The most that fits" is what memory holds, unless a disk was named. */
            .may_overflow = options->max_len > 0 || options->n_kv_disk_dirs > 0};
    glm_plan plan;
    RT_TRY(check_options(&of.part, options));
    RT_TRY(start_plan(&of.part, options, &plan));
    RT_TRY(choose_backend(&of, &plan));
    par_shard shard;
    RT_TRY(glm_plan_share(glm_checkpoint_config(checkpoint), 0, plan.n_ranks, &shard, &of.part));
    plan.kv_copies = shard.kv_copies;
    if (!plan.gpu_name) RT_TRY(of.backend->speed(plan.threads, &of.speed));
    if (!plan.on_gpu)
        glm_speed_share(&of.speed, glm_ranks_here(options), plan.threads, glm_cores_here(options));

    choose_chunk(&of, &plan);
    if (must_stream(&of, &plan)) choose_streamed(&of, &plan);
    if (!plan.fits && options->max_len == 0) start_over(&of, &plan);
    plan.fitting_len = largest_fitting(&of, &plan);
    if (options->max_len == 0 && !plan.fits && plan.fitting_len > 0) {
        plan.max_len = plan.fitting_len;
        glm_bill_fill(&of, &plan);
    }
    find_least_caps(&of, &plan);
    RT_TRY(measure(&of, &plan));
    glm_bill_time(&of, &plan);
    *out = plan;
    return RT_OK;
}
