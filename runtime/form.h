/* What an answer is bound to: the bytes that may follow those that came.
 *
 *   GLM_FORM_JSON    white space and one JSON object
 *   GLM_FORM_SCHEMA  the same, of the schema
 *   GLM_FORM_CALL    a tool's name and a newline; then, of a function, a JSON object, of a built-in tool
 *                    anything
 *   GLM_FORM_ANSWER  a call, or a JSON object, of the schema where there is one
 *
 * A state is a plain value: a copy of it tries a token out. */
#ifndef GLM_FORM_H
#define GLM_FORM_H

#include "chat_tools.h"
#include "json_state.h"
#include "schema.h"

typedef enum glm_form_kind {
    GLM_FORM_FREE,
    GLM_FORM_JSON,
    GLM_FORM_SCHEMA,
    GLM_FORM_CALL,
    GLM_FORM_ANSWER
} glm_form_kind;

typedef struct glm_form {
    /* Set by the caller, the rest zero. */
    glm_form_kind kind;       /* of a call, once its name is whole: what it is called with */
    const glm_tools *tools;   /* of calls: borrowed, at least one */
    const glm_schema *schema; /* borrowed */

    char name[GLM_TOOL_NAME_MAX]; /* so far */
    int n_name;
    glm_json_state json;
    glm_schema_state by_schema; /* the last: as much of it as counts is copied */
} glm_form;

/* What was taken so far, and no more of the rest than counts. */
void glm_form_copy(glm_form *to, const glm_form *from);

/* Bytes of one more token. False: they may not follow, and the state is of no use any more. */
bool glm_form_take(glm_form *form, const char *bytes, int64_t n_bytes);
/* Nothing is to follow. */
bool glm_form_is_whole(const glm_form *form);

#endif
