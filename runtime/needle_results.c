/* results.json: an array of records, each with all it takes to know what was run. The same file is
 * what an interrupted run continues from: records of other settings are refused, by name. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/memstream.h"
#include "base/size.h"
#include "cli_json.h"
#include "needle.h"

enum { READ_TRIES_MAX = 100 };

/* ---- records --------------------------------------------------------------------------------- */

rt_status glm_needle_results_add(glm_needle_results *results, const glm_needle_record *record) {
    RT_TRY(rt_make_room(&results->records, sizeof *results->records, results->n, &results->capacity,
            "results"));
    glm_needle_record copy = *record;
    copy.response = strdup(record->response);
    if (!copy.response) return rt_fail(RT_ENOMEM, "needle: no memory for a response");
    results->records[results->n++] = copy;
    return RT_OK;
}

static bool is_same_cell(const glm_needle_cell *a, const glm_needle_cell *b) {
    return a->length == b->length && a->depth == b->depth && a->round == b->round;
}

bool glm_needle_results_has(const glm_needle_results *results, const glm_needle_cell *cell) {
    for (int64_t i = 0; i < results->n; i++)
        if (is_same_cell(&results->records[i].cell, cell)) return true;
    return false;
}

static bool is_depth_of(const glm_needle_settings *settings, double depth) {
    for (int64_t i = 0; i < settings->n_depths; i++)
        if (settings->depths[i] == depth) return true;
    return false;
}

static bool is_among(int64_t value, const int64_t *values, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (values[i] == value) return true;
    return false;
}

static bool is_of_grid(const glm_needle_settings *settings, const glm_needle_cell *cell) {
    return cell->round < settings->rounds &&
           is_among(cell->length, settings->lengths, settings->n_lengths) &&
           is_depth_of(settings, cell->depth);
}

double glm_needle_results_score(const glm_needle_results *results, int64_t length, double depth) {
    int64_t n = 0;
    double sum = 0.0;
    for (int64_t i = 0; i < results->n; i++) {
        const glm_needle_record *record = &results->records[i];
        if (record->cell.length != length || record->cell.depth != depth) continue;
        if (!is_of_grid(results->header.settings, &record->cell)) continue;
        n++;
        sum += record->score;
    }
    return n ? sum / (double)n : (double)NAN;
}

glm_needle_tally glm_needle_results_tally(const glm_needle_results *results) {
    glm_needle_tally tally = {0};
    double sum = 0.0;
    for (int64_t i = 0; i < results->n; i++) {
        const glm_needle_record *record = &results->records[i];
        if (!is_of_grid(results->header.settings, &record->cell)) {
            tally.n_others++;
            continue;
        }
        tally.n++;
        tally.n_correct += record->score >= 1.0;
        sum += record->score;
    }
    if (tally.n > 0) tally.accuracy = sum / (double)tally.n;
    return tally;
}

/* Source: Wilson 1927, doi:10.1080/01621459.1927.10502953. For scores between 0 and 1 it is wider than
 * needed: their variance is at most that of hits and misses with the same mean. */
void glm_needle_interval(double share, int64_t n, double *low, double *high) {
    const double z2 = 1.959964 * 1.959964;
    const double count = (double)n;
    const double middle = (share * count + z2 / 2) / (count + z2);
    const double half = sqrt(z2 * (share * (1 - share) * count + z2 / 4)) / (count + z2);
    *low = fmax(0.0, middle - half);
    *high = fmin(1.0, middle + half);
}

void glm_needle_results_free(glm_needle_results *results) {
    for (int64_t i = 0; i < results->n; i++) free(results->records[i].response);
    free(results->records);
    results->records = NULL;
    results->n = results->capacity = 0;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* The settings that must agree for two runs to be one. */
enum { N_SHARED = 11 };
typedef struct shared_field {
    const char *key;
    const char *value;
} shared_field;

static void list_shared(
        const glm_needle_header *header, char seed[32], shared_field out[N_SHARED]) {
    const glm_needle_settings *settings = header->settings;
    (void)snprintf(seed, 32, "%" PRIu64, settings->seed);
    const shared_field fields[N_SHARED] = {{"protocol", settings->protocol},
            {"mode", settings->is_fast ? "fast" : "exact"},
            {"answer_prefix_mode", settings->answer_prefix}, {"run_seed", seed},
            {"model_fingerprint", header->fingerprint}, {"kv_cache_dtype", header->kv_dtype},
            {"linear", header->linear}, {"haystack_sha256", header->haystack_sha256},
            {"template", settings->is_plain ? "none" : "glm-4"}, {"tokenizer", "model"},
            {"own_task", settings->own.text}};
    memcpy(out, fields, sizeof fields);
}

/* 50, or 12.5 */
static json_t *depth_json(double depth) {
    return depth == floor(depth) ? json_integer((json_int_t)depth) : json_real(depth);
}

static json_t *record_json(const glm_needle_header *header, const glm_needle_record *record) {
    const bool has_depth = !header->settings->is_spread;
    json_t *object = json_pack(
            "{s:I, s:o, s:s, s:s, s:b, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}",
            "context_length", (json_int_t)record->cell.length, "depth_percent",
            has_depth ? depth_json(record->cell.depth) : json_null(), "response", record->response,
            "answer", record->answer, "correct", record->score >= 1.0, "score", record->score,
            "seed", (json_int_t)record->seed, "round", (json_int_t)record->cell.round,
            "prompt_tokens", (json_int_t)record->prompt_tokens, "needle_token",
            (json_int_t)record->needle_token, "reused_tokens", (json_int_t)record->reused_tokens,
            "generated_tokens", (json_int_t)record->n_generated, "prefill_s", record->prefill_s,
            "decode_s", record->decode_s);
    if (!object) return NULL;
    char seed[32];
    shared_field shared[N_SHARED];
    list_shared(header, seed, shared);
    int failed = json_object_set_new(
            object, "model", glm_cli_json_text(header->model, strlen(header->model)));
    failed |= json_object_set_new(object, "haystack_source",
            glm_cli_json_text(header->haystack_source, strlen(header->haystack_source)));
    failed |= json_object_set_new(object, "answer_prefix", json_string(record->answer_prefix));
    failed |= json_object_set_new(object, "prompt_sha256", json_string(record->prompt_sha256));
    if (record->program[0])
        failed |= json_object_set_new(object, "program", json_string(record->program));
    for (int i = 0; i < N_SHARED; i++)
        failed |= json_object_set_new(object, shared[i].key, json_string(shared[i].value));
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

rt_status glm_needle_results_json(const glm_needle_results *results, char **text) {
    json_t *array = json_array();
    for (int64_t i = 0; array && i < results->n; i++)
        if (json_array_append_new(array, record_json(&results->header, &results->records[i])) !=
                0) {
            json_decref(array);
            array = NULL;
        }
    *text = array ? json_dumps(array, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(array);
    return *text ? RT_OK : rt_fail(RT_ENOMEM, "needle: no memory for the results");
}

static int64_t get_int(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static rt_status check_shared(
        const glm_needle_header *header, const json_t *object, const char *path) {
    char seed[32];
    shared_field shared[N_SHARED];
    list_shared(header, seed, shared);
    for (int i = 0; i < N_SHARED; i++) {
        const char *stored = json_string_value(json_object_get(object, shared[i].key));
        if (strcmp(stored ? stored : "", shared[i].value) == 0) continue;
        return rt_fail(RT_EUSAGE,
                "needle: %s holds results with %s \"%s\" and this run has \"%s\"; choose another "
                "--out or delete the file",
                path, shared[i].key, stored ? stored : "(none)", shared[i].value);
    }
    return RT_OK;
}

/* Files of before there were scores say only whether all was found. */
static double stored_score(const json_t *object) {
    const json_t *score = json_object_get(object, "score");
    if (json_is_number(score)) return json_number_value(score);
    return json_is_true(json_object_get(object, "correct")) ? 1.0 : 0.0;
}

static rt_status load_record(glm_needle_results *results, const json_t *object, const char *path) {
    const char *response = json_string_value(json_object_get(object, "response"));
    const char *answer = json_string_value(json_object_get(object, "answer"));
    if (!json_is_object(object) || !response || !answer ||
            !json_is_integer(json_object_get(object, "context_length")))
        return rt_fail(
                RT_ECORRUPT, "needle: %s: record %" PRId64 " is not one of ours", path, results->n);
    RT_TRY(check_shared(&results->header, object, path));
    const glm_needle_cell cell = {get_int(object, "context_length"),
            json_number_value(json_object_get(object, "depth_percent")), get_int(object, "round")};
    if (glm_needle_results_has(results, &cell)) return RT_OK;
    glm_needle_record record = {.cell = cell,
            .seed = (uint64_t)get_int(object, "seed"),
            .response = (char *)(uintptr_t)response,
            .score = stored_score(object),
            .prompt_tokens = get_int(object, "prompt_tokens"),
            .needle_token = get_int(object, "needle_token"),
            .reused_tokens = get_int(object, "reused_tokens"),
            .n_generated = get_int(object, "generated_tokens"),
            .prefill_s = json_number_value(json_object_get(object, "prefill_s")),
            .decode_s = json_number_value(json_object_get(object, "decode_s"))};
    const char *prefix = json_string_value(json_object_get(object, "answer_prefix"));
    const char *sha256 = json_string_value(json_object_get(object, "prompt_sha256"));
    const char *program = json_string_value(json_object_get(object, "program"));
    (void)snprintf(record.program, sizeof record.program, "%s", program ? program : "");
    (void)snprintf(record.prompt_sha256, sizeof record.prompt_sha256, "%s", sha256 ? sha256 : "");
    (void)snprintf(record.answer, sizeof record.answer, "%s", answer);
    (void)snprintf(record.answer_prefix, sizeof record.answer_prefix, "%s", prefix ? prefix : "");
    return glm_needle_results_add(results, &record);
}

static rt_status load_text(
        glm_needle_results *results, const char *path, const char *text, int64_t n_bytes) {
    json_error_t error;
    json_t *array = json_loadb(text, (size_t)n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_array(array)) {
        json_decref(array);
        return rt_fail(RT_ECORRUPT, "needle: %s is not an array of results (%s)", path, error.text);
    }
    rt_status status = RT_OK;
    for (size_t i = 0; i < json_array_size(array) && status == RT_OK; i++)
        status = load_record(results, json_array_get(array, i), path);
    json_decref(array);
    return status;
}

/* Another run may replace the file while it is read. */
static rt_status read_settled(const char *path, char **text, int64_t *n_bytes) {
    rt_status status = RT_OK;
    rt_file_fault fault = RT_FILE_CHANGED;
    for (int i = 0; i < READ_TRIES_MAX && fault == RT_FILE_CHANGED; i++)
        status = rt_file_read_judged(path, RT_GIB, text, n_bytes, &fault);
    return status;
}

rt_status glm_needle_results_load(glm_needle_results *results, const char *dir) {
    char *path = NULL;
    RT_TRY(rt_path_join(dir, "results.json", &path));
    rt_status status = RT_OK;
    if (rt_file_exists(path)) {
        char *text = NULL;
        int64_t n_bytes = 0;
        status = read_settled(path, &text, &n_bytes);
        if (status == RT_OK) status = load_text(results, path, text, n_bytes);
        free(text);
    }
    free(path);
    return status;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void print_quoted(FILE *out, const char *text) {
    (void)fputc('"', out);
    for (const char *c = text; *c; c++) {
        if (*c == '"') (void)fputc('"', out);
        (void)fputc(*c == '\n' || *c == '\r' ? ' ' : *c, out);
    }
    (void)fputc('"', out);
}

static rt_status make_csv(const glm_needle_results *results, char **text, size_t *n_bytes) {
    FILE *out = rt_memstream_open(text, n_bytes);
    if (!out) return rt_fail_errno(RT_ENOMEM, "needle: no memory for results.csv");
    (void)fputs(
            "context_length_tokens,depth_percent,round,correct,score,prompt_tokens,reused_tokens,"
            "prefill_s,decode_s,seed,prompt_sha256,answer,response\n",
            out);
    for (int64_t i = 0; i < results->n; i++) {
        const glm_needle_record *r = &results->records[i];
        (void)fprintf(out, "%" PRId64 ",", r->cell.length);
        if (!results->header.settings->is_spread) (void)fprintf(out, "%g", r->cell.depth);
        (void)fprintf(out, ",%" PRId64 ",%d,%.4f,%" PRId64 ",%" PRId64 ",%.3f,%.3f,%" PRIu64 ",%s,",
                r->cell.round, r->score >= 1.0, r->score, r->prompt_tokens, r->reused_tokens,
                r->prefill_s, r->decode_s, r->seed, r->prompt_sha256);
        print_quoted(out, r->answer);
        (void)fputc(',', out);
        print_quoted(out, r->response);
        (void)fputc('\n', out);
    }
    return rt_memstream_close(out, text) ? RT_OK
                                         : rt_fail(RT_ENOMEM, "needle: no memory for results.csv");
}

static rt_status save_one(const char *dir, const char *name, const char *text, size_t n_bytes) {
    char *path = NULL;
    RT_TRY(rt_path_join(dir, name, &path));
    const rt_status status = rt_file_replace(path, text, (int64_t)n_bytes);
    free(path);
    return status;
}

rt_status glm_needle_results_save(const glm_needle_results *results, const char *dir) {
    char *json = NULL;
    char *csv = NULL;
    size_t n_csv = 0;
    RT_TRY(rt_mkdirs(dir));
    RT_TRY(glm_needle_results_json(results, &json));
    rt_status status = save_one(dir, "results.json", json, strlen(json));
    free(json);
    if (status == RT_OK) status = make_csv(results, &csv, &n_csv);
    if (status == RT_OK) status = save_one(dir, "results.csv", csv, n_csv);
    free(csv);
    return status;
}
