/* What is read of the header (npy.c has its form) is descr and shape, from the text of a Python dict; order does not matter to
 * a single row. Versions 2 and 3 have a length of four bytes instead of two. Source: numpy.lib.format */
#include "npy_ids.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[] = "\x93NUMPY";

enum { MAGIC_BYTES = 6, VERSION_BYTES = 2, HEADER_MAX = 1024, SHOWN_MAX = 32 };

typedef struct array {
    const char *path;
    const uint8_t *data;
    int64_t n_data; /* bytes */
    char order;     /* '<', '>', or '|' where there is none */
    bool is_signed;
    int width; /* of an item, bytes */
    int64_t n;
} array;

bool glm_npy_is(const char *bytes, int64_t n_bytes) {
    return n_bytes >= MAGIC_BYTES && memcmp(bytes, magic, MAGIC_BYTES) == 0;
}

static rt_status not_whole(const char *path) {
    return rt_fail(RT_EUSAGE, "%s: a NumPy file that is not whole, or of no known version", path);
}

/* The dict, NUL-terminated, and the data behind it. */
static rt_status take_header(
        const char *bytes, int64_t n_bytes, char header[HEADER_MAX], array *a) {
    const uint8_t *at = (const uint8_t *)bytes + MAGIC_BYTES;
    const int n_length = n_bytes > MAGIC_BYTES && at[0] > 1 ? 4 : 2;
    const int64_t begin = MAGIC_BYTES + VERSION_BYTES + n_length;
    int64_t length = 0;
    if (n_bytes < begin || at[0] < 1 || at[0] > 3) return not_whole(a->path);
    for (int i = n_length - 1; i >= 0; i--) length = length << 8 | at[VERSION_BYTES + i];
    if (length >= HEADER_MAX || length > n_bytes - begin) return not_whole(a->path);
    memcpy(header, bytes + begin, (size_t)length);
    header[length] = '\0';
    a->data = (const uint8_t *)bytes + begin + length;
    a->n_data = n_bytes - begin - length;
    return RT_OK;
}

/* What stands behind 'name': in the dict; NULL: nothing. */
static const char *value_of(const char *header, const char *name) {
    const char *at = strstr(header, name);
    if (!at) return NULL;
    at += strlen(name);
    at += strspn(at, " ");
    return *at == ':' ? at + 1 + strspn(at + 1, " ") : NULL;
}

/* '<i8' and its like. */
static rt_status take_type(const char *header, array *a) {
    const char *text = value_of(header, "'descr'");
    const int n_shown = text ? (int)strcspn(text, ",}") : 0;
    const bool is_integer =
            text && text[0] == '\'' && text[1] != '\0' && strchr("<>|", text[1]) &&
            (text[2] == 'i' || text[2] == 'u') &&
            (text[3] == '1' || text[3] == '2' || text[3] == '4' || text[3] == '8') &&
            text[4] == '\'';
    if (!is_integer)
        return rt_fail(RT_EUSAGE, "%s: its items are %.*s, not integers: ids.astype('int32')",
                a->path, n_shown > SHOWN_MAX ? SHOWN_MAX : n_shown, n_shown > 0 ? text : "");
    a->order = text[1];
    a->is_signed = text[2] == 'i';
    a->width = text[3] - '0';
    return RT_OK;
}

/* A number and what is behind it and blanks; NULL: there is none. */
static const char *take_size(const char *text, int64_t *size) {
    enum { DIGITS_MAX = 18 };
    const size_t n = strspn(text, "0123456789");
    if (n == 0 || n > DIGITS_MAX) return NULL;
    *size = strtoll(text, NULL, 10);
    return text + n + strspn(text + n, " ");
}

/* (n,) or (1, n); -1: another one. */
static int64_t length_of(const char *shape) {
    int64_t n = 0;
    const char *at = *shape == '(' ? take_size(shape + 1, &n) : NULL;
    if (!at || *at++ != ',') return -1;
    at += strspn(at, " ");
    if (*at == ')') return n;
    at = n == 1 ? take_size(at, &n) : NULL;
    return at && *at == ')' ? n : -1;
}

static rt_status take_shape(const char *header, array *a) {
    const char *text = value_of(header, "'shape'");
    a->n = text ? length_of(text) : -1;
    if (a->n < 0)
        return rt_fail(RT_EUSAGE,
                "%s: its shape is %.*s, not that of one row of ids, (n,) or (1, n)", a->path,
                text ? (int)strcspn(text, ")") + 1 : 0, text ? text : "");
    return a->n <= a->n_data / a->width ? RT_OK : not_whole(a->path);
}

static uint64_t item(const array *a, int64_t i) {
    const uint8_t *bytes = a->data + i * a->width;
    uint64_t value = 0;
    for (int k = 0; k < a->width; k++)
        value = value << 8 | bytes[a->order == '>' ? k : a->width - 1 - k];
    const int n_free = 64 - 8 * a->width;
    return a->is_signed ? (uint64_t)((int64_t)(value << n_free) >> n_free) : value;
}

static rt_status bad_item(const array *a, int64_t i, int64_t vocab) {
    const uint64_t value = item(a, i);
    char shown[24];
    (void)(a->is_signed ? snprintf(shown, sizeof shown, "%" PRId64, (int64_t)value)
                        : snprintf(shown, sizeof shown, "%" PRIu64, value));
    return rt_fail(RT_EUSAGE, "%s: [%" PRId64 "], %s, is not a token id from 0 to %" PRId64,
            a->path, i, shown, vocab - 1);
}

rt_status glm_npy_read_ids(
        const char *path, const char *bytes, int64_t n_bytes, int64_t vocab, glm_ids *out) {
    char header[HEADER_MAX];
    array a = {.path = path};
    RT_TRY(take_header(bytes, n_bytes, header, &a));
    RT_TRY(take_type(header, &a));
    RT_TRY(take_shape(header, &a));
    for (int64_t i = 0; i < a.n; i++) {
        const uint64_t value = item(&a, i);
        if (value >= (uint64_t)vocab) return bad_item(&a, i, vocab); /* what is negative, too */
        RT_TRY(glm_ids_push(out, (int32_t)value));
    }
    return RT_OK;
}
