#include "document_kind.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include <string.h>

#include "base/size.h"
#include "utf8.h"

/* Where the ASCII without NUL that begins at `at` ends, or a little before: eight bytes at a time. */
static int64_t plain_end(const char *bytes, int64_t at, int64_t n) {
    for (uint64_t word; n - at >= (int64_t)sizeof word; at += (int64_t)sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        const uint64_t zeros = (word - 0x0101010101010101U) &
                               ~word; /* the high bit of a byte: it is 0, or above 0x80 */
        if ((word | zeros) & 0x8080808080808080U) break;
    }
    return at;
}

static const char binary[] = "binary";

/* NULL for text from *at to `until`, else what it is instead, and at which byte that shows. */
static const char *not_text(const char *bytes, int64_t until, int64_t n, bool is_cut, int64_t *at) {
    for (*at = plain_end(bytes, *at, until); *at < until; *at = plain_end(bytes, *at, until)) {
        uint32_t character = (uint8_t)bytes[*at];
        if (character == 0) return binary;
        const int length = character < 0x80 ? 1 : glm_utf8_decode(bytes + *at, n - *at, &character);
        if (length == 0)
            return is_cut && glm_utf8_unfinished(bytes + *at, n - *at) > 0 ? NULL : "not UTF-8";
        *at += length;
    }
    return NULL;
}

/* Pictures and archives begin with bytes that are not UTF-8, but have NULs soon, as no text in another encoding has. */
static const char *what_it_is(const char *not_text, const char *bytes, int64_t n) {
    const size_t n_begin = (size_t)rt_min64(n, GLM_KIND_BYTES);
    return not_text && memchr(bytes, 0, n_begin) ? binary : not_text;
}

rt_status glm_kind_of_text(
        const char *bytes, int64_t n_bytes, const glm_watch *watch, glm_kind *out) {
    enum { PIECE_BYTES = 16 * GLM_WATCH_BYTES };
    *out = (glm_kind){0};
    while (out->at < n_bytes && !out->not_text) {
        const int64_t until = rt_min64(out->at + PIECE_BYTES, n_bytes);
        out->not_text = not_text(bytes, until, n_bytes, false, &out->at);
        if (n_bytes > PIECE_BYTES) RT_TRY(glm_watch_at(watch, "checked", until, n_bytes));
    }
    out->not_text = what_it_is(out->not_text, bytes, n_bytes);
    if (out->not_text) out->encoding = glm_encoding_of(bytes, rt_min64(n_bytes, GLM_KIND_BYTES));
    return RT_OK;
}

glm_kind glm_kind_of(const char *name, const char *bytes, int64_t n_bytes, bool is_cut) {
    const int64_t n_begin = n_bytes < GLM_KIND_BYTES ? n_bytes : GLM_KIND_BYTES;
    glm_kind kind = {.format = glm_format_of(name, bytes, n_begin)};
    if (kind.format) return kind;
    kind.not_text = what_it_is(not_text(bytes, n_bytes, n_bytes, is_cut, &kind.at), bytes, n_bytes);
    if (kind.not_text) kind.encoding = glm_encoding_of(bytes, n_begin);
    return kind;
}

rt_status glm_kind_of_file(int fd, const char *path, glm_kind *out) {
    char bytes[GLM_KIND_BYTES];
    ssize_t n = 0;
    do n = pread(fd, bytes, sizeof bytes, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) return rt_fail_errno(RT_EIO, "document: cannot read %s", path);
    *out = glm_kind_of(path, bytes, n, true);
    return RT_OK;
}

rt_status glm_kind_refuse(const glm_kind *kind, const char *name) {
    char convert[GLM_ENCODING_TEXT] = "";
    if (kind->not_text != binary) glm_encoding_say(kind->encoding, convert);
    return rt_fail(RT_EUSAGE, "document: %s is no text: %s from byte %" PRId64 " on%s", name,
            kind->not_text, kind->at, convert);
}
