/* What a schema takes and what it does not, by name: names, values, lengths and ranges of integers; and that what
 * could not come to an end is not begun. */
#include "help_schema.h"

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

int main(void) {
    check_texts();
    check_beginnings();
    check_lengths();
    check_ranges();
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}
