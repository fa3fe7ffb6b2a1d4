#include "json_in.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "limits.h"
#include "runtime/json_file.h"

/* A test builds this file so that integers have no upper bound. */
#ifndef GLM_MUTANT_NO_MAXIMUM
#define GLM_MUTANT_NO_MAXIMUM 0
#endif

static const char bad_json[] = "invalid_json";

/* ---- bounds, on the text --------------------------------------------------------------------- */

/* What a walk over the text has counted. It need not be JSON: jansson says so afterwards. */
typedef struct counts {
    int64_t depth;
    int64_t depth_max;
    int64_t n_values;
    int64_t n_numbers;
    int64_t number_max; /* characters of the longest */
} counts;

static bool is_number_character(char byte) {
    return (byte >= '0' && byte <= '9') || byte == '-' || byte == '+' || byte == '.' ||
           byte == 'e' || byte == 'E';
}

/* Behind the string that begins at `at`, or the end. */
static int64_t skip_string(const char *text, int64_t n_bytes, int64_t at) {
    for (at++; at < n_bytes && text[at] != '"'; at++)
        if (text[at] == '\\') at++;
    return at + 1;
}

static int64_t skip_number(const char *text, int64_t n_bytes, int64_t at, counts *seen) {
    const int64_t begin = at;
    while (at < n_bytes && is_number_character(text[at])) at++;
    seen->n_numbers++;
    if (at - begin > seen->number_max) seen->number_max = at - begin;
    return at;
}

static counts count(const char *text, int64_t n_bytes) {
    counts seen = {0};
    for (int64_t at = 0; at < n_bytes;) {
        const char byte = text[at];
        if (byte == '"') {
            seen.n_values++;
            at = skip_string(text, n_bytes, at);
        } else if (byte == '-' || (byte >= '0' && byte <= '9')) {
            at = skip_number(text, n_bytes, at, &seen);
        } else {
            seen.n_values += strchr("[{tfn", byte) && byte != '\0';
            if (byte == '[' || byte == '{') seen.depth++;
            if (byte == ']' || byte == '}') seen.depth--;
            if (seen.depth > seen.depth_max) seen.depth_max = seen.depth;
            at++;
        }
    }
    return seen;
}

static bool is_within(
        srv_limit limit, int64_t found, const char *what, const char *code, srv_error *error) {
    if (found <= srv_limit_of(limit)) return true;
    return srv_refuse(error, 400, code, NULL,
            "the JSON has %s %" PRId64 ", at most %" PRId64 " are taken", what, found,
            srv_limit_of(limit));
}

static bool check_counts(const counts *seen, srv_error *error) {
    return is_within(SRV_JSON_DEPTH, seen->depth_max, "a nesting of", "json_too_deep", error) &&
           is_within(SRV_JSON_VALUES, seen->n_values, "values (but numbers):", "json_too_large",
                   error) &&
           is_within(SRV_JSON_NUMBERS, seen->n_numbers, "numbers:", "json_too_large", error) &&
           is_within(SRV_NUMBER_CHARACTERS, seen->number_max,
                   "a number of characters:", "json_number_too_long", error);
}

/* \u0000 and a key twice are JSON, and not taken. */
static bool is_json(const json_error_t *fault) {
    const enum json_error_code which = json_error_code(fault);
    return which == json_error_null_character || which == json_error_null_byte_in_key ||
           which == json_error_duplicate_key || which == json_error_numeric_overflow;
}

static json_t *parse(const char *text, int64_t n_bytes, srv_error *error) {
    json_error_t fault;
    bool lacks_memory = false;
    json_t *root = glm_json_parse(text, n_bytes, &fault, &lacks_memory);
    if (lacks_memory)
        (void)srv_refuse(error, 503, "out_of_memory", NULL, "no memory for the request's values");
    else if (!root)
        (void)srv_refuse(error, 400, bad_json, NULL, "the body is %s: line %d, column %d: %s",
                is_json(&fault) ? "refused" : "not JSON", fault.line, fault.column, fault.text);
    return root;
}

/* As editors put it in front of a file; jansson's error would show it, and it cannot be seen. */
static bool begins_with_mark(const char *text, int64_t n_bytes) {
    return n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
}

json_t *srv_json_read(const char *text, int64_t n_bytes, srv_error *error) {
    const counts seen = count(text, n_bytes);
    const char *nul = n_bytes > 0 ? memchr(text, '\0', (size_t)n_bytes) : NULL;
    json_t *root = NULL;
    if (!check_counts(&seen, error)) return NULL;
    if (nul)
        (void)srv_refuse(
                error, 400, bad_json, NULL, "the body is not JSON: byte %td is a NUL", nul - text);
    else if (n_bytes == 0)
        (void)srv_refuse(error, 400, bad_json, NULL, "the body is empty: a JSON object is wanted");
    else if (begins_with_mark(text, n_bytes))
        (void)srv_refuse(error, 400, bad_json, NULL,
                "the body begins with a byte order mark: send it without");
    else
        root = parse(text, n_bytes, error);
    if (!root || json_is_object(root)) return root;
    (void)srv_refuse(error, 400, bad_json, NULL, "the body is no JSON object");
    json_decref(root);
    return NULL;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static bool wrong_type(
        const char *name, const json_t *value, const char *wanted, srv_error *error) {
    char text[GLM_JSON_TEXT];
    return srv_refuse_field(
            error, name, "%s must be %s, not %s", name, wanted, glm_json_text(value, text));
}

static const json_t *find(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

bool srv_is_whole(const json_t *value, int64_t *number) {
    const double real = json_real_value(value);
    const bool is_real = json_is_real(value) && real == floor(real) && fabs(real) <= 0x1p53;
    if (!is_real && !json_is_integer(value)) return false;
    *number = is_real ? (int64_t)real : json_integer_value(value);
    return true;
}

bool srv_get_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *out,
        srv_error *error) {
    const json_t *value = find(object, name);
    if (!value) return true;
    int64_t number = 0;
    if (!srv_is_whole(value, &number)) return wrong_type(name, value, "an integer", error);
    if (number < min || (number > max && !GLM_MUTANT_NO_MAXIMUM))
        return srv_refuse_field(error, name,
                "%s is %" PRId64 ": it must be between %" PRId64 " and %" PRId64, name, number, min,
                max);
    *out = number;
    return true;
}

bool srv_get_real(const json_t *object, const char *name, double min, double max, double *out,
        srv_error *error) {
    const json_t *value = find(object, name);
    if (!value) return true;
    if (!json_is_number(value)) return wrong_type(name, value, "a number", error);
    const double number = json_number_value(value);
    if (!(number >= min && number <= max))
        return srv_refuse_field(
                error, name, "%s is %g: it must be between %g and %g", name, number, min, max);
    *out = number;
    return true;
}

bool srv_get_bool(const json_t *object, const char *name, bool *out, srv_error *error) {
    const json_t *value = find(object, name);
    if (!value) return true;
    if (!json_is_boolean(value)) return wrong_type(name, value, "true or false", error);
    *out = json_is_true(value);
    return true;
}

bool srv_get_text(const json_t *object, const char *name, const char **out, srv_error *error) {
    const json_t *value = find(object, name);
    if (!value) return true;
    if (!json_is_string(value)) return wrong_type(name, value, "a string", error);
    *out = json_string_value(value);
    return true;
}

bool srv_require_neutral(const json_t *object, const char *name, double neutral, srv_error *error) {
    double number = neutral;
    if (!srv_get_real(object, name, -1e300, 1e300, &number, error)) return false;
    if (number == neutral) return true;
    return srv_refuse_field(error, name, "%s is not supported: leave it out, or %g", name, neutral);
}
