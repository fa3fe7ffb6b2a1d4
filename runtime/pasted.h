/* Texts that a terminal pastes. One too long for the line that is typed has a place in it instead, "[paste 1: 200 lines]", which
 * stands for the text until the program ends: a history may bring the place back. */
#ifndef GLM_PASTED_H
#define GLM_PASTED_H

#include <stdint.h>

#include "base/status.h"

typedef struct glm_paste {
    char place[64]; /* ASCII */
    char *text;
    int64_t n_bytes;
} glm_paste;

/* Zeros: none. */
typedef struct glm_pastes {
    glm_paste *pastes;
    int64_t n;
    int64_t room;
} glm_pastes;

/* What a terminal sent, as text: its lines end in newlines (terminals send carriage returns), NULs and what is no UTF-8 are
 * U+FFFD. A single line goes without its end, as one that was copied whole. Other control characters stay.
 *
 *   text  NUL-terminated, for free(); *text_bytes excludes the NUL
 *
 * RT_ENOMEM */
RT_MUST_CHECK rt_status glm_pasted_text(
        const char *sent, int64_t n_bytes, char **text, int64_t *text_bytes);

/* One more, whose place is pastes->pastes[pastes->n - 1].place then. The text is copied. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_pastes_keep(glm_pastes *pastes, const char *text, int64_t n_bytes);

/* A line, with the texts where their places are; what looks like a place in such a text is text. NUL-terminated, for free().
 *
 * RT_ENOMEM */
RT_MUST_CHECK rt_status glm_pastes_fill(const glm_pastes *pastes, const char *line, int64_t n_bytes,
        char **whole, int64_t *whole_bytes);

/* Be empty again. */
void glm_pastes_free(glm_pastes *pastes);

#endif
