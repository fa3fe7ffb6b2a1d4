/* Format 1.0, by byte offset:
 *
 *   0   "\x93NUMPY"
 *   6   1, 0                  version
 *   8   uint16, little-endian length of what follows: 118
 *   10  a Python dict, padded with spaces, ending in '\n'; the data starts at 128
 *
 * Source: numpy.lib.format */
#include "npy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { HEADER_BYTES = 128, PREFIX_BYTES = 10, MAGIC_BYTES = 6 };

static const char magic[] = "\x93NUMPY";

static void make_header(int64_t n_rows, int64_t n_cols, char header[HEADER_BYTES + 1]) {
    memcpy(header, magic, MAGIC_BYTES);
    header[6] = 1;
    header[7] = 0;
    header[8] = (char)(HEADER_BYTES - PREFIX_BYTES);
    header[9] = 0;
    const int n = snprintf(header + PREFIX_BYTES, HEADER_BYTES - PREFIX_BYTES,
            "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRId64 ", %" PRId64 "), }",
            n_rows, n_cols);
    memset(header + PREFIX_BYTES + n, ' ', (size_t)(HEADER_BYTES - PREFIX_BYTES - n));
    header[HEADER_BYTES - 1] = '\n';
}

/* An earlier one, or an empty file. What cannot be read is not known to be one. */
static bool is_npy(const char *path, int64_t n_bytes) {
    char begin[MAGIC_BYTES] = {0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool is_read = fd >= 0 && read(fd, begin, sizeof begin) == MAGIC_BYTES;
    if (fd >= 0) (void)close(fd);
    return n_bytes == 0 || (is_read && memcmp(begin, magic, MAGIC_BYTES) == 0);
}

/* Where standard output goes, also by the names /dev/stdout and /proc/self/fd/1. */
static bool is_standard_output(const struct stat *st) {
    struct stat output;
    return fstat(STDOUT_FILENO, &output) == 0 && output.st_dev == st->st_dev &&
           output.st_ino == st->st_ino;
}

/* An earlier result is replaced. Nobody means that of a device, say /dev/stdout, also where that leads to a file, and
 * of another file, say the text itself, who named the wrong one. */
static rt_status check_replaceable(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return RT_OK;
    if (!S_ISREG(st.st_mode))
        return rt_fail(RT_EIO, "npy: %s is in the way: it is no regular file", path);
    if (is_standard_output(&st))
        return rt_fail(RT_EIO,
                "npy: %s is in the way: it is standard output; the file needs a name of its own",
                path);
    if (is_npy(path, st.st_size)) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "npy: %s is in the way: it is no NumPy file, and would be lost; name another", path);
}

static rt_status open_file(glm_npy *npy) {
    RT_TRY(rt_new_file_open(npy->path, &npy->file));
    char header[HEADER_BYTES + 1];
    make_header(npy->n_rows, npy->n_cols, header);
    return rt_file_write(npy->file.fd, npy->file.temporary, header, HEADER_BYTES);
}

/* A link stays one: what it leads to is replaced. */
static rt_status place_of(const char *path, char **place) {
    struct stat st;
    const bool is_link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
    *place = is_link ? realpath(path, NULL) : strdup(path);
    if (*place) return RT_OK;
    return is_link && errno != ENOMEM
                   ? rt_fail_errno(RT_EIO, "npy: %s is in the way: a link to no file", path)
                   : rt_fail(RT_ENOMEM, "npy: no memory for the path %s", path);
}

rt_status glm_npy_create(const char *path, int64_t n_rows, int64_t n_cols, glm_npy *npy) {
    *npy = (glm_npy){.file.fd = -1, .n_rows = n_rows, .n_cols = n_cols};
    RT_TRY(check_replaceable(path));
    rt_status status = place_of(path, &npy->path);
    if (status == RT_OK) status = open_file(npy);
    if (status != RT_OK) glm_npy_close(npy);
    return status;
}

rt_status glm_npy_append(glm_npy *npy, const float *rows, int64_t n_rows) {
    rt_assert(npy->rows_written + n_rows <= npy->n_rows);
    npy->rows_written += n_rows;
    return rt_file_write(
            npy->file.fd, npy->file.temporary, rows, n_rows * npy->n_cols * (int64_t)sizeof *rows);
}

rt_status glm_npy_finish(glm_npy *npy) {
    rt_assert(npy->rows_written == npy->n_rows);
    return rt_new_file_finish(&npy->file, npy->path);
}

void glm_npy_close(glm_npy *npy) {
    rt_new_file_close(&npy->file);
    free(npy->path);
    *npy = (glm_npy){.file.fd = -1};
}
