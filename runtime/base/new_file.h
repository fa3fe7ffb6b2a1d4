/* A file that appears under its name when it is complete. Until then it has none, where the file system can do that, so
 * that nothing is left of it after a kill; elsewhere it has a
 * name beside it that nobody else chooses, nor a process of the same number on another machine that shares the directory, or in another
 * container. */
#ifndef RT_NEW_FILE_H
#define RT_NEW_FILE_H

#include <stdbool.h>

#include "status.h"

typedef struct rt_new_file {
    int fd;          /* to write to; -1: none */
    char *temporary; /* its name until then, for messages, too */
    bool is_unnamed; /* it is not there yet under that */
} rt_new_file;

/* Begin a file that will be `path`. rt_new_file_close() is due, also after a failure. RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status rt_new_file_open(const char *path, rt_new_file *out);

/* All is written: sync it, and put it in the place of what is at `path`. The directory is not synced. RT_EIO: what was
 * there stays. */
RT_MUST_CHECK rt_status rt_new_file_finish(rt_new_file *file, const char *path);

/* Give everything back; without a successful finish nothing is left behind. */
void rt_new_file_close(rt_new_file *file);

#endif
