/* What schema.c makes of a schema, schema_measure.c adds, and schema_state.c follows. */
#ifndef GLM_SCHEMA_INSIDE_H
#define GLM_SCHEMA_INSIDE_H

#include "schema.h"

enum { GLM_SCHEMA_ANY = 0, GLM_SCHEMA_NONE = -1 }; /* nodes: everything; nothing */
enum { GLM_SCHEMA_ENDLESS = 1000 };                /* a depth that no value has */

enum {
    GLM_TYPE_OBJECT = 1,
    GLM_TYPE_ARRAY = 2,
    GLM_TYPE_STRING = 4,
    GLM_TYPE_NUMBER = 8,
    GLM_TYPE_INTEGER = 16,
    GLM_TYPE_BOOLEAN = 32,
    GLM_TYPE_NULL = 64,
    GLM_TYPE_ALL = 127
};

typedef struct glm_schema_name {
    char *text; /* owned; as JSON has it between quotes */
    int node;
    bool is_required;
} glm_schema_name;

/* One of: any, values, or types and what they are bound to. */
typedef struct glm_schema_node {
    int any[GLM_SCHEMA_THREADS];
    int n_any;
    int n_alternatives; /* that are none of anyOf any more */
    char **values;      /* owned, JSON texts; ascending */
    int n_values;
    unsigned types;
    glm_schema_name *names; /* owned; ascending */
    int n_names;
    uint64_t required;
    int additional; /* of other names */
    int items;
    int depth;        /* of the flattest value; of `values`, the deepest */
    int object_depth; /* of the flattest object */
} glm_schema_node;

struct glm_schema {
    glm_schema_node *nodes;
    int n_nodes;
    int root;
};

/* n_alternatives of every node, from 1. The node that has more than GLM_SCHEMA_THREADS, as one that is reached from
 * itself has; GLM_SCHEMA_NONE: there is none. */
int glm_schema_count_alternatives(glm_schema *schema);
/* depth and object_depth of every node, from GLM_SCHEMA_ENDLESS. The first of which no value is nested as little as
 * GLM_JSON_DEPTH; GLM_SCHEMA_NONE: there is none. */
int glm_schema_measure(glm_schema *schema);
/* Whether an object is of the node. All is measured. */
bool glm_schema_can_be_object(const glm_schema *schema, int index);

#endif
