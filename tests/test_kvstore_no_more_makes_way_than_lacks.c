/* On a disk that has less than the budget, what is kept makes way for a span's segments as far as they lack room, however
 * many of them found some, and for each of those that find none.
 *
 * Method: a file system in memory, with eight segments that may go and room beside them for all but one or more of those to
 * come. */
#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, N_OLD = 8, N_NEW = 4 };

static void check(int n_lack) {
    kvh_vault v = kvh_vault_in_memory();
    kvh_memfs *fs = kvh_memfs_new();
    kv_writer *writers[N_NEW];
    int32_t *ids = kvh_ids(N_OLD, (int64_t)N_NEW * N);
    kvh_vault_open(&v, kvh_memfs_io(fs));
    for (uint64_t seed = 0; seed < N_OLD; seed++)
        CHECK(kvh_write_first(&v, seed, N, NULL) == RT_OK);
    const int64_t n_most = kv_segment_bytes_max(&v.shape, N);
    const int64_t n_each = kvh_memfs_bytes(fs) / N_OLD;
    kvh_memfs_limit(fs, kvh_memfs_bytes(fs) + (N_NEW - n_lack) * n_most + KV_IO_ALIGN);
    CHECK(kv_writers_begin(v.vault, kv_vault_root(v.vault), 0, ids, N_NEW, writers) == RT_OK);
    const int64_t n_gone = N_OLD - kvh_memfs_count(fs, ".kvs");
    (void)printf("%d of %d KiB are gone for %d times %d\n", (int)(n_gone * n_each >> 10),
            (int)(N_OLD * n_each >> 10), n_lack, (int)(n_most >> 10));
    CHECK(n_gone > 0 && (n_gone - n_lack) * n_each < n_lack * n_most);
    for (int i = 0; i < N_NEW; i++) kv_writer_abort(writers[i]);
    free(ids);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
}

int main(void) {
    for (int n_lack = 1; n_lack < N_NEW; n_lack++) check(n_lack);
    return 0;
}
