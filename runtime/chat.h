/* GLM-4's conversation format: messages -> ids, generated ids -> answer or tool call.
 *
 *   [gMASK]<sop>  <|ROLE|>{metadata}\n{content}  ...  <|assistant|>
 *
 * "{metadata}\n" and "{content}" are encoded separately, bodies always as plain text; nothing
 * follows the final <|assistant|>. */
#ifndef GLM_CHAT_H
#define GLM_CHAT_H

#include "tokenizer.h"

typedef enum glm_chat_role {
    GLM_CHAT_SYSTEM,
    GLM_CHAT_USER,
    GLM_CHAT_ASSISTANT,
    GLM_CHAT_OBSERVATION
} glm_chat_role;

typedef struct glm_message {
    glm_chat_role role;
    const char *metadata; /* NULL or "": none */
    const char *content;
    int64_t content_bytes; /* -1: content is NUL-terminated */
} glm_message;

/* Append [gMASK]<sop>. RT_EMODEL when the tokenizer has no such tokens. */
RT_MUST_CHECK rt_status glm_chat_begin(const glm_tokenizer *tokenizer, glm_ids *out);

/* Append one message. A message with empty content and metadata is skipped. */
RT_MUST_CHECK rt_status glm_chat_append(
        const glm_tokenizer *tokenizer, const glm_message *message, glm_ids *out);

/* Append <|assistant|>: the model speaks next. */
RT_MUST_CHECK rt_status glm_chat_prompt_answer(const glm_tokenizer *tokenizer, glm_ids *out);

#endif
