#include "fold.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/memory.h"
#include "base/size.h"
#include "text.h"
#include "utf8.h"

/* A character becomes at most 18 others; in front of it a space, behind a dash one more. */
enum { STEP_BYTES = 96, MARK_EVERY = 4096, PARTS_MAX = 20 };

typedef enum kind { NOTHING, OTHER, LETTER, WIDE, SPACE } kind;

/* The folding at one place of the text. */
struct glm_fold_mark {
    int64_t at;     /* in the text: the next character */
    int64_t n_out;  /* bytes that came out so far */
    kind last;      /* of the last character that came out; NOTHING: none did */
    bool has_space; /* white space since then */
};

/* ---- characters ------------------------------------------------------------------------------ */

static int decode(const char *text, int64_t n, int64_t at, uint32_t *c) {
    *c = (uint8_t)text[at];
    if (*c < 0x80) return 1;
    const int length = glm_utf8_decode(text + at, n - at, c);
    if (length > 0) return length;
    *c = UINT32_MAX; /* no character */
    return 1;
}

/* Letters and digits of full width are in words as others are. */
static bool is_wide(uint32_t c) {
    if ((c >= 0xff10 && c <= 0xff19) || (c >= 0xff21 && c <= 0xff3a) ||
            (c >= 0xff41 && c <= 0xff5a))
        return false;
    return (c >= 0x2e80 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0xff00 && c <= 0xffef) || (c >= 0x20000 && c <= 0x3ffff);
}

/* Most of Chinese: folds to itself. */
static bool is_ideograph(uint32_t c) {
    return c >= 0x4e00 && c <= 0x9fff;
}

static kind kind_of(uint32_t c) {
    if (c <= ' ' || c == 0x7f || c == 0x85) return SPACE;
    if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? LETTER : OTHER;
    if (c == UINT32_MAX) return OTHER;
    if (is_ideograph(c)) return WIDE;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return SPACE;
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
        return is_wide(c) ? WIDE : LETTER;
    default:
        return is_wide(c) ? WIDE : OTHER;
    }
}

static bool is_word(uint32_t c) {
    if (c < 0x80) return (c >= '0' && c <= '9') || kind_of(c) == LETTER;
    return kind_of(c) == LETTER ||
           (c != UINT32_MAX && utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND);
}

enum { SOFT_HYPHEN = 0xad };

static bool is_hyphen(uint32_t c) {
    return c == '-' || c == SOFT_HYPHEN || c == 0x2010 || c == 0x2011;
}

static bool is_dash(uint32_t c) {
    return (is_hyphen(c) && c != SOFT_HYPHEN) || (c >= 0x2012 && c <= 0x2015) || c == 0x2212;
}

/* Double ones become single where a quotation has one inside. */
static bool is_quote(uint32_t c) {
    return c == '"' || c == '`' || c == 0xab || c == 0xb4 || c == 0xbb ||
           (c >= 0x2018 && c <= 0x201f) || c == 0x2032 || c == 0x2033;
}

static bool is_letter(uint8_t c) {
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static uint32_t character_before(const char *text, int64_t n, int64_t at) {
    uint32_t c = 0;
    if (at == 0) return ' ';
    int64_t begin = at - 1;
    while (begin > 0 && at - begin < GLM_UTF8_BYTES_MAX && ((uint8_t)text[begin] & 0xc0) == 0x80)
        begin--;
    (void)decode(text, n, begin, &c);
    return c;
}

static uint32_t character_at(const char *text, int64_t n, int64_t at) {
    uint32_t c = ' ';
    if (at < n) (void)decode(text, n, at, &c);
    return c;
}

/* Whether there is a letter or digit both in front of `begin` and at `end`. */
static bool is_between_words(const char *text, int64_t n, int64_t begin, int64_t end) {
    return is_word(character_before(text, n, begin)) && is_word(character_at(text, n, end));
}

/* ---- one character at a time ----------------------------------------------------------------- */

/* Behind a hyphen at the end of a line: where the word goes on; `at` itself where it does not. */
static int64_t next_line(const char *text, int64_t n, int64_t at) {
    bool has_break = false;
    uint32_t c = 0;
    int64_t next = at;
    while (next < n && kind_of((uint8_t)text[next]) == SPACE) {
        has_break |= text[next] == '\n' || text[next] == '\f';
        next++;
    }
    if (!has_break || next == n) return at;
    (void)decode(text, n, next, &c);
    return kind_of(c) == LETTER ? next : at;
}

/* Whether the hyphen that ends at `at` is inside a word, which goes on at *next. */
static bool is_inside_word(const char *text, int64_t n, int64_t at, int64_t *next) {
    uint32_t c = 0;
    *next = next_line(text, n, at);
    if (*next >= n) return false;
    (void)decode(text, n, *next, &c);
    return kind_of(c) == LETTER;
}

static int fold_character(uint32_t c, const char *from, int length, char *out) {
    utf8proc_int32_t parts[PARTS_MAX];
    int n = 0;
    if (c < 0x80) {
        out[0] = (char)(c >= 'A' && c <= 'Z' ? c + 0x20 : c);
        return 1;
    }
    const utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD;
    const bool is_itself = c == UINT32_MAX || is_ideograph(c);
    const utf8proc_ssize_t n_parts = is_itself ? -1
                                               : utf8proc_decompose_char((utf8proc_int32_t)c, parts,
                                                         PARTS_MAX, options, NULL);
    if (n_parts <= 0 || n_parts > PARTS_MAX) {
        memcpy(out, from, (size_t)length);
        return length;
    }
    for (utf8proc_ssize_t i = 0; i < n_parts; i++)
        n += (int)utf8proc_encode_char(parts[i], (utf8proc_uint8_t *)out + n);
    return n;
}

static bool is_ignored(uint32_t c) {
    return c == SOFT_HYPHEN || (c >= 0x200b && c <= 0x200d) || c == 0x2060 || c == 0xfeff;
}

/* The next character of the text that lets something out: it begins at *begin and ends where the
 * mark stands afterwards. How many bytes come out; 0: the text is over. */
static int step(glm_fold_mark *mark, const char *text, int64_t n, int64_t *begin, char *out) {
    while (mark->at < n) {
        uint32_t c = 0;
        const int length = decode(text, n, mark->at, &c);
        const kind now = kind_of(c);
        int64_t next = 0;
        *begin = mark->at;
        mark->at += length;
        if (now == SPACE) {
            mark->has_space = true;
            continue;
        }
        /* Italics, as pandoc writes those of a book; an underscore that joins two words is none. */
        if (c == '_' && !is_between_words(text, n, *begin, mark->at)) continue;
        if (is_hyphen(c) && mark->last == LETTER && !mark->has_space &&
                is_inside_word(text, n, mark->at, &next)) {
            mark->at = next;
            continue;
        }
        if (is_ignored(c)) continue;
        if (is_dash(c)) {
            while (mark->at < n && is_dash((uint8_t)text[mark->at])) mark->at++;
            mark->has_space = true;
        }
        int n_out = 0;
        if (mark->has_space && mark->last != NOTHING && !(mark->last == WIDE && now == WIDE))
            out[n_out++] = ' ';
        if (is_quote(c) || is_dash(c))
            out[n_out++] = is_quote(c) ? '\'' : '-';
        else
            n_out += fold_character(c, text + *begin, length, out + n_out);
        mark->last = now;
        mark->has_space = is_dash(c);
        mark->n_out += n_out;
        return n_out;
    }
    return 0;
}

/* ---- many at a time -------------------------------------------------------------------------- */

/* What most texts consist of, white space and ASCII that folds to one byte, exactly as step() folds it; up to n_out_max
 * bytes. How many came out. Words are short: a branch at each of their ends would be a guess. */
static int64_t fold_plain(
        glm_fold_mark *mark, const char *text, int64_t n, int64_t n_out_max, char *out) {
    int64_t at = mark->at;
    int64_t n_out = 0;
    bool has_space = mark->has_space;
    if (mark->last == NOTHING) return 0;
    for (; at < n && n_out + 2 <= n_out_max; at++) {
        const uint8_t c = (uint8_t)text[at];
        const bool is_space = c <= ' ';
        if (c >= 0x7f || c == '-' || c == '"' || c == '`' || c == '_') break;
        out[n_out] = ' ';
        n_out += has_space & !is_space;
        out[n_out] = (char)(c | is_letter(c) << 5);
        n_out += !is_space;
        has_space = is_space;
    }
    mark->at = at;
    mark->has_space = has_space;
    if (n_out > 0) mark->last = is_letter((uint8_t)out[n_out - 1]) ? LETTER : OTHER;
    mark->n_out += n_out;
    return n_out;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static rt_status add_mark(glm_folded *out, const glm_fold_mark *mark) {
    RT_TRY(rt_make_room(&out->marks, sizeof *out->marks, out->n_marks, &out->marks_room,
            "marks of a folded text"));
    out->marks[out->n_marks++] = *mark;
    return RT_OK;
}

/* Up to the next mark, or the text's end. */
static rt_status fold_to_mark(glm_folded *out, glm_fold_mark *mark, glm_text *folded) {
    const int64_t n_wanted = mark->n_out + MARK_EVERY;
    int64_t begin = 0;
    RT_TRY(glm_text_reserve(folded, MARK_EVERY + STEP_BYTES));
    while (mark->n_out < n_wanted) {
        folded->n += fold_plain(mark, out->text, out->text_bytes, n_wanted - mark->n_out,
                folded->bytes + folded->n);
        const int n = step(mark, out->text, out->text_bytes, &begin, folded->bytes + folded->n);
        if (n == 0) break;
        folded->n += n;
    }
    folded->bytes[folded->n] = '\0';
    return RT_OK;
}

static rt_status fold_all(glm_folded *out, const glm_watch *watch, glm_text *folded) {
    glm_fold_mark mark = {0};
    int64_t asked_at = 0;
    RT_TRY(glm_text_add(folded, "", 0));
    while (mark.at < out->text_bytes) {
        RT_TRY(add_mark(out, &mark));
        RT_TRY(fold_to_mark(out, &mark, folded));
        if (mark.at - asked_at < GLM_WATCH_BYTES) continue;
        RT_TRY(glm_watch_at(watch, "folded", mark.at, out->text_bytes));
        asked_at = mark.at;
    }
    return glm_watch_at(watch, "folded", out->text_bytes, out->text_bytes);
}

rt_status glm_fold(const char *text, int64_t n_bytes, const glm_watch *watch, glm_folded *out) {
    glm_text folded = {0};
    *out = (glm_folded){.text = text, .text_bytes = n_bytes};
    const rt_status status = fold_all(out, watch, &folded);
    out->bytes = folded.bytes;
    out->n_bytes = folded.n;
    if (status != RT_OK) glm_folded_free(out);
    return status;
}

void glm_folded_free(glm_folded *folded) {
    free(folded->bytes);
    free(folded->marks);
    *folded = (glm_folded){0};
}

/* The last mark at or before a folded byte. */
static glm_fold_mark mark_before(const glm_folded *folded, int64_t at) {
    int64_t low = 0;
    int64_t high = folded->n_marks;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (folded->marks[middle].n_out <= at)
            low = middle;
        else
            high = middle;
    }
    return folded->marks[low];
}

/* The character that lets out the folded byte at `at`. */
static void source_of(const glm_folded *folded, int64_t at, int64_t *begin, int64_t *end) {
    glm_fold_mark mark = mark_before(folded, at);
    char bytes[MARK_EVERY + STEP_BYTES];
    const int64_t n = folded->text_bytes;
    do (void)fold_plain(&mark, folded->text, n, rt_min64(at - mark.n_out, MARK_EVERY), bytes);
    while (step(&mark, folded->text, n, begin, bytes) > 0 && mark.n_out <= at);
    *end = mark.at;
}

void glm_folded_source(const glm_folded *folded, int64_t begin, int64_t end, int64_t *source_begin,
        int64_t *source_end) {
    int64_t unused = 0;
    rt_assert(begin >= 0 && begin < end && end <= folded->n_bytes);
    source_of(folded, begin, source_begin, &unused);
    source_of(folded, end - 1, &unused, source_end);
}

int64_t glm_folded_before(const glm_folded *folded, int64_t text_at) {
    enum { PIECE_BYTES = 256 };
    char bytes[PIECE_BYTES + STEP_BYTES];
    int64_t low = 0;
    int64_t high = folded->n_marks;
    int64_t begin = 0;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (folded->marks[middle].at <= text_at)
            low = middle;
        else
            high = middle;
    }
    glm_fold_mark mark = {0};
    if (folded->n_marks > 0) mark = folded->marks[low];
    while (mark.at < text_at) {
        const int64_t n_before = mark.n_out;
        (void)fold_plain(&mark, folded->text, text_at, PIECE_BYTES, bytes);
        if (mark.n_out > n_before || mark.at == text_at) continue;
        if (step(&mark, folded->text, folded->text_bytes, &begin, bytes) == 0) break;
        if (begin >= text_at) return n_before;
    }
    return mark.n_out;
}

/* ---- finding --------------------------------------------------------------------------------- */

bool glm_folded_is_within_word(const glm_folded *in, int64_t at) {
    return is_between_words(in->bytes, in->n_bytes, at, at);
}

int64_t glm_folded_find(const glm_folded *in, const char *what, int64_t n_bytes, int64_t from) {
    for (int64_t at = from; n_bytes > 0 && at + n_bytes <= in->n_bytes; at++) {
        const char *found =
                memmem(in->bytes + at, (size_t)(in->n_bytes - at), what, (size_t)n_bytes);
        if (!found) return -1;
        at = found - in->bytes;
        if (!glm_folded_is_within_word(in, at) && !glm_folded_is_within_word(in, at + n_bytes))
            return at;
    }
    return -1;
}
