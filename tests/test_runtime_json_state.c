/* An answer that is bound to be JSON: the bytes that may follow one another are those that a strict parser
 * takes, and no token is let through that leads elsewhere.
 *
 * Method: the named texts of test_runtime_server_json_is_strict, byte by byte: an object that the parser
 * takes becomes whole with its last byte and not before, one that it refuses never does, but for what the
 * state does not know (names that are there twice, numbers out of range). Cut anywhere, a text that is
 * taken can still become whole. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "help_expect.h"
#include "runtime/form.h"

enum { LINE_BYTES = 1 << 16 };

/* ---- texts ----------------------------------------------------------------------------------- */

static int nibble(char digit) {
    return digit <= '9' ? digit - '0' : digit - 'a' + 10;
}

/* Whether all bytes are taken, and the object is then whole. */
static bool becomes_whole(const char *text, size_t n) {
    glm_json_state state = {0};
    for (size_t i = 0; i < n; i++)
        if (!glm_json_take(&state, (uint8_t)text[i])) return false;
    return glm_json_is_whole(&state);
}

/* Refused by the parser for what a writer cannot know. */
static bool is_beyond_the_state(const char *name) {
    return strncmp(name, "object_twice", 12) == 0 || strncmp(name, "number_range", 12) == 0;
}

static void check_text(char verdict, const char *name, const char *text, size_t n) {
    const bool is_wanted = verdict == 'y' || verdict == 'a' || is_beyond_the_state(name);
    expect(becomes_whole(text, n) == is_wanted, is_wanted ? "refused" : "taken", name);
    if (!is_wanted) return;
    while (n > 0 && text[n - 1] != '}') n--;
    for (size_t i = 0; i < n && i < 300; i++)
        expect(!becomes_whole(text, i), "whole before its end", name);
}

static int check_texts(void) {
    static char line[LINE_BYTES];
    static char text[LINE_BYTES];
    FILE *file = fopen("tests/golden/json/cases.txt", "r");
    int n_cases = 0;
    while (file && fgets(line, sizeof line, file)) {
        char verdict;
        char place[8];
        char name[80];
        const char *hex = strrchr(line, ' ');
        if (!hex || sscanf(line, "%c %7s %79s", &verdict, place, name) != 3) return -1;
        const bool is_value = strcmp(place, "value") == 0;
        size_t n = is_value ? strlen(strcpy(text, "{\"x\":")) : 0;
        for (hex++; hex[0] && hex[1] && hex[0] != '-' && hex[0] != '\n'; hex += 2)
            text[n++] = (char)(nibble(hex[0]) * 16 + nibble(hex[1]));
        if (is_value) text[n++] = '}';
        check_text(verdict, name, text, n);
        n_cases++;
    }
    if (file) (void)fclose(file);
    return n_cases;
}

static void check_bounds(void) {
    char text[400] = "{\"a\":";
    memset(text + 5, ' ', GLM_JSON_SPACES);
    (void)strcpy(text + 5 + GLM_JSON_SPACES, "1}");
    expect(becomes_whole(text, strlen(text)), "white space within its bound", "");
    text[5 + GLM_JSON_SPACES] = ' ';
    (void)strcpy(text + 6 + GLM_JSON_SPACES, "1}");
    expect(!becomes_whole(text, strlen(text)), "white space beyond its bound", "");
}

/* What could not come to an end is refused at once: halves of a pair at the wrong place. */
static void check_halves(void) {
    static const char *const texts[] = {
            "{\"\\udc", "{\"\\uDf", "{\"\\ud800\\u0", "{\"\\ud800\\uda"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        glm_json_state state = {0};
        const size_t n = strlen(texts[i]);
        for (size_t k = 0; k + 1 < n; k++)
            expect(glm_json_take(&state, (uint8_t)texts[i][k]), "halves", texts[i]);
        expect(!glm_json_take(&state, (uint8_t)texts[i][n - 1]), "a half at the wrong place",
                texts[i]);
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void check_call(const glm_tools *tools, const char *text, bool is_taken, bool is_whole) {
    glm_form form = {.kind = GLM_FORM_CALL, .tools = tools};
    const bool taken = glm_form_take(&form, text, (int64_t)strlen(text));
    expect(taken == is_taken, is_taken ? "a call is refused" : "a call is taken", text);
    if (taken) expect(glm_form_is_whole(&form) == is_whole, "whole", text);
}

static void check_calls(void) {
    static const char json[] = "[{\"type\": \"function\", \"function\": {\"name\": \"get\"}}, "
                               "{\"type\": \"function\", \"function\": {\"name\": \"get_more\"}}, "
                               "{\"type\": \"python\"}]";
    glm_tools *tools = NULL;
    require(glm_tools_parse(json, sizeof json - 1, &tools), "tools");
    check_call(tools, "ge", true, false);
    check_call(tools, "get\n{\"a\": [1, 2]}", true, true);
    check_call(tools, "get_more\n{}", true, true);
    check_call(tools, "get_more\n{", true, false);
    check_call(tools, "python\nprint(1)\n", true, false);
    check_call(tools, "\nget\n{}", false, false);
    check_call(tools, "get_les", false, false);
    check_call(tools, "get\nhello", false, false);
    check_call(tools, "get\n[]", false, false);
    check_call(tools, "\n", false, false);
    glm_tools_free(tools);
}

int main(void) {
    expect(check_texts() == 813, "the number of cases", "cases.txt");
    check_bounds();
    check_halves();
    check_calls();
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}
