/* What of a schema an answer cannot be bound to is refused, and said with its place. */
#include "help_schema.h"

static void check_refusals(void) {
    check_refusal(
            "{\"properties\":{\"a\":{\"type\":\"number\",\"minimum\":2,\"exclusiveMaximum\":2}}}",
            "the bounds at #/properties/a leave no number");
    check_refusal(
            "{\"properties\":{\"a\":{\"minimum\":1e15}}}", "leave no number of at most 15 digits");
    check_refusal("{\"properties\":{\"a\":{\"multipleOf\":0}}}",
            "multipleOf at #/properties/a must be more");
    check_refusal("{\"properties\":{\"a\":{\"type\":\"integer\",\"multipleOf\":-2.5}}}",
            "multipleOf at #/properties/a must be more");
    check_refusal("{\"properties\":{\"a\":{\"type\":\"integer\",\"multipleOf\":10,\"minimum\":1,"
                  "\"maximum\":9}}}",
            "leaves no integer");
    check_refusal("{\"properties\":{\"a\":{\"minimum\":\"1\"}}}",
            "minimum at #/properties/a must be a number");
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
    check_refusal("{\"properties\":{\"a\":{\"pattern\":\"(?=x)\"}}}",
            "pattern at #/properties/a: a group that looks ahead or behind");
    check_refusal("{\"properties\":{\"a\":{\"pattern\":\"\\\\bx\"}}}", "a word boundary");
    check_refusal("{\"properties\":{\"a\":{\"pattern\":\"(x)\\\\1\"}}}", "a back reference");
    check_refusal(
            "{\"properties\":{\"a\":{\"pattern\":\"\\\\p{L}\"}}}", "a property of characters");
    check_refusal(
            "{\"properties\":{\"a\":{\"pattern\":\"(x\"}}}", "a group without its end at byte 2");
    check_refusal("{\"properties\":{\"a\":{\"pattern\":\"^a$b\"}}}", "leaves no string");
    check_refusal(
            "{\"properties\":{\"a\":{\"pattern\":\"^...$\",\"maxLength\":2}}}", "leaves no string");
    check_refusal("{\"properties\":{\"a\":{\"pattern\":1}}}",
            "pattern at #/properties/a must be a string");
    check_refusal("{\"properties\":{\"a\":{\"pattern\":\"a\",\"format\":\"date\"}}}",
            "\"format\" beside \"pattern\" at #/properties/a");
    check_refusal(
            "{\"properties\":{\"a\":{\"format\":\"uri\"}}}", "format \"uri\" at #/properties/a");
    check_refusal("{\"properties\":{\"a\":{\"enum\":[\"a\"],\"pattern\":\"a\"}}}",
            "\"pattern\" beside \"enum\"");
    check_refusal("{\"type\":\"object\",\"minProperties\":1}", "\"minProperties\" at #");
    check_refusal("{\"items\":{\"oneOf\":[{},{}]}}", "\"oneOf\" at #/items");
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

int main(void) {
    check_refusals();
    printf("%d failures\n", n_failed);
    return n_failed > 0;
}
