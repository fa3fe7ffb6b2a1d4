/* A book's ids, back to the document that they were made of.
 *
 *   glm1m ask --book       [gMASK]<sop> ... <|user|> what to do, numbered passages
 *   glm1m prefill --book   [gMASK]<sop> a text
 *
 * Numbers that were put in front of passages are taken out again, in order: a line [7] that the text has
 * itself is one only where 7 is the next. Pages and files are told by the same lines. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reading_inside.h"

enum { MARKER_BYTES = 64 };

/* Text that is taken apart into a document. */
typedef struct unwriting {
    const char *text;
    int64_t n;
    int64_t at;
    const char *name; /* of a text without headings */
    glm_reading *out;
    glm_text plain; /* the document's text so far */
    int64_t page;   /* of the file under way; 0: none was named */
} unwriting;

static rt_status no_memory(void) {
    return rt_fail(RT_ENOMEM, "reading: no memory for a book's text");
}

/* ---- files and passages ---------------------------------------------------------------------- */

static rt_status begin_file(unwriting *u, const char *name, int64_t n_bytes, int64_t heading_at) {
    glm_document *document = &u->out->document;
    void *larger =
            realloc(document->files, (size_t)(document->n_files + 1) * sizeof *document->files);
    if (!larger) return no_memory();
    document->files = larger;
    char *path = strndup(name, (size_t)n_bytes);
    if (!path) return no_memory();
    document->files[document->n_files++] =
            (glm_document_file){.path = path, .heading_at = heading_at, .text_at = u->plain.n};
    u->page = 0;
    return RT_OK;
}

static void end_file(unwriting *u, int64_t end) {
    glm_document *document = &u->out->document;
    if (document->n_files == 0) return;
    glm_document_file *file = &document->files[document->n_files - 1];
    file->n_bytes = end - file->text_at;
}

static void end_passage(unwriting *u) {
    glm_passages *passages = &u->out->passages;
    if (passages->n_passages > 0) passages->passages[passages->n_passages - 1].end = u->plain.n;
}

/* ---- markers --------------------------------------------------------------------------------- */

static bool begins_with(const char *text, int64_t n, const char *word) {
    const int64_t n_word = (int64_t)strlen(word);
    return n >= n_word && memcmp(text, word, (size_t)n_word) == 0;
}

/* "[7]\n" or "[7] page 3\n", where 7 is next: its bytes, 0 where it is none. */
static int64_t numbered_marker(const unwriting *u, int64_t at, int64_t *page) {
    char marker[MARKER_BYTES];
    const char *text = u->text + at;
    const int64_t n = u->n - at;
    *page = 0;
    const int length = snprintf(marker, sizeof marker, "[%" PRId64 "]",
            u->out->passages.first_number + u->out->passages.n_passages);
    if (!begins_with(text, n, marker)) return 0;
    if (begins_with(text + length, n - length, "\n")) return length + 1;
    if (!begins_with(text + length, n - length, " page ")) return 0;
    int64_t end = length + 6;
    while (end < n && end < MARKER_BYTES && text[end] >= '0' && text[end] <= '9')
        *page = 10 * *page + (text[end++] - '0');
    return *page > 0 && end < n && text[end] == '\n' ? end + 1 : 0;
}

static int64_t sentence_marker(const unwriting *u, int64_t at) {
    char marker[MARKER_BYTES];
    const int length = snprintf(marker, sizeof marker, "<C%" PRId64 ">",
            u->out->passages.first_number + u->out->passages.n_passages);
    return begins_with(u->text + at, u->n - at, marker) ? length : 0;
}

static int64_t marker_at(const unwriting *u, int64_t at, int64_t *page) {
    *page = 0;
    if (u->out->passages.style == GLM_PASSAGES_SENTENCES) return sentence_marker(u, at);
    const bool begins_line = at == 0 || u->text[at - 1] == '\n';
    return begins_line ? numbered_marker(u, at, page) : 0;
}

/* Pages that were not named hold nothing. */
static rt_status turn_pages(unwriting *u, int64_t page) {
    glm_document_file *file = &u->out->document.files[u->out->document.n_files - 1];
    if (page == 0) return RT_OK;
    for (int64_t from = u->page > 0 ? u->page : 1; from < page; from++)
        RT_TRY(glm_text_add(&u->plain, "\f", 1));
    file->is_paged = true;
    u->page = page;
    return RT_OK;
}

static rt_status begin_passage(unwriting *u, int64_t page) {
    end_passage(u);
    RT_TRY(turn_pages(u, page));
    const glm_passage passage = {.begin = u->plain.n, .end = u->plain.n, .written_at = u->at};
    return glm_passages_add(&u->out->passages, &passage);
}

/* ---- headings -------------------------------------------------------------------------------- */

/* "==> NAME <==\n" on a line of its own, at the beginning or behind an empty line: its bytes. */
static int64_t heading_at(const unwriting *u, int64_t at, int64_t *name_bytes) {
    const bool is_first = at == 0 || (at >= 2 && memcmp(u->text + at - 2, "\n\n", 2) == 0);
    if (!is_first || !begins_with(u->text + at, u->n - at, "==> ")) return 0;
    const char *end = memchr(u->text + at, '\n', (size_t)(u->n - at));
    const int64_t n = end ? end - (u->text + at) : u->n - at;
    *name_bytes = n - 8;
    return *name_bytes > 0 && memcmp(u->text + at + n - 4, " <==", 4) == 0 ? n + (end != NULL) : 0;
}

/* The empty line in front of a heading is none of the file's before it. */
static rt_status take_heading(unwriting *u, int64_t n, int64_t name_bytes) {
    const bool has_line = u->plain.n > 0 && u->plain.bytes[u->plain.n - 1] == '\n';
    end_passage(u);
    end_file(u, u->plain.n - has_line);
    const int64_t heading = u->plain.n;
    RT_TRY(glm_text_add(&u->plain, u->text + u->at, n));
    RT_TRY(begin_file(u, u->text + u->at + 4, name_bytes, heading));
    u->at += n;
    return RT_OK;
}

/* ---- the text -------------------------------------------------------------------------------- */

static rt_status take_any(unwriting *u) {
    int64_t page = 0;
    int64_t name_bytes = 0;
    const int64_t n_heading = heading_at(u, u->at, &name_bytes);
    if (n_heading > 0) return take_heading(u, n_heading, name_bytes);
    if (u->out->document.n_files == 0) RT_TRY(begin_file(u, u->name, (int64_t)strlen(u->name), 0));
    const int64_t n = u->out->has_markers ? marker_at(u, u->at, &page) : 0;
    if (n > 0) {
        RT_TRY(begin_passage(u, page));
        u->at += n;
        return RT_OK;
    }
    /* Up to where a marker or a heading may begin. */
    const char stop = u->out->passages.style == GLM_PASSAGES_SENTENCES ? '<' : '\n';
    int64_t end = u->at + 1;
    while (end < u->n && u->text[end - (stop == '\n')] != stop && u->text[end - 1] != '\n') end++;
    RT_TRY(glm_text_add(&u->plain, u->text + u->at, end - u->at));
    u->at = end;
    return RT_OK;
}

static rt_status unwrite(unwriting *u) {
    RT_TRY(glm_text_add(&u->plain, "", 0));
    while (u->at < u->n) RT_TRY(take_any(u));
    if (u->out->document.n_files == 0) RT_TRY(begin_file(u, u->name, (int64_t)strlen(u->name), 0));
    end_passage(u);
    end_file(u, u->plain.n);
    return RT_OK;
}

/* ---- the ids --------------------------------------------------------------------------------- */

/* Behind the last <|user|>; 0: there is none, and the book is a text. */
static int64_t message_at(const glm_reading *reading) {
    const int32_t user = glm_tokenizer_specials(reading->tokenizer).user;
    for (int64_t i = reading->prefix.n; i > 0; i--)
        if (reading->prefix.ids[i - 1] == user) return i;
    return 0;
}

/* The text of a message of ours behind what it says to do, and in which style it is. */
static bool skip_wording(unwriting *u) {
    if (u->n > 0 && u->text[0] == '\n') { /* the metadata's end */
        u->text++;
        u->n--;
    }
    for (int style = GLM_PASSAGES_NUMBERED; style <= GLM_PASSAGES_SENTENCES; style++) {
        const char *before = glm_reading_before((glm_passages_style)style);
        if (!begins_with(u->text, u->n, before)) continue;
        u->text += strlen(before);
        u->n -= (int64_t)strlen(before);
        u->out->passages.style = (glm_passages_style)style;
        u->out->passages.first_number = style == GLM_PASSAGES_NUMBERED;
        return true;
    }
    return false;
}

static rt_status take_apart(glm_reading *out, const char *name) {
    char *text = NULL;
    unwriting u = {.name = name, .out = out};
    const int64_t from = message_at(out);
    RT_TRY(glm_tokenizer_decode(
            out->tokenizer, out->prefix.ids + from, out->prefix.n - from, false, &text, &u.n));
    u.text = text;
    out->opens_message = from == 0;
    out->passages.first_number = 1;
    out->has_markers = from > 0 && skip_wording(&u);
    const rt_status status = unwrite(&u);
    free(text);
    out->document.text = u.plain.bytes;
    out->document.n_bytes = u.plain.n;
    return status;
}

rt_status glm_reading_of_book(const glm_tokenizer *tokenizer, const char *name, const int32_t *ids,
        int64_t n_ids, glm_reading *out) {
    *out = (glm_reading){.tokenizer = tokenizer};
    rt_status status = glm_ids_append(&out->prefix, ids, n_ids);
    if (status == RT_OK) status = take_apart(out, name);
    if (status == RT_OK) status = glm_fold(out->document.text, out->document.n_bytes, NULL, &out->folded);
    if (status != RT_OK) glm_reading_free(out);
    return status;
}
