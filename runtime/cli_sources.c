/* What is said of a document before it is worked on, and noted in the book that is made of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/memstream.h"
#include "base/size.h"
#include "cli_input.h"
#include "cli_sources.h"
#include "document_kind.h"

enum { SOURCES_NOTED = 16, SKIPPED_SHOWN = 5, EMPTY_SHOWN = 5 };

static void say_blank(const glm_document *document) {
    for (int64_t i = 0; i < document->n_files; i++) {
        const glm_document_file *file = &document->files[i];
        if (file->n_blank > 0)
            (void)fprintf(stderr,
                    "%s: no text in %" PRId64 " of its %" PRId64 " pages: pictures, perhaps\n",
                    file->path, file->n_blank, file->n_pages);
    }
}

/* Of files beside others: a text of nothing else is an error. */
static void say_empty(const glm_document *document, bool shows_all) {
    int64_t n_empty = 0;
    for (int64_t i = 0; i < document->n_files; i++) n_empty += !glm_document_has_text(document, i);
    if (n_empty == document->n_files) return;
    int64_t n_left = shows_all ? n_empty : rt_min64(n_empty, EMPTY_SHOWN);
    n_empty -= n_left;
    for (int64_t i = 0; n_left > 0; i++) {
        if (glm_document_has_text(document, i)) continue;
        (void)fprintf(stderr, "%s: empty\n", document->files[i].path);
        n_left--;
    }
    if (n_empty > 0)
        (void)fprintf(stderr, "empty: %" PRId64 " more (GLM_LOG=info names them)\n", n_empty);
}

static int by_identity(const void *a, const void *b) {
    const glm_document_file *x = *(const glm_document_file *const *)a;
    const glm_document_file *y = *(const glm_document_file *const *)b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    if (x->inode != y->inode) return x->inode < y->inode ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool is_same(const glm_document_file *a, const glm_document_file *b) {
    return a->inode == b->inode && a->device == b->device && (a->inode || a->device);
}

/* A file that two sources name, as src/ and src/main.c do, costs its tokens twice. Without the memory to find them nothing is
 * said. */
static void say_twice(const glm_document *document) {
    const glm_document_file **files = NULL;
    const char *first = NULL;
    int64_t n_twice = 0;
    const int64_t n = document->n_files;
    if (n < 2 || rt_calloc(n, sizeof *files, "files by identity", &files) != RT_OK) return;
    for (int64_t i = 0; i < n; i++) files[i] = &document->files[i];
    qsort(files, (size_t)n, sizeof *files, by_identity);
    for (int64_t i = 1; i < n; i++) {
        if (!is_same(files[i - 1], files[i])) continue;
        if (n_twice++ == 0) first = files[i]->path;
    }
    free(files);
    if (n_twice == 1) (void)fprintf(stderr, "%s: it is in the text already\n", first);
    if (n_twice > 1)
        (void)fprintf(
                stderr, "%" PRId64 " files are in the text already, one is %s\n", n_twice, first);
}

/* What nobody takes for a text, of which a source tree can have hundreds. */
static bool is_plainly_none(const glm_document_skipped *skipped) {
    return strcmp(skipped->why, "binary") == 0 || strcmp(skipped->why, "a symbolic link") == 0;
}

/* Of those that are plainly none, or of the others, as many as there is room for; how many these were. */
static int64_t say_skipped(const glm_document *document, bool plainly_none, int64_t *n_room) {
    int64_t n = 0;
    for (int64_t i = 0; *n_room > 0 && i < document->n_skipped; i++) {
        const glm_document_skipped *skipped = &document->skipped[i];
        if (is_plainly_none(skipped) != plainly_none) continue;
        (void)fprintf(stderr, "skipped %s: %s\n", skipped->path, skipped->why);
        (*n_room)--;
        n++;
    }
    return n;
}

void glm_cli_say_skipped(const glm_cli *cli, const glm_document *document) {
    const bool shows_all = rt_log_enabled(RT_LOG_INFO, "cli");
    int64_t n_left = document->n_skipped;
    int64_t n_room = shows_all ? n_left : SKIPPED_SHOWN;
    if (cli->quiet) return;
    say_blank(document);
    say_empty(document, shows_all);
    say_twice(document);
    n_left -= say_skipped(document, false, &n_room);
    n_left -= say_skipped(document, true, &n_room);
    if (n_left > 0)
        (void)fprintf(stderr, "skipped %" PRId64 " more (GLM_LOG=info names them)\n", n_left);
    if (document->n_ignored > 0)
        (void)fprintf(stderr, "left out %" PRId64 " that .gitignore names\n", document->n_ignored);
}

void glm_cli_say_bytes(const char *path, const char *text, int64_t n_bytes) {
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    const glm_kind kind = glm_kind_of(path, text, n_bytes, false);
    if (kind.format)
        rt_log(RT_LOG_WARN, "cli", "%s is %s: its bytes are taken as they are", name,
                kind.format->name);
    else if (kind.not_text)
        rt_log(RT_LOG_WARN, "cli",
                "%s is no text: %s from byte %" PRId64 " on; its bytes are taken as they are", name,
                kind.not_text, kind.at);
}

rt_status glm_cli_read_document(const char *path, char **text, int64_t *n_bytes) {
    glm_document document;
    char *bytes = NULL;
    int64_t n = 0;
    RT_TRY(glm_cli_read_text(path, &bytes, &n));
    if (!glm_format_of(path, bytes, rt_min64(n, GLM_KIND_BYTES))) {
        glm_cli_say_bytes(path, bytes, n);
        *text = bytes;
        *n_bytes = n;
        return RT_OK;
    }
    const rt_status status = glm_document_from_bytes(path, bytes, n, &document);
    free(bytes);
    RT_TRY(status);
    *text = document.text;
    *n_bytes = document.n_bytes;
    document.text = NULL;
    glm_document_free(&document);
    return RT_OK;
}

/* The file that most of a text is: what to leave out of one that is too long. */
static void say_largest(const glm_document *document) {
    const glm_document_file *largest = &document->files[0];
    char bytes[RT_SIZE_TEXT];
    for (int64_t i = 1; i < document->n_files; i++)
        if (document->files[i].n_bytes > largest->n_bytes) largest = &document->files[i];
    if (document->n_files > 1 && largest->n_bytes > document->n_bytes / 2)
        (void)fprintf(
                stderr, ", %s of it %s", rt_format_bytes(largest->n_bytes, bytes), largest->path);
}

void glm_cli_say_text(const glm_cli *cli, const glm_document *document, int64_t n_tokens) {
    char bytes[RT_SIZE_TEXT];
    if (cli->quiet) return;
    (void)fprintf(stderr, "text: %" PRId64 " tokens", n_tokens);
    if (document)
        (void)fprintf(stderr, ", %" PRId64 " %s, %s", document->n_files,
                document->n_files == 1 ? "file" : "files",
                rt_format_bytes(document->n_bytes, bytes));
    if (document) say_largest(document);
    (void)fputc('\n', stderr);
}

const char *glm_cli_rate(int64_t n, double seconds, char text[RT_SIZE_TEXT]) {
    text[0] = '\0';
    if (n > 1 && seconds >= 1e-3)
        (void)snprintf(text, RT_SIZE_TEXT, " (%.1f tokens/s)", (double)n / seconds);
    return text;
}

const char *glm_cli_drafts(
        const glm_engine *engine, glm_drafts before, char text[GLM_CLI_DRAFTS_TEXT]) {
    const glm_drafts now = glm_engine_drafts(engine);
    text[0] = '\0';
    if (now.n_drafted > before.n_drafted)
        (void)snprintf(text, GLM_CLI_DRAFTS_TEXT,
                ", %" PRId64 " of %" PRId64 " drafted tokens right", now.n_taken - before.n_taken,
                now.n_drafted - before.n_drafted);
    return text;
}

/* What is kept there; where nothing is, what memory does not hold, as long as it is needed. */
static int64_t most_on_disk(const glm_plan *plan) {
    if (plan->kv_persists) return plan->kv_keep_bytes;
    return plan->kv_overflows ? plan->kv_disk_bytes : 0;
}

void glm_cli_say_plan(const glm_cli *cli, const glm_engine *engine, double prefill_s) {
    const glm_plan *plan = glm_engine_plan(engine);
    char kv[RT_SIZE_TEXT];
    char total[RT_SIZE_TEXT];
    char kept[RT_SIZE_TEXT];
    char time[RT_SIZE_TEXT];
    if (cli->quiet) return;
    char ranks[64] = "";
    if (plan->n_ranks > 1)
        (void)snprintf(ranks, sizeof ranks, " in each of %" PRId32 " ranks", plan->n_ranks);
    (void)fprintf(stderr,
            "plan: span %" PRId64 ", chunk %" PRId64 ", %" PRId32
            " thread%s%s; %s of memory, %s of it KV; at most %s on disk; about %s for all of it\n",
            plan->span, plan->chunk, plan->threads, plan->threads == 1 ? "" : "s", ranks,
            rt_format_bytes(plan->total_bytes, total), rt_format_bytes(plan->kv_host_bytes, kv),
            rt_format_bytes(most_on_disk(plan), kept), rt_format_seconds(prefill_s, time));
}

/* A name in a line of a note: control characters would end or spoil the line. */
static void write_name(FILE *out, const char *key, const char *name) {
    (void)fprintf(out, "%s=", key);
    for (const char *c = name; *c; c++)
        (void)fputc((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c, out);
    (void)fputc('\n', out);
}

rt_status glm_cli_note(const glm_cli *cli, const char *const *sources, int n_sources,
        const glm_document *document, const char *sha256, char **note) {
    size_t n_bytes = 0;
    FILE *out = rt_memstream_open(note, &n_bytes);
    if (!out) return rt_fail_errno(RT_ENOMEM, "cli: no memory for the book's note");
    for (int i = 0; i < n_sources && i < SOURCES_NOTED; i++) write_name(out, "source", sources[i]);
    if (n_sources > SOURCES_NOTED) (void)fprintf(out, "sources=%d\n", n_sources);
    if (document)
        (void)fprintf(out, "files=%" PRId64 "\nbytes=%" PRId64 "\nsha256=%s\n", document->n_files,
                document->n_bytes, sha256);
    else
        (void)fprintf(out, "ids_sha256=%s\n", sha256);
    write_name(out, "model", cli->engine.model_dir);
    return rt_memstream_close(out, note) ? RT_OK
                                         : rt_fail(RT_ENOMEM, "cli: no memory for the book's note");
}

rt_status glm_cli_require_source(const glm_cli *cli, const glm_command *command) {
    const int n = (cli->n_operands > 0) + (cli->file != NULL) + (cli->tokens_file != NULL);
    if (n == 1) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "%s takes one of SOURCE..., -f FILE and --tokens-file FILE\nusage: glm1m %s",
            command->name, command->usage);
}
