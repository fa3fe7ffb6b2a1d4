#include "command_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"

enum { HASH_ROOM = 32, HASH_SHOWN = 16 };

typedef struct line {
    char *text;
    size_t n; /* in it */
    bool is_whole;
} line;

static void put(line *out, char c) {
    if (out->n + HASH_ROOM >= GLM_COMMAND_LINE_TEXT) {
        out->is_whole = false;
        return;
    }
    out->is_whole = out->is_whole && (unsigned char)c >= 0x20;
    out->text[out->n++] = (unsigned char)c >= 0x20 ? c : '?';
}

/* One argument; of `--api-key=K`, or of the K behind `--api-key`, nothing of K. */
static void put_argument(line *out, const char *argument, bool is_secret) {
    static const char key[] = "--api-key=";
    const bool has_secret = strncmp(argument, key, sizeof key - 1) == 0;
    const size_t n_shown = is_secret ? 0 : has_secret ? sizeof key - 1 : strlen(argument);
    if (out->n > 0) put(out, ' ');
    for (size_t i = 0; i < n_shown; i++) put(out, argument[i]);
    if (!is_secret && !has_secret) return;
    put(out, '*');
    out->is_whole = false;
}

static rt_status read_arguments(FILE *file, line *out, glm_sha256 *sha) {
    char *bytes = NULL;
    size_t room = 0;
    bool is_secret = false;
    rt_status status = RT_OK;
    for (int64_t i = 0; status == RT_OK && getdelim(&bytes, &room, 0, file) >= 0; i++) {
        if (i == 0) continue;
        put_argument(out, bytes, is_secret);
        is_secret = strcmp(bytes, "--api-key") == 0;
        status = glm_sha256_add(sha, bytes, (int64_t)strlen(bytes) + 1);
    }
    free(bytes);
    return status;
}

rt_status glm_command_line(char text[GLM_COMMAND_LINE_TEXT]) {
    line out = {.text = text, .is_whole = true};
    glm_sha256 *sha = NULL;
    uint8_t digest[GLM_SHA256_BYTES];
    char hex[2 * GLM_SHA256_BYTES + 1];
    FILE *file = fopen("/proc/self/cmdline", "r");
    if (!file) return rt_fail_errno(RT_EIO, "ranks: cannot read /proc/self/cmdline");
    rt_status status = glm_sha256_create(&sha);
    if (status == RT_OK) status = read_arguments(file, &out, sha);
    if (status == RT_OK) status = glm_sha256_finish(sha, digest);
    if (status == RT_OK) (void)glm_sha256_hex(digest, hex);
    glm_sha256_free(sha);
    (void)fclose(file);
    RT_TRY(status);
    text[out.n] = '\0';
    if (!out.is_whole) (void)snprintf(text + out.n, HASH_ROOM, " (%.*s)", HASH_SHOWN, hex);
    return RT_OK;
}
