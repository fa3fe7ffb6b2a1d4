/* Whichever allocation is refused while a body is read, it becomes the request that it asks for, or is refused for want of
 * memory: never another request, with a tool, a message or a stop text less. Nothing crashes, nothing leaks.
 *
 * Method: each body is read once to count its allocations, then once for each of them refused. The leaks are found by
 * the address sanitizer's build. */
#include <inttypes.h>
#include <string.h>

#include "help_check.h"
#include "help_faults.h"
#include "help_needle.h"
#include "runtime/server/ask.h"

typedef srv_request *asker(const json_t *body, const srv_options *options, srv_error *error);

static const struct {
    asker *ask;
    const char *body;
} cases[] = {
        {srv_ask_chat,
                "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"content\": "
                "[{\"type\": \"text\", \"text\": \"How is \"}, {\"type\": \"text\", \"text\": \"the weather?\"}]}, "
                "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"1\", \"type\": \"function\", "
                "\"function\": {\"name\": \"get\", \"arguments\": {\"city\": \"Paris\", \"days\": [1, 2]}}}]}, "
                "{\"role\": \"tool\", \"tool_call_id\": \"1\", \"content\": \"rain\"}], "
                "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"get\", \"description\": \"Gets.\", "
                "\"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}}}}}, "
                "{\"type\": \"function\", \"function\": {\"name\": \"put\"}}], "
                "\"tool_choice\": {\"type\": \"function\", \"function\": {\"name\": \"put\"}}, "
                "\"stop\": [\"a\", \"\", \"b\"], \"max_tokens\": 4.0, \"seed\": -1}"},
        {srv_ask_messages,
                "{\"system\": [{\"type\": \"text\", \"text\": \"Be brief.\"}], \"messages\": [{\"role\": \"user\", "
                "\"content\": [{\"type\": \"text\", \"text\": \"Well\"}, {\"type\": \"text\", \"text\": \"?\"}]}, "
                "{\"role\": \"assistant\", \"content\": [{\"type\": \"thinking\", \"thinking\": \"x\"}, "
                "{\"type\": \"text\", \"text\": \"One\"}, {\"type\": \"text\", \"text\": \" moment.\"}, "
                "{\"type\": \"tool_use\", \"id\": \"1\", \"name\": \"get\", \"input\": {\"city\": \"Paris\"}}]}, "
                "{\"role\": \"user\", \"content\": [{\"type\": \"tool_result\", \"tool_use_id\": \"1\", "
                "\"content\": [{\"type\": \"text\", \"text\": \"rain\"}]}]}], "
                "\"tools\": [{\"name\": \"get\", \"description\": \"Gets.\", \"input_schema\": {\"type\": \"object\", "
                "\"properties\": {\"city\": {\"type\": \"string\"}}}}, {\"name\": \"put\", \"strict\": true, "
                "\"input_schema\": {\"type\": \"object\", \"properties\": {}, \"additionalProperties\": false}}], "
                "\"tool_choice\": {\"type\": \"any\"}, \"thinking\": {\"type\": \"adaptive\"}, "
                "\"stop_sequences\": [\"a\", \"b\"], \"max_tokens\": 4}"},
        {srv_ask_completion,
                "{\"prompt\": [\"one\", [9, 8.0, 7], \"three\"], \"n\": 2, \"stop\": \"x\", \"response_format\": "
                "{\"type\": \"json_schema\", \"json_schema\": {\"name\": \"s\", \"schema\": {\"type\": \"object\", "
                "\"properties\": {\"a\": {\"enum\": [1, \"b\"]}}, \"required\": [\"a\"]}}}}"},
};

static srv_options options;

static srv_request *ask(size_t k, int64_t fail_at, srv_error *error) {
    const char *text = cases[k].body;
    *error = (srv_error){0};
    faults_begin(fail_at, NULL);
    json_t *body = srv_json_read(text, (int64_t)strlen(text), error);
    srv_request *request = body ? cases[k].ask(body, &options, error) : NULL;
    json_decref(body);
    faults_end();
    return request;
}

static bool is_same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool are_same_tools(const glm_tools *a, const glm_tools *b) {
    if (!a || !b) return a == b;
    bool are_same = a->n_tools == b->n_tools;
    for (int64_t i = 0; are_same && i < a->n_tools; i++)
        are_same = is_same_text(a->tools[i].name, b->tools[i].name) &&
                   a->tools[i].is_strict == b->tools[i].is_strict &&
                   !a->tools[i].schema == !b->tools[i].schema;
    return are_same;
}

static bool is_same(srv_request *one, srv_request *other) {
    const srv_settings *a = &one->settings;
    const srv_settings *b = &other->settings;
    bool same = one->n_parts == other->n_parts && a->n_stop == b->n_stop && a->form == b->form &&
                a->max_tokens == b->max_tokens && a->n_choices == b->n_choices &&
                !a->schema == !b->schema && is_same_text(a->forced_call, b->forced_call) &&
                are_same_tools(a->tools, b->tools);
    for (int i = 0; same && i < a->n_stop; i++) same = is_same_text(a->stop[i], b->stop[i]);
    for (int i = 0; same && i <= one->n_parts; i++) {
        const glm_ids *p = &srv_request_prompt(one, i)->prompt;
        const glm_ids *q = &srv_request_prompt(other, i)->prompt;
        same = p->n == q->n && memcmp(p->ids, q->ids, (size_t)p->n * sizeof p->ids[0]) == 0;
    }
    return same;
}

static void check_case(size_t k) {
    srv_error error;
    srv_request *whole = ask(k, FAULTS_NEVER, &error);
    const int64_t n = atomic_load(&faults.n_allocations);
    int64_t n_refused = 0;
    int64_t n_wrong = 0;
    if (!whole) (void)fprintf(stderr, "case %zu: %s\n", k, error.message);
    CHECK(whole);
    for (int64_t i = 0; i < n; i++) {
        srv_request *request = ask(k, i, &error);
        const bool is_right = request ? is_same(request, whole) : error.http == 503;
        if (!is_right)
            (void)fprintf(stderr, "case %zu, allocation %" PRId64 " of %" PRId64 ": %d %s\n", k, i,
                    n, error.http, request ? "another request" : error.message);
        n_wrong += !is_right;
        n_refused += !request;
        srv_request_drop(request);
    }
    (void)printf(
            "case %zu: %" PRId64 " allocations, %" PRId64 " of them needed\n", k, n, n_refused);
    CHECK(n_wrong == 0 && n_refused > n / 2);
    srv_request_drop(whole);
}

int main(void) {
    const char *model = help_needle_model();
    static glm_config config;
    static glm_variant variant;
    glm_tokenizer *tokenizer = NULL;
    help_require(glm_config_load(model, &config), "config");
    help_require(glm_tokenizer_load(model, &tokenizer), "tokenizer");
    options = (srv_options){
            .model_name = "model", .tokenizer = tokenizer, .config = &config, .variant = &variant};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) check_case(k);
    glm_tokenizer_free(tokenizer);
    return 0;
}
