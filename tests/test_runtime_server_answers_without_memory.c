/* Whichever allocation is refused while an answer is written, it is the whole answer, or there is none: never one with a
 * choice, a call or a score less. Nothing crashes, nothing leaks.
 *
 * Method: answers of two choices, with text, calls and scores, are written by each API, whole and as a stream, once to
 * count the allocations, then once for each of them refused. The leaks are found by the address sanitizer's build. */
#include <inttypes.h>
#include <string.h>

#include "help_check.h"
#include "help_faults.h"
#include "help_needle.h"
#include "runtime/json_file.h"
#include "runtime/server/stream.h"

static glm_tokenizer *tokenizer;

static void add(srv_choice *choice, srv_event_kind kind, const char *text) {
    help_require(srv_choice_add(choice, kind, text, (int64_t)strlen(text)), "a choice");
}

static void fill(srv_request *request, srv_choice *choice, int32_t id) {
    const srv_token token = {.id = id,
            .logprob = -0.5F,
            .n_top = 2,
            .top_ids = {id, id + 1},
            .top_logprobs = {-0.5F, -1.5F}};
    help_require(srv_choice_add_token(choice, &token), "a token");
    add(choice, SRV_EVENT_TEXT, "Some ");
    help_require(srv_choice_add_token(choice, &token), "a token");
    add(choice, SRV_EVENT_TEXT, "text");
    if (request->api != SRV_COMPLETION) {
        add(choice, SRV_EVENT_CALL, "get");
        add(choice, SRV_EVENT_ARGUMENTS, "{\"city\": \"Paris\"}");
        add(choice, SRV_EVENT_CALL, "put");
    }
    choice->n_generated = 2;
    choice->finish = SRV_FINISH_STOP;
}

static srv_request *make(srv_api api) {
    srv_request *request = NULL;
    help_require(srv_request_create(api, &request), "a request");
    help_require(glm_ids_push(&request->prompt, 7), "a prompt");
    request->settings.n_choices = api >= SRV_MESSAGES ? 1 : 2;
    request->settings.has_logprobs = api < SRV_MESSAGES;
    request->settings.n_top = 2;
    request->settings.has_usage = request->settings.has_running_usage = true;
    for (int i = 0; i < request->settings.n_choices; i++)
        fill(request, &request->choices[i], 40 + i);
    request->submitted_s = request->progress.started_s = 1.0;
    request->first_token_s = request->done_s = 2.0;
    request->phase = SRV_DONE;
    return request;
}

/* ---- two ways to write it; each gives its text, or NULL -------------------------------------- */

static char *write_whole(srv_request *request) {
    json_t *value = srv_answer_json(request, "model", tokenizer);
    char *text = glm_json_dumps(value, 0);
    json_decref(value);
    return text;
}

static char *write_stream(srv_request *request) {
    static const srv_format *const formats[] = {
            &srv_format_chat, &srv_format_completion, &srv_format_messages, &srv_format_responses};
    const srv_format *format = formats[request->api];
    srv_stream stream = {.whole = request,
            .request = request,
            .format = format,
            .model_name = "model",
            .tokenizer = tokenizer,
            .block_index = -1};
    for (int i = 0; i < SRV_CHOICES_MAX; i++) stream.choices[i].call_index = -1;
    rt_status status = format->begin(&stream);
    for (int i = 0; i < request->settings.n_choices; i++)
        for (int64_t k = 0; k < request->choices[i].n_events && status == RT_OK; k++)
            status = format->event(&stream, i, &request->choices[i].events[k]);
    if (status == RT_OK) status = format->progress(&stream);
    if (status == RT_OK) status = format->end(&stream);
    for (int i = 0; i < SRV_CHOICES_MAX; i++) json_decref(stream.choices[i].logprobs);
    if (status == RT_OK) return stream.out.bytes;
    free(stream.out.bytes);
    return NULL;
}

/* ---- each allocation refused ----------------------------------------------------------------- */

typedef char *writer(srv_request *request);

static char *write_at(writer *write, srv_request *request, int64_t fail_at) {
    faults_begin(fail_at, NULL);
    char *text = write(request);
    faults_end();
    return text;
}

static void check_writer(const char *name, writer *write, srv_request *request) {
    char *whole = write_at(write, request, FAULTS_NEVER);
    const int64_t n = atomic_load(&faults.n_allocations);
    int64_t n_none = 0;
    int64_t n_other = 0;
    CHECK(whole);
    for (int64_t i = 0; i < n; i++) {
        char *text = write_at(write, request, i);
        n_none += !text;
        n_other += text && strcmp(text, whole) != 0;
        if (text && strcmp(text, whole) != 0)
            (void)fprintf(
                    stderr, "%s, allocation %" PRId64 " of %" PRId64 ": %s\n", name, i, n, text);
        free(text);
    }
    (void)printf("%s: %" PRId64 " allocations, %" PRId64 " of them needed\n", name, n, n_none);
    CHECK(n_other == 0 && n_none > n / 2);
    free(whole);
}

int main(void) {
    static const char *const names[] = {"chat", "completion", "messages", "responses"};
    help_require(glm_tokenizer_load(help_needle_model(), &tokenizer), "tokenizer");
    for (int api = SRV_CHAT; api <= SRV_RESPONSES; api++) {
        srv_request *request = make((srv_api)api);
        check_writer(names[api], write_whole, request);
        check_writer(names[api], write_stream, request);
        srv_request_drop(request);
    }
    glm_tokenizer_free(tokenizer);
    return 0;
}
