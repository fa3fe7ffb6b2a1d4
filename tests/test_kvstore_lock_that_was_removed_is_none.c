/* Of a directory that is removed while its lock is waited for, as by somebody who begins anew, the lock is not held: another
 * process has a file of that name by then, and would write beside us. The one that is there now is taken.
 *
 * Method: before the lock is given, the linker's __wrap_kv_io_posix_lock removes the file, and perhaps the directory, so many
 * times. Then nobody else can have the lock of the file that has its name; where it goes on and on, that is an error. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "help_kv_vault.h"
#include "kvstore/io_engine.h"
#include "kvstore/vault_inside.h"

static char lock_path[4096];
static int n_removals;
static bool removes_directory;

int __real_kv_io_posix_lock(void *self, int fd, kv_io_lock lock);
int __wrap_kv_io_posix_lock(void *self, int fd, kv_io_lock lock);
int __wrap_kv_io_posix_lock(void *self, int fd, kv_io_lock lock) {
    if (lock == KV_IO_EXCLUSIVE && n_removals > 0) {
        char folder[sizeof lock_path];
        n_removals--;
        CHECK(unlink(lock_path) == 0);
        (void)snprintf(folder, sizeof folder, "%s", lock_path);
        *strrchr(folder, '/') = '\0';
        if (removes_directory) CHECK(rmdir(folder) == 0);
    }
    return __real_kv_io_posix_lock(self, fd, lock);
}

/* Whether another process could take the lock of the file that has the name. */
static bool is_free(void) {
    const int fd = open(lock_path, O_RDWR | O_CREAT, 0666);
    CHECK(fd >= 0);
    const bool is_taken = flock(fd, LOCK_EX | LOCK_NB) == 0;
    CHECK(is_taken || errno == EWOULDBLOCK);
    (void)close(fd);
    return is_taken;
}

static void check(kv_dirs *dirs, int removals, bool with_directory) {
    n_removals = removals;
    removes_directory = with_directory;
    CHECK(kv_dirs_lock(dirs) == RT_OK);
    CHECK(n_removals == 0 && !is_free());
    kv_dirs_unlock(dirs);
    CHECK(is_free());
}

int main(void) {
    kvh_vault v = kvh_vault_new(1);
    kvh_vault_open(&v, NULL);
    kv_dirs *dirs = &v.vault->dirs;
    (void)snprintf(lock_path, sizeof lock_path, "%s/vault/lock", v.dirs[0]);
    check(dirs, 0, false);
    check(dirs, 1, false);
    check(dirs, 3, false);
    check(dirs, 1, true);
    n_removals = 1000000;
    removes_directory = false;
    CHECK(kv_dirs_lock(dirs) == RT_EIO && strstr(rt_error_text(), "again and again"));
    n_removals = 0;
    check(dirs, 0, false);
    kvh_vault_remove(&v);
    return 0;
}
