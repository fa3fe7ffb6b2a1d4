/* A JSON schema that an answer can be bound to: a subset of JSON Schema 2020-12, of which whatever is not
 * understood is refused by name.
 *
 *   type          object array string number integer boolean null, or a list of these
 *   properties, required, additionalProperties (true, false, a schema)   at most 64 names of an object
 *   items         one schema of all an array's
 *   minItems, maxItems, minLength, maxLength
 *   minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf
 *   pattern       of pattern.h, which says which
 *   format        date-time date time duration uuid ipv4 ipv6 hostname email; not beside pattern
 *   enum, const   whole values, alone or beside a type
 *   anyOf         of at most 16, alone at its place
 *   oneOf         the same, of schemas that exclude each other: by their types, their values, or a property that all
 *                 require; what else it would ask is refused
 *   allOf         of one, alone at its place
 *   $ref          "#", "#/$defs/NAME", "#/definitions/NAME"; alone at its place; recursion may come to an end
 *   title description default examples deprecated readOnly writeOnly $schema $comment $defs definitions discriminator
 *                 bind nothing
 *
 * The answer is one object, nested no deeper than GLM_JSON_DEPTH. Stricter than the schema: each name once;
 * enum's and const's values, and names of properties, as they are written compactly; other names beside
 * those without escapes; integers without fraction and exponent, and where they have a bound within 64 bits; other
 * numbers that have a bound without exponent, and of at most 15 digits; strings of a pattern or format without \u. */
#ifndef GLM_SCHEMA_H
#define GLM_SCHEMA_H

#include <jansson.h>

#include "base/status.h"
#include "json_state.h"

enum { GLM_SCHEMA_NAMES = 64, GLM_SCHEMA_THREADS = 16 };

typedef struct glm_schema glm_schema;

/* The schema, which is copied. RT_EUSAGE: what of it cannot be bound to, and where; RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_schema_compile(const json_t *source, glm_schema **out);
/* Accepts NULL. */
void glm_schema_free(glm_schema *schema);

/* ---- a text on its way ----------------------------------------------------------------------- */

/* An object or array that is open. */
typedef struct glm_schema_frame {
    int16_t node; /* what it is bound to */
    uint64_t
            seen; /* bit i: name i of that is there; of an array: its items, as far as they count */
} glm_schema_frame;

/* One way to read what came. */
typedef struct glm_schema_thread {
    int16_t node;    /* of the value that comes next */
    int16_t lo, hi;  /* names, or values of an enum, that begin like the one under way: [lo, hi) */
    int16_t pos;     /* bytes of it so far */
    int8_t depth;    /* of frames */
    bool is_literal; /* a value of an enum is under way */
    bool is_free;    /* the name under way may be one that is not listed */
    bool is_integer; /* the number under way is to be one */
    bool is_bounded; /* the string or integer under way is, by `node` */
    bool is_negative;
    bool has_point;
    int8_t n_whole,
            n_fraction; /* digits of the bounded number that is no integer, before the point and behind it */
    int64_t so_far; /* of what is bounded: characters, where in a pattern, or what the digits make */
    glm_schema_frame frames[GLM_JSON_DEPTH];
} glm_schema_thread;

/* All ways; zero: nothing came yet. A plain value, of which n_threads count. */
typedef struct glm_schema_state {
    int n_threads;
    glm_schema_thread threads[GLM_SCHEMA_THREADS];
} glm_schema_state;

/* One more byte, of which `json` is told. False: it may not follow. As long as it is true there is a byte that
 * may follow, or the object is whole. */
bool glm_schema_take(
        const glm_schema *schema, glm_schema_state *state, glm_json_state *json, uint8_t byte);

#endif
