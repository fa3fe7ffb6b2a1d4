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
#include "help_scheduler.h"

enum { CONTEXT = 1024, CHUNK = 128, N_CHOICES = 3, ANSWER = 4 };

static srv_scheduler *scheduler;

static srv_request *submit(void) {
    srv_request *request = help_scheduler_ask(scheduler,
            json_pack("{s:s, s:i, s:i, s:i, s:b}", "prompt", "Three answers to one prompt, please.",
                    "n", N_CHOICES, "max_tokens", ANSWER, "temperature", 0, "ignore_eos", 1));
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
    while (srv_decode_steps(scheduler)) {
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
    const glm_options options = {.model_dir = help_needle_model(),
            .device = "cpu",
            .linear = "own", /* oneDNN's C++ aborts */
            .max_len = CONTEXT,
            .chunk = CHUNK,
            .max_seqs = 4};
    int64_t n = 0;
    int64_t n_failed = 0;
    int64_t ignored = 0;
    scheduler = help_scheduler_open(&options);
    CHECK(answer(FAULTS_NEVER, &n));
    CHECK(answer(FAULTS_NEVER, &n));
    for (int64_t i = 0; i < n; i++) n_failed += !answer(i, &ignored);
    CHECK(answer(FAULTS_NEVER, &ignored));
    (void)printf("%" PRId64 " allocations, %" PRId64 " of them needed\n", n, n_failed);
    CHECK(n_failed > 2 * (N_CHOICES - 1));
    help_scheduler_close(scheduler);
    return 0;
}
