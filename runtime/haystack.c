/* Where a haystack comes from: files, directories of files, lines of JSON, or nowhere.
 *
 * Hidden names are passed over, as a shell's *.txt passes over them. A symbolic link to a file is
 * read, one to a directory is not entered unless it was given itself: so no walk goes in circles. */
#include "haystack.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/size.h"
#include "document.h"
#include "file_walk.h"
#include "prose.h"
#include "sha256.h"
#include "text.h"

static const int64_t file_bytes_max = RT_GIB;

/* A text behind the others, an empty line between them unless there is a line's end. */
static rt_status append(glm_text *all, const char *text, int64_t n) {
    if (n > 0 && all->n > 0 && all->bytes[all->n - 1] != '\n') RT_TRY(glm_text_add(all, "\n\n", 2));
    return glm_text_add(all, text, n);
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
        glm_text *all, const char *path, int64_t number, const char *line, int64_t n) {
    json_error_t error;
    json_t *root = json_loadb(line, (size_t)n, 0, &error);
    if (!root && json_error_code(&error) == json_error_out_of_memory)
        return rt_fail(RT_ENOMEM, "haystack: no memory for %s:%" PRId64, path, number);
    if (!root)
        return rt_fail(RT_EUSAGE, "haystack: %s:%" PRId64 ": column %d: %s", path, number,
                error.column, error.text);
    const json_t *text = json_object_get(root, "text");
    if (!json_is_string(text))
        text = json_object_get(root, "context"); /* LongBench, InfiniteBench */
    const rt_status status =
            json_is_string(text)
                    ? append(all, json_string_value(text), (int64_t)json_string_length(text))
                    : rt_fail(RT_EUSAGE,
                              "haystack: %s:%" PRId64
                              ": no string, \"text\" or \"context\", in this line",
                              path, number);
    json_decref(root);
    return status;
}

static rt_status append_jsonl(glm_text *all, const char *path, const char *bytes, int64_t n_bytes) {
    int64_t number = 0;
    for (int64_t at = 0; at < n_bytes;) {
        const char *line = bytes + at;
        const char *end = memchr(line, '\n', (size_t)(n_bytes - at));
        const int64_t n = end ? end - line : n_bytes - at;
        number++;
        at += n + 1;
        if (!is_blank(line, n)) RT_TRY(append_json(all, path, number, line, n));
    }
    return RT_OK;
}

/* A text, or that of a PDF and the like; what is neither is refused, with the byte from which on. */
static rt_status append_document(glm_text *all, const char *path) {
    glm_document document;
    RT_TRY(glm_document_load(&path, 1, NULL, &document));
    if (!all->bytes) {
        *all = (glm_text){
                .bytes = document.text, .n = document.n_bytes, .capacity = document.n_bytes + 1};
        document.text = NULL;
    }
    const rt_status status = document.text ? append(all, document.text, document.n_bytes) : RT_OK;
    glm_document_free(&document);
    return status;
}

static rt_status append_file(glm_text *all, const char *path) {
    if (!has_suffix(path, ".jsonl")) return append_document(all, path);
    char *bytes = NULL;
    int64_t n_bytes = 0;
    RT_TRY(rt_file_read(path, file_bytes_max, &bytes, &n_bytes));
    const rt_status status = append_jsonl(all, path, bytes, n_bytes);
    free(bytes);
    return status;
}

/* ---- directories ----------------------------------------------------------------------------- */

static bool has_known_suffix(const char *name) {
    static const char *const known[] = {
            ".txt", ".md", ".jsonl", ".pdf", ".docx", ".odt", ".epub", ".rtf"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (has_suffix(name, known[i])) return true;
    return false;
}

/* A link that leads nowhere counts: reading it says what is wrong. */
static bool is_text_file(const glm_walk_entry *entry) {
    if (!has_known_suffix(entry->name)) return false;
    struct stat info;
    if (entry->kind == GLM_WALK_LINK) return stat(entry->path, &info) != 0 || S_ISREG(info.st_mode);
    return entry->kind == GLM_WALK_FILE;
}

static rt_status visit(void *all, const glm_walk_entry *entry) {
    if (entry->kind == GLM_WALK_UNREADABLE)
        return rt_fail_errno(RT_EIO, "haystack: cannot read %s", entry->path);
    return is_text_file(entry) ? append_file(all, entry->path) : RT_OK;
}

static rt_status append_directory(glm_text *all, const char *path) {
    const int64_t before = all->n;
    RT_TRY(glm_walk(path, GLM_WALK_OF_FILES, visit, all));
    if (all->n > before) return RT_OK;
    return rt_fail(RT_EIO,
            "haystack: the directory %s holds no text in *.txt, *.md, *.jsonl, *.pdf, *.docx, "
            "*.odt, *.epub or *.rtf",
            path);
}

static rt_status append_path(glm_text *all, const char *path) {
    struct stat info;
    if (strcmp(path, "-") == 0) return append_document(all, path); /* standard input */
    if (stat(path, &info) != 0) return rt_fail_errno(RT_EIO, "haystack: cannot read %s", path);
    return S_ISDIR(info.st_mode) ? append_directory(all, path) : append_file(all, path);
}

/* ---- haystack -------------------------------------------------------------------------------- */

static rt_status read_paths(const char *const *paths, int n_paths, glm_haystack *out) {
    glm_text all = {0};
    rt_status status = RT_OK;
    for (int i = 0; i < n_paths && status == RT_OK; i++) status = append_path(&all, paths[i]);
    if (status == RT_OK) status = append(&all, "", 0);
    out->text = all.bytes;
    out->n_bytes = all.n;
    return status;
}

/* Made-up prose of a seed begins alike however much of it is made, and its beginning names it: so a
 * longer context is no other haystack. */
enum { PROSE_HASHED = 65536 };

static rt_status hash(glm_haystack *haystack) {
    uint8_t digest[GLM_SHA256_BYTES];
    const int64_t n = haystack->is_built_in ? PROSE_HASHED : haystack->n_bytes;
    RT_TRY(glm_sha256_of(haystack->text, n, digest));
    (void)glm_sha256_hex(digest, haystack->sha256);
    return RT_OK;
}

rt_status glm_haystack_load(const char *const *paths, int n_paths, uint64_t seed, int64_t bytes_min,
        glm_haystack *out) {
    *out = (glm_haystack){.is_built_in = n_paths == 0};
    const int64_t n_prose = rt_max64(bytes_min, PROSE_HASHED);
    rt_status status = out->is_built_in ? glm_prose_make(seed, n_prose, &out->text, &out->n_bytes)
                                        : read_paths(paths, n_paths, out);
    if (status == RT_OK) status = hash(out);
    if (status != RT_OK) glm_haystack_free(out);
    return status;
}

void glm_haystack_free(glm_haystack *haystack) {
    free(haystack->text);
    *haystack = (glm_haystack){0};
}
