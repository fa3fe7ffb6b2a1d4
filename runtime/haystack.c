#include "haystack.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/size.h"
#include "prose.h"

enum { DEPTH_MAX = 32 };

static bool ends_in(const char *name, const char *ending) {
    const size_t n = strlen(name);
    const size_t n_ending = strlen(ending);
    return n > n_ending && strcmp(name + n - n_ending, ending) == 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Texts follow one another with an empty line between. */
static void append(FILE *out, const char *text, size_t n_bytes) {
    (void)fwrite(text, 1, n_bytes, out);
    if (n_bytes > 0 && text[n_bytes - 1] != '\n') (void)fputs("\n\n", out);
}

static rt_status append_jsonl(FILE *out, const char *path, char *bytes) {
    int64_t line_number = 0;
    for (char *line = bytes; line && *line;) {
        char *next = strchr(line, '\n');
        if (next) *next++ = '\0';
        line_number++;
        if (line[strspn(line, " \t\r")] != '\0') {
            json_error_t error;
            json_t *object = json_loads(line, JSON_ALLOW_NUL, &error);
            const json_t *text = json_object_get(object, "text");
            if (!json_is_string(text)) {
                json_decref(object);
                return rt_fail(RT_EUSAGE,
                        "haystack: %s line %" PRId64 " is no JSON object with a \"text\" string",
                        path, line_number);
            }
            append(out, json_string_value(text), json_string_length(text));
            json_decref(object);
        }
        line = next;
    }
    return RT_OK;
}

static rt_status append_file(FILE *out, const char *path) {
    char *bytes = NULL;
    int64_t n_bytes = 0;
    RT_TRY(rt_file_read(path, RT_GIB, &bytes, &n_bytes));
    rt_status status = RT_OK;
    if (ends_in(path, ".jsonl"))
        status = append_jsonl(out, path, bytes);
    else
        append(out, bytes, (size_t)n_bytes);
    free(bytes);
    return status;
}

/* ---- directories ----------------------------------------------------------------------------- */

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **left, const struct dirent **right) {
    return strcmp((*left)->d_name, (*right)->d_name);
}

static rt_status append_directory(FILE *out, const char *path, int depth);

/* A directory is walked, a text is read, anything else is passed over. Links to directories are
 * not followed: they may lead back. */
static rt_status append_entry(FILE *out, const char *dir, const char *name, int depth) {
    char *path = NULL;
    RT_TRY(rt_path_join(dir, name, &path));
    struct stat info;
    rt_status status = RT_OK;
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode))
        status = append_directory(out, path, depth + 1);
    else if (ends_in(name, ".txt") || ends_in(name, ".md") || ends_in(name, ".jsonl"))
        status = append_file(out, path);
    free(path);
    return status;
}

static rt_status append_directory(FILE *out, const char *path, int depth) {
    if (depth > DEPTH_MAX)
        return rt_fail(RT_EUSAGE, "haystack: %s is more than %d directories deep", path, DEPTH_MAX);
    struct dirent **entries = NULL;
    const int n = scandir(path, &entries, is_visible, by_name);
    if (n < 0) return rt_fail_errno(RT_EIO, "haystack: cannot read the directory %s", path);
    rt_status status = RT_OK;
    for (int i = 0; i < n; i++) {
        if (status == RT_OK) status = append_entry(out, path, entries[i]->d_name, depth);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static rt_status append_path(FILE *out, const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) return rt_fail_errno(RT_EIO, "haystack: cannot open %s", path);
    if (!S_ISDIR(info.st_mode)) return append_file(out, path);
    const long before = ftell(out);
    RT_TRY(append_directory(out, path, 0));
    if (ftell(out) > before) return RT_OK;
    return rt_fail(RT_EIO, "haystack: %s holds no text (*.txt, *.md, *.jsonl)", path);
}

/* ---- the haystack ---------------------------------------------------------------------------- */

static rt_status hash_text(glm_haystack *haystack) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    if (!EVP_Digest(haystack->text, (size_t)haystack->n_bytes, digest, &n, EVP_sha256(), NULL))
        return rt_fail(RT_EUNSUPPORTED, "haystack: SHA-256 is not available");
    for (unsigned int i = 0; i < n && i < 32; i++)
        (void)snprintf(haystack->sha256 + 2 * (size_t)i, 3, "%02x", digest[i]);
    return RT_OK;
}

static rt_status fill(
        FILE *out, const char *const *paths, int n_paths, uint64_t seed, int64_t bytes_min) {
    if (n_paths == 0) glm_prose_write(out, seed, bytes_min);
    for (int i = 0; i < n_paths; i++) RT_TRY(append_path(out, paths[i]));
    return RT_OK;
}

rt_status glm_haystack_load(const char *const *paths, int n_paths, uint64_t seed, int64_t bytes_min,
        glm_haystack *out) {
    *out = (glm_haystack){.is_built_in = n_paths == 0};
    size_t n_bytes = 0;
    FILE *text = open_memstream(&out->text, &n_bytes);
    if (!text) return rt_fail_errno(RT_ENOMEM, "haystack: no memory");
    rt_status status = fill(text, paths, n_paths, seed, bytes_min);
    if (fclose(text) != 0 && status == RT_OK)
        status = rt_fail_errno(RT_ENOMEM, "haystack: no memory for the text");
    out->n_bytes = (int64_t)n_bytes;
    if (status == RT_OK) status = hash_text(out);
    if (status != RT_OK) glm_haystack_free(out);
    return status;
}

void glm_haystack_free(glm_haystack *haystack) {
    free(haystack->text);
    *haystack = (glm_haystack){0};
}
