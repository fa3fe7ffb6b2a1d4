/* Locks of a directory: whoever may write into it may lock it, whatever the umask; one is waited for as long as it is said, or
 * a second once a signal came, and whether another holds it is told from there being none; bytes are locked apart.
 *
 * Method: modes of the file that is made; locks of another process of ours, which ends while it holds them. */
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/base/file.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/lock.h"
#include "runtime/base/log.h"

static mode_t mode_of_lock(const char *dir, const char *name, mode_t mode) {
    char *folder = NULL;
    char *path = NULL;
    struct stat info;
    bool is_held = true;
    CHECK(rt_path_join(dir, name, &folder) == RT_OK && mkdir(folder, 0700) == 0);
    CHECK(chmod(folder, mode) == 0);
    const int fd = rt_directory_lock(folder, 0.0, &is_held);
    CHECK(fd >= 0 && !is_held && close(fd) == 0);
    CHECK(rt_path_join(folder, ".lock", &path) == RT_OK && stat(path, &info) == 0);
    free(path);
    free(folder);
    return info.st_mode & 07777;
}

/* Seconds that a lock held by another is waited for. */
static double wait_for_lock(const char *dir, double patience_s) {
    bool is_held = false;
    const double begin = rt_now();
    CHECK(rt_directory_lock(dir, patience_s, &is_held) == -1 && is_held);
    return rt_now() - begin;
}

/* Another process that has the directory's lock, and byte 7 of DIR/bytes. */
static pid_t hold(const char *dir) {
    int ends[2];
    char byte = 0;
    bool is_held = false;
    CHECK(pipe(ends) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(rt_directory_lock(dir, 0.0, &is_held) >= 0);
        CHECK(rt_byte_lock_take(rt_lock_file_open(dir, "bytes"), 7) == RT_BYTE_OURS);
        CHECK(write(ends[1], "x", 1) == 1);
        for (;;) (void)pause();
    }
    CHECK(read(ends[0], &byte, 1) == 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return child;
}

int main(void) {
    const char *dir = help_dir();
    bool is_held = true;
    (void)umask(022);
    CHECK(mode_of_lock(dir, "mine", 0755) == 0644);
    CHECK(mode_of_lock(dir, "ours", 02775) == 0664);
    CHECK(mode_of_lock(dir, "everybodys", 01777) == 0666);
    CHECK(rt_directory_lock("/nowhere", 0.0, &is_held) == -1 && !is_held);

    const pid_t child = hold(dir);
    const int bytes = rt_lock_file_open(dir, "bytes");
    CHECK(rt_byte_lock_take(bytes, 7) == RT_BYTE_OTHERS);
    CHECK(rt_byte_lock_take(bytes, INT64_MAX >> 2) == RT_BYTE_OURS);
    CHECK(rt_byte_lock_take(-1, 8) == RT_BYTE_UNKNOWN);
    const double waited_s = wait_for_lock(dir, 0.2);
    CHECK(waited_s >= 0.2 && waited_s < 30.0);
    atomic_store(&rt_interrupted_by, 2);
    CHECK(wait_for_lock(dir, 60.0) < 30.0);
    atomic_store(&rt_interrupted_by, 0);

    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    CHECK(rt_byte_lock_take(bytes, 7) == RT_BYTE_OURS);
    const int fd = rt_directory_lock(dir, 10.0, &is_held);
    CHECK(fd >= 0 && !is_held);
    return 0;
}
