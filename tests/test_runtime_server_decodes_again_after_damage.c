/* What an answer lost on disk is computed again, also where that is found beside another prompt's prefill, which gives
 * way: both answers are the ones without damage.
 *
 * Method: serve's scheduler, step by step, over the embedded model with fp8 pages, of which a step that failed takes
 * rows with it: one answer is decoded to where the next step fills a page; then a piece of another prompt is begun,
 * and the last layer of what the first one streams is spoiled. */
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_kv_vault.h"
#include "help_needle.h"
#include "help_scheduler.h"

enum {
    CONTEXT = 6000,
    CHUNK = 512,
    PROMPT = 4250,
    PAGE = 128,
    ANSWER = 100,
    ANSWER_BESIDE = 5,
    TEXT_BYTES = 512
};

static srv_scheduler *scheduler;

/* A prompt of words, none of them twice, and then its beginning, which the model goes on with. */
static srv_request *submit(const char *name, int64_t n_answer) {
    char prompt[PROMPT + TEXT_BYTES];
    size_t n = 0;
    for (int64_t i = 1; n < PROMPT; i++)
        n += (size_t)snprintf(prompt + n, sizeof prompt - n, "%s %lld sees %lld. ", name,
                (long long)(i * i * 7919), (long long)(i * i * 104729));
    (void)snprintf(prompt + PROMPT, sizeof prompt - PROMPT, ". %.40s", prompt);
    return help_scheduler_ask(
            scheduler, json_pack("{s:s, s:I, s:i, s:b}", "prompt", prompt, "max_tokens",
                               (json_int_t)n_answer, "temperature", 0, "ignore_eos", 1));
}

static srv_sequence *sequence_of(const srv_request *request) {
    for (int32_t i = 0; i < scheduler->n_running; i++)
        if (scheduler->running[i]->request == request) return scheduler->running[i];
    return NULL;
}

/* However long the last item of a prefill took. */
static void one_step(void) {
    scheduler->item_s = 0.0;
    CHECK(srv_decode_steps(scheduler));
}

typedef struct answers {
    char text[2][2 * ANSWER];
} answers;

static void take(srv_request *request, char *text) {
    const srv_choice *choice = &request->choices[0];
    CHECK(request->phase == SRV_DONE && request->error.http == 0 && choice->text.n > 0);
    (void)snprintf(text, 2 * ANSWER, "%.*s", (int)choice->text.n, choice->text.bytes);
    srv_request_drop(request);
}

static answers ask_both(const char *model, bool is_damaged) {
    const char *const dirs[] = {help_dir()};
    const glm_options options = {.model_dir = model,
            .device = "cpu",
            .kv_dtype = "fp8",
            .max_len = CONTEXT,
            .chunk = CHUNK,
            .host_kv_bytes = INT64_C(16) << 20, /* a window, and the last rows */
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1,
            .persists = true,
            .max_seqs = 2};
    answers both;
    scheduler = help_scheduler_open(&options);
    srv_request *first = submit("Anna", ANSWER);
    const srv_sequence *sequence = sequence_of(first);
    CHECK(sequence);
    while (!sequence->is_decoding) CHECK(srv_prefill_item(scheduler));
    while (glm_session_length(sequence->session) % PAGE != PAGE - 1) one_step();
    const int64_t length = glm_session_length(sequence->session);
    srv_request *second = submit("Lucia", ANSWER_BESIDE);
    CHECK(srv_prefill_item(scheduler) && scheduler->piece_of == sequence_of(second));
    if (is_damaged) kvh_spoil_last_layers(kvh_only_file(dirs[0], ".kvs"));
    one_step();
    CHECK(glm_session_length(sequence->session) == length + 1);
    CHECK((scheduler->piece_of == NULL) == is_damaged);
    while (scheduler->n_running > 0) {
        (void)srv_decode_steps(scheduler);
        (void)srv_prefill_item(scheduler);
    }
    take(first, both.text[0]);
    take(second, both.text[1]);
    help_scheduler_close(scheduler);
    return both;
}

int main(void) {
    const char *model = help_needle_model();
    const answers want = ask_both(model, false);
    const answers got = ask_both(model, true);
    for (int i = 0; i < 2; i++) {
        printf("%s\n", got.text[i]);
        CHECK(strcmp(got.text[i], want.text[i]) == 0);
    }
    return 0;
}
