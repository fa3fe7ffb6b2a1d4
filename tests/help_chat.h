/* What the chat tests share: the conversations of golden/chat/cases.json as the runtime takes them,
 * and a directory with the byte tokenizer. */
#ifndef HELP_CHAT_H
#define HELP_CHAT_H

#include <jansson.h>

#include "help_tokenizer.h"
#include "runtime/chat.h"

/* A JSON file below tests/golden/chat: its text and its values. Both for the caller to give back. */
json_t *chath_load(const char *name, char **text);

/* The tokenizer of made-up models: every byte an id, control tokens from 256 on. */
glm_tokenizer *chath_byte_tokenizer(void);

/* Render one case: `text` is where it stands in cases.json, `value` the same parsed. */
void chath_render(const glm_tokenizer *tokenizer, const char *text, const json_t *value,
        const glm_tools_format *format, glm_ids *out);

/* The id of a control token by its text; fails when there is none. */
int32_t chath_special(const glm_tokenizer *tokenizer, const char *text);

#endif
