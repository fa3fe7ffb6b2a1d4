#include "cmd_book.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli_json.h"

/* ---- in words -------------------------------------------------------------------------------- */

/* The value of "key=value" among some lines, *n its length; NULL without such a line. */
static const char *value_of(const char *lines, const char *key, int *n) {
    const size_t n_key = strlen(key);
    for (const char *line = lines; *line; line += *line == '\n') {
        const size_t length = strcspn(line, "\n");
        if (length > n_key && strncmp(line, key, n_key) == 0 && line[n_key] == '=') {
            *n = (int)(length - n_key - 1);
            return line + n_key + 1;
        }
        line += length;
    }
    return NULL;
}

const char *book_model_text(const kv_book *book, char text[BOOK_MODEL_TEXT]) {
    int n_layers = 0;
    int n_hidden = 0;
    int n_dtype = 0;
    int n_weights = 0;
    const char *layers = value_of(book->fingerprint_text, "layers", &n_layers);
    const char *hidden = value_of(book->fingerprint_text, "hidden", &n_hidden);
    const char *dtype = value_of(book->fingerprint_text, "kv_dtype", &n_dtype);
    const char *weights = value_of(book->fingerprint_text, "weights", &n_weights);
    if (layers && hidden && dtype && weights)
        (void)snprintf(text, BOOK_MODEL_TEXT, "%.*s x %.*s, %.*s, weights %.*s", n_layers, layers,
                n_hidden, hidden, n_dtype, dtype, n_weights < 8 ? n_weights : 8, weights);
    else
        (void)snprintf(text, BOOK_MODEL_TEXT, "fingerprint %02x%02x%02x%02x", book->fingerprint[0],
                book->fingerprint[1], book->fingerprint[2], book->fingerprint[3]);
    return text;
}

const char *book_source_text(const kv_book *book, char text[BOOK_SOURCE_TEXT]) {
    int n = 0;
    int n_more = 0;
    const char *first = value_of(book->note, "source", &n);
    const char *next = first;
    for (int n_next = n; next; n_more += next != NULL)
        next = value_of(next + n_next, "source", &n_next);
    if (!first)
        (void)snprintf(text, BOOK_SOURCE_TEXT, "-");
    else if (n_more > 0)
        (void)snprintf(text, BOOK_SOURCE_TEXT, "%.*s and %d more", n, first, n_more);
    else
        (void)snprintf(text, BOOK_SOURCE_TEXT, "%.*s", n, first);
    return text;
}

const char *book_time_text(int64_t seconds, bool is_utc, char text[BOOK_TIME_TEXT]) {
    const time_t when = (time_t)seconds;
    struct tm parts;
    text[0] = '\0';
    if (is_utc && gmtime_r(&when, &parts)) {
        (void)strftime(text, BOOK_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &parts);
    } else if (!is_utc && localtime_r(&when, &parts)) {
        (void)strftime(text, BOOK_TIME_TEXT, "%Y-%m-%d %H:%M", &parts);
    }
    return text;
}

const char *book_hex_text(const uint8_t bytes[32], char text[BOOK_HEX_TEXT]) {
    for (int i = 0; i < 32; i++) (void)snprintf(text + 2 * (size_t)i, 3, "%02x", bytes[i]);
    return text;
}

/* ---- the same as JSON ------------------------------------------------------------------------ */

static json_t *json_lines(const char *lines) {
    json_t *array = json_array();
    for (const char *line = lines; *line; line += *line == '\n') {
        const size_t n = strcspn(line, "\n");
        (void)json_array_append_new(array, glm_cli_json_text(line, n));
        line += n;
    }
    return array;
}

static json_t *json_fields(const char *lines) {
    json_t *object = json_object();
    for (const char *line = lines; *line; line += *line == '\n') {
        const size_t n = strcspn(line, "\n");
        const char *equals = memchr(line, '=', n);
        char key[64];
        if (equals && (size_t)(equals - line) < sizeof key) {
            (void)snprintf(key, sizeof key, "%.*s", (int)(equals - line), line);
            (void)json_object_set_new(
                    object, key, glm_cli_json_text(equals + 1, (size_t)(line + n - equals - 1)));
        }
        line += n;
    }
    return object;
}

json_t *book_json(const kv_book *book) {
    char created[BOOK_TIME_TEXT];
    char model[BOOK_MODEL_TEXT];
    char source[BOOK_SOURCE_TEXT];
    char hex[BOOK_HEX_TEXT];
    (void)book_source_text(book, source);
    return json_pack("{s:s, s:I, s:I, s:s, s:I, s:s, s:o, s:i, s:i, s:s, s:o, s:o}", "name",
            book->name, "n_tokens", (json_int_t)book->n_tokens, "stored_bytes",
            (json_int_t)book->stored_bytes, "created",
            book_time_text(book->created_s, true, created), "created_s",
            (json_int_t)book->created_s, "model", book_model_text(book, model), "source",
            glm_cli_json_text(source, strlen(source)), "n_segments", (int)book->n_segments,
            "n_missing", (int)book->n_missing, "fingerprint_sha256",
            book_hex_text(book->fingerprint, hex), "fingerprint",
            json_fields(book->fingerprint_text), "note", json_lines(book->note));
}
