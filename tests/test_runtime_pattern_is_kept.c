/* A string that is kept to a pattern matches it, and each string that matches is taken: beside the C library's
 * own reader of regular expressions, which knows other words for the same.
 *
 * Method: expressions drawn by chance from what both know. All strings of up to five of three characters are
 * taken, if and only if they match; walks along bytes that may follow come to an end, and match. Named cases of what
 * the library does not know: other letters, escapes, classes. More: `test_runtime_pattern_is_kept SEED N`. */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_expect.h"
#include "help_random.h"
#include "runtime/pattern.h"

enum { EXPRESSION = 2000, TEXT = 400, LONGEST = 5 };

static uint64_t state;

static int64_t below(int64_t n) {
    return random_below(&state, n);
}

/* ---- expressions ----------------------------------------------------------------------------- */

static void draw(char *text, int depth) {
    static const char *const atoms[] = {"a", "b", "c", ".", "[ab]", "[^a]", "[a-c]", "^", "$"};
    static const char *const counts[] = {"*", "+", "?", "{2}", "{1,}", "{0,2}", "{2,3}"};
    const int64_t n = 1 + below(3);
    for (int64_t i = 0; i < n; i++) {
        const bool is_group = depth < 3 && below(3) == 0;
        const int64_t atom =
                below(depth == 0 ? 9 : 7); /* anchors as the library has them: outside of groups */
        if (is_group) {
            strcat(text, "(");
            draw(text, depth + 1);
            if (below(2)) {
                strcat(text, "|");
                draw(text, depth + 1);
            }
            strcat(text, ")");
        } else {
            strcat(text, atoms[atom]);
        }
        if ((is_group || atom < 7) && below(3) == 0) strcat(text, counts[below(7)]);
    }
}

/* ---- both readers ---------------------------------------------------------------------------- */

/* Whether what stands between quotes is taken, and whole. */
static bool takes(const glm_pattern *pattern, const char *text) {
    glm_pattern_place place = 0;
    for (; *text; text++)
        if (!glm_pattern_take(pattern, &place, (uint8_t)*text)) return false;
    return glm_pattern_is_whole(pattern, place);
}

static bool may_follow(const glm_pattern *pattern, glm_pattern_place place, uint8_t byte) {
    return glm_pattern_take(pattern, &place, byte);
}

/* Strings over a, b and c, shortest first: number i. */
static void print_string(int64_t i, char text[LONGEST + 1]) {
    int n = 0;
    for (int64_t count = 1; i >= count; n++) i -= count, count *= 3;
    text[n] = '\0';
    for (; n > 0; i /= 3) text[--n] = (char)('a' + i % 3);
}

static void check_strings(const glm_pattern *pattern, const regex_t *regex, const char *shown) {
    for (int64_t i = 0; i < 1 + 3 + 9 + 27 + 81 + 243; i++) {
        char text[LONGEST + 1];
        char both[EXPRESSION + 100];
        print_string(i, text);
        const bool is_match = regexec(regex, text, 0, NULL, 0) == 0;
        (void)snprintf(both, sizeof both, "\"%s\" of %s", text, shown);
        expect(takes(pattern, text) == is_match, is_match ? "not taken" : "taken", both);
    }
}

/* Of ASCII, as the library reads bytes; where the string is long, to its end as soon as that may be. */
static void walk(const glm_pattern *pattern, const regex_t *regex, const char *shown) {
    glm_pattern_place place = 0;
    char text[TEXT + 1];
    int n = 0;
    while (n < TEXT) {
        uint8_t allowed[96];
        int n_allowed = 0;
        if (glm_pattern_is_whole(pattern, place) && (n > 20 || below(4) == 0)) break;
        for (uint8_t byte = ' '; byte < 0x7f; byte++)
            if (byte != '"' && byte != '\\' && may_follow(pattern, place, byte))
                allowed[n_allowed++] = byte;
        if (n_allowed == 0) break;
        const uint8_t byte = allowed[below(n_allowed)];
        text[n++] = (char)byte;
        (void)glm_pattern_take(pattern, &place, byte);
    }
    text[n] = '\0';
    if (n == TEXT) return; /* it grew and grew, by chance */
    expect(glm_pattern_is_whole(pattern, place), "nothing may follow", shown);
    expect(regexec(regex, text, 0, NULL, 0) == 0, text, shown);
}

static void check_many(uint64_t seed, int64_t n) {
    int64_t n_compiled = 0;
    state = seed;
    for (int64_t i = 0; i < n && n_failed == 0; i++) {
        glm_pattern_budget budget = glm_pattern_budget_full;
        glm_pattern *pattern = NULL;
        char expression[EXPRESSION] = "";
        regex_t regex;
        draw(expression, 0);
        require(regcomp(&regex, expression, REG_EXTENDED | REG_NOSUB) == 0 ? RT_OK : RT_EUSAGE,
                expression);
        if (glm_pattern_compile(expression, "pattern", 0, INT64_MAX, &budget, &pattern) == RT_OK) {
            n_compiled++;
            check_strings(pattern, &regex, expression);
            for (int k = 0; k < 5; k++) walk(pattern, &regex, expression);
        } else {
            expect(strstr(rt_error_text(), "leaves no string") || strstr(rt_error_text(), "too l"),
                    rt_error_text(), expression);
        }
        regfree(&regex);
        glm_pattern_free(pattern);
    }
    expect(n_compiled > n / 2, "enough of all", "");
}

/* ---- by name --------------------------------------------------------------------------------- */

static void check(
        const char *expression, int64_t least, int64_t most, const char *text, bool is_taken) {
    glm_pattern_budget budget = glm_pattern_budget_full;
    glm_pattern *pattern = NULL;
    require(glm_pattern_compile(expression, "pattern", least, most, &budget, &pattern), expression);
    expect(takes(pattern, text) == is_taken, is_taken ? "not taken" : "taken", text);
    glm_pattern_free(pattern);
}

static void check_characters(void) {
    check("^.$", 0, INT64_MAX, "\xc3\xa9", true);
    check("^.$", 0, INT64_MAX, "\xf0\x9f\x98\x80", true);
    check("^.$", 0, INT64_MAX, "\\n", false);
    check("^[^x]$", 0, INT64_MAX, "\\n", true);
    check("^[\xc3\xa0-\xc3\xbf]+$", 0, INT64_MAX, "\xc3\xa9\xc3\xa8", true);
    check("^[\xc3\xa0-\xc3\xbf]+$", 0, INT64_MAX, "\xc3\x89", false);
    check("^\\u00e9\\u{1F600}\\ud83d\\ude00$", 0, INT64_MAX,
            "\xc3\xa9\xf0\x9f\x98\x80\xf0\x9f\x98\x80", true);
    check("^\\d\\w\\s\\D\\W\\S$", 0, INT64_MAX, "1_ a-b", true);
    check("^\\d$", 0, INT64_MAX, "\xd9\xa1", false); /* an Arabic digit is none */
    check("^\\s$", 0, INT64_MAX, "\xe3\x80\x80", true);
    check("^[\\w.+-]+@[\\w-]+\\.com$", 0, INT64_MAX, "a.b+c-d@e-f.com", true);
    check("^\\\\\"\\/\\t$", 0, INT64_MAX, "\\\\\\\"/\\t", true);
    check("^\\/$", 0, INT64_MAX, "\\/", true);
    check("^[\\b\\]\\-]+$", 0, INT64_MAX, "\\b]-", true);
    check("^(?:a|(?<name>b))+?$", 0, INT64_MAX, "abba", true);
    check("^\\x41\\cJ$", 0, INT64_MAX, "A\\n", true);
    check("a]b}", 0, INT64_MAX, "xa]b}x", true);
    check("^(|a)$", 0, INT64_MAX, "", true);
    check("", 0, INT64_MAX, "anything", true);
    check("^a|b$", 0, INT64_MAX, "axxx", true);
    check("^a|b$", 0, INT64_MAX, "xxb", true);
    check("^a|b$", 0, INT64_MAX, "xax", false);
    check("$^", 0, INT64_MAX, "", true);
    check("^[^]$", 0, INT64_MAX, "x", true);
}

static void check_lengths(void) {
    check("^a", 3, 4, "abc", true);
    check("^a", 3, 4, "ab", false);
    check("^a", 3, 4, "abcd", true);
    check("^a", 3, 4, "abcde", false);
    check("^(ab)*$", 3, INT64_MAX, "abab", true);
    check("^(ab)*$", 3, INT64_MAX, "ab", false);
    check("x$", 2, 2, "\xf0\x9f\x98\x80x", true);
    check("x$", 2, 2, "\\nx", true);
    check("x$", 2, 2, "\\\\\\nx", false);
}

/* What cannot come to an end is not begun: an escape, a character of several bytes, a third letter of two. */
static void check_beginnings(void) {
    glm_pattern_budget budget = glm_pattern_budget_full;
    glm_pattern *pattern = NULL;
    require(glm_pattern_compile("^[a\xc3\xa9]{2}$", "pattern", 0, INT64_MAX, &budget, &pattern),
            "");
    expect(!may_follow(pattern, 0, '\\'), "an escape", "");
    expect(may_follow(pattern, 0, 0xc3) && !may_follow(pattern, 0, 0xc2), "a lead byte", "");
    expect(!may_follow(pattern, 0, 0xe0) && !may_follow(pattern, 0, 0xf0), "a longer one", "");
    glm_pattern_place place = 0;
    expect(glm_pattern_take(pattern, &place, 0xc3) && !may_follow(pattern, place, 0xa8) &&
                    !glm_pattern_is_whole(pattern, place) && may_follow(pattern, place, 0xa9),
            "the byte behind it", "");
    glm_pattern_free(pattern);
    require(glm_pattern_compile("^(ab)*$", "pattern", 0, 3, &budget, &pattern), "");
    place = 0;
    expect(glm_pattern_take(pattern, &place, 'a') && glm_pattern_take(pattern, &place, 'b') &&
                    !may_follow(pattern, place, 'a'),
            "a third letter of a string of two, or four", "");
    glm_pattern_free(pattern);
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    const int64_t n = argc > 2 ? strtoll(argv[2], NULL, 0) : getenv("GLM_TEST_FAST") ? 100 : 500;
    check_characters();
    check_lengths();
    check_beginnings();
    check_many(seed, n);
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}
