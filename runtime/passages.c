#include "passages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { PASSAGE_BYTES = 600, PARAGRAPH_BYTES = 400, MARKER_BYTES = 64 };

/* ---- cutting --------------------------------------------------------------------------------- */

rt_status glm_passages_add(glm_passages *passages, const glm_passage *passage) {
    RT_TRY(rt_make_room(&passages->passages, sizeof *passages->passages, passages->n_passages,
            &passages->room, "passages"));
    passages->passages[passages->n_passages++] = *passage;
    return RT_OK;
}

static bool is_blank(const char *text, int64_t begin, int64_t end) {
    while (begin < end && (uint8_t)text[begin] <= ' ') begin++;
    return begin == end;
}

/* Behind the line, or page, that begins at `at`. A form feed ends a page, and belongs to it. */
static int64_t line_end(const char *text, int64_t at, int64_t end, bool is_paged) {
    const char *feed = memchr(text + at, '\n', (size_t)(end - at));
    const int64_t next = feed ? feed - text + 1 : end;
    const char *page = is_paged ? memchr(text + at, '\f', (size_t)(next - at)) : NULL;
    return page ? page - text + 1 : next;
}

/* Where the passage that begins at `begin` ends: whole lines. */
static int64_t lines_end(const char *text, int64_t begin, int64_t end, bool is_paged) {
    for (int64_t at = begin; at < end;) {
        const int64_t next = line_end(text, at, end, is_paged);
        const bool is_page_end = is_paged && text[next - 1] == '\f';
        if (is_page_end || next - begin >= PASSAGE_BYTES) return next;
        if (is_blank(text, at, next) && next - begin >= PARAGRAPH_BYTES) return next;
        at = next;
    }
    return end;
}

static int64_t skip_blank(const char *text, int64_t at, int64_t end) {
    while (at < end && (uint8_t)text[at] <= ' ') at++;
    return at;
}

/* How long the end of a sentence that stands at `at` is; 0: the sentence goes on. */
static int64_t sentence_stop(const char *text, int64_t at, int64_t end) {
    static const char *const wide[] = {"\u3002", "\uff01", "\uff1f", "\uff1b"};
    switch ((uint8_t)text[at]) {
    case '\n':
    case '\f':
        return 1;
    case '.':
    case '!':
    case '?':
    case ';':
        return at + 1 == end || (uint8_t)text[at + 1] <= ' ';
    case 0xe3: /* what the wide ones begin with */
    case 0xef:
        for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
            if (end - at >= 3 && memcmp(text + at, wide[i], 3) == 0) return 3;
        return 0;
    default:
        return 0;
    }
}

/* Where the sentence ends, the white space in front of it and behind it included. */
static int64_t sentence_end(const char *text, int64_t begin, int64_t end) {
    int64_t length = 0;
    int64_t at = skip_blank(text, begin, end);
    while (at < end && (length = sentence_stop(text, at, end)) == 0) at++;
    return skip_blank(text, at + length, end);
}

static rt_status cut(const glm_document *document, const glm_document_file *file,
        const glm_watch *watch, glm_passages *out) {
    int64_t asked_at = file->text_at;
    const char *text = document->text;
    const int64_t end = file->text_at + file->n_bytes;
    for (int64_t at = file->text_at; at < end;) {
        const int64_t next = out->style == GLM_PASSAGES_SENTENCES
                                     ? sentence_end(text, at, end)
                                     : lines_end(text, at, end, file->is_paged);
        const glm_passage passage = {.begin = at, .end = next};
        if (!is_blank(text, at, next)) RT_TRY(glm_passages_add(out, &passage));
        at = next;
        if (at - asked_at < GLM_WATCH_BYTES) continue;
        RT_TRY(glm_watch_at(watch, "cut into passages", at, document->n_bytes));
        asked_at = at;
    }
    return RT_OK;
}

rt_status glm_passages_make(const glm_document *document, glm_passages_style style,
        const glm_watch *watch, glm_passages *out) {
    *out = (glm_passages){.style = style, .first_number = style == GLM_PASSAGES_NUMBERED};
    for (int64_t i = 0; i < document->n_files; i++) {
        const rt_status status = cut(document, &document->files[i], watch, out);
        if (status == RT_OK) continue;
        glm_passages_free(out);
        return status;
    }
    return RT_OK;
}

void glm_passages_free(glm_passages *passages) {
    free(passages->passages);
    *passages = (glm_passages){0};
}

/* ---- writing --------------------------------------------------------------------------------- */

static rt_status add_string(glm_text *out, const char *text) {
    return glm_text_add(out, text, (int64_t)strlen(text));
}

static rt_status begin_line(glm_text *out) {
    return out->n > 0 && out->bytes[out->n - 1] != '\n' ? add_string(out, "\n") : RT_OK;
}

/* `page` 0: not said. */
static rt_status add_marker(const glm_passages *passages, int64_t i, int64_t page, glm_text *out) {
    char marker[MARKER_BYTES];
    const int64_t number = passages->first_number + i;
    if (passages->style == GLM_PASSAGES_SENTENCES) {
        (void)snprintf(marker, sizeof marker, "<C%" PRId64 ">", number);
        return add_string(out, marker);
    }
    RT_TRY(begin_line(out));
    if (page > 0)
        (void)snprintf(marker, sizeof marker, "[%" PRId64 "] page %" PRId64 "\n", number, page);
    else
        (void)snprintf(marker, sizeof marker, "[%" PRId64 "]\n", number);
    return add_string(out, marker);
}

/* A form feed tells the model nothing that the page's number does not. */
static rt_status add_passage(
        const glm_document *document, const glm_passage *passage, bool is_paged, glm_text *out) {
    const bool has_feed = is_paged && document->text[passage->end - 1] == '\f';
    const int64_t n = passage->end - passage->begin - has_feed;
    RT_TRY(glm_text_add(out, document->text + passage->begin, n));
    return has_feed ? begin_line(out) : RT_OK;
}

typedef struct writing {
    glm_passages *passages;
    const glm_document *document;
    const glm_watch *watch;
    glm_text *out;
    int64_t next;     /* passage */
    int64_t asked_at; /* byte of the document where the watch was asked last */
} writing;

static int64_t count_pages(const char *text, int64_t begin, int64_t end) {
    int64_t n = 0;
    for (int64_t at = begin; at < end; at++) n += text[at] == '\f';
    return n;
}

static rt_status write_file(writing *w, const glm_document_file *file) {
    const char *text = w->document->text;
    const int64_t end = file->text_at + file->n_bytes;
    int64_t at = file->text_at;
    int64_t page = 1;
    int64_t said = 0; /* the page that was named last */
    for (; w->next < w->passages->n_passages && w->passages->passages[w->next].begin < end;
            w->next++) {
        glm_passage *passage = &w->passages->passages[w->next];
        if (file->is_paged) page += count_pages(text, at, passage->begin);
        at = passage->begin;
        passage->written_at = w->out->n;
        RT_TRY(add_marker(w->passages, w->next, file->is_paged && page != said ? page : 0, w->out));
        said = page;
        RT_TRY(add_passage(w->document, passage, file->is_paged, w->out));
        if (at - w->asked_at < GLM_WATCH_BYTES) continue;
        RT_TRY(glm_watch_at(w->watch, "numbered", at, w->document->n_bytes));
        w->asked_at = at;
    }
    return RT_OK;
}

static rt_status write_heading(writing *w, const glm_document_file *file) {
    if (w->document->n_files == 1) return RT_OK;
    RT_TRY(begin_line(w->out));
    if (w->out->n > 0 && file != w->document->files) RT_TRY(add_string(w->out, "\n"));
    return glm_text_add(
            w->out, w->document->text + file->heading_at, file->text_at - file->heading_at);
}

rt_status glm_passages_write(glm_passages *passages, const glm_document *document,
        const glm_watch *watch, glm_text *out) {
    writing w = {.passages = passages, .document = document, .watch = watch, .out = out};
    for (int64_t i = 0; i < document->n_files; i++) {
        RT_TRY(write_heading(&w, &document->files[i]));
        RT_TRY(write_file(&w, &document->files[i]));
    }
    return RT_OK;
}

/* ---- finding --------------------------------------------------------------------------------- */

static int64_t begins_at(const glm_passages *passages, int64_t i, bool is_written) {
    const glm_passage *passage = &passages->passages[i];
    return is_written ? passage->written_at : passage->begin;
}

/* The last one that begins at or before `at`. */
static int64_t number_at(const glm_passages *passages, int64_t at, bool is_written) {
    int64_t low = 0;
    int64_t high = passages->n_passages;
    if (high == 0 || begins_at(passages, 0, is_written) > at) return -1;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (begins_at(passages, middle, is_written) <= at)
            low = middle;
        else
            high = middle;
    }
    return passages->first_number + low;
}

int64_t glm_passages_at(const glm_passages *passages, int64_t at) {
    return number_at(passages, at, false);
}

int64_t glm_passages_written_at(const glm_passages *passages, int64_t at) {
    return number_at(passages, at, true);
}

const glm_passage *glm_passages_get(const glm_passages *passages, int64_t number) {
    const int64_t i = number - passages->first_number;
    return i >= 0 && i < passages->n_passages ? &passages->passages[i] : NULL;
}
