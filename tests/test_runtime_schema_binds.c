/* An answer that is bound to a schema is of it: whatever is let through, byte by byte, becomes whole, and a
 * validator takes it; and what the schema allows can be said. What cannot be bound to is refused by name.
 *
 * Method: schemas drawn by chance. A text of bytes drawn from those that may follow, then a validator of this
 * test's own; and values that the schema is asked for, in any order of names and with white space, which must
 * be taken. Named texts and refusals besides. More: `test_runtime_schema_binds SEED N`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_expect.h"
#include "help_random.h"
#include "runtime/schema.h"

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

static json_t *draw_bounded(void) {
    if (below(2)) return draw_integer();
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

/* Characters of a string, items of an array, or the number itself. */
static int64_t size_of(const json_t *value) {
    const char *text = json_string_value(value);
    int64_t n = 0;
    if (!text)
        return json_is_array(value) ? (int64_t)json_array_size(value) : json_integer_value(value);
    for (; *text; text++) n += ((uint8_t)*text & 0xc0) != 0x80;
    return n;
}

static bool is_within_bounds(const json_t *schema, const json_t *value) {
    static const char *const keys[][2] = {{"minItems", "maxItems"}, {"minLength", "maxLength"},
            {"minimum", "maximum"}, {"exclusiveMinimum", "exclusiveMaximum"}};
    const int kind = json_is_array(value) ? 0 : json_is_string(value) ? 1 : 2;
    bool is_right = true;
    if (kind == 2 && !json_is_integer(value)) return true;
    for (int i = kind; i <= kind + (kind == 2); i++) {
        const json_t *least = json_object_get(schema, keys[i][0]);
        const json_t *most = json_object_get(schema, keys[i][1]);
        const double size = (double)size_of(value);
        const double at_least = json_number_value(least) + (i == 3);
        is_right = is_right && (!least || size >= at_least) &&
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

typedef struct binding {
    const glm_schema *schema;
    glm_schema_state by_schema;
    glm_json_state json;
} binding;

static bool may_follow(const binding *b, uint8_t byte) {
    binding copy = *b;
    return glm_schema_take(copy.schema, &copy.by_schema, &copy.json, byte);
}

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

static bool takes(const glm_schema *schema, const char *text, bool *is_whole) {
    binding b = {.schema = schema};
    for (; *text; text++)
        if (!glm_schema_take(schema, &b.by_schema, &b.json, (uint8_t)*text)) return false;
    *is_whole = glm_json_is_whole(&b.json);
    return true;
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

/* ---- by name --------------------------------------------------------------------------------- */

static void check_text(const char *source, const char *text, bool is_taken) {
    json_t *root = json_loads(source, 0, NULL);
    glm_schema *schema = NULL;
    bool is_whole = false;
    require(glm_schema_compile(root, &schema), source);
    expect((takes(schema, text, &is_whole) && is_whole) == is_taken,
            is_taken ? "not taken" : "taken", text);
    glm_schema_free(schema);
    json_decref(root);
}

static void check_texts(void) {
    static const char person[] =
            "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"anyOf\":[{\"type\":"
            "\"integer\"},{\"type\":\"null\"}]},\"next\":{\"$ref\":\"#\"}},\"required\":[\"name\"],"
            "\"additionalProperties\":false}";
    check_text(person, "{\"name\":\"\\u00e9\"}", true);
    check_text(person, "{ \"age\" : null ,\n\"name\":\"x\", \"next\":{\"name\":\"y\"}}", true);
    check_text(person, "{\"age\":1}", false);
    check_text(person, "{\"name\":\"x\",\"age\":1.0}", false);
    check_text(person, "{\"name\":\"x\",\"age\":1e2}", false);
    check_text(person, "{\"name\":\"x\",\"name\":\"y\"}", false);
    check_text(person, "{\"name\":\"x\",\"nam\":\"y\"}", false);
    check_text(person, "{\"name\":\"x\",}", false);
    check_text(person, "{\"name\":\"x\",\"next\":{}}", false);
    static const char numbers[] = "{\"properties\":{\"n\":{\"enum\":[1,12,120,\"1\"]}}}";
    check_text(numbers, "{\"n\":1}", true);
    check_text(numbers, "{\"n\":12 }", true);
    check_text(numbers, "{\"n\":120,\"m\":[{}]}", true);
    check_text(numbers, "{\"n\":\"1\"}", true);
    check_text(numbers, "{\"n\":121}", false);
    check_text(numbers, "{\"n\":1.0}", false);
    check_text(numbers, "{\"n\":\"12\"}", false);
}

/* Of one property, n, that is bound to `schema`. */
static void check_property(const char *schema, const char *text, bool is_taken) {
    char source[400];
    (void)snprintf(
            source, sizeof source, "{\"properties\":{\"n\":%s},\"required\":[\"n\"]}", schema);
    check_text(source, text, is_taken);
}

/* Whether a text may begin so. */
static void check_beginning(const char *source, const char *text, bool is_taken) {
    json_t *root = json_loads(source, 0, NULL);
    glm_schema *schema = NULL;
    bool is_whole = false;
    require(glm_schema_compile(root, &schema), source);
    expect(takes(schema, text, &is_whole) == is_taken, is_taken ? "not taken" : "taken", text);
    glm_schema_free(schema);
    json_decref(root);
}

/* What could not come to an end is not begun: a comma behind the last item, a minus, a digit too many, and an
 * array that has no room for the object it must have. */
static void check_beginnings(void) {
    static const char arrays[] =
            "{\"$defs\":{\"a\":{\"type\":[\"array\",\"null\"],\"minItems\":1,\"items\":{\"type\":\"object\","
            "\"properties\":{\"x\":{\"$ref\":\"#/$defs/a\"}},\"required\":[\"x\"]}}},"
            "\"properties\":{\"x\":{\"$ref\":\"#/$defs/a\"}}}";
    static const char two[] = "{\"properties\":{\"n\":{\"type\":\"array\",\"maxItems\":2}}}";
    static const char ages[] =
            "{\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":18,\"maximum\":150}}}";
    char text[400] = "{\"x\":";
    check_beginning(two, "{\"n\":[1,2", true);
    check_beginning(two, "{\"n\":[1,2,", false);
    check_beginning(ages, "{\"n\":15", true);
    check_beginning(ages, "{\"n\":16", false);
    check_beginning(ages, "{\"n\":-", false);
    for (int i = 0; i < (GLM_JSON_DEPTH - 2) / 2; i++) strcat(text, "[{\"x\":");
    check_beginning(arrays, text, true);
    check_beginning(arrays, strcat(text, "["), false);
}

static void check_lengths(void) {
    static const char three[] = "{\"type\":\"string\",\"minLength\":3,\"maxLength\":3}";
    check_property(three, "{\"n\":\"abc\"}", true);
    check_property(three, "{\"n\":\"ab\"}", false);
    check_property(three, "{\"n\":\"abcd\"}", false);
    check_property(three, "{\"n\":\"\xc3\xa9\\n\xf0\x9f\x98\x80\"}", true);
    check_property(three, "{\"n\":\"\\ud83d\\ude00\\u00e9x\"}", true);
    check_property(three, "{\"n\":\"\\ud83d\\ude00\\u00e9\"}", false);
    check_property("{\"type\":\"string\",\"maxLength\":0}", "{\"n\":\"\"}", true);
    check_property("{\"maxLength\":1}", "{\"n\":[\"abc\"],\"m\":\"abc\"}", true);
    static const char two[] = "{\"type\":\"array\",\"minItems\":2,\"maxItems\":2}";
    check_property(two, "{\"n\":[[],[1,2,3]]}", true);
    check_property(two, "{\"n\":[]}", false);
    check_property(two, "{\"n\":[1 ]}", false);
    check_property(two, "{\"n\":[1,2,3]}", false);
    check_property("{\"type\":\"array\",\"maxItems\":0}", "{\"n\":[ ]}", true);
    check_property("{\"type\":\"array\",\"maxItems\":0}", "{\"n\":[1]}", false);
    check_property(
            "{\"minItems\":3,\"items\":{\"enum\":[[1,2,3,4],5]}}", "{\"n\":[[1,2,3,4],5,5]}", true);
    check_property(
            "{\"minItems\":3,\"items\":{\"enum\":[[1,2,3,4],5]}}", "{\"n\":[[1,2,3,4],5]}", false);
}

static void check_ranges(void) {
    static const char ages[] = "{\"type\":\"integer\",\"minimum\":18,\"exclusiveMaximum\":151}";
    check_property(ages, "{\"n\":18}", true);
    check_property(ages, "{\"n\":99 }", true);
    check_property(ages, "{\"n\":150}", true);
    check_property(ages, "{\"n\":17}", false);
    check_property(ages, "{\"n\":151}", false);
    check_property(ages, "{\"n\":1}", false);
    check_property(ages, "{\"n\":0}", false);
    check_property(ages, "{\"n\":-20}", false);
    static const char around[] =
            "{\"type\":[\"integer\",\"null\"],\"minimum\":-12,\"maximum\":3.5}";
    check_property(around, "{\"n\":null}", true);
    check_property(around, "{\"n\":-12}", true);
    check_property(around, "{\"n\":3}", true);
    check_property(around, "{\"n\":0}", true);
    check_property(around, "{\"n\":-13}", false);
    check_property(around, "{\"n\":4}", false);
    check_property("{\"type\":\"integer\",\"exclusiveMinimum\":0}", "{\"n\":0}", false);
    check_property(
            "{\"type\":\"integer\",\"exclusiveMinimum\":0}", "{\"n\":9223372036854775807}", true);
    check_property(
            "{\"type\":\"integer\",\"exclusiveMinimum\":0}", "{\"n\":9223372036854775808}", false);
    check_property("{\"type\":\"integer\",\"maximum\":9223372036854775807}",
            "{\"n\":92233720368547758070}", false);
}

static void check_refusal(const char *source, const char *why) {
    json_t *root = json_loads(source, 0, NULL);
    glm_schema *schema = NULL;
    expect(root && glm_schema_compile(root, &schema) == RT_EUSAGE, "not refused", source);
    expect(strstr(rt_error_text(), why) != NULL, rt_error_text(), why);
    glm_schema_free(schema);
    json_decref(root);
}

static void check_refusals(void) {
    check_refusal("{\"properties\":{\"a\":{\"type\":\"number\",\"minimum\":0}}}",
            "\"minimum\" at #/properties/a is not supported");
    check_refusal("{\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":2,\"maximum\":1.5}}}",
            "leaves no integer");
    check_refusal("{\"properties\":{\"a\":{\"type\":\"integer\",\"exclusiveMinimum\":true}}}",
            "must be a number");
    check_refusal(
            "{\"properties\":{\"a\":{\"maxLength\":-1}}}", "maxLength at #/properties/a must be");
    check_refusal("{\"properties\":{\"a\":{\"minItems\":2,\"maxItems\":1}}}",
            "minItems at #/properties/a is more");
    check_refusal("{\"allOf\":[{},{}]}", "\"allOf\" at #");
    check_refusal(
            "{\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/a\"}]}},\"$ref\":\"#/$defs/a\"}",
            "leads to no schema");
    check_refusal(
            "{\"properties\":{\"a\":{\"minItems\":1,\"type\":\"array\",\"items\":{\"$ref\":\"#/properties\"}}}}",
            "$ref");
    check_refusal(
            "{\"$defs\":{\"a\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"$ref\":\"#/$defs/a\"}}},"
            "\"properties\":{\"x\":{\"$ref\":\"#/$defs/a\"}},\"required\":[\"x\"]}",
            "nested 32 deep");
    check_refusal("{\"properties\":{\"a\":{\"pattern\":\"x\"}}}", "\"pattern\" at #/properties/a");
    check_refusal("{\"type\":\"object\",\"minProperties\":1}", "\"minProperties\" at #");
    check_refusal("{\"items\":{\"oneOf\":[{}]}}", "\"oneOf\" at #/items");
    check_refusal("{\"$ref\":\"http://x\"}", "$ref \"http://x\" at #");
    check_refusal("{\"$ref\":\"#\"}", "$ref \"#\" at #");
    check_refusal("{\"anyOf\":[{\"$ref\":\"#\"}]}", "nested 32 deep");
    check_refusal("{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"object\"}]}", "alternatives");
    check_refusal(
            "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
            "nested 32 deep");
    check_refusal("{\"type\":\"array\"}", "an answer is an object");
    check_refusal("{\"type\":\"text\"}", "type at #");
    check_refusal("{\"enum\":[1],\"type\":\"string\"}", "enum at #");
    check_refusal(
            "{\"required\":[\"a\"],\"additionalProperties\":false}", "\"a\" at # is required");
    check_refusal("{\"properties\":{\"a\":false}}", "#/properties/a must be an object");
    check_refusal("{\"anyOf\":[{}],\"type\":\"object\"}", "\"type\" beside \"anyOf\"");
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    const int64_t n = argc > 2 ? strtoll(argv[2], NULL, 0) : getenv("GLM_TEST_FAST") ? 60 : 600;
    check_texts();
    check_beginnings();
    check_lengths();
    check_ranges();
    check_refusals();
    check_many(seed, n);
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}
