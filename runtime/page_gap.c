#include "page_gap.h"

#include <string.h>

/* A running head or foot has EDGE_LINES at most, and stands again within PAGES_NEAR pages: on every other one, perhaps. */
enum { EDGE_LINES = 3, PAGES_NEAR = 4, NUMBER_BYTES_MAX = 16 };

typedef struct span {
    const char *begin;
    const char *end;
} span;

/* The lines that end a page, or begin one. */
typedef enum edge { FOOT, HEAD } edge;

static bool is_blank(char c) {
    return (uint8_t)c <= ' ';
}

static bool is_letter(char c) {
    return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (uint8_t)c >= 0x80;
}

static span trimmed(span line) {
    while (line.begin < line.end && is_blank(*line.begin)) line.begin++;
    while (line.end > line.begin && is_blank(line.end[-1])) line.end--;
    return line;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The next line with something on it, from the edge inwards; it is taken from `rest`. */
static bool next_line(edge side, span *rest, span *line) {
    do {
        *line = *rest;
        const size_t n = (size_t)(rest->end - rest->begin);
        if (n == 0) return false;
        if (side == HEAD) {
            const char *feed = memchr(rest->begin, '\n', n);
            line->end = feed ? feed : rest->end;
            rest->begin = feed ? feed + 1 : rest->end;
        } else {
            const char *feed = memrchr(rest->begin, '\n', n);
            line->begin = feed ? feed + 1 : rest->begin;
            rest->end = feed ? feed : rest->begin;
        }
        *line = trimmed(*line);
    } while (line->begin == line->end);
    return true;
}

/* "7", "- 12 -", "xiv". */
static bool is_page_number(span line) {
    bool is_number = false;
    for (const char *at = line.begin; at < line.end; at++) {
        const bool is_digit = *at >= '0' && *at <= '9';
        if (!is_digit && is_letter(*at) && ((uint8_t)*at >= 0x80 || !strchr("ivxlIVXL", *at)))
            return false;
        is_number |= is_digit || is_letter(*at);
    }
    return is_number && line.end - line.begin <= NUMBER_BYTES_MAX;
}

/* Of their letters alone, without case: the number of a page or chapter is another one on each. */
static bool is_alike(span a, span b) {
    int64_t n_letters = 0;
    for (;; a.begin++, b.begin++, n_letters++) {
        while (a.begin < a.end && !is_letter(*a.begin)) a.begin++;
        while (b.begin < b.end && !is_letter(*b.begin)) b.begin++;
        if (a.begin == a.end || b.begin == b.end) break;
        if ((*a.begin | 0x20) != (*b.begin | 0x20)) return false;
    }
    return a.begin == a.end && b.begin == b.end && n_letters > 0;
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* The page of `text` that ends in front of `end`. */
static span page_before(span text, const char *end) {
    const char *feed = memrchr(text.begin, '\f', (size_t)(end - text.begin));
    return (span){feed ? feed + 1 : text.begin, end};
}

static span page_from(span text, const char *begin) {
    const char *feed = memchr(begin, '\f', (size_t)(text.end - begin));
    return (span){begin, feed ? feed : text.end};
}

static bool stands_on(span page, edge side, span line) {
    span other;
    for (int i = 0; i < EDGE_LINES && next_line(side, &page, &other); i++)
        if (is_alike(line, other)) return true;
    return false;
}

/* Whether a page other than `page`, which the line is of, has it at the same edge. */
static bool stands_again(span text, span page, edge side, span line) {
    span near = page;
    for (int i = 0; i < PAGES_NEAR && near.begin > text.begin; i++) {
        near = page_before(text, near.begin - 1);
        if (stands_on(near, side, line)) return true;
    }
    near = page;
    for (int i = 0; i < PAGES_NEAR && near.end < text.end; i++) {
        near = page_from(text, near.end + 1);
        if (stands_on(near, side, line)) return true;
    }
    return false;
}

/* `rest` are lines of the page. */
static bool is_nobodys(span text, span page, edge side, span rest) {
    span line;
    for (int i = 0; next_line(side, &rest, &line); i++)
        if (i == EDGE_LINES || (!is_page_number(line) && !stands_again(text, page, side, line)))
            return false;
    return true;
}

bool glm_is_page_gap(const glm_document *document, int64_t begin, int64_t end) {
    const glm_document_file *file = glm_document_file_at(document, begin);
    const span text = {
            document->text + file->text_at, document->text + file->text_at + file->n_bytes};
    const span gap = {document->text + begin, document->text + end};
    if (!file->is_paged || gap.begin < text.begin || gap.end > text.end) return false;
    const char *feed = memchr(gap.begin, '\f', (size_t)(end - begin));
    if (!feed || memchr(feed + 1, '\f', (size_t)(gap.end - feed - 1))) return false;

    const char *foot = gap.begin; /* behind what is left of the line that the sentence stops in */
    while (foot < feed && *foot != '\n' && is_blank(*foot)) foot++;
    const char *head_end = gap.end;
    while (head_end > feed + 1 && head_end[-1] != '\n' && is_blank(head_end[-1])) head_end--;
    if ((foot < feed && *foot != '\n') || (head_end > feed + 1 && head_end[-1] != '\n'))
        return false;
    return is_nobodys(text, page_before(text, feed), FOOT, (span){foot, feed}) &&
           is_nobodys(text, page_from(text, feed + 1), HEAD, (span){feed + 1, head_end});
}
