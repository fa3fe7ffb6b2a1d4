/* Small files of a checkpoint directory, JSON above all, read strictly, and their strings in error
 * messages. */
#ifndef GLM_JSON_FILE_H
#define GLM_JSON_FILE_H

#include <jansson.h>

#include "base/status.h"

/* rt_file_read of a file that a model is made of: one that is too large, no regular file, another by the
 * end of reading it, or a Git LFS pointer, is a bad model: IO_TOO_LARGE, IO_NOT_REGULAR, IO_CHANGED,
 * IO_LFS_POINTER. `module` begins that message. Errors: RT_EIO, RT_EMODEL, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_model_file_read(
        const char *module, const char *path, int64_t bytes_max, char **text, int64_t *n_bytes);

/* The object in the file `path`; the caller releases it with json_decref. *root is NULL after a
 * failure.
 *
 * `module` begins every message. Errors:
 *   RT_EIO     the file cannot be read
 *   RT_EMODEL  as glm_model_file_read; JSON_DUP_KEY, _UTF8, _DEPTH, _NUMBER, _NUL, _CUT (the file
 *              ends too early), _TRAILING (there is more behind it), _SYNTAX with line, column and
 *              byte; JSON_NOT_OBJECT
 *   RT_ENOMEM  no memory for the values */
RT_MUST_CHECK rt_status glm_json_load(
        const char *module, const char *path, int64_t bytes_max, json_t **root);
/* The same, and the text it is read from, for free(): where values are, json_t does not know. */
RT_MUST_CHECK rt_status glm_json_load_text(
        const char *module, const char *path, int64_t bytes_max, json_t **root, char **text);

/* The value in n_bytes of text, in which no key may come twice; NULL: it is none, and *error says why,
 * or *lacks_memory. */
json_t *glm_json_parse(const char *text, int64_t n_bytes, json_error_t *error, bool *lacks_memory);
/* The same, where integers may be of any size: all are reals. */
json_t *glm_json_parse_wide(
        const char *text, int64_t n_bytes, json_error_t *error, bool *lacks_memory);

/* The same, where a key may come twice: the last one counts. */
json_t *glm_json_parse_lax(
        const char *text, int64_t n_bytes, json_error_t *error, bool *lacks_memory);

/* json_dumps, for free(); NULL also where memory was lacking for a part of the text, which json_dumps may leave out, and
 * where there is no value. */
char *glm_json_dumps(const json_t *value, size_t flags);

enum { GLM_JSON_TEXT = 160 };

/* A value for a message: compact JSON, shortened to fit; control characters stay escaped. Writes
 * into `text` and returns it. */
const char *glm_json_text(const json_t *value, char text[GLM_JSON_TEXT]);

#endif
