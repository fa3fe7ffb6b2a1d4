#include "json_out.h"

static json_t *kept_if(json_t *value, int failed) {
    if (!failed) return value;
    json_decref(value);
    return NULL;
}

json_t *srv_append(json_t *array, json_t *value) {
    return kept_if(array, json_array_append_new(array, value));
}

json_t *srv_set(json_t *object, const char *name, json_t *value) {
    return kept_if(object, json_object_set_new(object, name, value));
}
