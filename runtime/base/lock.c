#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "file.h"
#include "interrupt.h"
#include "log.h"

static const double stopping_s = 1.0;

/* Who may write into the directory may lock it: an exclusive lock on NFS wants a file open for writing. */
static void open_to_writers(int fd, const char *dir) {
    struct stat folder;
    struct stat file;
    if (stat(dir, &folder) != 0 || fstat(fd, &file) != 0) return;
    const mode_t writes = folder.st_mode & (S_IWGRP | S_IWOTH);
    (void)fchmod(fd, (file.st_mode & 07777) | writes | writes << 1);
}

/* A file that is there is not opened with O_CREAT: in a directory such as /tmp that is refused where it is another user's. */
static int open_for_writing(const char *dir, const char *path, int flags) {
    int fd = open(path, O_RDWR | flags);
    if (fd >= 0 || errno != ENOENT) return fd;
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | flags, 0666);
    if (fd < 0) return errno == EEXIST ? open(path, O_RDWR | flags) : -1;
    open_to_writers(fd, dir);
    return fd;
}

int rt_lock_file_open(const char *dir, const char *name) {
    char *path = NULL;
    const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    if (rt_path_join(dir, name, &path) != RT_OK) return -1;
    int fd = open_for_writing(dir, path, flags);
    if (fd < 0) fd = open(path, O_RDONLY | flags);
    free(path);
    return fd;
}

static bool is_over(double since, double patience_s) {
    const bool is_stopping = atomic_load(&rt_interrupted_by) != 0;
    return rt_now() - since > (is_stopping && patience_s > stopping_s ? stopping_s : patience_s);
}

static bool is_locked(int fd, double patience_s, bool *is_held) {
    const double since = rt_now();
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        *is_held = errno == EWOULDBLOCK;
        if ((errno != EWOULDBLOCK && errno != EINTR) || is_over(since, patience_s)) return false;
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    *is_held = false;
    return true;
}

/* Of a file in it: Linux hands such a lock on to an NFS server, and one of the directory itself does not leave the machine. */
int rt_directory_lock(const char *dir, double patience_s, bool *is_held) {
    *is_held = false;
    const int fd = rt_lock_file_open(dir, ".lock");
    if (fd < 0 || is_locked(fd, patience_s, is_held)) return fd;
    (void)close(fd);
    return -1;
}

/* ---- who holds one --------------------------------------------------------------------------- */

/* A line of /proc/locks, "1: FLOCK  ADVISORY  WRITE 12 fe:00:345 0 EOF": the process, if it holds the file's lock; else 0, as where
 * that is of another name space. */
static int64_t holder_of(const char *line, uint64_t device, uint64_t inode) {
    int64_t process = 0;
    unsigned n_major = 0;
    unsigned n_minor = 0;
    uint64_t number = 0;
    const int n = sscanf(line, "%*d: FLOCK %*s WRITE %" SCNd64 " %x:%x:%" SCNu64, &process,
            &n_major, &n_minor, &number);
    const bool is_file =
            n == 4 && number == inode && n_major == major(device) && n_minor == minor(device);
    return is_file && process > 0 ? process : 0;
}

static int64_t find_process(uint64_t device, uint64_t inode) {
    char line[256];
    int64_t process = 0;
    FILE *file = fopen("/proc/locks", "re");
    if (!file) return 0;
    while (process == 0 && fgets(line, sizeof line, file)) process = holder_of(line, device, inode);
    (void)fclose(file);
    return process;
}

/* 'T': it is stopped, 't': by a debugger; 0: there is no such process. "12 (its name) T 1 ..." */
static char state_of(int64_t process) {
    char path[64];
    char line[256] = "";
    (void)snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", process);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    const char *end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    (void)fclose(file);
    return end && end[1] == ' ' ? end[2] : 0;
}

void rt_lock_find_holder(uint64_t device, uint64_t inode, rt_lock_holder *out) {
    char host[64] = "";
    const int64_t process = find_process(device, inode);
    const char state = process > 0 ? state_of(process) : 0;
    (void)snprintf(out->who, sizeof out->who, "another process");
    out->how[0] = '\0';
    if (!state) return;
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    (void)snprintf(out->who, sizeof out->who, "process %" PRId64 "%s%s", process,
            *host ? " on " : "", host);
    if (state == 'T')
        (void)snprintf(out->how, sizeof out->how,
                "; it is stopped: kill -CONT %" PRId64 " lets it go on", process);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static int set_byte(int fd, int64_t at, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

rt_byte_lock rt_byte_lock_take(int fd, int64_t at) {
    if (fd < 0) return RT_BYTE_UNKNOWN;
    if (set_byte(fd, at, F_WRLCK) == 0) return RT_BYTE_OURS;
    return errno == EAGAIN || errno == EACCES ? RT_BYTE_OTHERS : RT_BYTE_UNKNOWN;
}

void rt_byte_lock_give_back(int fd, int64_t at) {
    if (fd >= 0) (void)set_byte(fd, at, F_UNLCK);
}
