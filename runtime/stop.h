/* Stop strings in a stream of text: nothing at or behind one is ever let out, and text is held
 * back only while it could still become one. */
#ifndef GLM_STOP_H
#define GLM_STOP_H

#include "base/status.h"

typedef struct glm_stop {
    /* Set by the caller, borrowed: n_texts stop strings, none of them empty. */
    const char *const *texts;
    int n_texts;

    bool is_found; /* a stop string was seen: nothing more comes out */

    char *buffer; /* [0, n_out) was let out by the last feed, [n_out, n_bytes) is held back */
    int64_t n_out;
    int64_t n_bytes;
    int64_t capacity;
} glm_stop;

/* Feed n_bytes more.
 *
 *   is_last  nothing follows: what was held back comes out
 *   out      what may be shown now, *n_out bytes; borrowed until the next feed
 *
 * RT_ENOMEM */
RT_MUST_CHECK rt_status glm_stop_feed(glm_stop *stop, const char *bytes, int64_t n_bytes,
        bool is_last, const char **out, int64_t *n_out);
void glm_stop_free(glm_stop *stop);

#endif
