/* What would change an answer and is not there: it is refused by name, never passed over. Names that nobody
 * knows are passed over: clients send many that change nothing. */
#include <string.h>

#include "ask.h"
#include "runtime/base/log.h"

/* vLLM's names, llama.cpp's, transformers' and the older ones of OpenAI; `instead`: what has it here, or NULL. */
typedef struct absent {
    const char *name;
    const char *instead;
} absent;

static const char by_schema[] = "response_format of type json_schema binds an answer";
static const char by_max_tokens[] = "max_tokens is its name";
static const char by_echo[] = "echo with logprobs, of /v1/completions, has them";

static const absent absent_fields[] = {
        {"guided_json", by_schema},
        {"guided_regex", by_schema},
        {"guided_choice", by_schema},
        {"guided_grammar", by_schema},
        {"structured_outputs", by_schema},
        {"json_schema", by_schema},
        {"grammar", by_schema},
        {"functions", "tools has them"},
        {"function_call", "tool_choice has it"},
        {"audio", "answers are text"},
        {"web_search_options", NULL},
        {"mcp_servers", NULL},
        {"documents", "what the model is to read belongs into a message"},
        {"chat_template", NULL},
        {"enable_thinking", NULL},
        {"bad_words", NULL},
        {"allowed_token_ids", NULL},
        {"use_beam_search", NULL},
        {"logits_processors", NULL},
        {"include_stop_str_in_output", NULL},
        {"truncate_prompt_tokens", NULL},
        {"prompt_logprobs", by_echo},
        {"return_tokens_as_token_ids", NULL},
        {"return_token_ids", "/tokenize has a prompt's"},
        {"max_new_tokens", by_max_tokens},
        {"n_predict", by_max_tokens},
        {"extra_body", "its fields belong into the body itself"},
};

/* Numbers, and which of them changes nothing. */
static const struct {
    const char *name;
    double neutral;
} absent_numbers[] = {
        {"repeat_penalty", 1.0},
        {"no_repeat_ngram_size", 0.0},
        {"num_beams", 1.0},
        {"top_a", 0.0},
        {"tfs_z", 1.0},
        {"typical_p", 1.0},
        {"typ_p", 1.0},
        {"mirostat", 0.0},
        {"dynatemp_range", 0.0},
        {"dry_multiplier", 0.0},
        {"xtc_probability", 0.0},
};

/* How much a model may think, in all APIs' words. */
static const char *const efforts[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};

enum {
    N_EFFORTS = sizeof efforts / sizeof efforts[0],
    N_ABSENT_FIELDS = sizeof absent_fields / sizeof absent_fields[0],
    N_ABSENT_NUMBERS = sizeof absent_numbers / sizeof absent_numbers[0]
};

static bool is_empty(const json_t *value) {
    return (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

/* max_tokens under other names, too, as clients of several servers send it; -1 is no bound, in llama.cpp's words. */
static bool is_no_other_bound(const json_t *body, const json_t *value) {
    int64_t number = 0;
    int64_t bound = 0;
    if (!srv_is_whole(value, &number)) return false;
    return number == -1 ||
           (srv_is_whole(json_object_get(body, "max_tokens"), &bound) && number == bound);
}

/* By these an empty object asks, too: for any JSON, or for searches as the server likes. */
static bool is_request(const json_t *value, const char *name) {
    return json_is_object(value) &&
           (strcmp(name, "guided_json") == 0 || strcmp(name, "json_schema") == 0 ||
                   strcmp(name, "web_search_options") == 0);
}

/* function_call without functions, which are refused: no call, or one if there is something to call. */
static bool is_no_call(const json_t *value, const char *name) {
    const char *word = json_string_value(value);
    return word && strcmp(name, "function_call") == 0 &&
           (strcmp(word, "none") == 0 || strcmp(word, "auto") == 0);
}

/* As if it were not there. */
static bool is_nothing(const json_t *body, const absent *field) {
    const json_t *value = json_object_get(body, field->name);
    if (!value || json_is_null(value) || json_is_false(value)) return true;
    if (field->instead == by_max_tokens && is_no_other_bound(body, value)) return true;
    if (is_no_call(value, field->name)) return true;
    return is_empty(value) && !is_request(value, field->name);
}

static bool check_absent(const json_t *body, const absent *field, srv_error *error) {
    if (is_nothing(body, field)) return true;
    return srv_refuse_field(error, field->name, "%s is not supported%s%s", field->name,
            field->instead ? ": " : "", field->instead ? field->instead : "");
}

bool srv_check_no(const json_t *body, const char *name, const char *instead, srv_error *error) {
    return check_absent(body, &(absent){name, instead}, error);
}

/* An answer is text: any other is refused, also beside text. */
static bool check_modalities(const json_t *body, srv_error *error) {
    const json_t *list = json_object_get(body, "modalities");
    if (!list || json_is_null(list) || is_empty(list)) return true;
    const char *only = json_string_value(json_array_get(list, 0));
    if (json_array_size(list) == 1 && only && strcmp(only, "text") == 0) return true;
    return srv_refuse_field(
            error, "modalities", "modalities is not supported: leave it out, or [\"text\"]");
}

static bool is_word(const json_t *value, const char *word) {
    const char *text = json_string_value(value);
    return text && strcmp(text, word) == 0;
}

bool srv_check_verbosity(const json_t *object, srv_error *error) {
    const json_t *value = json_object_get(object, "verbosity");
    if (!value || json_is_null(value) || is_word(value, "medium")) return true;
    return srv_refuse_field(
            error, "verbosity", "verbosity is not supported: leave it out, or \"medium\"");
}

/* ---- thinking -------------------------------------------------------------------------------- */

/* How much a model may think before it answers: GLM-4, which thinks nothing, keeps to each bound. Clients send one to every
 * model, asked or not (Claude Code thinking and output_config.effort, proxies for it reasoning_effort), so that none is
 * refused whose words are known. */
static void note_bound(const char *name) {
    rt_log(RT_LOG_INFO, "serve", "%s changes nothing: how much is thought is not set here", name);
}

bool srv_check_effort(const json_t *value, const char *name, srv_error *error) {
    if (!value || json_is_null(value)) return true;
    for (int i = 0; i < N_EFFORTS; i++)
        if (is_word(value, efforts[i])) {
            if (i > 0) note_bound(name);
            return true;
        }
    return srv_refuse_field(
            error, name, "%s must be none, minimal, low, medium, high, xhigh or max", name);
}

/* Anthropic's and Zhipu's. */
static bool check_thinking(const json_t *body, srv_error *error) {
    const json_t *thinking = json_object_get(body, "thinking");
    const json_t *type = json_object_get(thinking, "type");
    if (!thinking || json_is_null(thinking) || is_word(type, "disabled")) return true;
    if (!is_word(type, "enabled") && !is_word(type, "adaptive"))
        return srv_refuse_field(error, "thinking",
                "thinking must be of type enabled or adaptive, or {\"type\": \"disabled\"}");
    note_bound("thinking");
    return true;
}

/* OpenRouter's: {"effort"}, {"max_tokens"} or {"enabled"}. */
static bool check_reasoning(const json_t *body, srv_error *error) {
    const json_t *reasoning = json_object_get(body, "reasoning");
    if (!reasoning || json_is_null(reasoning)) return true;
    if (!json_is_object(reasoning))
        return srv_refuse_field(error, "reasoning", "reasoning must be an object");
    return srv_check_effort(json_object_get(reasoning, "effort"), "reasoning.effort", error);
}

bool srv_check_absent(const json_t *body, srv_error *error) {
    bool skips_specials = true;
    for (int i = 0; i < N_ABSENT_FIELDS; i++)
        if (!check_absent(body, &absent_fields[i], error)) return false;
    for (int i = 0; i < N_ABSENT_NUMBERS; i++)
        if (!srv_require_neutral(body, absent_numbers[i].name, absent_numbers[i].neutral, error))
            return false;
    if (!srv_check_effort(json_object_get(body, "reasoning_effort"), "reasoning_effort", error) ||
            !check_thinking(body, error) || !check_reasoning(body, error) ||
            !srv_check_verbosity(body, error) || !check_modalities(body, error))
        return false;
    if (!srv_get_bool(body, "skip_special_tokens", &skips_specials, error)) return false;
    return skips_specials || srv_refuse_field(error, "skip_special_tokens",
                                     "skip_special_tokens: answers are without special tokens");
}
