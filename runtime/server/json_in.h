/* A request's JSON, strictly: bounded before anything is allocated for it, no key twice, nothing
 * behind it; and its fields, each with a range. */
#ifndef SRV_JSON_IN_H
#define SRV_JSON_IN_H

#include "error.h"

/* The object in n_bytes of text, for json_decref. NULL: `error` says why, with line and column where
 * it is no JSON. */
json_t *srv_json_read(const char *text, int64_t n_bytes, srv_error *error);

/* A whole number: 40, or 40.0 as languages write it that have one kind of number; of those up to 2^53 each is exact. */
bool srv_is_whole(const json_t *value, int64_t *number);

/* A field of an object. Where it is absent or null, `out` stays as it is. False: another type, or out
 * of range; `error` names the field and what it holds. */
bool srv_get_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *out,
        srv_error *error);
bool srv_get_real(const json_t *object, const char *name, double min, double max, double *out,
        srv_error *error);
bool srv_get_bool(const json_t *object, const char *name, bool *out, srv_error *error);
/* Borrowed from the object; it holds no NUL. */
bool srv_get_text(const json_t *object, const char *name, const char **out, srv_error *error);

/* Refused unless the field is absent, null, or the number `neutral`. */
bool srv_require_neutral(const json_t *object, const char *name, double neutral, srv_error *error);

#endif
