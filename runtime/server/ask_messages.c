/* Bodies of Anthropic's /v1/messages. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "runtime/json_file.h"

enum { WHERE_BYTES = 64 };

/* ---- tools ----------------------------------------------------------------------------------- */

/* {"name", "description", "input_schema", "strict"} -> OpenAI's form; what the model reads is without the last. */
static json_t *function_of(const json_t *tool) {
    return json_pack("{s:s, s:{s:O*, s:O*, s:O*}, s:O?}", "type", "function", "function", "name",
            json_object_get(tool, "name"), "description", json_object_get(tool, "description"),
            "parameters", json_object_get(tool, "input_schema"), "strict",
            json_object_get(tool, "strict"));
}

/* Others are known to the model by their type, or run where it runs. */
static bool check_type(const json_t *tool, size_t index, srv_error *error) {
    const char *type = "custom";
    if (!srv_get_text(tool, "type", &type, error)) return false;
    return strcmp(type, "custom") == 0 ||
           srv_refuse_field(error, "tools",
                   "tools[%zu] is of type \"%.40s\": only custom ones, with an input_schema, are "
                   "known",
                   index, type);
}

static bool read_tools(const json_t *body, srv_conversation *conversation, srv_error *error) {
    const json_t *tools = json_object_get(body, "tools");
    if (!tools || json_is_null(tools)) return true;
    if (!json_is_array(tools)) return srv_refuse_field(error, "tools", "tools must be an array");
    json_t *functions = json_array();
    bool is_right = true;
    for (size_t i = 0; i < json_array_size(tools) && is_right; i++) {
        is_right = check_type(json_array_get(tools, i), i, error);
        if (json_array_append_new(functions, function_of(json_array_get(tools, i))) != 0)
            is_right = is_right && srv_refuse_status(error, RT_ENOMEM, NULL);
    }
    is_right = is_right && srv_conversation_tools(conversation, functions, error);
    json_decref(functions);
    return is_right;
}

static bool read_tool_choice(const json_t *body, srv_conversation *conversation, srv_error *error) {
    const json_t *choice = json_object_get(body, "tool_choice");
    const char *type = "auto";
    const char *name = "";
    if (!choice || json_is_null(choice)) return true;
    if (!json_is_object(choice) || !srv_get_text(choice, "type", &type, error) ||
            !srv_get_text(choice, "name", &name, error))
        return srv_refuse_field(error, "tool_choice", "tool_choice must be an object with a type");
    if (!srv_get_bool(choice, "disable_parallel_tool_use", &conversation->calls_once, error))
        return false;
    if (strcmp(type, "auto") == 0) return true;
    if (strcmp(type, "tool") == 0) return srv_conversation_force(conversation, name, error);
    if (strcmp(type, "any") == 0) return srv_conversation_require(conversation, error);
    if (strcmp(type, "none") != 0)
        return srv_refuse_field(
                error, "tool_choice", "tool_choice %.40s: auto, any, none or tool are known", type);
    srv_conversation_forget_tools(conversation);
    return true;
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool add_text(srv_conversation *conversation, glm_chat_role role, const json_t *content,
        const char *where, srv_error *error) {
    glm_message *message = srv_conversation_add(conversation, role);
    if (!message) return srv_refuse_status(error, RT_ENOMEM, NULL);
    return srv_conversation_content(conversation, content, where, message, error);
}

static bool add_call(
        srv_conversation *conversation, const json_t *block, const char *where, srv_error *error) {
    const char *name = NULL;
    const json_t *input = json_object_get(block, "input");
    if (!srv_get_text(block, "name", &name, error)) return false;
    if (!name || !json_is_object(input))
        return srv_refuse_field(
                error, where, "%s: a tool_use block has a name and an object, input", where);
    char *arguments = srv_conversation_own(conversation, glm_json_dumps(input, 0));
    glm_tool_call *call = srv_conversation_own(conversation, calloc(1, sizeof *call));
    glm_message *message = srv_conversation_add(conversation, GLM_CHAT_ASSISTANT);
    if (!arguments || !call || !message) return srv_refuse_status(error, RT_ENOMEM, NULL);
    *call = (glm_tool_call){.name = name, .arguments = arguments, .arguments_bytes = -1};
    message->calls = call;
    message->n_calls = 1;
    return true;
}

/* What an assistant thought in turns before is no part of the prompt: Anthropic's API leaves it out, too. */
static bool is_thought(const char *type) {
    return strcmp(type, "thinking") == 0 || strcmp(type, "redacted_thinking") == 0;
}

static bool add_block(srv_conversation *conversation, glm_chat_role role, const json_t *block,
        const char *where, srv_error *error) {
    const char *type = "";
    if (!json_is_object(block))
        return srv_refuse_field(error, where, "%s: a block is an object", where);
    if (!srv_get_text(block, "type", &type, error)) return false;
    if (is_thought(type) && role == GLM_CHAT_ASSISTANT) return true;
    if (strcmp(type, "tool_use") == 0 && role == GLM_CHAT_ASSISTANT)
        return add_call(conversation, block, where, error);
    if (strcmp(type, "tool_result") == 0 && role == GLM_CHAT_USER)
        return add_text(conversation, GLM_CHAT_OBSERVATION, json_object_get(block, "content"),
                where, error);
    if (strcmp(type, "text") != 0)
        return srv_refuse_field(
                error, where, "%s: blocks of type \"%.40s\" are not read here", where, type);
    return add_text(conversation, role, json_object_get(block, "text"), where, error);
}

/* Texts that follow one another in a message are one. */
static bool join_last(srv_conversation *conversation, int64_t first, srv_error *error) {
    const int64_t n = conversation->n_messages;
    if (n - first < 2) return true;
    glm_message *last = &conversation->messages[n - 1];
    glm_message *before = last - 1;
    if (last->role != before->role || last->n_calls || before->n_calls ||
            last->role == GLM_CHAT_OBSERVATION)
        return true;
    glm_text text = {0};
    if (glm_text_add(&text, before->content, before->content_bytes) != RT_OK ||
            glm_text_add(&text, last->content, last->content_bytes) != RT_OK) {
        free(text.bytes);
        return srv_refuse_status(error, RT_ENOMEM, NULL);
    }
    before->content = srv_conversation_own(conversation, text.bytes);
    before->content_bytes = text.n;
    conversation->n_messages--;
    return before->content || srv_refuse_status(error, RT_ENOMEM, NULL);
}

static bool read_message(
        srv_conversation *conversation, const json_t *value, size_t index, srv_error *error) {
    char where[WHERE_BYTES];
    const char *name = "";
    (void)snprintf(where, sizeof where, "messages[%zu]", index);
    if (!json_is_object(value))
        return srv_refuse_field(error, where, "%s must be an object", where);
    if (!srv_get_text(value, "role", &name, error)) return false;
    const bool is_user = strcmp(name, "user") == 0;
    if (!is_user && strcmp(name, "assistant") != 0)
        return srv_refuse_field(
                error, where, "%s: role is \"%.40s\": user or assistant are known", where, name);
    const glm_chat_role role = is_user ? GLM_CHAT_USER : GLM_CHAT_ASSISTANT;
    const json_t *content = json_object_get(value, "content");
    if (json_is_string(content)) return add_text(conversation, role, content, where, error);
    if (!json_is_array(content))
        return srv_refuse_field(error, where, "%s: content is a string or an array", where);
    const int64_t first = conversation->n_messages;
    for (size_t i = 0; i < json_array_size(content); i++)
        if (!add_block(conversation, role, json_array_get(content, i), where, error) ||
                !join_last(conversation, first, error))
            return false;
    return true;
}

static bool read_system(const json_t *body, srv_conversation *conversation, srv_error *error) {
    const json_t *system = json_object_get(body, "system");
    if (!system || json_is_null(system)) return true;
    return add_text(conversation, GLM_CHAT_SYSTEM, system, "system", error);
}

bool srv_read_messages(const json_t *body, srv_conversation *conversation, srv_error *error) {
    const json_t *messages = srv_messages_of(body, error);
    if (!messages) return false;
    if (!read_system(body, conversation, error)) return false;
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!read_message(conversation, json_array_get(messages, i), i, error)) return false;
    const glm_message *last =
            conversation->n_messages ? &conversation->messages[conversation->n_messages - 1] : NULL;
    conversation->goes_on = last && last->role == GLM_CHAT_ASSISTANT && last->n_calls == 0 &&
                            srv_message_says(last);
    return read_tools(body, conversation, error) && read_tool_choice(body, conversation, error);
}

/* ---- output ---------------------------------------------------------------------------------- */

/* {"type": "json_schema", "schema"} */
static bool read_format(
        const json_t *format, const char *field, srv_settings *settings, srv_error *error) {
    const char *type = "";
    if (!format || json_is_null(format)) return true;
    if (!json_is_object(format))
        return srv_refuse_field(error, field, "%s must be an object", field);
    if (!srv_get_text(format, "type", &type, error)) return false;
    if (strcmp(type, "json_schema") != 0)
        return srv_refuse_field(
                error, field, "%s of type %.40s is not supported: json_schema is", field, type);
    if (!json_is_object(json_object_get(format, "schema")))
        return srv_refuse_field(error, field, "%s.schema must be an object", field);
    return srv_bind_schema(json_object_get(format, "schema"), field, settings, error);
}

/* output_format is output_config.format's older name. */
static bool read_output(const json_t *body, srv_settings *settings, srv_error *error) {
    const json_t *config = json_object_get(body, "output_config");
    if (config && !json_is_null(config) && !json_is_object(config))
        return srv_refuse_field(error, "output_config", "output_config must be an object");
    return srv_check_effort(json_object_get(config, "effort"), "output_config.effort", error) &&
           read_format(
                   json_object_get(config, "format"), "output_config.format", settings, error) &&
           read_format(json_object_get(body, "output_format"), "output_format", settings, error);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool fill(
        srv_request *request, const json_t *body, const srv_options *options, srv_error *error) {
    srv_conversation conversation = {0};
    srv_settings *settings = &request->settings;
    bool is_right = srv_check_model(body, options, error) &&
                    srv_read_settings(body, options, settings, error) &&
                    srv_read_stop(body, "stop_sequences", settings, error) &&
                    read_output(body, settings, error);
    if (is_right && settings->n_choices > 1)
        is_right = srv_refuse_field(error, "n", "n: this API gives one answer");
    if (is_right && settings->max_tokens < 0)
        is_right = srv_refuse_field(error, "max_tokens", "max_tokens: this API needs it");
    is_right = is_right && srv_read_messages(body, &conversation, error) &&
               srv_conversation_hand_over(&conversation, options, request, error);
    srv_conversation_free(&conversation);
    return is_right;
}

srv_request *srv_ask_messages(const json_t *body, const srv_options *options, srv_error *error) {
    return srv_ask(SRV_MESSAGES, fill, body, options, error);
}
