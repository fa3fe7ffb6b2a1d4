#include "tokenizer_scan.h"

#include "base/status.h"
#include "unicode_classes.h"
#include "utf8.h"

typedef struct scan_text {
    const char *bytes;
    int64_t n_bytes;
} scan_text;

/* A character of the text and where the next one begins. */
typedef struct scan_char {
    glm_char_class class;
    int64_t end;
} scan_char;

/* Classes of ASCII, four characters a byte as in glm_unicode_packed[0], spread out for speed. */
#define O GLM_CHAR_OTHER
#define L GLM_CHAR_LETTER
#define N GLM_CHAR_NUMBER
#define S GLM_CHAR_SPACE
static const uint8_t ascii_class[128] = {
        O, O, O, O, O, O, O, O, O, S, S, S, S, S, O, O, /* \t \n \v \f \r */
        O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, /* */
        S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, /* space */
        N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O, /* 0-9 */
        O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* A-O */
        L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O, /* P-Z */
        O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* a-o */
        L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O, /* p-z */
};
#undef O
#undef L
#undef N
#undef S

static scan_char decode_char(scan_text text, int64_t at) {
    uint32_t code_point = 0;
    const int length = glm_utf8_decode(text.bytes + at, text.n_bytes - at, &code_point);
    if (length == 0) return (scan_char){GLM_CHAR_OTHER, at + 1};
    return (scan_char){glm_unicode_class(code_point), at + length};
}

static inline scan_char char_at(scan_text text, int64_t at) {
    const uint8_t byte = (uint8_t)text.bytes[at];
    if (byte < 0x80) return (scan_char){(glm_char_class)ascii_class[byte], at + 1};
    return decode_char(text, at);
}

static inline bool is_class_at(scan_text text, int64_t at, glm_char_class class) {
    return at < text.n_bytes && char_at(text, at).class == class;
}

static int64_t skip_class(scan_text text, int64_t at, glm_char_class class) {
    while (at < text.n_bytes) {
        const scan_char c = char_at(text, at);
        if (c.class != class) break;
        at = c.end;
    }
    return at;
}

static inline bool is_line_end(char byte) {
    return byte == '\r' || byte == '\n';
}

static int64_t skip_line_ends(scan_text text, int64_t at) {
    while (at < text.n_bytes && is_line_end(text.bytes[at])) at++;
    return at;
}

static char lower_ascii(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Alternative 1 at an apostrophe: its end, or `at` when it does not match. Without regard to case,
 * the long s (U+017F) is an s too. */
static int64_t contraction_end(scan_text text, int64_t at) {
    const int64_t left = text.n_bytes - at;
    const char first = left > 1 ? lower_ascii(text.bytes[at + 1]) : '\0';
    const char second = left > 2 ? lower_ascii(text.bytes[at + 2]) : '\0';
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    if ((first == 'r' || first == 'v') && second == 'e') return at + 3;
    if (first == 'l' && second == 'l') return at + 3;
    if (first == '\xc5' && second == '\xbf') return at + 3;
    return at;
}

/* Alternative 3. */
static int64_t number_end(scan_text text, int64_t at) {
    for (int n = 0; n < 3 && is_class_at(text, at, GLM_CHAR_NUMBER); n++)
        at = char_at(text, at).end;
    return at;
}

/* Alternative 4, from the first symbol on. */
static int64_t symbols_end(scan_text text, int64_t at) {
    return skip_line_ends(text, skip_class(text, at, GLM_CHAR_OTHER));
}

/* Alternatives 5 to 7: up to the last line end of the run; else the whole run at the end of the
 * text; else all but its last character, which goes with what follows; else that one character. */
static int64_t space_end(scan_text text, int64_t start) {
    int64_t last_line_end = start;
    int64_t last_char = start;
    int64_t at = start;
    while (at < text.n_bytes) {
        const scan_char c = char_at(text, at);
        if (c.class != GLM_CHAR_SPACE) break;
        if (is_line_end(text.bytes[at])) last_line_end = c.end;
        last_char = at;
        at = c.end;
    }
    if (last_line_end > start) return last_line_end;
    if (at == text.n_bytes || last_char == start) return at;
    return last_char;
}

int64_t glm_scan_piece(const char *text_bytes, int64_t n_bytes, int64_t start) {
    const scan_text text = {text_bytes, n_bytes};
    const scan_char first = char_at(text, start);
    const char byte = text.bytes[start];

    if (first.class == GLM_CHAR_LETTER) return skip_class(text, first.end, GLM_CHAR_LETTER);
    if (first.class == GLM_CHAR_NUMBER) return number_end(text, start);
    if (byte == '\'') {
        const int64_t end = contraction_end(text, start);
        if (end > start) return end;
    }
    if (!is_line_end(byte) && is_class_at(text, first.end, GLM_CHAR_LETTER))
        return skip_class(text, first.end, GLM_CHAR_LETTER);
    if (first.class == GLM_CHAR_OTHER) return symbols_end(text, start);
    if (byte == ' ' && is_class_at(text, first.end, GLM_CHAR_OTHER))
        return symbols_end(text, first.end);
    return space_end(text, start);
}
