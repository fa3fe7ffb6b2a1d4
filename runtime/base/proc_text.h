/* Small files of /proc and /sys, read whole and line by line. */
#ifndef RT_PROC_TEXT_H
#define RT_PROC_TEXT_H

#include <stdbool.h>

enum { RT_PROC_TEXT_BYTES = 4096 };

/* The beginning of a file of /proc or /sys; false when it cannot be read or is empty. Nothing is
 * allocated: how much memory there is must be known when there is none. */
bool rt_proc_read(const char *path, char text[RT_PROC_TEXT_BYTES]);

/* The next line of a text, made a string of its own; NULL behind the last. */
char *rt_proc_line(char **text);

#endif
