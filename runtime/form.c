#include "form.h"

#include <stddef.h>
#include <string.h>

/* The tool whose name is so far; is_whole: exactly. NULL: none. */
static const glm_tool *find_tool(const glm_form *form, bool is_whole) {
    const size_t n = (size_t)form->n_name;
    for (int64_t i = 0; i < form->tools->n_tools; i++) {
        const glm_tool *tool = &form->tools->tools[i];
        if (strncmp(tool->name, form->name, n) == 0 && (!is_whole || tool->name[n] == '\0'))
            return tool;
    }
    return NULL;
}

static bool take_name(glm_form *form, char byte) {
    if (byte == '\n') {
        const glm_tool *tool = find_tool(form, true);
        if (tool) form->kind = tool->kind == GLM_TOOL_FUNCTION ? GLM_FORM_JSON : GLM_FORM_FREE;
        return tool != NULL;
    }
    if (form->n_name == GLM_TOOL_NAME_MAX || byte == '\0') return false;
    form->name[form->n_name++] = byte;
    return find_tool(form, false) != NULL;
}

/* No tool's name begins like an object. */
static glm_form_kind kind_that_begins(const glm_form *form, char byte) {
    if (byte != '{' && byte != ' ' && byte != '\t' && byte != '\n' && byte != '\r')
        return GLM_FORM_CALL;
    return form->schema ? GLM_FORM_SCHEMA : GLM_FORM_JSON;
}

static bool take_byte(glm_form *form, char byte) {
    if (form->kind == GLM_FORM_ANSWER) form->kind = kind_that_begins(form, byte);
    switch (form->kind) {
    case GLM_FORM_CALL:
        return take_name(form, byte);
    case GLM_FORM_JSON:
        return glm_json_take(&form->json, (uint8_t)byte);
    case GLM_FORM_SCHEMA:
        return glm_schema_take(form->schema, &form->by_schema, &form->json, (uint8_t)byte);
    default:
        return true;
    }
}

bool glm_form_take(glm_form *form, const char *bytes, int64_t n_bytes) {
    for (int64_t i = 0; i < n_bytes; i++)
        if (!take_byte(form, bytes[i])) return false;
    return true;
}

bool glm_form_is_whole(const glm_form *form) {
    return (form->kind == GLM_FORM_JSON || form->kind == GLM_FORM_SCHEMA) &&
           glm_json_is_whole(&form->json);
}

void glm_form_copy(glm_form *to, const glm_form *from) {
    const size_t n_threads = (size_t)from->by_schema.n_threads;
    memcpy(to, from,
            offsetof(glm_form, by_schema.threads) + n_threads * sizeof from->by_schema.threads[0]);
}
