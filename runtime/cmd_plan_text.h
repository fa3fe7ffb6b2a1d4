/* plan SOURCE...: the length of a text, before anything of it is computed. */
#ifndef CMD_PLAN_TEXT_H
#define CMD_PLAN_TEXT_H

#include "cli.h"
#include "config.h"

/* Read cli's operands, say what they are, and ask for the room that `ask` would: of the text, *n_tokens, a question and its answer.
 *
 * RT_EUSAGE  a length is given besides; otherwise as glm_cli_load_document
 * RT_EMODEL  the tokenizer's files are not there
 * RT_ENOFIT  it is longer than the model goes */
RT_MUST_CHECK rt_status plan_take_text(glm_cli *cli, const glm_config *config, int64_t *n_tokens);

#endif
