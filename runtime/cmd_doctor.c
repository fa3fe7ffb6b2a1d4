/* glm1m doctor: what this machine offers, what a checkpoint is, what would be used of both.
 *
 * Facts are collected as {section: {name: text}} and printed as a table or, with --json, as they
 * are. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/size.h"
#include "cli.h"
#include "cmd_version.h"
#include "hub.h"
#include "kvstore/kvstore.h"
#include "linear_choice.h"
#include "probe.h"
#include "self_test.h"
#include "tokenizer.h"
#include "variant.h"

enum { FACT_BYTES = 512 };

static void add(json_t *section, const char *name, const char *format, ...) RT_PRINTF(3, 4);
static void add(json_t *section, const char *name, const char *format, ...) {
    char text[FACT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* A CPU's or a driver's name need not be UTF-8. */
    json_t *value = json_string(text);
    (void)json_object_set_new(section, name, value ? value : json_string("(not UTF-8)"));
}

static json_t *begin_section(json_t *facts, const char *name) {
    json_t *section = json_object();
    (void)json_object_set_new(facts, name, section);
    return section;
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* Who multiplies, and why; that of --linear which cannot be is what there is to report. */
static void add_linear(json_t *section, const char *asked, const glm_config *config) {
    glm_linear_choice choice;
    const bool is_chosen = glm_linear_choose(asked, config, &choice) == RT_OK;
    add(section, "linear layers", "%s", is_chosen ? choice.why : rt_error_text());
}

static void add_onednn(json_t *section) {
    char text[FACT_BYTES];
    const bool is_there = glm_linear_describe_onednn(text, sizeof text);
    add(section, "oneDNN", "%s%s", is_there ? "" : "none: ", text);
}

static const char *vectors(rt_isa isa) {
    static const char *const names[] = {"portable code", "AVX2", "AVX-512", "tiles of AMX"};
    return names[isa];
}

/* By which kernels. What there are tiles for are all types of pages but f32, and heads that are whole tiles. */
static void add_attention(json_t *section) {
    const rt_isa isa = rt_machine_isa();
    const attn_shape with_tiles = {
            .n_heads = 1, .n_kv_heads = 1, .head_dim = 128, .kv_dtype = RT_BF16};
    const attn_shape without = {.n_heads = 1, .n_kv_heads = 1, .head_dim = 128, .kv_dtype = RT_F32};
    const rt_isa best = attn_cpu_isa(&with_tiles, isa);
    const rt_isa otherwise = attn_cpu_isa(&without, isa);
    if (best != otherwise)
        add(section, "attention", "%s (all pages but f32), %s otherwise", vectors(best),
                vectors(otherwise));
    else
        add(section, "attention", "%s%s", vectors(best),
                isa == RT_ISA_AMX ? "; this build's compiler had no AMX" : "");
}

static rt_status add_machine(json_t *facts, const char *linear, const glm_config *config) {
    rt_machine_memory memory;
    RT_TRY(rt_machine_memory_read(&memory));
    char name[128];
    char size[RT_SIZE_TEXT];
    json_t *section = begin_section(facts, "machine");
    add(section, "CPU", "%s", rt_machine_cpu_name(name));
    add(section, "instruction set", "%s", rt_isa_name(rt_machine_isa()));
    add(section, "matrix unit", "%s",
            !rt_machine_has_amx()      ? "none"
            : rt_machine_may_use_amx() ? "AMX"
                                       : "AMX, which the operating system does not grant");
    add_attention(section);
    add_onednn(section);
    add_linear(section, linear, config);
    add(section, "cores we may use", "%d of %ld", rt_machine_cores(),
            sysconf(_SC_NPROCESSORS_ONLN));
    add(section, "memory", "%s", rt_format_bytes(memory.total_bytes, size));
    add(section, "memory available", "%s", rt_format_bytes(memory.available_bytes, size));
    const bool has_limit = memory.cgroup_bytes < memory.total_bytes;
    add(section, "cgroup limit", "%s",
            has_limit ? rt_format_bytes(memory.cgroup_bytes, size) : "none");
    if (memory.own_name)
        add(section, "limit of a process", "%s left by %s", rt_format_bytes(memory.own_bytes, size),
                memory.own_name);
    return RT_OK;
}

static rt_status add_devices(json_t *facts) {
    char text[2 * GLM_PROBE_BYTES]; /* with what to do about it */
    json_t *section = begin_section(facts, "devices");
    (void)glm_probe_gpu(text);
    add(section, "GPU", "%s", text);
    const bool has_gpu = glm_backend_describe_cuda(text, sizeof text);
    add(section, "GPU backend", "%s%s", has_gpu ? "usable: " : "none: ", text);
    add(section, "used", "%s", has_gpu ? "the GPU, for models that it runs" : "the CPU");
    (void)glm_probe_nccl(text);
    add(section, "NCCL", "%s", text);
    (void)glm_probe_mpi(text);
    add(section, "MPI", "%s", text);

    char disk[KV_DISK_TEXT];
    kv_disk_describe_way(disk);
    add(section, "disk I/O", "%s", disk);
    char *cache = NULL;
    const rt_status status = glm_cache_directory(&cache);
    if (status == RT_EIO) {
        add(section, "cache", "none: %s", rt_error_text());
        return RT_OK;
    }
    RT_TRY(status);
    kv_disk_describe(cache, disk);
    add(section, "cache", "%s: %s", cache, disk);
    free(cache);
    return RT_OK;
}

static const char *attention_of(const glm_config *config, const glm_plan *plan) {
    const attn_shape shape = glm_attn_shape(config, plan->kv_dtype);
    return vectors(attn_cpu_isa(&shape, rt_machine_isa()));
}

/* ---- the checkpoint -------------------------------------------------------------------------- */

static void add_stop_ids(json_t *section, const glm_config *config) {
    char text[FACT_BYTES] = "";
    int n = 0;
    for (int i = 0; i < config->n_stop_ids; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%" PRId32, i ? ", " : "",
                config->stop_ids[i]);
    add(section, "stop ids", "%s", text);
}

static void add_sampling(json_t *section, const glm_config *config) {
    if (config->temperature < 0.0F)
        add(section, "sampling", "the model does not say");
    else
        add(section, "sampling", "temperature %g, top-p %g, top-k %" PRId32 ", min-p %g",
                (double)config->temperature, (double)config->top_p, config->top_k,
                (double)config->min_p);
}

static void add_variant(json_t *section, const glm_variant *variant) {
    add(section, "variant", "%s", variant->name);
    if (variant->differences[0]) add(section, "differs from it", "%s", variant->differences);
    add(section, "chat format", "%s",
            variant->is_base   ? "none, a base model: glm1m complete continues texts"
            : variant->is_0414 ? "GLM-4-0414"
                               : "GLM-4");
}

static void add_config(
        json_t *facts, const char *dir, const glm_config *config, const glm_variant *variant) {
    char size[RT_SIZE_TEXT];
    json_t *section = begin_section(facts, "model");
    add(section, "directory", "%s", dir);
    add_variant(section, variant);
    add(section, "model_type", "%s, %s names", config->model_type,
            config->naming == GLM_NAMES_HF ? "Hugging Face" : "native");
    add(section, "parameters", "%" PRId64 ", %s", glm_config_parameters(config),
            rt_dtype_name(config->dtype));
    add(section, "layers", "%" PRId32, config->n_layers);
    add(section, "heads", "%" PRId32 " query, %" PRId32 " KV, %" PRId32 " wide", config->n_heads,
            config->n_kv_heads, config->head_dim);
    add(section, "hidden, ffn, vocab", "%" PRId64 ", %" PRId64 ", %" PRId64, config->hidden,
            config->ffn, config->vocab);
    add(section, "length", "%" PRId64 " tokens", config->model_len);
    add(section, "rotary", "%" PRId32 " of %" PRId32 " dimensions, pairs (2i, 2i + 1), base %g",
            config->rope_dim, config->head_dim, config->rope_base);
    add(section, "attention scale", "1 / sqrt(%" PRId32 ")", config->head_dim);
    add(section, "norms", "eps %g%s", (double)config->rms_eps,
            config->has_post_norms ? ", also behind each sub-layer" : "");
    add(section, "QKV bias", "%s", config->has_qkv_bias ? "yes" : "no");
    add(section, "output head", "%s", config->is_tied ? "is the embedding" : "its own");
    add_stop_ids(section, config);
    add_sampling(section, config);
    const int64_t kv_bytes =
            2 * (int64_t)config->n_layers * config->n_kv_heads * config->head_dim * 2;
    add(section, "KV per token, bf16", "%s", rt_format_bytes(kv_bytes, size));
    if (config->warning[0]) add(section, "WARNING", "%s", config->warning);
}

static void add_plan(
        json_t *facts, const glm_cli *cli, const glm_config *config, const glm_plan *plan) {
    char size[RT_SIZE_TEXT];
    json_t *section = begin_section(facts, "plan");
    add(section, "fits", "%s", plan->fits ? "yes" : "no");
    add(section, "context", "%" PRId64 " tokens; at most %" PRId64 " fit", plan->max_len,
            plan->fitting_len);
    add(section, "span, chunk", "%" PRId64 ", %" PRId64, plan->span, plan->chunk);
    add(section, "threads", "%" PRId32, plan->threads);
    if (!plan->on_gpu) add_linear(section, cli->engine.linear, config);
    if (!plan->on_gpu) add(section, "attention", "%s", attention_of(config, plan));
    add(section, "KV cache", "%s, %s", rt_dtype_name(plan->kv_dtype),
            rt_format_bytes(glm_plan_kv_here(plan), size));
    add(section, "memory in all", "%s", rt_format_bytes(plan->total_bytes, size));
    add(section, "memory granted", "%s", rt_format_bytes(plan->limit_bytes, size));
    add(section, "prefill", "%s", rt_format_seconds(plan->prefill_s, size));
    add(section, "decode", "%.3g tokens/s", plan->decode_tps);
}

static rt_status add_checkpoint(
        json_t *facts, const glm_cli *cli, const glm_checkpoint *checkpoint) {
    char size[RT_SIZE_TEXT];
    char fingerprint[65];
    RT_TRY(glm_checkpoint_fingerprint(checkpoint, fingerprint));
    json_t *section = json_object_get(facts, "model");
    add(section, "weights", "%s", rt_format_bytes(glm_checkpoint_bytes(checkpoint), size));
    add(section, "fingerprint", "%s", fingerprint);

    glm_plan plan;
    RT_TRY(glm_plan_make(checkpoint, &cli->engine, &plan));
    add_plan(facts, cli, glm_checkpoint_config(checkpoint), &plan);
    return RT_OK;
}

static rt_status add_weights(json_t *facts, const glm_cli *cli) {
    glm_checkpoint *checkpoint = NULL;
    rt_status status = glm_checkpoint_open(cli->engine.model_dir, &checkpoint);
    if (status == RT_OK) status = add_checkpoint(facts, cli, checkpoint);
    glm_checkpoint_close(checkpoint);
    return status;
}

/* ---- the tokenizer --------------------------------------------------------------------------- */

/* Which file the tokens come from; NULL where there is none, no illness: ids still work. */
static const char *tokenizer_file(const char *dir) {
    static const char *const names[] = {"tokenizer.model", "tokenizer.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = NULL;
        if (rt_path_join(dir, names[i], &path) != RT_OK) return NULL;
        const bool is_there = rt_file_exists(path);
        free(path);
        if (is_there) return names[i];
    }
    return NULL;
}

static void add_vocabulary(json_t *section, const glm_tokenizer *tokenizer, int64_t vocab) {
    const int64_t n_ids = glm_tokenizer_size(tokenizer);
    const glm_special_ids ids = glm_tokenizer_specials(tokenizer);
    add(section, "ids", "0 to %" PRId64, n_ids - 1);
    if (n_ids > vocab)
        add(section, "WARNING", "the model has rows for %" PRId64 " ids only", vocab);
    else
        add(section, "padding rows", "%" PRId64 ", never chosen", vocab - n_ids);
    add(section, "prefix", "[gMASK] %" PRId32 ", <sop> %" PRId32, ids.gmask, ids.sop);
    add(section, "roles",
            "system %" PRId32 ", user %" PRId32 ", assistant %" PRId32 ", observation %" PRId32,
            ids.system, ids.user, ids.assistant, ids.observation);
    add(section, "end of text", "%" PRId32, ids.endoftext);
    add(section, "chat format", "GLM-4's own; a chat_template in the directory is not used");
}

/* `n_ids`: how many it has; 0 where there is none. */
static rt_status add_tokenizer(json_t *facts, const char *dir, int64_t vocab, int64_t *n_ids) {
    json_t *section = begin_section(facts, "tokenizer");
    const char *file = tokenizer_file(dir);
    add(section, "file", "%s", file ? file : "none: only token ids can be given and shown");
    *n_ids = 0;
    if (!file) return RT_OK;
    glm_tokenizer *tokenizer = NULL;
    RT_TRY(glm_tokenizer_load(dir, &tokenizer));
    add_vocabulary(section, tokenizer, vocab);
    *n_ids = glm_tokenizer_size(tokenizer);
    glm_tokenizer_free(tokenizer);
    return RT_OK;
}

/* Whatever else is well with both: what it is given would not be what was meant. */
static rt_status check_ids(int64_t n_ids, int64_t vocab) {
    if (n_ids <= vocab) return RT_OK;
    return rt_fail(RT_EMODEL,
            "doctor: the tokenizer has %" PRId64 " ids, the model rows for %" PRId64
            ": one of them is another model's",
            n_ids, vocab);
}

/* ---- the self-test --------------------------------------------------------------------------- */

static rt_status self_test(json_t *facts, const glm_cli *cli, const glm_variant *variant) {
    if (!variant->is_chat_1m)
        return rt_fail(RT_EUSAGE,
                "doctor: --self-test compares numbers published for GLM-4-9B-Chat-1M; they say "
                "nothing about this checkpoint (%s%s%s)",
                variant->name, variant->differences[0] ? ", but " : "", variant->differences);
    glm_self_test test;
    RT_TRY(glm_self_test_run(&cli->engine, glm_golden_chat_1m(), &test));
    json_t *section = begin_section(facts, "self-test");
    for (int i = 0; i < test.n_checks; i++) {
        const glm_self_check *check = &test.checks[i];
        add(section, check->what, "%.6g, published %.6g, off by %.3g of %.3g: %s", check->got,
                check->published, fabs(check->got - check->published), check->allowed,
                check->is_passed ? "pass" : "FAIL");
    }
    add(section, "result", "%s", test.n_failed == 0 ? "pass" : "FAIL");
    if (test.n_failed == 0) return RT_OK;
    return rt_fail(RT_ENUMERIC,
            "doctor: the self-test failed: %d of %d numbers are not GLM-4-9B-Chat-1M's; these are "
            "other weights, or they are computed wrongly here",
            test.n_failed, test.n_checks);
}

static rt_status add_model(json_t *facts, const glm_cli *cli) {
    const char *dir = cli->engine.model_dir;
    glm_config config;
    glm_variant variant;
    RT_TRY(glm_config_load(dir, &config));
    glm_variant_recognise(&config, dir, &variant);
    add_config(facts, dir, &config, &variant);
    int64_t n_ids = 0;
    RT_TRY(add_tokenizer(facts, dir, config.vocab, &n_ids));
    RT_TRY(add_weights(facts, cli));
    RT_TRY(check_ids(n_ids, config.vocab));
    return cli->self_test ? self_test(facts, cli, &variant) : RT_OK;
}

/* ---- output ---------------------------------------------------------------------------------- */

enum { VALUE_COLUMN = 23 };

static void print_table(json_t *facts) {
    const char *title = NULL;
    json_t *section = NULL;
    json_object_foreach(facts, title, section) {
        (void)printf("%s\n", title);
        const char *name = NULL;
        json_t *value = NULL;
        json_object_foreach(section, name, value) {
            (void)printf("  %-20s ", name);
            (void)glm_cli_print_wrapped(json_string_value(value), VALUE_COLUMN, VALUE_COLUMN);
        }
    }
}

/* What was found is printed also when a later step failed: that is what a doctor is for. */
static int run_doctor(glm_cli *cli) {
    if (cli->self_test && !cli->engine.model_dir)
        return glm_cli_fail(rt_fail(RT_EUSAGE, "doctor: --self-test needs a model: -m DIR"));
    glm_config config;
    const char *dir = cli->engine.model_dir;
    const bool has_config = dir && glm_config_load(dir, &config) == RT_OK;
    json_t *facts = json_object();
    rt_status status = facts ? RT_OK : rt_fail(RT_ENOMEM, "doctor: no memory");
    if (status == RT_OK) (void)json_object_set_new(facts, "build", version_facts());
    if (status == RT_OK)
        status = add_machine(facts, cli->engine.linear, has_config ? &config : NULL);
    if (status == RT_OK) status = add_devices(facts);
    if (status == RT_OK && dir) status = add_model(facts, cli);
    if (facts && cli->json) {
        (void)json_dumpf(facts, stdout, JSON_INDENT(2));
        (void)putchar('\n');
    } else if (facts) {
        print_table(facts);
    }
    (void)fflush(stdout);
    json_decref(facts);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

const glm_command glm_cmd_doctor = {
        .name = "doctor",
        .usage = "doctor [-m DIR [--self-test]]",
        .summary = "what this machine offers, and what a checkpoint is",
        .details =
                "Says what the program was built with, and looks at cores, memory and cgroup limits, "
                "GPU driver, NCCL, MPI, io_uring and the cache's drive; nothing needs to be there. "
                "With -m also which GLM-4 variant the checkpoint is, every number the runtime would "
                "use, and the plan in short. Exit 4 when files of it are broken or do not belong together: a "
                "tokenizer with more ids than the model has rows, tensors that are not config.json's.\n"
                "\n"
                "--self-test runs six tokens through a GLM-4-9B-Chat-1M checkpoint and compares\n"
                "the last one's logits with published ones. Exit 1 when they differ, 2 when the\n"
                "checkpoint is another model.\n"
                "\n"
                "Examples:\n"
                "  glm1m doctor -m glm-4-9b-chat-1m\n"
                "  glm1m doctor -m glm-4-9b-chat-1m --self-test\n",
        .flags = "@engine json self-test",
        .run = run_doctor,
};
