#include "help_safetensors.h"

#include <inttypes.h>
#include <string.h>

static void reserve(sth_file *file, int64_t n_bytes) {
    if (file->n + n_bytes <= file->capacity) return;
    file->capacity = 2 * (file->n + n_bytes) + 64;
    file->bytes = realloc(file->bytes, (size_t)file->capacity);
    CHECK(file->bytes);
}

void sth_put(sth_file *file, const void *bytes, int64_t n_bytes) {
    reserve(file, n_bytes);
    if (n_bytes > 0) memcpy(file->bytes + file->n, bytes, (size_t)n_bytes);
    file->n += n_bytes;
}

void sth_fill(sth_file *file, int byte, int64_t n_bytes) {
    reserve(file, n_bytes);
    memset(file->bytes + file->n, byte, (size_t)n_bytes);
    file->n += n_bytes;
}

void sth_set_length(sth_file *file, uint64_t length) {
    for (int i = 0; i < 8; i++) file->bytes[i] = (uint8_t)(length >> (8 * i));
}

bool sth_says(const char *code, int64_t at) {
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, ": %s at byte %" PRId64 ": ", code, at);
    return strstr(rt_error_text(), wanted) != NULL;
}
