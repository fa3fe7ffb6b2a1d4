/* What keys do in chat's line that libedit does not. */
#ifndef GLM_CMD_CHAT_KEYS_H
#define GLM_CMD_CHAT_KEYS_H

#ifdef GLM_HAVE_EDIT

#include <histedit.h>

#include "pasted.h"

/* A pasted text, as glm_pasted_text gives it, where the cursor is: itself while the line fills no more than half of the
 * window, otherwise its place, with the text kept in `pastes`. RT_ENOMEM */
RT_MUST_CHECK rt_status chat_keys_paste(
        EditLine *edit, glm_pastes *pastes, const char *text, int64_t n_bytes);

/* Tab completes a command, and behind /read a file's name; elsewhere it beeps. */
void chat_keys_bind_tab(EditLine *edit);

#endif
#endif
