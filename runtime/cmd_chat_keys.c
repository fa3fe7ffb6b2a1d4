#include "cmd_chat_keys.h"

#ifdef GLM_HAVE_EDIT

#include <stdlib.h>
#include <wchar.h>
#include <wctype.h>

#include "base/memory.h"
#include "cmd_chat_names.h"
#include "utf8.h"

enum { COLUMNS_OF_PROMPT = 2, COLUMNS_OF_TAB = 8, COLUMNS_OF_CODE = 8 };

/* How far a text reaches on the screen. */
typedef struct extent {
    int columns; /* of the window */
    int64_t n_rows;
    int64_t column;
} extent;

/* As libedit shows it: ^C, \U+200b. */
static int64_t width_of(wchar_t c, int64_t column) {
    if (c == L'\t') return COLUMNS_OF_TAB - column % COLUMNS_OF_TAB;
    if (c < 0x100 && iswcntrl((wint_t)c)) return 2;
    return iswprint((wint_t)c) ? wcwidth(c) : COLUMNS_OF_CODE;
}

static void reach(extent *reached, const wchar_t *text, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const int64_t width = width_of(text[i], reached->column);
        const bool is_next = text[i] == L'\n' || reached->column + width > reached->columns;
        reached->n_rows += is_next;
        reached->column = (is_next ? 0 : reached->column) + (text[i] == L'\n' ? 0 : width);
    }
}

static bool is_shown_whole(EditLine *edit, const wchar_t *text, int64_t n) {
    const LineInfoW *line = el_wline(edit);
    extent reached = {.n_rows = 1, .column = COLUMNS_OF_PROMPT};
    int n_rows = 0;
    if (el_get(edit, EL_GETTC, "li", &n_rows) != 0 ||
            el_get(edit, EL_GETTC, "co", &reached.columns) != 0)
        return false;
    reach(&reached, line->buffer, line->cursor - line->buffer);
    reach(&reached, text, n);
    reach(&reached, line->cursor, line->lastchar - line->cursor);
    return reached.n_rows <= n_rows / 2;
}

/* For free(); it has no NUL within. */
static rt_status widen(const char *text, int64_t n_bytes, wchar_t **out, int64_t *n_characters) {
    wchar_t *characters = NULL;
    int64_t n = 0;
    RT_TRY(rt_calloc(n_bytes + 1, (int64_t)sizeof *characters, "a pasted text", &characters));
    for (int64_t i = 0; i < n_bytes;) {
        uint32_t code_point = 0;
        const int length = glm_utf8_decode(text + i, n_bytes - i, &code_point);
        rt_assert(length > 0);
        characters[n++] = (wchar_t)code_point;
        i += length;
    }
    *out = characters;
    *n_characters = n;
    return RT_OK;
}

static rt_status put(EditLine *edit, const wchar_t *text) {
    if (text[0] == L'\0' || el_winsertstr(edit, text) == 0) return RT_OK;
    return rt_fail(RT_ENOMEM, "chat: no memory for a line");
}

/* Without memory for it nothing is put, and the line is as it was. */
static rt_status put_place(EditLine *edit, const char *place) {
    return el_insertstr(edit, place) == 0 ? RT_OK
                                          : rt_fail(RT_ENOMEM, "chat: no memory for a line");
}

static unsigned char on_tab(EditLine *edit, wint_t key) {
    const LineInfo *line = el_line(edit);
    char *rest = NULL;
    (void)key;
    if (chat_names_complete(line->buffer, line->cursor - line->buffer, &rest) != RT_OK)
        return CC_ERROR;
    const bool is_put = rest[0] && el_insertstr(edit, rest) == 0;
    free(rest);
    return is_put ? CC_REFRESH : CC_REFRESH_BEEP;
}

/* (el_set() would forget copies of the names.) */
void chat_keys_bind_tab(EditLine *edit) {
    (void)el_wset(edit, EL_ADDFN, L"complete-name", L"Complete a command or a file's name", on_tab);
    (void)el_set(edit, EL_BIND, "\t", "complete-name", NULL);
}

rt_status chat_keys_paste(EditLine *edit, glm_pastes *pastes, const char *text, int64_t n_bytes) {
    wchar_t *characters = NULL;
    int64_t n = 0;
    RT_TRY(widen(text, n_bytes, &characters, &n));
    const bool is_whole = is_shown_whole(edit, characters, n);
    const rt_status status = is_whole ? put(edit, characters) : RT_OK;
    free(characters);
    if (is_whole) return status;
    RT_TRY(glm_pastes_keep(pastes, text, n_bytes));
    return put_place(edit, pastes->pastes[pastes->n - 1].place);
}

#endif
