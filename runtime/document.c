/* Files are read into the text as they come, then moved apart for the headings: whether there is more than one is known
 * only at the end. So a text is in memory once, however long it is. */
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
#include "notebook.h"
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

/* Where all lines end in CR, as those of old Macs do, they end in LF from now on. */
static void end_lines(char *bytes, int64_t n_bytes) {
    char *end = bytes + n_bytes;
    char *at = memchr(bytes, '\n', (size_t)n_bytes) ? NULL : memchr(bytes, '\r', (size_t)n_bytes);
    for (; at; at = memchr(at, '\r', (size_t)(end - at))) *at = '\n';
}

/* The last n_bytes of the text become the next file of the document, without a mark in front of them. `inside` is NULL for
 * a source of its own, `format` for a text that is none of a program's making. */
static rt_status add_last(loader *load, const char *path, const char *inside,
        const glm_format *format, int64_t n_bytes) {
    glm_document *document = load->document;
    RT_TRY(make_room_for_file(load));
    char *bytes = load->text.bytes + load->text.n - n_bytes;
    const bool has_mark = n_bytes >= MARK_BYTES && memcmp(bytes, mark, MARK_BYTES) == 0;
    glm_document_file file = {.heading_at = load->text.n - n_bytes,
            .text_at = load->text.n - n_bytes,
            .n_bytes = n_bytes - (has_mark ? MARK_BYTES : 0),
            .mark_bytes = has_mark ? MARK_BYTES : 0,
            .is_paged = format && format->is_paged,
            .is_converted = format != NULL};
    if (has_mark) memmove(bytes, bytes + MARK_BYTES, (size_t)file.n_bytes + 1);
    load->text.n -= file.mark_bytes;
    end_lines(bytes, file.n_bytes);
    if (file.is_paged) count_pages(&file, bytes, file.n_bytes);
    load->n_read += n_bytes;
    file.path = shown_path(load, path, inside);
    if (!file.path) return rt_fail(RT_ENOMEM, "document: no memory for the path %s", path);
    document->files[document->n_files++] = file;
    return RT_OK;
}

static rt_status add(loader *load, const char *path, const char *inside, const glm_format *format,
        const char *bytes, int64_t n_bytes) {
    RT_TRY(glm_text_add(&load->text, bytes, n_bytes));
    return add_last(load, path, inside, format, n_bytes);
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

/* Behind the text; in pieces, between which somebody may stop it. */
static rt_status read_pieces(loader *load, int fd, const char *path, int64_t n_bytes) {
    enum { PIECE_BYTES = 16 * GLM_WATCH_BYTES };
    RT_TRY(glm_text_reserve(&load->text, n_bytes));
    for (int64_t done = 0; done < n_bytes;) {
        const int64_t n = rt_min64(PIECE_BYTES, n_bytes - done);
        RT_TRY(rt_file_pread(fd, path, load->text.bytes + load->text.n, n, done));
        load->text.n += n;
        done += n;
        if (n_bytes > PIECE_BYTES) RT_TRY(glm_watch_at(load->limits.watch, "read", done, n_bytes));
    }
    load->text.bytes[load->text.n] = '\0';
    return RT_OK;
}

/* `opened` is of fstat, before anything was read. */
static rt_status read_file(loader *load, int fd, const char *path, const struct stat *opened) {
    if (opened->st_size > bytes_left(load)) return too_large(load, path);
    const rt_status status = read_pieces(load, fd, path, opened->st_size);
    if (status == RT_EINTERRUPTED) return status;
    RT_TRY(rt_file_check_unchanged(fd, path, opened));
    return status;
}

/* `opened` is of fstat, before anything was read; NULL: nobody else can write to it. */
static rt_status add_converted(loader *load, const glm_format *format, int fd, const char *path,
        const char *inside, const struct stat *opened) {
    const rt_child_limits limits = {.seconds = load->limits.convert_s,
            .memory_bytes = load->limits.convert_bytes,
            .output_bytes = bytes_left(load),
            .stop = load->limits.stop};
    char *text = NULL;
    int64_t n_bytes = 0;
    if (bytes_left(load) == 0) return too_large(load, path);
    RT_TRY(glm_convert(format, fd, path, &limits, &text, &n_bytes));
    rt_status status = opened ? rt_file_check_unchanged(fd, path, opened) : RT_OK;
    if (status == RT_OK) status = add(load, path, inside, format, text, n_bytes);
    free(text);
    return status;
}

/* Where what is there from `from` on is a notebook, its text takes its place. */
static rt_status make_notebook_text(
        loader *load, const char *path, int64_t from, const glm_format **format) {
    static const glm_format notebook = {.name = "a notebook"};
    glm_text text = {0};
    bool is_notebook = false;
    rt_status status = glm_notebook_text(
            path, load->text.bytes + from, load->text.n - from, &is_notebook, &text);
    *format = is_notebook ? &notebook : NULL;
    if (is_notebook) load->text.n = from;
    if (status == RT_OK && text.n > 0) status = glm_text_add(&load->text, text.bytes, text.n);
    free(text.bytes);
    return status;
}

static rt_status add_text_file(loader *load, int fd, const char *path, const char *inside,
        const struct stat *opened, glm_kind *kind) {
    const int64_t before = load->text.n;
    const glm_format *format = NULL;
    rt_status status = read_file(load, fd, path, opened);
    if (status == RT_OK)
        status = glm_kind_of_text(
                load->text.bytes + before, load->text.n - before, load->limits.watch, kind);
    if (status == RT_OK && kind->not_text) status = glm_kind_refuse(kind, path);
    if (status == RT_OK) status = make_notebook_text(load, path, before, &format);
    if (status == RT_OK) return add_last(load, path, inside, format, load->text.n - before);
    load->text.n = before;
    if (load->text.bytes) load->text.bytes[before] = '\0';
    return status;
}

/* `kind` says what it is if it could not be added for that, or not. */
static rt_status add_open(loader *load, int fd, const char *path, const char *inside,
        const struct stat *opened, glm_kind *kind) {
    RT_TRY(glm_kind_of_file(fd, path, kind));
    if (kind->not_text) return glm_kind_refuse(kind, path);
    if (!kind->format) return add_text_file(load, fd, path, inside, opened, kind);
    return add_converted(load, kind->format, fd, path, inside, opened);
}

/* Of the file that was added last. */
static void note_identity(loader *load, const struct stat *info) {
    glm_document_file *file = &load->document->files[load->document->n_files - 1];
    file->device = (uint64_t)info->st_dev;
    file->inode = (uint64_t)info->st_ino;
}

static rt_status add_file(loader *load, const char *path, const char *inside, glm_kind *kind) {
    struct stat info;
    *kind = (glm_kind){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return rt_fail_errno(RT_EIO, "document: cannot open %s", path);
    const bool is_regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    const rt_status status = is_regular
                                     ? add_open(load, fd, path, inside, &info, kind)
                                     : rt_fail(RT_EUSAGE, "document: %s is no regular file", path);
    (void)close(fd);
    if (status == RT_OK) note_identity(load, &info);
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
    RT_TRY(glm_watch_ask(load->limits.watch, "read"));
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
    if (status == RT_OK) status = add_converted(load, format, fd, name, NULL, NULL);
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
    return kind.format ? add_converted(load, kind.format, fd, name, NULL, NULL)
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

/* A name of what is elsewhere is no misspelt file. */
static rt_status not_there(const char *source) {
    const bool is_address = errno == ENOENT && strstr(source, "://") != NULL;
    return rt_fail_errno(RT_EIO, "document: cannot read %s%s", source,
            is_address ? ", as nothing is fetched from the network (curl -L ADDRESS > FILE does)"
                       : "");
}

static rt_status add_any(loader *load, const char *source) {
    struct stat info;
    glm_kind kind;
    load->source = source;
    if (strcmp(source, "-") == 0) return add_stdin(load);
    if (stat(source, &info) != 0) return not_there(source);
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

static const char heading_begin[] = "==> ";
static const char heading_end[] = " <==\n";

/* Line ends between what the text of file i is put behind and its heading: an empty line. */
static int64_t gap_before(const loader *load, int64_t i) {
    const glm_document_file *before = load->document->files + i - 1;
    if (i == 0) return 0;
    const char *end = load->text.bytes + before->text_at + before->n_bytes;
    return before->n_bytes == 0 || end[-1] == '\n' ? 1 : 2;
}

/* What stands in front of a file's text. */
static void write_heading(char *bytes, const glm_document_file *file, int64_t gap) {
    char *at = bytes + file->heading_at - gap;
    memset(at, '\n', (size_t)gap);
    at = stpcpy(at + gap, heading_begin);
    at = stpcpy(at, file->path);
    memcpy(at, heading_end, strlen(heading_end));
}

static int64_t heading_bytes(const glm_document_file *file) {
    return (int64_t)(strlen(heading_begin) + strlen(file->path) + strlen(heading_end));
}

/* From the last to the first, so that nothing is written over. */
static rt_status put_headings(loader *load) {
    glm_document_file *files = load->document->files;
    const int64_t n_files = load->document->n_files;
    int64_t n_more = 0;
    for (int64_t i = 0; i < n_files; i++) n_more += gap_before(load, i) + heading_bytes(&files[i]);
    RT_TRY(glm_text_reserve(&load->text, n_more));
    load->text.n += n_more;
    load->text.bytes[load->text.n] = '\0';
    for (int64_t i = n_files - 1; i >= 0; i--) {
        glm_document_file *file = &files[i];
        const int64_t gap = gap_before(load, i);
        const int64_t from = file->text_at;
        file->text_at = from + n_more;
        file->heading_at = file->text_at - heading_bytes(file);
        memmove(load->text.bytes + file->text_at, load->text.bytes + from, (size_t)file->n_bytes);
        write_heading(load->text.bytes, file, gap);
        n_more -= gap + heading_bytes(file);
    }
    return RT_OK;
}

/* ---- the document ---------------------------------------------------------------------------- */

static rt_status no_text(const glm_document *document, const char *const *sources, int n_sources) {
    if (document->n_skipped > 0)
        return rt_fail(RT_EUSAGE, "document: no text in %" PRId64 " files; the first is %s: %s",
                document->n_skipped, document->skipped[0].path, document->skipped[0].why);
    char ignored[64] = "";
    if (document->n_ignored > 0)
        (void)snprintf(ignored, sizeof ignored, " but %" PRId64 " that .gitignore names",
                document->n_ignored);
    if (n_sources == 1)
        return rt_fail(RT_EUSAGE, "document: %s holds no files%s", sources[0], ignored);
    return rt_fail(RT_EUSAGE, "document: the sources hold no files%s", ignored);
}

static rt_status load_all(loader *load, const char *const *sources, int n_sources) {
    for (int i = 0; i < n_sources; i++) RT_TRY(add_any(load, sources[i]));
    return load->document->n_files > 0 ? RT_OK : no_text(load->document, sources, n_sources);
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

rt_status glm_document_from_bytes(
        const char *name, const char *bytes, int64_t n_bytes, glm_document *out) {
    loader load = begin(NULL, true, out);
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

bool glm_document_has_text(const glm_document *document, int64_t file) {
    const char *text = document->text + document->files[file].text_at;
    for (int64_t at = 0; at < document->files[file].n_bytes; at++)
        if ((uint8_t)text[at] > ' ') return true;
    return false;
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
