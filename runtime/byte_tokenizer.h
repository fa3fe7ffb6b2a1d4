/* The tokenizer of made-up models: every byte is a token, GLM-4's control tokens follow. */
#ifndef GLM_BYTE_TOKENIZER_H
#define GLM_BYTE_TOKENIZER_H

#include "base/status.h"

/* The id of <|endoftext|>, the first of the ten control tokens, in GLM's order: GLM-4's own 151329
 * where the vocabulary reaches that far, else 256. -1 when the vocabulary has no room for them. */
int64_t glm_byte_tokenizer_first_special(int64_t vocab);

/* Write tokenizer.model and tokenizer_config.json; nothing for a vocabulary without room for the
 * bytes and the control tokens. RT_EIO. */
RT_MUST_CHECK rt_status glm_byte_tokenizer_write(const char *dir, int64_t vocab);

/* Replace DIR/NAME by a text. RT_EIO. */
RT_MUST_CHECK rt_status glm_write_text(const char *dir, const char *name, const char *text);

#endif
