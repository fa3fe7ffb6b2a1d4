/* JSON that commands print. */
#ifndef GLM_CLI_JSON_H
#define GLM_CLI_JSON_H

#include <jansson.h>

#include "base/status.h"

/* A string of any bytes but NUL, such as a path: those that are no UTF-8 become '?'. NULL without
 * memory. */
json_t *glm_cli_json_text(const char *text, size_t n_bytes);

/* Print the value and a line's end to standard output, and release it. `command` begins messages.
 * Errors: RT_ENOMEM  the value is NULL; RT_EIO */
RT_MUST_CHECK rt_status glm_cli_json_print(const char *command, json_t *value, size_t flags);

#endif
