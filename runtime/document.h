/* Sources -> one text, and from a place in that text back to file, byte and line: for citations.
 *
 * A source is a file, a directory, or "-" for standard input. Text is UTF-8 without NUL; it goes
 * into the document as it is, byte-order marks left out. When there is more than one file, each
 * stands behind a heading of its own:
 *
 *   ==> src/main.c <==
 *
 * The text depends on what the sources hold and are called below the directory given, not on where
 * the program runs: so a book prefilled once is found again. */
#ifndef GLM_DOCUMENT_H
#define GLM_DOCUMENT_H

#include "base/status.h"

typedef struct glm_document_file {
    /* A source that is a file: as it was given. In a directory: its path below the directory, which
     * itself stands in front when there are several sources. "./" in front is left out. */
    char *path;
    int64_t heading_at; /* where its heading begins in the text, behind what ends the file before */
    int64_t text_at;    /* where its own bytes begin */
    int64_t n_bytes;    /* how many of them */
    int64_t mark_bytes; /* bytes of the file in front of them: a byte-order mark */
    bool is_paged;      /* a form feed ends each page */
} glm_document_file;

/* Found in a directory, but not text. */
typedef struct glm_document_skipped {
    char *path;
    const char *why; /* "binary", "not UTF-8", "a symbolic link", "not a regular file" */
} glm_document_skipped;

typedef struct glm_document {
    char *text; /* n_bytes and a NUL */
    int64_t n_bytes;
    int64_t n_files; /* at least one */
    glm_document_file *files;
    int64_t n_skipped;
    glm_document_skipped *skipped;
} glm_document;

/* Where to stop; zero means the default. */
typedef struct glm_document_limits {
    int64_t n_bytes; /* of all files together; 1 GiB */
    int64_t n_files; /* skipped ones, too; 100,000 */
} glm_document_limits;

/* Read the sources, in the order given. Directories are walked in the order of names, hidden names
 * left out (file_walk.h); what is not text there is listed in out->skipped. A source that is no
 * text itself is an error: it was asked for. `limits` may be NULL.
 *
 * Errors: RT_EIO     something cannot be read
 *         RT_EUSAGE  a source is no text; no text at all; more than a limit; "-" twice */
RT_MUST_CHECK rt_status glm_document_load(const char *const *sources, int n_sources,
        const glm_document_limits *limits, glm_document *out);
void glm_document_free(glm_document *document);

typedef struct glm_document_place {
    const glm_document_file *file;
    int64_t offset; /* byte of the file, from 0 */
    int64_t line;   /* from 1; of the page, where there are pages */
    int64_t page;   /* from 1; 0: the file has none */
} glm_document_place;

/* Where byte `at` of the text comes from, 0 <= at <= n_bytes. In a heading: where its file begins;
 * between two files: where the first one ends. Takes time in proportion to the file in front of it. */
glm_document_place glm_document_find(const glm_document *document, int64_t at);

#endif
