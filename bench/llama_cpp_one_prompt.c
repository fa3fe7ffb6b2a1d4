/* help_one_prompt.h's job by llama.cpp; beside_llama_cpp.sh compiles and links it with llama.cpp.
 * --variant: "fa" or "no-fa", with or without flash attention; default: its own choice.
 * --kv: f16 (its default), bf16, f32 or q8_0. --chunk: its micro-batch (-ub), default 512. */
#include <llama.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_one_prompt.h"

enum { BATCH = 2048 }; /* tokens of one call, its default; it cuts them into micro-batches */

static struct llama_model *model;
static struct llama_context *context;

static void fail(const char *what, const char *text) {
    (void)fprintf(stderr, "llama_cpp_one_prompt: %s%s\n", what, text);
    exit(1);
}

static void log_warnings(enum ggml_log_level level, const char *text, void *unused) {
    (void)unused;
    if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) (void)fputs(text, stderr);
}

static enum ggml_type type_by_name(const char *name) {
    if (!name || strcmp(name, "f16") == 0) return GGML_TYPE_F16;
    if (strcmp(name, "bf16") == 0) return GGML_TYPE_BF16;
    if (strcmp(name, "f32") == 0) return GGML_TYPE_F32;
    if (strcmp(name, "q8_0") == 0) return GGML_TYPE_Q8_0;
    fail("--kv is f16, bf16, f32 or q8_0, not ", name);
    return GGML_TYPE_F16;
}

static enum llama_flash_attn_type flash_by_name(const char *name) {
    if (!name) return LLAMA_FLASH_ATTN_TYPE_AUTO;
    if (strcmp(name, "fa") == 0) return LLAMA_FLASH_ATTN_TYPE_ENABLED;
    if (strcmp(name, "no-fa") == 0) return LLAMA_FLASH_ATTN_TYPE_DISABLED;
    fail("--variant is fa or no-fa, not ", name);
    return LLAMA_FLASH_ATTN_TYPE_AUTO;
}

static void open_model(const one_prompt *job, int64_t n_tokens_max) {
    llama_log_set(log_warnings, NULL);
    llama_backend_init();
    model = llama_model_load_from_file(job->model, llama_model_default_params());
    if (!model) fail("cannot load ", job->model);
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)n_tokens_max;
    params.n_batch = job->chunk > BATCH ? (uint32_t)job->chunk : BATCH;
    params.n_ubatch = job->chunk > 0 ? (uint32_t)job->chunk : params.n_ubatch;
    params.n_threads = params.n_threads_batch = job->n_threads;
    params.flash_attn_type = flash_by_name(job->variant);
    params.type_k = params.type_v = type_by_name(job->kv);
    context = llama_init_from_model(model, params);
    if (!context) fail("no context for ", job->model);
}

static void process(const int32_t *ids, int64_t n) {
    /* It takes them not const, and leaves them as they are. */
    const struct llama_batch batch = llama_batch_get_one((int32_t *)(uintptr_t)ids, (int32_t)n);
    if (llama_decode(context, batch) != 0) fail("llama_decode", " failed");
    llama_synchronize(context);
}

static void prefill(const int32_t *ids, int64_t n) {
    const int64_t batch = llama_n_batch(context);
    for (int64_t done = 0; done < n; done += batch)
        process(ids + done, n - done < batch ? n - done : batch);
}

static void decode(int32_t id) {
    process(&id, 1);
}

static void cut(int64_t n_tokens) {
    if (!llama_memory_seq_rm(llama_get_memory(context), 0, (llama_pos)n_tokens, -1))
        fail("cannot cut", "");
}

static const float *logits(void) {
    return llama_get_logits_ith(context, -1);
}

static int64_t restore(const one_prompt *job, const int32_t *ids) {
    (void)ids; /* the file has them, too */
    llama_token *found = malloc((size_t)job->n_kept * sizeof *found);
    size_t n = 0;
    if (!found || access(job->kept_in, R_OK) != 0 ||
            llama_state_seq_load_file(context, job->kept_in, 0, found, (size_t)job->n_kept, &n) ==
                    0)
        n = 0;
    free(found);
    return (int64_t)n;
}

static void keep(const one_prompt *job, const int32_t *ids) {
    if (llama_state_seq_save_file(context, job->kept_in, 0, ids, (size_t)job->n_kept) == 0)
        fail("cannot keep ", job->kept_in);
}

static int32_t vocab(void) {
    return llama_vocab_n_tokens(llama_model_get_vocab(model));
}

int main(int argc, char **argv) {
    const one_prompt job = one_prompt_parse(argc, argv, "llama_cpp_one_prompt");
    one_prompt_run(&job,
            &(one_prompt_runtime){open_model, prefill, decode, cut, logits, restore, keep, vocab});
    llama_free(context);
    llama_model_free(model);
    llama_backend_free();
    return 0;
}
