/* Sizes: int64_t everywhere, and arithmetic that says when it overflows.
 *
 * 2^20 tokens x 32 heads x 128 is exactly 2^32: 32 bits wrap to 0 at our context length. */
#ifndef RT_SIZE_H
#define RT_SIZE_H

#include "status.h"

#define RT_KIB ((int64_t)1 << 10)
#define RT_MIB ((int64_t)1 << 20)
#define RT_GIB ((int64_t)1 << 30)

static inline int64_t rt_min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t rt_max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* ceil(a / b) for a >= 0, b > 0. */
static inline int64_t rt_div_up(int64_t a, int64_t b) {
    return a / b + (a % b != 0);
}

/* The smallest multiple of b that is >= a. */
static inline int64_t rt_round_up(int64_t a, int64_t b) {
    return rt_div_up(a, b) * b;
}

/* False when the exact result does not fit; *out is then unspecified. */
static inline bool rt_checked_add(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

static inline bool rt_checked_mul(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

enum { RT_SIZE_TEXT = 32 };

/* Bytes for people: "80.0 GiB", "512 B". Writes into `text` and returns it. */
const char *rt_format_bytes(int64_t bytes, char text[RT_SIZE_TEXT]);

/* Seconds for people: "0.8 s", "3 min 12 s", "2 h 05 min". Writes into `text` and returns it. */
const char *rt_format_seconds(double seconds, char text[RT_SIZE_TEXT]);

/* Token counts for people, as they are typed: "64K", "1M", "16k", "1500". Writes into `text` and
 * returns it. */
const char *rt_format_tokens(int64_t n_tokens, char text[RT_SIZE_TEXT]);

/* "128k", "64K", "1M", "12G", "1000": k = 1000 and K = 1024, m = 1000 k and M = 1024 K, where `is_bytes` is
 * false (token counts); every suffix is a power of 1024 where it is true. Decimals are allowed ("1.5G") when
 * the result is whole.
 *
 * Errors: RT_EUSAGE  not a number, negative, not whole, or beyond int64 */
RT_MUST_CHECK rt_status rt_parse_size(const char *text, bool is_bytes, int64_t *out);

#endif
