/* What a model says, on a terminal. */
#ifndef GLM_CLI_SHOW_H
#define GLM_CLI_SHOW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Whether somebody reads `out` as it is written. Not under mpirun, whose processes have a terminal of its own: it passes on to
 * its own output, which may be a file, what they write. */
bool glm_cli_is_terminal(FILE *out);
/* Write what a model or a file says, whole characters, to `out`. Where glm_cli_is_terminal, control characters but line feed
 * and tab are shown as \xNN, so that no text moves the cursor, sets a title or clears the screen; everywhere else the bytes
 * stay exact. False where it cannot be written, with errno. */
bool glm_cli_show(FILE *out, const char *text, int64_t n_bytes);

#endif
