/* Made-up English prose in any amount, for haystacks. */
#ifndef GLM_PROSE_H
#define GLM_PROSE_H

#include "base/status.h"

/* bytes_min bytes of prose or a little more, NUL-terminated; *text is for free(). The same seed
 * gives the same text, and a longer text of that seed begins with the shorter one.
 *
 * ASCII letters, spaces, commas, apostrophes, full stops and newlines. A sentence ends in ". " or
 * ".\n" and has fewer than 448 bytes; a paragraph is one line of three to seven of them. No line
 * begins with T, O, W, "A " or "Some ", as needles and questions do.
 *
 * Errors: RT_ENOMEM */
RT_MUST_CHECK rt_status glm_prose_make(
        uint64_t seed, int64_t bytes_min, char **text, int64_t *n_bytes);

#endif
