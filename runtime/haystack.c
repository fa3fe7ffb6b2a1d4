/* Where a haystack comes from: files, directories of files, lines of JSON, or nowhere.
 *
 * Hidden names are passed over, as a shell's *.txt passes over them. A symbolic link to a file is
 * read, one to a directory is not entered unless it was given itself: so no walk goes in circles. */
#include "haystack.h"

#include <errno.h>
#include <fts.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "prose.h"
#include "sha256.h"

static const int64_t file_bytes_max = RT_GIB;

/* ---- text ------------------------------------------------------------------------------------ */

typedef struct text_buffer {
    char *text;
    int64_t n;
    int64_t capacity;
} text_buffer;

static rt_status reserve(text_buffer *buffer, int64_t more) {
    const int64_t needed = buffer->n + more;
    if (needed <= buffer->capacity) return RT_OK;
    const int64_t capacity = rt_max64(needed, buffer->capacity + buffer->capacity / 2);
    char *text = realloc(buffer->text, (size_t)capacity);
    if (!text) return rt_fail(RT_ENOMEM, "haystack: no memory for %" PRId64 " bytes", capacity);
    buffer->text = text;
    buffer->capacity = capacity;
    return RT_OK;
}

/* A text behind the others, an empty line between them unless there is a line's end. */
static rt_status append(text_buffer *buffer, const char *text, int64_t n) {
    static const char between[] = "\n\n";
    RT_TRY(reserve(buffer, n + (int64_t)sizeof between));
    if (n > 0 && buffer->n > 0 && buffer->text[buffer->n - 1] != '\n') {
        memcpy(buffer->text + buffer->n, between, 2);
        buffer->n += 2;
    }
    if (n > 0) memcpy(buffer->text + buffer->n, text, (size_t)n);
    buffer->n += n;
    buffer->text[buffer->n] = '\0';
    return RT_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool has_suffix(const char *path, const char *suffix) {
    const size_t n = strlen(path);
    const size_t n_suffix = strlen(suffix);
    return n >= n_suffix && strcmp(path + n - n_suffix, suffix) == 0;
}

static bool is_blank(const char *line, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!strchr(" \t\r", line[i]) || line[i] == '\0') return false;
    return true;
}

static rt_status append_json(
        text_buffer *buffer, const char *path, int64_t number, const char *line, int64_t n) {
    json_error_t error;
    json_t *root = json_loadb(line, (size_t)n, 0, &error);
    if (!root && json_error_code(&error) == json_error_out_of_memory)
        return rt_fail(RT_ENOMEM, "haystack: no memory for %s:%" PRId64, path, number);
    if (!root)
        return rt_fail(RT_EUSAGE, "haystack: %s:%" PRId64 ": column %d: %s", path, number,
                error.column, error.text);
    const json_t *text = json_object_get(root, "text");
    const rt_status status =
            json_is_string(text)
                    ? append(buffer, json_string_value(text), (int64_t)json_string_length(text))
                    : rt_fail(RT_EUSAGE,
                              "haystack: %s:%" PRId64 ": no \"text\" string in this line", path,
                              number);
    json_decref(root);
    return status;
}

static rt_status append_jsonl(
        text_buffer *buffer, const char *path, const char *bytes, int64_t n_bytes) {
    int64_t number = 0;
    for (int64_t at = 0; at < n_bytes;) {
        const char *line = bytes + at;
        const char *end = memchr(line, '\n', (size_t)(n_bytes - at));
        const int64_t n = end ? end - line : n_bytes - at;
        number++;
        at += n + 1;
        if (!is_blank(line, n)) RT_TRY(append_json(buffer, path, number, line, n));
    }
    return RT_OK;
}

static rt_status append_file(text_buffer *buffer, const char *path) {
    char *bytes = NULL;
    int64_t n_bytes = 0;
    RT_TRY(rt_file_read(path, file_bytes_max, &bytes, &n_bytes));
    const rt_status status = has_suffix(path, ".jsonl") ? append_jsonl(buffer, path, bytes, n_bytes)
                                                        : append(buffer, bytes, n_bytes);
    free(bytes);
    return status;
}

/* ---- directories ----------------------------------------------------------------------------- */

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* A link that leads nowhere counts: reading it says what is wrong. */
static bool is_text_file(const FTSENT *entry) {
    if (!has_suffix(entry->fts_name, ".txt") && !has_suffix(entry->fts_name, ".md")) return false;
    struct stat info;
    if (entry->fts_info == FTS_SL)
        return stat(entry->fts_accpath, &info) != 0 || S_ISREG(info.st_mode);
    return entry->fts_info == FTS_F || entry->fts_info == FTS_SLNONE;
}

static rt_status visit(text_buffer *buffer, FTS *tree, FTSENT *entry) {
    switch (entry->fts_info) {
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        errno = entry->fts_errno;
        return rt_fail_errno(RT_EIO, "haystack: cannot read %s", entry->fts_path);
    case FTS_DP:
        return RT_OK;
    default:
        break;
    }
    if (entry->fts_level > FTS_ROOTLEVEL && entry->fts_name[0] == '.') {
        (void)fts_set(tree, entry, FTS_SKIP);
        return RT_OK;
    }
    return is_text_file(entry) ? append_file(buffer, entry->fts_path) : RT_OK;
}

static rt_status walk(text_buffer *buffer, const char *path, FTS *tree) {
    FTSENT *entry = NULL;
    for (errno = 0; (entry = fts_read(tree)) != NULL; errno = 0) RT_TRY(visit(buffer, tree, entry));
    return errno ? rt_fail_errno(RT_EIO, "haystack: cannot walk %s", path) : RT_OK;
}

static rt_status append_directory(text_buffer *buffer, const char *path) {
    const int64_t before = buffer->n;
    char *roots[] = {strdup(path), NULL};
    if (!roots[0]) return rt_fail(RT_ENOMEM, "haystack: no memory for the path %s", path);
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
    rt_status status = tree ? walk(buffer, path, tree)
                            : rt_fail_errno(RT_EIO, "haystack: cannot open %s", path);
    if (tree) (void)fts_close(tree);
    free(roots[0]);
    if (status == RT_OK && buffer->n == before)
        status = rt_fail(RT_EIO, "haystack: the directory %s holds no text in *.txt or *.md", path);
    return status;
}

static rt_status append_path(text_buffer *buffer, const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) return rt_fail_errno(RT_EIO, "haystack: cannot read %s", path);
    return S_ISDIR(info.st_mode) ? append_directory(buffer, path) : append_file(buffer, path);
}

/* ---- haystack -------------------------------------------------------------------------------- */

static rt_status read_paths(const char *const *paths, int n_paths, glm_haystack *out) {
    text_buffer buffer = {0};
    rt_status status = append(&buffer, "", 0);
    for (int i = 0; i < n_paths && status == RT_OK; i++) status = append_path(&buffer, paths[i]);
    out->text = buffer.text;
    out->n_bytes = buffer.n;
    return status;
}

static rt_status hash(glm_haystack *haystack) {
    uint8_t digest[GLM_SHA256_BYTES];
    RT_TRY(glm_sha256_of(haystack->text, haystack->n_bytes, digest));
    (void)glm_sha256_hex(digest, haystack->sha256);
    return RT_OK;
}

rt_status glm_haystack_load(const char *const *paths, int n_paths, uint64_t seed, int64_t bytes_min,
        glm_haystack *out) {
    *out = (glm_haystack){.is_built_in = n_paths == 0};
    rt_status status = out->is_built_in ? glm_prose_make(seed, bytes_min, &out->text, &out->n_bytes)
                                        : read_paths(paths, n_paths, out);
    if (status == RT_OK) status = hash(out);
    if (status != RT_OK) glm_haystack_free(out);
    return status;
}

void glm_haystack_free(glm_haystack *haystack) {
    free(haystack->text);
    *haystack = (glm_haystack){0};
}
