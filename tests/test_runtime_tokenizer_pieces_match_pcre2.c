/* The hand-written scanner cuts texts where a regular expression engine does.
 *
 * Method: the pattern given to PCRE2, and both cut up (1) every code point where the class changes,
 * and its neighbours, among letters, digits, symbols and white space, (2) without GLM_TEST_FAST every
 * code point there is, (3) every string of up to four of the characters that the pattern treats
 * differently, and every one of up to six of the kinds it can count or look back over, (4) random
 * longer ones.
 * PCRE2 and we may know different versions of Unicode: code points it does not know are left out.
 * Its own \s takes in U+180E, which is no white space since Unicode 6.3: the class is spelled out. */
#include "help_tokenizer.h"

#ifndef GLM_HAVE_PCRE2
int main(void) {
    (void)printf("skipped: built without PCRE2\n");
    return TOKH_SKIP;
}
#else

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "help_random.h"
#include "runtime/tokenizer_scan.h"
#include "runtime/unicode_classes.h"

#define SPACES                                                                                  \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}" \
    "\\x{205f}\\x{3000}"

static const char pattern[] =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
        " ?[^" SPACES "\\p{L}\\p{N}]+[\\r\\n]*|[" SPACES "]*[\\r\\n]+|"
        "[" SPACES "]+(?![^" SPACES "])|[" SPACES "]+";

typedef struct engine {
    pcre2_code *code;
    pcre2_match_data *match;
} engine;

static engine compile(const char *text) {
    int error;
    size_t place;
    engine made;
    made.code = pcre2_compile(
            (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &place, NULL);
    CHECK(made.code);
    (void)pcre2_jit_compile(made.code, PCRE2_JIT_COMPLETE);
    made.match = pcre2_match_data_create_from_pattern(made.code, NULL);
    CHECK(made.match);
    return made;
}

static void release(engine regex) {
    pcre2_match_data_free(regex.match);
    pcre2_code_free(regex.code);
}

/* The end of the match that begins at `start`. */
static int64_t pcre_piece(engine regex, const char *text, int64_t n_bytes, int64_t start) {
    const int n = pcre2_match(regex.code, (PCRE2_SPTR)text, (size_t)n_bytes, (size_t)start,
            PCRE2_ANCHORED, regex.match, NULL);
    CHECK(n == 1);
    return (int64_t)pcre2_get_ovector_pointer(regex.match)[1];
}

static bool same_pieces(engine regex, const char *text, int64_t n_bytes) {
    for (int64_t start = 0; start < n_bytes;) {
        const int64_t ours = glm_scan_piece(text, n_bytes, start);
        const int64_t theirs = pcre_piece(regex, text, n_bytes, start);
        if (ours != theirs) {
            (void)printf("in \"%s\" the piece at %d ends at %d, for PCRE2 at %d\n", text,
                    (int)start, (int)ours, (int)theirs);
            return false;
        }
        start = ours;
    }
    return true;
}

static int64_t put_utf8(uint32_t c, char *out) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* What a character may stand between; % is its place. */
static const char *const contexts[] = {"%", "a%b", "1%2", "12%", "!%!", " %", "% ", "%\n", "\n%",
        "'%", " %x", "  %", "%%", "a %\r\n 7", "' %'s", "\t%\t", "% %", "\u3000%\u3000"};

static bool check_in_context(engine regex, uint32_t code_point, const char *context) {
    char text[64];
    int64_t n = 0;
    for (const char *c = context; *c; c++)
        n += *c == '%' ? put_utf8(code_point, text + n) : (int64_t) !!memcpy(text + n, c, 1);
    text[n] = '\0';
    return same_pieces(regex, text, n);
}

static bool is_known(engine unassigned, uint32_t code_point) {
    char text[8];
    const int64_t n = put_utf8(code_point, text);
    return pcre2_match(unassigned.code, (PCRE2_SPTR)text, (size_t)n, 0, 0, unassigned.match,
                   NULL) == PCRE2_ERROR_NOMATCH;
}

static bool is_surrogate(uint32_t c) {
    return c >= 0xd800 && c < 0xe000;
}

static bool is_boundary(uint32_t c) {
    const glm_char_class class = glm_unicode_class(c);
    return c < 0x100 || c == 0x10ffff || class != glm_unicode_class(c - 1) ||
           class != glm_unicode_class(c + 1);
}

static bool check_code_points(engine regex, bool only_boundaries) {
    const engine unassigned = compile("\\p{Cn}");
    const size_t n_contexts = sizeof contexts / sizeof *contexts;
    bool is_right = true;
    int64_t n_checked = 0;
    for (uint32_t c = 0; c <= 0x10ffff && is_right; c++) {
        if (is_surrogate(c) || (only_boundaries && !is_boundary(c))) continue;
        if (!is_known(unassigned, c)) continue;
        const size_t n = is_boundary(c) ? n_contexts : 5;
        for (size_t i = 0; i < n && is_right; i++)
            is_right = check_in_context(regex, c, contexts[i]);
        n_checked++;
    }
    release(unassigned);
    (void)printf("%d code points\n", (int)n_checked);
    return is_right;
}

/* Every letter of a contraction, in either case where it has two that fold to it, and one of each
 * other kind: no two are the same to every alternative of the pattern. */
static const char *const distinct[] = {"a", "s", "t", "r", "e", "v", "m", "l", "d", "L", "\u017f",
        "'", "7", "\u00bd", " ", "\t", "\u3000", "\r", "\n", "!", "\U0001f680", "\u0301"};
/* What runs are made of. */
static const char *const runs[] = {"a", "7", " ", "\u00a0", "\n", "!", "'"};

/* Every string of exactly n_chars of the characters: counted through like a number. */
static bool check_every_string(
        engine regex, const char *const *chars, int64_t n_kinds, int64_t n_chars) {
    int64_t n_strings = 1;
    for (int64_t k = 0; k < n_chars; k++) n_strings *= n_kinds;
    for (int64_t i = 0; i < n_strings; i++) {
        char text[64];
        int64_t n = 0;
        for (int64_t k = 0, rest = i; k < n_chars; k++, rest /= n_kinds) {
            const char *c = chars[rest % n_kinds];
            memcpy(text + n, c, strlen(c));
            n += (int64_t)strlen(c);
        }
        text[n] = '\0';
        if (!same_pieces(regex, text, n)) return false;
    }
    return true;
}

static bool check_strings(engine regex, bool is_fast) {
    const int64_t n_distinct = (int64_t)(sizeof distinct / sizeof *distinct);
    const int64_t n_runs = (int64_t)(sizeof runs / sizeof *runs);
    bool is_right = true;
    for (int64_t n = 1; n <= (is_fast ? 3 : 4); n++)
        is_right &= check_every_string(regex, distinct, n_distinct, n);
    for (int64_t n = 1; n <= (is_fast ? 5 : 6); n++)
        is_right &= check_every_string(regex, runs, n_runs, n);
    return is_right;
}

/* One of each kind that the pattern can tell apart, and then some. */
static const char *const kinds[] = {"a", "Z", "s", "S", "t", "r", "e", "l", "L", "d", "m", "v", "'",
        "'", "'", "\u017f", "\u212a", "7", "3", "\uff13", "\u00bd", "\u2163", " ", " ", "\t", "\r",
        "\n", "\n", "\v", "\xc2\x85", "\u00a0", "\u2028", "\u3000", "!", "-", "\u200b", "\ufeff",
        "\u0301", "\u4e2d", "\u6587", "\u0436", "\U0001f680", "\u200d", "\u180e", "\U00020000"};

static bool check_random(engine regex, int n_strings) {
    uint64_t random = 3;
    const int64_t n_kinds = (int64_t)(sizeof kinds / sizeof *kinds);
    for (int i = 0; i < n_strings; i++) {
        char text[256];
        int64_t n = 0;
        const int64_t n_chars = 1 + random_below(&random, 40);
        /* A few kinds at a time, so that runs come about. */
        const int64_t first = random_below(&random, n_kinds);
        const int64_t spread = 1 + random_below(&random, n_kinds);
        for (int64_t k = 0; k < n_chars; k++) {
            const char *kind = kinds[(first + random_below(&random, spread)) % n_kinds];
            memcpy(text + n, kind, strlen(kind));
            n += (int64_t)strlen(kind);
        }
        text[n] = '\0';
        if (!same_pieces(regex, text, n)) return false;
    }
    return true;
}

int main(void) {
    const engine regex = compile(pattern);
    bool is_right = check_code_points(regex, tokh_is_fast());
    is_right &= check_strings(regex, tokh_is_fast());
    is_right &= check_random(regex, tokh_is_fast() ? 20000 : 500000);
    release(regex);
    return is_right ? 0 : 1;
}
#endif
