/* The tools of a conversation: what they are called with, and whether one is to be called.
 *
 * A function's arguments are of its schema where the request asks for that (strict), or lets nothing but a
 * call through anyway; of what glm_schema_compile refuses, a strict function is refused, and another's
 * arguments are a JSON object. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "limits.h"
#include "runtime/json_file.h"

/* What the function's arguments are to be. One that is strict and has no parameters has none. */
static bool bind_function(
        const json_t *parameters, size_t index, glm_tool *tool, srv_error *error) {
    json_t *none = tool->is_strict && (!parameters || json_is_null(parameters))
                           ? json_pack("{s:s, s:b}", "type", "object", "additionalProperties", 0)
                           : NULL;
    const json_t *schema = none ? none : parameters;
    if (!schema) return true;
    const rt_status status = glm_schema_compile(schema, &tool->schema);
    json_decref(none);
    if (status == RT_OK || (status == RT_EUSAGE && !tool->is_strict)) return true;
    if (status != RT_EUSAGE) return srv_refuse_status(error, status, "tools");
    return srv_refuse_field(
            error, "tools", "tools[%zu], which is strict: %s", index, rt_error_text());
}

static bool bind(const json_t *value, size_t index, glm_tool *tool, srv_error *error) {
    const json_t *function = json_object_get(value, "function");
    if (tool->kind != GLM_TOOL_FUNCTION) return true;
    if (!srv_get_bool(value, "strict", &tool->is_strict, error) ||
            !srv_get_bool(function, "strict", &tool->is_strict, error))
        return false;
    return bind_function(json_object_get(function, "parameters"), index, tool, error);
}

bool srv_conversation_tools(srv_conversation *conversation, const json_t *tools, srv_error *error) {
    if (!tools || json_is_null(tools)) return true;
    if (!json_is_array(tools)) return srv_refuse_field(error, "tools", "tools must be an array");
    if (json_array_size(tools) == 0) return true;
    if ((int64_t)json_array_size(tools) > srv_limit_of(SRV_TOOLS))
        return srv_refuse_field(error, "tools",
                "there are %zu tools, at most %" PRId64 " are taken", json_array_size(tools),
                srv_limit_of(SRV_TOOLS));
    char *text = glm_json_dumps(tools, 0);
    if (!text) return srv_refuse(error, 503, "out_of_memory", NULL, "no memory for the tools");
    const rt_status status = glm_tools_parse(text, (int64_t)strlen(text), &conversation->tools);
    free(text);
    if (status != RT_OK) return srv_refuse_status(error, status, "tools");
    for (size_t i = 0; i < json_array_size(tools); i++)
        if (!bind(json_array_get(tools, i), i, &conversation->tools->tools[i], error)) return false;
    return true;
}

bool srv_conversation_force(srv_conversation *conversation, const char *name, srv_error *error) {
    const glm_tools *tools = conversation->tools;
    bool is_known = false;
    for (int64_t i = 0; tools && i < tools->n_tools; i++)
        is_known |= strcmp(tools->tools[i].name, name) == 0;
    if (!is_known)
        return srv_refuse_field(
                error, "tool_choice", "tool_choice names %.100s, which is none of the tools", name);
    conversation->forced_call = strdup(name);
    return conversation->forced_call || srv_refuse_status(error, RT_ENOMEM, NULL);
}

bool srv_conversation_require(srv_conversation *conversation, srv_error *error) {
    conversation->must_call = conversation->tools != NULL;
    return conversation->must_call || srv_refuse_field(error, "tool_choice",
                                              "tool_choice wants a call, and there are no tools");
}

void srv_conversation_forget_tools(srv_conversation *conversation) {
    glm_tools_free(conversation->tools);
    conversation->tools = NULL;
}

static bool has_strict(const glm_tools *tools) {
    bool has = false;
    for (int64_t i = 0; tools && i < tools->n_tools; i++) has = has || tools->tools[i].is_strict;
    return has;
}

glm_form_kind srv_conversation_form(const srv_conversation *conversation, glm_form_kind form) {
    if (conversation->forced_call || conversation->must_call) return GLM_FORM_CALL;
    if (form != GLM_FORM_FREE) return conversation->tools ? GLM_FORM_ANSWER : form;
    return has_strict(conversation->tools) ? GLM_FORM_OPEN : GLM_FORM_FREE;
}
