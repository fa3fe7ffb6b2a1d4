/* Files are appended to the text as they come, then headings are put in between: whether there is
 * more than one is known only at the end. */
#include "document.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/size.h"
#include "file_walk.h"
#include "text.h"
#include "utf8.h"

enum { SNIFF_BYTES = 64 * 1024, MARK_BYTES = 3 };

static const char mark[] = "\xef\xbb\xbf";
static const char binary[] = "binary";
static const char not_utf8[] = "not UTF-8";

/* One load under way. */
typedef struct loader {
    glm_document *document;
    glm_document_limits limits;
    glm_text text;
    int64_t n_read;     /* bytes of files so far */
    const char *source; /* the directory being walked */
    bool is_only;       /* source */
    bool has_read_stdin;
} loader;

/* ---- what is text? --------------------------------------------------------------------------- */

/* NULL for text, else what it is instead, and at which byte that shows. With `is_cut`, the end may
 * be in the middle of a character. */
static const char *not_text(const char *bytes, int64_t n, bool is_cut, int64_t *at) {
    for (*at = 0; *at < n;) {
        uint32_t character = (uint8_t)bytes[*at];
        if (character == 0) return binary;
        const int length = character < 0x80 ? 1 : glm_utf8_decode(bytes + *at, n - *at, &character);
        if (length == 0)
            return is_cut && glm_utf8_unfinished(bytes + *at, n - *at) > 0 ? NULL : not_utf8;
        *at += length;
    }
    return NULL;
}

/* By its first bytes, so that no film is read to the end. */
static rt_status sniff(const char *path, const char **why) {
    char bytes[SNIFF_BYTES];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return rt_fail_errno(RT_EIO, "document: cannot open %s", path);
    ssize_t n = 0;
    do n = pread(fd, bytes, sizeof bytes, 0);
    while (n < 0 && errno == EINTR);
    const rt_status status =
            n < 0 ? rt_fail_errno(RT_EIO, "document: cannot read %s", path) : RT_OK;
    (void)close(fd);
    int64_t at = 0;
    if (status == RT_OK) *why = not_text(bytes, n, true, &at);
    return status;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* Room for one more: capacities are powers of two. */
static rt_status grow(void *list, int64_t n, size_t element_bytes) {
    if (n > 0 && (n & (n - 1)) != 0) return RT_OK;
    void **elements = list;
    void *larger = realloc(*elements, (size_t)(n > 0 ? 2 * n : 1) * element_bytes);
    if (!larger) return rt_fail(RT_ENOMEM, "document: no memory for a list of files");
    *elements = larger;
    return RT_OK;
}

static rt_status check_count(const loader *load) {
    const glm_document *document = load->document;
    if (document->n_files + document->n_skipped < load->limits.n_files) return RT_OK;
    return rt_fail(RT_EUSAGE, "document: %s holds too many files: more than %" PRId64, load->source,
            load->limits.n_files);
}

/* The path as people would write it, a new string. */
static char *shown_path(const loader *load, const char *path, const char *inside) {
    const char *shown = inside && load->is_only ? inside : path;
    while (strncmp(shown, "./", 2) == 0) shown += 2 + strspn(shown + 2, "/");
    return strdup(shown);
}

static rt_status skip(loader *load, const glm_walk_entry *entry, const char *why) {
    glm_document *document = load->document;
    RT_TRY(check_count(load));
    RT_TRY(grow(&document->skipped, document->n_skipped, sizeof *document->skipped));
    char *path = shown_path(load, entry->path, entry->inside);
    if (!path) return rt_fail(RT_ENOMEM, "document: no memory for the path %s", entry->path);
    document->skipped[document->n_skipped++] = (glm_document_skipped){.path = path, .why = why};
    return RT_OK;
}

/* Text becomes the next file of the document. `inside` is NULL for a source of its own. */
static rt_status add(
        loader *load, const char *path, const char *inside, const char *bytes, int64_t n_bytes) {
    glm_document *document = load->document;
    RT_TRY(check_count(load));
    RT_TRY(grow(&document->files, document->n_files, sizeof *document->files));
    const bool has_mark = n_bytes >= MARK_BYTES && memcmp(bytes, mark, MARK_BYTES) == 0;
    glm_document_file file = {.heading_at = load->text.n,
            .text_at = load->text.n,
            .n_bytes = n_bytes - (has_mark ? MARK_BYTES : 0),
            .mark_bytes = has_mark ? MARK_BYTES : 0};
    RT_TRY(glm_text_add(&load->text, bytes + file.mark_bytes, file.n_bytes));
    load->n_read += n_bytes;
    file.path = shown_path(load, path, inside);
    if (!file.path) return rt_fail(RT_ENOMEM, "document: no memory for the path %s", path);
    document->files[document->n_files++] = file;
    return RT_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int64_t bytes_left(const loader *load) {
    return load->limits.n_bytes - load->n_read;
}

/* A refusal that says what is full. */
static rt_status too_large(const loader *load, const char *path) {
    return rt_fail(RT_EUSAGE,
            "document: %s is too large: of %" PRId64 " bytes for all files together, %" PRId64
            " are left",
            path, load->limits.n_bytes, bytes_left(load));
}

static rt_status read_file(const loader *load, const char *path, char **bytes, int64_t *n_bytes) {
    struct stat info;
    if (stat(path, &info) != 0) return rt_fail_errno(RT_EIO, "document: cannot read %s", path);
    if (info.st_size > bytes_left(load)) return too_large(load, path);
    return rt_file_read(path, bytes_left(load), bytes, n_bytes);
}

static rt_status add_found_file(loader *load, const glm_walk_entry *entry) {
    const char *why = NULL;
    RT_TRY(sniff(entry->path, &why));
    if (why) return skip(load, entry, why);
    char *bytes = NULL;
    int64_t n_bytes = 0;
    int64_t at = 0;
    RT_TRY(read_file(load, entry->path, &bytes, &n_bytes));
    why = not_text(bytes, n_bytes, false, &at);
    const rt_status status =
            why ? skip(load, entry, why) : add(load, entry->path, entry->inside, bytes, n_bytes);
    free(bytes);
    return status;
}

static rt_status visit(void *context, const glm_walk_entry *entry) {
    loader *load = context;
    switch (entry->kind) {
    case GLM_WALK_FILE:
        return add_found_file(load, entry);
    case GLM_WALK_LINK:
        return skip(load, entry, "a symbolic link");
    case GLM_WALK_OTHER:
        break;
    }
    return skip(load, entry, "not a regular file");
}

/* ---- sources --------------------------------------------------------------------------------- */

static rt_status refuse(const char *name, const char *why, int64_t at) {
    return rt_fail(RT_EUSAGE, "document: %s is no text: %s from byte %" PRId64 " on%s", name, why,
            at, why == not_utf8 ? " (iconv -t UTF-8 converts other encodings)" : "");
}

static rt_status add_source(loader *load, const char *name, const char *bytes, int64_t n_bytes) {
    int64_t at = 0;
    const char *why = not_text(bytes, n_bytes, false, &at);
    return why ? refuse(name, why, at) : add(load, name, NULL, bytes, n_bytes);
}

/* A pipe or the like, as a shell's <(command) is one. */
static rt_status add_stream(loader *load, const char *name, int fd) {
    char *bytes = NULL;
    int64_t n_bytes = 0;
    const rt_status read = rt_file_read_stream(fd, name, bytes_left(load), &bytes, &n_bytes);
    if (read == RT_EUSAGE) return too_large(load, name);
    if (read != RT_OK) return read;
    const rt_status status = add_source(load, name, bytes, n_bytes);
    free(bytes);
    return status;
}

static rt_status add_file(loader *load, const char *path) {
    char *bytes = NULL;
    int64_t n_bytes = 0;
    RT_TRY(read_file(load, path, &bytes, &n_bytes));
    const rt_status status = add_source(load, path, bytes, n_bytes);
    free(bytes);
    return status;
}

static rt_status add_pipe(loader *load, const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return rt_fail_errno(RT_EIO, "document: cannot open %s", path);
    const rt_status status = add_stream(load, path, fd);
    (void)close(fd);
    return status;
}

static rt_status add_stdin(loader *load) {
    if (load->has_read_stdin)
        return rt_fail(RT_EUSAGE, "document: standard input can be read only once");
    load->has_read_stdin = true;
    return add_stream(load, "standard input", STDIN_FILENO);
}

static rt_status add_any(loader *load, const char *source) {
    struct stat info;
    load->source = source;
    if (strcmp(source, "-") == 0) return add_stdin(load);
    if (stat(source, &info) != 0) return rt_fail_errno(RT_EIO, "document: cannot read %s", source);
    if (S_ISDIR(info.st_mode)) return glm_walk(source, visit, load);
    return S_ISFIFO(info.st_mode) ? add_pipe(load, source) : add_file(load, source);
}

/* ---- headings -------------------------------------------------------------------------------- */

/* A name may hold anything but '/' and NUL; a heading is one line of text. */
static rt_status add_name(glm_text *text, const char *path) {
    const int64_t n = (int64_t)strlen(path);
    for (int64_t at = 0; at < n;) {
        uint32_t character = 0;
        const int length = glm_utf8_decode(path + at, n - at, &character);
        const bool is_plain = length > 0 && character >= 0x20 && character != 0x7f;
        RT_TRY(glm_text_add(text, is_plain ? path + at : "?", is_plain ? length : 1));
        at += length > 0 ? length : 1;
    }
    return RT_OK;
}

/* The file behind its heading, an empty line between it and the one before. */
static rt_status add_with_heading(glm_text *text, const char *bytes, glm_document_file *file) {
    if (text->n > 0 && text->bytes[text->n - 1] != '\n') RT_TRY(glm_text_add(text, "\n", 1));
    if (text->n > 0) RT_TRY(glm_text_add(text, "\n", 1));
    file->heading_at = text->n;
    RT_TRY(glm_text_add(text, "==> ", 4));
    RT_TRY(add_name(text, file->path));
    RT_TRY(glm_text_add(text, " <==\n", 5));
    const char *from = bytes + file->text_at;
    file->text_at = text->n;
    return glm_text_add(text, from, file->n_bytes);
}

static rt_status put_headings(loader *load) {
    glm_text text = {0};
    rt_status status = RT_OK;
    for (int64_t i = 0; i < load->document->n_files && status == RT_OK; i++)
        status = add_with_heading(&text, load->text.bytes, &load->document->files[i]);
    free(load->text.bytes);
    load->text = text;
    return status;
}

/* ---- the document ---------------------------------------------------------------------------- */

static rt_status no_text(const glm_document *document) {
    if (document->n_skipped == 0) return rt_fail(RT_EUSAGE, "document: the sources hold no files");
    return rt_fail(RT_EUSAGE, "document: no text in %" PRId64 " files; the first is %s: %s",
            document->n_skipped, document->skipped[0].path, document->skipped[0].why);
}

static rt_status load_all(loader *load, const char *const *sources, int n_sources) {
    for (int i = 0; i < n_sources; i++) RT_TRY(add_any(load, sources[i]));
    if (load->document->n_files == 0) return no_text(load->document);
    return load->document->n_files > 1 ? put_headings(load) : RT_OK;
}

rt_status glm_document_load(const char *const *sources, int n_sources,
        const glm_document_limits *limits, glm_document *out) {
    *out = (glm_document){0};
    loader load = {.document = out, .is_only = n_sources == 1};
    if (limits) load.limits = *limits;
    if (load.limits.n_bytes == 0) load.limits.n_bytes = RT_GIB;
    if (load.limits.n_files == 0) load.limits.n_files = 100000;
    const rt_status status = load_all(&load, sources, n_sources);
    out->text = load.text.bytes;
    out->n_bytes = load.text.n;
    if (status != RT_OK) glm_document_free(out);
    return status;
}

void glm_document_free(glm_document *document) {
    for (int64_t i = 0; i < document->n_files; i++) free(document->files[i].path);
    for (int64_t i = 0; i < document->n_skipped; i++) free(document->skipped[i].path);
    free(document->files);
    free(document->skipped);
    free(document->text);
    *document = (glm_document){0};
}

/* ---- places ---------------------------------------------------------------------------------- */

/* The last file whose heading begins at or before `at`. */
static const glm_document_file *file_at(const glm_document *document, int64_t at) {
    int64_t low = 0;
    int64_t high = document->n_files;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (document->files[middle].heading_at <= at)
            low = middle;
        else
            high = middle;
    }
    return &document->files[low];
}

glm_document_place glm_document_find(const glm_document *document, int64_t at) {
    rt_assert(at >= 0 && at <= document->n_bytes);
    const glm_document_file *file = file_at(document, at);
    const int64_t n = rt_min64(rt_max64(at - file->text_at, 0), file->n_bytes);
    const char *text = document->text + file->text_at;
    glm_document_place place = {
            .file = file, .offset = n + file->mark_bytes, .line = 1, .page = file->is_paged};
    for (int64_t i = 0; i < n; i++) {
        place.line += text[i] == '\n';
        if (!file->is_paged || text[i] != '\f') continue;
        place.page++;
        place.line = 1;
    }
    return place;
}
