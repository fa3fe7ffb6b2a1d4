/* What schema.c makes of a schema, schema_measure.c adds, and schema_state.c follows. */
#ifndef GLM_SCHEMA_INSIDE_H
#define GLM_SCHEMA_INSIDE_H

#include "pattern.h"
#include "schema.h"

enum { GLM_SCHEMA_ANY = 0, GLM_SCHEMA_NONE = -1 }; /* nodes: everything; nothing */
enum { GLM_SCHEMA_ENDLESS = 1000 };                /* a depth that no value has */
enum { GLM_SCHEMA_TEXT = 16384 };                  /* bytes of a name, or of a value */
enum { GLM_SCHEMA_DIGITS = 15 }; /* of a number that is bounded, but is no integer */

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

/* Numbers with k digits behind the point, times 10^k: multiples of step[k] in [least[k], most[k]]. */
typedef struct glm_schema_decimals {
    int64_t least[GLM_SCHEMA_DIGITS];
    int64_t most[GLM_SCHEMA_DIGITS];
    int64_t step[GLM_SCHEMA_DIGITS];
} glm_schema_decimals;

/* Each between two, which are in it. */
typedef struct glm_schema_bounds {
    int64_t least_items, most_items;
    int64_t least_length, most_length; /* of a string, in characters */
    bool has_range;
    int64_t minimum, maximum;      /* of an integer, not below -INT64_MAX */
    int64_t step;                  /* of which it is a multiple */
    glm_schema_decimals *decimals; /* owned; of other numbers; NULL: none */
} glm_schema_bounds;

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
    glm_schema_bounds bounds;
    glm_pattern *pattern; /* owned; of a string, its length too; NULL: none */
    int depth;            /* of the flattest value; of `values`, the deepest */
    int object_depth;     /* of the flattest object */
    int array_depth;      /* of the flattest array */
} glm_schema_node;

struct glm_schema {
    glm_schema_node *nodes;
    int n_nodes;
    int root;
};

/* None. */
extern const glm_schema_bounds glm_schema_unbounded;
/* Of a place whose types are known. RT_EUSAGE: what cannot be bound to, or leaves nothing. */
RT_MUST_CHECK rt_status glm_schema_read_bounds(
        const json_t *source, const char *where, unsigned types, glm_schema_bounds *bounds);
bool glm_schema_bounds_key(const char *key);
bool glm_schema_has_length(const glm_schema_bounds *bounds);
/* An integer within the bounds is, or begins with, these digits; at least one came. */
bool glm_schema_is_in_range(const glm_schema_bounds *bounds, bool is_negative, int64_t digits);
bool glm_schema_begins_in_range(const glm_schema_bounds *bounds, bool is_negative, int64_t digits);

/* A number on its way. */
typedef struct glm_schema_number {
    int64_t digits;          /* what they make, without the point */
    int n_whole, n_fraction; /* how many, before and behind it */
    bool is_negative, has_point;
} glm_schema_number;
/* RT_EUSAGE: no bound, or no number is left; RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_schema_read_decimals(
        const json_t *source, const char *where, glm_schema_decimals *out);
/* multipleOf, as far as integers are multiples of it; left alone where there is none. */
RT_MUST_CHECK rt_status glm_schema_read_integer_step(
        const json_t *source, const char *where, int64_t *step);
/* A number within the bounds is, or begins with, these digits; at least one came. */
bool glm_schema_is_decimal(const glm_schema_decimals *d, const glm_schema_number *n);
bool glm_schema_begins_decimal(const glm_schema_decimals *d, const glm_schema_number *n);
/* There is one, with a minus or without. */
bool glm_schema_decimal_can_begin(const glm_schema_decimals *d, bool is_negative);

/* pattern and format, of a place whose types and bounds are known. RT_EUSAGE: what cannot be bound to; RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_schema_read_strings(
        const json_t *source, const char *where, glm_pattern_budget *budget, glm_schema_node *node);
bool glm_schema_strings_key(const char *key);
/* What a place refers to, in the end. RT_EUSAGE. */
RT_MUST_CHECK rt_status glm_schema_follow(
        const json_t *root, const json_t **source, const char *where);
/* `type`, GLM_TYPE_ALL without it. RT_EUSAGE. */
RT_MUST_CHECK rt_status glm_schema_read_types(
        const json_t *source, const char *where, unsigned *types);
/* Whether no value is of two schemas of the list; false also where that is not found out. */
bool glm_schema_are_apart(const json_t *root, const json_t *list);
/* Whether a key binds nothing. */
bool glm_schema_is_annotation(const char *key);
/* The values of `key`, enum or const, as far as they are of the types. RT_EUSAGE, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_schema_read_values(
        const json_t *source, const char *key, const char *where, glm_schema_node *node);
/* The shortest text that is read as the same. For free(). */
char *glm_schema_text_of(const json_t *value);

/* n_alternatives of every node, from 1. The node that has more than GLM_SCHEMA_THREADS, as one that is reached from
 * itself has; GLM_SCHEMA_NONE: there is none. */
int glm_schema_count_alternatives(glm_schema *schema);
/* depth and object_depth of every node, from GLM_SCHEMA_ENDLESS. The first of which no value is nested as little as
 * GLM_JSON_DEPTH; GLM_SCHEMA_NONE: there is none. */
int glm_schema_measure(glm_schema *schema);
/* Whether an object is of the node. All is measured. */
bool glm_schema_can_be_object(const glm_schema *schema, int index);

#endif
