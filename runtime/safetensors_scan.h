/* Reading a safetensors header one JSON token at a time, straight from its bytes.
 *
 * The header is never held whole: a small window moves over it, the stack is flat, and every
 * failure knows the byte of the file it was found at. Whatever a header declares, memory is spent
 * only on what it proves to contain. */
#ifndef GLM_SAFETENSORS_SCAN_H
#define GLM_SAFETENSORS_SCAN_H

#include "base/status.h"

/* Where bytes come from: a file, or memory (fd -1), which tests and fuzzers use. */
typedef struct glm_st_source {
    const char *path; /* for messages */
    int fd;
    const uint8_t *bytes;
    int64_t n_bytes; /* size when opened; all offsets below are offsets in the file */
} glm_st_source;

/* n bytes at offset, which must lie inside the source. RT_EIO. */
RT_MUST_CHECK rt_status glm_st_source_read(
        const glm_st_source *source, void *out, int64_t n_bytes, int64_t offset);

/* "safetensors: PATH: CODE at byte AT: ..." with RT_EMODEL. */
RT_MUST_CHECK rt_status glm_st_fail(const glm_st_source *source, const char *code, int64_t at,
        const char *format, ...) RT_PRINTF(4, 5);

enum { GLM_ST_WINDOW = 16384, GLM_ST_NO_BYTE = -1 };

typedef struct glm_st_scan {
    const glm_st_source *source;
    int64_t at;        /* the next byte */
    int64_t end;       /* one past the last */
    int64_t window_at; /* bytes [window_at, window_end) are in the window */
    int64_t window_end;
    rt_status failed; /* of reading the file; the byte after it looks like the end */
    uint8_t window[GLM_ST_WINDOW];
} glm_st_scan;

/* Read bytes [at, end) of the source, which is borrowed. */
void glm_st_scan_init(glm_st_scan *scan, const glm_st_source *source, int64_t at, int64_t end);

/* The next byte without taking it, or GLM_ST_NO_BYTE. */
int glm_st_peek(glm_st_scan *scan);

/* White space is taken; where the next token begins. */
int64_t glm_st_token_at(glm_st_scan *scan);

/* White space, then `wanted`, which is taken; anything else is `code`. */
RT_MUST_CHECK rt_status glm_st_expect(glm_st_scan *scan, char wanted, const char *code);

/* White space, then: is the next byte `wanted`? It is taken if so. */
RT_MUST_CHECK rt_status glm_st_accept(glm_st_scan *scan, char wanted, bool *is_there);

/* A string, unescaped, of at most bytes_max bytes, with a NUL behind it that is not counted.
 *
 *   text       bytes_max + 1 bytes; NULL to check the string and drop it
 *   bad_code   for NUL, unpaired surrogates and raw control characters
 *   long_code  for a longer one
 *   is_name    control characters are bad also when they come escaped
 *
 * Other errors: ST_UTF8, ST_JSON, ST_JSON_EOF. */
typedef struct glm_st_string {
    char *text;
    int64_t bytes_max;
    int64_t n_bytes; /* out */
    const char *bad_code;
    const char *long_code;
    bool is_name;
} glm_st_string;
RT_MUST_CHECK rt_status glm_st_read_string(glm_st_scan *scan, glm_st_string *string);

/* A whole number in plain digits: no sign, fraction, exponent or leading zero (`code`), at most
 * 2^63 - 1 (ST_INT). */
RT_MUST_CHECK rt_status glm_st_read_integer(glm_st_scan *scan, const char *code, int64_t *out);

/* Refuse the value that is next, which should have been `wanted`: `code`, or ST_JSON_DEPTH when it
 * opens more brackets than any header needs. */
RT_MUST_CHECK rt_status glm_st_refuse_value(
        glm_st_scan *scan, const char *code, const char *wanted);

/* White space, then `bracket`, which is taken; any other value is refused as that does. */
RT_MUST_CHECK rt_status glm_st_open_bracket(
        glm_st_scan *scan, char bracket, const char *code, const char *wanted);

/* Behind the '{' of an object, or a member of it: is there another member? Its name is then next; otherwise
 * the '}' is taken. */
RT_MUST_CHECK rt_status glm_st_next_member(glm_st_scan *scan, bool is_first, bool *is_over);

#endif
