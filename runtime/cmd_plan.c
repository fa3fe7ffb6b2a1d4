/* glm1m plan: the memory bill and the time to expect, before anything large is allocated. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/size.h"
#include "cli.h"
#include "cli_prefill.h"
#include "cmd_plan_text.h"
#include "linear_choice.h"
#include "rank_dirs.h"

/* ---- the table ------------------------------------------------------------------------------- */

enum { WHY_COLUMN = 31, WHY_BYTES = 256 };

/* One line of the table: "weights           17.66 GiB  why"; a long reason goes on below itself. */
static void RT_PRINTF(3, 4)
        print_row(const char *what, const char *value, const char *format, ...) {
    char why[WHY_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    (void)printf("%-16s %12s%s", what, value, *why ? "  " : "");
    (void)glm_cli_print_wrapped(why, WHY_COLUMN, WHY_COLUMN);
}

static void print_bytes(const char *what, int64_t bytes, const char *why) {
    char text[RT_SIZE_TEXT];
    print_row(what, rt_format_bytes(bytes, text), "%s", why);
}

static void RT_PRINTF(3, 4) print_count(const char *what, int64_t n, const char *format, ...) {
    char text[RT_SIZE_TEXT];
    char why[WHY_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    (void)snprintf(text, sizeof text, "%" PRId64, n);
    print_row(what, text, "%s", why);
}

/* More ranks than KV heads hold copies: of KV, fewer ranks hold as much each. */
static void print_ranks(const glm_plan *plan) {
    char copies[96] = "";
    if (plan->kv_copies > 1)
        (void)snprintf(copies, sizeof copies,
                "; %" PRId32 " hold the same KV, as much as with %" PRId32 " ranks",
                plan->kv_copies, plan->n_ranks / plan->kv_copies);
    print_count(
            "ranks", plan->n_ranks, "on one machine; what follows is for each of them%s", copies);
}

/* Nothing goes to a disk that nobody named, unless a length asks for it. */
static bool is_of_memory(const glm_plan *plan, const glm_cli *cli, int64_t model_len) {
    return cli->engine.max_len == 0 && cli->engine.n_kv_disk_dirs == 0 && plan->max_len < model_len;
}

static void print_context(
        const glm_plan *plan, const glm_cli *cli, int64_t model_len, int64_t n_text) {
    const int64_t asked = cli->engine.chunk;
    char what[96] = "asked for";
    if (n_text > 0)
        (void)snprintf(what, sizeof what,
                "%" PRId64 " of the text, the others of a question and its answer", n_text);
    else if (cli->engine.max_len == 0)
        (void)snprintf(what, sizeof what, "the most that %s",
                is_of_memory(plan, cli, model_len) ? "memory holds" : "fits");
    print_count("context", plan->max_len, "tokens, %s; the model's length is %" PRId64, what,
            model_len);
    print_count("span", plan->span, "tokens");
    if (asked > plan->chunk)
        print_count("chunk", plan->chunk,
                "tokens, of %" PRId64 " asked for: no call has more than a span, or than there are",
                asked);
    else
        print_count("chunk", plan->chunk, "tokens");
    print_count("threads", plan->threads, "%s", "");
    if (plan->linear_by == GLM_LINEAR_ONEDNN)
        print_row("linear layers", "oneDNN",
                "multiplies rows rounded to bf16; its memory is in the scratch and in the total");
    if (plan->n_ranks > 1) print_ranks(plan);
    (void)printf("\n");
}

/* Where the KV goes that memory does not hold, and what is streamed back for each chunk. */
static void print_overflow(const glm_plan *plan) {
    char limit[RT_SIZE_TEXT];
    char pinned[RT_SIZE_TEXT];
    char why[192];
    (void)snprintf(why, sizeof why,
            "at most, before compression, of %s; in extents of %" PRId32
            " tokens of a layer, the first %s tokens stay in memory",
            rt_format_bytes(plan->kv_disk_limit_bytes, limit), plan->kv_extent_tokens,
            rt_format_tokens(plan->kv_pinned_tokens, pinned));
    print_bytes("KV, disk", plan->kv_disk_bytes, why);
}

/* Weights that come to a GPU layer by layer. */
static void print_streamed(const glm_plan *plan) {
    char why[160];
    if (plan->n_streamed_layers == 0) return;
    (void)snprintf(why, sizeof why,
            "of the last %" PRId32
            " layers, pinned: they come to the GPU once a span, and once for each token of an answer",
            plan->n_streamed_layers);
    print_bytes("weights, host", plan->weights_host_bytes, why);
}

/* What takes memory while the model runs. */
static void print_parts(const glm_plan *plan, const char *missing) {
    char weights_why[WHY_BYTES];
    char kv_why[128];
    char hidden_why[64];
    char per_page[RT_SIZE_TEXT];
    (void)snprintf(kv_why, sizeof kv_why,
            "%s, %" PRId64 " tokens; a page of 128 tokens of a layer is %s",
            rt_dtype_name(plan->kv_dtype), plan->kv_tokens,
            rt_format_bytes(plan->kv_page_bytes, per_page));
    (void)snprintf(
            hidden_why, sizeof hidden_why, "%s, one span", rt_dtype_name(plan->hidden_dtype));
    (void)snprintf(weights_why, sizeof weights_why, "%s%s",
            *missing ? "as config.json describes them: " : "", missing);
    print_bytes("weights", plan->weights_bytes, weights_why);
    print_streamed(plan);
    print_bytes(plan->on_gpu ? "KV, GPU" : "KV, host", glm_plan_kv_here(plan), kv_why);
    if (plan->kv_rows_bytes > 0)
        print_bytes("KV, host", plan->kv_rows_bytes,
                "pinned: what the GPU's memory does not hold, in front of the disk");
    if (plan->kv_overflows) print_overflow(plan);
    if (plan->kv_persists) print_bytes("KV, kept", plan->kv_keep_bytes, "at most, for good");
    print_bytes("hidden states", plan->hidden_bytes, hidden_why);
    print_bytes("scratch", plan->scratch_bytes, "activations of a chunk, logits, tiles per thread");
}

/* "2 x h100", "h100". */
static const char *planned_gpus(const glm_plan *plan, char text[RT_SIZE_TEXT]) {
    if (plan->n_ranks > 1)
        (void)snprintf(text, RT_SIZE_TEXT, "%" PRId32 " x %s", plan->n_ranks, plan->gpu_name);
    else
        (void)snprintf(text, RT_SIZE_TEXT, "%s", plan->gpu_name);
    return text;
}

static void print_gpu_totals(const glm_plan *plan) {
    print_bytes("driver, GPU", plan->driver_bytes,
            plan->sums_on_gpu ? "for CUDA, code, decode's graphs, and NCCL"
                              : "for CUDA, code and decode's graphs");
    print_bytes("total, GPU", plan->gpu_total_bytes, "the most that lives there at once");
    print_bytes("limit, GPU", plan->gpu_limit_bytes,
            plan->gpu_name ? "all of it, but for a reserve"
                           : "free there, with what CUDA has taken, but for a reserve");
    print_bytes("pinned", plan->pinned_bytes, "of the host's memory, to copy from and to");
}

/* What the host's memory is bounded by. */
static void print_limit(const glm_plan *plan, const rt_machine_memory *memory) {
    const bool has_cgroup = memory->cgroup_bytes < memory->total_bytes;
    char why[96];
    if (plan->limit_name && strcmp(plan->limit_name, "--host-memory") == 0)
        (void)snprintf(why, sizeof why, "as --host-memory says%s",
                plan->n_ranks > 1 ? "; shared by the ranks" : "");
    else if (plan->limit_name)
        (void)snprintf(why, sizeof why,
                "of this process, by %s, less what it and its threads' stacks take",
                plan->limit_name);
    else
        (void)snprintf(why, sizeof why, "%s%s",
                has_cgroup ? "a cgroup's limit counts here"
                           : "this machine's memory; no cgroup limit",
                plan->n_ranks > 1 ? "; shared by the ranks" : "");
    print_bytes("limit", plan->limit_bytes, why);
}

static void print_bill(const glm_plan *plan, const char *missing, const rt_machine_memory *memory) {
    char gpus[RT_SIZE_TEXT];
    if (plan->gpu_name)
        print_row("planned for", planned_gpus(plan, gpus), "by its data sheet, not asked of one");
    if (plan->on_gpu)
        print_row("device", "cuda", "weights, KV, hidden states and scratch are in its memory");
    print_parts(plan, missing);
    if (plan->on_gpu) print_gpu_totals(plan);
    print_bytes("lists", plan->lists_bytes, "token ids and page pointers of sequences");
    print_bytes("loading", plan->load_bytes,
            "staging and tiles per thread; given back before the KV cache is taken");
    print_bytes("total", plan->total_bytes, "the most that lives at once, the program included");
    print_limit(plan, memory);
}

/* 2.25e15 -> "2.25 P" */
static const char *format_flop(double value, char text[RT_SIZE_TEXT]) {
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    size_t i = 0;
    for (; value >= 999.5 && i + 1 < sizeof prefixes / sizeof *prefixes; i++) value /= 1000.0;
    (void)snprintf(text, RT_SIZE_TEXT, "%.3g %s", value, prefixes[i]);
    return text;
}

/* Where the times come from. */
static const char *speed_from(const glm_plan *plan) {
    return plan->gpu_name ? "by its data sheet"
           : plan->on_gpu ? "as its driver describes it"
                          : "as measured on this machine";
}

/* ", attention's at 800 GFLOP/s", where it is measured by itself. */
static const char *attention_speed(const glm_plan *plan, char text[2 * RT_SIZE_TEXT]) {
    char speed[RT_SIZE_TEXT];
    *text = '\0';
    if (!plan->on_gpu)
        (void)snprintf(text, 2 * RT_SIZE_TEXT, ", attention's at %sFLOP/s",
                format_flop(plan->attention_flops, speed));
    return text;
}

static void print_times(const glm_plan *plan, bool is_of_memory) {
    char text[RT_SIZE_TEXT];
    char work[RT_SIZE_TEXT];
    char speed[RT_SIZE_TEXT];
    char attention[2 * RT_SIZE_TEXT];
    const int decimals = plan->decode_tps >= 99.5 ? 0 : plan->decode_tps >= 9.95 ? 1 : 2;
    (void)printf("\n");
    print_row("prefill", rt_format_seconds(plan->prefill_s, text),
            "for %" PRId64 " tokens: %sFLOP at %sFLOP/s%s, %s", plan->max_len,
            format_flop(plan->prefill_flop, work), format_flop(plan->machine_flops, speed),
            attention_speed(plan, attention), speed_from(plan));
    (void)snprintf(text, sizeof text, "%.*f", decimals, plan->decode_tps);
    print_row("decode", text, "tokens/s with a full context");
    if (plan->fitting_len == 0) {
        print_row("fits", "no", "no length would");
        return;
    }
    print_row("fits", plan->fits ? "yes" : "no", "at most %" PRId64 " tokens would%s",
            plan->fitting_len,
            is_of_memory ? " in memory; with -c or --kv-disk-dir what is beyond it goes to disk"
                         : "");
}

static rt_status print_table(const glm_plan *plan, const glm_cli *cli,
        const glm_checkpoint *checkpoint, int64_t n_text) {
    const glm_config *config = glm_checkpoint_config(checkpoint);
    rt_machine_memory memory;
    RT_TRY(rt_machine_memory_read(&memory));
    print_context(plan, cli, config->model_len, n_text);
    print_bill(plan, glm_checkpoint_missing(checkpoint), &memory);
    print_times(plan, is_of_memory(plan, cli, config->model_len));
    return RT_OK;
}

/* ---- --json ---------------------------------------------------------------------------------- */

static json_t *json_lengths(const glm_plan *plan, int64_t model_len, bool has_weights) {
    return json_pack("{s:b, s:b, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:s, s:s}", "fits",
            plan->fits, "has_weights", has_weights, "n_ranks", (int)plan->n_ranks, "kv_copies",
            (int)plan->kv_copies, "max_len", (json_int_t)plan->max_len, "fitting_len",
            (json_int_t)plan->fitting_len, "model_len", (json_int_t)model_len, "kv_tokens",
            (json_int_t)plan->kv_tokens, "span", (json_int_t)plan->span, "chunk",
            (json_int_t)plan->chunk, "threads", (int)plan->threads, "kv_dtype",
            rt_dtype_name(plan->kv_dtype), "hidden_dtype", rt_dtype_name(plan->hidden_dtype));
}

static json_t *json_memory(const glm_plan *plan) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "weights_bytes",
            (json_int_t)plan->weights_bytes, "kv_page_bytes", (json_int_t)plan->kv_page_bytes,
            "kv_host_bytes", (json_int_t)plan->kv_host_bytes, "hidden_bytes",
            (json_int_t)plan->hidden_bytes, "scratch_bytes", (json_int_t)plan->scratch_bytes,
            "lists_bytes", (json_int_t)plan->lists_bytes, "load_bytes",
            (json_int_t)plan->load_bytes, "total_bytes", (json_int_t)plan->total_bytes,
            "limit_bytes", (json_int_t)plan->limit_bytes);
}

static json_t *json_overflow(const glm_plan *plan) {
    return json_pack("{s:b, s:I, s:I, s:I, s:i, s:i, s:I}", "kv_overflows", plan->kv_overflows,
            "kv_rows_bytes", (json_int_t)plan->kv_rows_bytes, "kv_disk_bytes",
            (json_int_t)plan->kv_disk_bytes, "kv_disk_limit_bytes",
            (json_int_t)plan->kv_disk_limit_bytes, "kv_extent_tokens", (int)plan->kv_extent_tokens,
            "kv_window_extents", (int)plan->kv_window_extents, "kv_pinned_tokens",
            (json_int_t)plan->kv_pinned_tokens);
}

static json_t *json_device(const glm_plan *plan) {
    return json_pack("{s:s, s:s?, s:s?, s:s, s:i, s:I, s:I, s:I, s:I, s:I}", "device",
            plan->on_gpu ? "cuda" : "cpu", "planned_gpu", plan->gpu_name, "limit_name",
            plan->limit_name, "linear", glm_linear_by_name(plan->linear_by), "n_streamed_layers",
            (int)plan->n_streamed_layers, "weights_host_bytes",
            (json_int_t)plan->weights_host_bytes, "driver_bytes", (json_int_t)plan->driver_bytes,
            "gpu_total_bytes", (json_int_t)plan->gpu_total_bytes, "gpu_limit_bytes",
            (json_int_t)plan->gpu_limit_bytes, "pinned_bytes", (json_int_t)plan->pinned_bytes);
}

static json_t *json_times(const glm_plan *plan) {
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f}", "speed", speed_from(plan), "prefill_flop",
            plan->prefill_flop, "machine_flops", plan->machine_flops, "attention_flops",
            plan->attention_flops, "prefill_s", plan->prefill_s, "decode_tps", plan->decode_tps);
}

/* Its members go into `object`; `members` is released. False without memory. */
static bool add_members(json_t *object, json_t *members) {
    const bool is_added = object && members && json_object_update(object, members) == 0;
    json_decref(members);
    return is_added;
}

static rt_status print_json(
        const glm_plan *plan, int64_t model_len, bool has_weights, int64_t n_text) {
    json_t *object = json_lengths(plan, model_len, has_weights);
    const bool is_whole =
            add_members(object, json_memory(plan)) && add_members(object, json_overflow(plan)) &&
            add_members(object, json_device(plan)) && add_members(object, json_times(plan)) &&
            (n_text == 0 || json_object_set_new(object, "text_tokens", json_integer(n_text)) == 0);
    if (is_whole) (void)json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    if (!is_whole) return rt_fail(RT_ENOMEM, "plan: no memory for the JSON object");
    (void)putchar('\n');
    return RT_OK;
}

/* ---- what is planned ------------------------------------------------------------------------- */

/* DIR, or the nearest above it, where it would be made. */
static rt_status check_dir(const char *dir) {
    char *place = strdup(dir);
    struct stat info;
    rt_status status = RT_OK;
    if (!place) return rt_fail(RT_ENOMEM, "plan: no memory for the path %s", dir);
    while (status == RT_OK && stat(place, &info) != 0 && errno == ENOENT &&
            lstat(place, &info) != 0) {
        char *above = NULL;
        status = rt_path_folder(place, &above);
        free(place);
        place = above;
    }
    if (status == RT_OK && stat(place, &info) != 0)
        status = rt_fail_errno(RT_EIO, "%s", place);
    else if (status == RT_OK && !S_ISDIR(info.st_mode))
        status = rt_fail(RT_EIO, "%s is not a directory", place);
    else if (status == RT_OK && access(place, W_OK | X_OK) != 0)
        status = rt_fail_errno(RT_EIO, "%s cannot be written", place);
    free(place);
    return status;
}

/* A disk that cannot be used has no room: what memory does not hold does not fit. */
static rt_status leave_out_disk(glm_options *options) {
    const bool is_elsewhere = options->gpu_name || options->host_memory_bytes;
    for (int i = 0; i < options->n_kv_disk_dirs && !is_elsewhere; i++) {
        char *dir = NULL;
        RT_TRY(glm_rank_dir(options->kv_disk_dirs[i], 0, &dir));
        const rt_status status = check_dir(dir);
        free(dir);
        if (status == RT_ENOMEM) return status;
        if (status == RT_OK) continue;
        rt_log(RT_LOG_WARN, "plan", "nothing can be written in --kv-disk-dir %s: %s",
                options->kv_disk_dirs[i], rt_error_text());
        options->disk_free_bytes = 1;
    }
    return RT_OK;
}

/* n_text: tokens of the text that it is planned for; 0: there is none. */
static rt_status plan_checkpoint(
        const glm_cli *cli, const glm_checkpoint *checkpoint, int64_t n_text) {
    glm_plan plan;
    glm_options options = cli->engine;
    options.persists = glm_cli_persists(cli);
    RT_TRY(leave_out_disk(&options));
    RT_TRY(glm_plan_make(checkpoint, &options, &plan));
    glm_cli_say_unused(cli, &plan);
    if (cli->json)
        RT_TRY(print_json(&plan, glm_checkpoint_config(checkpoint)->model_len,
                glm_checkpoint_has_weights(checkpoint), n_text));
    else
        RT_TRY(print_table(&plan, cli, checkpoint, n_text));
    (void)fflush(stdout);
    return glm_plan_require(&plan);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int run_plan(glm_cli *cli) {
    glm_checkpoint *checkpoint = NULL;
    int64_t n_text = 0;
    rt_status status = glm_checkpoint_open_to_plan(cli->engine.model_dir, &checkpoint);
    if (status == RT_OK && cli->n_operands > 0)
        status = plan_take_text(cli, glm_checkpoint_config(checkpoint), &n_text);
    if (status == RT_OK) status = plan_checkpoint(cli, checkpoint, n_text);
    glm_checkpoint_close(checkpoint);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

const glm_command glm_cmd_plan = {
        .name = "plan",
        .usage = "plan -m DIR [SOURCE... | --max-model-len 1M] [budgets]",
        .summary = "the memory bill and the time to expect, before starting",
        .details =
                "Computes what the other commands would allocate, with the same code, and allocates "
                "nothing: on this machine, with the GPUs, memory and limits that are here now, unless "
                "--gpu and --host-memory name others: so it can be asked on a login node, or before "
                "anything is rented. Disks are those of this machine, and a CPU's speed is measured here. "
                "Without --max-model-len: the longest context that fits, in memory unless a --kv-disk-dir is named. Exit 0 when it fits, 3 when it does not; the table then says "
                "the largest length that would. With SOURCE..., files and directories as ask takes them: for their text, which is read and counted, a question and an answer. Of the model config.json suffices, for a text with the tokenizer's files: what a download "
                "will need can be asked before it and while it runs; what is missing is told. Drafts, "
                "which chat, complete, ask and serve make, are counted; the bill of the other commands "
                "is that of --num-speculative-tokens 0.\n"
                "\n"
                "Examples:\n"
                "  glm1m plan -m glm-4-9b-chat-1m --max-model-len 1M\n"
                "  glm1m plan -m glm-4-9b-chat-1m war.pdf\n"
                "  glm1m plan -m glm-4-9b-chat-1m --host-kv-space 64G --json\n"
                "  glm1m plan -m glm-4-9b-chat-1m -c 1M --gpu a100-40 --host-memory 128G\n"
                "  glm1m plan -m glm-4-9b-chat-1m -c 1M --gpu h100 -tp 2 --host-memory 256G\n",
        .flags = "@engine gpu host-memory num-speculative-tokens json",
        .required = "model",
        .operands_max = 1000000,
        .run = run_plan,
};
