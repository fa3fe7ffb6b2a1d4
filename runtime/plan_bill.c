/* The bill, in the order in which its parts depend on each other: what computes (weights, hidden states, scratch), keys
 * and values within what that leaves, rows in the host's memory beside a GPU, the sum. */
#include "plan_bill.h"

#include <math.h>

#include "base/size.h"
#include "costs.h"
#include "onednn.h"
#include "plan_kv.h"

enum {
    SPAN_MAX = 128 * 1024,
    SPAN_SECONDS_MAX = 300 /* a killed run loses at most about this much work */
};

/* ---- spans ----------------------------------------------------------------------------------- */

/* The longer a span the fewer times what is on disk is read; hidden states are all it costs. The last span
 * costs most: the largest multiple of the unit that stays within the limit at the machine's usual speed. A span that
 * was suspended goes on in an engine whose spans are as long, so that no other program may have a say in it. */
static int64_t choose_span(const glm_bill_request *of, const glm_plan *plan) {
    int64_t span = GLM_SPAN_UNIT;
    while (span + GLM_SPAN_UNIT <= SPAN_MAX) {
        const int64_t begin = rt_max64(plan->max_len - span - GLM_SPAN_UNIT, 0);
        const double flop = glm_prefill_flop(&of->part, begin, plan->max_len - begin);
        if (flop / of->speed.usual_flops > SPAN_SECONDS_MAX) break;
        span += GLM_SPAN_UNIT;
    }
    return span;
}

static const int64_t thread_bytes = 40 * RT_KIB;

/* ---- budgets --------------------------------------------------------------------------------- */

/* The program itself: code and libraries (13 MiB with all that it may be built with), the C library's heap; of each thread
 * its stack, 24 KiB of which are used, and a heap of its own; and the tokenizer. */
static int64_t program_bytes(const glm_plan *plan) {
    return 15 * RT_MIB + plan->threads * thread_bytes + plan->tokenizer_bytes +
           (plan->linear_by == GLM_LINEAR_ONEDNN ? glm_onednn_library_bytes() : 0);
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
        const int64_t taken =
                plan->driver_bytes + plan->weights_bytes + plan->hidden_bytes + plan->scratch_bytes;
        const int64_t left = rt_max64(plan->gpu_limit_bytes - taken, 0);
        return plan->kv_limit_bytes ? rt_min64(plan->kv_limit_bytes, left) : left;
    }
    const int64_t rest = program_bytes(plan) + plan->weights_bytes + plan->hidden_bytes +
                         plan->scratch_bytes + plan->lists_bytes +
                         plan->threads * kv_codec_bytes() + GLM_KV_ROUNDING;
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

/* ---- whether it fits ------------------------------------------------------------------------- */

bool glm_bill_has_room_for_weights(const glm_plan *plan) {
    return plan->weights_limit_bytes == 0 || plan->weights_bytes <= plan->weights_limit_bytes;
}

bool glm_bill_fits_gpu(const glm_plan *plan) {
    return plan->gpu_total_bytes <= plan->gpu_limit_bytes && glm_bill_has_room_for_weights(plan);
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

/* ---- the bill -------------------------------------------------------------------------------- */

glm_speed_trial glm_bill_least_trial(const glm_bill_request *of, const glm_plan *plan) {
    return (glm_speed_trial){.n_threads = plan->threads,
            .linear_by = plan->linear_by,
            .attention = glm_attn_shape(&of->part, plan->kv_dtype)};
}

glm_speed_trial glm_bill_trial(const glm_bill_request *of, const glm_plan *plan) {
    glm_speed_trial trial = glm_bill_least_trial(of, plan);
    const int64_t least = program_bytes(plan) + glm_measure_speed_bytes(&trial);
    trial.read_bytes = rt_min64(
            plan->weights_bytes + plan->kv_host_bytes, rt_max64(plan->limit_bytes - least, 0));
    return trial;
}

/* What the CPU is measured with is given back before weights are read. A GPU's driver takes of the host's memory at least as
 * much as there is at most. */
static int64_t measuring_bytes(const glm_bill_request *of, const glm_plan *plan) {
    glm_speed_trial trial = glm_bill_trial(of, plan);
    if (plan->on_gpu)
        trial = (glm_speed_trial){
                .n_threads = 1, .attention = trial.attention, .read_bytes = INT64_MAX};
    return glm_measure_speed_bytes(&trial);
}

static void add_up(const glm_bill_request *of, glm_plan *plan) {
    const int64_t codecs = plan->kv_overflows ? plan->threads * kv_codec_bytes() : 0;
    const int64_t computing = plan->weights_bytes + plan->hidden_bytes + plan->scratch_bytes;
    const int64_t pages = plan->kv_host_bytes - plan->kv_staging_bytes;
    plan->gpu_total_bytes = plan->on_gpu ? plan->driver_bytes + computing + pages : 0;
    const int64_t here = plan->on_gpu ? 0 : computing - plan->weights_bytes + pages;
    const int64_t running = here + plan->kv_staging_bytes + plan->kv_rows_bytes +
                            plan->pinned_bytes + plan->lists_bytes + codecs +
                            glm_plan_kv_rounding(&of->part, plan);
    const int64_t weights = plan->on_gpu ? plan->weights_host_bytes : plan->weights_bytes;
    const int64_t with_weights = weights + rt_max64(running, plan->load_bytes);
    plan->total_bytes = program_bytes(plan) + rt_max64(with_weights, measuring_bytes(of, plan));
    plan->kv_must_bytes = must_bytes(plan);
    plan->fits = plan->total_bytes <= plan->limit_bytes && glm_bill_fits_gpu(plan) &&
                 plan->kv_fits && fits_disk(of->options, plan);
}

static void bill_computing(const glm_bill_request *of, glm_plan *plan) {
    of->backend->bill(of->checkpoint, &of->part, plan);
    if (plan->n_ranks > 1)
        *(plan->on_gpu ? &plan->pinned_bytes : &plan->scratch_bytes) +=
                par_local_bytes(plan->n_ranks) / plan->n_ranks;
    plan->lists_bytes = lists_bytes(&of->part, of->options, plan);
}

static void bill_kv(const glm_bill_request *of, glm_plan *plan) {
    plan->kv_fits = glm_plan_kv(
            &of->part, kv_budget(plan), of->options->extra_kv_tokens, of->may_overflow, plan);
}

/* Where memory holds all keys and values, and nothing is kept, nobody reads anything twice: a span is as short as the
 * chunk lets it be. Both may come out smaller than asked for: no call has more tokens than a span. */
static void bill_span(const glm_bill_request *of, glm_plan *plan) {
    const int64_t longest = of->options->span ? of->options->span : choose_span(of, plan);
    const bool is_short = !of->options->span && !plan->on_gpu;
    const int64_t rows = rt_min64(plan->chunk, rt_round_up(plan->max_len, ATTN_PAGE_TOKENS));
    plan->span = is_short ? rt_min64(rt_round_up(rows, GLM_SPAN_UNIT), longest) : longest;
    plan->chunk = rt_min64(rows, plan->span);
    bill_computing(of, plan);
    bill_kv(of, plan);
    if (!is_short || !plan->kv_overflows) return;
    plan->span = longest;
    bill_computing(of, plan);
    bill_kv(of, plan);
}

/* On a GPU windows pass through scratch of their own, for which the KV
 * leaves room: they are known, and may then become narrower. */
void glm_bill_fill(const glm_bill_request *of, glm_plan *plan) {
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
    add_up(of, plan);
}

/* ---- the time -------------------------------------------------------------------------------- */

double glm_plan_prefill_work(
        const glm_plan *plan, const glm_config *config, int64_t pos, int64_t n) {
    return glm_plan_work(
            plan, glm_prefill_flop(config, pos, n), glm_prefill_attention_flop(config, pos, n));
}

double glm_plan_prefill_all_work(
        const glm_plan *plan, const glm_config *config, int64_t pos, int64_t n) {
    return glm_plan_work(plan, glm_prefill_all_flop(config, pos, n),
            config->n_layers * glm_layer_attention_flop(config, pos, n));
}

/* Of the embedding one row is read a token, unless it is the output head, too. */
static double read_for_a_token(const glm_config *part, const glm_plan *plan) {
    const double unread = part->is_tied ? 0.0
                                        : (double)part->vocab * (double)part->hidden *
                                                  (double)rt_dtype_bytes(part->dtype);
    return (double)plan->weights_bytes - unread;
}

/* What comes from the host beside what is computed: weights once a span and once a token; keys and values that a GPU does
 * not keep with each chunk and each token, from its memory or from a disk that is as fast. */
void glm_bill_time(const glm_bill_request *of, glm_plan *plan) {
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
    plan->prefill_s =
            fmax(glm_plan_prefill_work(plan, part, 0, plan->max_len) / plan->machine_flops,
                    weights_s * (double)rt_div_up(plan->max_len, plan->span) +
                            kv_coming * n / 2.0 / (double)plan->chunk);
    plan->decode_tps = 1.0 / ((read_for_a_token(part, plan) + kv_bytes) / speed->bytes_per_s +
                                     weights_s + kv_coming);
}
