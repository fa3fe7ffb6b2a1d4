/* A vault that is gone because its drive is not mounted any more is not made again on the drive that the mount point lies on,
 * which it would fill; that is told, and all goes on once the drive is back. One that was removed is made again, also where a
 * link leads to its drive.
 *
 * Method: a file system in memory, of which /link leads to another device. The vault below it is not seen until somebody makes
 * it, or it is shown again; while nothing is mounted there, /link leads to a directory of the first device. */
#include <errno.h>
#include <string.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, ROOT_DEVICE = 1, DRIVE = 2 };

static const char link[] = "/link", below[] = "/link/", vault[] = "/link/kv";
static kv_io_engine inner;
static bool is_mounted = true, is_hidden;
static int n_made;

static bool is_seen(const char *path) {
    return !is_hidden || strncmp(path, vault, strlen(vault)) != 0;
}

static int open_seen(void *self, const char *path, int flags) {
    return is_seen(path) ? inner.table->open(self, path, flags) : -ENOENT;
}

static int stat_seen(void *self, const char *path, kv_io_stat *out) {
    char whole[512];
    const size_t n = strlen(path);
    const bool is_inside = n >= 2 && strcmp(path + n - 2, "/.") == 0;
    if (!is_seen(path)) return -ENOENT;
    (void)snprintf(whole, sizeof whole, "%.*s", (int)(is_inside ? n - 2 : n), path);
    const int result = inner.table->stat(self, whole, out);
    out->device = is_mounted && strncmp(path, below, strlen(below)) == 0 ? DRIVE : ROOT_DEVICE;
    return result;
}

static int make_seen(void *self, const char *path) {
    const int result = inner.table->make_dir(self, path);
    const bool was_hidden = !is_seen(path);
    n_made += was_hidden;
    is_hidden = false;
    return was_hidden && result == -EEXIST ? 0 : result;
}

int main(void) {
    static const kv_io_table seen = {.open = open_seen, .stat = stat_seen, .make_dir = make_seen};
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    (void)snprintf(v.dirs[0], sizeof v.dirs[0], "%s", vault);
    kvh_vault_open(&v, kvh_memfs_io_instead(fs, &seen, &inner));
    CHECK(kvh_write_first(&v, 1, N, NULL) == RT_OK && n_made == 0);

    is_hidden = true;
    CHECK(kvh_write_first(&v, 2, N, NULL) == RT_OK && n_made > 0);

    n_made = 0;
    is_hidden = true;
    is_mounted = false;
    CHECK(kvh_write_first(&v, 3, N, NULL) == RT_EIO && n_made == 0);
    (void)printf("%s\n", rt_error_text());
    CHECK(strstr(rt_error_text(), "is that mounted?") && strstr(rt_error_text(), link));

    is_hidden = false;
    is_mounted = true;
    CHECK(kvh_write_first(&v, 3, N, NULL) == RT_OK && n_made == 0);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
    return 0;
}
