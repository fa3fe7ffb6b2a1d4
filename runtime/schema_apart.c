/* Whether schemas exclude each other, by what they say themselves: their types, their values, or a property that both
 * require and that is apart. What is not shown so within the budget counts as not shown. */
#include "schema_inside.h"

#include <string.h>

enum { DEPTH_MAX = 4, NAMES_MAX = GLM_SCHEMA_NAMES };

static unsigned type_of_value(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return GLM_TYPE_OBJECT;
    case JSON_ARRAY:
        return GLM_TYPE_ARRAY;
    case JSON_STRING:
        return GLM_TYPE_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return GLM_TYPE_NUMBER;
    case JSON_NULL:
        return GLM_TYPE_NULL;
    default:
        return GLM_TYPE_BOOLEAN;
    }
}

/* The list of an enum, or a const's value as the only one of it; NULL: neither. A new reference. */
static json_t *values_of(const json_t *source) {
    json_t *value = json_object_get(source, "const");
    json_t *list = json_object_get(source, "enum");
    if (value) return json_pack("[O]", value);
    return json_is_array(list) ? json_incref(list) : NULL;
}

/* What a value of it may be; integers count as numbers. */
static unsigned types_of(const json_t *source) {
    unsigned types = GLM_TYPE_ALL;
    if (!json_is_object(source) || glm_schema_read_types(source, "", &types) != RT_OK)
        return GLM_TYPE_ALL;
    return types & GLM_TYPE_INTEGER ? types | GLM_TYPE_NUMBER : types;
}

static unsigned types_of_values(const json_t *list) {
    size_t i = 0;
    const json_t *value = NULL;
    unsigned types = 0;
    json_array_foreach(list, i, value) types |= type_of_value(value);
    return types;
}

/* 1 and 1.0 are one value. */
static bool may_be_equal(const json_t *a, const json_t *b) {
    return (json_is_number(a) && json_is_number(b)) || json_equal(a, b);
}

static bool are_lists_apart(const json_t *a, const json_t *b, int64_t *budget) {
    *budget -= (int64_t)(json_array_size(a) * json_array_size(b));
    if (*budget < 0) return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        for (size_t k = 0; k < json_array_size(b); k++)
            if (may_be_equal(json_array_get(a, i), json_array_get(b, k))) return false;
    return true;
}

static bool are_values_apart(const json_t *a, const json_t *b, int64_t *budget) {
    json_t *of_a = values_of(a);
    json_t *of_b = values_of(b);
    const unsigned types_a = of_a ? types_of_values(of_a) : types_of(a);
    const unsigned types_b = of_b ? types_of_values(of_b) : types_of(b);
    const bool are_apart =
            (types_a & types_b) == 0 || (of_a && of_b && are_lists_apart(of_a, of_b, budget));
    json_decref(of_a);
    json_decref(of_b);
    return are_apart;
}

static bool requires(const json_t *source, const char *name, int64_t *budget) {
    const json_t *list = json_object_get(source, "required");
    for (size_t i = 0; i < json_array_size(list) && i < NAMES_MAX && --*budget >= 0; i++) {
        const char *other = json_string_value(json_array_get(list, i));
        if (other && strcmp(other, name) == 0) return true;
    }
    return false;
}

static bool are_apart(
        const json_t *root, const json_t *a, const json_t *b, int depth, int64_t *budget);

/* A property of that name is in every object of both, and of no value in both. */
static bool tells(const json_t *root, const json_t *a, const json_t *b, const char *name, int depth,
        int64_t *budget) {
    const json_t *of_a = json_object_get(json_object_get(a, "properties"), name);
    const json_t *of_b = json_object_get(json_object_get(b, "properties"), name);
    return of_a && of_b && requires(b, name, budget) &&
           are_apart(root, of_a, of_b, depth + 1, budget);
}

static bool are_objects_apart(
        const json_t *root, const json_t *a, const json_t *b, int depth, int64_t *budget) {
    const json_t *list = json_object_get(a, "required");
    if ((types_of(a) | types_of(b)) != GLM_TYPE_OBJECT) return false;
    for (size_t i = 0; i < json_array_size(list) && i < NAMES_MAX; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name && tells(root, a, b, name, depth, budget)) return true;
    }
    return false;
}

static bool are_apart(
        const json_t *root, const json_t *a, const json_t *b, int depth, int64_t *budget) {
    if (depth > DEPTH_MAX || --*budget < 0) return false;
    if (glm_schema_follow(root, &a, "") != RT_OK || glm_schema_follow(root, &b, "") != RT_OK)
        return false;
    return are_values_apart(a, b, budget) || are_objects_apart(root, a, b, depth, budget);
}

bool glm_schema_are_apart(const json_t *root, const json_t *list) {
    int64_t budget = 1000000;
    for (size_t i = 0; i < json_array_size(list); i++)
        for (size_t k = 0; k < i; k++)
            if (!are_apart(root, json_array_get(list, i), json_array_get(list, k), 0, &budget))
                return false;
    return true;
}
