/* What changes logits before a token is chosen. As OpenAI's API has it: so much is added to given ids, and to each id that the
 * answer holds by now -presence_penalty once, and -frequency_penalty as often as it is there. As transformers and vLLM have it, and
 * before that: what is positive of an id that the prompt or the answer holds is divided by repetition_penalty, what is negative
 * multiplied. */
#ifndef GLM_BIAS_H
#define GLM_BIAS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct glm_bias_entry {
    int32_t id;
    float bias; /* 0: of this id nothing was said */
    int64_t n;  /* times that the answer holds it */
} glm_bias_entry;

/* Zero-initialised it changes nothing. */
typedef struct glm_bias {
    float presence_penalty; /* set by the caller, as the two others */
    float frequency_penalty;
    float repetition_penalty; /* 1: none, as 0 */
    uint8_t *seen;            /* [n_seen] owned: whether the text holds an id; NULL: nobody asks */
    int64_t n_seen;
    glm_bias_entry *entries; /* [n_entries] owned, in ascending order of ids */
    int64_t n_entries;
    int64_t room;
    float *row; /* owned: the last biased row */
} glm_bias;

/* Whether it changes any row, now or later. */
bool glm_bias_is_any(const glm_bias *bias);

/* So much to `id`; said twice, the last one counts. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_bias_set(glm_bias *bias, int32_t id, float amount);

/* The prompt, before anything is counted; of a vocabulary of n_vocab ids. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_bias_begin(
        glm_bias *bias, const int32_t *prompt, int64_t n_prompt, int64_t n_vocab);

/* The answer holds one more token. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_bias_count(glm_bias *bias, int32_t id);

/* *out: the n logits, biased; borrowed until the next call. Ids >= n get nothing. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_bias_apply(
        glm_bias *bias, const float *logits, int64_t n, const float **out);

/* What was said, and nothing of an answer, into a zero-initialised `to`. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_bias_copy(glm_bias *to, const glm_bias *from);

void glm_bias_free(glm_bias *bias);

#endif
