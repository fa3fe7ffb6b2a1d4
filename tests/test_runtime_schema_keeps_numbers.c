/* Numbers that need not be integers are kept to their bounds exactly: each that is within them and of few digits can be
 * said, none other, and what is begun can come to an end.
 *
 * Method: bounds and steps drawn by chance, in hundredths. All numbers in hundredths from -20 to 20, in the digits
 * they may be written with, are taken if and only if they keep the bounds; walks along bytes that may follow end
 * in a number that does, by arithmetic of doubles. Bounds far apart, and close, by name. */
#include <math.h>
#include <stdlib.h>

#include "help_random.h"
#include "help_schema.h"

static uint64_t state = 3;

/* What is drawn, in hundredths; a `step` of 0 is none. */
typedef struct drawn {
    int64_t least, most, step;
    bool is_above, is_below; /* exclusive */
} drawn;

static bool is_within(const drawn *d, int64_t n) {
    if (n < d->least + d->is_above || n > d->most - d->is_below) return false;
    return d->step == 0 || n % d->step == 0;
}

static glm_schema *compile(const drawn *d, json_t **root) {
    glm_schema *schema = NULL;
    json_t *number = json_pack("{s:s, s:f, s:f}", "type", "number",
            d->is_above ? "exclusiveMinimum" : "minimum", (double)d->least / 100.0,
            d->is_below ? "exclusiveMaximum" : "maximum", (double)d->most / 100.0);
    if (d->step > 0)
        (void)json_object_set_new(number, "multipleOf", json_real((double)d->step / 100.0));
    *root = json_pack("{s:{s:o}, s:[s], s:b}", "properties", "n", number, "required", "n",
            "additionalProperties", 0);
    return glm_schema_compile(*root, &schema) == RT_OK ? schema : NULL;
}

static void check_written(const glm_schema *schema, const drawn *d, int64_t n, const char *number) {
    char text[80];
    bool is_whole = false;
    (void)snprintf(text, sizeof text, "{\"n\":%s}", number);
    const bool is_taken = takes(schema, text, &is_whole) && is_whole;
    expect(is_taken == is_within(d, n), is_taken ? "taken" : "not taken", text);
}

static void check_grid(const glm_schema *schema, const drawn *d) {
    for (int64_t n = -2000; n <= 2000; n++) {
        char number[40];
        if (n == 0) continue;
        (void)snprintf(number, sizeof number, "%s%d.%02d", n < 0 ? "-" : "", abs((int)n) / 100,
                abs((int)n) % 100);
        check_written(schema, d, n, number);
        if (n % 10 == 0) {
            number[strlen(number) - 1] = '\0';
            check_written(schema, d, n, number);
        }
        if (n % 100 != 0) continue;
        number[strlen(number) - 2] = '\0';
        check_written(schema, d, n, number);
    }
}

/* By doubles: 15 digits are told apart by them. */
static bool is_right(const drawn *d, double x) {
    const double least = (double)d->least / 100.0;
    const double most = (double)d->most / 100.0;
    const double parts = d->step > 0 ? x / ((double)d->step / 100.0) : 0.0;
    return (d->is_above ? x > least : x >= least) && (d->is_below ? x < most : x <= most) &&
           fabs(parts - round(parts)) < 1e-6;
}

static void walk(const glm_schema *schema, const drawn *d) {
    binding b = {.schema = schema};
    char text[100] = "{\"n\":";
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        expect(glm_schema_take(schema, &b.by_schema, &b.json, (uint8_t)text[i]), "begin", text);
    for (;;) {
        static const char bytes[] = "0123456789.-eE+}";
        char allowed[20];
        int n_allowed = 0;
        for (const char *c = bytes; *c; c++)
            if (may_follow(&b, (uint8_t)*c)) allowed[n_allowed++] = *c;
        expect(n_allowed > 0, "nothing may follow", text);
        if (n_allowed == 0) return;
        text[n] = allowed[random_below(&state, n_allowed)];
        (void)glm_schema_take(schema, &b.by_schema, &b.json, (uint8_t)text[n++]);
        text[n] = '\0';
        if (text[n - 1] == '}') break;
    }
    expect(is_right(d, strtod(text + 5, NULL)), "it is not within the bounds", text);
}

static void check_drawn(int n) {
    int n_compiled = 0;
    for (int i = 0; i < n && n_failed == 0; i++) {
        drawn d = {.least = random_below(&state, 3000) - 1500,
                .step = random_below(&state, 3) ? 0 : 1 + random_below(&state, 400),
                .is_above = random_below(&state, 2) == 0,
                .is_below = random_below(&state, 2) == 0};
        d.most = d.least + random_below(&state, random_below(&state, 2) ? 5 : 2500);
        json_t *root = NULL;
        glm_schema *schema = compile(&d, &root);
        if (schema) {
            n_compiled++;
            check_grid(schema, &d);
            for (int k = 0; k < 20; k++) walk(schema, &d);
        }
        glm_schema_free(schema);
        json_decref(root);
    }
    expect(n_compiled > n / 2, "enough of all", "");
}

static void check_named(void) {
    static const char share[] = "{\"type\":\"number\",\"minimum\":0,\"maximum\":1}";
    check_property(share, "{\"n\":0}", true);
    check_property(share, "{\"n\":0.75}", true);
    check_property(share, "{\"n\":1.0}", true);
    check_property(share, "{\"n\":1.00000000000000}", true);
    check_property(share, "{\"n\":1.01}", false);
    check_property(share, "{\"n\":-0.5}", false);
    check_property(share, "{\"n\":-0}", false);
    check_property(share, "{\"n\":5e-1}", false);
    check_property(share, "{\"n\":0.1234567890123456}", false);
    static const char small[] = "{\"exclusiveMinimum\":1e-20,\"maximum\":1e-13}";
    check_property(small, "{\"n\":0.0000000000001}", true);
    check_property(small, "{\"n\":0.00000000000001}", true);
    check_property(small, "{\"n\":0}", false);
    check_property(small, "{\"n\":\"text\"}", true);
    static const char large[] = "{\"type\":\"number\",\"minimum\":-1e300,\"maximum\":1e300}";
    check_property(large, "{\"n\":999999999999999}", true);
    check_property(large, "{\"n\":-123456789.25}", true);
    static const char next[] =
            "{\"type\":\"number\",\"exclusiveMinimum\":0.30000000000000004,\"maximum\":0.3000000000001}";
    check_property(next, "{\"n\":0.3}", false);
    check_property(next, "{\"n\":0.30000000000001}", true);
    check_property(next, "{\"n\":0.3000000000002}", false);
    static const char cents[] = "{\"type\":\"number\",\"multipleOf\":0.01,\"minimum\":0}";
    check_property(cents, "{\"n\":0.07}", true);
    check_property(cents, "{\"n\":1234.560}", true);
    check_property(cents, "{\"n\":0.075}", false);
    check_property("{\"type\":\"integer\",\"multipleOf\":7}", "{\"n\":-49}", true);
    check_property("{\"type\":\"integer\",\"multipleOf\":7}", "{\"n\":50}", false);
    check_property("{\"type\":\"integer\",\"multipleOf\":2.5}", "{\"n\":15}", true);
    check_property("{\"type\":\"integer\",\"multipleOf\":2.5}", "{\"n\":12}", false);
    check_property("{\"type\":\"integer\",\"multipleOf\":1e30}", "{\"n\":0}", true);
    check_property("{\"type\":\"integer\",\"multipleOf\":1e30}", "{\"n\":10}", false);
}

int main(void) {
    check_named();
    check_drawn(getenv("GLM_TEST_FAST") ? 20 : 100);
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}
