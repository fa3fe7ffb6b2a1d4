/* Whichever allocation is refused while a prompt's choices part, each of them gets its answer or all of them one
 * error: nothing crashes, nothing leaks, and the next request is answered.
 *
 * Method: serve's scheduler, step by step, over the embedded model: a prompt with three choices is prefilled up to
 * its last item, which forks its session for the two others. That item is done once to count its allocations, then
 * once for each of them refused. The leaks are found by the address sanitizer's build. */
#include <inttypes.h>

#include "help_check.h"
#include "help_faults.h"
#include "help_needle.h"
#include "runtime/server/ask.h"
#include "runtime/server/schedule.h"

enum { CONTEXT = 1024, CHUNK = 128, N_CHOICES = 3, ANSWER = 4 };

static srv_options options;
static srv_scheduler *scheduler;

static void open_engine(const char *model) {
    static glm_config config;
    static glm_variant variant;
    static glm_tokenizer *tokenizer;
    const glm_options engine_options = {
            .model_dir = model, .device = "cpu", .max_len = CONTEXT, .chunk = CHUNK, .max_seqs = 4};
    help_require(glm_config_load(engine_options.model_dir, &config), "config");
    help_require(glm_tokenizer_load(engine_options.model_dir, &tokenizer), "tokenizer");
    options = (srv_options){
            .model_name = "model", .tokenizer = tokenizer, .config = &config, .variant = &variant};
    help_require(srv_scheduler_create(tokenizer, 4, &scheduler), "scheduler");
    help_require(glm_engine_open(&engine_options, &scheduler->engine), "engine");
    scheduler->plan = *glm_engine_plan(scheduler->engine);
    scheduler->context = CONTEXT;
    scheduler->state = SRV_READY;
}

static void close_engine(void) {
    srv_scheduler_stop(scheduler);
    srv_forget_prefixes(scheduler);
    glm_engine_close(scheduler->engine);
    srv_scheduler_free(scheduler);
    glm_tokenizer_free((glm_tokenizer *)(uintptr_t)options.tokenizer);
}

static srv_request *submit(void) {
    srv_error error = {0};
    json_t *body =
            json_pack("{s:s, s:i, s:i, s:i, s:b}", "prompt", "Three answers to one prompt, please.",
                    "n", N_CHOICES, "max_tokens", ANSWER, "temperature", 0, "ignore_eos", 1);
    srv_request *request = srv_ask_completion(body, &options, &error);
    CHECK(request && srv_scheduler_submit(scheduler, request, &error));
    json_decref(body);
    srv_admit(scheduler);
    CHECK(scheduler->n_running == N_CHOICES);
    return request;
}

/* Answer the prompt, where its last item of prefill has allocation fail_at refused: whether all went well. */
static bool answer(int64_t fail_at, int64_t *n_allocations) {
    srv_request *request = submit();
    const int32_t n_layers = glm_engine_config(scheduler->engine)->n_layers;
    for (int32_t i = 0; i < n_layers - 1; i++) CHECK(srv_prefill_item(scheduler));
    CHECK(request->phase == SRV_PREFILLING);
    faults_begin(fail_at, NULL);
    CHECK(srv_prefill_item(scheduler));
    faults_end();
    *n_allocations = atomic_load(&faults.n_allocations);
    CHECK(request->phase != SRV_PREFILLING);
    while (srv_decode_step(scheduler)) {
    }
    CHECK(request->phase == SRV_DONE && scheduler->n_running == 0);
    const bool is_answered = request->error.http == 0;
    for (int i = 0; i < N_CHOICES && is_answered; i++)
        CHECK(request->choices[i].n_generated == ANSWER &&
                request->choices[i].finish == SRV_FINISH_LENGTH);
    srv_request_drop(request);
    srv_forget_prefixes(scheduler);
    return is_answered;
}

int main(void) {
    int64_t n = 0;
    int64_t n_failed = 0;
    int64_t ignored = 0;
    open_engine(help_needle_model());
    CHECK(answer(FAULTS_NEVER, &n));
    CHECK(answer(FAULTS_NEVER, &n));
    for (int64_t i = 0; i < n; i++) n_failed += !answer(i, &ignored);
    CHECK(answer(FAULTS_NEVER, &ignored));
    (void)printf("%" PRId64 " allocations, %" PRId64 " of them needed\n", n, n_failed);
    CHECK(n_failed > 2 * (N_CHOICES - 1));
    close_engine();
    return 0;
}
