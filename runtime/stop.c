#include "stop.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"

static rt_status append(glm_stop *stop, const char *bytes, int64_t n_bytes) {
    const int64_t n_held = stop->n_bytes - stop->n_out;
    if (n_held + n_bytes > stop->capacity) {
        const int64_t capacity = rt_max64(n_held + n_bytes, 2 * stop->capacity);
        char *larger = realloc(stop->buffer, (size_t)capacity);
        if (!larger) return rt_fail(RT_ENOMEM, "complete: no memory for the answer's text");
        stop->buffer = larger;
        stop->capacity = capacity;
    }
    if (n_held > 0) memmove(stop->buffer, stop->buffer + stop->n_out, (size_t)n_held);
    if (n_bytes > 0) memcpy(stop->buffer + n_held, bytes, (size_t)n_bytes);
    stop->n_out = 0;
    stop->n_bytes = n_held + n_bytes;
    return RT_OK;
}

/* Whether a stop string stands at `place`; or, with is_partial, begins there and may go on. */
static bool matches_at(const glm_stop *stop, int64_t place, bool is_partial) {
    const int64_t n_left = stop->n_bytes - place;
    for (int i = 0; i < stop->n_texts; i++) {
        const int64_t length = (int64_t)strlen(stop->texts[i]);
        if (is_partial != (n_left < length)) continue;
        const int64_t n = rt_min64(n_left, length);
        if (memcmp(stop->buffer + place, stop->texts[i], (size_t)n) == 0) return true;
    }
    return false;
}

/* The first place that matches, n_bytes when there is none. */
static int64_t first_match(const glm_stop *stop, bool is_partial) {
    int64_t place = 0;
    while (place < stop->n_bytes && !matches_at(stop, place, is_partial)) place++;
    return place;
}

rt_status glm_stop_feed(glm_stop *stop, const char *bytes, int64_t n_bytes, bool is_last,
        const char **out, int64_t *n_out) {
    *out = "";
    *n_out = 0;
    if (stop->is_found) return RT_OK;
    RT_TRY(append(stop, bytes, n_bytes));
    if (stop->n_bytes == 0) return RT_OK;

    /* A whole one anywhere ends the text, even inside the beginning of a longer one. */
    stop->n_out = first_match(stop, false);
    stop->is_found = stop->n_out < stop->n_bytes;
    if (!stop->is_found && !is_last) stop->n_out = first_match(stop, true);
    *out = stop->buffer;
    *n_out = stop->n_out;
    return RT_OK;
}

void glm_stop_free(glm_stop *stop) {
    free(stop->buffer);
    *stop = (glm_stop){0};
}
