#include "memstream.h"

#include <stdlib.h>
#include <string.h>

typedef struct memstream {
    char **text;
    size_t *n_bytes;
    size_t room; /* of *text, the NUL included */
    bool lacks_memory;
} memstream;

static ssize_t add(void *cookie, const char *bytes, size_t n) {
    memstream *m = cookie;
    const size_t needed = *m->n_bytes + n + 1;
    if (needed > m->room) {
        char *larger = m->lacks_memory ? NULL : realloc(*m->text, 2 * needed);
        m->lacks_memory = !larger;
        if (!larger) return 0; /* an error of the stream */
        *m->text = larger;
        m->room = 2 * needed;
    }
    memcpy(*m->text + *m->n_bytes, bytes, n);
    *m->n_bytes += n;
    (*m->text)[*m->n_bytes] = '\0';
    return (ssize_t)n;
}

static int end(void *cookie) {
    memstream *m = cookie;
    const int result = m->lacks_memory ? -1 : 0;
    if (m->lacks_memory) {
        free(*m->text);
        *m->text = NULL;
    }
    free(m);
    return result;
}

FILE *rt_memstream_open(char **text, size_t *n_bytes) {
    memstream *m = calloc(1, sizeof *m);
    *text = calloc(1, 1);
    *n_bytes = 0;
    if (m) *m = (memstream){.text = text, .n_bytes = n_bytes, .room = 1};
    FILE *stream =
            m && *text ? fopencookie(m, "w", (cookie_io_functions_t){.write = add, .close = end})
                       : NULL;
    if (stream) return stream;
    free(m);
    free(*text);
    *text = NULL;
    return NULL;
}

bool rt_memstream_close(FILE *stream, char **text) {
    if (!stream) *text = NULL;
    return stream && fclose(stream) == 0;
}
