/* /keep NAME: a conversation becomes a book, with which another one begins. */
#ifndef GLM_CMD_CHAT_KEEP_H
#define GLM_CMD_CHAT_KEEP_H

#include "cmd_chat.h"

/* All that was said, under that name, which an earlier conversation may have had.
 *
 * Errors: RT_EUSAGE  nothing was said, nothing is kept on disk here, or no name for it: a book of something else has it
 *         as glm_session_keep, and the conversation stays as it is */
RT_MUST_CHECK rt_status chat_keep(conversation *chat, const char *name);

#endif
