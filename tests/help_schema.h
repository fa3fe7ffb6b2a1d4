/* Schemas and texts of them: whether one is taken, whole or its beginning, and what is refused by name. */
#ifndef HELP_SCHEMA_H
#define HELP_SCHEMA_H

#include <stdio.h>
#include <string.h>

#include "help_expect.h"
#include "runtime/schema.h"

typedef struct binding {
    const glm_schema *schema;
    glm_schema_state by_schema;
    glm_json_state json;
} binding;

static inline bool may_follow(const binding *b, uint8_t byte) {
    binding copy = *b;
    return glm_schema_take(copy.schema, &copy.by_schema, &copy.json, byte);
}

static inline bool takes(const glm_schema *schema, const char *text, bool *is_whole) {
    binding b = {.schema = schema};
    for (; *text; text++)
        if (!glm_schema_take(schema, &b.by_schema, &b.json, (uint8_t)*text)) return false;
    *is_whole = glm_json_is_whole(&b.json);
    return true;
}

static inline void check_text(const char *source, const char *text, bool is_taken) {
    json_t *root = json_loads(source, 0, NULL);
    glm_schema *schema = NULL;
    bool is_whole = false;
    require(glm_schema_compile(root, &schema), source);
    expect((takes(schema, text, &is_whole) && is_whole) == is_taken,
            is_taken ? "not taken" : "taken", text);
    glm_schema_free(schema);
    json_decref(root);
}

/* Of one property, n, that is bound to `schema`. */
static inline void check_property(const char *schema, const char *text, bool is_taken) {
    char source[400];
    (void)snprintf(
            source, sizeof source, "{\"properties\":{\"n\":%s},\"required\":[\"n\"]}", schema);
    check_text(source, text, is_taken);
}

/* Whether a text may begin so. */
static inline void check_beginning(const char *source, const char *text, bool is_taken) {
    json_t *root = json_loads(source, 0, NULL);
    glm_schema *schema = NULL;
    bool is_whole = false;
    require(glm_schema_compile(root, &schema), source);
    expect(takes(schema, text, &is_whole) == is_taken, is_taken ? "not taken" : "taken", text);
    glm_schema_free(schema);
    json_decref(root);
}

static inline void check_refusal(const char *source, const char *why) {
    json_t *root = json_loads(source, 0, NULL);
    glm_schema *schema = NULL;
    expect(root && glm_schema_compile(root, &schema) == RT_EUSAGE, "not refused", source);
    expect(strstr(rt_error_text(), why) != NULL, rt_error_text(), why);
    glm_schema_free(schema);
    json_decref(root);
}

#endif
