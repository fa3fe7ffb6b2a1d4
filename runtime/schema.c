/* A schema -> nodes. Each place of it is compiled once, also where it is referred to from itself: places are
 * listed when they are first met, and compiled in the order of the list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "schema_inside.h"

enum { NODES_MAX = 1024, HOPS_MAX = 32, WHERE_BYTES = 160 };

/* A place of the schema, of which the node of the same index is made. */
typedef struct place {
    const json_t *source;
    char where[WHERE_BYTES];
} place;

typedef struct compiler {
    const json_t *root;
    glm_schema *schema;
    place *places; /* [NODES_MAX] */
    glm_pattern_budget budget;
} compiler;

static rt_status no_memory(void) {
    return rt_fail(RT_ENOMEM, "schema: no memory");
}

/* ---- places ---------------------------------------------------------------------------------- */

bool glm_schema_is_annotation(const char *key) {
    static const char *const keys[] = {"title", "description", "default", "examples", "deprecated",
            "readOnly", "writeOnly", "$schema", "$comment", "$defs", "definitions",
            "discriminator"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0) return true;
    return false;
}

/* Nothing but `key` binds. */
static rt_status require_alone(const json_t *source, const char *key, const char *where) {
    const char *other = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)source, other, value) {
        if (strcmp(other, key) != 0 && !glm_schema_is_annotation(other))
            return rt_fail(RT_EUSAGE, "schema: \"%.40s\" beside \"%s\" at %s is not supported",
                    other, key, where);
    }
    return RT_OK;
}

static const json_t *find_reference(const json_t *root, const char *reference) {
    static const char *const tables[] = {"$defs", "definitions"};
    if (strcmp(reference, "#") == 0) return root;
    for (size_t i = 0; i < 2; i++) {
        char prefix[16];
        const int n = snprintf(prefix, sizeof prefix, "#/%s/", tables[i]);
        if (strncmp(reference, prefix, (size_t)n) == 0)
            return json_object_get(json_object_get(root, tables[i]), reference + n);
    }
    return NULL;
}

/* One hop. */
static rt_status follow_reference(const json_t *root, const json_t **source, const char *where) {
    const char *reference = json_string_value(json_object_get(*source, "$ref"));
    RT_TRY(require_alone(*source, "$ref", where));
    const json_t *target = reference ? find_reference(root, reference) : NULL;
    if (!target)
        return rt_fail(RT_EUSAGE,
                "schema: $ref \"%.60s\" at %s: #, #/$defs/NAME and #/definitions/NAME are followed",
                reference ? reference : "", where);
    *source = target;
    return RT_OK;
}

static rt_status follow_all(const json_t **source, const char *where) {
    const json_t *list = json_object_get(*source, "allOf");
    RT_TRY(require_alone(*source, "allOf", where));
    if (json_array_size(list) != 1)
        return rt_fail(RT_EUSAGE, "schema: \"allOf\" at %s is not supported, but of one", where);
    *source = json_array_get(list, 0);
    return RT_OK;
}

rt_status glm_schema_follow(const json_t *root, const json_t **source, const char *where) {
    for (int n_hops = 0; n_hops <= HOPS_MAX; n_hops++) {
        if (json_object_get(*source, "$ref"))
            RT_TRY(follow_reference(root, source, where));
        else if (json_object_get(*source, "allOf"))
            RT_TRY(follow_all(source, where));
        else
            return RT_OK;
    }
    const char *last = json_string_value(json_object_get(*source, "$ref"));
    return rt_fail(
            RT_EUSAGE, "schema: $ref \"%.60s\" at %s leads to no schema", last ? last : "", where);
}

/* The node of a place, listed where it is new. */
static rt_status node_of(
        compiler *c, const json_t *source, const char *parent, const char *step, int *node) {
    glm_schema *schema = c->schema;
    char where[WHERE_BYTES];
    (void)snprintf(where, sizeof where, "%.100s%.50s", parent, step);
    *node = GLM_SCHEMA_ANY;
    RT_TRY(glm_schema_follow(c->root, &source, where));
    if (json_is_true(source)) return RT_OK;
    if (!json_is_object(source))
        return rt_fail(RT_EUSAGE, "schema: %s must be an object, or true", where);
    for (*node = 1; *node < schema->n_nodes; ++*node)
        if (c->places[*node].source == source) return RT_OK;
    if (schema->n_nodes == NODES_MAX)
        return rt_fail(RT_EUSAGE, "schema: more than %d places are not supported", NODES_MAX);
    c->places[schema->n_nodes].source = source;
    memcpy(c->places[schema->n_nodes++].where, where, sizeof where);
    return RT_OK;
}

/* ---- types ----------------------------------------------------------------------------------- */

static unsigned type_named(const json_t *name) {
    static const char *const names[] = {
            "object", "array", "string", "number", "integer", "boolean", "null"};
    for (size_t i = 0; json_is_string(name) && i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], json_string_value(name)) == 0) return 1U << i;
    return 0;
}

rt_status glm_schema_read_types(const json_t *source, const char *where, unsigned *types) {
    const json_t *value = json_object_get(source, "type");
    *types = value ? 0 : GLM_TYPE_ALL;
    if (!value) return RT_OK;
    const size_t n = json_is_array(value) ? json_array_size(value) : 1;
    for (size_t i = 0; i < n; i++) {
        const unsigned type = type_named(json_is_array(value) ? json_array_get(value, i) : value);
        if (!type) break;
        *types |= type;
        if (i + 1 == n) return RT_OK;
    }
    return rt_fail(RT_EUSAGE,
            "schema: type at %s must be object, array, string, number, integer, boolean or null, "
            "or a list of "
            "them",
            where);
}

/* ---- objects --------------------------------------------------------------------------------- */

static rt_status add_name(
        glm_schema_node *node, const char *name, const char *where, int of, bool is_required) {
    json_t *value = json_string(name);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    json_decref(value);
    if (!text) return no_memory();
    const size_t n = strlen(text) - 2;
    if (n > GLM_SCHEMA_TEXT) {
        free(text);
        return rt_fail(
                RT_EUSAGE, "schema: a name at %s has more than %d bytes", where, GLM_SCHEMA_TEXT);
    }
    memmove(text, text + 1, n);
    text[n] = '\0';
    for (int i = 0; i < node->n_names; i++) {
        if (strcmp(node->names[i].text, text) != 0) continue;
        node->names[i].is_required = true;
        free(text);
        return RT_OK;
    }
    if (node->n_names == GLM_SCHEMA_NAMES || of == GLM_SCHEMA_NONE) {
        free(text);
        return of == GLM_SCHEMA_NONE
                       ? rt_fail(RT_EUSAGE, "schema: \"%.40s\" at %s is required, and not allowed",
                                 name, where)
                       : rt_fail(RT_EUSAGE,
                                 "schema: more than %d names of an object, at %s, are not "
                                 "supported",
                                 GLM_SCHEMA_NAMES, where);
    }
    node->names[node->n_names++] = (glm_schema_name){text, of, is_required};
    return RT_OK;
}

static rt_status read_properties(
        compiler *c, const json_t *source, const char *where, glm_schema_node *node) {
    const json_t *properties = json_object_get(source, "properties");
    const char *name = NULL;
    json_t *value = NULL;
    if (properties && !json_is_object(properties))
        return rt_fail(RT_EUSAGE, "schema: properties at %s must be an object", where);
    json_object_foreach((json_t *)(uintptr_t)properties, name, value) {
        char step[80];
        int of = GLM_SCHEMA_ANY;
        (void)snprintf(step, sizeof step, "/properties/%.40s", name);
        RT_TRY(node_of(c, value, where, step, &of));
        RT_TRY(add_name(node, name, where, of, false));
    }
    return RT_OK;
}

static rt_status read_required(const json_t *source, const char *where, glm_schema_node *node) {
    const json_t *required = json_object_get(source, "required");
    if (required && !json_is_array(required))
        return rt_fail(RT_EUSAGE, "schema: required at %s must be a list of names", where);
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (!name)
            return rt_fail(RT_EUSAGE, "schema: required at %s must be a list of names", where);
        RT_TRY(add_name(node, name, where, node->additional, true));
    }
    return RT_OK;
}

static int by_name(const void *left, const void *right) {
    return strcmp(((const glm_schema_name *)left)->text, ((const glm_schema_name *)right)->text);
}

static rt_status read_object(
        compiler *c, const json_t *source, const char *where, glm_schema_node *node) {
    const json_t *additional = json_object_get(source, "additionalProperties");
    const size_t n_names = json_object_size(json_object_get(source, "properties")) +
                           json_array_size(json_object_get(source, "required"));
    RT_TRY(rt_calloc(rt_min64((int64_t)n_names, GLM_SCHEMA_NAMES), sizeof *node->names, "names",
            &node->names));
    if (json_is_false(additional))
        node->additional = GLM_SCHEMA_NONE;
    else if (additional)
        RT_TRY(node_of(c, additional, where, "/additionalProperties", &node->additional));
    RT_TRY(read_properties(c, source, where, node));
    RT_TRY(read_required(source, where, node));
    qsort(node->names, (size_t)node->n_names, sizeof *node->names, by_name);
    for (int i = 0; i < node->n_names; i++)
        if (node->names[i].is_required) node->required |= UINT64_C(1) << i;
    return RT_OK;
}

/* ---- all ------------------------------------------------------------------------------------- */

/* What is of one of them is of just one where no two have a value in common. */
static rt_status check_one(const compiler *c, const json_t *list, const char *where) {
    if (glm_schema_are_apart(c->root, list)) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "schema: \"oneOf\" at %s is not supported, but of schemas that exclude each other: by "
            "their types, their values, or a property that all require",
            where);
}

/* `key`: anyOf or oneOf. */
static rt_status read_any(compiler *c, const json_t *source, const char *key, const char *where,
        glm_schema_node *node) {
    const json_t *list = json_object_get(source, key);
    const size_t n = json_array_size(list);
    RT_TRY(require_alone(source, key, where));
    if (n == 0 || n > GLM_SCHEMA_THREADS)
        return rt_fail(RT_EUSAGE, "schema: %s at %s must be a list of 1 to %d schemas", key, where,
                GLM_SCHEMA_THREADS);
    if (strcmp(key, "oneOf") == 0) RT_TRY(check_one(c, list, where));
    for (size_t i = 0; i < n; i++) {
        char step[32];
        (void)snprintf(step, sizeof step, "/%s/%zu", key, i);
        RT_TRY(node_of(c, json_array_get(list, i), where, step, &node->any[node->n_any++]));
    }
    return RT_OK;
}

static rt_status check_keys(const json_t *source, const char *where) {
    static const char *const keys[] = {"type", "properties", "required", "additionalProperties",
            "items", "enum", "const", "anyOf", "oneOf"};
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)source, key, value) {
        bool is_known = glm_schema_is_annotation(key) || glm_schema_bounds_key(key) ||
                        glm_schema_strings_key(key);
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            is_known = is_known || strcmp(keys[i], key) == 0;
        if (!is_known)
            return rt_fail(RT_EUSAGE, "schema: \"%.40s\" at %s is not supported", key, where);
    }
    return RT_OK;
}

static rt_status compile_place(compiler *c, int index) {
    const json_t *source = c->places[index].source;
    const char *where = c->places[index].where;
    glm_schema_node *node = &c->schema->nodes[index];
    RT_TRY(check_keys(source, where));
    RT_TRY(glm_schema_read_types(source, where, &node->types));
    if (json_object_get(source, "anyOf")) return read_any(c, source, "anyOf", where, node);
    if (json_object_get(source, "oneOf")) return read_any(c, source, "oneOf", where, node);
    if (json_object_get(source, "enum")) return glm_schema_read_values(source, "enum", where, node);
    if (json_object_get(source, "const"))
        return glm_schema_read_values(source, "const", where, node);
    RT_TRY(glm_schema_read_bounds(source, where, node->types, &node->bounds));
    RT_TRY(glm_schema_read_strings(source, where, &c->budget, node));
    if (json_object_get(source, "items"))
        RT_TRY(node_of(c, json_object_get(source, "items"), where, "/items", &node->items));
    return read_object(c, source, where, node);
}

static rt_status measure_all(const compiler *c) {
    const int crowded = glm_schema_count_alternatives(c->schema);
    if (crowded != GLM_SCHEMA_NONE)
        return rt_fail(RT_EUSAGE,
                "schema: anyOf at %s: more than %d alternatives are not supported",
                c->places[crowded].where, GLM_SCHEMA_THREADS);
    const int deep = glm_schema_measure(c->schema);
    if (deep != GLM_SCHEMA_NONE)
        return rt_fail(RT_EUSAGE, "schema: no value nested %d deep or less is of the schema at %s",
                GLM_JSON_DEPTH, c->places[deep].where);
    if (!glm_schema_can_be_object(c->schema, c->schema->root))
        return rt_fail(RT_EUSAGE, "schema: an answer is an object, and # allows none");
    return RT_OK;
}

static rt_status compile_all(compiler *c) {
    glm_schema *schema = c->schema;
    RT_TRY(rt_calloc(NODES_MAX, sizeof *c->places, "places", &c->places));
    RT_TRY(rt_calloc(NODES_MAX, sizeof *schema->nodes, "a schema", &schema->nodes));
    for (int i = 0; i < NODES_MAX; i++)
        schema->nodes[i] = (glm_schema_node){.types = GLM_TYPE_ALL,
                .depth = i > 0 ? GLM_SCHEMA_ENDLESS : 0,
                .object_depth = 1,
                .array_depth = 1,
                .bounds = glm_schema_unbounded,
                .n_alternatives = 1};
    schema->n_nodes = 1; /* GLM_SCHEMA_ANY */
    RT_TRY(node_of(c, c->root, "#", "", &schema->root));
    for (int i = 1; i < schema->n_nodes; i++) RT_TRY(compile_place(c, i));
    return measure_all(c);
}

rt_status glm_schema_compile(const json_t *source, glm_schema **out) {
    compiler c = {.root = source, .budget = glm_pattern_budget_full};
    *out = NULL;
    RT_TRY(rt_calloc(1, sizeof *c.schema, "a schema", &c.schema));
    const rt_status status = compile_all(&c);
    free(c.places);
    if (status == RT_OK)
        *out = c.schema;
    else
        glm_schema_free(c.schema);
    return status;
}

void glm_schema_free(glm_schema *schema) {
    if (!schema) return;
    for (int i = 0; i < schema->n_nodes; i++) {
        glm_schema_node *node = &schema->nodes[i];
        for (int k = 0; k < node->n_values; k++) free(node->values[k]);
        for (int k = 0; k < node->n_names; k++) free(node->names[k].text);
        free(node->values);
        free(node->names);
        free(node->bounds.decimals);
        glm_pattern_free(node->pattern);
    }
    free(schema->nodes);
    free(schema);
}
