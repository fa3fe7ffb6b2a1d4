/* Bodies of OpenAI's /v1/responses: instructions, and a text or messages. Its tools, and what it keeps between requests, are
 * not there. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "limits.h"

/* What would change an answer and is not there; `instead`: what has it here. */
static bool check_absent(const json_t *body, srv_error *error) {
    static const char all[] = "nothing is kept between requests, input has the whole conversation";
    static const struct {
        const char *name;
        const char *instead;
    } fields[] = {{"tools", "/v1/chat/completions has them"}, {"previous_response_id", all},
            {"conversation", all}, {"prompt", "input and instructions have the text itself"},
            {"background", "/v1/jobs has it"}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const json_t *value = json_object_get(body, fields[i].name);
        const bool is_empty = json_is_array(value) && json_array_size(value) == 0;
        if (value && !json_is_null(value) && !json_is_false(value) && !is_empty)
            return srv_refuse_field(error, fields[i].name, "%s is not supported: %s",
                    fields[i].name, fields[i].instead);
    }
    return srv_require_neutral(body, "top_logprobs", 0.0, error) &&
           srv_require_neutral(body, "n", 1.0, error);
}

/* "text": {"format": {"type": "text" | "json_object" | "json_schema", "schema"}, "verbosity"} */
static bool read_format(const json_t *body, srv_settings *settings, srv_error *error) {
    static const char field[] = "text.format";
    const json_t *text = json_object_get(body, "text");
    const json_t *format = json_object_get(text, "format");
    const char *type = "text";
    if (text && !json_is_null(text) && !json_is_object(text))
        return srv_refuse_field(error, "text", "text must be an object");
    if (format && !json_is_null(format) && !json_is_object(format))
        return srv_refuse_field(error, field, "text.format must be an object");
    if (!srv_check_verbosity(text, error) || !srv_get_text(format, "type", &type, error))
        return false;
    if (strcmp(type, "text") == 0) return true;
    if (strcmp(type, "json_object") == 0) {
        settings->form = GLM_FORM_JSON;
        return true;
    }
    const json_t *schema = json_object_get(format, "schema");
    if (strcmp(type, "json_schema") == 0 && json_is_object(schema))
        return srv_bind_schema(schema, field, settings, error);
    return srv_refuse_field(error, field,
            "text.format is of type %.40s: text, json_object, and json_schema with a schema are "
            "known",
            type);
}

/* A message of the conversation, and what it is called; `message` is given away. */
static bool add_message(json_t *chat, json_t *message, const char *name, srv_error *error) {
    const bool is_named =
            json_array_append_new(json_object_get(chat, "names"), json_string(name)) == 0;
    const bool is_added = json_array_append_new(json_object_get(chat, "messages"), message) == 0;
    return (is_named && is_added) || srv_refuse_status(error, RT_ENOMEM, NULL);
}

/* Messages are those of chat completions; what a model thought before is no part of the prompt. */
static bool add_item(json_t *chat, json_t *item, size_t index, srv_error *error) {
    const char *type = "message";
    char name[32];
    (void)snprintf(name, sizeof name, "input[%zu]", index);
    if (!srv_get_text(item, "type", &type, error)) return false;
    if (strcmp(type, "reasoning") == 0) return true;
    if (strcmp(type, "message") != 0)
        return srv_refuse_field(
                error, "input", "%s is of type %.40s: only messages are read here", name, type);
    return add_message(chat, json_incref(item), name, error);
}

static bool add_input(json_t *chat, json_t *input, srv_error *error) {
    size_t i;
    json_t *item;
    if (json_is_string(input))
        return add_message(
                chat, json_pack("{s:s, s:O}", "role", "user", "content", input), "input", error);
    if (json_array_size(input) == 0)
        return srv_refuse_field(error, "input", "input must be a string, or an array of messages");
    if ((int64_t)json_array_size(input) > srv_limit_of(SRV_MESSAGES_MAX))
        return srv_refuse_field(error, "input",
                "input has %zu messages, at most %" PRId64 " are taken", json_array_size(input),
                srv_limit_of(SRV_MESSAGES_MAX));
    json_array_foreach(input, i, item) if (!add_item(chat, item, i, error)) return false;
    if (json_array_size(json_object_get(chat, "messages")) > 0) return true;
    return srv_refuse_field(error, "input", "input has no message");
}

/* The body's conversation in the form of chat completions, and "names" of its messages; to be released after the request
 * has taken it over. */
static json_t *chat_of(const json_t *body, srv_error *error) {
    json_t *chat = json_pack("{s:[], s:[]}", "messages", "names");
    json_t *instructions = json_object_get(body, "instructions");
    const char *text = "";
    if (!chat) {
        (void)srv_refuse_status(error, RT_ENOMEM, NULL);
        return NULL;
    }
    bool is_right = srv_get_text(body, "instructions", &text, error);
    if (is_right && text[0])
        is_right = add_message(chat,
                json_pack("{s:s, s:O}", "role", "system", "content", instructions), "instructions",
                error);
    if (is_right && add_input(chat, json_object_get(body, "input"), error)) return chat;
    json_decref(chat);
    return NULL;
}

static bool fill(
        srv_request *request, const json_t *body, const srv_options *options, srv_error *error) {
    srv_conversation conversation = {0};
    srv_settings *settings = &request->settings;
    if (!srv_check_model(body, options, error) || !check_absent(body, error) ||
            !srv_read_settings(body, options, settings, error) ||
            !srv_get_int(body, "max_output_tokens", 1, INT32_MAX, &settings->max_tokens, error) ||
            !srv_read_least(body, "max_output_tokens", settings, error) ||
            !read_format(body, settings, error))
        return false;
    json_t *chat = chat_of(body, error);
    conversation.names = json_object_get(chat, "names");
    const bool is_right = chat && srv_read_chat(chat, &conversation, error) &&
                          srv_conversation_hand_over(&conversation, options, request, error);
    srv_conversation_free(&conversation);
    json_decref(chat);
    return is_right;
}

srv_request *srv_ask_responses(const json_t *body, const srv_options *options, srv_error *error) {
    return srv_ask(SRV_RESPONSES, fill, body, options, error);
}
