/* oneOf is taken where its schemas exclude each other, so that what is of one of them is of just one: by types, by values, or
 * by a property that all require, as pydantic's and OpenAPI's discriminated unions do. Where two may have a value in common it
 * is refused, never loosened. */
#include "help_schema.h"

#define PET(kind, more)                                                \
    "{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"" kind \
    "\",\"type\":\"string\"}," more "},\"required\":[\"kind\"],\"additionalProperties\":false}"

static void check_unions(void) {
    static const char pets[] = "{\"$defs\":{\"Cat\":" PET(
            "cat", "\"meows\":{\"type\":\"integer\"}") ",\"Dog\":" PET("dog",
            "\"barks\":{\"type\":\"boolean\"}") "},\"type\":\"object\",\"required\":[\"pet\"],\"properties\":"
                                                "{\"pet\":{\"discriminator\":{\"mapping\":{\"cat\":\"#/$defs/Cat\"},\"propertyName\":\"kind\"},"
                                                "\"oneOf\":[{\"$ref\":\"#/$defs/Cat\"},{\"$ref\":\"#/$defs/Dog\"}],\"title\":\"Pet\"}}}";
    check_text(pets, "{\"pet\":{\"kind\":\"cat\",\"meows\":3}}", true);
    check_text(pets, "{\"pet\":{\"barks\":true,\"kind\":\"dog\"}}", true);
    check_text(pets, "{\"pet\":{\"kind\":\"dog\",\"meows\":3}}", false);
    check_text(pets, "{\"pet\":{\"kind\":\"cow\"}}", false);
    check_text(pets, "{\"pet\":{\"meows\":3}}", false);
    check_beginning(pets, "{\"pet\":{\"meows\":3,\"kind\":\"d", false);

    static const char mixed[] =
            "{\"oneOf\":[{\"type\":\"string\"},{\"type\":[\"integer\",\"null\"]}]}";
    check_property(mixed, "{\"n\":\"x\"}", true);
    check_property(mixed, "{\"n\":null}", true);
    check_property(mixed, "{\"n\":true}", false);
    static const char words[] =
            "{\"oneOf\":[{\"const\":\"a\"},{\"enum\":[\"b\",1]},{\"type\":\"null\"}]}";
    check_property(words, "{\"n\":\"a\"}", true);
    check_property(words, "{\"n\":1}", true);
    check_property(words, "{\"n\":\"c\"}", false);
    check_property("{\"oneOf\":[{\"type\":\"boolean\"}]}", "{\"n\":true}", true);
}

static void refuses(const char *alternatives) {
    char source[1000];
    (void)snprintf(
            source, sizeof source, "{\"properties\":{\"n\":{\"oneOf\":[%s]}}}", alternatives);
    check_refusal(
            source, "\"oneOf\" at #/properties/n is not supported, but of schemas that exclude");
}

static void check_refusals(void) {
    refuses("{},{\"type\":\"null\"}");
    refuses("true,{\"type\":\"null\"}");
    refuses("{\"type\":\"number\"},{\"type\":\"integer\"}");
    refuses("{\"enum\":[1,\"a\"]},{\"enum\":[\"b\",1.0]}");
    refuses("{\"enum\":[\"a\"]},{\"type\":\"string\"}");
    refuses("{\"type\":\"string\"},{\"type\":\"null\"},{\"type\":\"string\",\"maxLength\":3}");
    refuses("{\"anyOf\":[{\"type\":\"null\"}]},{\"type\":\"string\"}");
    /* A kind that may be absent is no other kind; nor is one of two names, or one that anything but an object is without. */
    refuses("{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"}},\"required\":[\"k\"]},"
            "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"}}}");
    refuses("{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"}},\"required\":[\"k\"]},"
            "{\"type\":\"object\",\"properties\":{\"l\":{\"const\":\"b\"}},\"required\":[\"l\"]}");
    refuses("{\"properties\":{\"k\":{\"const\":\"a\"}},\"required\":[\"k\"]},"
            "{\"properties\":{\"k\":{\"const\":\"b\"}},\"required\":[\"k\"]}");
    check_refusal("{\"oneOf\":[{}],\"anyOf\":[{}]}", "beside \"anyOf\" at #");
    check_refusal("{\"oneOf\":[]}", "oneOf at # must be a list of 1 to");
}

/* Enums of which every two would have to be compared are given up: that takes no time. */
static void check_cost(void) {
    json_t *list = json_array();
    for (int i = 0; i < 16; i++) {
        json_t *values = json_array();
        for (int k = 0; k < 5000; k++)
            (void)json_array_append_new(values, json_sprintf("%d of %d", k, i));
        (void)json_array_append_new(list, json_pack("{s:o}", "enum", values));
    }
    json_t *root = json_pack("{s:{s:{s:o}}}", "properties", "n", "oneOf", list);
    glm_schema *schema = NULL;
    expect(glm_schema_compile(root, &schema) == RT_EUSAGE, "not refused", "many values");
    json_decref(root);
}

int main(void) {
    check_unions();
    check_refusals();
    check_cost();
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}
