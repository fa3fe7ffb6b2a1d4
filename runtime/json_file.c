#include "json_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* jansson does not always notice that it got no memory: a key may end early and the text be
 * accepted, or be refused as bad JSON; and what it writes may lack a piece. Its allocator is ours, which remembers. */
static _Thread_local bool was_refused;

static void *allocate(size_t n_bytes) {
    void *memory = malloc(n_bytes);
    was_refused = was_refused || !memory;
    return memory;
}

/* jansson says which of its flags would take a NUL. The error's code is behind the text, in its last byte. */
static void say_in_our_words(json_error_t *error) {
    static const char in_text[] = "\\u0000, a NUL, is not taken in a string";
    static const char in_key[] = "\\u0000, a NUL, is not taken in a key";
    const enum json_error_code code = json_error_code(error);
    if (code == json_error_null_character) memcpy(error->text, in_text, sizeof in_text);
    if (code == json_error_null_byte_in_key) memcpy(error->text, in_key, sizeof in_key);
}

static json_t *parse_with(
        size_t flags, const char *text, int64_t n_bytes, json_error_t *error, bool *lacks_memory) {
    json_set_alloc_funcs(allocate, free);
    was_refused = false;
    json_t *root = json_loadb(text, (size_t)n_bytes, flags, error);
    *lacks_memory = was_refused;
    if (!root) say_in_our_words(error);
    if (!was_refused) return root;
    json_decref(root);
    return NULL;
}

json_t *glm_json_parse(const char *text, int64_t n_bytes, json_error_t *error, bool *lacks_memory) {
    return parse_with(JSON_REJECT_DUPLICATES, text, n_bytes, error, lacks_memory);
}

json_t *glm_json_parse_wide(
        const char *text, int64_t n_bytes, json_error_t *error, bool *lacks_memory) {
    return parse_with(
            JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, text, n_bytes, error, lacks_memory);
}

json_t *glm_json_parse_lax(
        const char *text, int64_t n_bytes, json_error_t *error, bool *lacks_memory) {
    return parse_with(0, text, n_bytes, error, lacks_memory);
}

char *glm_json_dumps(const json_t *value, size_t flags) {
    json_set_alloc_funcs(allocate, free);
    was_refused = false;
    char *text = value ? json_dumps(value, flags) : NULL;
    if (!was_refused) return text;
    free(text);
    return NULL;
}

static const char *code_of(const json_error_t *error) {
    switch (json_error_code(error)) {
    case json_error_duplicate_key:
        return "JSON_DUP_KEY";
    case json_error_invalid_utf8:
        return "JSON_UTF8";
    case json_error_stack_overflow:
        return "JSON_DEPTH";
    case json_error_numeric_overflow:
        return "JSON_NUMBER";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "JSON_NUL";
    case json_error_premature_end_of_input:
        return "JSON_CUT";
    case json_error_end_of_input_expected:
        return "JSON_TRAILING";
    default:
        return "JSON_SYNTAX";
    }
}

static rt_status parse(
        const char *module, const char *path, const char *text, int64_t n_bytes, json_t **root) {
    json_error_t error;
    bool lacks_memory = false;
    /* jansson takes a NUL between two values for space. */
    const char *nul = memchr(text, '\0', (size_t)n_bytes);
    if (nul)
        return rt_fail(
                RT_EMODEL, "%s: JSON_NUL: %s: JSON at byte %td: a NUL", module, path, nul - text);
    *root = glm_json_parse(text, n_bytes, &error, &lacks_memory);
    if (lacks_memory) return rt_fail(RT_ENOMEM, "%s: no memory for the values of %s", module, path);
    if (!*root)
        return rt_fail(RT_EMODEL, "%s: %s: %s:%d: column %d: JSON at byte %d: %s", module,
                code_of(&error), path, error.line, error.column, error.position, error.text);
    if (json_is_object(*root)) return RT_OK;
    json_decref(*root);
    *root = NULL;
    return rt_fail(RT_EMODEL, "%s: JSON_NOT_OBJECT: %s is not a JSON object", module, path);
}

/* What a clone without Git LFS has in the place of a large file, such as the tokenizer's. */
static rt_status refuse_lfs_pointer(
        const char *module, const char *path, char **text, int64_t n_bytes) {
    static const char pointer[] = "version https://git-lfs";
    const int64_t n = (int64_t)sizeof pointer - 1;
    if (n_bytes < n || memcmp(*text, pointer, (size_t)n) != 0) return RT_OK;
    free(*text);
    *text = NULL;
    return rt_fail(RT_EMODEL,
            "%s: IO_LFS_POINTER: %s is a Git LFS pointer, not the file; `git lfs pull` fetches it",
            module, path);
}

rt_status glm_model_file_read(
        const char *module, const char *path, int64_t bytes_max, char **text, int64_t *n_bytes) {
    static const char *const codes[] = {[RT_FILE_NOT_REGULAR] = "IO_NOT_REGULAR",
            [RT_FILE_TOO_LARGE] = "IO_TOO_LARGE",
            [RT_FILE_CHANGED] = "IO_CHANGED"};
    rt_file_fault fault;
    const rt_status status = rt_file_read_judged(path, bytes_max, text, n_bytes, &fault);
    if (fault == RT_FILE_FINE)
        return status == RT_OK ? refuse_lfs_pointer(module, path, text, *n_bytes) : status;
    return rt_fail(RT_EMODEL, "%s: %s: %s", module, codes[fault], rt_error_text());
}

rt_status glm_json_load_text(
        const char *module, const char *path, int64_t bytes_max, json_t **root, char **text) {
    *root = NULL;
    *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(glm_model_file_read(module, path, bytes_max, text, &n_bytes));
    const rt_status status = parse(module, path, *text, n_bytes, root);
    if (status == RT_OK) return RT_OK;
    free(*text);
    *text = NULL;
    return status;
}

rt_status glm_json_load(const char *module, const char *path, int64_t bytes_max, json_t **root) {
    char *text = NULL;
    const rt_status status = glm_json_load_text(module, path, bytes_max, root, &text);
    free(text);
    return status;
}

const char *glm_json_text(const json_t *value, char text[GLM_JSON_TEXT]) {
    static const char more[] = "...";
    const size_t room = GLM_JSON_TEXT - sizeof more;
    memset(text, 0, GLM_JSON_TEXT);
    /* Returns the bytes it would need; pieces beyond the room are left out. */
    const size_t n = json_dumpb(value, text, room,
            JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
    if (n > room) memcpy(text + strlen(text), more, sizeof more);
    return text;
}
