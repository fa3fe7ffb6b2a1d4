/* What follows from the nodes of a schema, each of which may be reached from itself: numbers that rise, or fall,
 * until none changes any more. */
#include "base/size.h"
#include "schema_inside.h"

int glm_schema_count_alternatives(glm_schema *schema) {
    for (bool has_changed = true; has_changed;) {
        has_changed = false;
        for (int i = 1; i < schema->n_nodes; i++) {
            glm_schema_node *node = &schema->nodes[i];
            int n = node->n_any ? 0 : 1;
            for (int k = 0; k < node->n_any; k++) n += schema->nodes[node->any[k]].n_alternatives;
            if (n > GLM_SCHEMA_THREADS) return i;
            has_changed = has_changed || n != node->n_alternatives;
            node->n_alternatives = n;
        }
    }
    return GLM_SCHEMA_NONE;
}

static int flattest_object(const glm_schema *schema, const glm_schema_node *node) {
    int depth = 1;
    for (int i = 0; i < node->n_names; i++)
        if (node->names[i].is_required)
            depth = (int)rt_max64(depth, 1 + schema->nodes[node->names[i].node].depth);
    return (int)rt_min64(depth, GLM_SCHEMA_ENDLESS);
}

static int flattest_array(const glm_schema *schema, const glm_schema_node *node) {
    const int items = node->bounds.least_items > 0 ? schema->nodes[node->items].depth : 0;
    return (int)rt_min64(1 + items, GLM_SCHEMA_ENDLESS);
}

/* Of the flattest value, as far as is known by now. */
static int measure(const glm_schema *schema, glm_schema_node *node) {
    int least = GLM_SCHEMA_ENDLESS;
    if (node->n_values > 0) return node->depth;
    for (int i = 0; i < node->n_any; i++)
        least = (int)rt_min64(least, schema->nodes[node->any[i]].depth);
    if (node->n_any > 0) return least;
    node->object_depth = flattest_object(schema, node);
    node->array_depth = flattest_array(schema, node);
    if (node->types & ~(unsigned)(GLM_TYPE_OBJECT | GLM_TYPE_ARRAY)) return 0;
    if (node->types & GLM_TYPE_ARRAY) least = node->array_depth;
    return node->types & GLM_TYPE_OBJECT ? (int)rt_min64(least, node->object_depth) : least;
}

int glm_schema_measure(glm_schema *schema) {
    for (bool has_changed = true; has_changed;) {
        has_changed = false;
        for (int i = 1; i < schema->n_nodes; i++) {
            const int depth = measure(schema, &schema->nodes[i]);
            has_changed = has_changed || depth != schema->nodes[i].depth;
            schema->nodes[i].depth = depth;
        }
    }
    for (int i = 1; i < schema->n_nodes; i++)
        if (schema->nodes[i].depth > GLM_JSON_DEPTH) return i;
    return GLM_SCHEMA_NONE;
}

bool glm_schema_can_be_object(const glm_schema *schema, int index) {
    const glm_schema_node *node = &schema->nodes[index];
    bool can = node->n_values == 0 && node->n_any == 0 && (node->types & GLM_TYPE_OBJECT) &&
               node->object_depth <= GLM_JSON_DEPTH;
    for (int i = 0; i < node->n_values && !can; i++) can = node->values[i][0] == '{';
    for (int i = 0; i < node->n_any && !can; i++)
        can = glm_schema_can_be_object(schema, node->any[i]);
    return can;
}
