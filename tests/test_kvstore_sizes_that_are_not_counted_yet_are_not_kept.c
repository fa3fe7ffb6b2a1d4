/* A file system that counts a file's blocks some time after it was synced (ZFS: seconds) does not make the vault believe for
 * ever that its segments take next to nothing: once they are counted, they are so in the vault, and the cap holds.
 *
 * Method: an engine before a file system in memory that says of segments that they take one sector, until told otherwise. */
#include <string.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = 80, TOKENS = 20 };

static kv_io_engine inner;
static bool is_counted;

static int look(void *self, const char *path, kv_io_stat *out) {
    const int result = inner.table->stat(self, path, out);
    const size_t n = strlen(path);
    if (result >= 0 && !is_counted && n > 4 && strcmp(path + n - 4, ".kvs") == 0)
        out->physical_bytes = 512;
    return result;
}

static kv_io *io_over(kvh_memfs *fs) {
    static const kv_io_table late = {.stat = look};
    return kvh_memfs_io_instead(fs, &late, &inner);
}

static void write_some(kvh_vault *v, int from, int n) {
    for (int i = from; i < from + n; i++)
        CHECK(kvh_write_first(v, (uint64_t)i, TOKENS, NULL) == RT_OK);
}

/* What is known is kept by whoever wrote the segments, or has looked into them. */
static void check(bool is_known_by_look) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    is_counted = false;
    kvh_vault_open(&v, io_over(fs));
    write_some(&v, 0, N);
    kvh_vault_close(&v);
    CHECK(kvh_memfs_count(fs, "segments.known") == 1);
    if (is_known_by_look) {
        kv_io *io = io_over(fs);
        CHECK(kv_path_unlink(io, "/kv/vault/segments.known") == RT_OK);
        CHECK(kv_io_close(io) == RT_OK);
        kvh_vault_open(&v, io_over(fs));
        kvh_vault_close(&v);
        CHECK(kvh_memfs_count(fs, "segments.known") == 1);
    }
    is_counted = true;
    v.bytes_max = kvh_memfs_bytes(fs) + 4 * KV_IO_ALIGN;
    kvh_vault_open(&v, io_over(fs));
    const int64_t n_bytes = kv_vault_stats_of(v.vault).bytes_used;
    (void)printf("%ld bytes, and %ld are counted\n", (long)kvh_memfs_bytes(fs), (long)n_bytes);
    CHECK(n_bytes == kvh_memfs_bytes(fs));
    write_some(&v, N, 8);
    CHECK(kvh_memfs_bytes(fs) <= v.bytes_max);
    kvh_vault_close(&v);
    CHECK(kvh_memfs_bytes(fs) <= v.bytes_max);
    kvh_memfs_free(fs);
}

int main(void) {
    check(false);
    check(true);
    return 0;
}
