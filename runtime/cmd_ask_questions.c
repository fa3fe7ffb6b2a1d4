#include "cmd_ask_questions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "cli_input.h"
#include "cli_sources.h"
#include "json_file.h"

enum { WHY_BYTES = 512 };

/* ---- lines ----------------------------------------------------------------------------------- */

static rt_status no_memory(void) {
    return rt_fail(RT_ENOMEM, "ask: no memory for the questions");
}

rt_status ask_question_refuse(ask_question *question, const char *why) {
    free(question->error);
    question->error = strdup(why);
    return question->error ? RT_OK : no_memory();
}

/* An id as a key of a table. For free(). */
static char *key_of(const json_t *id) {
    return json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT);
}

/* The line's object; NULL with `why` said. */
static json_t *parse_object(const char *line, int64_t n_bytes, char why[WHY_BYTES]) {
    json_error_t error;
    bool lacks_memory = false;
    json_t *object = glm_json_parse(line, n_bytes, &error, &lacks_memory);
    if (json_is_object(object)) return object;
    if (object)
        (void)snprintf(why, WHY_BYTES, "this is no JSON object");
    else
        (void)snprintf(why, WHY_BYTES, "column %d: %s", error.column, error.text);
    json_decref(object);
    return NULL;
}

/* NULL when the object can be asked. */
static const char *what_is_wrong(const json_t *object) {
    const json_t *id = json_object_get(object, "id");
    const json_t *text = json_object_get(object, "question");
    const json_t *max = json_object_get(object, "max_tokens");
    if (!text) return "there is no \"question\"";
    if (!json_is_string(text) || json_string_length(text) == 0)
        return "\"question\" is no string, or an empty one";
    if (id && !json_is_string(id) && !json_is_integer(id))
        return "\"id\" is neither a string nor a whole number";
    if (max && (!json_is_integer(max) || json_integer_value(max) <= 0))
        return "\"max_tokens\" is no whole number above 0";
    return NULL;
}

static rt_status fill(ask_question *question, const json_t *object) {
    json_t *id = json_object_get(object, "id");
    const char *wrong = what_is_wrong(object);
    if (id && (json_is_string(id) || json_is_integer(id))) question->id = json_incref(id);
    if (wrong) return ask_question_refuse(question, wrong);
    question->text = strdup(json_string_value(json_object_get(object, "question")));
    question->max_tokens = json_integer_value(json_object_get(object, "max_tokens"));
    return question->text ? RT_OK : no_memory();
}

static rt_status parse_line(ask_question *question, const char *line, int64_t n_bytes) {
    char why[WHY_BYTES];
    json_t *object = parse_object(line, n_bytes, why);
    rt_status status = object ? fill(question, object) : ask_question_refuse(question, why);
    json_decref(object);
    if (!question->id) question->id = json_integer(question->line);
    return status == RT_OK && !question->id ? no_memory() : status;
}

/* Two lines with one id could not be told apart in the answers: the second one is not asked. */
static rt_status refuse_twice(ask_question *question, json_t *seen) {
    char why[WHY_BYTES];
    char *key = key_of(question->id);
    rt_status status = key ? RT_OK : no_memory();
    const json_t *first = key ? json_object_get(seen, key) : NULL;
    if (first) {
        (void)snprintf(why, sizeof why, "the id is that of line %" PRId64,
                (int64_t)json_integer_value(first));
        status = ask_question_refuse(question, why);
    } else if (key && json_object_set_new(seen, key, json_integer(question->line)) != 0) {
        status = no_memory();
    }
    free(key);
    return status;
}

static bool is_blank(const char *line, int64_t n_bytes) {
    for (int64_t i = 0; i < n_bytes; i++)
        if ((uint8_t)line[i] > ' ') return false;
    return true;
}

static int64_t count_lines(const char *text, int64_t n_bytes) {
    int64_t n = 1;
    for (int64_t i = 0; i < n_bytes; i++) n += text[i] == '\n';
    return n;
}

static rt_status parse_lines(const char *text, int64_t n_bytes, ask_questions *out, json_t *seen) {
    int64_t line = 0;
    RT_TRY(rt_calloc(
            count_lines(text, n_bytes), sizeof *out->questions, "questions", &out->questions));
    for (const char *at = text; at < text + n_bytes; at++) {
        const char *end = memchr(at, '\n', (size_t)(text + n_bytes - at));
        if (!end) end = text + n_bytes;
        line++;
        if (!is_blank(at, end - at)) {
            ask_question *question = &out->questions[out->n_questions++];
            question->line = line;
            RT_TRY(parse_line(question, at, end - at));
            RT_TRY(refuse_twice(question, seen));
        }
        at = end;
    }
    return RT_OK;
}

rt_status ask_questions_read(const char *path, ask_questions *out) {
    char *text = NULL;
    int64_t n_bytes = 0;
    *out = (ask_questions){0};
    RT_TRY(glm_cli_read_document(path, &text, &n_bytes)); /* UTF-16, too */
    const int64_t n_mark = n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    json_t *seen = json_object();
    rt_status status = seen ? parse_lines(text + n_mark, n_bytes - n_mark, out, seen) : no_memory();
    json_decref(seen);
    free(text);
    if (status == RT_OK && out->n_questions == 0)
        status = rt_fail(RT_EUSAGE, "ask: %s holds no questions", path);
    if (status != RT_OK) ask_questions_free(out);
    return status;
}

rt_status ask_questions_single(const char *text, ask_questions *out) {
    *out = (ask_questions){0};
    if (text[0] == '\0') return rt_fail(RT_EUSAGE, "ask: the question is empty");
    RT_TRY(rt_calloc(1, sizeof *out->questions, "a question", &out->questions));
    out->n_questions = 1;
    out->questions[0].text = strdup(text);
    return out->questions[0].text ? RT_OK : no_memory();
}

rt_status ask_questions_piped(ask_questions *out) {
    char *text = NULL;
    *out = (ask_questions){0};
    RT_TRY(glm_cli_read_question("ask", &text));
    const rt_status status = ask_questions_single(text, out);
    free(text);
    return status;
}

void ask_questions_free(ask_questions *questions) {
    for (int64_t i = 0; i < questions->n_questions; i++) {
        ask_question *question = &questions->questions[i];
        json_decref(question->id);
        free(question->text);
        free(question->error);
        glm_ids_free(&question->ids);
    }
    free(questions->questions);
    *questions = (ask_questions){0};
}

/* ---- an earlier run -------------------------------------------------------------------------- */

/* Where it was computed changes no more than roundings: such answers may stand side by side. And what an older build had
 * no name for is not known to be another. */
static bool is_compared(const json_t *record, const char *key) {
    static const char *const newer[] = {"sampling", "stop", "model_fingerprint"};
    if (strcmp(key, "program") == 0 || strcmp(key, "model") == 0) return false;
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++)
        if (strcmp(key, newer[i]) == 0) return json_object_get(record, key) != NULL;
    return true;
}

/* What differs between a record and what is asked now; NULL: nothing. */
static const char *difference(
        const json_t *record, const ask_question *question, const json_t *same) {
    const char *key = NULL;
    json_t *value = NULL;
    const char *text = json_string_value(json_object_get(record, "question"));
    if (!text || strcmp(text, question->text) != 0) return "question";
    json_object_foreach((json_t *)same, key, value) {
        if (is_compared(record, key) && !json_equal(json_object_get(record, key), value))
            return key;
    }
    return NULL;
}

/* What is no record was not written here, and is no business of ours. */
static rt_status no_record(const char *path, int64_t line, const char *why) {
    return rt_fail(RT_EUSAGE,
            "ask: %s:%" PRId64 ": no answer of an earlier run: %s; name another file with --out",
            path, line, why);
}

/* A question that failed is asked again, or refused again: *is_kept false, its old record goes. */
static rt_status take_record(const json_t *record, const json_t *by_id, ask_questions *questions,
        const char *path, int64_t line, const json_t *same, bool *is_kept) {
    if (!json_object_get(record, "answer") && !json_object_get(record, "error"))
        return no_record(path, line, "neither \"answer\" nor \"error\"");
    char *key = key_of(json_object_get(record, "id"));
    const json_t *at = key ? json_object_get(by_id, key) : NULL;
    rt_status status = RT_OK;
    *is_kept = !(at && json_object_get(record, "error"));
    if (at && json_object_get(record, "answer")) {
        ask_question *question = &questions->questions[json_integer_value(at)];
        const char *other = question->text ? difference(record, question, same) : NULL;
        question->is_answered = question->text != NULL;
        if (other)
            status = rt_fail(RT_EUSAGE,
                    "ask: %s:%" PRId64
                    ": the answer to id %s is of another run: its \"%s\" differs; "
                    "name another file with --out",
                    path, line, key, other);
    }
    free(key);
    return status;
}

/* The place of each question by its id; of two with one, the first. */
static rt_status index_ids(const ask_questions *questions, json_t *by_id) {
    for (int64_t i = questions->n_questions - 1; i >= 0; i--) {
        char *key = key_of(questions->questions[i].id);
        const int failed = !key || json_object_set_new(by_id, key, json_integer(i)) != 0;
        free(key);
        if (failed) return no_memory();
    }
    return RT_OK;
}

/* Whether a line without an end is what a crash left of a record, or of its place on the disk. */
static bool is_begun_record(const char *text, int64_t n_bytes) {
    static const char begin[] = "{\"id\": ";
    const int64_t n_begin = (int64_t)sizeof begin - 1;
    return text[0] == '\0' || memcmp(text, begin, (size_t)rt_min64(n_bytes, n_begin)) == 0;
}

/* The lines of records that stay move to the front of `text`, *n_kept bytes. What has no line's end is half of a record that
 * was being written, and does not stay; or a whole one, of a file that something else wrote anew: it is given an end, for
 * which `text` has its NUL's place. */
static rt_status take_records(ask_questions *questions, const char *path, char *text,
        int64_t n_bytes, const json_t *by_id, const json_t *same, int64_t *n_kept) {
    int64_t line = 0;
    *n_kept = 0;
    for (const char *at = text; at < text + n_bytes; at++) {
        char why[WHY_BYTES];
        bool is_kept = true;
        const char *end = memchr(at, '\n', (size_t)(text + n_bytes - at));
        const bool has_end = end != NULL;
        if (!has_end) end = text + n_bytes;
        line++;
        json_t *record = parse_object(at, end - at, why);
        if (!record && !has_end && is_begun_record(at, end - at)) break;
        if (!record)
            return no_record(path, line, has_end ? why : "a line that does not begin as one");
        const rt_status status = take_record(record, by_id, questions, path, line, same, &is_kept);
        json_decref(record);
        RT_TRY(status);
        if (is_kept) {
            memmove(text + *n_kept, at, (size_t)(end - at));
            *n_kept += end - at;
            text[(*n_kept)++] = '\n';
        }
        at = end;
    }
    return RT_OK;
}

/* A link stays one. */
static rt_status replace(const char *path, const char *text, int64_t n_bytes) {
    char *file = realpath(path, NULL);
    const rt_status status = file ? rt_file_replace(file, text, n_bytes)
                                  : rt_fail_errno(RT_EIO, "ask: cannot write %s", path);
    free(file);
    return status;
}

rt_status ask_questions_resume(ask_questions *questions, const char *path, const json_t *same) {
    char *text = NULL;
    int64_t n_bytes = 0;
    if (!rt_file_exists(path)) return RT_OK;
    RT_TRY(rt_file_read(path, RT_GIB, &text, &n_bytes));
    json_t *by_id = json_object();
    int64_t n_kept = 0;
    rt_status status = by_id ? index_ids(questions, by_id) : no_memory();
    if (status == RT_OK)
        status = take_records(questions, path, text, n_bytes, by_id, same, &n_kept);
    if (status == RT_OK && n_kept != n_bytes) status = replace(path, text, n_kept);
    json_decref(by_id);
    free(text);
    return status;
}
