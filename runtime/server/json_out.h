/* Values that an answer is made of. Whoever lacks memory for one of them gives out none: an answer without a choice, or a list
 * without an id, would be another answer. */
#ifndef SRV_JSON_OUT_H
#define SRV_JSON_OUT_H

#include <jansson.h>

/* The array with the value behind the others, or the object with that field, both taken over. NULL, and both freed, where
 * one of them is NULL, or there is no memory. */
json_t *srv_append(json_t *array, json_t *value);
json_t *srv_set(json_t *object, const char *name, json_t *value);

#endif
