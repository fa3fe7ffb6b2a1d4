/* glm1m book verify. A book whose manifest cannot be read counts as one bad segment. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "cli_json.h"
#include "cli_progress.h"
#include "cli_signals.h"
#include "cmd_book.h"

typedef struct verification {
    glm_progress bar;
    json_t *array; /* NULL: text */
    int64_t n_segments_total;
    kv_book_report sum; /* over all books; the first error of all */
    int64_t n_bad_books;
} verification;

/* Adds the segments of a book to what is to do. One that cannot be read is met again later. */
static rt_status count_segments(const book_shelf *s, verification *v) {
    for (int64_t i = 0; i < s->n_names; i++) {
        kv_book book;
        const rt_status status = kv_books_read(s->books, s->names[i], &book);
        if (status == RT_ECORRUPT || status == RT_EUSAGE) continue;
        RT_TRY(status);
        v->n_segments_total += book.n_segments;
        kv_book_free(&book);
    }
    return RT_OK;
}

static void print_report(verification *v, const char *name, const kv_book_report *report) {
    char bytes[RT_SIZE_TEXT];
    if (v->array) {
        (void)json_array_append_new(v->array,
                json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "name", name, "n_segments",
                        (json_int_t)report->n_segments, "n_runs", (json_int_t)report->n_runs,
                        "bytes_read", (json_int_t)report->bytes_read, "n_bad",
                        (json_int_t)report->n_bad, "first_error",
                        glm_cli_json_text(report->first_error, strlen(report->first_error))));
        return;
    }
    glm_progress_end(&v->bar);
    (void)printf("%s: %" PRId64 " segments, %" PRId64 " runs, %s read, ", name, report->n_segments,
            report->n_runs, rt_format_bytes(report->bytes_read, bytes));
    if (report->n_bad == 0)
        (void)printf("all good\n");
    else
        (void)printf("%" PRId64 " bad; the first: %s\n", report->n_bad, report->first_error);
    (void)fflush(stdout);
}

static void add_report(verification *v, const kv_book_report *report) {
    if (report->n_bad > 0 && v->sum.n_bad == 0)
        memcpy(v->sum.first_error, report->first_error, sizeof v->sum.first_error);
    v->sum.n_segments += report->n_segments;
    v->sum.n_runs += report->n_runs;
    v->sum.bytes_read += report->bytes_read;
    v->sum.n_bad += report->n_bad;
    v->n_bad_books += report->n_bad > 0;
}

static rt_status step_until_done(verification *v, kv_verify *verify) {
    bool is_done = false;
    while (!is_done) {
        RT_TRY(glm_cli_check_interrupted());
        RT_TRY(kv_verify_step(verify, &is_done));
        glm_progress_update(&v->bar, v->sum.n_segments + kv_verify_report(verify)->n_segments,
                v->n_segments_total, 0.0, 0.0);
    }
    return RT_OK;
}

static rt_status verify_one(const book_shelf *s, verification *v, const char *name) {
    kv_verify *verify = NULL;
    kv_book_report report = {0};
    rt_status status = kv_verify_begin(s->books, name, &verify);
    if (status == RT_EUSAGE) return RT_OK; /* another process removed it */
    if (status == RT_OK) {
        status = step_until_done(v, verify);
        report = *kv_verify_report(verify);
        kv_verify_end(verify);
    } else if (status == RT_ECORRUPT) { /* the manifest: as one bad segment */
        report.n_bad = 1;
        (void)snprintf(report.first_error, sizeof report.first_error, "%s", rt_error_text());
        status = RT_OK;
    }
    RT_TRY(status);
    print_report(v, name, &report);
    add_report(v, &report);
    return RT_OK;
}

/* Exit code 5 comes from this. */
static rt_status judge(const book_shelf *s, const verification *v) {
    if (v->sum.n_bad == 0) return RT_OK;
    return rt_fail(RT_ECORRUPT,
            "%" PRId64 " of %" PRId64
            " books damaged: %s\nwhat is damaged is never used: another rank's copy is, or it is "
            "computed again; prefilling a "
            "book again makes it good",
            v->n_bad_books, s->n_names, v->sum.first_error);
}

rt_status book_verify(const book_shelf *s) {
    verification v = {.array = s->cli->json ? json_array() : NULL};
    rt_status status = count_segments(s, &v);
    glm_progress_begin(&v.bar, s->cli, "verify", "segments");
    for (int64_t i = 0; i < s->n_names && status == RT_OK; i++)
        status = verify_one(s, &v, s->names[i]);
    glm_progress_end(&v.bar);
    if (status == RT_OK && v.array) {
        status = glm_cli_json_print("book", v.array, JSON_INDENT(2));
        v.array = NULL;
    }
    json_decref(v.array);
    RT_TRY(status);
    return judge(s, &v);
}
