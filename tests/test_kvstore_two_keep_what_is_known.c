/* Two processes that have written segments both keep what they know of them: the one that ends last does not forget the
 * other's, and the next one to open the vault looks into none.
 *
 * Method: two vaults over one file system in memory, open at the same time; then a third, before an engine that counts. */
#include "help_kv_counts.h"
#include "help_kv_vault.h"

enum { N = 70, TOKENS = 20, OPENS = 2 /* the lock, and what is known */ };

static void write_some(kvh_vault *v, int from) {
    for (int i = from; i < from + N; i++)
        CHECK(kvh_write_first(v, (uint64_t)i, TOKENS, NULL) == RT_OK);
}

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault first = kvh_vault_in_memory(), second = first, third = first;
    kvh_vault_open(&first, kvh_memfs_io(fs));
    kvh_vault_open(&second, kvh_memfs_io(fs));
    write_some(&first, 0);
    write_some(&second, N);
    kvh_vault_close(&first);
    kvh_vault_close(&second);
    kv_io *io = kvh_counting_io(fs);
    kvh_vault_open(&third, io);
    const kvh_counts counts = kvh_counted();
    (void)printf("%ld opens of %d segments\n", (long)counts.n_opens, 2 * N);
    CHECK(kv_vault_stats_of(third.vault).n_segments == 2 * N);
    CHECK(kv_vault_stats_of(third.vault).bytes_used == kvh_memfs_bytes(fs));
    CHECK(counts.n_opens == OPENS);
    kvh_vault_close(&third);
    kvh_memfs_free(fs);
    return 0;
}
