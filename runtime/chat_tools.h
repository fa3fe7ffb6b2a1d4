/* The tools a model may call, and how GLM-4 is told of them: a system message that lists each,
 * functions by their JSON, the built-in ones of GLM-4 All Tools by fixed texts.
 *
 *   [{"type": "function", "function": {"name": "get_weather", ...}}, {"type": "python"},
 *    {"type": "simple_browser"}, {"type": "cogview"}] */
#ifndef GLM_CHAT_TOOLS_H
#define GLM_CHAT_TOOLS_H

#include "base/status.h"
#include "schema.h"

typedef enum glm_tool_kind {
    GLM_TOOL_FUNCTION, /* called with a JSON object */
    GLM_TOOL_PYTHON,   /* these three with free text */
    GLM_TOOL_BROWSER,
    GLM_TOOL_COGVIEW
} glm_tool_kind;

typedef struct glm_tool {
    glm_tool_kind kind;
    const char *name; /* what a call begins with */
    char *text;       /* owned; a function's JSON as the model reads it, else NULL */
    char *owned_name; /* a function's */
    /* Whoever reads tools for answers that are bound may set these. */
    bool is_strict;     /* a call keeps to the schema, also where the model need not call */
    glm_schema *schema; /* owned; what a function's arguments are; NULL: a JSON object */
} glm_tool;

typedef struct glm_tools {
    glm_tool *tools;
    int64_t n_tools;
} glm_tools;

/* Variants of the text; zero is the one of GLM-4-9B-Chat-1M's authors. */
typedef struct glm_tools_format {
    /* One newline before each "## name" in place of two: what Hugging Face's library makes of the
     * published template. */
    bool has_one_newline;
    const char *assistant; /* who it is: NULL for "GLM-4"; glm-4-9b-chat's template: "ChatGLM" */
    const char *date; /* "2024-06-05", as the All Tools demonstration says it; NULL: not said */
} glm_tools_format;

enum { GLM_TOOL_NAME_MAX = 256, GLM_TOOL_DEPTH_MAX = 64 };

/* Read such a JSON array.
 *
 * Errors: RT_EUSAGE  not that: the message says the tool's index, or JSON's line and column
 *         RT_ENOMEM */
RT_MUST_CHECK rt_status glm_tools_parse(const char *json, int64_t n_bytes, glm_tools **out);
void glm_tools_free(glm_tools *tools);

/* The system message, a new NUL-terminated string for free(). RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_tools_text(
        const glm_tools *tools, const glm_tools_format *format, char **text, int64_t *n_bytes);

#endif
