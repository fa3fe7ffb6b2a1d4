/* Each encoding has a form: which bytes make a character. A text that breaks it is of another one. Of those whose form a text
 * keeps, its characters tell: half of a Japanese text are kana, whose places are rarely used by others; Korean syllables, in the
 * order of their alphabet, fill a part of what Chinese spreads over; Big5 alone ends common characters in ASCII.
 * Source: WHATWG Encoding Standard, its indexes. */
#include "encodings.h"

#include <stdbool.h>
#include <stdio.h>

enum encoding { LATIN1, GB18030, SHIFT_JIS, EUC_JP, EUC_KR, BIG5, WINDOWS_1251, KOI8_R };

static const glm_encoding encodings[] = {
        [LATIN1] = {"LATIN1", "Latin-1", NULL},
        [GB18030] = {"GB18030", "GB 18030 and GBK", "Chinese"},
        [SHIFT_JIS] = {"SHIFT_JIS", "Shift-JIS", "Japanese"},
        [EUC_JP] = {"EUC-JP", "EUC-JP", "Japanese"},
        [EUC_KR] = {"CP949", "EUC-KR and CP949", "Korean"},
        [BIG5] = {"BIG5", "Big5", "Chinese"},
        [WINDOWS_1251] = {"WINDOWS-1251", "Windows-1251", "Russian"},
        [KOI8_R] = {"KOI8-R", "KOI8-R", "Russian"},
};

static bool is_in(uint8_t byte, int from, int to) {
    return byte >= from && byte <= to;
}

/* What stands at `at`, of which `left` bytes are there: how many bytes the character has, 0: none has this form. */
typedef int form(const uint8_t *at, int64_t left);

/* ---- forms ----------------------------------------------------------------------------------- */

static int of_gb18030(const uint8_t *at, int64_t left) {
    if (at[0] < 0x80) return 1;
    if (at[0] == 0x80 || at[0] == 0xff || left < 2) return 0;
    if (at[1] >= 0x40) return at[1] == 0x7f || at[1] == 0xff ? 0 : 2;
    const bool is_four = left >= 4 && is_in(at[1], '0', '9') && is_in(at[2], 0x81, 0xfe) &&
                         is_in(at[3], '0', '9');
    return is_four ? 4 : 0;
}

static int of_shift_jis(const uint8_t *at, int64_t left) {
    if (at[0] < 0x80 || is_in(at[0], 0xa1, 0xdf)) return 1;
    const bool is_two = left >= 2 && (is_in(at[0], 0x81, 0x9f) || is_in(at[0], 0xe0, 0xfc)) &&
                        is_in(at[1], 0x40, 0xfc) && at[1] != 0x7f;
    return is_two ? 2 : 0;
}

static int of_euc(const uint8_t *at, int64_t left) {
    if (at[0] < 0x80) return 1;
    if (at[0] == 0x8f) return left >= 3 && at[1] >= 0xa1 && at[2] >= 0xa1 ? 3 : 0;
    const bool is_two =
            left >= 2 && (at[0] == 0x8e || is_in(at[0], 0xa1, 0xfe)) && is_in(at[1], 0xa1, 0xfe);
    return is_two ? 2 : 0;
}

static int of_big5(const uint8_t *at, int64_t left) {
    if (at[0] < 0x80) return 1;
    const bool is_two = left >= 2 && is_in(at[0], 0xa1, 0xf9) &&
                        (is_in(at[1], 0x40, 0x7e) || is_in(at[1], 0xa1, 0xfe));
    return is_two ? 2 : 0;
}

/* ---- what their characters are --------------------------------------------------------------- */

/* Whether a character of several bytes speaks for the encoding. */
typedef bool sign(const uint8_t *at, int length);

/* Common Chinese ones end beyond ASCII; in languages of Latin letters few of those stand side by side, some before a blank. */
static bool is_common_gb(const uint8_t *at, int length) {
    return length == 2 && at[1] >= 0x80;
}

static bool is_kana_of_shift_jis(const uint8_t *at, int length) {
    return length == 2 && ((at[0] == 0x82 && is_in(at[1], 0x9f, 0xf1)) ||
                                  (at[0] == 0x83 && is_in(at[1], 0x40, 0x96)));
}

static bool is_kana_of_euc(const uint8_t *at, int length) {
    return length == 2 && is_in(at[0], 0xa4, 0xa5);
}

static bool is_hangul(const uint8_t *at, int length) {
    return length == 2 && is_in(at[0], 0xb0, 0xc8);
}

static bool ends_in_ascii(const uint8_t *at, int length) {
    return length == 2 && at[1] < 0x80 && at[0] <= 0xc6;
}

typedef struct candidate {
    enum encoding encoding;
    form *length;
    sign *speaks;
    int per_cent; /* of characters of several bytes that speak for it, more than so many */
} candidate;

/* The first that fits: GB 18030 takes what all the others do. */
static const candidate candidates[] = {{SHIFT_JIS, of_shift_jis, is_kana_of_shift_jis, 20},
        {EUC_JP, of_euc, is_kana_of_euc, 20}, {EUC_KR, of_euc, is_hangul, 85},
        {BIG5, of_big5, ends_in_ascii, 15}, {GB18030, of_gb18030, is_common_gb, 50}};

static bool fits(const candidate *c, const uint8_t *bytes, int64_t n) {
    int64_t n_wide = 0;
    int64_t n_speaking = 0;
    for (int64_t at = 0; at < n;) {
        const int length = c->length(bytes + at, n - at);
        if (length == 0 && n - at >= 4) return false; /* else it may go on */
        n_wide += length > 1;
        n_speaking += length > 1 && c->speaks(bytes + at, length);
        at += length > 0 ? length : n - at;
    }
    return 100 * n_speaking > c->per_cent * n_wide;
}

/* Of one byte a letter, and nearly all beyond ASCII: lower-case ones are at the end in one order, before it in the other. */
static enum encoding cyrillic(const uint8_t *bytes, int64_t n) {
    int64_t n_latin = 0;
    int64_t n_upper = 0;
    int64_t n_lower = 0;
    for (int64_t at = 0; at < n; at++) {
        n_latin += is_in(bytes[at] | 0x20, 'a', 'z');
        n_upper += is_in(bytes[at], 0xc0, 0xdf);
        n_lower += is_in(bytes[at], 0xe0, 0xff);
    }
    if (n_upper + n_lower <= 2 * n_latin) return LATIN1;
    return n_lower > n_upper ? WINDOWS_1251 : KOI8_R;
}

const glm_encoding *glm_encoding_of(const char *text, int64_t n_bytes) {
    const uint8_t *bytes = (const uint8_t *)text;
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++)
        if (fits(&candidates[i], bytes, n_bytes)) return &encodings[candidates[i].encoding];
    return &encodings[cyrillic(bytes, n_bytes)];
}

void glm_encoding_say(const glm_encoding *encoding, char text[GLM_ENCODING_TEXT]) {
    (void)snprintf(text, GLM_ENCODING_TEXT, " (%s%s%siconv -f %s -t UTF-8 converts %s)",
            encoding->language ? "if it is " : "", encoding->language ? encoding->language : "",
            encoding->language ? ", " : "", encoding->iconv, encoding->name);
}
