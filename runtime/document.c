/* Files are appended to the text as they come, then headings are put in between: whether there is
 * more than one is known only at the end. */
#include "document.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "document_kind.h"
#include "file_walk.h"
#include "text.h"
#include "utf8.h"

enum { MARK_BYTES = 3, WHY_BYTES = 256 };

static const char mark[] = "\xef\xbb\xbf";

/* One load under way. */
typedef struct loader {
    glm_document *document;
    glm_document_limits limits;
    glm_text text;
    int64_t n_read;     /* bytes of files so far */
    const char *source; /* the directory being walked */
    bool is_only;       /* source */
    bool has_read_stdin;
    int64_t files_room; /* of the document's lists */
    int64_t skipped_room;
} loader;

/* ---- lists ----------------------------------------------------------------------------------- */

static rt_status check_count(const loader *load) {
    const glm_document *document = load->document;
    if (document->n_files + document->n_skipped < load->limits.n_files) return RT_OK;
    return rt_fail(RT_EUSAGE, "document: %s holds too many files: more than %" PRId64, load->source,
            load->limits.n_files);
}

static rt_status make_room_for_file(loader *load) {
    glm_document *document = load->document;
    RT_TRY(check_count(load));
    return rt_make_room(&document->files, sizeof *document->files, document->n_files,
            &load->files_room, "files of a document");
}

/* The path as people would write it, a new string. A name may hold anything but '/' and NUL; this is
 * one line of text. */
static char *shown_path(const loader *load, const char *path, const char *inside) {
    const char *shown = inside && load->is_only ? inside : path;
    while (strncmp(shown, "./", 2) == 0) shown += 2 + strspn(shown + 2, "/");
    char *copy = strdup(shown);
    if (!copy) return NULL;
    int64_t n = 0;
    for (const char *at = copy; *at;) {
        uint32_t character = 0;
        const int length = glm_utf8_decode(at, (int64_t)strlen(at), &character);
        const bool is_plain = length > 0 && character >= 0x20 && character != 0x7f &&
                              !(character >= 0x80 && character < 0xa0);
        if (is_plain)
            memmove(copy + n, at, (size_t)length);
        else
            copy[n] = '?';
        n += is_plain ? length : 1;
        at += length > 0 ? length : 1;
    }
    copy[n] = '\0';
    return copy;
}

static rt_status skip(loader *load, const glm_walk_entry *entry, const char *why) {
    glm_document *document = load->document;
    RT_TRY(check_count(load));
    RT_TRY(rt_make_room(&document->skipped, sizeof *document->skipped, document->n_skipped,
            &load->skipped_room, "files left out"));
    const glm_document_skipped skipped = {
            .path = shown_path(load, entry->path, entry->inside), .why = strdup(why)};
    document->skipped[document->n_skipped++] = skipped;
    if (skipped.path && skipped.why) return RT_OK;
    return rt_fail(RT_ENOMEM, "document: no memory for the path %s", entry->path);
}

/* Pages, and those without text. What follows the last form feed is none. */
static void count_pages(glm_document_file *file, const char *bytes, int64_t n_bytes) {
    bool is_blank = true;
    for (int64_t i = 0; i < n_bytes; i++) {
        if (bytes[i] != '\f') {
            is_blank = is_blank && (uint8_t)bytes[i] <= ' ';
            continue;
        }
        file->n_pages++;
        file->n_blank += is_blank;
        is_blank = true;
    }
}

/* Text becomes the next file of the document. `inside` is NULL for a source of its own, `format` for
 * a text that is none of a program's making. */
static rt_status add(loader *load, const char *path, const char *inside, const glm_format *format,
        const char *bytes, int64_t n_bytes) {
    glm_document *document = load->document;
    RT_TRY(make_room_for_file(load));
    const bool has_mark = n_bytes >= MARK_BYTES && memcmp(bytes, mark, MARK_BYTES) == 0;
    glm_document_file file = {.heading_at = load->text.n,
            .text_at = load->text.n,
            .n_bytes = n_bytes - (has_mark ? MARK_BYTES : 0),
            .mark_bytes = has_mark ? MARK_BYTES : 0,
            .is_paged = format && format->is_paged,
            .is_converted = format != NULL};
    if (file.is_paged) count_pages(&file, bytes, n_bytes);
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

static rt_status add_converted(
        loader *load, const glm_format *format, int fd, const char *path, const char *inside) {
    const rt_child_limits limits = {.seconds = load->limits.convert_s,
            .memory_bytes = load->limits.convert_bytes,
            .output_bytes = bytes_left(load),
            .stop = load->limits.stop};
    char *text = NULL;
    int64_t n_bytes = 0;
    if (bytes_left(load) == 0) return too_large(load, path);
    RT_TRY(glm_convert(format, fd, path, &limits, &text, &n_bytes));
    const rt_status status = add(load, path, inside, format, text, n_bytes);
    free(text);
    return status;
}

/* An open file; `kind` says what it is if it could not be added for that, or not. */
static rt_status add_open(
        loader *load, int fd, const char *path, const char *inside, glm_kind *kind) {
    char *bytes = NULL;
    int64_t n_bytes = 0;
    RT_TRY(glm_kind_of_file(fd, path, kind));
    if (kind->format) return add_converted(load, kind->format, fd, path, inside);
    if (kind->not_text) return glm_kind_refuse(kind, path);
    RT_TRY(read_file(load, path, &bytes, &n_bytes));
    *kind = glm_kind_of(path, bytes, n_bytes, false);
    const rt_status status = kind->not_text ? glm_kind_refuse(kind, path)
                                            : add(load, path, inside, NULL, bytes, n_bytes);
    free(bytes);
    return status;
}

static rt_status add_file(loader *load, const char *path, const char *inside, glm_kind *kind) {
    struct stat info;
    *kind = (glm_kind){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return rt_fail_errno(RT_EIO, "document: cannot open %s", path);
    const bool is_regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    rt_status status = is_regular ? add_open(load, fd, path, inside, kind)
                                  : rt_fail(RT_EUSAGE, "document: %s is no regular file", path);
    /* Plain text is looked at as it is read; what a program reads, only here. */
    if (status == RT_OK && kind->format) status = rt_file_check_unchanged(fd, path, &info);
    (void)close(fd);
    return status;
}

/* ---- directories ----------------------------------------------------------------------------- */

/* What the message says behind the file's name. */
static void reason(const char *path, char text[WHY_BYTES]) {
    const char *why = rt_error_text();
    const char *named = strstr(why, path);
    if (named) why = named + strlen(path);
    why += strspn(why, ": ");
    (void)snprintf(text, WHY_BYTES, "%s", why);
}

/* What is no text, or cannot be read, is left out, and what is too large is not. */
static rt_status add_found_file(loader *load, const glm_walk_entry *entry) {
    char why[WHY_BYTES];
    glm_kind kind;
    const rt_status status = add_file(load, entry->path, entry->inside, &kind);
    const bool is_passed_over = kind.not_text || status == RT_EIO ||
                                (kind.format && (status == RT_EUSAGE || status == RT_EUNSUPPORTED));
    if (status == RT_OK || !is_passed_over) return status;
    reason(entry->path, why);
    return skip(load, entry, kind.not_text ? kind.not_text : why);
}

static rt_status visit(void *context, const glm_walk_entry *entry) {
    loader *load = context;
    char why[WHY_BYTES];
    switch (entry->kind) {
    case GLM_WALK_FILE:
        return add_found_file(load, entry);
    case GLM_WALK_LINK:
        return skip(load, entry, "a symbolic link");
    case GLM_WALK_IGNORED:
        load->document->n_ignored++;
        return RT_OK;
    case GLM_WALK_UNREADABLE:
        return skip(load, entry, strerror_r(errno, why, sizeof why));
    case GLM_WALK_OTHER:
        break;
    }
    return skip(load, entry, "not a regular file");
}

/* ---- sources --------------------------------------------------------------------------------- */

/* What is in memory, for a program that wants a file. */
static rt_status add_converted_bytes(loader *load, const glm_format *format, const char *name,
        const char *bytes, int64_t n_bytes) {
    const int fd = memfd_create("document", MFD_CLOEXEC);
    if (fd < 0) return rt_fail_errno(RT_EIO, "document: no file for %s", name);
    rt_status status = rt_file_write(fd, name, bytes, n_bytes);
    if (status == RT_OK) status = add_converted(load, format, fd, name, NULL);
    (void)close(fd);
    return status;
}

static rt_status add_bytes(loader *load, const char *name, const char *bytes, int64_t n_bytes) {
    const glm_kind kind = glm_kind_of(name, bytes, n_bytes, false);
    if (n_bytes > bytes_left(load)) return too_large(load, name);
    if (kind.format) return add_converted_bytes(load, kind.format, name, bytes, n_bytes);
    return kind.not_text ? glm_kind_refuse(&kind, name)
                         : add(load, name, NULL, NULL, bytes, n_bytes);
}

static rt_status add_read(
        loader *load, const char *name, rt_status read, char *bytes, int64_t n_bytes) {
    if (read == RT_EUSAGE) return too_large(load, name);
    if (read != RT_OK) return read;
    const rt_status status = add_bytes(load, name, bytes, n_bytes);
    free(bytes);
    return status;
}

/* From where it stands: a pipe or the like, as a shell's <(command) is one. */
static rt_status add_stream(loader *load, const char *name, int fd) {
    char *bytes = NULL;
    int64_t n_bytes = 0;
    const rt_status read = rt_file_read_stream(fd, name, bytes_left(load), &bytes, &n_bytes);
    return add_read(load, name, read, bytes, n_bytes);
}

/* Without copying what a program is to read. */
static rt_status add_nameless(loader *load, const char *name, int fd) {
    glm_kind kind;
    if (lseek(fd, 0, SEEK_SET) != 0)
        return rt_fail_errno(RT_EIO, "document: cannot read %s from its beginning", name);
    RT_TRY(glm_kind_of_file(fd, name, &kind));
    return kind.format ? add_converted(load, kind.format, fd, name, NULL)
                       : add_stream(load, name, fd);
}

static rt_status add_pipe(loader *load, const char *path) {
    char *bytes = NULL;
    int64_t n_bytes = 0;
    const rt_status read = rt_file_read_pipe(path, bytes_left(load), &bytes, &n_bytes);
    return add_read(load, path, read, bytes, n_bytes);
}

static rt_status add_stdin(loader *load) {
    if (load->has_read_stdin)
        return rt_fail(RT_EUSAGE, "document: standard input can be read only once");
    load->has_read_stdin = true;
    return add_stream(load, "standard input", STDIN_FILENO);
}

static rt_status add_any(loader *load, const char *source) {
    struct stat info;
    glm_kind kind;
    load->source = source;
    if (strcmp(source, "-") == 0) return add_stdin(load);
    if (stat(source, &info) != 0) return rt_fail_errno(RT_EIO, "document: cannot read %s", source);
    if (S_ISDIR(info.st_mode)) return glm_walk(source, GLM_WALK_OF_SOURCES, visit, load);
    return S_ISFIFO(info.st_mode) ? add_pipe(load, source) : add_file(load, source, NULL, &kind);
}

/* ---- other documents ------------------------------------------------------------------------- */

static rt_status add_part(loader *load, const glm_document *part, const glm_document_file *from) {
    glm_document *document = load->document;
    glm_document_file file = *from;
    load->source = from->path;
    RT_TRY(make_room_for_file(load));
    if (file.n_bytes > bytes_left(load)) return too_large(load, from->path);
    file.heading_at = file.text_at = load->text.n;
    RT_TRY(glm_text_add(&load->text, part->text + from->text_at, file.n_bytes));
    load->n_read += file.n_bytes;
    file.path = strdup(from->path);
    if (!file.path) return rt_fail(RT_ENOMEM, "document: no memory for the path %s", from->path);
    document->files[document->n_files++] = file;
    return RT_OK;
}

static rt_status add_parts(loader *load, const glm_document *const *parts, int n_parts) {
    for (int i = 0; i < n_parts; i++)
        for (int64_t k = 0; k < parts[i]->n_files; k++)
            RT_TRY(add_part(load, parts[i], &parts[i]->files[k]));
    return RT_OK;
}

/* ---- headings -------------------------------------------------------------------------------- */

/* The file behind its heading, an empty line between it and the one before. */
static rt_status add_with_heading(glm_text *text, const char *bytes, glm_document_file *file) {
    if (text->n > 0 && text->bytes[text->n - 1] != '\n') RT_TRY(glm_text_add(text, "\n", 1));
    if (text->n > 0) RT_TRY(glm_text_add(text, "\n", 1));
    file->heading_at = text->n;
    RT_TRY(glm_text_add(text, "==> ", 4));
    RT_TRY(glm_text_add(text, file->path, (int64_t)strlen(file->path)));
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
    return load->document->n_files > 0 ? RT_OK : no_text(load->document);
}

static loader begin(const glm_document_limits *limits, bool is_only, glm_document *out) {
    loader load = {.document = out, .is_only = is_only};
    *out = (glm_document){0};
    if (limits) load.limits = *limits;
    if (load.limits.n_bytes == 0) load.limits.n_bytes = RT_GIB;
    if (load.limits.n_files == 0) load.limits.n_files = 100000;
    if (load.limits.convert_s <= 0.0) load.limits.convert_s = 120.0;
    if (load.limits.convert_bytes == 0) load.limits.convert_bytes = 4 * RT_GIB;
    return load;
}

static rt_status end(loader *load, rt_status status) {
    if (status == RT_OK && load->document->n_files > 1) status = put_headings(load);
    load->document->text = load->text.bytes;
    load->document->n_bytes = load->text.n;
    if (status != RT_OK) glm_document_free(load->document);
    return status;
}

rt_status glm_document_load(const char *const *sources, int n_sources,
        const glm_document_limits *limits, glm_document *out) {
    loader load = begin(limits, n_sources == 1, out);
    return end(&load, load_all(&load, sources, n_sources));
}

rt_status glm_document_from_bytes(const char *name, const char *bytes, int64_t n_bytes,
        const glm_document_limits *limits, glm_document *out) {
    loader load = begin(limits, true, out);
    return end(&load, add_bytes(&load, name, bytes, n_bytes));
}

rt_status glm_document_from_file(
        const char *name, int fd, const glm_document_limits *limits, glm_document *out) {
    loader load = begin(limits, true, out);
    return end(&load, add_nameless(&load, name, fd));
}

rt_status glm_document_join(const glm_document *const *parts, int n_parts,
        const glm_document_limits *limits, glm_document *out) {
    loader load = begin(limits, false, out);
    return end(&load, add_parts(&load, parts, n_parts));
}

void glm_document_free(glm_document *document) {
    for (int64_t i = 0; i < document->n_files; i++) free(document->files[i].path);
    for (int64_t i = 0; i < document->n_skipped; i++) {
        free(document->skipped[i].path);
        free(document->skipped[i].why);
    }
    free(document->files);
    free(document->skipped);
    free(document->text);
    *document = (glm_document){0};
}
