/* The parser of request bodies takes what RFC 8259 calls JSON and nothing else: 813 named texts
 * (tests/golden/make_json_cases.py), alone and cut at every byte.
 *
 * Method: each text, in memory of exactly its size, goes through srv_json_read; a verdict for each is in
 * the file. No text that is cut is JSON. Every byte of those that are is replaced by bytes that mean
 * something elsewhere: whatever the verdict, it comes with a status and a text. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_expect.h"
#include "runtime/base/size.h"
#include "runtime/server/json_in.h"

enum { LINE_BYTES = 1 << 16, NAME_BYTES = 80 };

typedef struct text_case {
    char verdict; /* y, n, a, r */
    char place[8];
    char name[NAME_BYTES];
    char *text; /* of exactly n_bytes */
    int64_t n_bytes;
} text_case;

/* Whether a copy of the text, of exactly its size, is taken; a refusal has to say something. */
static bool is_taken(const char *text, int64_t n_bytes, const char *name) {
    srv_error error = {0};
    char *copy = malloc((size_t)rt_max64(n_bytes, 1));
    if (!copy) exit(1);
    memcpy(copy, text, (size_t)n_bytes);
    json_t *value = srv_json_read(copy, n_bytes, &error);
    free(copy);
    if (!value)
        expect(error.http == 400 && error.message[0] && error.code, "a refusal says why", name);
    json_decref(value);
    return value != NULL;
}

static int nibble(char digit) {
    return digit <= '9' ? digit - '0' : digit - 'a' + 10;
}

/* "VERDICT PLACE NAME HEX" */
static bool read_case(char *line, text_case *out) {
    char *hex = strrchr(line, ' ');
    if (!hex || sscanf(line, "%c %7s %79s", &out->verdict, out->place, out->name) != 3)
        return false;
    hex++;
    hex[strcspn(hex, "\n")] = '\0';
    const size_t n = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    const bool is_value = strcmp(out->place, "value") == 0;
    const char *front = is_value ? "{\"x\":" : "";
    const size_t n_front = strlen(front);
    out->n_bytes = (int64_t)(n_front + n + is_value);
    out->text = malloc((size_t)out->n_bytes + 1);
    if (!out->text) exit(1);
    memcpy(out->text, front, n_front);
    for (size_t i = 0; i < n; i++)
        out->text[n_front + i] = (char)(nibble(hex[2 * i]) * 16 + nibble(hex[2 * i + 1]));
    if (is_value) out->text[out->n_bytes - 1] = '}';
    return true;
}

/* Neither is the beginning of an object, wherever it is cut. */
static void cut(const text_case *one) {
    const bool is_whole = one->verdict == 'y' || one->verdict == 'a';
    int64_t n = one->n_bytes;
    while (is_whole && n > 0 && one->text[n - 1] != '}') n--;  /* white space behind it */
    if (!is_whole && strcmp(one->place, "value") != 0) return; /* as "{}x" */
    for (int64_t i = 0; i < n; i++) {
        if (i > 600 && i % 97 != 0) continue;
        if (!is_whole && memchr(one->text, '}', (size_t)i)) return; /* as {"x":{}} */
        expect(!is_taken(one->text, i, one->name), "cut, and taken", one->name);
    }
}

static void replace_bytes(const text_case *one) {
    static const char bytes[] = {'\0', '\x1f', '"', '\\', ',', ':', '}', ']', '{', '[', '-', '1',
            'e', '.', '/', 'u', ' ', '\x80', '\xc3', '\xf4', '\xff'};
    if (one->n_bytes > 64) return;
    for (int64_t i = 0; i < one->n_bytes; i++) {
        const char was = one->text[i];
        for (size_t k = 0; k < sizeof bytes; k++) {
            one->text[i] = bytes[k];
            (void)is_taken(one->text, one->n_bytes, one->name);
        }
        one->text[i] = was;
    }
}

int main(void) {
    int n_cases = 0;
    char *line = malloc(LINE_BYTES);
    FILE *file = fopen("tests/golden/json/cases.txt", "r");
    if (!file || !line) {
        printf("FAIL tests/golden/json/cases.txt cannot be read\n");
        return 1;
    }
    while (fgets(line, LINE_BYTES, file)) {
        text_case one;
        if (!read_case(line, &one)) {
            printf("FAIL not a case: %.80s\n", line);
            return 1;
        }
        const bool is_wanted = one.verdict == 'y' || one.verdict == 'a';
        expect(is_taken(one.text, one.n_bytes, one.name) == is_wanted,
                is_wanted ? "refused" : "taken", one.name);
        cut(&one);
        replace_bytes(&one);
        free(one.text);
        n_cases++;
    }
    (void)fclose(file);
    free(line);
    expect(n_cases == 813, "the number of cases", "cases.txt");
    printf("%d texts, %d failures\n", n_cases, n_failed);
    return n_failed > 0;
}
