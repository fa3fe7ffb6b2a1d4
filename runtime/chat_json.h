/* JSON text that a parser has already accepted, walked as text and printed the one way that the
 * model was trained on: as Python's json.dumps(value, indent=4, ensure_ascii=False) prints it.
 *
 * As text, because a parser's values lose what the print must keep: integers beyond 64 bits, and
 * the digits of 0.1. Every function takes a pointer to the first byte of a value (or, in an object,
 * of a key) inside such a text; what no parser accepted may be read past its end. */
#ifndef GLM_CHAT_JSON_H
#define GLM_CHAT_JSON_H

#include <stdint.h>
#include <stdio.h>

/* The first value of an array, or the first key of an object; NULL when there is none. */
const char *glm_json_first(const char *container);
/* What follows a value in its container, NULL when it is the last. */
const char *glm_json_next(const char *value);
/* The value of that name in an object, NULL when there is none. */
const char *glm_json_member(const char *object, const char *name);

/* Where a value ends. */
const char *glm_json_end(const char *value);

/* How deep arrays and objects are nested: 0 for a number, 1 for []. */
int64_t glm_json_depth(const char *value);

/* Each level is indented, and printed by a call of its own: look at the depth first. */
void glm_json_print(const char *value, FILE *out);

#endif
