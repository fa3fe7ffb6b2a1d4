/* glm1m book: what prefilled texts are on disk. Needs no model. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/size.h"
#include "cli.h"
#include "cli_json.h"

enum { TIME_TEXT = 32, MODEL_TEXT = 128, SOURCE_TEXT = 256, PLACE_TEXT = 512 };

typedef struct shelf {
    const glm_cli *cli;
    kv_books *books;
    const char *name; /* NULL: not given */
    char **names;     /* of the books there are, or the one that was given */
    int64_t n_names;
} shelf;

/* ---- what a book is, in words ---------------------------------------------------------------- */

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

/* "40 x 4096, bf16, weights 1a2b3c4d": enough to tell the models of one machine apart. */
static const char *model_text(const kv_book *book, char text[MODEL_TEXT]) {
    int n_layers = 0;
    int n_hidden = 0;
    int n_dtype = 0;
    int n_weights = 0;
    const char *layers = value_of(book->fingerprint_text, "layers", &n_layers);
    const char *hidden = value_of(book->fingerprint_text, "hidden", &n_hidden);
    const char *dtype = value_of(book->fingerprint_text, "kv_dtype", &n_dtype);
    const char *weights = value_of(book->fingerprint_text, "weights", &n_weights);
    if (layers && hidden && dtype && weights)
        (void)snprintf(text, MODEL_TEXT, "%.*s x %.*s, %.*s, weights %.*s", n_layers, layers,
                n_hidden, hidden, n_dtype, dtype, n_weights < 8 ? n_weights : 8, weights);
    else
        (void)snprintf(text, MODEL_TEXT, "fingerprint %02x%02x%02x%02x", book->fingerprint[0],
                book->fingerprint[1], book->fingerprint[2], book->fingerprint[3]);
    return text;
}

/* The first source of the note, and how many more there are. */
static const char *source_text(const kv_book *book, char text[SOURCE_TEXT]) {
    int n = 0;
    int n_more = 0;
    const char *first = value_of(book->note, "source", &n);
    const char *next = first;
    for (int n_next = n; next; n_more += next != NULL)
        next = value_of(next + n_next, "source", &n_next);
    if (!first)
        (void)snprintf(text, SOURCE_TEXT, "-");
    else if (n_more > 0)
        (void)snprintf(text, SOURCE_TEXT, "%.*s and %d more", n, first, n_more);
    else
        (void)snprintf(text, SOURCE_TEXT, "%.*s", n, first);
    return text;
}

/* For people the local time, for programs "2026-01-31T12:00:00Z". */
static const char *time_text(int64_t seconds, bool is_utc, char text[TIME_TEXT]) {
    const time_t when = (time_t)seconds;
    struct tm parts;
    text[0] = '\0';
    if (is_utc && gmtime_r(&when, &parts)) {
        (void)strftime(text, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &parts);
    } else if (!is_utc && localtime_r(&when, &parts)) {
        (void)strftime(text, TIME_TEXT, "%Y-%m-%d %H:%M", &parts);
    }
    return text;
}

static const char *hex_text(const uint8_t bytes[32], char text[65]) {
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

static json_t *json_book(const kv_book *book) {
    char created[TIME_TEXT];
    char model[MODEL_TEXT];
    char source[SOURCE_TEXT];
    char hex[65];
    (void)source_text(book, source);
    return json_pack("{s:s, s:I, s:I, s:s, s:I, s:s, s:o, s:i, s:i, s:s, s:o, s:o}", "name",
            book->name, "n_tokens", (json_int_t)book->n_tokens, "stored_bytes",
            (json_int_t)book->stored_bytes, "created", time_text(book->created_s, true, created),
            "created_s", (json_int_t)book->created_s, "model", model_text(book, model), "source",
            glm_cli_json_text(source, strlen(source)), "n_segments", (int)book->n_segments,
            "n_missing", (int)book->n_missing, "fingerprint_sha256",
            hex_text(book->fingerprint, hex), "fingerprint", json_fields(book->fingerprint_text),
            "note", json_lines(book->note));
}

/* ---- ls -------------------------------------------------------------------------------------- */

static void print_row(const kv_book *book, int name_columns) {
    char bytes[RT_SIZE_TEXT];
    char created[TIME_TEXT];
    char model[MODEL_TEXT];
    char source[SOURCE_TEXT];
    (void)printf("%-*s  %9" PRId64 "  %10s  %-16s  %-32s  %s", name_columns, book->name,
            book->n_tokens, rt_format_bytes(book->stored_bytes, bytes),
            time_text(book->created_s, false, created), model_text(book, model),
            source_text(book, source));
    if (book->n_missing > 0)
        (void)printf("  (%" PRId32 " of %" PRId32 " segments are missing)", book->n_missing,
                book->n_segments);
    (void)printf("\n");
}

static int name_columns(const shelf *s) {
    size_t n = strlen("NAME");
    for (int64_t i = 0; i < s->n_names; i++)
        if (strlen(s->names[i]) > n) n = strlen(s->names[i]);
    return (int)n;
}

static rt_status list_one(const shelf *s, const char *name, json_t *array) {
    kv_book book;
    const rt_status status = kv_books_read(s->books, name, &book);
    if (status == RT_EUSAGE) return RT_OK; /* another process removed it */
    if (status == RT_ECORRUPT && array)
        (void)json_array_append_new(
                array, json_pack("{s:s, s:b, s:o}", "name", name, "damaged", 1, "error",
                               glm_cli_json_text(rt_error_text(), strlen(rt_error_text()))));
    if (status == RT_ECORRUPT && !array)
        (void)printf("%-*s  damaged: %s\n", name_columns(s), name, rt_error_text());
    if (status != RT_OK) return status == RT_ECORRUPT ? RT_OK : status;
    if (array)
        (void)json_array_append_new(array, json_book(&book));
    else
        print_row(&book, name_columns(s));
    kv_book_free(&book);
    return RT_OK;
}

static rt_status print_table(const shelf *s) {
    char place[PLACE_TEXT];
    if (s->n_names == 0) {
        RT_TRY(glm_cli_books_place(s->cli, place, sizeof place));
        if (!s->cli->quiet) (void)fprintf(stderr, "no books in %s\n", place);
        return RT_OK;
    }
    (void)printf("%-*s  %9s  %10s  %-16s  %-32s  %s\n", name_columns(s), "NAME", "TOKENS",
            "ON DISK", "CREATED", "MODEL", "SOURCE");
    for (int64_t i = 0; i < s->n_names; i++) RT_TRY(list_one(s, s->names[i], NULL));
    return RT_OK;
}

static rt_status run_ls(shelf *s) {
    if (!s->cli->json) return print_table(s);
    json_t *array = json_array();
    rt_status status = RT_OK;
    for (int64_t i = 0; i < s->n_names && status == RT_OK; i++)
        status = list_one(s, s->names[i], array);
    if (status == RT_OK) return glm_cli_json_print("book", array, JSON_INDENT(2));
    json_decref(array);
    return status;
}

/* ---- show ------------------------------------------------------------------------------------ */

/* "key=value" lines, one a row. */
static void print_fields(const char *lines) {
    for (const char *line = lines; *line; line += *line == '\n') {
        const int n = (int)strcspn(line, "\n");
        const char *equals = memchr(line, '=', (size_t)n);
        if (equals)
            (void)printf("  %-16.*s %.*s\n", (int)(equals - line), line,
                    (int)(line + n - equals - 1), equals + 1);
        else
            (void)printf("  %.*s\n", n, line);
        line += n;
    }
}

static void print_book(const kv_book *book) {
    char bytes[RT_SIZE_TEXT];
    char created[TIME_TEXT];
    char hex[65];
    (void)printf("%-18s %s\n", "name", book->name);
    (void)printf("%-18s %" PRId64 "\n", "tokens", book->n_tokens);
    (void)printf("%-18s %s\n", "on disk", rt_format_bytes(book->stored_bytes, bytes));
    (void)printf("%-18s %s\n", "created", time_text(book->created_s, false, created));
    if (book->n_missing == 0)
        (void)printf("%-18s %" PRId32 ", all present\n", "segments", book->n_segments);
    else
        (void)printf("%-18s %" PRId32 ", %" PRId32
                     " of them missing; prefilling it again makes it good\n",
                "segments", book->n_segments, book->n_missing);
    (void)printf("note\n");
    print_fields(book->note);
    (void)printf("%-18s %s\n", "fingerprint", hex_text(book->fingerprint, hex));
    if (*book->fingerprint_text)
        print_fields(book->fingerprint_text);
    else
        (void)printf("  its text is lost\n");
}

static rt_status run_show(shelf *s) {
    kv_book book;
    RT_TRY(kv_books_read(s->books, s->name, &book));
    rt_status status = RT_OK;
    if (s->cli->json)
        status = glm_cli_json_print("book", json_book(&book), JSON_INDENT(2));
    else
        print_book(&book);
    kv_book_free(&book);
    return status;
}

/* ---- verify ---------------------------------------------------------------------------------- */

typedef struct verification {
    glm_progress bar;
    json_t *array; /* NULL: text */
    int64_t n_segments_total;
    kv_book_report sum; /* over all books; the first error of all */
    int64_t n_bad_books;
} verification;

/* Adds the segments of a book to what is to do. One that cannot be read is met again later. */
static rt_status count_segments(const shelf *s, verification *v) {
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

static rt_status verify_one(const shelf *s, verification *v, const char *name) {
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
static rt_status judge(const shelf *s, const verification *v) {
    if (v->sum.n_bad == 0) return RT_OK;
    return rt_fail(RT_ECORRUPT,
            "%" PRId64 " of %" PRId64
            " books damaged: %s\nwhat is damaged is never used: another rank's copy is, or it is "
            "computed again; prefilling a "
            "book again makes it good",
            v->n_bad_books, s->n_names, v->sum.first_error);
}

static rt_status run_verify(shelf *s) {
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
    if (!s->cli->json && s->n_names == 0) return print_table(s);
    return judge(s, &v);
}

/* ---- rm, gc ---------------------------------------------------------------------------------- */

static rt_status run_rm(shelf *s) {
    RT_TRY(kv_books_remove(s->books, s->name));
    if (s->cli->json) return glm_cli_json_print("book", json_pack("{s:s}", "removed", s->name), 0);
    (void)printf(
            "removed %s; what no other book holds goes when room is needed, or by glm1m book gc\n",
            s->name);
    return RT_OK;
}

static rt_status run_gc(shelf *s) {
    kv_gc_report report;
    char before[RT_SIZE_TEXT];
    char after[RT_SIZE_TEXT];
    RT_TRY(kv_books_gc(s->books, s->cli->engine.kv_disk_bytes, &report));
    if (s->cli->json)
        return glm_cli_json_print("book",
                json_pack("{s:I, s:I, s:I}", "n_removed", (json_int_t)report.n_removed,
                        "bytes_before", (json_int_t)report.bytes_before, "bytes_after",
                        (json_int_t)report.bytes_after),
                0);
    (void)printf("removed %" PRId64 " files: %s before, %s after\n", report.n_removed,
            rt_format_bytes(report.bytes_before, before),
            rt_format_bytes(report.bytes_after, after));
    return RT_OK;
}

/* ---- the walk -------------------------------------------------------------------------------- */

typedef struct action {
    const char *name;
    bool may_name;
    bool must_name;
    rt_status (*run)(shelf *s);
} action;

static const action actions[] = {
        {"ls", false, false, run_ls},
        {"show", true, true, run_show},
        {"verify", true, false, run_verify},
        {"rm", true, true, run_rm},
        {"gc", false, false, run_gc},
};

static rt_status choose_action(const glm_cli *cli, const action **out) {
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(cli->operands[0], actions[i].name) == 0) *out = &actions[i];
    if (!*out)
        return rt_fail(
                RT_EUSAGE, "book: \"%s\" is none of ls, show, verify, rm and gc", cli->operands[0]);
    if ((*out)->must_name && cli->n_operands < 2)
        return rt_fail(
                RT_EUSAGE, "book %s needs a name: glm1m book %s NAME", (*out)->name, (*out)->name);
    if (!(*out)->may_name && cli->n_operands > 1)
        return rt_fail(RT_EUSAGE, "book %s takes no name: unexpected \"%s\"", (*out)->name,
                cli->operands[1]);
    return RT_OK;
}

static rt_status find_books(shelf *s) {
    if (!s->name) return kv_books_list(s->books, &s->names, &s->n_names);
    RT_TRY(glm_cli_book_require(s->cli, s->books, s->name));
    RT_TRY(rt_calloc(1, (int64_t)sizeof *s->names, "a book's name", &s->names));
    s->names[0] = strdup(s->name);
    if (!s->names[0]) return rt_fail(RT_ENOMEM, "book: no memory for a name");
    s->n_names = 1;
    return RT_OK;
}

static rt_status run_action(shelf *s) {
    const action *chosen = NULL;
    RT_TRY(choose_action(s->cli, &chosen));
    s->name = s->cli->n_operands > 1 ? s->cli->operands[1] : NULL;
    RT_TRY(glm_cli_books_open(s->cli, &s->books));
    RT_TRY(find_books(s));
    return chosen->run(s);
}

static int run_book(glm_cli *cli) {
    shelf s = {.cli = cli};
    const rt_status status = run_action(&s);
    const int exit_code = status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
    glm_cli_free_names(s.names, s.n_names);
    kv_books_close(s.books);
    return exit_code;
}

const glm_command glm_cmd_book = {
        .name = "book",
        .usage = "book ls | show NAME | verify [NAME] | rm NAME | gc [--kv-disk-dir DIR]",
        .summary = "list, check and remove prefilled texts on disk",
        .details =
                "A book is a text whose keys and values were computed once, by glm1m prefill, and "
                "are kept on disk under a name; --book NAME of other commands goes on from it. "
                "These need no model:\n"
                "\n"
                "  ls             name, tokens, size, when, model and source of every book\n"
                "  show NAME      all that is known of one: note, segments, fingerprint\n"
                "  verify [NAME]  read and check every byte of one book, or of all\n"
                "  rm NAME        remove the name\n"
                "  gc             remove what no book holds, and what is dead or damaged\n"
                "\n"
                "Books are looked for in --kv-disk-dir, which must then be the same as at the "
                "prefill, or in our directory under ~/.cache. The size on disk is after "
                "compression; what books share is counted with each.\n"
                "\n"
                "verify exits 5 when something is missing or damaged. What is damaged is put "
                "aside, never used, and computed again by the next run that needs it.\n"
                "\n"
                "rm gives no room back by itself: the keys and values stay, to be found by "
                "whoever has the same text, until room is needed or gc removes them. gc with "
                "--kv-disk-space SIZE removes only as much as is needed to get down to SIZE, the "
                "cheapest to compute again first. What a running program uses stays.\n"
                "\n"
                "Examples:\n"
                "  glm1m prefill -m glm-4-9b-chat-1m war-and-peace.txt --book war\n"
                "  glm1m book ls\n"
                "  glm1m book verify war\n"
                "  glm1m book gc --kv-disk-space 200G\n",
        .flags = "kv-disk-dir kv-disk-space json",
        .operands_min = 1,
        .operands_max = 2,
        .run = run_book,
};
