#include "convert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/size.h"
#include "tokenizer.h"

enum { PDF_MARK_WITHIN = 1024, ZIP_NAME_AT = 30, TEXT_BYTES = 512 };

static const char *const pdf_argv[] = {"pdftotext", "-enc", "UTF-8", RT_CHILD_FILE, "-", NULL};
static const char *const odt_argv[] = {
        "odt2txt", "--encoding=UTF-8", "--width=-1", RT_CHILD_FILE, NULL};

/* (To plain text pandoc opens nothing that a book or document names, neither files nor connections.) */
static const char *const epub_argv[] = {
        "pandoc", "-f", "epub", "-t", "plain", "--wrap=none", RT_CHILD_FILE, NULL};
static const char *const docx_argv[] = {
        "pandoc", "-f", "docx", "-t", "plain", "--wrap=none", RT_CHILD_FILE, NULL};
static const char *const poor_docx_argv[] = {"docx2txt", RT_CHILD_FILE, "-", NULL};
static const char *const rtf_argv[] = {
        "pandoc", "-f", "rtf", "-t", "plain", "--wrap=none", RT_CHILD_FILE, NULL};
static const char *const utf16_argv[] = {
        "iconv", "-f", "UTF-16", "-t", "UTF-8", RT_CHILD_FILE, NULL};

static const glm_format pdf = {"a PDF", pdf_argv, "poppler-utils", true, NULL, NULL};
static const glm_format poor_docx = {"a Word document", poor_docx_argv, "docx2txt", false, NULL,
        "its footnotes, and runs a table's cells together"};
static const glm_format docx = {"a Word document", docx_argv, "pandoc", false, &poor_docx, NULL};
static const glm_format odt = {"an OpenDocument file", odt_argv, "odt2txt", false, NULL, NULL};
static const glm_format epub = {"an EPUB book", epub_argv, "pandoc", false, NULL, NULL};
static const glm_format rtf = {"an RTF file", rtf_argv, "pandoc", false, NULL, NULL};
static const glm_format utf16 = {"a text in UTF-16", utf16_argv, "libc-bin", false, NULL, NULL};
static const glm_format other_office = {
        "an Office file", NULL, "save it as PDF, .docx or .odt first", false, NULL, NULL};
static const glm_format zip = {
        "a zip archive", NULL, "unpack it, and name the directory", false, NULL, NULL};
static const glm_format packed = {"a compressed file", NULL, "unpack it first", false, NULL, NULL};

static bool begins_with(const char *bytes, int64_t n_bytes, const char *with, int64_t n) {
    return n_bytes >= n && memcmp(bytes, with, (size_t)n) == 0;
}

static bool holds(const char *bytes, int64_t n_bytes, const char *word) {
    return memmem(bytes, (size_t)n_bytes, word, strlen(word)) != NULL;
}

static bool ends_with(const char *name, const char *end) {
    const size_t n = strlen(name);
    return n >= strlen(end) && strcasecmp(name + n - strlen(end), end) == 0;
}

static bool has_first_entry(const char *bytes, int64_t n_bytes, const char *entry) {
    return n_bytes > ZIP_NAME_AT &&
           begins_with(bytes + ZIP_NAME_AT, n_bytes - ZIP_NAME_AT, entry, (int64_t)strlen(entry));
}

/* A zip file's first entry says what an OpenDocument file or a book is; Word's lie behind others. */
static const glm_format *zip_format(const char *name, const char *bytes, int64_t n_bytes) {
    if (has_first_entry(bytes, n_bytes, "mimetypeapplication/vnd.oasis.opendocument.")) return &odt;
    if (has_first_entry(bytes, n_bytes, "mimetypeapplication/epub+zip")) return &epub;
    if (ends_with(name, ".docx") || holds(bytes, n_bytes, "word/document.xml")) return &docx;
    if (ends_with(name, ".odt")) return &odt;
    if (ends_with(name, ".epub")) return &epub;
    return holds(bytes, n_bytes, "[Content_Types].xml") ? &other_office : &zip;
}

/* By its mark, of either byte order; that of UTF-32 begins alike, and so may anything. */
static bool is_utf16(const char *bytes, int64_t n_bytes) {
    if (!begins_with(bytes, n_bytes, "\xff\xfe", 2) && !begins_with(bytes, n_bytes, "\xfe\xff", 2))
        return false;
    for (int64_t i = 2; i + 1 < n_bytes; i += 2)
        if (bytes[i] == '\0' && bytes[i + 1] == '\0') return false;
    return true;
}

static bool is_packed(const char *bytes, int64_t n_bytes) {
    return begins_with(bytes, n_bytes, "\x1f\x8b", 2) || begins_with(bytes, n_bytes, "BZh", 3) ||
           begins_with(bytes, n_bytes,
                   "\xfd"
                   "7zXZ",
                   6) ||
           begins_with(bytes, n_bytes, "\x28\xb5\x2f\xfd", 4) ||
           begins_with(bytes, n_bytes, "7z\xbc\xaf\x27\x1c", 6);
}

const glm_format *glm_format_of(const char *name, const char *bytes, int64_t n_bytes) {
    if (holds(bytes, rt_min64(n_bytes, PDF_MARK_WITHIN), "%PDF-")) return &pdf;
    if (begins_with(bytes, n_bytes, "PK\3\4", 4)) return zip_format(name, bytes, n_bytes);
    if (begins_with(bytes, n_bytes, "{\\rtf", 5)) return &rtf;
    if (is_utf16(bytes, n_bytes)) return &utf16;
    if (is_packed(bytes, n_bytes)) return &packed;
    return begins_with(bytes, n_bytes, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8) ? &other_office
                                                                              : NULL;
}

/* NULs become spaces, what is no UTF-8 U+FFFD. */
static rt_status clean(char **text, int64_t *n_bytes) {
    glm_utf8_stream stream = {.n_held = 0};
    char *whole = malloc(3 * ((size_t)*n_bytes + 3) + 1);
    if (!whole) return rt_fail(RT_ENOMEM, "convert: no memory for a text");
    for (int64_t i = 0; i < *n_bytes; i++)
        if ((*text)[i] == '\0') (*text)[i] = ' ';
    *n_bytes = glm_utf8_stream_feed(&stream, *text, *n_bytes, true, whole);
    whole[*n_bytes] = '\0';
    free(*text);
    *text = whole;
    return RT_OK;
}

static bool is_blank(const char *text, int64_t n_bytes) {
    for (int64_t i = 0; i < n_bytes; i++)
        if ((uint8_t)text[i] > ' ') return false;
    return true;
}

static int64_t count_pages(const char *text, int64_t n_bytes) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_bytes; i++) n += text[i] == '\f';
    return n;
}

static rt_status no_text(
        const glm_format *format, const char *name, const char *text, int64_t n_bytes) {
    if (!format->is_paged) return rt_fail(RT_EUSAGE, "document: %s holds no text", name);
    return rt_fail(RT_EUSAGE,
            "document: %s holds no text in any of its %" PRId64
            " pages: pictures of pages, perhaps, which ocrmypdf or the like makes text of",
            name, count_pages(text, n_bytes));
}

/* What went wrong, and with which file. */
static rt_status explain(const glm_format *format, const char *name, rt_status status) {
    char why[TEXT_BYTES];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    if (status == RT_EUNSUPPORTED)
        return rt_fail(status,
                "document: %s is %s, and there is no %s to read it: apt-get install %s", name,
                format->name, format->argv[0], format->package);
    if (status == RT_EIO && strstr(why, "Incorrect password"))
        return rt_fail(status,
                "document: %s is encrypted, and needs a password to be read: save it without one "
                "first (qpdf --decrypt)",
                name);
    return rt_fail(status, "document: %s: %s", name, why);
}

static rt_status run(const glm_format *format, int fd, const char *name,
        const rt_child_limits *limits, char **text, int64_t *n_bytes) {
    rt_status status = rt_child_run(format->argv, fd, limits, text, n_bytes);
    if (status != RT_EUNSUPPORTED || !format->second) return status;
    const glm_format *second = format->second;
    status = rt_child_run(second->argv, fd, limits, text, n_bytes);
    if (status == RT_OK && second->loses)
        rt_log(RT_LOG_WARN, "convert",
                "%s is read by %s, which leaves out %s; %s, which does not, is not there: apt-get "
                "install %s",
                name, second->argv[0], second->loses, format->argv[0], format->package);
    return status;
}

rt_status glm_convert(const glm_format *format, int fd, const char *name,
        const rt_child_limits *limits, char **text, int64_t *n_bytes) {
    *text = NULL;
    if (!format->argv)
        return rt_fail(RT_EUSAGE, "document: %s is %s that nothing here reads: %s", name,
                format->name, format->package);
    rt_status status = run(format, fd, name, limits, text, n_bytes);
    if (status != RT_OK) return explain(format, name, status);
    status = clean(text, n_bytes);
    if (status == RT_OK && is_blank(*text, *n_bytes))
        status = no_text(format, name, *text, *n_bytes);
    if (status == RT_OK) return RT_OK;
    free(*text);
    *text = NULL;
    return status;
}
