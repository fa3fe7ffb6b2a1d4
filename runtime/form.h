/* What an answer is bound to: the bytes that may follow those that came.
 *
 *   GLM_FORM_JSON    white space and one JSON object
 *   GLM_FORM_SCHEMA  the same, of the schema
 *   GLM_FORM_CALL    a tool's name and a newline; then, of a function, a JSON object, of the tool's schema
 *                    where there is one, of a built-in tool anything
 *   GLM_FORM_ANSWER  a call, or a JSON object, of the schema where there is one
 *   GLM_FORM_OPEN    anything; but where a part of the reply begins like a call of a strict tool, as
 *                    reply.h says it, the rest is a JSON object of that tool's schema
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
    GLM_FORM_ANSWER,
    GLM_FORM_OPEN
} glm_form_kind;

enum { GLM_FORM_SPACES = 64 }; /* of GLM_FORM_OPEN, before a newline and before a brace */

typedef struct glm_form {
    /* Set by the caller, the rest zero. */
    glm_form_kind kind;       /* of a call, once its name is whole: what it is called with */
    const glm_tools *tools;   /* of calls: borrowed, at least one */
    const glm_schema *schema; /* borrowed; of a call, the tool's */

    char name[GLM_TOOL_NAME_MAX + GLM_FORM_SPACES]; /* so far; of GLM_FORM_OPEN, the line */
    int n_name;
    int n_spaces;           /* of GLM_FORM_OPEN, behind the name */
    const glm_tool *called; /* of GLM_FORM_OPEN: whose name the line is */
    bool is_open;           /* it began as GLM_FORM_OPEN */
    glm_json_state json;
    glm_schema_state by_schema; /* the last: as much of it as counts is copied */
} glm_form;

/* What was taken so far, and no more of the rest than counts. */
void glm_form_copy(glm_form *to, const glm_form *from);

/* Bytes of one more token. False: they may not follow, and the state is of no use any more. */
bool glm_form_take(glm_form *form, const char *bytes, int64_t n_bytes);
/* A control token, which has no bytes: only of GLM_FORM_FREE and GLM_FORM_OPEN. `calls`: of a tool whose name is
 * all that was said, it makes a call without arguments. False: it may not follow. */
bool glm_form_allows_control(const glm_form *form, bool calls);
/* A control token came that begins another part of the reply. */
void glm_form_begin_part(glm_form *form);
/* Nothing is to follow. */
bool glm_form_is_whole(const glm_form *form);

#endif
