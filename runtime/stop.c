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

/* Where the stop string begins that ends first, n_bytes when there is none. Of two that end at the
 * same place the longer one counts. */
static int64_t find_whole(const glm_stop *stop) {
    for (int64_t end = 1; end <= stop->n_bytes; end++) {
        int64_t longest = 0;
        for (int i = 0; i < stop->n_texts; i++) {
            const int64_t length = (int64_t)strlen(stop->texts[i]);
            if (length <= end && length > longest &&
                    memcmp(stop->buffer + end - length, stop->texts[i], (size_t)length) == 0)
                longest = length;
        }
        if (longest > 0) return end - longest;
    }
    return stop->n_bytes;
}

/* Whether what stands from `place` to the end could go on to be a stop string. */
static bool is_beginning(const glm_stop *stop, int64_t place) {
    const int64_t n_left = stop->n_bytes - place;
    for (int i = 0; i < stop->n_texts; i++)
        if (strncmp(stop->texts[i], stop->buffer + place, (size_t)n_left) == 0) return true;
    return false;
}

rt_status glm_stop_feed(glm_stop *stop, const char *bytes, int64_t n_bytes, bool is_last,
        const char **out, int64_t *n_out) {
    *out = "";
    *n_out = 0;
    if (stop->is_found) return RT_OK;
    RT_TRY(append(stop, bytes, n_bytes));
    if (stop->n_bytes == 0) return RT_OK;

    stop->n_out = find_whole(stop);
    stop->is_found = stop->n_out < stop->n_bytes;
    if (!stop->is_found && !is_last)
        for (stop->n_out = 0; stop->n_out < stop->n_bytes; stop->n_out++)
            if (is_beginning(stop, stop->n_out)) break;
    *out = stop->buffer;
    *n_out = stop->n_out;
    return RT_OK;
}

void glm_stop_free(glm_stop *stop) {
    free(stop->buffer);
    *stop = (glm_stop){0};
}
