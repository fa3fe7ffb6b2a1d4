/* The lines of a conversation: typed at a terminal, with editing and a history where libedit is
 * built in, or read from a file or pipe. */
#ifndef GLM_CMD_CHAT_LINES_H
#define GLM_CMD_CHAT_LINES_H

#include "base/status.h"

typedef struct chat_lines chat_lines;

typedef enum chat_line_kind {
    CHAT_LINE,
    CHAT_LINES_END,        /* end of file; Ctrl-D */
    CHAT_LINES_INTERRUPTED /* a signal came: glm_cli_interrupted() */
} chat_line_kind;

/* Standard input's. RT_ENOMEM */
RT_MUST_CHECK rt_status chat_lines_open(chat_lines **out);
/* The terminal is as it was before. Accepts NULL. */
void chat_lines_close(chat_lines *lines);

/* Whether somebody types them. */
bool chat_lines_are_typed(const chat_lines *lines);
/* Ctrl-C stopped an answer: what was typed ahead is dropped, as the terminal drops what nobody has read. */
void chat_lines_drop_typed(chat_lines *lines);

/* Wait for the next line, without its newline; borrowed until the next call, NUL-terminated.
 *
 * RT_EIO; RT_EUSAGE beyond 1 GiB; RT_ENOMEM */
RT_MUST_CHECK rt_status chat_lines_next(
        chat_lines *lines, const char **line, int64_t *n_bytes, chat_line_kind *kind);

#endif
