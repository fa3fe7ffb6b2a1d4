#include "new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "file.h"

enum { COPIED_BYTES = 1 << 30 };

/* -1: the file system has no files without a name, or /proc, by which they get one, is not there. */
static int open_unnamed(const char *path) {
    char *folder = NULL;
    if (access("/proc/self/fd", F_OK) != 0 || rt_path_folder(path, &folder) != RT_OK) return -1;
    const int fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0666);
    free(folder);
    return fd;
}

static rt_status choose_name(const char *path, char **out) {
    uint32_t number = 0;
    (void)!getrandom(&number, sizeof number, 0);
    if (asprintf(out, "%s.%ld.%08" PRIx32 ".tmp", path, (long)getpid(), number) >= 0) return RT_OK;
    *out = NULL;
    return rt_fail(RT_ENOMEM, "file: no memory for the path %s", path);
}

static int open_named(const char *name) {
    return open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
}

rt_status rt_new_file_open(const char *path, rt_new_file *out) {
    *out = (rt_new_file){.fd = -1};
    RT_TRY(choose_name(path, &out->temporary));
    const bool is_too_long = access(out->temporary, F_OK) != 0 && errno == ENAMETOOLONG;
    out->fd = is_too_long ? -1 : open_unnamed(path); /* not said when all is computed */
    out->is_unnamed = out->fd >= 0;
    if (!out->is_unnamed) out->fd = open_named(out->temporary);
    return out->fd >= 0 ? RT_OK : rt_fail_errno(RT_EIO, "file: cannot create %s", out->temporary);
}

/* What may have files without a name, and may not link them (AppArmor, proot), has them under one. */
static rt_status copy_named(rt_new_file *file) {
    const int named = open_named(file->temporary);
    if (named < 0) return rt_fail_errno(RT_EIO, "file: cannot create %s", file->temporary);
    off_t at = 0;
    ssize_t n = 1;
    while (n > 0 || (n < 0 && errno == EINTR)) n = sendfile(named, file->fd, &at, COPIED_BYTES);
    rt_status status = RT_OK;
    if (n < 0 || fsync(named) != 0)
        status = rt_fail_errno(RT_EIO, "file: write to %s failed", file->temporary);
    (void)close(file->fd);
    file->fd = named;
    file->is_unnamed = false;
    return status;
}

static rt_status give_name(rt_new_file *file) {
    char own[32];
    if (!file->is_unnamed) return RT_OK;
    (void)snprintf(own, sizeof own, "/proc/self/fd/%d", file->fd);
    if (linkat(AT_FDCWD, own, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW) != 0)
        return copy_named(file);
    file->is_unnamed = false;
    return RT_OK;
}

rt_status rt_new_file_finish(rt_new_file *file, const char *path) {
    if (fsync(file->fd) != 0) return rt_fail_errno(RT_EIO, "file: cannot sync %s", file->temporary);
    RT_TRY(give_name(file));
    if (rename(file->temporary, path) != 0)
        return rt_fail_errno(RT_EIO, "file: cannot rename %s to %s", file->temporary, path);
    file->is_unnamed = true; /* nothing has that name any more */
    return RT_OK;
}

void rt_new_file_close(rt_new_file *file) {
    if (file->fd >= 0) (void)close(file->fd);
    if (file->fd >= 0 && !file->is_unnamed) (void)unlink(file->temporary);
    free(file->temporary);
    *file = (rt_new_file){.fd = -1};
}
