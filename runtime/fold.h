/* Text as quotations are compared: what typesetting, a PDF or a keyboard does to words is undone.
 *
 *   white space      any run of it is one space; none between Chinese or Japanese characters
 *   quotation marks  and apostrophes of all kinds are '
 *   dashes           all kinds alike; a hyphen inside a word is nothing, also with a line break, and a soft one
 *   underscores      nothing, but between two letters or digits: italics, where there is no other way to write them
 *   letters          without case; ligatures, full-width and composed forms alike (NFKC, case folded)
 *
 * Every byte that comes out is known to come from a character that went in. */
#ifndef GLM_FOLD_H
#define GLM_FOLD_H

#include "watch.h"

typedef struct glm_fold_mark glm_fold_mark;

/* Zero-initialise; glm_folded_free when done. */
typedef struct glm_folded {
    char *bytes; /* UTF-8 and a NUL; no space at either end */
    int64_t n_bytes;
    const char *text; /* borrowed: what it was made from */
    int64_t text_bytes;
    glm_fold_mark *marks; /* where the folding stood, now and then */
    int64_t n_marks;
    int64_t marks_room;
} glm_folded;

/* Bytes that are no UTF-8 are taken as they are, one for one. `watch` may be NULL.
 *
 * Errors: RT_ENOMEM; RT_EINTERRUPTED  the watch says so */
RT_MUST_CHECK rt_status glm_fold(
        const char *text, int64_t n_bytes, const glm_watch *watch, glm_folded *out);
void glm_folded_free(glm_folded *folded);

/* Where in the text the folded bytes [begin, end), end > begin, come from: whole characters. */
void glm_folded_source(const glm_folded *folded, int64_t begin, int64_t end, int64_t *source_begin,
        int64_t *source_end);

/* The first place at or behind `from` where `in` holds n bytes of folded text, not within a longer
 * word or number; -1: nowhere. */
int64_t glm_folded_find(const glm_folded *in, const char *what, int64_t n_bytes, int64_t from);

/* Whether a word or number goes on across the folded byte `at`. */
bool glm_folded_is_within_word(const glm_folded *in, int64_t at);

/* How many folded bytes come from the first `text_at` bytes of the text, whole characters. */
int64_t glm_folded_before(const glm_folded *folded, int64_t text_at);

#endif
