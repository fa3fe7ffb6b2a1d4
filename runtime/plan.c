/* The memory bill. One function computes every byte for a given length; the refusal, the largest
 * length that fits, and the engine's own allocations all come from it. */
#include "plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/machine.h"
#include "costs.h"
#include "hub.h"
#include "linear_choice.h"
#include "onednn.h"
#include "parallel/parallel.h"
#include "plan_kv.h"
#include "plan_speed.h"
#include "rank_dirs.h"
#include "tokenizer.h"

enum {
    CHUNK_MIN = ATTN_PAGE_TOKENS,
    CHUNK_KEEPS = 1024,
    SPAN_UNIT = 4096,
    SPAN_MAX = 128 * 1024,
    SPAN_SECONDS_MAX = 300 /* a killed run loses at most about this much work */
};

/* The program itself: code and libraries (11 MiB with all that it may be built with), the C library's heap; and the
 * tokenizer. */
static int64_t program_bytes(const glm_plan *plan) {
    return 14 * RT_MIB + plan->tokenizer_bytes +
           (plan->linear_by == GLM_LINEAR_ONEDNN ? glm_onednn_library_bytes() : 0);
}

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
    if (options->span % SPAN_UNIT != 0)
        return rt_fail(RT_EUSAGE, "--span %" PRId64 ": must be a multiple of %d tokens",
                options->span, SPAN_UNIT);
    if (options->max_seqs < 0 || options->max_seqs > GLM_DECODE_SEQS_MAX)
        return rt_fail(RT_EUSAGE, "plan: %" PRId32 " sequences at once, at most %d are possible",
                options->max_seqs, GLM_DECODE_SEQS_MAX);
    return RT_OK;
}

/* What a bill is made from. `part` is the model as one rank holds it: fewer heads, columns and
 * rows, the same layers. */
typedef struct request {
    const glm_checkpoint *checkpoint;
    const glm_options *options;
    glm_config part;
    bool may_overflow;
    const glm_backend *backend;
    glm_speed speed;
} request;

/* ---- spans ----------------------------------------------------------------------------------- */

/* The longer a span the fewer times what is on disk is read; hidden states are all it costs. The last span
 * costs most: the largest multiple of the unit that stays within the limit at the machine's usual speed. A span that
 * was suspended goes on in an engine whose spans are as long, so that no other program may have a say in it. */
static int64_t choose_span(const request *of, const glm_plan *plan) {
    int64_t span = SPAN_UNIT;
    while (span + SPAN_UNIT <= SPAN_MAX) {
        const int64_t begin = rt_max64(plan->max_len - span - SPAN_UNIT, 0);
        const double flop = glm_prefill_flop(&of->part, begin, plan->max_len - begin);
        if (flop / of->speed.usual_flops > SPAN_SECONDS_MAX) break;
        span += SPAN_UNIT;
    }
    return span;
}

/* ---- the bill -------------------------------------------------------------------------------- */

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

/* Sequences' lists, and the ids of a prefill: the caller's and the run's own; where it is kept, those of open segments and
 * of a span that is suspended, too. */
static int64_t lists_bytes(
        const glm_config *part, const glm_options *options, const glm_plan *plan) {
    const kv_config kv = glm_plan_kv_config(part, plan);
    const int64_t n_seqs = plan->max_seqs + (options->extra_kv_tokens > 0 ? 1 : 0);
    return n_seqs * kv_seq_lists_bytes(&kv, plan->max_len) +
           (plan->kv_persists ? 4 : 2) * plan->max_len * (int64_t)sizeof(int32_t);
}

/* What the rest of the bill leaves to KV, within its own cap. */
static int64_t kv_budget(const glm_plan *plan) {
    if (plan->on_gpu) {
        const int64_t taken = plan->weights_bytes + plan->hidden_bytes + plan->scratch_bytes;
        const int64_t left = rt_max64(plan->gpu_limit_bytes - taken, 0);
        return plan->kv_limit_bytes ? rt_min64(plan->kv_limit_bytes, left) : left;
    }
    const int64_t rest = program_bytes(plan) + plan->weights_bytes + plan->hidden_bytes +
                         plan->scratch_bytes + plan->lists_bytes + plan->threads * kv_codec_bytes();
    const int64_t left = rt_max64(plan->limit_bytes - rest, 0);
    return plan->kv_limit_bytes ? rt_min64(plan->kv_limit_bytes, left) : left;
}

/* The host's memory for what leaves a GPU's, after the rest of the bill. */
static int64_t rows_budget(const glm_plan *plan) {
    const int64_t rest = program_bytes(plan) + plan->weights_host_bytes + plan->pinned_bytes +
                         plan->lists_bytes + plan->kv_staging_bytes +
                         plan->threads * kv_codec_bytes();
    if (plan->kv_rows_limit_bytes) return plan->kv_rows_limit_bytes;
    return rt_max64(plan->limit_bytes - rest, 0) / 2;
}

static bool has_room_for_weights(const glm_plan *plan) {
    return plan->weights_limit_bytes == 0 || plan->weights_bytes <= plan->weights_limit_bytes;
}

static bool fits_gpu(const glm_plan *plan) {
    return plan->gpu_total_bytes <= plan->gpu_limit_bytes && has_room_for_weights(plan);
}

/* Of the KV that is kept, what memory does not hold is read back: it must find room in segments or, where those
 * fail, in the overflow. */
static int64_t must_bytes(const glm_plan *plan) {
    if (!plan->kv_persists) return plan->kv_disk_bytes;
    if (plan->kv_keeps_all) return plan->kv_disk_bytes + plan->kv_keep_bytes;
    if (plan->kv_pinned_tokens >= plan->max_len) return 0;
    const double beyond = 1.0 - (double)plan->kv_pinned_tokens / (double)plan->max_len;
    return plan->kv_disk_bytes +
           rt_max64((int64_t)(beyond * (double)plan->kv_keep_bytes) - plan->kv_rows_bytes, 0);
}

/* What is kept there already may be a part of it, from a run that was stopped or of a book: it is found again, and what
 * is not makes way. Nobody knows yet: before compression it was at most twice as much, which a book that is
 * only read may be all of. */
static bool fits_disk(const glm_options *options, const glm_plan *plan) {
    if (plan->kv_disk_bytes > plan->kv_overflow_max) return false;
    if (!plan->kv_persists) return true;
    if (plan->kv_keeps_all) return plan->kv_keep_bytes <= plan->kv_keep_max + plan->kv_kept_bytes;
    return plan->kv_must_bytes <=
           plan->kv_disk_limit_bytes + plan->kv_kept_bytes + options->disk_kept_bytes;
}

static void add_up(const glm_options *options, glm_plan *plan) {
    const int64_t codecs = plan->kv_overflows ? plan->threads * kv_codec_bytes() : 0;
    const int64_t computing = plan->weights_bytes + plan->hidden_bytes + plan->scratch_bytes;
    const int64_t pages = plan->kv_host_bytes - plan->kv_staging_bytes;
    plan->gpu_total_bytes = plan->on_gpu ? computing + pages : 0;
    const int64_t here = plan->on_gpu ? 0 : computing - plan->weights_bytes + pages;
    const int64_t running = here + plan->kv_staging_bytes + plan->kv_rows_bytes +
                            plan->pinned_bytes + plan->lists_bytes + codecs;
    const int64_t weights = plan->on_gpu ? plan->weights_host_bytes : plan->weights_bytes;
    const int64_t with_weights = weights + rt_max64(running, plan->load_bytes);
    plan->total_bytes = program_bytes(plan) + rt_max64(with_weights, glm_measure_speed_bytes());
    plan->kv_must_bytes = must_bytes(plan);
    plan->fits = plan->total_bytes <= plan->limit_bytes && fits_gpu(plan) && plan->kv_fits &&
                 fits_disk(options, plan);
}

static void bill_computing(const request *of, glm_plan *plan) {
    of->backend->bill(of->checkpoint, &of->part, plan);
    if (plan->n_ranks > 1)
        *(plan->on_gpu ? &plan->pinned_bytes : &plan->scratch_bytes) +=
                par_local_bytes(plan->n_ranks) / plan->n_ranks;
    plan->lists_bytes = lists_bytes(&of->part, of->options, plan);
}

static void bill_kv(const request *of, glm_plan *plan) {
    plan->kv_fits = glm_plan_kv(
            &of->part, kv_budget(plan), of->options->extra_kv_tokens, of->may_overflow, plan);
}

/* Where memory holds all keys and values, and nothing is kept, nobody reads anything twice: a span is as short as the
 * chunk lets it be. Both may come out smaller than asked for: no call has more tokens than a span. */
static void bill_span(const request *of, glm_plan *plan) {
    const int64_t longest = of->options->span ? of->options->span : choose_span(of, plan);
    const bool is_short = !of->options->span && !plan->on_gpu;
    const int64_t rows = rt_min64(plan->chunk, rt_round_up(plan->max_len, ATTN_PAGE_TOKENS));
    plan->span = is_short ? rt_min64(rt_round_up(rows, SPAN_UNIT), longest) : longest;
    plan->chunk = rt_min64(rows, plan->span);
    bill_computing(of, plan);
    bill_kv(of, plan);
    if (!is_short || !plan->kv_overflows) return;
    plan->span = longest;
    bill_computing(of, plan);
    bill_kv(of, plan);
}

/* Every size that follows from max_len and chunk. On a GPU windows pass through scratch of their own, for which the KV
 * leaves room: they are known, and may then become narrower. */
static void fill_bill(const request *of, glm_plan *plan) {
    const glm_config *part = &of->part;
    const attn_shape shape = glm_attn_shape(part, plan->kv_dtype);
    plan->kv_open_page_bytes = attn_is_lossy(&shape) ? attn_open_page_bytes(&shape) : 0;
    plan->kv_tokens = plan->max_len + of->options->extra_kv_tokens;
    plan->kv_overflows = false;
    bill_span(of, plan);
    if (plan->on_gpu && plan->kv_overflows) {
        bill_computing(of, plan);
        bill_kv(of, plan);
        bill_computing(of, plan);
    }
    const kv_config kv = glm_plan_kv_config(part, plan);
    plan->kv_staging_bytes = kv_overflow_host_bytes(&kv);
    if (plan->on_gpu) glm_plan_kv_rows(part, rows_budget(plan), of->options->extra_kv_tokens, plan);
    add_up(of->options, plan);
}

/* ---- what it takes ---------------------------------------------------------------------------- */

/* Of the embedding one row is read a token, unless it is the output head, too. */
static double read_for_a_token(const glm_config *part, const glm_plan *plan) {
    const double unread = part->is_tied ? 0.0
                                        : (double)part->vocab * (double)part->hidden *
                                                  (double)rt_dtype_bytes(part->dtype);
    return (double)plan->weights_bytes - unread;
}

/* What comes from the host beside what is computed: weights once a span and once a token; keys and values that a GPU does
 * not keep with each chunk and each token, from its memory or from a disk that is as fast. */
static void estimate_time(const request *of, glm_plan *plan) {
    const glm_config *part = &of->part;
    const glm_speed *speed = &of->speed;
    const double n = (double)plan->max_len;
    const double n_pages = (double)rt_div_up(plan->max_len, ATTN_PAGE_TOKENS);
    const double kv_bytes = (double)plan->kv_page_bytes * part->n_layers * n_pages;
    double kv_coming = 0.0;
    double weights_s = 0.0;
    if (plan->on_gpu && plan->kv_overflows)
        kv_coming = kv_bytes * fmax(1.0 - (double)plan->kv_pinned_tokens / n, 0.0) /
                    speed->link_bytes_per_s;
    if (plan->weights_host_bytes)
        weights_s = (double)plan->weights_host_bytes / speed->link_bytes_per_s;
    plan->prefill_flop = glm_prefill_flop(part, 0, plan->max_len);
    plan->prefill_s = fmax(plan->prefill_flop / plan->machine_flops,
            weights_s * (double)rt_div_up(plan->max_len, plan->span) +
                    kv_coming * n / 2.0 / (double)plan->chunk);
    plan->decode_tps = 1.0 / ((read_for_a_token(part, plan) + kv_bytes) / speed->bytes_per_s +
                                     weights_s + kv_coming);
}

/* ---- what is chosen --------------------------------------------------------------------------- */

/* The largest multiple of a page that fits, by bisection: the bill grows with the length. */
static int64_t largest_fitting(const request *of, const glm_plan *plan) {
    int64_t fits = 0;
    int64_t fails = of->part.model_len / ATTN_PAGE_TOKENS + 1;
    while (fails - fits > 1) {
        const int64_t middle = fits + (fails - fits) / 2;
        glm_plan trial = *plan;
        trial.max_len = middle * ATTN_PAGE_TOKENS;
        fill_bill(of, &trial);
        if (trial.fits)
            fits = middle;
        else
            fails = middle;
    }
    return fits * ATTN_PAGE_TOKENS;
}

static void set_chunk(const request *of, glm_plan *plan, int64_t tokens) {
    plan->chunk = tokens;
    fill_bill(of, plan);
}

/* A smaller chunk, down to CHUNK_KEEPS, where that is all it takes for the KV to stay. */
static void keep_in_memory(const request *of, glm_plan *plan) {
    glm_plan trial = *plan;
    while (trial.kv_overflows && trial.chunk > CHUNK_KEEPS)
        set_chunk(of, &trial, of->backend->chunk(&of->part, &of->speed, trial.chunk));
    if (!trial.kv_overflows && trial.fits) *plan = trial;
}

/* Unless the user chose it, the chunk gives way first: half of it costs a few per cent of speed. */
static void choose_chunk(const request *of, glm_plan *plan) {
    set_chunk(of, plan,
            of->options->chunk ? of->options->chunk
                               : of->backend->chunk(&of->part, &of->speed, INT64_MAX));
    while ((plan->total_bytes > plan->limit_bytes ||
                   plan->gpu_total_bytes > plan->gpu_limit_bytes || !plan->kv_fits) &&
            !of->options->chunk && plan->chunk > CHUNK_MIN) {
        set_chunk(of, plan, of->backend->chunk(&of->part, &of->speed, plan->chunk));
    }
    if (plan->kv_overflows && !plan->kv_limit_bytes && !of->options->chunk)
        keep_in_memory(of, plan);
}

/* Of a GPU whose memory does not hold the weights, as many layers' come from the host as it takes; through two places, so
 * that fewer than three are none. The decode of all sequences waits for them: the KV overflows first. */
static void choose_streamed(const request *of, glm_plan *plan) {
    for (int32_t n = 3; n <= of->part.n_layers; n++) {
        plan->n_streamed_layers = n;
        choose_chunk(of, plan);
        if (fits_gpu(plan) && plan->kv_fits) return;
    }
}

/* "The most that fits" is what does with the chunk that a GPU wants; that all of the model's length would with no chunk says
 * nothing. */
static void start_over(const request *of, glm_plan *plan) {
    if (plan->on_gpu && !of->options->chunk)
        plan->chunk = of->backend->chunk(&of->part, &of->speed, INT64_MAX);
}

static bool must_stream(const request *of, const glm_plan *plan) {
    if (!plan->on_gpu || (fits_gpu(plan) && plan->kv_fits)) return false;
    return of->options->max_len > 0 || plan->weights_limit_bytes > 0 ||
           largest_fitting(of, plan) == 0;
}

/* Caps are of this machine: its ranks share them. */
static int32_t ranks_here(const glm_options *options) {
    if (options->ranks_here) return options->ranks_here;
    return options->tensor_parallel ? options->tensor_parallel : 1;
}

/* What is kept in one directory; whoever opens it says why that cannot be known. */
static int64_t kept_bytes(const char *dir) {
    kv_books *books = NULL;
    int64_t bytes = 0;
    if (kv_books_open(&dir, 1, &books) != RT_OK || kv_books_bytes(books, &bytes) != RT_OK)
        bytes = 0;
    kv_books_close(books);
    return bytes;
}

/* Free on the disk that the options name, for rank 0 of those here, and kept there. */
static rt_status ask_disk(const glm_options *options, int64_t *free_bytes, int64_t *kept) {
    const int32_t n_here = ranks_here(options);
    char *cache = NULL;
    RT_TRY(glm_cache_directory(&cache));
    const char *const *dirs =
            options->n_kv_disk_dirs > 0 ? options->kv_disk_dirs : (const char *const *)&cache;
    rt_status status = RT_OK;
    int64_t bytes = 0;
    *kept = 0;
    for (int i = 0; i < rt_max64(options->n_kv_disk_dirs, 1) && status == RT_OK; i++) {
        char *dir = NULL;
        status = glm_rank_dir(dirs[i], 0, &dir);
        if (status == RT_OK) bytes += glm_plan_disk_free((const char *const *)&dir, 1);
        if (status == RT_OK && options->persists)
            *kept += kept_bytes(dir) / (glm_has_rank_sign(dirs[i]) ? 1 : n_here);
        free(dir);
    }
    *free_bytes = bytes / n_here;
    free(cache);
    return status;
}

rt_status glm_plan_ask_limits(const glm_options *options, glm_options *out) {
    rt_machine_memory memory;
    int64_t free_bytes = 0;
    int64_t kept = 0;
    RT_TRY(rt_machine_memory_read(&memory));
    if (!options->disk_free_bytes) RT_TRY(ask_disk(options, &free_bytes, &kept));
    *out = *options;
    if (!out->memory_bytes) out->memory_bytes = memory.available_bytes / ranks_here(options);
    if (out->disk_free_bytes) return RT_OK;
    out->disk_free_bytes = free_bytes;
    out->disk_kept_bytes = kept;
    return RT_OK;
}

static int32_t cores_here(const glm_options *options) {
    return options->cores_here ? options->cores_here : rt_machine_cores();
}

/* Threads of a rank: cores that we may use, shared among the ranks here. */
static int32_t threads_of(const glm_options *options) {
    if (options->threads) return options->threads;
    return (int32_t)rt_max64(cores_here(options) / ranks_here(options), 1);
}

static rt_status start_plan(const glm_config *config, const glm_options *options, glm_plan *plan) {
    *plan = (glm_plan){.threads = threads_of(options),
            .n_ranks = options->tensor_parallel ? options->tensor_parallel : 1,
            .max_seqs = options->max_seqs ? options->max_seqs : 1,
            .tokenizer_bytes = config->vocab * GLM_TOKENIZER_TOKEN_BYTES,
            .max_logits = options->max_logits ? options->max_logits : 1,
            .max_len = options->max_len ? options->max_len : config->model_len,
            .hidden_dtype = glm_config_hidden_dtype(config),
            .kv_limit_bytes = options->host_kv_bytes / ranks_here(options),
            .kv_persists = options->persists,
            .kv_keeps_all = options->keeps_all,
            .kv_window_wanted = options->kv_window_tokens,
            .kv_disk_dir = options->n_kv_disk_dirs > 0 ? options->kv_disk_dirs[0] : NULL,
            .n_kv_disk_dirs = options->n_kv_disk_dirs,
            .kv_kept_bytes = options->kv_disk_bytes ? 0 : options->disk_kept_bytes,
            .limit_bytes = options->memory_bytes};
    /* Unless it is given: most of what is free, not the last of it. */
    plan->kv_disk_limit_bytes = options->kv_disk_bytes
                                        ? options->kv_disk_bytes / ranks_here(options)
                                        : options->disk_free_bytes / 10 * 8;
    return choose_kv_dtype(config, options, &plan->kv_dtype);
}

/* Kept free of a GPU's memory: what the driver and libraries take for themselves as they go. */
static const int64_t gpu_reserve_bytes = 256 * RT_MIB;

int64_t glm_plan_gpu_limit(int64_t free_bytes) {
    return rt_max64(free_bytes - gpu_reserve_bytes, 0);
}

static rt_status choose_linear(const request *of, glm_plan *plan) {
    glm_linear_choice choice;
    RT_TRY(glm_linear_choose(of->options->linear, &of->part, &choice));
    plan->linear_by = choice.by;
    return RT_OK;
}

static rt_status choose_backend(request *of, glm_plan *plan) {
    char text[512];
    int64_t free_bytes = 0;
    RT_TRY(glm_backend_choose(&of->part, of->options, plan, &of->backend));
    if (!of->backend->is_usable(0, text, sizeof text, &free_bytes))
        return rt_fail(RT_EUNSUPPORTED, "--device %s: %s", of->backend->name, text);
    plan->on_gpu = free_bytes > 0;
    if (!plan->on_gpu) return choose_linear(of, plan);
    plan->linear_by = GLM_LINEAR_CUBLASLT;
    plan->sums_on_gpu = plan->n_ranks > 1 || of->options->nccl;
    plan->gpu_limit_bytes = of->options->gpu_memory_bytes ? of->options->gpu_memory_bytes
                                                          : glm_plan_gpu_limit(free_bytes);
    plan->kv_rows_limit_bytes = plan->kv_limit_bytes;
    plan->kv_limit_bytes = of->options->device_kv_bytes;
    plan->weights_limit_bytes = of->options->device_weights_bytes;
    return RT_OK;
}

rt_status glm_plan_make(const glm_checkpoint *checkpoint, const glm_options *given, glm_plan *out) {
    glm_options limited;
    const glm_options *options = &limited;
    RT_TRY(glm_plan_ask_limits(given, &limited));
    request of = {.checkpoint = checkpoint,
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
    RT_TRY(of.backend->speed(plan.threads, &of.speed));
    if (!plan.on_gpu)
        glm_speed_share(&of.speed, ranks_here(options), plan.threads, cores_here(options));
    plan.machine_flops = of.speed.flops;

    choose_chunk(&of, &plan);
    if (must_stream(&of, &plan)) choose_streamed(&of, &plan);
    if (!plan.fits && options->max_len == 0) start_over(&of, &plan);
    plan.fitting_len = largest_fitting(&of, &plan);
    if (options->max_len == 0 && !plan.fits && plan.fitting_len > 0) {
        plan.max_len = plan.fitting_len;
        fill_bill(&of, &plan);
    }
    estimate_time(&of, &plan);
    *out = plan;
    return RT_OK;
}

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

static int64_t gpu_kv_limit(const glm_plan *plan) {
    return plan->kv_limit_bytes ? plan->kv_limit_bytes : plan->gpu_limit_bytes;
}

rt_status glm_plan_require(const glm_plan *plan) {
    if (plan->fits) return RT_OK;
    char total[RT_SIZE_TEXT];
    char limit[RT_SIZE_TEXT];
    char kv[RT_SIZE_TEXT];
    if (!has_room_for_weights(plan))
        return rt_fail(RT_ENOFIT,
                "plan: --device-weights-space %s: with all layers that can coming from the host the weights "
                "take %s of the GPU's memory",
                rt_format_bytes(plan->weights_limit_bytes, limit),
                rt_format_bytes(plan->weights_bytes, total));
    if (plan->on_gpu && (plan->gpu_total_bytes > plan->gpu_limit_bytes || !plan->kv_fits))
        return rt_fail(RT_ENOFIT,
                "plan: %" PRId64 " tokens need %s of the GPU's memory (%s of it KV) and %s may be "
                "taken (%s); at most %" PRId64 " tokens fit, or --device cpu",
                plan->max_len, rt_format_bytes(plan->gpu_total_bytes, total),
                rt_format_bytes(glm_plan_kv_here(plan), kv),
                rt_format_bytes(gpu_kv_limit(plan), limit),
                plan->kv_limit_bytes ? "--device-kv-space, for KV" : "free, but for a reserve",
                plan->fitting_len);
    const bool fits_memory = plan->total_bytes <= plan->limit_bytes && plan->kv_fits;
    if (fits_memory) return refuse_disk(plan);
    if (plan->total_bytes <= plan->limit_bytes)
        return rt_fail(RT_ENOFIT,
                "plan: the KV of %" PRId64
                " tokens is %s and --host-kv-space %s is too little to stream it from disk%s; at "
                "most %" PRId64 " tokens fit",
                plan->max_len, rt_format_bytes(plan->kv_host_bytes, kv),
                rt_format_bytes(plan->kv_limit_bytes, limit),
                plan->kv_persists ? " in segments of 4096 tokens, as books are kept" : "",
                plan->fitting_len);
    return rt_fail(RT_ENOFIT,
            "plan: %" PRId64 " tokens need %s (%s of it KV) and %s is available; at most %" PRId64
            " tokens fit",
            plan->max_len, rt_format_bytes(plan->total_bytes, total),
            rt_format_bytes(plan->kv_host_bytes, kv), rt_format_bytes(plan->limit_bytes, limit),
            plan->fitting_len);
}
