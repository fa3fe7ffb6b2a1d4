/* The keys of config.json and generation_config.json: each is read by name, type and range.
 *
 * A refusal is RT_EMODEL and names the file, the key, its value, where in the file that stands, and what is
 * needed. Its codes stay as they are:
 *
 *   CF_MISSING                    a key that must be there
 *   CF_TYPE, CF_RANGE, CF_VALUE   of the wrong kind; too small or large; another architecture
 *   CF_CONFLICT, CF_UNSUPPORTED   numbers that contradict each other; what is not implemented (config.c) */
#ifndef GLM_CONFIG_KEYS_H
#define GLM_CONFIG_KEYS_H

#include "json_file.h"

typedef struct glm_keys {
    const char *path; /* for messages */
    json_t *root;
    char *text;         /* of the whole file */
    const char *object; /* where root begins in it */
} glm_keys;

/* Read a file of at most a MiB; `path` must live as long. Errors: as glm_json_load. */
RT_MUST_CHECK rt_status glm_keys_load(const char *path, glm_keys *out);
void glm_keys_free(glm_keys *keys);
/* An object in the object, which stays the owner; its root is NULL where there is no such key. */
glm_keys glm_keys_inside(const glm_keys *from, const char *key);

/* Absent, or null, which is how absent is sometimes written. */
bool glm_keys_has(const glm_keys *from, const char *key);
bool glm_keys_is_text(const json_t *value, const char *text);

/* The value of a key that must be there, min and max included. CF_MISSING, CF_TYPE, CF_RANGE. */
RT_MUST_CHECK rt_status glm_keys_int(
        const glm_keys *from, const char *key, int64_t min, int64_t max, int64_t *out);
RT_MUST_CHECK rt_status glm_keys_int32(
        const glm_keys *from, const char *key, int32_t min, int32_t max, int32_t *out);
RT_MUST_CHECK rt_status glm_keys_real(
        const glm_keys *from, const char *key, double min, double max, double *out);
RT_MUST_CHECK rt_status glm_keys_bool(const glm_keys *from, const char *key, bool *out);
/* A switch whose other position is another architecture. CF_MISSING, CF_TYPE, CF_VALUE. */
RT_MUST_CHECK rt_status glm_keys_require(const glm_keys *from, const char *key, bool wanted);

/* CF_VALUE, or CF_MISSING. `needed` ends the sentence "... is needed". */
RT_MUST_CHECK rt_status glm_keys_refuse(const glm_keys *from, const char *key, const char *needed);

enum { GLM_KEYS_PLACE = 48 };
/* " at byte 123", of a key's value; "" where the key is not written plainly. Returns text. */
const char *glm_keys_place(const glm_keys *from, const char *key, char text[GLM_KEYS_PLACE]);

#endif
