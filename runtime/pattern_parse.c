/* An expression -> parts and sets of characters, by recursive descent. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pattern_inside.h"
#include "utf8.h"

enum { NESTING_MAX = 64, REPEAT_MAX = 10000, RANGES_MAX = 512 };

typedef struct parser {
    const char *where;
    const char *begin;
    const char *at; /* in a NUL-terminated text */
    const char *end;
    glm_pattern_tree *tree;
    int nesting;
} parser;

static rt_status refuse(const parser *p, const char *what) {
    return rt_fail(RT_EUSAGE, "schema: %s: %s, from byte %" PRId64 " of it on, %s", p->where, what,
            (int64_t)(p->at - p->begin), "is not supported");
}

static rt_status wrong(const parser *p, const char *what) {
    return rt_fail(RT_EUSAGE, "schema: %s is no expression: %s at byte %" PRId64, p->where, what,
            (int64_t)(p->at - p->begin));
}

/* ---- parts ----------------------------------------------------------------------------------- */

static rt_status add_part(parser *p, glm_part part, int32_t *index) {
    glm_pattern_tree *tree = p->tree;
    RT_TRY(rt_make_room(
            &tree->parts, sizeof part, tree->n_parts, &tree->parts_room, "parts of a pattern"));
    part.next = GLM_PATTERN_NONE;
    tree->parts[tree->n_parts] = part;
    *index = (int32_t)tree->n_parts++;
    return RT_OK;
}

static rt_status add_parent(parser *p, glm_part_kind kind, int32_t *index) {
    return add_part(p,
            (glm_part){.kind = kind, .child = GLM_PATTERN_NONE, .last = GLM_PATTERN_NONE}, index);
}

static void add_child(parser *p, int32_t parent, int32_t child) {
    glm_part *of = &p->tree->parts[parent];
    if (of->last == GLM_PATTERN_NONE)
        of->child = child;
    else
        p->tree->parts[of->last].next = child;
    of->last = child;
}

/* ---- sets ------------------------------------------------------------------------------------ */

static const glm_char_range digits[] = {{'0', '9'}};
static const glm_char_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const glm_char_range spaces[] = {{'\t', '\r'}, {' ', ' '}, {0xa0, 0xa0}, {0x1680, 0x1680},
        {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000},
        {0xfeff, 0xfeff}};
static const glm_char_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
enum { N_WORDS = 4, N_SPACES = 10, N_LINE_ENDS = 3 };

/* Ranges on their way to a set. */
typedef struct collected {
    glm_char_range ranges[RANGES_MAX];
    int64_t n;
} collected;

static rt_status collect(parser *p, collected *c, int32_t first, int32_t last) {
    if (c->n == RANGES_MAX) return refuse(p, "a class of more than 512 ranges");
    c->ranges[c->n++] = (glm_char_range){first, last};
    return RT_OK;
}

/* Those, or all others; they ascend. */
static rt_status collect_all(
        parser *p, collected *c, const glm_char_range *ranges, int64_t n, bool is_negated) {
    int32_t from = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!is_negated)
            RT_TRY(collect(p, c, ranges[i].first, ranges[i].last));
        else if (ranges[i].first > from)
            RT_TRY(collect(p, c, from, ranges[i].first - 1));
        from = ranges[i].last + 1;
    }
    return is_negated ? collect(p, c, from, GLM_CODE_POINT_MAX) : RT_OK;
}

static rt_status end_set(parser *p, collected *c, bool is_negated, int32_t *index) {
    int32_t set = 0;
    RT_TRY(glm_pattern_add_set(p->tree, c->ranges, c->n, is_negated, &set));
    return add_part(p, (glm_part){.kind = GLM_PART_SET, .set = set}, index);
}

/* ---- characters ------------------------------------------------------------------------------ */

static rt_status read_character(parser *p, int32_t *code) {
    uint32_t code_point = 0;
    const int n = glm_utf8_decode(p->at, p->end - p->at, &code_point);
    if (n <= 0) return wrong(p, "what is not UTF-8");
    p->at += n;
    *code = (int32_t)code_point;
    return RT_OK;
}

static int hex_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static rt_status read_hex(parser *p, int n_digits, int32_t *code) {
    *code = 0;
    for (int i = 0; i < n_digits; i++) {
        const int digit = p->at < p->end ? hex_of(*p->at) : -1;
        if (digit < 0) return wrong(p, "no hexadecimal digit");
        *code = *code * 16 + digit;
        p->at++;
    }
    return RT_OK;
}

/* {H...} */
static rt_status read_braced_hex(parser *p, int32_t *code) {
    p->at++;
    for (*code = 0; p->at < p->end && hex_of(*p->at) >= 0; p->at++) {
        *code = *code * 16 + hex_of(*p->at);
        if (*code > GLM_CODE_POINT_MAX) return wrong(p, "a character beyond U+10FFFF");
    }
    if (*p->at != '}' || p->at[-1] == '{') return wrong(p, "no \\u{H...}");
    p->at++;
    return RT_OK;
}

static rt_status read_unicode(parser *p, int32_t *code) {
    int32_t low = 0;
    if (*p->at == '{') return read_braced_hex(p, code);
    RT_TRY(read_hex(p, 4, code));
    if (*code < 0xd800 || *code > 0xdfff) return RT_OK;
    if (*code > 0xdbff || p->at[0] != '\\' || p->at[1] != 'u')
        return refuse(p, "half of a surrogate pair");
    p->at += 2;
    RT_TRY(read_hex(p, 4, &low));
    if (low < 0xdc00 || low > 0xdfff) return refuse(p, "half of a surrogate pair");
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return RT_OK;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Behind the backslash. */
static rt_status read_escape(parser *p, int32_t *code) {
    static const char letters[] = "tnrfv";
    static const char controls[] = "\t\n\r\f\v";
    const char c = *p->at;
    const char *letter = c ? strchr(letters, c) : NULL;
    if (c == '\0') return wrong(p, "nothing behind a backslash");
    if (!is_letter(c) && !(c >= '0' && c <= '9')) return read_character(p, code);
    p->at++;
    *code = letter ? controls[letter - letters] : 0;
    if (letter || (c == '0' && !(*p->at >= '0' && *p->at <= '9'))) return RT_OK;
    if (c == 'x') return read_hex(p, 2, code);
    if (c == 'u') return read_unicode(p, code);
    if (c == 'c' && is_letter(*p->at)) {
        *code = *p->at++ % 32;
        return RT_OK;
    }
    p->at -= 2;
    if (c == 'b' || c == 'B') return refuse(p, "a word boundary, \\b or \\B");
    if (c == 'p' || c == 'P') return refuse(p, "a property of characters, \\p or \\P");
    if (c == 'k' || (c >= '0' && c <= '9')) return refuse(p, "a back reference");
    return refuse(p, "that escape");
}

/* \d and the like; *is_one: there was one, and it is collected. */
static rt_status read_kind(parser *p, collected *c, bool *is_one) {
    const char letter = p->at[0] == '\\' ? p->at[1] : '\0';
    const char lower = (char)(letter | 0x20);
    const bool is_negated = letter != lower;
    *is_one = letter && is_letter(letter) && strchr("dws", lower);
    if (!*is_one) return RT_OK;
    p->at += 2;
    if (lower == 'd') return collect_all(p, c, digits, 1, is_negated);
    if (lower == 'w') return collect_all(p, c, words, N_WORDS, is_negated);
    return collect_all(p, c, spaces, N_SPACES, is_negated);
}

/* ---- classes --------------------------------------------------------------------------------- */

static rt_status read_class_character(parser *p, int32_t *code) {
    if (*p->at != '\\') return read_character(p, code);
    if (p->at[1] == 'b') { /* in a class it is a backspace */
        p->at += 2;
        *code = '\b';
        return RT_OK;
    }
    p->at++;
    return read_escape(p, code);
}

static rt_status read_class_item(parser *p, collected *c) {
    int32_t first = 0;
    int32_t last = 0;
    bool is_kind = false;
    RT_TRY(read_kind(p, c, &is_kind));
    if (is_kind) return RT_OK;
    RT_TRY(read_class_character(p, &first));
    if (p->at[0] != '-' || p->at[1] == ']') return collect(p, c, first, first);
    p->at++;
    RT_TRY(read_kind(p, c, &is_kind));
    if (is_kind) { /* a class is no end of a range: the hyphen is one itself */
        RT_TRY(collect(p, c, '-', '-'));
        return collect(p, c, first, first);
    }
    RT_TRY(read_class_character(p, &last));
    if (last < first) return wrong(p, "a range that descends");
    return collect(p, c, first, last);
}

static rt_status read_class(parser *p, int32_t *index) {
    collected c = {.n = 0};
    const bool is_negated = p->at[1] == '^';
    p->at += 1 + is_negated;
    while (*p->at != ']') {
        if (p->at >= p->end) return wrong(p, "a class without its end");
        RT_TRY(read_class_item(p, &c));
    }
    p->at++;
    return end_set(p, &c, is_negated, index);
}

/* ---- groups and what is repeated ------------------------------------------------------------- */

static rt_status read_any(parser *p, int32_t *index);

/* What stands behind "(?", if it is no more than a group. */
static rt_status read_group_head(parser *p) {
    if (p->at[0] != '?') return RT_OK;
    if (p->at[1] == ':') {
        p->at += 2;
        return RT_OK;
    }
    if (p->at[1] != '<' || p->at[2] == '=' || p->at[2] == '!')
        return refuse(p, "a group that looks ahead or behind, or sets flags");
    while (p->at < p->end && *p->at != '>') p->at++;
    if (p->at >= p->end) return wrong(p, "a name without its end");
    p->at++;
    return RT_OK;
}

static rt_status read_group(parser *p, int32_t *index) {
    if (++p->nesting > NESTING_MAX) return refuse(p, "nesting of more than 64 groups");
    p->at++;
    RT_TRY(read_group_head(p));
    RT_TRY(read_any(p, index));
    if (*p->at != ')') return wrong(p, "a group without its end");
    p->at++;
    p->nesting--;
    return RT_OK;
}

static rt_status read_set(parser *p, int32_t *index) {
    collected c = {.n = 0};
    int32_t code = 0;
    bool is_kind = false;
    RT_TRY(read_kind(p, &c, &is_kind));
    if (is_kind) return end_set(p, &c, false, index);
    if (*p->at == '.') {
        p->at++;
        RT_TRY(collect_all(p, &c, line_ends, N_LINE_ENDS, true));
        return end_set(p, &c, false, index);
    }
    if (*p->at == '\\') {
        p->at++;
        RT_TRY(read_escape(p, &code));
    } else {
        RT_TRY(read_character(p, &code));
    }
    RT_TRY(collect(p, &c, code, code));
    return end_set(p, &c, false, index);
}

static rt_status read_atom(parser *p, int32_t *index) {
    switch (*p->at) {
    case '(':
        return read_group(p, index);
    case '[':
        return read_class(p, index);
    case '^':
    case '$':
        return add_part(
                p, (glm_part){.kind = *p->at++ == '^' ? GLM_PART_BEGIN : GLM_PART_END}, index);
    case '*':
    case '+':
    case '?':
        return wrong(p, "nothing to repeat");
    case '{':
        return wrong(p, "a brace that repeats nothing");
    default:
        return read_set(p, index);
    }
}

static rt_status read_number(parser *p, int32_t *number) {
    if (!(*p->at >= '0' && *p->at <= '9')) return wrong(p, "a brace that is no {n}, {n,} or {n,m}");
    for (*number = 0; *p->at >= '0' && *p->at <= '9'; p->at++) {
        *number = *number * 10 + (*p->at - '0');
        if (*number > REPEAT_MAX) return refuse(p, "repetition of more than 10000 times");
    }
    return RT_OK;
}

static rt_status read_braces(parser *p, glm_part *repeat) {
    p->at++;
    RT_TRY(read_number(p, &repeat->least));
    repeat->most = repeat->least;
    if (*p->at == ',') {
        p->at++;
        repeat->most = GLM_PATTERN_NONE;
        if (*p->at != '}') RT_TRY(read_number(p, &repeat->most));
    }
    if (*p->at != '}') return wrong(p, "a brace without its end");
    p->at++;
    if (repeat->most != GLM_PATTERN_NONE && repeat->most < repeat->least)
        return wrong(p, "repetition of at most fewer times than at least");
    return RT_OK;
}

/* *index: the atom; then what repeats it, if anything does. */
static rt_status read_repetition(parser *p, int32_t *index) {
    glm_part repeat = {.kind = GLM_PART_REPEAT, .most = GLM_PATTERN_NONE, .child = *index};
    const char c = *p->at;
    if (c == '\0' || !strchr("*+?{", c)) return RT_OK;
    if (c == '{') {
        RT_TRY(read_braces(p, &repeat));
    } else {
        p->at++;
        repeat.least = c == '+';
        if (c == '?') repeat.most = 1;
    }
    if (*p->at == '?') p->at++;
    return add_part(p, repeat, index);
}

static rt_status read_all(parser *p, int32_t *index) {
    RT_TRY(add_parent(p, GLM_PART_ALL, index));
    while (p->at < p->end && *p->at != '|' && *p->at != ')') {
        int32_t child = 0;
        RT_TRY(read_atom(p, &child));
        RT_TRY(read_repetition(p, &child));
        add_child(p, *index, child);
    }
    return RT_OK;
}

static rt_status read_any(parser *p, int32_t *index) {
    RT_TRY(add_parent(p, GLM_PART_ANY, index));
    for (;;) {
        int32_t child = 0;
        RT_TRY(read_all(p, &child));
        add_child(p, *index, child);
        if (*p->at != '|') return RT_OK;
        p->at++;
    }
}

rt_status glm_pattern_parse(const char *expression, const char *where, glm_pattern_tree *tree) {
    const size_t n = strlen(expression);
    parser p = {.where = where,
            .begin = expression,
            .at = expression,
            .end = expression + n,
            .tree = tree};
    if (n > GLM_PATTERN_BYTES)
        return rt_fail(RT_EUSAGE, "schema: %s has more than %d bytes", where, GLM_PATTERN_BYTES);
    RT_TRY(read_any(&p, &tree->root));
    return p.at == p.end ? RT_OK : wrong(&p, "a group's end without its beginning");
}

void glm_pattern_tree_free(glm_pattern_tree *tree) {
    free(tree->parts);
    free(tree->sets);
    free(tree->ranges);
}
