/* Folders that were made before one of their company failed are there after a crash, too: who tries again finds them, makes the
 * others, and believes all of them durable.
 *
 * Method: over a file system in memory the second of three folders cannot be made, once; then all are made, and the disk is as
 * a crash leaves it when nothing is written that no sync has covered. */
#include <errno.h>

#include "help_kv.h"
#include "help_kv_memfs.h"

static const char *const above[] = {"/a", "/b", "/c"};
static const char *const folders[] = {"/a/1", "/b/1", "/c/1"};
enum { N = 3 };

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kv_io *io = kvh_memfs_io(fs);
    uint64_t seed = 1;
    CHECK(kv_paths_make_dirs(io, above, N) == RT_OK);
    kvh_memfs_fail(fs, kvh_memfs_n_calls(fs) + 1, EIO, false);
    CHECK(kv_paths_make_dirs(io, folders, N) == RT_EIO);
    CHECK(kv_paths_make_dirs(io, folders, N) == RT_OK);
    kvh_memfs *disk = kvh_memfs_crash(fs, kvh_memfs_n_effects(fs), KVH_CRASH_NONE, &seed);
    kv_io *after = kvh_memfs_io(disk);
    for (int i = 0; i < N; i++) {
        kv_io_stat st;
        bool exists;
        CHECK(kv_path_stat(after, folders[i], &st, &exists) == RT_OK);
        CHECK(exists && st.is_dir);
    }
    CHECK(kv_io_close(after) == RT_OK);
    kvh_memfs_free(disk);
    CHECK(kv_io_close(io) == RT_OK);
    kvh_memfs_free(fs);
    return 0;
}
