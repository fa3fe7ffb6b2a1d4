/* Names, sizes and locks by POSIX calls: kv_io_table from truncate on, the same for every engine that
 * works on real files. Nothing follows a symbolic link in the last component. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io_engine.h"
#include "runtime/base/file.h"
#include "runtime/base/memstream.h"

static int result_of(int result) {
    return result < 0 ? -errno : result;
}

int kv_io_posix_truncate(void *self, int fd, int64_t n_bytes) {
    (void)self;
    return result_of(ftruncate(fd, n_bytes));
}

int kv_io_posix_lock(void *self, int fd, kv_io_lock lock) {
    static const int operations[] = {LOCK_UN, LOCK_SH | LOCK_NB, LOCK_EX | LOCK_NB};
    (void)self;
    return result_of(flock(fd, operations[lock]));
}

static int stat_result(int result, const struct stat *from, kv_io_stat *out) {
    if (result < 0) return -errno;
    *out = (kv_io_stat){.is_file = S_ISREG(from->st_mode),
            .is_dir = S_ISDIR(from->st_mode),
            .n_bytes = from->st_size,
            .physical_bytes = (int64_t)from->st_blocks * 512,
            .changed_s = from->st_mtime,
            .n_links = (int64_t)from->st_nlink,
            .device = from->st_dev,
            .inode = from->st_ino};
    return 0;
}

int kv_io_posix_stat_file(void *self, int fd, kv_io_stat *out) {
    (void)self;
    struct stat st;
    return stat_result(fstat(fd, &st), &st, out);
}

int kv_io_posix_stat(void *self, const char *path, kv_io_stat *out) {
    (void)self;
    struct stat st;
    return stat_result(lstat(path, &st), &st, out);
}

int kv_io_posix_rename(void *self, const char *from, const char *to) {
    (void)self;
    return result_of(rename(from, to));
}

int kv_io_posix_unlink(void *self, const char *path) {
    (void)self;
    return result_of(unlink(path));
}

int kv_io_posix_touch(void *self, const char *path) {
    (void)self;
    return result_of(utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW));
}

int kv_io_posix_make_dir(void *self, const char *path) {
    (void)self;
    return result_of(mkdir(path, 0700));
}

int kv_io_posix_sync_dir(void *self, const char *path) {
    (void)self;
    return -rt_dir_sync(path);
}

/* The names of an open directory, into a growing buffer. */
static int read_names(DIR *dir, FILE *out) {
    int n = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) return errno ? -errno : n;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        (void)fwrite(entry->d_name, strlen(entry->d_name) + 1, 1, out);
        n++;
    }
}

int kv_io_posix_list_dir(void *self, const char *path, char **names) {
    (void)self;
    size_t n_bytes = 0;
    *names = NULL;
    DIR *dir = opendir(path);
    if (!dir) return -errno;
    FILE *out = rt_memstream_open(names, &n_bytes);
    int result = out ? read_names(dir, out) : -ENOMEM;
    const bool is_whole = rt_memstream_close(out, names);
    (void)closedir(dir);
    if (is_whole && result >= 0) return result;
    free(*names);
    *names = NULL;
    return result < 0 ? result : -ENOMEM;
}
