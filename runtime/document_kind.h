/* What a file is: text, something that a program makes text of, or neither. */
#ifndef GLM_DOCUMENT_KIND_H
#define GLM_DOCUMENT_KIND_H

#include "convert.h"
#include "encodings.h"
#include "watch.h"

enum { GLM_KIND_BYTES = 64 * 1024 }; /* are enough to tell */

typedef struct glm_kind {
    const glm_format *format;     /* NULL: none of those */
    const char *not_text;         /* "binary" or "not UTF-8"; NULL: text, or a format */
    int64_t at;                   /* the byte that tells */
    const glm_encoding *encoding; /* of what is not text: in which it may be one, by its bytes */
} glm_kind;

/* Of n_bytes, which with `is_cut` may end in the middle of a character. */
glm_kind glm_kind_of(const char *name, const char *bytes, int64_t n_bytes, bool is_cut);

/* Of n_bytes that are no format. `watch` may be NULL. RT_EINTERRUPTED: it says so. */
RT_MUST_CHECK rt_status glm_kind_of_text(
        const char *bytes, int64_t n_bytes, const glm_watch *watch, glm_kind *out);

/* Of an open file, by its beginning. RT_EIO. */
RT_MUST_CHECK rt_status glm_kind_of_file(int fd, const char *path, glm_kind *out);

/* RT_EUSAGE: it is no text, and what can be done. */
RT_MUST_CHECK rt_status glm_kind_refuse(const glm_kind *kind, const char *name);

#endif
