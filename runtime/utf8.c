/* The well-formed sequences (Unicode 16.0, table 3-7): the lead byte gives the length and the
 * range of the second byte; every later byte is 80..BF.
 *
 *   00..7F
 *   C2..DF 80..BF
 *   E0     A0..BF 80..BF          no overlong forms
 *   E1..EF 80..BF 80..BF          ED only 80..9F: no surrogates
 *   F0     90..BF 80..BF 80..BF   no overlong forms
 *   F1..F4 80..BF 80..BF 80..BF   F4 only 80..8F: nothing above U+10FFFF */
#include "utf8.h"

#include <inttypes.h>
#include <string.h>

#include "tokenizer.h"

static int sequence_length(uint8_t lead) {
    if (lead < 0x80) return 1;
    if (lead < 0xc2 || lead > 0xf4) return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

static bool is_second(uint8_t lead, uint8_t byte) {
    const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return byte >= low && byte <= high;
}

/* How many bytes at the front agree with the table, at most `length`. */
static int well_formed(const uint8_t *bytes, int64_t n_bytes, int length) {
    int n = 1;
    if (n < length && n < n_bytes && is_second(bytes[0], bytes[1])) n++;
    while (n >= 2 && n < length && n < n_bytes && (bytes[n] & 0xc0) == 0x80) n++;
    return n;
}

int glm_utf8_decode(const char *bytes, int64_t n_bytes, uint32_t *code_point) {
    static const uint8_t lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const uint8_t *units = (const uint8_t *)bytes;
    const int length = sequence_length(units[0]);
    if (length == 0 || well_formed(units, n_bytes, length) != length) return 0;
    uint32_t value = units[0] & lead_bits[length];
    for (int i = 1; i < length; i++) value = value << 6 | (units[i] & 0x3fu);
    *code_point = value;
    return length;
}

int glm_utf8_unfinished(const char *bytes, int64_t n_bytes) {
    const uint8_t *units = (const uint8_t *)bytes;
    const int length = sequence_length(units[0]);
    if (length == 0 || n_bytes >= length) return 0;
    return well_formed(units, n_bytes, length) == n_bytes ? (int)n_bytes : 0;
}

rt_status glm_utf8_check(const char *source, const char *text) {
    const int64_t n = text ? (int64_t)strlen(text) : 0;
    uint32_t code_point = 0;
    for (int64_t at = 0; at < n;) {
        const int n_bytes = glm_utf8_decode(text + at, n - at, &code_point);
        if (n_bytes <= 0)
            return rt_fail(RT_EUSAGE, "%s: not UTF-8 from byte %" PRId64 " on", source, at);
        at += n_bytes;
    }
    return RT_OK;
}

static int64_t copy_bytes(const char *from, int n, char *to) {
    for (int i = 0; i < n; i++) to[i] = from[i];
    return n;
}

static int64_t put_replacement(char *out) {
    return copy_bytes("\xef\xbf\xbd", 3, out);
}

/* One more byte. Broken off inside a character, what was held is one U+FFFD (the longest beginning
 * of a character, as Python's and the browsers' decoders do), and the byte starts anew. */
static int64_t feed_byte(glm_utf8_stream *stream, char byte, char *out) {
    int64_t n = 0;
    for (;;) {
        stream->held[stream->n_held++] = byte;
        uint32_t code_point;
        if (glm_utf8_decode(stream->held, stream->n_held, &code_point) > 0) {
            n += copy_bytes(stream->held, stream->n_held, out + n);
            break;
        }
        if (glm_utf8_unfinished(stream->held, stream->n_held) > 0) return n;
        n += put_replacement(out + n);
        if (stream->n_held == 1) break;
        stream->n_held = 0;
    }
    stream->n_held = 0;
    return n;
}

int64_t glm_utf8_stream_feed(
        glm_utf8_stream *stream, const char *bytes, int64_t n_bytes, bool is_last, char *out) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_bytes; i++) n += feed_byte(stream, bytes[i], out + n);
    if (is_last && stream->n_held > 0) {
        n += put_replacement(out + n);
        stream->n_held = 0;
    }
    return n;
}
