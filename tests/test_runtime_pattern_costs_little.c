/* Patterns that are hostile are refused, or compiled, in bounded time and memory, one and many of a schema.
 *
 * Method: expressions whose automata, repetitions or classes grow without bound; none may take more than
 * ten seconds of a processor, sanitizers and all: without a bound they take hours, or all memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "help_schema.h"
#include "runtime/pattern.h"

static const double seconds_max = 10.0;

/* Of this process: others make no difference. */
static double seconds(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* `why` it is refused: NULL, it is not; "", either. */
static void check(const char *expression, int64_t most, const char *why) {
    glm_pattern_budget budget = glm_pattern_budget_full;
    glm_pattern *pattern = NULL;
    const double start = seconds();
    const rt_status status = glm_pattern_compile(expression, "pattern", 0, most, &budget, &pattern);
    expect(seconds() - start < seconds_max, "it took long", expression);
    if (why && !*why) /* either */
        expect(status == RT_OK || status == RT_EUSAGE, "neither", expression);
    else
        expect(status == (why ? RT_EUSAGE : RT_OK), why ? "not refused" : "refused", expression);
    if (why && *why) expect(strstr(rt_error_text(), why) != NULL, rt_error_text(), why);
    glm_pattern_free(pattern);
}

/* Groups in groups, of which each is repeated. */
static void check_nesting(int depth, const char *count, const char *why) {
    char expression[4096] = "";
    for (int i = 0; i < depth; i++) strcat(expression, "(");
    strcat(expression, "a");
    for (int i = 0; i < depth; i++) strcat(strcat(expression, ")"), count);
    check(expression, INT64_MAX, why);
}

/* `from`, and `part` as often as it fits. */
static void check_long(const char *from, const char *part, const char *why) {
    char expression[4096];
    size_t n = (size_t)snprintf(expression, sizeof expression, "%s", from);
    while (n + strlen(part) < sizeof expression)
        n += (size_t)snprintf(expression + n, sizeof expression - n, "%s", part);
    check(expression, INT64_MAX, why);
}

/* Strings of one schema that together take more than there is for one. */
static void check_crowd(void) {
    char *source = malloc(100000);
    size_t n = 0;
    glm_schema *schema = NULL;
    if (!source) exit(1);
    n += (size_t)snprintf(source, 100000, "{\"properties\":{\"x\":{\"anyOf\":[");
    for (int i = 0; i < 15; i++)
        n += (size_t)snprintf(source + n, 100000 - n,
                "%s{\"type\":\"object\",\"properties\":{\"a\":{\"pattern\":\"(a|b)*a(a|b){%d}\"}}}",
                i ? "," : "", 12 + i % 2);
    (void)snprintf(source + n, 100000 - n, "]}}}");
    json_t *root = json_loads(source, 0, NULL);
    const double start = seconds();
    expect(root && glm_schema_compile(root, &schema) == RT_EUSAGE, "not refused", source);
    expect(seconds() - start < seconds_max, "it took long", source);
    glm_schema_free(schema);
    json_decref(root);
    free(source);
}

int main(void) {
    char text[8192];
    check("(a|b)*a(a|b){30}$", INT64_MAX, "pattern");
    check("^(a+)+$", INT64_MAX, NULL);
    check("^(([a-z])+.)+[A-Z]([a-z])+$", INT64_MAX, NULL);
    check("(.*)(.*)(.*)(.*)(.*)x$", INT64_MAX, NULL);
    check("(((a{100}){100}){100}){100}", INT64_MAX, "is too large");
    check("(((){10000}){10000}){10000}", INT64_MAX, "takes too long");
    check("a{10001}", INT64_MAX, "more than 10000 times");
    check("^a{5000}$", INT64_MAX, NULL);
    check("^[a-z]*$", 1000000, "minLength or maxLength is too large");
    check("^[a-z]*$", 10000, NULL);
    check_nesting(64, "*", NULL);
    check_nesting(65, "", "nesting of more than 64");
    check_nesting(30, "{2}", "is too large");
    check_long("^", "(a|b)?", "");
    check_long("^", ".*x", "");
    check_long("^y", "[a-zA-Z0-9]?[^x]*z?", "");
    check_long("^", "(a|[b-d]e*)*f|", "");
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    check(text, INT64_MAX, "more than 4096 bytes");
    check_crowd();
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}
