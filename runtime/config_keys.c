#include "config_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "chat_json.h"

static const int64_t file_bytes_max = RT_MIB;

rt_status glm_keys_load(const char *path, glm_keys *out) {
    char *text = NULL;
    *out = (glm_keys){.path = path};
    RT_TRY(glm_json_load_text("config", path, file_bytes_max, &out->root, &text));
    out->text = text;
    out->object = text + strspn(text, " \t\r\n");
    return RT_OK;
}

void glm_keys_free(glm_keys *keys) {
    json_decref(keys->root);
    free(keys->text);
    *keys = (glm_keys){0};
}

const char *glm_keys_place(const glm_keys *from, const char *key, char text[GLM_KEYS_PLACE]) {
    const char *value = glm_json_member(from->object, key);
    text[0] = '\0';
    if (value) (void)snprintf(text, GLM_KEYS_PLACE, " at byte %td", value - from->text);
    return text;
}

static rt_status refuse_as(
        const glm_keys *from, const char *code, const char *key, const char *needed) {
    const json_t *value = json_object_get(from->root, key);
    if (!value)
        return rt_fail(RT_EMODEL, "config: CF_MISSING: %s: \"%s\" is missing; %s is needed",
                from->path, key, needed);
    char text[GLM_JSON_TEXT];
    char place[GLM_KEYS_PLACE];
    return rt_fail(RT_EMODEL, "config: %s%s: %s: \"%s\" is %s; %s is needed", code,
            glm_keys_place(from, key, place), from->path, key, glm_json_text(value, text), needed);
}

rt_status glm_keys_refuse(const glm_keys *from, const char *key, const char *needed) {
    return refuse_as(from, "CF_VALUE", key, needed);
}

bool glm_keys_has(const glm_keys *from, const char *key) {
    const json_t *value = json_object_get(from->root, key);
    return value && !json_is_null(value);
}

rt_status glm_keys_int(
        const glm_keys *from, const char *key, int64_t min, int64_t max, int64_t *out) {
    const json_t *value = json_object_get(from->root, key);
    if (json_is_integer(value) && json_integer_value(value) >= min &&
            json_integer_value(value) <= max) {
        *out = json_integer_value(value);
        return RT_OK;
    }
    char needed[96];
    (void)snprintf(needed, sizeof needed, "an integer from %" PRId64 " to %" PRId64, min, max);
    return refuse_as(from, json_is_integer(value) ? "CF_RANGE" : "CF_TYPE", key, needed);
}

rt_status glm_keys_int32(
        const glm_keys *from, const char *key, int32_t min, int32_t max, int32_t *out) {
    int64_t value = 0;
    RT_TRY(glm_keys_int(from, key, min, max, &value));
    *out = (int32_t)value;
    return RT_OK;
}

rt_status glm_keys_real(
        const glm_keys *from, const char *key, double min, double max, double *out) {
    const json_t *value = json_object_get(from->root, key);
    if (json_is_number(value) && json_number_value(value) >= min &&
            json_number_value(value) <= max) {
        *out = json_number_value(value);
        return RT_OK;
    }
    char needed[96];
    (void)snprintf(needed, sizeof needed, "a number from %g to %g", min, max);
    return refuse_as(from, json_is_number(value) ? "CF_RANGE" : "CF_TYPE", key, needed);
}

rt_status glm_keys_bool(const glm_keys *from, const char *key, bool *out) {
    const json_t *value = json_object_get(from->root, key);
    if (!json_is_boolean(value)) return refuse_as(from, "CF_TYPE", key, "true or false");
    *out = json_is_true(value);
    return RT_OK;
}

rt_status glm_keys_require(const glm_keys *from, const char *key, bool wanted) {
    bool value = false;
    RT_TRY(glm_keys_bool(from, key, &value));
    return value == wanted ? RT_OK : glm_keys_refuse(from, key, wanted ? "true" : "false");
}

bool glm_keys_is_text(const json_t *value, const char *text) {
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

glm_keys glm_keys_inside(const glm_keys *from, const char *key) {
    return (glm_keys){.path = from->path,
            .root = json_object_get(from->root, key),
            .text = from->text,
            .object = glm_json_member(from->object, key)};
}
