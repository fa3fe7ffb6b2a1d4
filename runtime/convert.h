/* Files that hold a text but are none: PDFs, Office files and books, through the programs that read them. */
#ifndef GLM_CONVERT_H
#define GLM_CONVERT_H

#include "base/child.h"

typedef struct glm_format glm_format;
struct glm_format {
    const char *name;        /* "a PDF" */
    const char *const *argv; /* the program and how it is called; NULL: no program reads it */
    const char *package;     /* the Debian package that has it; without one, what to do instead */
    bool is_paged;           /* a form feed ends each page */

    const glm_format *second; /* where that program is not there: another one; NULL: none */
    const char *loses;        /* what this one leaves out, which is said each time; NULL: nothing */
};

/* The format of a file by its first bytes (64 KiB are enough) and its name: NULL where it is none of
 * these. */
const glm_format *glm_format_of(const char *name, const char *bytes, int64_t n_bytes);

/* Its text: UTF-8 without NUL, for free().
 *
 *   fd      the file, open for reading
 *   name    for messages
 *
 * Where only a program is there that leaves something out, a warning says what.
 *
 * Errors: RT_EUNSUPPORTED  the program is not there: the message names the package
 *         RT_EUSAGE  no text in it, or more than the limit; otherwise as rt_child_run */
RT_MUST_CHECK rt_status glm_convert(const glm_format *format, int fd, const char *name,
        const rt_child_limits *limits, char **text, int64_t *n_bytes);

#endif
