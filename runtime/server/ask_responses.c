/* Bodies of OpenAI's /v1/responses: instructions, and a text or messages. Its tools, and what it keeps between requests, are
 * not there. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"

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

/* Messages are those of chat completions; what a model thought before is no part of the prompt. */
static bool add_item(json_t *messages, json_t *item, size_t index, srv_error *error) {
    const char *type = "message";
    if (!srv_get_text(item, "type", &type, error)) return false;
    if (strcmp(type, "reasoning") == 0) return true;
    if (strcmp(type, "message") != 0)
        return srv_refuse_field(error, "input",
                "input[%zu] is of type %.40s: only messages are read here", index, type);
    return json_array_append(messages, item) == 0 || srv_refuse_status(error, RT_ENOMEM, NULL);
}

static bool add_input(json_t *messages, json_t *input, srv_error *error) {
    size_t i;
    json_t *item;
    if (json_is_string(input))
        return json_array_append_new(
                       messages, json_pack("{s:s, s:O}", "role", "user", "content", input)) == 0 ||
               srv_refuse_status(error, RT_ENOMEM, NULL);
    if (json_array_size(input) == 0)
        return srv_refuse_field(error, "input", "input must be a string, or an array of messages");
    json_array_foreach(input, i, item) if (!add_item(messages, item, i, error)) return false;
    return true;
}

/* The body's conversation in the form of chat completions, to be released after the request has taken it over. */
static json_t *chat_of(const json_t *body, srv_error *error) {
    json_t *messages = json_array();
    json_t *chat = json_pack("{s:o}", "messages", messages);
    const json_t *instructions = json_object_get(body, "instructions");
    const char *text = "";
    if (!chat) {
        (void)srv_refuse_status(error, RT_ENOMEM, NULL);
        return NULL;
    }
    bool is_right = srv_get_text(body, "instructions", &text, error);
    if (is_right && text[0] &&
            json_array_append_new(messages,
                    json_pack("{s:s, s:O}", "role", "system", "content", instructions)) != 0)
        is_right = srv_refuse_status(error, RT_ENOMEM, NULL);
    if (is_right && add_input(messages, json_object_get(body, "input"), error)) return chat;
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
            !read_format(body, settings, error))
        return false;
    json_t *chat = chat_of(body, error);
    const bool is_right = chat && srv_read_chat(chat, &conversation, error) &&
                          srv_conversation_hand_over(&conversation, options, request, error);
    srv_conversation_free(&conversation);
    json_decref(chat);
    return is_right;
}

srv_request *srv_ask_responses(const json_t *body, const srv_options *options, srv_error *error) {
    return srv_ask(SRV_RESPONSES, fill, body, options, error);
}
