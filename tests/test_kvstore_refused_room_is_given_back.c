/* Room that a full disk refuses is not kept: there is as much as before, and what a file holds is as it was. A suspended
 * segment that cannot go on for want of room goes on when there is some.
 *
 * Method: a file system in memory that takes all there is before it says that it is full, as ext4 does. A file that is
 * refused; cells in two files, of which the second is; a suspended segment. Then somebody else reserves what was left. */
#include <fcntl.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"
#include "kvstore/scratch.h"

enum { N = 300, CELL = 2 * KV_IO_ALIGN, ROOM = 20 * CELL };

/* Whether a file of its own may have so many bytes, and no more. */
static void check_left(kv_io *io, int64_t n_bytes) {
    kv_file *file = NULL;
    CHECK(kv_file_open(io, "/other", O_RDWR | O_CREAT, &file) == RT_OK);
    CHECK(kv_file_reserve(file, n_bytes + KV_IO_ALIGN) == RT_ENOFIT);
    CHECK(kv_file_reserve(file, n_bytes) == RT_OK);
    CHECK(kv_path_unlink(io, "/other") == RT_OK);
    kv_file_close(file);
}

static void check_file(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kv_io *io = kvh_memfs_io(fs);
    kv_file *file = NULL;
    kv_io_stat st;
    kvh_memfs_limit(fs, ROOM);
    CHECK(kv_file_open(io, "/one", O_RDWR | O_CREAT, &file) == RT_OK);
    CHECK(kv_file_reserve(file, CELL) == RT_OK);
    CHECK(kv_file_reserve(file, ROOM + CELL) == RT_ENOFIT);
    CHECK(kv_file_stat(file, &st) == RT_OK && st.n_bytes == CELL);
    check_left(io, ROOM - CELL);
    kv_file_close(file);
    CHECK(kv_io_close(io) == RT_OK);
    kvh_memfs_free(fs);
}

/* Two cells each there is room for, and then for three of four more. */
static void check_cells(void) {
    const char *const dirs[] = {"/", "/"};
    kvh_memfs *fs = kvh_memfs_new();
    kv_io *io = kvh_memfs_io(fs);
    kv_scratch *scratch = NULL;
    kvh_memfs_limit(fs, 7 * CELL);
    CHECK(kv_scratch_open(io, dirs, 2, CELL, 100 * CELL, &(kv_host_cells){0}, &scratch) == RT_OK);
    CHECK(kv_scratch_reserve(scratch, 4) == RT_OK);
    CHECK(kv_scratch_reserve(scratch, 4) == RT_ENOFIT);
    CHECK(kv_scratch_bytes_reserved(scratch) == 4 * CELL);
    check_left(io, 3 * CELL);
    CHECK(kv_scratch_reserve(scratch, 2) == RT_OK);
    kv_scratch_unreserve(scratch, 6);
    kv_scratch_close(scratch);
    CHECK(kv_io_close(io) == RT_OK);
    kvh_memfs_free(fs);
}

static void check_suspended(void) {
    kvh_vault v = kvh_vault_in_memory();
    kvh_memfs *fs = kvh_memfs_new();
    int32_t *ids = kvh_ids(1, N);
    kv_writer *writer = NULL;
    kvh_vault_open(&v, kvh_memfs_io(fs));
    const kv_hash *root = kv_vault_root(v.vault);
    CHECK(kv_writer_begin(v.vault, root, 0, ids, N, &writer) == RT_OK);
    CHECK(kvh_fill_segment(&v, writer, 1) == RT_OK);
    CHECK(kv_writers_suspend(&writer, 1, RT_OK) == RT_OK);
    const int64_t n_bytes = kvh_memfs_bytes(fs);
    kvh_memfs_limit(fs, n_bytes + KV_IO_ALIGN);
    for (int i = 0; i < 2; i++) {
        CHECK(kv_writer_resume(v.vault, root, 0, ids, N, &writer) == RT_ENOFIT && !writer);
        CHECK(kvh_memfs_bytes(fs) == n_bytes && kvh_memfs_count(fs, ".part") == 1);
    }
    kvh_memfs_limit(fs, 0);
    CHECK(kv_writer_resume(v.vault, root, 0, ids, N, &writer) == RT_OK && writer);
    CHECK(kv_writer_n_layers(writer) == 1 && kvh_memfs_count(fs, ".bad") == 0);
    CHECK(kvh_fill_segment(&v, writer, KVH_LAYERS) == RT_OK);
    CHECK(kv_writer_finish(writer, NULL) == RT_OK && kvh_find(&v, ids, N, NULL) == N);
    free(ids);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
}

int main(void) {
    check_file();
    check_cells();
    check_suspended();
    return 0;
}
