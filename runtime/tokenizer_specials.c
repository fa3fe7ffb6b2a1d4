/* The list of special tokens. It has a dozen entries: every search is a walk. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer_files.h"

void glm_specials_free(glm_special_list *list) {
    for (int32_t i = 0; i < list->n; i++) free(list->items[i].text);
    free(list->items);
    memset(list, 0, sizeof *list);
}

static rt_status check_id(const char *where, int32_t n_tokens, int64_t id) {
    if (id >= 0 && id < n_tokens)
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_ID_TAKEN: %s: id %" PRId64
                " is the rank of an ordinary token, there are %" PRId32 " of them",
                where, id, n_tokens);
    if (id < 0 || id > GLM_SPECIAL_ID_MAX)
        return rt_fail(RT_EMODEL, "tokenizer: TK_ID: %s: id %" PRId64 " is not within 0..%d", where,
                id, GLM_SPECIAL_ID_MAX);
    return RT_OK;
}

static rt_status check_text(const char *where, const char *text, int64_t n_bytes) {
    if (n_bytes < 1 || n_bytes > GLM_SPECIAL_BYTES_MAX)
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_LENGTH: %s: a special token of %" PRId64 " bytes; 1 to %d are read",
                where, n_bytes, GLM_SPECIAL_BYTES_MAX);
    if (memchr(text, '\0', (size_t)n_bytes))
        return rt_fail(RT_EMODEL, "tokenizer: TK_NUL: %s: a special token with a NUL in it", where);
    return RT_OK;
}

/* *is_known: the list says just this already. */
static rt_status check_against(const glm_special_list *list, const char *where, int64_t id,
        const char *text, int64_t n_bytes, bool *is_known) {
    *is_known = false;
    for (int32_t i = 0; i < list->n; i++) {
        const glm_special *item = &list->items[i];
        const bool is_same_text =
                item->n_bytes == n_bytes && memcmp(item->text, text, (size_t)n_bytes) == 0;
        if (item->id == id && is_same_text) *is_known = true;
        if ((item->id == id) != is_same_text)
            return rt_fail(RT_EMODEL,
                    "tokenizer: TK_CONFLICT: %s: \"%s\" has id %" PRId64
                    ", but \"%s\" has id %" PRId32,
                    where, text, id, item->text, item->id);
    }
    return RT_OK;
}

static rt_status append(glm_special_list *list, int64_t id, const char *text, int64_t n_bytes) {
    const size_t n = (size_t)list->n + 1;
    glm_special *items = realloc(list->items, n * sizeof *items);
    if (!items) return rt_fail(RT_ENOMEM, "tokenizer: no memory for special tokens");
    list->items = items;
    char *copy = strndup(text, (size_t)n_bytes);
    if (!copy) return rt_fail(RT_ENOMEM, "tokenizer: no memory for special tokens");
    list->items[list->n++] = (glm_special){(int32_t)id, (int32_t)n_bytes, copy};
    return RT_OK;
}

rt_status glm_specials_add(glm_special_list *list, const char *where, int32_t n_tokens, int64_t id,
        const char *text, int64_t n_bytes) {
    bool is_known;
    RT_TRY(check_id(where, n_tokens, id));
    RT_TRY(check_text(where, text, n_bytes));
    RT_TRY(check_against(list, where, id, text, n_bytes, &is_known));
    if (is_known) return RT_OK;
    if (list->n == GLM_SPECIALS_MAX)
        return rt_fail(RT_EMODEL, "tokenizer: TK_TOO_MANY: %s: more than %d special tokens", where,
                GLM_SPECIALS_MAX);
    return append(list, id, text, n_bytes);
}
