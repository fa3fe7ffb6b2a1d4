/* Text written to memory through a stream, as by open_memstream; but one that lacks memory says so. glibc's does not:
 * where it cannot grow it drops the characters, goes on, and fclose() returns 0. */
#ifndef RT_MEMSTREAM_H
#define RT_MEMSTREAM_H

#include <stdio.h>

#include "status.h"

/* A stream whose bytes go to *text, for free(), with a NUL behind them that *n_bytes does not count. Both are right after
 * fflush() and after the close, and must live until that. NULL where there is no memory. */
FILE *rt_memstream_open(char **text, size_t *n_bytes);

/* Close it; accepts NULL. False: there was no memory for all that was written; *text is NULL. */
RT_MUST_CHECK bool rt_memstream_close(FILE *stream, char **text);

#endif
