#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli_books.h"
#include "cli_json.h"
#include "cmd_book.h"
#include "wildcard.h"

enum { PLACE_TEXT = 512, WHY_TEXT = 512, LEFT_TEXT = 512 };

/* No book's name has one of these. */
static bool is_glob(const char *operand) {
    return strpbrk(operand, "*?[") != NULL;
}

/* Of all names, those that one operand means. */
static rt_status mark(const book_shelf *s, const char *operand, bool *is_meant) {
    char place[PLACE_TEXT];
    bool any = false;
    if (!is_glob(operand)) RT_TRY(glm_cli_book_require(s->cli, s->books, operand));
    for (int64_t i = 0; i < s->n_names; i++) {
        const bool is = is_glob(operand) ? glm_wildcard_match(operand, s->names[i], false)
                                         : strcmp(operand, s->names[i]) == 0;
        is_meant[i] |= is;
        any |= is;
    }
    if (any || !is_glob(operand)) return RT_OK;
    RT_TRY(glm_cli_books_place(s->cli, place, sizeof place));
    return rt_fail(RT_EUSAGE, "no book in %s matches %s", place, operand);
}

static rt_status print_removed(const book_shelf *s, const bool *is_gone, bool is_one) {
    json_t *array = s->cli->json ? json_array() : NULL;
    int64_t n_gone = 0;
    for (int64_t i = 0; i < s->n_names; i++) {
        if (!is_gone[i]) continue;
        n_gone++;
        if (array) (void)json_array_append_new(array, json_string(s->names[i]));
        if (!array)
            (void)printf("removed %s%s", s->names[i],
                    is_one ? "; what no other book holds goes when room is needed, or by glm1m book "
                             "gc\n"
                           : "\n");
    }
    if (!array && !is_one && n_gone > 0)
        (void)printf("what no other book holds goes when room is needed, or by glm1m book gc\n");
    if (!array) return RT_OK;
    json_t *removed = is_one ? json_incref(json_array_get(array, 0)) : json_incref(array);
    json_decref(array);
    return glm_cli_json_print("book", json_pack("{s:o}", "removed", removed), 0);
}

/* ": a, b, c", as much of it as there is room for */
static void list_failed(const book_shelf *s, const bool *is_left, char text[LEFT_TEXT]) {
    int n = 0;
    text[0] = '\0';
    for (int64_t i = 0; i < s->n_names && n < LEFT_TEXT - KV_BOOK_NAME_MAX - 8; i++)
        if (is_left[i])
            n += snprintf(text + n, (size_t)(LEFT_TEXT - n), "%s %s", n ? "," : ":", s->names[i]);
}

/* Those that can be removed are, and is_meant is of them from here on. One that another process has removed meanwhile is
 * gone, which was asked for. Of those that cannot be the first failure is told, and their names. */
static rt_status remove_meant(const book_shelf *s, bool *is_meant, bool *is_left) {
    char why[WHY_TEXT] = "";
    char left[LEFT_TEXT];
    int64_t n_meant = 0;
    int64_t n_left = 0;
    rt_status first = RT_OK;
    for (int64_t i = 0; i < s->n_names; i++) {
        if (!is_meant[i]) continue;
        n_meant++;
        const rt_status status = kv_books_remove(s->books, s->names[i]);
        if (status == RT_OK || status == RT_EUSAGE) continue;
        if (first == RT_OK) (void)snprintf(why, sizeof why, "%s", rt_error_text());
        if (first == RT_OK) first = status;
        n_left++;
        is_left[i] = true;
        is_meant[i] = false;
    }
    if (first == RT_OK || n_meant == 1) return first;
    list_failed(s, is_left, left);
    return rt_fail(first, "%s; %" PRId64 " of %" PRId64 " books could not be removed%s", why,
            n_left, n_meant, left);
}

rt_status book_remove(book_shelf *s) {
    bool *is_meant = NULL;
    bool *is_left = NULL;
    rt_status status = rt_calloc(s->n_names + 1, sizeof *is_meant, "books to remove", &is_meant);
    if (status == RT_OK)
        status = rt_calloc(s->n_names + 1, sizeof *is_left, "books to remove", &is_left);
    for (int i = 1; i < s->cli->n_operands && status == RT_OK; i++)
        status = mark(s, s->cli->operands[i], is_meant);
    const bool is_one = s->cli->n_operands == 2 && !is_glob(s->cli->operands[1]);
    if (status == RT_OK) {
        status = remove_meant(s, is_meant, is_left);
        const bool is_told = status == RT_OK || !is_one;
        const rt_status printed = is_told ? print_removed(s, is_meant, is_one) : RT_OK;
        if (status == RT_OK) status = printed;
    }
    free(is_meant);
    free(is_left);
    return status;
}
