/* Where what lies in a vault does not count towards its budget, what is known of its segments is kept also by whoever only
 * looks into them, with a budget far smaller than they are.
 *
 * Method: an engine before a file system in memory, which counts; the file is lost between two runs that write nothing. */
#include "help_kv_counts.h"
#include "help_kv_vault.h"

enum { N = 80, TOKENS = 20, FEW = 16 * KV_IO_ALIGN, OPENS = 2 /* the lock, and what is known */ };

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, kvh_memfs_io(fs));
    for (int i = 0; i < N; i++) CHECK(kvh_write_first(&v, (uint64_t)i, TOKENS, NULL) == RT_OK);
    kvh_vault_close(&v);
    kv_io *io = kvh_memfs_io(fs);
    CHECK(kv_path_unlink(io, "/kv/vault/segments.known") == RT_OK);
    CHECK(kv_io_close(io) == RT_OK);
    v.bytes_max = FEW;
    v.is_on_top = true;
    const int64_t n_max = kvh_memfs_bytes(fs) + FEW;
    for (int i = 0; i < 2; i++) {
        io = kvh_counting_io(fs);
        kvh_vault_open(&v, io);
        const kvh_counts counts = kvh_counted();
        (void)printf("%ld opens of %d segments\n", (long)counts.n_opens, N);
        CHECK(i == 0 ? counts.n_opens >= N : counts.n_opens == OPENS);
        kvh_vault_close(&v);
        CHECK(kvh_memfs_count(fs, "segments.known") == 1 && kvh_memfs_bytes(fs) <= n_max);
    }
    kvh_memfs_free(fs);
    return 0;
}
