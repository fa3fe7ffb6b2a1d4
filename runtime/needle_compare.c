/* Two runs of needle side by side: their results.json, matched cell by cell. */
#include "needle_compare.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "cli_json.h"

typedef struct cell {
    int64_t length;
    double depth;
    int64_t round;
    double score;
    const char *prompt_sha256; /* "" where the file is older */
} cell;

/* One run. The cells' texts are borrowed from `array`. */
typedef struct side {
    json_t *array;
    cell *cells; /* by length, depth and round */
    int64_t n;
} side;

/* What cells of a length that both have add up to. */
typedef struct tally {
    int64_t n;
    double a;
    double b;
    int64_t n_better_a;
    int64_t n_better_b;
    int64_t n_other_prompts;
} tally;

/* ---- reading --------------------------------------------------------------------------------- */

static int by_place(const void *left, const void *right) {
    const cell *a = left;
    const cell *b = right;
    if (a->length != b->length) return a->length < b->length ? -1 : 1;
    if (a->depth != b->depth) return a->depth < b->depth ? -1 : 1;
    return (a->round > b->round) - (a->round < b->round);
}

static rt_status read_cell(const json_t *record, const char *path, int64_t i, cell *out) {
    const json_t *length = json_object_get(record, "context_length");
    const json_t *depth = json_object_get(record, "depth_percent");
    const json_t *correct = json_object_get(record, "correct");
    const json_t *score = json_object_get(record, "score");
    const char *sha256 = json_string_value(json_object_get(record, "prompt_sha256"));
    if (!json_is_integer(length) || !(json_is_number(depth) || json_is_null(depth)) ||
            !json_is_boolean(correct))
        return rt_fail(RT_ECORRUPT, "needle: %s: record %" PRId64 " is not one of ours", path, i);
    *out = (cell){.length = json_integer_value(length),
            .depth = json_number_value(depth), /* null: there is none */
            .round = json_integer_value(json_object_get(record, "round")),
            .score = json_is_number(score) ? json_number_value(score) : json_is_true(correct),
            .prompt_sha256 = sha256 ? sha256 : ""};
    return RT_OK;
}

static rt_status read_file(const char *path, side *out) {
    char *text = NULL;
    int64_t n_bytes = 0;
    json_error_t error;
    RT_TRY(rt_file_read(path, RT_GIB, &text, &n_bytes));
    out->array = json_loadb(text, (size_t)n_bytes, 0, &error);
    free(text);
    if (!json_is_array(out->array) || json_array_size(out->array) == 0)
        return rt_fail(RT_ECORRUPT, "needle: %s holds no array of results", path);
    const int64_t n = (int64_t)json_array_size(out->array);
    RT_TRY(rt_calloc(n, sizeof *out->cells, "results", &out->cells));
    for (; out->n < n; out->n++)
        RT_TRY(read_cell(
                json_array_get(out->array, (size_t)out->n), path, out->n, &out->cells[out->n]));
    qsort(out->cells, (size_t)out->n, sizeof *out->cells, by_place);
    for (int64_t i = 1; i < n; i++)
        if (by_place(&out->cells[i - 1], &out->cells[i]) == 0)
            return rt_fail(RT_ECORRUPT,
                    "needle: %s has length %" PRId64 ", depth %g, round %" PRId64 " twice", path,
                    out->cells[i].length, out->cells[i].depth, out->cells[i].round);
    return RT_OK;
}

/* A directory's results.json, or the file itself. */
static rt_status read_side(const char *path, side *out) {
    struct stat info;
    char *inside = NULL;
    if (stat(path, &info) != 0) return rt_fail_errno(RT_EIO, "needle: cannot read %s", path);
    if (!S_ISDIR(info.st_mode)) return read_file(path, out);
    RT_TRY(rt_path_join(path, "results.json", &inside));
    const rt_status status = read_file(inside, out);
    free(inside);
    return status;
}

static void free_side(side *s) {
    json_decref(s->array);
    free(s->cells);
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* Two-sided: how likely runs that are equally good differ in favour of one as much as this. */
static double sign_test(int64_t k, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i <= rt_min64(k, n - k); i++)
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) -
                   (double)n * log(2.0));
    return fmin(1.0, 2.0 * sum);
}

static void add(tally *t, const cell *a, const cell *b) {
    t->n++;
    t->a += a->score;
    t->b += b->score;
    t->n_better_a += a->score > b->score;
    t->n_better_b += b->score > a->score;
    t->n_other_prompts += strcmp(a->prompt_sha256, b->prompt_sha256) != 0;
}

static void merge(tally *all, const tally *one) {
    all->n += one->n;
    all->a += one->a;
    all->b += one->b;
    all->n_better_a += one->n_better_a;
    all->n_better_b += one->n_better_b;
    all->n_other_prompts += one->n_other_prompts;
}

/* What is the same for all rows of a comparison. */
typedef struct comparison {
    const char *path_a;
    const char *path_b;
    side a;
    side b;
    tally all;
    tally *rows; /* one a length that both have, ascending */
    int64_t *lengths;
    int64_t n_rows;
} comparison;

static rt_status tally_rows(comparison *c) {
    tally row = {0};
    RT_TRY(rt_calloc(c->a.n, sizeof *c->rows, "a comparison", &c->rows));
    RT_TRY(rt_calloc(c->a.n, sizeof *c->lengths, "a comparison", &c->lengths));
    for (int64_t i = 0, k = 0; i < c->a.n; i++) {
        const cell *one = &c->a.cells[i];
        while (k < c->b.n && by_place(&c->b.cells[k], one) < 0) k++;
        if (k < c->b.n && by_place(&c->b.cells[k], one) == 0) add(&row, one, &c->b.cells[k]);
        if (i + 1 < c->a.n && one[1].length == one->length) continue;
        merge(&c->all, &row);
        if (row.n > 0) {
            c->rows[c->n_rows] = row;
            c->lengths[c->n_rows++] = one->length;
        }
        row = (tally){0};
    }
    if (c->all.n > 0) return RT_OK;
    return rt_fail(RT_EUSAGE, "needle: %s and %s have no length, depth and round in common",
            c->path_a, c->path_b);
}

static int64_t n_unlike(const comparison *c) {
    return c->all.n_better_a + c->all.n_better_b;
}

/* What of the settings is not the same in both: the next key, from *at on; NULL: no more. */
static const char *next_difference(
        const comparison *c, size_t *at, const char **of_a, const char **of_b) {
    static const char *const keys[] = {"protocol", "mode", "model", "model_fingerprint",
            "kv_cache_dtype", "linear", "haystack_sha256", "answer_prefix_mode", "template",
            "run_seed", "own_task", "program"};
    while (*at < sizeof keys / sizeof *keys) {
        const char *key = keys[(*at)++];
        *of_a = json_string_value(json_object_get(json_array_get(c->a.array, 0), key));
        *of_b = json_string_value(json_object_get(json_array_get(c->b.array, 0), key));
        if (!*of_a) *of_a = "";
        if (!*of_b) *of_b = "";
        if (strcmp(*of_a, *of_b) != 0) return key;
    }
    return NULL;
}

/* ---- as text --------------------------------------------------------------------------------- */

static void print_row(const char *name, const tally *t) {
    const double a = 100.0 * t->a / (double)t->n;
    const double b = 100.0 * t->b / (double)t->n;
    (void)printf("%8s  %6" PRId64 "  %5.1f %%  %5.1f %%  %+6.1f  %9" PRId64 "  %9" PRId64 "\n",
            name, t->n, a, b, b - a, t->n_better_a, t->n_better_b);
}

static void print_summary(const comparison *c) {
    const tally *all = &c->all;
    if (n_unlike(c) > 0)
        (void)printf("%" PRId64 " of %" PRId64 " cells differ; sign test p = %.3g\n", n_unlike(c),
                all->n, sign_test(all->n_better_a, n_unlike(c)));
    else
        (void)printf("no cell differs\n");
    if (all->n_other_prompts > 0)
        (void)printf("%" PRId64 " of %" PRId64 " cells had other prompts\n", all->n_other_prompts,
                all->n);
    if (c->a.n > all->n || c->b.n > all->n)
        (void)printf("only in A: %" PRId64 " cells, only in B: %" PRId64 "\n", c->a.n - all->n,
                c->b.n - all->n);
}

static void print_text(const comparison *c) {
    char text[RT_SIZE_TEXT];
    const char *of_a = NULL;
    const char *of_b = NULL;
    const char *key = NULL;
    (void)printf("A: %s\nB: %s\n", c->path_a, c->path_b);
    for (size_t at = 0; (key = next_difference(c, &at, &of_a, &of_b));)
        (void)printf("%s: \"%s\" in A, \"%s\" in B\n", key, of_a, of_b);
    (void)printf("%8s  %6s  %7s  %7s  %6s  %9s  %9s\n", "length", "cells", "A", "B", "B - A",
            "A better", "B better");
    for (int64_t i = 0; i < c->n_rows; i++)
        print_row(rt_format_tokens(c->lengths[i], text), &c->rows[i]);
    print_row("all", &c->all);
    print_summary(c);
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static json_t *tally_json(const tally *t) {
    return json_pack("{s:I, s:f, s:f, s:I, s:I, s:I}", "cells", (json_int_t)t->n, "a",
            t->a / (double)t->n, "b", t->b / (double)t->n, "a_better", (json_int_t)t->n_better_a,
            "b_better", (json_int_t)t->n_better_b, "other_prompts", (json_int_t)t->n_other_prompts);
}

static rt_status print_json(const comparison *c) {
    json_t *lengths = json_array();
    json_t *differences = json_object();
    const char *of_a = NULL;
    const char *of_b = NULL;
    const char *key = NULL;
    for (int64_t i = 0; i < c->n_rows; i++) {
        json_t *row = tally_json(&c->rows[i]);
        (void)json_object_set_new(row, "length", json_integer(c->lengths[i]));
        (void)json_array_append_new(lengths, row);
    }
    for (size_t at = 0; (key = next_difference(c, &at, &of_a, &of_b));)
        (void)json_object_set_new(differences, key, json_pack("{s:s, s:s}", "a", of_a, "b", of_b));
    json_t *object = json_pack("{s:o, s:o, s:o, s:o, s:o, s:f, s:I, s:I}", "a",
            glm_cli_json_text(c->path_a, strlen(c->path_a)), "b",
            glm_cli_json_text(c->path_b, strlen(c->path_b)), "differences", differences, "lengths",
            lengths, "all", tally_json(&c->all), "sign_test_p",
            n_unlike(c) > 0 ? sign_test(c->all.n_better_a, n_unlike(c)) : 1.0, "only_in_a",
            (json_int_t)(c->a.n - c->all.n), "only_in_b", (json_int_t)(c->b.n - c->all.n));
    return glm_cli_json_print("needle", object, JSON_INDENT(2));
}

/* ---- both ------------------------------------------------------------------------------------ */

static rt_status compare(comparison *c, bool as_json) {
    RT_TRY(read_side(c->path_a, &c->a));
    RT_TRY(read_side(c->path_b, &c->b));
    RT_TRY(tally_rows(c));
    if (as_json) return print_json(c);
    print_text(c);
    return RT_OK;
}

rt_status glm_needle_compare(const char *path_a, const char *path_b, bool as_json) {
    comparison c = {.path_a = path_a, .path_b = path_b};
    const rt_status status = compare(&c, as_json);
    free_side(&c.a);
    free_side(&c.b);
    free(c.rows);
    free(c.lengths);
    return status;
}
