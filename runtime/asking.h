/* One answer under way: a fork of what was prefilled, one token after another.
 *
 *   fork; prefill the question; glm_asking_take
 *   while finish_reason is NULL: decode asking.next, alone or with others; glm_asking_take */
#ifndef GLM_ASKING_H
#define GLM_ASKING_H

#include "answer.h"
#include "text.h"

/* Zero-initialise, then set what is the caller's. */
typedef struct glm_asking {
    /* The caller's; the session is freed with it. */
    glm_session *session;
    glm_answer answer; /* tokenizer, stop texts */
    int64_t max_tokens;

    int32_t next; /* chosen last, not decoded yet */
    int64_t n_tokens;
    glm_text text;             /* of the answer so far: whole characters */
    const char *finish_reason; /* "stop", "length"; NULL: it goes on */
} glm_asking;

/* Choose the token that follows what the session holds, from its logits, and take it into the text.
 *
 * Errors: RT_ENUMERIC  NaN or Inf among the logits; RT_ENOMEM */
RT_MUST_CHECK rt_status glm_asking_take(
        glm_asking *asking, const glm_engine *engine, const glm_sampling *sampling);
/* It is over, for a reason of the caller's: what was held back comes into the text. RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_asking_end(glm_asking *asking, const char *finish_reason);
void glm_asking_free(glm_asking *asking);

#endif
