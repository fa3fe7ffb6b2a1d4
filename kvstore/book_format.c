/* A manifest, lines in this order, each ended by one new line:
 *
 *   glm1m book 1
 *   name=NAME
 *   fingerprint=<64 hex>
 *   tokens=<decimal>
 *   created=<seconds since 1970>
 *   segments=<decimal>
 *   segment=<64 hex>          that many, in order, no two alike
 *   note=<any line>           any number
 *   checksum=<16 hex>         XXH3-64 of all bytes before this line
 *
 * A note "shard=2-3of4 ..." says that KV heads 2 and 3 of 4 are in files of their own (vault.h); where
 * they are is told to people by the rest of it. Notes "shard=" name every head, or there are none.
 * New lines fill it to the end of a block of 4096. A manifest pins and names; segments describe
 * themselves. */
#include "book_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/memory.h"
#include "runtime/base/memstream.h"
#include "runtime/base/size.h"
#include "segment_format.h"

/* A test builds this file with a check gone, to see that the fuzz target notices. */
#ifndef KV_MUTANT_BOOK
#define KV_MUTANT_BOOK 0
#endif

enum { SEGMENT_LINE_BYTES = 8 + 64 + 1, CHECKSUM_LINE_BYTES = 9 + 16 + 1 };

static const char first_line[] = "glm1m book 1";

/* ---- names, notes ---------------------------------------------------------------------------- */

static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

rt_status kv_book_check_name(const char *name) {
    const size_t n = strlen(name);
    if (n < 1 || n > KV_BOOK_NAME_MAX)
        return rt_fail(RT_EUSAGE, "kvstore: a book's name has 1 to %d bytes, not %zu",
                KV_BOOK_NAME_MAX, n);
    if (name[0] == '.' || name[0] == '-')
        return rt_fail(RT_EUSAGE, "kvstore: a book's name does not start with '%c'", name[0]);
    for (size_t i = 0; i < n; i++)
        if (!is_name_byte(name[i]))
            return rt_fail(RT_EUSAGE,
                    "kvstore: a book's name is made of A-Z a-z 0-9 . _ -; byte %zu is 0x%02x",
                    i + 1, (unsigned)(unsigned char)name[i]);
    return RT_OK;
}

static rt_status check_note(const char *note) {
    if (strlen(note) > KV_BOOK_NOTE_MAX)
        return rt_fail(RT_EUSAGE, "kvstore: a book's note has %zu bytes, more than %d",
                strlen(note), KV_BOOK_NOTE_MAX);
    for (const char *c = note; *c; c++)
        if ((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t')
            return rt_fail(RT_EUSAGE, "kvstore: a book's note has the control character 0x%02x",
                    (unsigned)(unsigned char)*c);
    return RT_OK;
}

void kv_book_free(kv_book *book) {
    free(book->fingerprint_text);
    free(book->note);
    free(book->chains);
    *book = (kv_book){0};
}

/* ---- write ----------------------------------------------------------------------------------- */

static void write_lines(FILE *to, const kv_book *book) {
    char hex[KV_HEX_BYTES];
    kv_hash hash;
    memcpy(hash.bytes, book->fingerprint, sizeof hash.bytes);
    (void)fprintf(to,
            "%s\nname=%s\nfingerprint=%s\ntokens=%" PRId64 "\ncreated=%" PRId64
            "\nsegments=%" PRId32 "\n",
            first_line, book->name, kv_hash_hex(&hash, hex), book->n_tokens, book->created_s,
            book->n_segments);
    for (int32_t i = 0; i < book->n_segments; i++) {
        memcpy(hash.bytes, book->chains[i], sizeof hash.bytes);
        (void)fprintf(to, "segment=%s\n", kv_hash_hex(&hash, hex));
    }
    for (const char *line = book->note ? book->note : ""; *line; line += *line == '\n') {
        const size_t n = strcspn(line, "\n");
        if (n > 0) (void)fprintf(to, "note=%.*s\n", (int)n, line);
        line += n;
    }
}

rt_status kv_book_format(const kv_book *book, char **text, int64_t *n_bytes) {
    RT_TRY(kv_book_check_name(book->name));
    if (book->note) RT_TRY(check_note(book->note));
    size_t size = 0;
    *text = NULL;
    FILE *to = rt_memstream_open(text, &size);
    bool is_good = to != NULL;
    if (to) {
        write_lines(to, book);
        is_good = fflush(to) == 0 &&
                  fprintf(to, "checksum=%016" PRIx64 "\n", (uint64_t)XXH3_64bits(*text, size)) > 0;
    }
    is_good = rt_memstream_close(to, text) && is_good;
    *n_bytes = (int64_t)size;
    if (is_good) return RT_OK;
    free(*text);
    *text = NULL;
    return rt_fail(RT_ENOMEM, "kvstore: no memory for the manifest of book %s", book->name);
}

/* ---- read ------------------------------------------------------------------------------------ */

typedef struct reader {
    const char *at, *end;
    int64_t line;
} reader;

static rt_status corrupt(const reader *r, const char *what) {
    return rt_fail(RT_ECORRUPT, "kvstore: a book's manifest, line %" PRId64 ": %s", r->line, what);
}

/* The rest of the line after `key`; false, and nothing read, where the line does not start so. */
static bool take(reader *r, const char *key, const char **value, int64_t *n) {
    const int64_t n_key = (int64_t)strlen(key);
    const char *end = memchr(r->at, '\n', (size_t)(r->end - r->at));
    if (!end || end - r->at < n_key || memcmp(r->at, key, (size_t)n_key) != 0) return false;
    *value = r->at + n_key;
    *n = end - *value;
    r->at = end + 1;
    r->line++;
    return true;
}

static bool take_number(reader *r, const char *key, int64_t *out) {
    const char *value;
    int64_t n;
    if (!take(r, key, &value, &n) || n < 1 || n > 18 || (n > 1 && *value == '0')) return false;
    *out = 0;
    for (int64_t i = 0; i < n; i++) {
        if (value[i] < '0' || value[i] > '9') return false;
        *out = *out * 10 + (value[i] - '0');
    }
    return true;
}

static bool take_hash(reader *r, const char *key, uint8_t out[32]) {
    const char *value;
    int64_t n;
    kv_hash hash;
    if (!take(r, key, &value, &n) || n != KV_HEX_BYTES - 1 || !kv_hash_parse(value, &hash))
        return false;
    memcpy(out, hash.bytes, sizeof hash.bytes);
    return true;
}

/* The checksum line is the last one but for new lines. */
static rt_status check_checksum(const char *text, int64_t n_bytes, reader *r) {
    while (n_bytes > 0 && text[n_bytes - 1] == '\n') n_bytes--;
    const int64_t n_covered = n_bytes + 1 - CHECKSUM_LINE_BYTES;
    char line[CHECKSUM_LINE_BYTES + 1];
    r->end = text + rt_max64(n_covered, 0);
    if (n_covered < 1) return corrupt(r, "there is no checksum");
    (void)snprintf(line, sizeof line, "checksum=%016" PRIx64 "\n",
            (uint64_t)XXH3_64bits(text, (size_t)n_covered));
    if (memcmp(line, text + n_covered, CHECKSUM_LINE_BYTES) == 0) return RT_OK;
    return corrupt(r, "the checksum at its end is not that of its lines");
}

static rt_status read_head(reader *r, kv_book *book) {
    const char *value;
    int64_t n, n_segments;
    if (!take(r, first_line, &value, &n) || n != 0) return corrupt(r, "not a manifest, version 1");
    if (!take(r, "name=", &value, &n) || n > KV_BOOK_NAME_MAX) return corrupt(r, "no name");
    memcpy(book->name, value, (size_t)n);
    if ((int64_t)strlen(book->name) != n || kv_book_check_name(book->name) != RT_OK)
        return corrupt(r, "a name that cannot be");
    if (!take_hash(r, "fingerprint=", book->fingerprint)) return corrupt(r, "no fingerprint");
    if (!take_number(r, "tokens=", &book->n_tokens)) return corrupt(r, "no token count");
    if (!take_number(r, "created=", &book->created_s)) return corrupt(r, "no time");
    if (!take_number(r, "segments=", &n_segments)) return corrupt(r, "no segment count");
    if (n_segments > (r->end - r->at) / SEGMENT_LINE_BYTES)
        return corrupt(r, "more segments than lines");
    if (book->n_tokens > n_segments * KV_SEGMENT_TOKENS ||
            book->n_tokens <= (n_segments - 1) * KV_SEGMENT_TOKENS)
        return corrupt(r, "not the segments that so many tokens have");
    book->n_segments = (int32_t)n_segments;
    return RT_OK;
}

static int compare_hashes(const void *a, const void *b) {
    return memcmp(a, b, KV_HASH_BYTES);
}

static rt_status check_distinct(const reader *r, const kv_book *book) {
    const size_t n = (size_t)book->n_segments;
    uint8_t(*sorted)[32] = NULL;
    RT_TRY(rt_calloc(rt_max64(book->n_segments, 1), 32, "a book's segments", &sorted));
    memcpy(sorted, book->chains, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_hashes);
    bool is_distinct = true;
    for (size_t i = 1; i < n; i++)
        is_distinct = is_distinct && memcmp(sorted[i - 1], sorted[i], sizeof *sorted) != 0;
    free(sorted);
    return is_distinct || KV_MUTANT_BOOK ? RT_OK : corrupt(r, "the same segment twice");
}

static rt_status read_notes(reader *r, kv_book *book) {
    const char *value;
    int64_t n, n_used = 0;
    RT_TRY(rt_calloc(r->end - r->at + 1, 1, "a book's note", &book->note));
    while (r->at < r->end) {
        if (!take(r, "note=", &value, &n)) return corrupt(r, "neither a segment nor a note");
        memcpy(book->note + n_used, value, (size_t)n);
        n_used += n;
        book->note[n_used++] = '\n';
    }
    if ((int64_t)strlen(book->note) != n_used || check_note(book->note) != RT_OK)
        return corrupt(r, "a note that cannot be");
    return RT_OK;
}

static rt_status read_lines(reader *r, kv_book *book) {
    RT_TRY(read_head(r, book));
    RT_TRY(rt_calloc(rt_max64(book->n_segments, 1), 32, "a book's segments", &book->chains));
    for (int32_t i = 0; i < book->n_segments; i++)
        if (!take_hash(r, "segment=", book->chains[i])) return corrupt(r, "no segment");
    RT_TRY(check_distinct(r, book));
    return read_notes(r, book);
}

rt_status kv_book_parse(const char *text, int64_t n_bytes, kv_book *out) {
    reader r = {.at = text, .line = 1};
    *out = (kv_book){0};
    RT_TRY(check_checksum(text, n_bytes, &r));
    const rt_status status = read_lines(&r, out);
    if (status != RT_OK) kv_book_free(out);
    return status;
}
