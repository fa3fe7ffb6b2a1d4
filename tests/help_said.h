/* What the program logs, for tests of what it says. */
#ifndef HELP_SAID_H
#define HELP_SAID_H

#include <stdint.h>

/* Lines on stderr from here on: to a file that nobody else reads. */
void help_listen(void);
/* How many of them have those words; *gpu_bytes: the last one's number behind "gpu_bytes=", -1: it has none; NULL: not asked for. */
int64_t help_said(const char *words, int64_t *gpu_bytes);

#endif
