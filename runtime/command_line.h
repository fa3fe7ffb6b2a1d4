/* What this process was started with, as a line to be compared and shown. */
#ifndef GLM_COMMAND_LINE_H
#define GLM_COMMAND_LINE_H

#include "base/status.h"

enum { GLM_COMMAND_LINE_TEXT = 1200 };

/* The arguments behind the program's name, with spaces between; behind it a hash of them where not
 * everything of them is shown: a long line is cut, control characters and an --api-key are not for the
 * eyes of others. RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status glm_command_line(char text[GLM_COMMAND_LINE_TEXT]);

#endif
