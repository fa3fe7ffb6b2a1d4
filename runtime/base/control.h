/* Characters that a terminal obeys in place of showing them. */
#ifndef RT_CONTROL_H
#define RT_CONTROL_H

#include <stdint.h>

/* How many of the n_bytes >= 1 at `text`, UTF-8, are a control character: C0 but the line feed, DEL, C1. 0: none begins there. */
static inline int rt_control_bytes(const char *text, int64_t n_bytes) {
    const unsigned char first = (unsigned char)text[0];
    if (first == 0xc2 && n_bytes > 1 && (text[1] & 0xe0) == 0x80) return 2;
    return (first < 0x20 && first != '\n') || first == 0x7f ? 1 : 0;
}

#endif
