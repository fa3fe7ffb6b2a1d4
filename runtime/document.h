/* Sources -> one text, and from a place in that text back to file, page and line: for citations.
 *
 * A source is a file, a directory, or "-" for standard input. Text is UTF-8 without NUL; it goes
 * into the document as it is, byte-order marks left out; where lines end in CR alone, they end in LF there. PDFs and Office files become text first
 * (convert.h). When there is more than one file, each stands behind a heading of its own:
 *
 *   ==> src/main.c <==
 *
 * The text depends on what the sources hold and are called below the directory given, not on where
 * the program runs: so a book prefilled once is found again. Its order is that of the names: what
 * changes in a file changes the text from there on only. */
#ifndef GLM_DOCUMENT_H
#define GLM_DOCUMENT_H

#include <stdatomic.h>

#include "watch.h"

typedef struct glm_document_file {
    /* A source that is a file: as it was given. In a directory: its path below the directory, which
     * itself stands in front when there are several sources. "./" in front is left out; what is no
     * character, or none that can be shown, is a '?'. */
    char *path;
    int64_t heading_at; /* where its heading begins in the text, behind what ends the file before */
    int64_t text_at;    /* where its own bytes begin */
    int64_t n_bytes;    /* how many of them */
    int64_t mark_bytes; /* bytes of the file in front of them: a byte-order mark */
    bool is_paged;      /* a form feed ends each page */
    int64_t n_pages;    /* 0 where it is not paged */
    int64_t n_blank;    /* pages without text: scanned ones, perhaps */
    bool is_converted;  /* the text is what was made of the file, by a program or of a notebook */
    uint64_t device;    /* which file it is, by fstat; both 0 where it is none */
    uint64_t inode;
} glm_document_file;

/* Found in a directory, and left out. */
typedef struct glm_document_skipped {
    char *path;
    char *why; /* "binary", "not UTF-8", "a symbolic link", "not a regular file", "Permission denied", what
                * kept a PDF from being read */
} glm_document_skipped;

typedef struct glm_document {
    char *text; /* n_bytes and a NUL */
    int64_t n_bytes;
    int64_t n_files; /* at least one */
    glm_document_file *files;
    int64_t n_skipped;
    glm_document_skipped *skipped;
    int64_t n_ignored; /* files, and whole directories, that a .gitignore names */
} glm_document;

/* Where to stop; zero means the default. */
typedef struct glm_document_limits {
    int64_t n_bytes;         /* of all files together; 1 GiB */
    int64_t n_files;         /* skipped ones, too; 100,000 */
    double convert_s;        /* for each PDF or Office file; 120 s */
    int64_t convert_bytes;   /* memory of the program that reads it; 4 GiB */
    const glm_watch *watch;  /* of a text that is read; NULL: nobody watches */
    const atomic_bool *stop; /* once it is set, such a program is killed: RT_EINTERRUPTED */
} glm_document_limits;

/* Read the sources, in the order given. Directories are walked in the order of names, without hidden
 * ones (file_walk.h) and what a .gitignore names; what cannot be read there, or is not text, is
 * listed in out->skipped. A source that is no text itself is an error: it was asked for. `limits`
 * may be NULL.
 *
 * Errors: RT_EIO     something cannot be read
 *         RT_EUSAGE  a source is no text; no text at all; more than a limit; "-" twice
 *         RT_EUNSUPPORTED  the program that reads a source is not there
 *         RT_EINTERRUPTED  a signal came while one ran, or the watch says so */
RT_MUST_CHECK rt_status glm_document_load(const char *const *sources, int n_sources,
        const glm_document_limits *limits, glm_document *out);

/* The same, without limits, of one file that is in memory; `name` is what it is called, and is never opened. */
RT_MUST_CHECK rt_status glm_document_from_bytes(
        const char *name, const char *bytes, int64_t n_bytes, glm_document *out);

/* The same of an open file that is read from its beginning, whatever its name is. */
RT_MUST_CHECK rt_status glm_document_from_file(
        const char *name, int fd, const glm_document_limits *limits, glm_document *out);

/* The files of several documents, in that order, as one: what glm_document_load makes of such sources. The parts
 * stay. `limits` may be NULL. RT_EUSAGE: more than a limit; RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_document_join(const glm_document *const *parts, int n_parts,
        const glm_document_limits *limits, glm_document *out);
void glm_document_free(glm_document *document);

/* Whether a file holds anything but white space. */
bool glm_document_has_text(const glm_document *document, int64_t file);

typedef struct glm_document_place {
    const glm_document_file *file;
    int64_t offset; /* byte of the file's text, from 0 */
    int64_t line;   /* from 1; of the page, where there are pages */
    int64_t page;   /* from 1; 0: the file has none */
} glm_document_place;

/* Where byte `at` of the text comes from, 0 <= at <= n_bytes. In a heading: where its file begins;
 * between two files: where the first one ends. Takes time in proportion to the file in front of it. */
glm_document_place glm_document_find(const glm_document *document, int64_t at);

/* Its file alone, in no time: the last one whose heading begins at or before `at`. */
const glm_document_file *glm_document_file_at(const glm_document *document, int64_t at);

#endif
