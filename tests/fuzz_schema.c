/* Fuzz target: schemas, and texts of them. Whatever is compiled, a byte may follow what came, until an object is
 * whole that JSON's reader takes; what is not is refused with a reason.
 *
 * Input: the schema, a NUL, and bytes that say which of those that may follow does. */
#include "help_fuzz.h"

#include <jansson.h>
#include <string.h>

#include "runtime/schema.h"

enum { STEPS = 256 };

typedef struct text {
    const glm_schema *schema;
    glm_schema_state by_schema;
    glm_json_state json;
    char bytes[STEPS];
    size_t n;
} text;

static bool may_follow(const text *t, uint8_t byte) {
    text copy = *t;
    return glm_schema_take(copy.schema, &copy.by_schema, &copy.json, byte);
}

/* The one that the choice picks, but no white space between tokens. False: none may. */
static bool add_byte(text *t, uint8_t choice) {
    static const uint8_t known[] = "\"{}[],:0123456789-truefalsn.eE\\abcxyz+\xc3\xa9";
    uint8_t allowed[256];
    size_t n = 0;
    for (size_t i = 0; i + 1 < sizeof known; i++)
        if (may_follow(t, known[i])) allowed[n++] = known[i];
    for (int i = glm_json_where(&t->json) <= GLM_JSON_BEHIND ? '!' : 1; n == 0 && i < 256; i++)
        if (may_follow(t, (uint8_t)i)) allowed[n++] = (uint8_t)i;
    if (n == 0) return false;
    t->bytes[t->n++] = (char)allowed[choice % n];
    FUZZ_REQUIRE(glm_schema_take(t->schema, &t->by_schema, &t->json, allowed[choice % n]));
    return true;
}

static void write_text(const glm_schema *schema, const uint8_t *choices, size_t n_choices) {
    static text t;
    json_error_t error;
    memset(&t, 0, sizeof t);
    t.schema = schema;
    for (size_t i = 0; t.n < STEPS && i < n_choices && !glm_json_is_whole(&t.json); i++)
        FUZZ_REQUIRE(add_byte(&t, choices[i]));
    if (!glm_json_is_whole(&t.json)) return;
    json_t *value = json_loadb(t.bytes, t.n, JSON_REJECT_DUPLICATES, &error);
    FUZZ_REQUIRE(value || json_error_code(&error) == json_error_numeric_overflow ||
                 json_error_code(&error) == json_error_duplicate_key);
    json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    const uint8_t *end = n_bytes > 0 ? memchr(data, 0, n_bytes) : NULL;
    json_t *source = end ? json_loadb((const char *)data, (size_t)(end - data), 0, NULL) : NULL;
    glm_schema *schema = NULL;
    if (!source) return 0;
    if (glm_schema_compile(source, &schema) == RT_OK)
        write_text(schema, end + 1, n_bytes - (size_t)(end - data) - 1);
    else
        FUZZ_REQUIRE(!schema && strncmp(rt_error_text(), "schema: ", 8) == 0);
    glm_schema_free(schema);
    json_decref(source);
    return 0;
}

void fuzz_add_seeds(fuzz_corpus *corpus) {
    static const char *const schemas[] = {"{}",
            "{\"properties\":{\"a\":{\"enum\":[1,12,\"b\",null,{\"c\":[]}]},\"n\":{\"anyOf\":[{\"$ref\":\"#\"},"
            "{\"type\":[\"null\",\"integer\"]}]}},\"required\":[\"a\"],\"additionalProperties\":false}",
            "{\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":-12,\"exclusiveMaximum\":130},\"m\":{\"type\":"
            "\"integer\",\"maximum\":9223372036854775807}},\"required\":[\"n\"],\"additionalProperties\":false}",
            "{\"additionalProperties\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":4}}",
            "{\"properties\":{\"l\":{\"type\":[\"array\",\"null\"],\"minItems\":1,\"maxItems\":2,\"items\":{\"$ref\":"
            "\"#/$defs/l\"}}},\"$defs\":{\"l\":{\"allOf\":[{\"$ref\":\"#/definitions/k\"}]}},\"definitions\":{\"k\":{"
            "\"type\":\"array\",\"maxItems\":1,\"items\":{\"$ref\":\"#/$defs/l\"}}},\"required\":[\"l\"],"
            "\"additionalProperties\":false}",
            "{\"additionalProperties\":{\"type\":\"string\",\"pattern\":\"^([a-c]|x{2,3}\\\\d?)+[^e-z]$\",\"maxLength\":9}}",
            "{\"properties\":{\"a\":{\"format\":\"date\"},\"b\":{\"format\":\"ipv6\"}},\"required\":[\"a\",\"b\"],"
            "\"additionalProperties\":false}",
            "{\"additionalProperties\":{\"type\":\"number\",\"exclusiveMinimum\":-0.5,\"maximum\":12.25,"
            "\"multipleOf\":0.25}}"};
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++)
        for (uint8_t step = 1; step < 30; step += 3) {
            uint8_t bytes[1024];
            const size_t n = strlen(schemas[i]) + 1;
            memcpy(bytes, schemas[i], n);
            for (size_t k = 0; k < 80; k++) bytes[n + k] = (uint8_t)(k * step);
            fuzz_add(corpus, bytes, n + 80);
        }
}

void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    (void)bytes;
    (void)n_bytes;
}
