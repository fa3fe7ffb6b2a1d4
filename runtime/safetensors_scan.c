#include "safetensors_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/size.h"
#include "utf8.h"

enum { DEPTH_MAX = 32 };

rt_status glm_st_source_read(
        const glm_st_source *source, void *out, int64_t n_bytes, int64_t offset) {
    rt_assert(offset >= 0 && n_bytes >= 0 && n_bytes <= source->n_bytes - offset);
    if (source->fd >= 0) return rt_file_pread(source->fd, source->path, out, n_bytes, offset);
    memcpy(out, source->bytes + offset, (size_t)n_bytes);
    return RT_OK;
}

rt_status glm_st_fail(
        const glm_st_source *source, const char *code, int64_t at, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return rt_fail(
            RT_EMODEL, "safetensors: %s: %s at byte %" PRId64 ": %s", source->path, code, at, text);
}

void glm_st_scan_init(glm_st_scan *scan, const glm_st_source *source, int64_t at, int64_t end) {
    scan->source = source;
    scan->at = at;
    scan->end = end;
    scan->window_at = at;
    scan->window_end = at;
    scan->failed = RT_OK;
}

/* Move the window so that it begins at the next byte. */
static bool refill(glm_st_scan *scan) {
    if (scan->at >= scan->end || scan->failed != RT_OK) return false;
    const int64_t n = rt_min64(GLM_ST_WINDOW, scan->end - scan->at);
    scan->failed = glm_st_source_read(scan->source, scan->window, n, scan->at);
    if (scan->failed != RT_OK) return false;
    scan->window_at = scan->at;
    scan->window_end = scan->at + n;
    return true;
}

int glm_st_peek(glm_st_scan *scan) {
    if (scan->at >= scan->window_end && !refill(scan)) return GLM_ST_NO_BYTE;
    return scan->window[scan->at - scan->window_at];
}

/* ST_JSON_EOF here, or the failure to read that caused it. */
static rt_status ended(glm_st_scan *scan) {
    if (scan->failed != RT_OK) return scan->failed;
    return glm_st_fail(scan->source, "ST_JSON_EOF", scan->at, "the header ends in mid-sentence");
}

static void skip_space(glm_st_scan *scan) {
    for (;;) {
        const int byte = glm_st_peek(scan);
        if (byte != ' ' && byte != '\t' && byte != '\n' && byte != '\r') return;
        scan->at++;
    }
}

int64_t glm_st_token_at(glm_st_scan *scan) {
    skip_space(scan);
    return scan->at;
}

/* ---- characters ------------------------------------------------------------------------------ */

static rt_status bad_utf8(glm_st_scan *scan, int64_t at) {
    if (scan->failed != RT_OK) return scan->failed;
    return glm_st_fail(scan->source, "ST_UTF8", at, "these bytes are no UTF-8");
}

/* A character above U+007F: its bytes, taken. */
static rt_status read_utf8(glm_st_scan *scan, char bytes[GLM_UTF8_BYTES_MAX], int *n_bytes) {
    const int64_t at = scan->at;
    uint32_t code_point = 0;
    int n = 0;
    while (n < GLM_UTF8_BYTES_MAX) {
        const int byte = glm_st_peek(scan);
        if (byte == GLM_ST_NO_BYTE || (n > 0 && (byte & 0xc0) != 0x80)) break;
        bytes[n++] = (char)byte;
        scan->at++;
        *n_bytes = glm_utf8_decode(bytes, n, &code_point);
        if (*n_bytes == n) return RT_OK;
    }
    return bad_utf8(scan, at);
}

/* What stands where something else should: `code`, unless its bytes are not even text. */
static rt_status refuse_byte(glm_st_scan *scan, const char *code, const char *wanted) {
    const int byte = glm_st_peek(scan);
    const int64_t at = scan->at;
    if (byte == GLM_ST_NO_BYTE) return ended(scan);
    if (byte >= 0x80) {
        char bytes[GLM_UTF8_BYTES_MAX];
        int n = 0;
        RT_TRY(read_utf8(scan, bytes, &n));
    }
    if (byte > 0x20 && byte < 0x7f)
        return glm_st_fail(scan->source, code, at, "'%c' where %s is needed", byte, wanted);
    return glm_st_fail(
            scan->source, code, at, "byte 0x%02x where %s is needed", (unsigned)byte, wanted);
}

rt_status glm_st_accept(glm_st_scan *scan, char wanted, bool *is_there) {
    skip_space(scan);
    const int byte = glm_st_peek(scan);
    if (byte == GLM_ST_NO_BYTE) return ended(scan);
    *is_there = byte == wanted;
    if (*is_there) scan->at++;
    return RT_OK;
}

rt_status glm_st_expect(glm_st_scan *scan, char wanted, const char *code) {
    bool is_there = false;
    RT_TRY(glm_st_accept(scan, wanted, &is_there));
    const char name[] = {'\'', wanted, '\'', '\0'};
    return is_there ? RT_OK : refuse_byte(scan, code, name);
}

rt_status glm_st_refuse_value(glm_st_scan *scan, const char *code, const char *wanted) {
    skip_space(scan);
    const int64_t at = scan->at;
    for (int depth = 1;; depth++) {
        const int byte = glm_st_peek(scan);
        if (byte != '[' && byte != '{') break;
        if (depth > DEPTH_MAX)
            return glm_st_fail(scan->source, "ST_JSON_DEPTH", scan->at,
                    "bracket %d in a row; a header nests 3 deep", depth);
        scan->at++;
        skip_space(scan);
    }
    if (scan->failed != RT_OK) return scan->failed;
    if (scan->at > at)
        return glm_st_fail(scan->source, code, at, "brackets where %s is needed", wanted);
    return refuse_byte(scan, code, wanted);
}

/* ---- strings --------------------------------------------------------------------------------- */

static rt_status append(glm_st_scan *scan, glm_st_string *string, const char *bytes, int n) {
    if (n > string->bytes_max - string->n_bytes)
        return glm_st_fail(scan->source, string->long_code, scan->at,
                "the string is longer than %" PRId64 " bytes", string->bytes_max);
    if (string->text) memcpy(string->text + string->n_bytes, bytes, (size_t)n);
    string->n_bytes += n;
    return RT_OK;
}

static int hex_digit(int byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

static rt_status read_hex4(glm_st_scan *scan, uint32_t *unit) {
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_digit(glm_st_peek(scan));
        if (digit < 0) return refuse_byte(scan, "ST_JSON", "a hexadecimal digit");
        *unit = *unit * 16 + (uint32_t)digit;
        scan->at++;
    }
    return RT_OK;
}

static bool take(glm_st_scan *scan, int wanted) {
    if (glm_st_peek(scan) != wanted) return false;
    scan->at++;
    return true;
}

static int encode_utf8(uint32_t code_point, char bytes[GLM_UTF8_BYTES_MAX]) {
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    if (code_point < 0x80) {
        bytes[0] = (char)code_point;
        return 1;
    }
    const int n = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, code_point >>= 6) bytes[i] = (char)(0x80 | (code_point & 0x3f));
    bytes[0] = (char)(lead[n] | code_point);
    return n;
}

/* After "\u": four digits, or two times four for what lies above U+FFFF. */
static rt_status read_unicode(glm_st_scan *scan, uint32_t *code_point) {
    RT_TRY(read_hex4(scan, code_point));
    if (*code_point < 0xd800 || *code_point > 0xdbff) return RT_OK;
    uint32_t low = 0;
    if (!take(scan, '\\') || !take(scan, 'u')) return scan->failed;
    RT_TRY(read_hex4(scan, &low));
    if (low >= 0xdc00 && low <= 0xdfff)
        *code_point = 0x10000 + ((*code_point - 0xd800) << 10) + (low - 0xdc00);
    return RT_OK;
}

static bool is_surrogate(uint32_t code_point) {
    return code_point >= 0xd800 && code_point <= 0xdfff;
}

static bool is_control(uint32_t code_point) {
    return code_point < 0x20 || code_point == 0x7f;
}

/* After a backslash. */
static rt_status read_escape(glm_st_scan *scan, glm_st_string *string) {
    static const char letters[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    const int64_t at = scan->at - 1;
    const int letter = glm_st_peek(scan);
    uint32_t code_point = 0;
    if (letter == GLM_ST_NO_BYTE) return ended(scan);
    const char *known = letter ? strchr(letters, letter) : NULL;
    if (!known && letter != 'u') return refuse_byte(scan, "ST_JSON", "an escape");
    scan->at++;
    if (known)
        code_point = (uint8_t)meant[known - letters];
    else
        RT_TRY(read_unicode(scan, &code_point));
    if (code_point == 0 || is_surrogate(code_point) || (string->is_name && is_control(code_point)))
        return glm_st_fail(scan->source, string->bad_code, at,
                "U+%04" PRIX32 " is not allowed in this string", code_point);
    char bytes[GLM_UTF8_BYTES_MAX];
    return append(scan, string, bytes, encode_utf8(code_point, bytes));
}

static rt_status read_character(glm_st_scan *scan, glm_st_string *string) {
    const int byte = glm_st_peek(scan);
    if (byte == GLM_ST_NO_BYTE) return ended(scan);
    if (byte < 0x20 || (byte == 0x7f && string->is_name))
        return glm_st_fail(scan->source, string->bad_code, scan->at,
                "control character 0x%02x in a string", (unsigned)byte);
    char bytes[GLM_UTF8_BYTES_MAX] = {(char)byte};
    int n = 1;
    if (byte >= 0x80)
        RT_TRY(read_utf8(scan, bytes, &n));
    else
        scan->at++;
    return byte == '\\' ? read_escape(scan, string) : append(scan, string, bytes, n);
}

rt_status glm_st_read_string(glm_st_scan *scan, glm_st_string *string) {
    RT_TRY(glm_st_expect(scan, '"', "ST_JSON"));
    string->n_bytes = 0;
    while (!take(scan, '"')) RT_TRY(read_character(scan, string));
    if (string->text) string->text[string->n_bytes] = '\0';
    return RT_OK;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static bool is_digit(int byte) {
    return byte >= '0' && byte <= '9';
}

/* What follows a whole number may only end it. */
static bool goes_on(int byte) {
    return is_digit(byte) || byte == '.' || byte == 'e' || byte == 'E';
}

rt_status glm_st_read_integer(glm_st_scan *scan, const char *code, int64_t *out) {
    skip_space(scan);
    const int64_t at = scan->at;
    const bool is_zero = glm_st_peek(scan) == '0';
    bool fits = true;
    if (!is_digit(glm_st_peek(scan)))
        return glm_st_refuse_value(scan, code, "a whole number in plain digits");
    *out = 0;
    do {
        const int64_t digit = glm_st_peek(scan) - '0';
        fits = fits && rt_checked_mul(*out, 10, out) && rt_checked_add(*out, digit, out);
        scan->at++;
    } while (!is_zero && is_digit(glm_st_peek(scan)));
    if (goes_on(glm_st_peek(scan)))
        return glm_st_fail(
                scan->source, code, at, "a number that is not a whole one in plain digits");
    return fits ? RT_OK : glm_st_fail(scan->source, "ST_INT", at, "a number above 2^63 - 1");
}

rt_status glm_st_next_member(glm_st_scan *scan, bool is_first, bool *is_over) {
    RT_TRY(glm_st_accept(scan, '}', is_over));
    return *is_over || is_first ? RT_OK : glm_st_expect(scan, ',', "ST_JSON");
}

rt_status glm_st_open_bracket(
        glm_st_scan *scan, char bracket, const char *code, const char *wanted) {
    bool is_there = false;
    RT_TRY(glm_st_accept(scan, bracket, &is_there));
    return is_there ? RT_OK : glm_st_refuse_value(scan, code, wanted);
}
