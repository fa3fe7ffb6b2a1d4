/* The tokenizer of made-up models: every byte is a token, GLM-4's control tokens follow. */
#ifndef GLM_BYTE_TOKENIZER_H
#define GLM_BYTE_TOKENIZER_H

#include "base/status.h"

/* Write tokenizer.model and tokenizer_config.json; nothing for a vocabulary without room for the
 * bytes and the control tokens. RT_EIO. */
RT_MUST_CHECK rt_status glm_byte_tokenizer_write(const char *dir, int64_t vocab);

/* Replace DIR/NAME by a text. RT_EIO. */
RT_MUST_CHECK rt_status glm_write_text(const char *dir, const char *name, const char *text);

#endif
