/* What Tab finds at chat's prompt: the rest of a command, or of a file's name behind /read. */
#ifndef GLM_CMD_CHAT_NAMES_H
#define GLM_CMD_CHAT_NAMES_H

#include "base/status.h"

/* What all names that begin like the last word of these n_bytes have in common behind it; behind the only one a blank, or a
 * slash where it is a directory. "" where there is none, or nothing more in common. *rest is a new string. RT_ENOMEM. */
RT_MUST_CHECK rt_status chat_names_complete(const char *line, int64_t n_bytes, char **rest);

#endif
