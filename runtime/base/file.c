#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "interrupt.h"
#include "log.h"
#include "memory.h"
#include "new_file.h"
#include "size.h"

/* read and write move at most 2^31 - 4096 bytes a call on Linux. */
static const int64_t io_bytes_max = RT_GIB;

rt_status rt_file_pread(int fd, const char *path, void *bytes, int64_t n_bytes, int64_t offset) {
    int64_t done = 0;
    while (done < n_bytes) {
        const size_t want = (size_t)rt_min64(n_bytes - done, io_bytes_max);
        const ssize_t n = pread(fd, (char *)bytes + done, want, offset + done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return rt_fail_errno(
                    RT_EIO, "file: read %s at byte %" PRId64 " failed", path, offset + done);
        if (n == 0)
            return rt_fail(RT_EIO, "file: %s ends at byte %" PRId64 ", byte %" PRId64 " was needed",
                    path, offset + done, offset + n_bytes);
        done += n;
    }
    return RT_OK;
}

static bool is_same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Replacing a file leaves us the old one, which then has no name any more. */
rt_status rt_file_check_unchanged(int fd, const char *path, const struct stat *opened) {
    struct stat now;
    if (fstat(fd, &now) != 0) return rt_fail_errno(RT_EIO, "file: cannot stat %s", path);
    if (now.st_size != opened->st_size)
        return rt_fail(RT_EIO,
                "file: %s had %" PRId64 " bytes when it was opened and has %" PRId64 " now", path,
                (int64_t)opened->st_size, (int64_t)now.st_size);
    if (now.st_nlink == 0 && opened->st_nlink != 0)
        return rt_fail(RT_EIO, "file: %s was replaced or removed while it was read", path);
    if (!is_same_time(now.st_mtim, opened->st_mtim))
        return rt_fail(RT_EIO, "file: %s was written to while it was read", path);
    return RT_OK;
}

/* What lies between two questions whether to stop: milliseconds. */
static const int64_t piece_bytes = 4 * RT_MIB;

static rt_status check_stop(const char *name) {
    if (!atomic_load(&rt_interrupted_by)) return RT_OK;
    return rt_fail(RT_EINTERRUPTED, "stopped while %s was read", name);
}

static rt_status read_pieces(
        int fd, const char *path, char *bytes, int64_t n_bytes, bool is_stoppable) {
    for (int64_t done = 0; done < n_bytes; done += piece_bytes) {
        if (is_stoppable) RT_TRY(check_stop(path));
        RT_TRY(rt_file_pread(fd, path, bytes + done, rt_min64(piece_bytes, n_bytes - done), done));
    }
    return RT_OK;
}

static rt_status read_open_file(int fd, const char *path, int64_t bytes_max, bool is_stoppable,
        char **bytes, int64_t *n_bytes, rt_file_fault *fault) {
    struct stat info;
    if (fstat(fd, &info) != 0) return rt_fail_errno(RT_EIO, "file: cannot stat %s", path);
    *fault = !S_ISREG(info.st_mode)     ? RT_FILE_NOT_REGULAR
             : info.st_size > bytes_max ? RT_FILE_TOO_LARGE
                                        : RT_FILE_FINE;
    if (*fault == RT_FILE_NOT_REGULAR)
        return rt_fail(RT_EUSAGE, "file: %s is not a regular file", path);
    if (*fault == RT_FILE_TOO_LARGE)
        return rt_fail(RT_EUSAGE, "file: %s has %" PRId64 " bytes, at most %" PRId64 " are read",
                path, (int64_t)info.st_size, bytes_max);

    void *text = NULL;
    RT_TRY(rt_malloc((int64_t)info.st_size + 1, path, &text));
    rt_status status = read_pieces(fd, path, text, info.st_size, is_stoppable);
    const rt_status unchanged =
            status == RT_EINTERRUPTED ? RT_OK : rt_file_check_unchanged(fd, path, &info);
    if (unchanged != RT_OK) {
        status = unchanged;
        *fault = RT_FILE_CHANGED;
    }
    if (status != RT_OK) {
        free(text);
        return status;
    }
    ((char *)text)[info.st_size] = '\0';
    *bytes = text;
    *n_bytes = info.st_size;
    return RT_OK;
}

rt_status rt_file_read(const char *path, int64_t bytes_max, char **bytes, int64_t *n_bytes) {
    rt_file_fault fault;
    return rt_file_read_judged(path, bytes_max, bytes, n_bytes, &fault);
}

static rt_status read_named_file(const char *path, int64_t bytes_max, bool is_stoppable,
        char **bytes, int64_t *n_bytes, rt_file_fault *fault) {
    *fault = RT_FILE_FINE;
    /* O_NONBLOCK: opening a FIFO must not hang; it is refused right after. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return rt_fail_errno(RT_EIO, "file: cannot open %s", path);
    const rt_status status =
            read_open_file(fd, path, bytes_max, is_stoppable, bytes, n_bytes, fault);
    (void)close(fd);
    return status;
}

rt_status rt_file_read_judged(
        const char *path, int64_t bytes_max, char **bytes, int64_t *n_bytes, rt_file_fault *fault) {
    return read_named_file(path, bytes_max, false, bytes, n_bytes, fault);
}

rt_status rt_file_read_stoppable(
        const char *path, int64_t bytes_max, char **bytes, int64_t *n_bytes) {
    rt_file_fault fault;
    return read_named_file(path, bytes_max, true, bytes, n_bytes, &fault);
}

/* Whoever types may take long, or stop the program: a signal ends the wait, though it may not end read. */
static rt_status await(int fd, const char *name) {
    struct pollfd input = {.fd = fd, .events = POLLIN};
    if (poll(&input, 1, 0) > 0 || rt_poll_interruptible(&input, 1) >= 0) return RT_OK;
    if (errno == EINTR) return rt_fail(RT_EINTERRUPTED, "stopped while %s was read", name);
    return rt_fail_errno(RT_EIO, "file: cannot wait for %s", name);
}

/* Who has named a pipe that nobody writes into, or forgot to name a file, sees what is waited for. A shell's pipe is no
 * matter: what comes through it may be long in coming. */
static void say_awaited(int fd, const char *name) {
    enum { SILENT_MS = 1000 };
    struct pollfd input = {.fd = fd, .events = POLLIN};
    if (poll(&input, 1, SILENT_MS) != 0) return;
    if (isatty(fd))
        rt_log(RT_LOG_WARN, "file", "waiting for %s: Ctrl-D, at the beginning of a line, ends it",
                name);
    else
        rt_log(RT_LOG_WARN, "file", "waiting for %s: nothing has been written into that pipe yet",
                name);
}

/* Read until the end or until there is more than bytes_max; `text` grows as needed. */
static rt_status read_to_end(
        int fd, const char *name, int64_t bytes_max, char **text, int64_t *n_bytes) {
    int64_t capacity = 0;
    for (;;) {
        if (*n_bytes + 1 >= capacity) {
            capacity = rt_max64(64 * RT_KIB, 2 * capacity);
            char *larger = realloc(*text, (size_t)capacity);
            if (!larger) return rt_fail(RT_ENOMEM, "file: no memory for %s", name);
            *text = larger;
        }
        RT_TRY(await(fd, name));
        if (*n_bytes >= piece_bytes) RT_TRY(check_stop(name)); /* a file is always ready */
        const int64_t n_wanted = rt_min64(capacity - *n_bytes - 1, piece_bytes);
        const ssize_t n = read(fd, *text + *n_bytes, (size_t)n_wanted);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n < 0) return rt_fail_errno(RT_EIO, "file: cannot read %s", name);
        *n_bytes += n;
        (*text)[*n_bytes] = '\0';
        if (n == 0) return RT_OK;
        if (*n_bytes > bytes_max)
            return rt_fail(RT_EUSAGE, "file: %s has more than %" PRId64 " bytes", name, bytes_max);
    }
}

rt_status rt_file_read_stream(
        int fd, const char *name, int64_t bytes_max, char **bytes, int64_t *n_bytes) {
    char *text = NULL;
    int64_t n = 0;
    if (isatty(fd)) say_awaited(fd, name);
    const rt_status status = read_to_end(fd, name, bytes_max, &text, &n);
    if (status != RT_OK) {
        free(text);
        return status;
    }
    *bytes = text;
    *n_bytes = n;
    return RT_OK;
}

rt_status rt_file_read_pipe(const char *path, int64_t bytes_max, char **bytes, int64_t *n_bytes) {
    /* O_NONBLOCK: opening one that nobody writes to must not wait where no signal ends it. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return rt_fail_errno(RT_EIO, "file: cannot open %s", path);
    if (!isatty(fd)) say_awaited(fd, path);
    const rt_status status = rt_file_read_stream(fd, path, bytes_max, bytes, n_bytes);
    (void)close(fd);
    return status;
}

rt_status rt_file_write(int fd, const char *path, const void *bytes, int64_t n_bytes) {
    int64_t done = 0;
    while (done < n_bytes) {
        const size_t want = (size_t)rt_min64(n_bytes - done, io_bytes_max);
        const ssize_t n = write(fd, (const char *)bytes + done, want);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return rt_fail_errno(RT_EIO,
                    "file: write to %s failed after %" PRId64 " of %" PRId64 " bytes", path, done,
                    n_bytes);
        done += n;
    }
    return RT_OK;
}

int rt_dir_sync(const char *path) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    const int error = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    (void)close(fd);
    return error;
}

/* A rename is durable once its directory is. */
static rt_status sync_directory_of(const char *path) {
    char *dir = NULL;
    RT_TRY(rt_path_folder(path, &dir));
    const int error = rt_dir_sync(dir);
    free(dir);
    if (!error) return RT_OK;
    errno = error;
    return rt_fail_errno(RT_EIO, "file: cannot sync the directory of %s", path);
}

rt_status rt_file_replace(const char *path, const void *bytes, int64_t n_bytes) {
    rt_new_file file;
    rt_status status = rt_new_file_open(path, &file);
    if (status == RT_OK) status = rt_file_write(file.fd, file.temporary, bytes, n_bytes);
    if (status == RT_OK) status = rt_new_file_finish(&file, path);
    rt_new_file_close(&file);
    if (status != RT_OK) return status;
    return sync_directory_of(path);
}

const char *rt_temporary_dir(void) {
    const char *dir = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): nothing here sets one */
    return dir && *dir ? dir : "/tmp";
}

rt_status rt_mkdirs(const char *path) {
    char *copy = strdup(path);
    if (!copy) return rt_fail(RT_ENOMEM, "file: no memory for the path %s", path);
    rt_status status = RT_OK;
    for (char *place = copy + 1; status == RT_OK; place++) {
        const char kept = *place;
        if (kept != '/' && kept != '\0') continue;
        *place = '\0';
        struct stat info;
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            status = rt_fail_errno(RT_EIO, "file: cannot make the directory %s", copy);
        else if (stat(copy, &info) != 0 || !S_ISDIR(info.st_mode))
            status = rt_fail(RT_EIO, "file: %s is in the way: it is not a directory", copy);
        *place = kept;
        if (kept == '\0') break;
    }
    free(copy);
    return status;
}

bool rt_file_exists(const char *path) {
    return access(path, F_OK) == 0 || errno == EACCES || errno == EIO;
}

rt_status rt_path_folder(const char *path, char **folder) {
    const char *slash = strrchr(path, '/');
    const size_t n_bytes = slash > path ? (size_t)(slash - path) : 1; /* "/" is its own */
    *folder = slash ? strndup(path, n_bytes) : strdup(".");
    return *folder ? RT_OK : rt_fail(RT_ENOMEM, "file: no memory for the path %s", path);
}

rt_status rt_path_join(const char *dir, const char *name, char **path) {
    const size_t length = strlen(dir);
    const bool has_slash = length > 0 && dir[length - 1] == '/';
    if (asprintf(path, "%s%s%s", dir, has_slash ? "" : "/", name) < 0)
        return rt_fail(RT_ENOMEM, "file: no memory for the path %s/%s", dir, name);
    return RT_OK;
}
