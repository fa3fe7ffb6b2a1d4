/* UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef GLM_UTF8_H
#define GLM_UTF8_H

#include <stdint.h>

#include "base/status.h"

enum { GLM_UTF8_BYTES_MAX = 4 };

/* The character at the front of `bytes` (n_bytes >= 1): its length, 1..4, and its code point.
 * 0 when the bytes are not the beginning of one, or end inside it. */
int glm_utf8_decode(const char *bytes, int64_t n_bytes, uint32_t *code_point);

/* How many bytes at the front of `bytes` (n_bytes >= 1) could still become one character, which
 * they are too short for: 0 when they hold a whole character, or can never become one. */
int glm_utf8_unfinished(const char *bytes, int64_t n_bytes);

/* RT_EUSAGE, and from which byte on of what SOURCE names: a text that JSON is to hold as it is. NULL is one. */
RT_MUST_CHECK rt_status glm_utf8_check(const char *source, const char *text);

#endif
