/* Where books fill a vault's budget, what is known of its segments makes way for one more if that is enough, and stays if it
 * is not: or whoever opens the vault next would look into all of them for nothing.
 *
 * Method: a file system in memory; segments that a book holds, and budgets that lack more, and less, than that file takes. */
#include "help_kv_memfs.h"
#include "help_kv_vault.h"
#include "kvstore/vault_inside.h"

enum { N = 80, TOKENS = 20 };

/* One more segment, with so many bytes less than it needs. */
static void check(int64_t n_lacking, bool helps) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    kv_hash chains[N];
    kvh_vault_open(&v, kvh_memfs_io(fs));
    for (int i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "b%d", i);
        CHECK(kvh_write_first(&v, (uint64_t)i, TOKENS, &chains[i]) == RT_OK);
        CHECK(kv_vault_write_book(v.vault, name, &chains[i], 1, TOKENS, "source=x") == RT_OK);
    }
    kvh_vault_close(&v);
    CHECK(kvh_memfs_count(fs, "segments.known") == 1);
    v.bytes_max = kvh_memfs_bytes(fs) + kv_segment_bytes_max(&v.shape, TOKENS) + KV_SPACE_SLACK -
                  n_lacking;
    kvh_vault_open(&v, kvh_memfs_io(fs));
    CHECK(kvh_write_first(&v, N, TOKENS, NULL) == (helps ? RT_OK : RT_ENOFIT));
    CHECK(kvh_memfs_count(fs, "segments.known") == (n_lacking > 0 && helps ? 0 : 1));
    CHECK(kvh_memfs_count(fs, ".kvs") == N + helps);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
}

int main(void) {
    const int64_t known = rt_round_up(24 + N * (int64_t)sizeof(kv_brief), KV_IO_ALIGN);
    check(0, true);
    check(KV_IO_ALIGN, true);
    check(known, true);
    check(known + KV_IO_ALIGN, false);
    return 0;
}
