/* One answer on its way out: a generated id -> its bytes -> whole characters -> no stop text; and, where
 * it is bound to a form, only ids that keep to it; where it has a bias, by logits that it changes; where it has a least length, none that ends it before. */
#ifndef GLM_ANSWER_H
#define GLM_ANSWER_H

#include "bias.h"
#include "form.h"
#include "runtime.h"
#include "stop.h"
#include "tokenizer.h"

/* Zero-initialise, then set the tokenizer and, where there are any, the stop texts, the form, the bias, and how long it is at
 * least. */
typedef struct glm_answer {
    const glm_tokenizer *tokenizer; /* borrowed */
    glm_form form;                  /* what may come next; zero: anything */
    glm_bias bias;                  /* owned; its counts are those of the ids chosen */
    const int32_t
            *end_ids; /* [n_end_ids] borrowed: by which an answer ends, where n_least is set */
    int n_end_ids;
    int64_t n_least; /* of so many ids none ends the answer, nor does a stop text in what they say */
    int64_t n_put;
    glm_stop stop; /* stop.is_found: nothing more comes out */
    glm_utf8_stream characters;
    char *whole; /* the last id's whole characters */
    int64_t capacity;
} glm_answer;

/* Choose the token that follows what the session holds; `step` as in glm_sample.
 *
 * RT_ENUMERIC  NaN or Inf among the logits
 * RT_EUSAGE    no token keeps to the form
 * RT_ENOMEM */
RT_MUST_CHECK rt_status glm_answer_choose(glm_answer *answer, const glm_engine *engine,
        glm_session *session, const glm_sampling *sampling, int64_t step, int32_t *id);

/* The text that one more id lets out, borrowed until the next call; control tokens have none. Id -1
 * ends the answer: what was held back comes out.
 *
 * RT_ENOMEM */
RT_MUST_CHECK rt_status glm_answer_put(
        glm_answer *answer, int32_t id, const char **text, int64_t *n_bytes);
void glm_answer_free(glm_answer *answer);

#endif
