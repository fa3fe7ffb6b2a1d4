/* A file that has no name while it is written gets one where links of such files are refused, as by AppArmor, with all that
 * was written; where there is no room for that the old file stays. Nothing lies beside it.
 *
 * Method: linkat(2) fails here, and then fsync(2), whose second call is of the copy, too. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/base/file.h"

enum { N_BYTES = 3000000 };

static int n_refused;
static int syncs_left = 100;

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    (void)from_dir, (void)from, (void)to_dir, (void)to, (void)flags;
    n_refused++;
    errno = EACCES;
    return -1;
}

int fsync(int fd) {
    if (--syncs_left >= 0) return (int)syscall(SYS_fsync, fd);
    errno = ENOSPC;
    return -1;
}

static int n_files(const char *path) {
    int n = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir));) n += entry->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

static void check_is(const char *path, const char *bytes) {
    char *there = NULL;
    int64_t n = 0;
    CHECK(rt_file_read(path, 2 * N_BYTES, &there, &n) == RT_OK && n == N_BYTES);
    CHECK(memcmp(there, bytes, N_BYTES) == 0);
    free(there);
}

int main(void) {
    static char first[N_BYTES], second[N_BYTES];
    char path[4096];
    for (int i = 0; i < N_BYTES; i++) first[i] = (char)(i * 31 >> 3);
    memset(second, 'x', N_BYTES);
    const char *dir = help_dir();
    (void)snprintf(path, sizeof path, "%s/results.json", dir);
    const int fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd < 0) return 77; /* files have names here */
    (void)close(fd);

    CHECK(rt_file_replace(path, first, N_BYTES) == RT_OK && n_refused == 1);
    check_is(path, first);
    CHECK(n_files(dir) == 1);

    syncs_left = 1;
    CHECK(rt_file_replace(path, second, N_BYTES) == RT_EIO && n_refused == 2);
    CHECK(strstr(rt_error_text(), "No space left") != NULL);
    check_is(path, first);
    CHECK(n_files(dir) == 1);
    return 0;
}
