/* On a file system that cannot sync a directory, and says EINVAL, books are kept and files replaced all the same; one that
 * failed to sync a directory is believed.
 *
 * Method: fsync() of directories, between the program and the system, answers so. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "help_kv_vault.h"
#include "runtime/base/file.h"

enum { TOKENS = 20 };

static int error;
static int64_t n_refused;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    if (!S_ISDIR(st.st_mode)) return __real_fsync(fd);
    n_refused++;
    errno = error;
    return -1;
}

static rt_status replace_file(const char *dir) {
    char path[400];
    (void)snprintf(path, sizeof path, "%s/results.json", dir);
    return rt_file_replace(path, "[]", 2);
}

int main(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *ids = kvh_ids(1, TOKENS);
    error = EINVAL;
    kvh_vault_open(&v, NULL);
    CHECK(kvh_write_first(&v, 1, TOKENS, NULL) == RT_OK);
    CHECK(kvh_find(&v, ids, TOKENS, NULL) == TOKENS);
    CHECK(n_refused > 0 && replace_file(v.dirs[0]) == RT_OK);
    error = EIO;
    CHECK(kvh_write_first(&v, 2, TOKENS, NULL) == RT_EIO);
    CHECK(replace_file(v.dirs[0]) == RT_EIO);
    kvh_vault_remove(&v);
    free(ids);
    return 0;
}
