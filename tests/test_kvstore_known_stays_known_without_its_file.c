/* Whoever has a vault open goes on to know its segments when the file that says so is removed, as by one who needs its room:
 * to choose which of them makes way it looks into none.
 *
 * Method: over a file system in memory that counts, a vault of many is opened anew; the file is removed, and then room is
 * made for which one has to go. */
#include "help_kv_counts.h"
#include "help_kv_vault.h"
#include "kvstore/vault_inside.h"

enum { MANY = 80, TOKENS = 20, OPENS = 6 /* the lock, and what goes */ };

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, kvh_memfs_io(fs));
    for (int i = 0; i < MANY; i++) CHECK(kvh_write_first(&v, (uint64_t)i, TOKENS, NULL) == RT_OK);
    kvh_vault_close(&v);

    v.bytes_max = kvh_memfs_bytes(fs);
    kvh_vault_open(&v, kvh_counting_io(fs));
    CHECK(kv_path_unlink(v.io, "/kv/vault/segments.known") == RT_OK);
    kvh_begin_counting(".kvs");
    CHECK(kv_dirs_lock(&v.vault->dirs) == RT_OK);
    CHECK(kv_vault_make_room(v.vault, 0) == RT_OK);
    kv_dirs_unlock(&v.vault->dirs);
    (void)printf("%ld opens, %ld went\n", (long)kvh_counted().n_opens,
            (long)kv_vault_stats_of(v.vault).n_evicted);
    CHECK(kv_vault_stats_of(v.vault).n_evicted > 0 && kvh_counted().n_opens <= OPENS);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
    return 0;
}
