#include "chat_json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- walking --------------------------------------------------------------------------------- */

static const char *skip_space(const char *at) {
    return at + strspn(at, " \t\r\n");
}

static const char *skip_string(const char *at) {
    for (at++; *at != '"'; at++) at += *at == '\\';
    return at + 1;
}

/* Behind a value: brackets are counted, those in strings are not. *depth_max is how many were open
 * at once. */
static const char *scan_value(const char *at, int64_t *depth_max) {
    int64_t depth = 0;
    *depth_max = 0;
    do {
        at = skip_space(at);
        if (*at == '"') {
            at = skip_string(at);
        } else if (strchr("[{", *at)) {
            depth++;
            at++;
        } else if (strchr("]}", *at)) {
            depth--;
            at++;
        } else if (strchr(",:", *at)) {
            at++;
        } else {
            at += strcspn(at, " \t\r\n,:]}");
        }
        if (depth > *depth_max) *depth_max = depth;
    } while (depth > 0);
    return at;
}

const char *glm_json_end(const char *value) {
    int64_t depth_max;
    return scan_value(value, &depth_max);
}

int64_t glm_json_depth(const char *value) {
    int64_t depth_max;
    (void)scan_value(value, &depth_max);
    return depth_max;
}

/* What follows, where `at` is behind a value. */
static const char *follower(const char *at) {
    at = skip_space(at);
    return *at == ',' ? skip_space(at + 1) : NULL;
}

const char *glm_json_first(const char *container) {
    const char *at = skip_space(container + 1);
    return *at == ']' || *at == '}' ? NULL : at;
}

const char *glm_json_next(const char *value) {
    return follower(glm_json_end(value));
}

/* The value behind a key. */
static const char *value_of(const char *key) {
    return skip_space(skip_space(skip_string(key)) + 1);
}

/* ---- strings --------------------------------------------------------------------------------- */

static uint32_t read_hex4(const char *digits) {
    char text[5] = {digits[0], digits[1], digits[2], digits[3], '\0'};
    return (uint32_t)strtoul(text, NULL, 16);
}

static int put_utf8(uint32_t code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    const int n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = n - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80u | (code & 0x3fu));
    out[0] = (char)(leads[n] | code);
    return n;
}

/* \uXXXX, or two of them for a character beyond U+FFFF; `at` is at the first backslash. */
static const char *read_unicode(const char *at, char out[4], int *n) {
    uint32_t code = read_hex4(at + 2);
    at += 6;
    if (code >= 0xd800 && code < 0xdc00) {
        code = 0x10000 + ((code - 0xd800) << 10) + (read_hex4(at + 2) - 0xdc00);
        at += 6;
    }
    *n = put_utf8(code, out);
    return at;
}

/* What the string's next byte or escape stands for; returns what follows. */
static const char *read_character(const char *at, char out[4], int *n) {
    *n = 1;
    out[0] = *at;
    if (*at != '\\') return at + 1;
    if (at[1] == 'u') return read_unicode(at, out, n);
    static const char letters[] = "bfnrt";
    static const char meanings[] = "\b\f\n\r\t";
    const char *letter = strchr(letters, at[1]);
    if (letter)
        out[0] = meanings[letter - letters];
    else
        out[0] = at[1];
    return at + 2;
}

static bool string_is(const char *at, const char *wanted) {
    const char *rest = wanted;
    for (at++; *at != '"';) {
        char bytes[4];
        int n = 0;
        at = read_character(at, bytes, &n);
        if (strncmp(rest, bytes, (size_t)n) != 0) return false;
        rest += n;
    }
    return *rest == '\0';
}

const char *glm_json_member(const char *object, const char *name) {
    for (const char *key = glm_json_first(object); key; key = glm_json_next(value_of(key)))
        if (string_is(key, name)) return value_of(key);
    return NULL;
}

static void print_byte(char byte, FILE *out) {
    static const char escaped[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *place = byte ? strchr(escaped, byte) : NULL;
    if (place)
        (void)fprintf(out, "\\%c", letters[place - escaped]);
    else if ((unsigned char)byte < 0x20)
        (void)fprintf(out, "\\u%04x", (unsigned)byte);
    else
        (void)putc(byte, out);
}

static const char *print_string(const char *at, FILE *out) {
    (void)putc('"', out);
    for (at++; *at != '"';) {
        char bytes[4];
        int n = 0;
        at = read_character(at, bytes, &n);
        for (int i = 0; i < n; i++) print_byte(bytes[i], out);
    }
    (void)putc('"', out);
    return at + 1;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* The fewest digits that give the number back, as Python's repr: 1.0, 0.1, 1e+16, 1e-05. */
static void print_real(double value, FILE *out) {
    char text[40];
    int digits = 0;
    do {
        (void)snprintf(text, sizeof text, "%.*e", digits++, value);
    } while (digits < 17 && strtod(text, NULL) != value);
    const long exponent = strtol(strchr(text, 'e') + 1, NULL, 10);
    const int decimals = digits - 1 - (int)exponent;
    if (exponent < -4 || exponent >= 16)
        (void)fputs(text, out);
    else
        (void)fprintf(out, "%.*f", decimals > 1 ? decimals : 1, value);
}

/* An integer stays as it is written: JSON has one way for each, but for -0. */
static const char *print_scalar(const char *at, FILE *out) {
    const size_t n = strcspn(at, " \t\r\n,]}");
    const bool is_number = strchr("-0123456789", *at) != NULL;
    if (is_number && strcspn(at, ".eE") < n)
        print_real(strtod(at, NULL), out);
    else if (n == 2 && memcmp(at, "-0", 2) == 0)
        (void)putc('0', out);
    else
        (void)fwrite(at, 1, n, out);
    return at + n;
}

/* ---- values ---------------------------------------------------------------------------------- */

static const char *print_value(const char *at, int depth, FILE *out);

static const char *print_container(const char *at, int depth, FILE *out) {
    const bool is_object = *at == '{';
    const char *end = at + 1;
    (void)putc(*at, out);
    for (const char *item = glm_json_first(at); item; item = follower(end)) {
        (void)fprintf(out, "%s\n%*s", end == at + 1 ? "" : ",", 4 * (depth + 1), "");
        if (is_object) {
            (void)print_string(item, out);
            (void)fputs(": ", out);
            item = value_of(item);
        }
        end = print_value(item, depth + 1, out);
    }
    if (end != at + 1) (void)fprintf(out, "\n%*s", 4 * depth, "");
    end = skip_space(end);
    (void)putc(*end, out);
    return end + 1;
}

/* Recursive: whoever asks has looked at the depth. */
static const char *print_value(const char *at, int depth, FILE *out) {
    if (*at == '"') return print_string(at, out);
    if (*at == '[' || *at == '{') return print_container(at, depth, out);
    return print_scalar(at, out);
}

void glm_json_print(const char *value, FILE *out) {
    (void)print_value(value, 0, out);
}
