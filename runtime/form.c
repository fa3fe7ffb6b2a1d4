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

/* What the tool is called with comes next. */
static void begin_arguments(glm_form *form, const glm_tool *tool) {
    form->schema = tool->schema;
    form->kind = tool->kind != GLM_TOOL_FUNCTION ? GLM_FORM_FREE
                 : tool->schema                  ? GLM_FORM_SCHEMA
                                                 : GLM_FORM_JSON;
}

static bool take_name(glm_form *form, char byte) {
    if (byte == '\n') {
        const glm_tool *tool = find_tool(form, true);
        if (tool) begin_arguments(form, tool);
        return tool != NULL;
    }
    if (form->n_name == GLM_TOOL_NAME_MAX || byte == '\0') return false;
    form->name[form->n_name++] = byte;
    return find_tool(form, false) != NULL;
}

/* ---- a call that may come -------------------------------------------------------------------- */

static bool is_space(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* The line is the tool's name, with blanks behind it; is_whole: all of the name. */
static bool is_line_of(const glm_form *form, const glm_tool *tool, bool is_whole) {
    const int n = (int)strlen(tool->name);
    if (form->n_name < n)
        return !is_whole && memcmp(form->name, tool->name, (size_t)form->n_name) == 0;
    for (int i = n; i < form->n_name; i++)
        if (!is_space(form->name[i])) return false;
    return form->n_name - n <= GLM_FORM_SPACES && memcmp(form->name, tool->name, (size_t)n) == 0;
}

static const glm_tool *find_strict(const glm_form *form, bool is_whole) {
    for (int64_t i = 0; i < form->tools->n_tools; i++) {
        const glm_tool *tool = &form->tools->tools[i];
        if (tool->is_strict && is_line_of(form, tool, is_whole)) return tool;
    }
    return NULL;
}

static void take_line(glm_form *form, char byte) {
    if (form->n_name == 0 && is_space(byte)) return;
    if (byte == '\n') {
        form->called = find_strict(form, true);
        if (!form->called) form->kind = GLM_FORM_FREE;
        return;
    }
    const bool has_room = form->n_name < (int)sizeof form->name;
    if (has_room) form->name[form->n_name++] = byte;
    if (!has_room || !find_strict(form, false)) form->kind = GLM_FORM_FREE;
}

/* Whatever follows the name but a brace makes text of it. */
static bool take_open(glm_form *form, char byte) {
    form->is_open = true;
    if (!form->called) {
        take_line(form, byte);
        return true;
    }
    if (is_space(byte) && ++form->n_spaces < GLM_FORM_SPACES) return true;
    if (byte == '{')
        begin_arguments(form, form->called);
    else
        form->kind = GLM_FORM_FREE;
    return form->kind == GLM_FORM_FREE || glm_form_take(form, &byte, 1);
}

bool glm_form_allows_control(const glm_form *form, bool calls) {
    if (form->kind == GLM_FORM_FREE) return true;
    return form->kind == GLM_FORM_OPEN && !(calls && (form->called || find_strict(form, true)));
}

void glm_form_begin_part(glm_form *form) {
    if (!form->is_open) return;
    form->kind = GLM_FORM_OPEN;
    form->n_name = form->n_spaces = 0;
    form->called = NULL;
}

/* ---- all ------------------------------------------------------------------------------------- */

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
    case GLM_FORM_OPEN:
        return take_open(form, byte);
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
