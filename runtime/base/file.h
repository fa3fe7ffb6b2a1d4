/* Small things every room does with files. Paths are UTF-8 as given; nothing here follows `..`
 * out of anywhere by itself: callers check names that come from files. */
#ifndef RT_FILE_H
#define RT_FILE_H

#include <stddef.h>
#include <sys/stat.h>

#include "status.h"

/* The whole of a regular file plus a terminating NUL that is not counted. The caller frees
 * *bytes with free().
 *
 * Errors: RT_EIO     cannot be opened or read, or was cut, written, replaced or removed meanwhile
 *         RT_EUSAGE  not a regular file; larger than bytes_max, the message says both sizes
 *         RT_ENOMEM */
RT_MUST_CHECK rt_status rt_file_read(
        const char *path, int64_t bytes_max, char **bytes, int64_t *n_bytes);

/* The same of a file that somebody waits for. RT_EINTERRUPTED: a signal was caught (base/interrupt.h), also before. */
RT_MUST_CHECK rt_status rt_file_read_stoppable(
        const char *path, int64_t bytes_max, char **bytes, int64_t *n_bytes);

/* What kept rt_file_read from giving a file, where it is the file itself. */
typedef enum rt_file_fault {
    RT_FILE_FINE,
    RT_FILE_NOT_REGULAR,
    RT_FILE_TOO_LARGE,
    RT_FILE_CHANGED /* cut, written, replaced or removed meanwhile */
} rt_file_fault;

/* rt_file_read, which says that too. */
RT_MUST_CHECK rt_status rt_file_read_judged(
        const char *path, int64_t bytes_max, char **bytes, int64_t *n_bytes, rt_file_fault *fault);

/* The same of what cannot be asked for its size, a pipe or a terminal, from where fd stands to its
 * end. `name` is for messages.
 *
 * Errors: RT_EIO, RT_ENOMEM
 *         RT_EINTERRUPTED  a signal was caught while there was nothing to read, or in the middle of a lot
 *         RT_EUSAGE  more than bytes_max */
RT_MUST_CHECK rt_status rt_file_read_stream(
        int fd, const char *name, int64_t bytes_max, char **bytes, int64_t *n_bytes);
/* The same of a pipe with a name, to its end. */
RT_MUST_CHECK rt_status rt_file_read_pipe(
        const char *path, int64_t bytes_max, char **bytes, int64_t *n_bytes);

/* Is the open file still what `opened` (of fstat, when it was opened) says? RT_EIO: it has another
 * size, was written to, or has no name any more; the message says which. */
RT_MUST_CHECK rt_status rt_file_check_unchanged(
        int fd, const char *path, const struct stat *opened);

/* Exactly n bytes from fd at offset; short files and EINTR are handled. RT_EIO names `path`. */
RT_MUST_CHECK rt_status rt_file_pread(
        int fd, const char *path, void *bytes, int64_t n_bytes, int64_t offset);

/* All of n bytes to fd at its position. RT_EIO names `path`. */
RT_MUST_CHECK rt_status rt_file_write(int fd, const char *path, const void *bytes, int64_t n_bytes);

/* Replace `path` so that a crash leaves either the old or the new content: written beside it,
 * synced, renamed, directory synced. RT_EIO leaves the old file. */
RT_MUST_CHECK rt_status rt_file_replace(const char *path, const void *bytes, int64_t n_bytes);

/* Names in a directory are durable; 0, or an errno. File systems that cannot sync a directory say EINVAL (SMB of older
 * kernels, a virtual machine's shared folders): there a name is as durable as they make it. */
int rt_dir_sync(const char *path);

/* Where files may be that nobody is to find again: TMPDIR, or /tmp. */
const char *rt_temporary_dir(void);

/* mkdir -p. RT_EIO names the component that failed. */
RT_MUST_CHECK rt_status rt_mkdirs(const char *path);

/* Whether there is something of that name, of whatever kind. True, too, where we may not see it: who opens it is told why. */
bool rt_file_exists(const char *path);

/* What the last name of a path lies in, as a new string; free(). RT_ENOMEM. */
RT_MUST_CHECK rt_status rt_path_folder(const char *path, char **folder);

/* "dir/name" as a new string; free(). RT_ENOMEM. */
RT_MUST_CHECK rt_status rt_path_join(const char *dir, const char *name, char **path);

#endif
