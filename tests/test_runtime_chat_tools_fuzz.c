/* A function's JSON, however it is written, is shown to the model as the same value; a damaged one is
 * refused or shown as what it then is. Nothing is read outside of it: ASan watches.
 *
 * Method: random values printed with random white space and escapes, read as tools, and the text
 * parsed again and compared; then the same with a few bytes changed. */
#include <jansson.h>

#include "help_random.h"
#include "help_tokenizer.h"
#include "runtime/chat_tools.h"

enum { FLAGS = JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY };

static void put_space(uint64_t *random, tokh_text *out) {
    static const char *const spaces[] = {"", "", "", " ", "\n", "\t\r\n  "};
    tokh_printf(out, "%s", spaces[random_below(random, 6)]);
}

static void put_string(uint64_t *random, tokh_text *out) {
    static const char *const pieces[] = {"a", "\\u0041", "\\\"", "\\\\", "\\/", "/", "\\n",
            "\\b\\f", "\\u001f", "\x7f", "天", "\\u5929", "\\ud83e\\uDD99", "🦙", "[", "}", ",",
            ":", "<|user|>", "\\u00e9", "é", "\\\\u0041", " "};
    enum { N_PIECES = sizeof pieces / sizeof pieces[0] };
    tokh_printf(out, "\"");
    for (int64_t n = random_below(random, 5); n > 0; n--)
        tokh_printf(out, "%s", pieces[random_below(random, N_PIECES)]);
    tokh_printf(out, "\"");
}

static void put_number(uint64_t *random, tokh_text *out) {
    static const char *const numbers[] = {"0", "-0", "12", "-7", "0.0", "-0.0", "1.50", "1e3",
            "2E-9", "18446744073709551615", "1e16", "123456.789e-3", "5e-324",
            "1.7976931348623157e308"};
    enum { N_NUMBERS = sizeof numbers / sizeof numbers[0] };
    if (random_below(random, 2) == 0)
        tokh_printf(out, "%s", numbers[random_below(random, N_NUMBERS)]);
    else /* any double's digits */
        tokh_printf(out, "%.*e", (int)random_below(random, 18),
                (double)random_next(random) * (double)random_unit(random));
}

static void put_value(uint64_t *random, int depth, tokh_text *out) {
    static const char *const words[] = {"true", "false", "null"};
    const int64_t what = random_below(random, depth > 0 ? 6 : 3);
    if (what == 0) put_string(random, out);
    if (what == 1) put_number(random, out);
    if (what == 2) tokh_printf(out, "%s", words[random_below(random, 3)]);
    if (what < 3) return;
    const bool is_object = what > 3;
    tokh_printf(out, is_object ? "{" : "[");
    for (int64_t i = 0, n = random_below(random, 4); i < n; i++) {
        if (i > 0) tokh_printf(out, ",");
        put_space(random, out);
        if (is_object) tokh_printf(out, "\"%d", (int)i);
        if (is_object) tokh_printf(out, "%s\"", random_below(random, 2) ? "\\t" : "é");
        if (is_object) put_space(random, out);
        if (is_object) tokh_printf(out, ":");
        if (is_object) put_space(random, out);
        put_value(random, depth - 1, out);
        put_space(random, out);
    }
    if (random_below(random, 4) == 0) put_space(random, out);
    tokh_printf(out, is_object ? "}" : "]");
}

static void put_tools(uint64_t *random, tokh_text *out) {
    put_space(random, out);
    tokh_printf(out, "[");
    for (int64_t i = 0, n = 1 + random_below(random, 3); i < n; i++) {
        if (i > 0) tokh_printf(out, ",");
        tokh_printf(out, "{\"other\":");
        put_value(random, 3, out);
        tokh_printf(out, ",\"f\\u0075nction\" :{\"name\":\"f%d\",\"x\":", (int)i);
        put_space(random, out);
        put_value(random, 4, out);
        tokh_printf(out, "},\"type\": \"function\"}");
        put_space(random, out);
    }
    tokh_printf(out, "]");
    put_space(random, out);
}

/* Whether it is accepted; what is accepted is shown as what it is. */
static bool check(const char *json, int64_t n_bytes) {
    glm_tools *tools = NULL;
    const rt_status status = glm_tools_parse(json, n_bytes, &tools);
    CHECK(status == RT_OK || status == RT_EUSAGE);
    if (status != RT_OK) return false;
    json_t *array = json_loadb(json, (size_t)n_bytes, FLAGS, NULL);
    CHECK(array && (int64_t)json_array_size(array) == tools->n_tools);
    for (int64_t i = 0; i < tools->n_tools; i++) {
        if (!tools->tools[i].text) continue;
        json_t *shown = json_loads(tools->tools[i].text, FLAGS, NULL);
        const json_t *wanted = json_object_get(json_array_get(array, (size_t)i), "function");
        if (!shown || !json_equal(shown, wanted)) {
            (void)printf("%.*s\nis shown as\n%s\n", (int)n_bytes, json, tools->tools[i].text);
            exit(1);
        }
        json_decref(shown);
    }
    json_decref(array);
    glm_tools_free(tools);
    return true;
}

static void damage(uint64_t *random, tokh_text *json) {
    static const char bytes[] = "\"\\[]{},:u0e-. \n\xe5\xff";
    for (int64_t n = 1 + random_below(random, 3); n > 0; n--)
        json->bytes[random_below(random, json->n)] = bytes[random_below(random, sizeof bytes)];
}

int main(void) {
    uint64_t random = 1;
    int64_t n_accepted = 0;
    const int64_t n_rounds = tokh_is_fast() ? 3000 : 30000;
    for (int64_t i = 0; i < n_rounds; i++) {
        tokh_text json = {0};
        put_tools(&random, &json);
        CHECK(check(json.bytes, json.n));
        damage(&random, &json);
        char *exact = malloc((size_t)json.n);
        CHECK(exact);
        memcpy(exact, json.bytes, (size_t)json.n);
        n_accepted += check(exact, json.n);
        free(exact);
        free(json.bytes);
    }
    /* Both happen often, or the damage shows nothing. */
    CHECK(n_accepted > n_rounds / 50 && n_accepted < n_rounds);
    return 0;
}
