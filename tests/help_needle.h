/* Prompts for the embedded model, token by token: the model's tokens are bytes. */
#ifndef HELP_NEEDLE_H
#define HELP_NEEDLE_H

#include "help_check.h"
#include "runtime/needle.h"
#include "runtime/runtime.h"

/* The embedded model in a fresh directory under /tmp, removed when the process exits. */
const char *help_needle_model(void);

/* Append text as bytes; [gMASK]<sop><|user|> and a newline; n bytes of words without digits. */
void help_append(glm_ids *ids, const char *text);
void help_append_opening(glm_ids *ids);
void help_append_filler(glm_ids *ids, int64_t n, uint64_t seed);

/* "\nThe special magic number for KEY is: VALUE.\n"; the value is seven digits made from `i`. */
void help_append_needle(glm_ids *ids, const char *key, int64_t i);
void help_value(int64_t i, char text[8]);

/* An opening and n_pages - 1 needles, each somewhere in a page of its own, from page 1 on; keys are
 * glm_needle_words. */
void help_append_needles(glm_ids *ids, int64_t n_pages);

/* The question for a key, <|assistant|>, and the answer up to its value. */
void help_append_question(glm_ids *ids, const char *key);

/* The model's next token. */
int32_t help_next(const glm_session *session);

/* Prefill ids and decode greedily to the stop id; the answer's text, at most 31 bytes. */
void help_answer(glm_session *session, const glm_ids *ids, char answer[32]);

#endif
