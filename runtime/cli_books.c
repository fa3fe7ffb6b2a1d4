/* Books on the command line: where they lie, and names that are not there. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/attention.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/size.h"
#include "cli_books.h"
#include "cli_flags.h"
#include "cli_input.h"
#include "cli_prefill.h"
#include "cli_turn.h"
#include "hub.h"
#include "rank_dirs.h"
#include "turn.h"

enum { PLACE_TEXT = 512, LISTED_MAX = 8, LIST_TEXT = 1024 };

static rt_status add_dir(char **dirs, int32_t *n_dirs, const char *dir) {
    char *name = NULL;
    RT_TRY(glm_rank_dir(dir, 0, &name));
    dirs[(*n_dirs)++] = name;
    return RT_OK;
}

/* Rank 0's directories, where manifests are, and then those of other ranks. */
static rt_status open_given(const glm_cli *cli, kv_books **out) {
    const glm_options *given = &cli->engine;
    char **found = NULL;
    char **dirs = NULL;
    int32_t n_found = 0;
    int32_t n_dirs = 0;
    RT_TRY(glm_rank_dirs_found(given->kv_disk_dirs, given->n_kv_disk_dirs, 0, 0, &found, &n_found));
    rt_status status =
            rt_calloc(given->n_kv_disk_dirs + n_found, sizeof *dirs, "directories of books", &dirs);
    for (int i = 0; i < given->n_kv_disk_dirs && status == RT_OK; i++)
        status = add_dir(dirs, &n_dirs, given->kv_disk_dirs[i]);
    for (int32_t i = 0; i < n_found && status == RT_OK; i++)
        status = add_dir(dirs, &n_dirs, found[i]);
    if (status == RT_OK) status = kv_books_open((const char *const *)dirs, n_dirs, out);
    glm_rank_dirs_free(dirs, n_dirs);
    glm_rank_dirs_free(found, n_found);
    return status;
}

rt_status glm_cli_books_open(const glm_cli *cli, kv_books **out) {
    if (cli->engine.n_kv_disk_dirs > 0) return open_given(cli, out);
    char *cache = NULL;
    RT_TRY(glm_cache_directory(&cache));
    const char *const ours[] = {cache};
    const rt_status status = kv_books_open(ours, 1, out);
    free(cache);
    return status;
}

void glm_cli_free_names(char **names, int64_t n_names) {
    for (int64_t i = 0; i < n_names; i++) free(names[i]);
    free(names);
}

/* Where each rank has a directory of its own, any of them. */
static rt_status is_there(const char *dir, bool *is) {
    char **found = NULL;
    int32_t n_found = 0;
    if (glm_has_rank_sign(dir)) RT_TRY(glm_rank_dirs_found(&dir, 1, -1, 0, &found, &n_found));
    *is = n_found > 0 || rt_file_exists(dir);
    glm_rank_dirs_free(found, n_found);
    return RT_OK;
}

/* "DIR", "DIR and 2 more" */
rt_status glm_cli_books_place(const glm_cli *cli, char *text, size_t n_bytes) {
    const int n_dirs = cli->engine.n_kv_disk_dirs;
    char *cache = NULL;
    bool is = true;
    if (n_dirs == 0) RT_TRY(glm_cache_directory(&cache));
    const char *first = n_dirs > 0 ? cli->engine.kv_disk_dirs[0] : cache;
    const rt_status status = n_dirs > 1 ? RT_OK : is_there(first, &is);
    if (n_dirs > 1)
        (void)snprintf(text, n_bytes, "%s and %d more", first, n_dirs - 1);
    else
        (void)snprintf(text, n_bytes, "%s%s", first, is ? "" : ", which is not there");
    free(cache);
    return status;
}

/* The name with the fewest mistakes from what was typed; NULL when none is near. */
static const char *nearest_name(const char *typed, char *const *names, int64_t n_names) {
    const char *nearest = NULL;
    int distance = INT32_MAX;
    for (int64_t i = 0; i < n_names; i++) {
        const int d = cli_distance(typed, names[i]);
        if (d >= distance) continue;
        distance = d;
        nearest = names[i];
    }
    return nearest && cli_is_near(typed, distance) ? nearest : NULL;
}

/* "a, b, c and 4 more" */
static void list_names(char *const *names, int64_t n_names, char text[LIST_TEXT]) {
    const int64_t n_listed = rt_min64(n_names, LISTED_MAX);
    int n = 0;
    for (int64_t i = 0; i < n_listed; i++)
        n += snprintf(text + n, (size_t)(LIST_TEXT - n), "%s%s", i ? ", " : "", names[i]);
    if (n_names > n_listed)
        (void)snprintf(
                text + n, (size_t)(LIST_TEXT - n), " and %" PRId64 " more", n_names - n_listed);
}

static rt_status no_such_book(
        const glm_cli *cli, const char *name, char *const *names, int64_t n_names) {
    char place[PLACE_TEXT];
    char list[LIST_TEXT];
    static const char make[] = "glm1m prefill -m DIR SOURCE... --book";
    RT_TRY(glm_cli_books_place(cli, place, sizeof place));
    if (n_names == 0)
        return rt_fail(RT_EUSAGE, "there is no book %s, and no other, in %s; %s %s makes it", name,
                place, make, name);
    const char *nearest = nearest_name(name, names, n_names);
    if (nearest)
        return rt_fail(RT_EUSAGE, "there is no book %s in %s; did you mean %s? %s %s makes it",
                name, place, nearest, make, name);
    list_names(names, n_names, list);
    return rt_fail(RT_EUSAGE, "there is no book %s in %s, but: %s; %s %s makes it", name, place,
            list, make, name);
}

static bool has_name(char *const *names, int64_t n_names, const char *name) {
    for (int64_t i = 0; i < n_names; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

rt_status glm_cli_book_require(const glm_cli *cli, kv_books *books, const char *name) {
    char **names = NULL;
    int64_t n_names = 0;
    RT_TRY(kv_book_check_name(name));
    RT_TRY(kv_books_list(books, &names, &n_names));
    rt_status status = RT_OK;
    if (!has_name(names, n_names, name)) status = no_such_book(cli, name, names, n_names);
    glm_cli_free_names(names, n_names);
    return status;
}

rt_status glm_cli_book_read(const glm_cli *cli, kv_book *out) {
    kv_books *books = NULL;
    RT_TRY(glm_cli_books_open(cli, &books));
    rt_status status = glm_cli_book_require(cli, books, cli->book);
    if (status == RT_OK) status = kv_books_read(books, cli->book, out);
    kv_books_close(books);
    return status;
}

rt_status glm_cli_book_length(const glm_cli *cli, int64_t *n_tokens) {
    *n_tokens = 0;
    if (!cli->book) return RT_OK;
    kv_book book;
    RT_TRY(glm_cli_book_read(cli, &book));
    *n_tokens = book.n_tokens;
    kv_book_free(&book);
    return RT_OK;
}

/* ---- a name that is taken ------------------------------------------------------------------------ */

/* The lines of a note that say what a book is of; they come first. */
static size_t source_bytes(const char *note) {
    size_t n = 0;
    while (strncmp(note + n, "source", 6) == 0) {
        n += strcspn(note + n, "\n");
        n += note[n] == '\n';
    }
    return n;
}

/* "w.txt, 6002 tokens" */
static void say_what(const kv_book *book, char *text, size_t n_bytes) {
    const char *source =
            strncmp(book->note, "source=", 7) == 0 ? book->note + 7 : "what is not said";
    (void)snprintf(text, n_bytes, "%.*s, %" PRId64 " tokens", (int)strcspn(source, "\n"), source,
            book->n_tokens);
}

void glm_cli_say_replaced(const glm_cli *cli, const char *note) {
    char what[PLACE_TEXT];
    kv_book book;
    const size_t n = source_bytes(note);
    if (!cli->book || cli->quiet || glm_cli_book_read(cli, &book) != RT_OK) return;
    say_what(&book, what, sizeof what);
    if (source_bytes(book.note) != n || memcmp(book.note, note, n) != 0)
        (void)fprintf(stderr, "book %s is of %s: this text will have its name\n", cli->book, what);
    kv_book_free(&book);
}

rt_status glm_cli_book_spare(const glm_cli *cli, const char *own) {
    char what[PLACE_TEXT];
    kv_book book;
    if (!cli->book || glm_cli_book_read(cli, &book) != RT_OK) return RT_OK;
    say_what(&book, what, sizeof what);
    const bool is_own = strncmp(what, own, strlen(own)) == 0;
    kv_book_free(&book);
    if (is_own) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "book %s is of %s, which %s does not begin with: its own prompts would have that name; "
            "give another",
            cli->book, what, cli->command);
}

/* ---- a book in front ------------------------------------------------------------------------- */

rt_status glm_cli_prepend_book(
        const glm_cli *cli, glm_engine *engine, int64_t n_tokens, glm_ids *ids) {
    if (!cli->book) return RT_OK;
    glm_ids whole = {0};
    RT_TRY(glm_book_ids(engine, cli->book, &whole.ids, &whole.n));
    whole.capacity = whole.n;
    if (whole.n == n_tokens) return glm_cli_put_in_front(&whole, ids);
    glm_ids_free(&whole);
    return rt_fail(
            RT_EUSAGE, "book %s was replaced while the model was loaded; once more", cli->book);
}

/* A book that has lost part of what it held on disk gets it back. Of a lossy cache the tokens of an
 * unfinished page are never there. */
static rt_status mend(
        const glm_cli *cli, glm_session *session, const glm_ids *ids, int64_t n_book) {
    if (!cli->book || n_book - glm_session_length(session) < ATTN_PAGE_TOKENS) return RT_OK;
    RT_TRY(glm_cli_prefill_rest(cli, session, ids->ids, n_book, NULL));
    if (glm_book_mend(session, cli->book) != RT_OK)
        rt_log(RT_LOG_WARN, cli->command, "book %s is not whole again: %s", cli->book,
                rt_error_text());
    return RT_OK;
}

/* Of a book all is on disk that may be: why the rest of the prompt is not is no news. */
rt_status glm_cli_restore_book(const glm_cli *cli, glm_session *session, const glm_ids *ids,
        int64_t n_book, glm_reuse *out, double *waited_s) {
    const int64_t n_kept = rt_max64(n_book, glm_turn_whole(session, ids->n));
    RT_TRY(glm_cli_restore(cli, session, ids->ids, ids->n, out));
    RT_TRY(glm_cli_take_turn(cli, session, ids->ids, ids->n, n_kept, out, waited_s));
    const int64_t n_all = rt_min64(n_book, ids->n - 1);
    if (cli->book && out->n_tokens >= n_all) out->reason[0] = '\0';
    return mend(cli, session, ids, n_book);
}
