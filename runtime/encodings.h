/* In which other encoding a text may be that is not UTF-8: a guess, for the message that refuses it. */
#ifndef GLM_ENCODINGS_H
#define GLM_ENCODINGS_H

#include <stdint.h>

typedef struct glm_encoding {
    const char *iconv;    /* its name to iconv(1) */
    const char *name;     /* to people */
    const char *language; /* which it would be; NULL: any of many */
} glm_encoding;

/* By the first bytes of a text, 64 KiB are enough; Latin-1 where nothing speaks for another one. */
const glm_encoding *glm_encoding_of(const char *bytes, int64_t n_bytes);

enum { GLM_ENCODING_TEXT = 128 };
/* " (if it is Japanese, iconv -f SHIFT_JIS -t UTF-8 converts Shift-JIS)" into `text`. */
void glm_encoding_say(const glm_encoding *encoding, char text[GLM_ENCODING_TEXT]);

#endif
