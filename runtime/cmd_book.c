/* glm1m book: what prefilled texts are on disk. Needs no model. */
#include "cmd_book.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "cli_books.h"
#include "cli_json.h"

enum { PLACE_TEXT = 512 };

/* ---- ls -------------------------------------------------------------------------------------- */

static void print_row(const kv_book *book, int name_columns) {
    char bytes[RT_SIZE_TEXT];
    char created[BOOK_TIME_TEXT];
    char model[BOOK_MODEL_TEXT];
    char source[BOOK_SOURCE_TEXT];
    (void)printf("%-*s  %9" PRId64 "  %10s  %-16s  %-32s  %s", name_columns, book->name,
            book->n_tokens, rt_format_bytes(book->stored_bytes, bytes),
            book_time_text(book->created_s, false, created), book_model_text(book, model),
            book_source_text(book, source));
    if (book->n_missing > 0)
        (void)printf("  (%" PRId32 " of %" PRId32 " segments are missing)", book->n_missing,
                book->n_segments);
    (void)printf("\n");
}

static int name_columns(const book_shelf *s) {
    size_t n = strlen("NAME");
    for (int64_t i = 0; i < s->n_names; i++)
        if (strlen(s->names[i]) > n) n = strlen(s->names[i]);
    return (int)n;
}

static rt_status list_one(const book_shelf *s, const char *name, json_t *array) {
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
        (void)json_array_append_new(array, book_json(&book));
    else
        print_row(&book, name_columns(s));
    kv_book_free(&book);
    return RT_OK;
}

/* What books share is in it once, and what no book holds, too. */
static void print_total(const book_shelf *s) {
    char bytes[RT_SIZE_TEXT];
    if (s->cli->quiet || s->n_names < 2) return;
    (void)fflush(stdout);
    (void)fprintf(stderr, "%" PRId64 " books; %s on disk in all, with what no book holds\n",
            s->n_names, rt_format_bytes(s->n_bytes, bytes));
}

static rt_status print_table(const book_shelf *s) {
    char place[PLACE_TEXT];
    if (s->n_names == 0) {
        RT_TRY(glm_cli_books_place(s->cli, place, sizeof place));
        if (!s->cli->quiet) (void)fprintf(stderr, "no books in %s\n", place);
        return RT_OK;
    }
    (void)printf("%-*s  %9s  %10s  %-16s  %-32s  %s\n", name_columns(s), "NAME", "TOKENS",
            "ON DISK", "CREATED", "MODEL", "SOURCE");
    for (int64_t i = 0; i < s->n_names; i++) RT_TRY(list_one(s, s->names[i], NULL));
    print_total(s);
    return RT_OK;
}

static rt_status run_ls(book_shelf *s) {
    if (s->n_names > 1) RT_TRY(kv_books_survey(s->books, &s->n_bytes));
    if (!s->cli->json) return print_table(s);
    json_t *array = json_array();
    rt_status status = RT_OK;
    for (int64_t i = 0; i < s->n_names && status == RT_OK; i++)
        status = list_one(s, s->names[i], array);
    if (status != RT_OK) {
        json_decref(array);
        return status;
    }
    RT_TRY(glm_cli_json_print("book", array, JSON_INDENT(2)));
    print_total(s);
    return RT_OK;
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
    char created[BOOK_TIME_TEXT];
    char hex[BOOK_HEX_TEXT];
    (void)printf("%-18s %s\n", "name", book->name);
    (void)printf("%-18s %" PRId64 "\n", "tokens", book->n_tokens);
    (void)printf("%-18s %s\n", "on disk", rt_format_bytes(book->stored_bytes, bytes));
    (void)printf("%-18s %s\n", "created", book_time_text(book->created_s, false, created));
    if (book->n_missing == 0)
        (void)printf("%-18s %" PRId32 ", all present\n", "segments", book->n_segments);
    else
        (void)printf("%-18s %" PRId32 ", %" PRId32
                     " of them missing; prefilling it again makes it good\n",
                "segments", book->n_segments, book->n_missing);
    (void)printf("note\n");
    print_fields(book->note);
    (void)printf("%-18s %s\n", "fingerprint", book_hex_text(book->fingerprint, hex));
    if (*book->fingerprint_text)
        print_fields(book->fingerprint_text);
    else
        (void)printf("  its text is lost\n");
}

static rt_status run_show(book_shelf *s) {
    kv_book book;
    RT_TRY(kv_books_read(s->books, s->name, &book));
    rt_status status = RT_OK;
    if (s->cli->json)
        status = glm_cli_json_print("book", book_json(&book), JSON_INDENT(2));
    else
        print_book(&book);
    kv_book_free(&book);
    return status;
}

/* ---- verify, gc ------------------------------------------------------------------------------ */

static rt_status run_verify(book_shelf *s) {
    RT_TRY(book_verify(s));
    return !s->cli->json && s->n_names == 0 ? print_table(s) : RT_OK;
}

/* What is beyond the space that was asked for. */
static void say_rest(const book_shelf *s, int64_t n_bytes) {
    const int64_t space = s->cli->engine.kv_disk_bytes;
    char text[RT_SIZE_TEXT];
    if (space == 0 || n_bytes <= space || s->cli->quiet) return;
    (void)fprintf(stderr,
            "that is more than %s: books hold it, or programs that run; glm1m book rm gives up a book\n",
            rt_format_bytes(space, text));
}

static rt_status run_gc(book_shelf *s) {
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
    say_rest(s, report.bytes_after);
    return RT_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

typedef struct action {
    const char *name;
    bool may_name;
    bool must_name;
    bool may_name_many;
    rt_status (*run)(book_shelf *s);
} action;

static const action actions[] = {
        {"ls", false, false, false, run_ls},
        {"show", true, true, false, run_show},
        {"verify", true, false, false, run_verify},
        {"rm", true, true, true, book_remove},
        {"gc", false, false, false, run_gc},
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
    if (!(*out)->may_name_many && cli->n_operands > 2)
        return rt_fail(RT_EUSAGE, "book %s takes one name: unexpected \"%s\"", (*out)->name,
                cli->operands[2]);
    return RT_OK;
}

static rt_status find_books(book_shelf *s) {
    if (!s->name) return kv_books_list(s->books, &s->names, &s->n_names);
    RT_TRY(glm_cli_book_require(s->cli, s->books, s->name));
    RT_TRY(rt_calloc(1, (int64_t)sizeof *s->names, "a book's name", &s->names));
    s->names[0] = strdup(s->name);
    if (!s->names[0]) return rt_fail(RT_ENOMEM, "book: no memory for a name");
    s->n_names = 1;
    return RT_OK;
}

static rt_status run_action(book_shelf *s) {
    const action *chosen = NULL;
    RT_TRY(choose_action(s->cli, &chosen));
    if (s->cli->n_operands > 1 && !chosen->may_name_many) s->name = s->cli->operands[1];
    RT_TRY(glm_cli_books_open(s->cli, &s->books));
    RT_TRY(find_books(s));
    return chosen->run(s);
}

static int run_book(glm_cli *cli) {
    book_shelf s = {.cli = cli};
    const rt_status status = run_action(&s);
    const int exit_code = status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
    glm_cli_free_names(s.names, s.n_names);
    kv_books_close(s.books);
    return exit_code;
}

const glm_command glm_cmd_book = {
        .name = "book",
        .usage = "book ls | show NAME | verify [NAME] | rm NAME... | gc [--kv-disk-dir DIR]",
        .summary = "list, check and remove prefilled texts on disk",
        .details =
                "A book is a text whose keys and values were computed once, by glm1m prefill, and "
                "are kept on disk under a name; --book NAME of other commands goes on from it. "
                "These need no model:\n"
                "\n"
                "  ls             name, tokens, size, when, model and source of every book, by name\n"
                "  show NAME      all that is known of one: note, segments, fingerprint\n"
                "  verify [NAME]  read and check every byte of one book, or of all\n"
                "  rm NAME...     remove names; 'draft-*' is every name that begins so, as in a shell\n"
                "  gc             remove what no book holds, and what is dead or damaged\n"
                "\n"
                "Books are looked for in --kv-disk-dir, which must then be the same as at the "
                "prefill, or in our directory under ~/.cache. The size on disk is after "
                "compression; what books share is counted with each. A directory that may not "
                "be written is read all the same: ask, complete and chat go on from its books.\n"
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
                "  glm1m book rm 'draft-*' notes\n"
                "  glm1m book gc --kv-disk-space 200G\n",
        .flags = "kv-disk-dir kv-disk-space json",
        .operand_words = "ls|show|verify|rm|gc",
        .operands_min = 1,
        .operands_max = 1000000,
        .run = run_book,
};
