/* Bodies of /v1/chat/completions and /v1/completions. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "limits.h"
#include "runtime/base/memory.h"
#include "runtime/json_file.h"

enum { WHERE_BYTES = 64 };

/* ---- messages -------------------------------------------------------------------------------- */

/* "system", "developer", ... -> the role; false: none of them. */
static bool find_role(const char *name, glm_chat_role *role) {
    static const struct {
        const char *name;
        glm_chat_role role;
    } roles[] = {{"system", GLM_CHAT_SYSTEM}, {"developer", GLM_CHAT_SYSTEM},
            {"user", GLM_CHAT_USER}, {"assistant", GLM_CHAT_ASSISTANT},
            {"tool", GLM_CHAT_OBSERVATION}, {"function", GLM_CHAT_OBSERVATION}};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(name, roles[i].name) == 0) {
            *role = roles[i].role;
            return true;
        }
    return false;
}

/* {"name", "arguments"}: a string, or the object itself, as LangChain's older messages have it. */
static bool read_call(srv_conversation *conversation, const json_t *function, const char *where,
        glm_tool_call *call, srv_error *error) {
    const char *name = NULL;
    const char *arguments = "";
    const json_t *object = json_object_get(function, "arguments");
    if (!json_is_object(function))
        return srv_refuse_field(error, where, "%s: a tool call has an object, function", where);
    if (!srv_get_text(function, "name", &name, error)) return false;
    if (json_is_object(object))
        arguments = srv_conversation_own(conversation, glm_json_dumps(object, 0));
    else if (!srv_get_text(function, "arguments", &arguments, error))
        return false;
    if (!arguments) return srv_refuse_status(error, RT_ENOMEM, NULL);
    if (!name || !name[0])
        return srv_refuse_field(error, where, "%s: a tool call names its function", where);
    *call = (glm_tool_call){.name = name, .arguments = arguments, .arguments_bytes = -1};
    return true;
}

/* tool_calls; function_call is its older name, for one. */
static bool read_calls(srv_conversation *conversation, const json_t *value, const char *where,
        glm_message *message, srv_error *error) {
    const json_t *list = json_object_get(value, "tool_calls");
    const json_t *one = json_object_get(value, "function_call");
    const size_t n = json_array_size(list);
    const size_t n_all = n + (one && !json_is_null(one));
    if (list && !json_is_null(list) && !json_is_array(list))
        return srv_refuse_field(error, where, "%s: tool_calls must be an array", where);
    if (n_all == 0) return true;
    if (message->role != GLM_CHAT_ASSISTANT)
        return srv_refuse_field(error, where, "%s: only an assistant's message has calls", where);
    glm_tool_call *calls = srv_conversation_own(conversation, calloc(n_all, sizeof *calls));
    if (!calls) return srv_refuse_status(error, RT_ENOMEM, NULL);
    for (size_t i = 0; i < n_all; i++) {
        const json_t *function = i < n ? json_object_get(json_array_get(list, i), "function") : one;
        if (!read_call(conversation, function, where, &calls[i], error)) return false;
    }
    message->calls = calls;
    message->n_calls = (int64_t)n_all;
    return true;
}

/* An assistant may have said nothing, and a tool returned nothing; who asks does say something. */
static bool check_content(
        const json_t *content, glm_chat_role role, const char *where, srv_error *error) {
    if (content && !json_is_null(content)) return true;
    return role == GLM_CHAT_ASSISTANT || role == GLM_CHAT_OBSERVATION ||
           srv_refuse_field(error, where, "%s has no content", where);
}

static bool read_message(
        srv_conversation *conversation, const json_t *value, size_t index, srv_error *error) {
    char where[WHERE_BYTES];
    const char *name = NULL;
    glm_chat_role role = GLM_CHAT_USER;
    const char *name_given = json_string_value(json_array_get(conversation->names, index));
    if (name_given)
        (void)snprintf(where, sizeof where, "%s", name_given);
    else
        (void)snprintf(where, sizeof where, "messages[%zu]", index);
    if (!json_is_object(value))
        return srv_refuse_field(error, where, "%s must be an object", where);
    if (!srv_get_text(value, "role", &name, error)) return false;
    if (!name || !find_role(name, &role))
        return srv_refuse_field(error, where,
                "%s: role is \"%.40s\": system, user, assistant or tool are known", where,
                name ? name : "");
    glm_message *message = srv_conversation_add(conversation, role);
    if (!message) return srv_refuse_status(error, RT_ENOMEM, NULL);
    const json_t *audio = json_object_get(value, "audio");
    const json_t *content = json_object_get(value, "content");
    if (audio && !json_is_null(audio))
        return srv_refuse_field(error, where, "%s: audio is not read here, only text", where);
    if (!content || json_is_null(content)) content = json_object_get(value, "refusal");
    return check_content(content, role, where, error) &&
           srv_conversation_content(conversation, content, where, message, error) &&
           read_calls(conversation, value, where, message, error);
}

/* A word, or {"type": a word}, of which any is Mistral's and Anthropic's for required; or {"function": {"name"}}. */
static bool read_tool_choice(
        srv_conversation *conversation, const json_t *choice, srv_error *error) {
    const char *name = NULL;
    if (!choice || json_is_null(choice)) return true;
    const json_t *function = json_object_get(choice, "function");
    if (!function && json_object_size(choice) == 1) choice = json_object_get(choice, "type");
    if (json_is_string(choice)) {
        const char *word = json_string_value(choice);
        if (strcmp(word, "auto") == 0) return true;
        if (strcmp(word, "required") == 0 || strcmp(word, "any") == 0)
            return srv_conversation_require(conversation, error);
        if (strcmp(word, "none") != 0)
            return srv_refuse_field(error, "tool_choice",
                    "tool_choice \"%.40s\": auto, none, required, or an object that names a "
                    "function",
                    word);
        srv_conversation_forget_tools(conversation);
        return true;
    }
    if (!json_is_object(function) || !srv_get_text(function, "name", &name, error) || !name)
        return srv_refuse_field(error, "tool_choice",
                "tool_choice must name a function, or be auto, none or required");
    return srv_conversation_force(conversation, name, error);
}

static bool read_parallel(const json_t *body, srv_conversation *conversation, srv_error *error) {
    bool is_parallel = true;
    if (!srv_get_bool(body, "parallel_tool_calls", &is_parallel, error)) return false;
    conversation->calls_once = !is_parallel;
    return true;
}

/* The last message is to be gone on with only where the client says so. */
static bool read_continuation(
        const json_t *body, srv_conversation *conversation, srv_error *error) {
    bool goes_on = false;
    bool begins = true;
    bool echoes = false;
    if (!srv_get_bool(body, "continue_final_message", &goes_on, error) ||
            !srv_get_bool(body, "add_generation_prompt", &begins, error) ||
            !srv_get_bool(body, "echo", &echoes, error))
        return false;
    const glm_message *last = &conversation->messages[conversation->n_messages - 1];
    if (goes_on && last->role != GLM_CHAT_ASSISTANT)
        return srv_refuse_field(error, "continue_final_message",
                "continue_final_message: the last message is not the assistant's");
    if (!goes_on && !begins)
        return srv_refuse_field(error, "add_generation_prompt",
                "add_generation_prompt: false goes with continue_final_message only");
    if (echoes) return srv_refuse_field(error, "echo", "echo is of /v1/completions");
    conversation->goes_on = goes_on && srv_message_says(last);
    return true;
}

bool srv_read_chat(const json_t *body, srv_conversation *conversation, srv_error *error) {
    const json_t *messages = srv_messages_of(body, error);
    if (!messages) return false;
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!read_message(conversation, json_array_get(messages, i), i, error)) return false;
    return srv_conversation_tools(conversation, json_object_get(body, "tools"), error) &&
           read_tool_choice(conversation, json_object_get(body, "tool_choice"), error) &&
           read_parallel(body, conversation, error) && read_continuation(body, conversation, error);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool read_chat_logprobs(const json_t *body, srv_settings *settings, srv_error *error) {
    int64_t n_top = 0;
    if (!srv_get_bool(body, "logprobs", &settings->has_logprobs, error) ||
            !srv_get_int(body, "top_logprobs", 0, srv_limit_of(SRV_TOP_LOGPROBS), &n_top, error))
        return false;
    if (n_top > 0 && !settings->has_logprobs)
        return srv_refuse_field(error, "top_logprobs", "top_logprobs needs logprobs: true");
    settings->n_top = (int)n_top;
    return true;
}

static bool fill_chat(
        srv_request *request, const json_t *body, const srv_options *options, srv_error *error) {
    srv_conversation conversation = {0};
    const bool is_right = srv_check_model(body, options, error) &&
                          srv_read_settings(body, options, &request->settings, error) &&
                          read_chat_logprobs(body, &request->settings, error) &&
                          srv_read_chat(body, &conversation, error) &&
                          srv_conversation_hand_over(&conversation, options, request, error);
    srv_conversation_free(&conversation);
    return is_right;
}

srv_request *srv_ask_chat(const json_t *body, const srv_options *options, srv_error *error) {
    return srv_ask(SRV_CHAT, fill_chat, body, options, error);
}

/* One prompt: a text, ids, or an array that holds one of either; of several, srv_ask_completion makes a request each.
 * [gMASK]<sop> goes in front unless it is there, but not in front of ids that are to be echoed: who asks for their
 * logprobs counts them. */
static bool read_prompt(
        srv_request *request, const json_t *body, const srv_options *options, srv_error *error) {
    const json_t *prompt = json_object_get(body, "prompt");
    const json_t *first = json_array_get(prompt, 0);
    if (json_is_string(first) || json_is_array(first)) prompt = first;
    if (!json_is_string(prompt) && !json_is_array(prompt))
        return srv_refuse_field(error, "prompt",
                "prompt must be a string, an array of ids, or an array of several of either");
    bool begins = json_is_string(prompt) || !request->settings.echoes;
    if (!srv_get_bool(body, "add_special_tokens", &begins, error)) return false;
    if (!srv_read_ids(prompt, "prompt", options, begins, &request->prompt, error)) return false;
    return request->prompt.n > 0 || srv_refuse_field(error, "prompt", "prompt is empty");
}

/* The memory that a prompt's logprobs take is bounded. */
static bool check_judged(const srv_request *request, srv_error *error) {
    const int64_t most = srv_limit_of(SRV_ECHO_TOKENS);
    if (!srv_request_judges_prompt(request) || request->prompt.n <= most) return true;
    return srv_refuse_field(error, "echo",
            "the prompt has %" PRId64 " tokens; logprobs are echoed of %" PRId64
            " at most: glm1m perplexity has them of any length",
            request->prompt.n, most);
}

/* How many alternatives of each token; true says no number. */
static bool read_logprobs(const json_t *body, srv_settings *settings, srv_error *error) {
    const json_t *value = json_object_get(body, "logprobs");
    const int64_t most = srv_limit_of(SRV_TOP_LOGPROBS);
    int64_t n_top = -1;
    if (json_is_true(value))
        return srv_refuse_field(error, "logprobs",
                "logprobs is true: here it is a number of alternatives, 0 to %" PRId64, most);
    if (!json_is_false(value) && !srv_get_int(body, "logprobs", 0, most, &n_top, error))
        return false;
    settings->has_logprobs = n_top >= 0;
    settings->n_top = n_top > 0 ? (int)n_top : 0;
    return true;
}

static bool fill_completion(
        srv_request *request, const json_t *body, const srv_options *options, srv_error *error) {
    srv_settings *settings = &request->settings;
    const char *suffix = "";
    if (!srv_get_bool(body, "echo", &settings->echoes, error) ||
            !srv_check_model(body, options, error) ||
            !srv_read_settings(body, options, settings, error) ||
            !read_logprobs(body, settings, error) || !srv_get_text(body, "suffix", &suffix, error))
        return false;
    if (settings->echoes && settings->n_choices > 1)
        return srv_refuse_field(
                error, "echo", "echo is for one answer: n is %d", settings->n_choices);
    if (suffix[0]) return srv_refuse_field(error, "suffix", "suffix is not supported");
    return read_prompt(request, body, options, error) && check_judged(request, error);
}

/* ---- several prompts ------------------------------------------------------------------------- */

/* A request for prompt i, as if it were the body's only one. */
static srv_request *ask_prompt(
        const json_t *body, size_t i, const srv_options *options, srv_error *error) {
    json_t *prompt = json_array_get(json_object_get(body, "prompt"), i);
    if (!json_is_string(prompt) && !json_is_array(prompt)) {
        (void)srv_refuse_field(error, "prompt", "prompt must be a string, or an array of ids");
        return NULL;
    }
    json_t *alone = json_copy((json_t *)(uintptr_t)body);
    srv_request *request = NULL;
    const bool is_whole =
            json_object_size(alone) == json_object_size(body); /* jansson does not say */
    if (is_whole && json_object_set_new(alone, "prompt", json_pack("[O]", prompt)) == 0)
        request = srv_ask(SRV_COMPLETION, fill_completion, alone, options, error);
    else
        (void)srv_refuse_status(error, RT_ENOMEM, NULL);
    json_decref(alone);
    return request;
}

/* Add requests for the first n - 1 prompts, as parts of `whole`, which is that for the last one. */
static bool add_parts(srv_request *whole, const json_t *body, size_t n, const srv_options *options,
        srv_error *error) {
    if (rt_calloc((int64_t)n, sizeof(srv_request *), "prompts", &whole->parts) != RT_OK)
        return srv_refuse_status(error, RT_ENOMEM, NULL);
    for (size_t i = 0; i + 1 < n; i++) {
        srv_request *part = ask_prompt(body, i, options, error);
        if (!part) {
            srv_error_name_prompt(error, (int)i);
            return false;
        }
        part->whole = whole;
        part->part = (int)i;
        whole->parts[whole->n_parts++] = part;
    }
    return true;
}

static srv_request *ask_prompts(
        const json_t *body, size_t n, const srv_options *options, srv_error *error) {
    const int64_t most = srv_limit_of(SRV_PROMPTS);
    if ((int64_t)n > most) {
        (void)srv_refuse_field(
                error, "prompt", "there are %zu prompts, at most %" PRId64 " are taken", n, most);
        return NULL;
    }
    srv_request *whole = ask_prompt(body, n - 1, options, error);
    if (!whole) {
        srv_error_name_prompt(error, (int)n - 1);
        return NULL;
    }
    if (add_parts(whole, body, n, options, error)) return whole;
    srv_request_drop(whole);
    return NULL;
}

srv_request *srv_ask_completion(const json_t *body, const srv_options *options, srv_error *error) {
    const json_t *prompt = json_object_get(body, "prompt");
    const json_t *first = json_array_get(prompt, 0);
    const size_t n = json_is_string(first) || json_is_array(first) ? json_array_size(prompt) : 1;
    return n > 1 ? ask_prompts(body, n, options, error)
                 : srv_ask(SRV_COMPLETION, fill_completion, body, options, error);
}
