/* A text that grows. */
#ifndef GLM_TEXT_H
#define GLM_TEXT_H

#include "base/status.h"

/* Zero-initialise; free(text.bytes) when done. */
typedef struct glm_text {
    char *bytes; /* n and a NUL; NULL before the first glm_text_add() */
    int64_t n;
    int64_t capacity;
} glm_text;

/* Room for n bytes more and a NUL behind them. RT_ENOMEM leaves what was there. */
RT_MUST_CHECK rt_status glm_text_reserve(glm_text *text, int64_t n);

/* Append n bytes; 0 bytes make an empty text. RT_ENOMEM leaves what was there. */
RT_MUST_CHECK rt_status glm_text_add(glm_text *text, const char *bytes, int64_t n);

#endif
