/* A vault is listed also by a process that has hardly a file left to open: folders that cannot be opened side by side are
 * opened one after another.
 *
 * Method: an engine before a file system in memory that lists one folder of those it is given at once, and has no file for
 * the rest. */
#include <errno.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = 12, TOKENS = 20 };

static kv_io_engine inner;
static int n_refused;

static void list_few(void *self, kv_io_list *lists, int n) {
    for (int i = 0; i < n; i++)
        lists[i].result =
                i == 0 ? inner.table->list_dir(self, lists[i].dir, &lists[i].names) : -EMFILE;
    n_refused += n - 1;
}

int main(void) {
    static const kv_io_table few = {.list_all = list_few};
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, kvh_memfs_io(fs));
    for (int i = 0; i < N; i++) CHECK(kvh_write_first(&v, (uint64_t)i, TOKENS, NULL) == RT_OK);
    kvh_vault_close(&v);
    CHECK(kvh_vault_try_open(&v, kvh_memfs_io_instead(fs, &few, &inner)) == RT_OK);
    CHECK(n_refused > 0 && kv_vault_stats_of(v.vault).n_segments == N);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
    return 0;
}
