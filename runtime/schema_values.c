/* enum and const: whole values, as texts. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "schema_inside.h"

enum { VALUES_MAX = 4096 };

static unsigned types_of(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return GLM_TYPE_OBJECT;
    case JSON_ARRAY:
        return GLM_TYPE_ARRAY;
    case JSON_STRING:
        return GLM_TYPE_STRING;
    case JSON_INTEGER:
        return GLM_TYPE_INTEGER | GLM_TYPE_NUMBER;
    case JSON_REAL:
        return GLM_TYPE_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return GLM_TYPE_BOOLEAN;
    default:
        return GLM_TYPE_NULL;
    }
}

char *glm_schema_text_of(const json_t *value) {
    char *text = NULL;
    for (size_t digits = 15; json_is_real(value) && digits < 17; digits++) {
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        if (!text || strtod(text, NULL) == json_real_value(value)) return text;
        free(text);
    }
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

static int depth_of(const char *text) {
    int depth = 0;
    int deepest = 0;
    for (bool is_string = false; *text; text++) {
        if (is_string && *text == '\\')
            text++;
        else if (*text == '"')
            is_string = !is_string;
        else if (!is_string && (*text == '{' || *text == '['))
            deepest = (int)rt_max64(deepest, ++depth);
        else if (!is_string && (*text == '}' || *text == ']'))
            depth--;
    }
    return deepest;
}

static int by_text(const void *left, const void *right) {
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static void sort_values(glm_schema_node *node) {
    int n = 0;
    qsort(node->values, (size_t)node->n_values, sizeof *node->values, by_text);
    for (int i = 0; i < node->n_values; i++) {
        if (n > 0 && strcmp(node->values[n - 1], node->values[i]) == 0)
            free(node->values[i]);
        else
            node->values[n++] = node->values[i];
    }
    node->n_values = n;
}

static rt_status add_value(glm_schema_node *node, const json_t *value, const char *where) {
    if (!(types_of(value) & node->types)) return RT_OK;
    char *text = glm_schema_text_of(value);
    if (!text) return rt_fail(RT_ENOMEM, "schema: no memory");
    if (strlen(text) > GLM_SCHEMA_TEXT) {
        free(text);
        return rt_fail(
                RT_EUSAGE, "schema: a value at %s has more than %d bytes", where, GLM_SCHEMA_TEXT);
    }
    node->values[node->n_values++] = text;
    node->depth = (int)rt_max64(node->depth, depth_of(text));
    return RT_OK;
}

rt_status glm_schema_read_values(
        const json_t *source, const char *key, const char *where, glm_schema_node *node) {
    const json_t *value = json_object_get(source, key);
    const bool is_list = strcmp(key, "enum") == 0;
    const size_t n = is_list ? json_array_size(value) : 1;
    const char *other = NULL;
    json_t *ignored = NULL;
    json_object_foreach((json_t *)(uintptr_t)source, other, ignored) {
        if (strcmp(other, key) != 0 && strcmp(other, "type") != 0 &&
                !glm_schema_is_annotation(other))
            return rt_fail(RT_EUSAGE, "schema: \"%.40s\" beside \"%s\" at %s is not supported",
                    other, key, where);
    }
    if (n > VALUES_MAX)
        return rt_fail(RT_EUSAGE, "schema: enum at %s has more than %d values", where, VALUES_MAX);
    RT_TRY(rt_calloc((int64_t)n + 1, sizeof *node->values, "values", &node->values));
    node->depth = 0;
    for (size_t i = 0; i < n; i++)
        RT_TRY(add_value(node, is_list ? json_array_get(value, i) : value, where));
    if (node->n_values == 0)
        return rt_fail(
                RT_EUSAGE, "schema: %s at %s must have a value that is of its type", key, where);
    sort_values(node);
    return RT_OK;
}
