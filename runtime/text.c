#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

rt_status glm_text_reserve(glm_text *text, int64_t n) {
    const int64_t needed = text->n + n + 1;
    if (needed <= text->capacity) return RT_OK;
    const int64_t capacity = rt_max64(needed, text->capacity + text->capacity / 2);
    char *larger = realloc(text->bytes, (size_t)capacity);
    if (!larger) return rt_fail(RT_ENOMEM, "text: no memory for %" PRId64 " bytes", capacity);
    text->bytes = larger;
    text->capacity = capacity;
    return RT_OK;
}

rt_status glm_text_add(glm_text *text, const char *bytes, int64_t n) {
    RT_TRY(glm_text_reserve(text, n));
    if (n > 0) memcpy(text->bytes + text->n, bytes, (size_t)n);
    text->n += n;
    text->bytes[text->n] = '\0';
    return RT_OK;
}
