/* An answer that is bound to a schema is of it: whatever is let through, byte by byte, becomes whole, and a
 * validator takes it; and what the schema allows can be said.
 *
 * Method: schemas drawn by chance. A text of bytes drawn from those that may follow, then a validator of this
 * test's own; and values that the schema is asked for, in any order of names and with white space, which must
 * be taken. More: `test_runtime_schema_binds SEED N`. */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_random.h"
#include "help_schema.h"

enum { TEXT_BYTES = 6000, CALM = 150 };

static uint64_t state;
static const char *const names[] = {"a", "ab", "b", "q\"", "\xc3\xa9", "a long one"};
enum { N_NAMES = sizeof names / sizeof *names };

static int64_t below(int64_t n) {
    return random_below(&state, n);
}

/* ---- schemas --------------------------------------------------------------------------------- */

static json_t *draw_schema(int depth);

static json_t *draw_object(int depth) {
    json_t *schema = json_pack("{s:s, s:{}, s:[]}", "type", "object", "properties", "required");
    for (int i = 0; i < N_NAMES; i++) {
        if (below(2)) continue;
        (void)json_object_set_new(
                json_object_get(schema, "properties"), names[i], draw_schema(depth + 1));
        if (below(2))
            (void)json_array_append_new(json_object_get(schema, "required"), json_string(names[i]));
    }
    const int64_t other = below(4);
    if (other == 0)
        (void)json_object_set_new(schema, "additionalProperties", draw_schema(depth + 1));
    if (other > 1) (void)json_object_set_new(schema, "additionalProperties", json_false());
    return schema;
}

static json_t *draw_enum(void) {
    json_t *all = json_pack("[i, i, f, s, s, n, b, [i, s], {s:i}, i]", 1, 12, 0.5, "a", "ab\n",
            true, 1, "x", "k", 7, -3);
    json_t *some = json_array();
    for (size_t i = 0; i < json_array_size(all); i++)
        if (below(2) || i == 0) (void)json_array_append(some, json_array_get(all, i));
    json_decref(all);
    return below(4) ? json_pack("{s:o}", "enum", some)
                    : json_pack("{s:o, s:s}", "enum", some, "type", "integer");
}

static json_t *draw_any(int depth) {
    json_t *list = json_array();
    for (int64_t n = 1 + below(3); n > 0; n--)
        (void)json_array_append_new(list, draw_schema(depth + 1));
    return json_pack("{s:o, s:s}", "anyOf", list, "title", "any");
}

/* Of the two, neither, one or both. */
static void add_bounds(
        json_t *schema, const char *least, const char *most, int64_t from, int64_t n) {
    const int64_t bound = from + below(n);
    if (below(3)) (void)json_object_set_new(schema, least, json_integer(bound));
    if (below(3)) (void)json_object_set_new(schema, most, json_integer(bound + below(n)));
}

static json_t *draw_array(int depth) {
    json_t *schema = json_pack("{s:s, s:o}", "type", "array", "items", draw_schema(depth + 1));
    if (below(2)) add_bounds(schema, "minItems", "maxItems", 0, 3);
    return schema;
}

/* About a power of ten, on either side of it, and of zero. */
static json_t *draw_integer(void) {
    static const int64_t from[] = {-12, 0, 7, 95, -1005, 1000000};
    json_t *schema = json_pack("{s:s}", "type", "integer");
    add_bounds(schema, below(2) ? "minimum" : "exclusiveMinimum", "maximum", from[below(6)], 20);
    if (below(4) == 0) (void)json_object_set_new(schema, "exclusiveMaximum", json_real(1000020.5));
    return schema;
}

/* The same of other numbers, in hundredths. */
static json_t *draw_number(void) {
    json_t *schema = json_pack("{s:s}", "type", "number");
    const double least = (double)(below(400) - 200) / 100.0;
    if (below(3)) (void)json_object_set_new(schema, "minimum", json_real(least));
    if (below(3))
        (void)json_object_set_new(
                schema, "exclusiveMaximum", json_real(least + (double)(1 + below(2000)) / 100.0));
    return schema;
}

static json_t *draw_pattern(void) {
    static const char *const patterns[] = {"^[a-f]*$", "b", "^a.*[\"b]$", "^(abc|[^a].*)?$"};
    json_t *schema = json_pack("{s:s, s:s}", "type", "string", "pattern", patterns[below(4)]);
    if (below(2)) add_bounds(schema, "minLength", "maxLength", 1, 8);
    return schema;
}

static json_t *draw_bounded(void) {
    if (below(2)) return draw_integer();
    if (below(3) == 0) return draw_number();
    if (below(2)) return draw_pattern();
    json_t *schema = json_pack("{s:[s, s]}", "type", "string", below(2) ? "null" : "string");
    add_bounds(schema, "minLength", "maxLength", 0, 4);
    return schema;
}

static json_t *draw_schema(int depth) {
    static const char *const types[] = {"string", "number", "integer", "boolean", "null"};
    switch (depth > 1 ? 4 + below(5) : below(11)) {
    case 0:
    case 1:
        return draw_object(depth);
    case 2:
        return draw_array(depth);
    case 3:
        return draw_any(depth);
    case 4:
        return draw_enum();
    case 5:
        return json_pack("{s:[s, s]}", "type", types[below(5)], types[below(5)]);
    case 6:
        return json_pack("{s:s}", "$ref", below(3) ? "#/$defs/one" : "#/$defs/two");
    case 8:
        return draw_bounded();
    case 9:
        return json_pack("{s:[o]}", "allOf", draw_schema(depth + 1));
    case 10:
        return below(2) ? json_object() : json_pack("{s:{s:s}}", "const", "k", types[below(5)]);
    default:
        return json_pack("{s:s}", "type", types[below(5)]);
    }
}

static json_t *draw_root(void) {
    json_t *root = below(4) ? draw_object(0) : draw_any(0);
    (void)json_object_set_new(
            root, "$defs", json_pack("{s:o, s:o}", "one", draw_schema(1), "two", draw_object(2)));
    return root;
}

/* ---- a validator ----------------------------------------------------------------------------- */

static const json_t *resolve(const json_t *root, const json_t *schema) {
    if (json_object_get(schema, "allOf"))
        return resolve(root, json_array_get(json_object_get(schema, "allOf"), 0));
    const char *reference = json_string_value(json_object_get(schema, "$ref"));
    if (!reference) return schema;
    return resolve(
            root, json_object_get(json_object_get(root, "$defs"), strrchr(reference, '/') + 1));
}

static bool is_of_type(const json_t *value, const char *type) {
    static const char *const of[] = {
            "object", "array", "string", "integer", "number", "boolean", "boolean", "null"};
    return strcmp(of[json_typeof(value)], type) == 0 ||
           (json_is_integer(value) && strcmp(type, "number") == 0);
}

static bool is_valid(const json_t *root, const json_t *schema, const json_t *value);

static bool is_valid_object(const json_t *root, const json_t *schema, const json_t *value) {
    const json_t *additional = json_object_get(schema, "additionalProperties");
    const char *name = NULL;
    json_t *part = NULL;
    size_t i = 0;
    json_array_foreach(json_object_get(schema, "required"), i, part) {
        if (!json_object_get(value, json_string_value(part))) return false;
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, part) {
        const json_t *of = json_object_get(json_object_get(schema, "properties"), name);
        if (!of) of = additional;
        if (of && !is_valid(root, of, part)) return false;
    }
    return true;
}

/* Of single bytes: no character of several is told apart by those that are drawn. */
static bool matches(const char *pattern, const char *text) {
    regex_t regex;
    require(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) == 0 ? RT_OK : RT_EUSAGE, pattern);
    const bool is_match = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return is_match;
}

/* Characters of a string, items of an array, or the number itself. */
static double size_of(const json_t *value) {
    const char *text = json_string_value(value);
    int64_t n = 0;
    if (!text)
        return json_is_array(value) ? (double)json_array_size(value) : json_number_value(value);
    for (; *text; text++) n += ((uint8_t)*text & 0xc0) != 0x80;
    return (double)n;
}

static bool is_within_bounds(const json_t *schema, const json_t *value) {
    static const char *const keys[][2] = {{"minItems", "maxItems"}, {"minLength", "maxLength"},
            {"minimum", "maximum"}, {"exclusiveMinimum", "exclusiveMaximum"}};
    const int kind = json_is_array(value) ? 0 : json_is_string(value) ? 1 : 2;
    bool is_right = true;
    const json_t *pattern = json_object_get(schema, "pattern");
    if (kind == 2 && !json_is_number(value)) return true;
    if (kind == 1 && pattern && !matches(json_string_value(pattern), json_string_value(value)))
        return false;
    for (int i = kind; i <= kind + (kind == 2); i++) {
        const json_t *least = json_object_get(schema, keys[i][0]);
        const json_t *most = json_object_get(schema, keys[i][1]);
        const double size = size_of(value);
        const double at_least = json_number_value(least);
        is_right = is_right && (!least || (i == 3 ? size > at_least : size >= at_least)) &&
                   (!most || (i == 3 ? size < json_number_value(most)
                                     : size <= json_number_value(most)));
    }
    return is_right;
}

static bool is_one_of(const json_t *list, const json_t *value) {
    size_t i = 0;
    const json_t *one = NULL;
    json_array_foreach(list, i, one) {
        if (json_equal(one, value)) return true;
    }
    return false;
}

static bool is_valid(const json_t *root, const json_t *schema, const json_t *value) {
    schema = resolve(root, schema);
    if (json_is_false(schema)) return false;
    const json_t *type = json_object_get(schema, "type");
    const json_t *any = json_object_get(schema, "anyOf");
    const json_t *items = json_object_get(schema, "items");
    const json_t *constant = json_object_get(schema, "const");
    size_t i = 0;
    const json_t *one = NULL;
    bool is_right = !type || json_is_string(type);
    json_array_foreach(type, i, one) is_right =
            is_right || is_of_type(value, json_string_value(one));
    if (!is_right || (json_is_string(type) && !is_of_type(value, json_string_value(type))))
        return false;
    if (json_object_get(schema, "enum") && !is_one_of(json_object_get(schema, "enum"), value))
        return false;
    if (constant && !json_equal(constant, value)) return false;
    if (!is_within_bounds(schema, value)) return false;
    is_right = !any;
    json_array_foreach(any, i, one) is_right = is_right || is_valid(root, one, value);
    if (json_is_array(value) && items)
        json_array_foreach(value, i, one) is_right = is_right && is_valid(root, items, one);
    return is_right && (!json_is_object(value) || is_valid_object(root, schema, value));
}

/* ---- texts of the schema --------------------------------------------------------------------- */

/* A listed name that may stand here, with its end; NULL: none. */
static const char *whole_name(const binding *b) {
    static const char *const texts[] = {
            "a\"", "ab\"", "b\"", "q\\\"\"", "\xc3\xa9\"", "a long one\""};
    const int64_t first = below(N_NAMES);
    for (int i = 0; i < N_NAMES; i++) {
        binding copy = *b;
        const char *text = texts[(first + i) % N_NAMES];
        const char *at = text;
        while (*at && glm_schema_take(copy.schema, &copy.by_schema, &copy.json, (uint8_t)*at)) at++;
        if (!*at) return text;
    }
    return NULL;
}

/* By chance; where the text is long, whatever brings it to an end. */
static int draw_byte(const binding *b, bool is_calm) {
    const glm_json_place place = glm_json_where(&b->json);
    const bool is_inside = place == GLM_JSON_IN_NAME || place == GLM_JSON_IN_STRING;
    const char *ends = is_inside ? "\"" : place == GLM_JSON_IN_NUMBER ? "}]," : "}]\"1n-tf[{:,";
    is_calm = is_calm || (place == GLM_JSON_IN_NUMBER && below(2));
    uint8_t allowed[256];
    int n = 0;
    for (const char *end = ends; is_calm && *end; end++)
        if (may_follow(b, (uint8_t)*end)) return (uint8_t)*end;
    for (int i = 0; i < 256; i++)
        if (may_follow(b, (uint8_t)i)) allowed[n++] = (uint8_t)i;
    if (n == 0) return -1;
    for (int i = 0; i < 3; i++) { /* what is known as a character, rather than any */
        const uint8_t byte = allowed[below(n)];
        if (byte > ' ' && byte < 0x7f) return byte;
    }
    return allowed[below(n)];
}

static int check_drawn(const json_t *root, const glm_schema *schema, const char *shown) {
    binding b = {.schema = schema};
    char text[TEXT_BYTES + 1];
    const char *name = NULL;
    int n = 0;
    while (n < TEXT_BYTES && !glm_json_is_whole(&b.json)) {
        const bool begins_name = glm_json_where(&b.json) == GLM_JSON_IN_NAME && text[n - 1] == '"';
        if (n > CALM && begins_name && !name) name = whole_name(&b);
        const int byte = name ? (uint8_t)*name++ : draw_byte(&b, n > CALM);
        if (name && !*name) name = NULL;
        text[n] = '\0';
        if (byte < 0) {
            printf("FAIL nothing may follow %s\nby %s\n", text, shown);
            n_failed++;
            return 0;
        }
        text[n++] = (char)byte;
        expect(glm_schema_take(schema, &b.by_schema, &b.json, (uint8_t)byte),
                "a byte that may follow", shown);
    }
    text[n] = '\0';
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    const bool is_beyond = !value && json_error_code(&error) == json_error_numeric_overflow;
    if (is_beyond || !glm_json_is_whole(&b.json))
        return 0; /* no form knows of that; it grew and grew */
    if (!value || !is_valid(root, root, value)) {
        printf("FAIL %s: %s\nis not of %s\n", value ? "invalid" : error.text, text, shown);
        n_failed++;
    }
    json_decref(value);
    return 1;
}

/* ---- values of the schema -------------------------------------------------------------------- */

static bool is_required(const json_t *schema, const char *name) {
    size_t i = 0;
    const json_t *one = NULL;
    json_array_foreach(json_object_get(schema, "required"), i, one) {
        if (strcmp(json_string_value(one), name) == 0) return true;
    }
    return false;
}

/* NULL: none was found, which happens where it is deep. */
static json_t *draw_value(const json_t *root, const json_t *schema, int depth) {
    json_t *values = json_pack("[s, s, i, f, b, n, i, {}, [], s, s, i, i, i]", "a\"b", "", 12, 1.5,
            true, 0, "\xc3\xa9\xf0\x9f\x98\x80", "abcdef", -5, 100, 1000010);
    json_t *found = NULL;
    schema = resolve(root, schema);
    const json_t *any = json_object_get(schema, "anyOf");
    const json_t *list = json_object_get(schema, "enum");
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (any) {
        found = draw_value(
                root, json_array_get(any, (size_t)below((int64_t)json_array_size(any))), depth);
    } else if (json_object_get(schema, "const")) {
        found = json_incref(json_object_get(schema, "const"));
    } else if (list) {
        found = json_incref(json_array_get(list, (size_t)below((int64_t)json_array_size(list))));
    } else if (depth < 8 && type && strcmp(type, "array") == 0) {
        found = json_array();
        for (int64_t n = below(4); n > 0; n--)
            (void)json_array_append_new(
                    found, draw_value(root, json_object_get(schema, "items"), depth + 1));
    } else if (depth < 8 && type && strcmp(type, "object") == 0) {
        found = json_object();
        for (int64_t k = below(N_NAMES), i = k; i < k + N_NAMES; i++) {
            const char *name = names[i % N_NAMES];
            const json_t *of = json_object_get(json_object_get(schema, "properties"), name);
            if (of && (below(2) || is_required(schema, name)))
                (void)json_object_set_new(found, name, draw_value(root, of, depth + 1));
        }
        if (json_is_object(json_object_get(schema, "additionalProperties")) && below(2))
            (void)json_object_set_new(found, "other",
                    draw_value(root, json_object_get(schema, "additionalProperties"), depth + 1));
    } else if (type && strcmp(type, "integer") == 0) {
        const json_t *least = json_object_get(schema, "minimum");
        if (!least) least = json_object_get(schema, "exclusiveMinimum");
        found = json_integer((int64_t)json_number_value(least) + below(5) - 1);
    } else {
        found = json_incref(json_array_get(values, (size_t)below(14)));
    }
    json_decref(values);
    return found;
}

/* A value that happens to be of the schema, as compactly as an enum's are. */
static int check_value(const json_t *root, const glm_schema *schema, const char *shown) {
    json_t *value = draw_value(root, root, 0);
    bool is_whole = false;
    const bool is_right = json_is_object(value) && is_valid(root, root, value);
    char *text = is_right ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    const bool is_taken = is_right && takes(schema, text, &is_whole) && is_whole;
    /* As a name that is not listed, one with an escape is not said. */
    if (is_right && !is_taken && !strstr(text, "q\\\"")) {
        printf("FAIL %s\nis of %s, and not taken\n", text, shown);
        n_failed++;
    }
    free(text);
    json_decref(value);
    return is_right;
}

static void check_many(uint64_t seed, int64_t n) {
    int64_t n_compiled = 0;
    int64_t n_drawn = 0;
    int64_t n_values = 0;
    state = seed;
    for (int64_t i = 0; i < n && n_failed == 0; i++) {
        json_t *root = draw_root();
        char *shown = json_dumps(root, JSON_COMPACT);
        glm_schema *schema = NULL;
        if (glm_schema_compile(root, &schema) == RT_OK) {
            n_compiled++;
            n_drawn += check_drawn(root, schema, shown);
            for (int k = 0; k < 5; k++) n_values += check_value(root, schema, shown);
        }
        glm_schema_free(schema);
        free(shown);
        json_decref(root);
    }
    printf("%lld schemas, %lld texts, %lld values\n", (long long)n_compiled, (long long)n_drawn,
            (long long)n_values);
    /* The others have bounds that nothing, or no value that was drawn, keeps. */
    expect(n_drawn > n / 2 && n_values > n / 2, "enough of all", "");
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    const int64_t n = argc > 2 ? strtoll(argv[2], NULL, 0) : getenv("GLM_TEST_FAST") ? 60 : 600;
    check_many(seed, n);
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}
