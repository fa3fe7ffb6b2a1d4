/* The class of a code point as the tokenizer's pattern sees it: \p{L}, \p{N}, \s or none of them.
 *
 * Unicode 16.0, which is what the reference (tiktoken 0.14.0) uses; unicode_classes.py makes the
 * table and says how. */
#ifndef GLM_UNICODE_CLASSES_H
#define GLM_UNICODE_CLASSES_H

#include <stdint.h>

typedef enum glm_char_class {
    GLM_CHAR_OTHER,
    GLM_CHAR_LETTER,
    GLM_CHAR_NUMBER,
    GLM_CHAR_SPACE
} glm_char_class;

/* 256 code points a block, equal blocks stored once, four code points a byte. */
extern const uint8_t glm_unicode_blocks[0x1100];
extern const uint8_t glm_unicode_packed[][64];

/* code_point <= 0x10ffff. */
static inline glm_char_class glm_unicode_class(uint32_t code_point) {
    const uint8_t *block = glm_unicode_packed[glm_unicode_blocks[code_point >> 8]];
    const uint32_t i = code_point & 0xffu;
    return (glm_char_class)((block[i >> 2] >> (2 * (i & 3))) & 3);
}

#endif
