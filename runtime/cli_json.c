#include "cli_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *glm_cli_json_text(const char *text, size_t n_bytes) {
    json_t *value = json_stringn(text, n_bytes);
    char *copy = value ? NULL : strndup(text, n_bytes);
    if (!copy) return value;
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    value = json_string(copy);
    free(copy);
    return value;
}

rt_status glm_cli_json_print(const char *command, json_t *value, size_t flags) {
    if (!value) return rt_fail(RT_ENOMEM, "%s: no memory for the JSON value", command);
    const int failed = json_dumpf(value, stdout, flags | JSON_REAL_PRECISION(9));
    json_decref(value);
    if (failed) return rt_fail_errno(RT_EIO, "%s: cannot write to standard output", command);
    (void)putchar('\n');
    return RT_OK;
}
