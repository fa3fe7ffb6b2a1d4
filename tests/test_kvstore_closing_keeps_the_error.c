/* Why a run failed is told after its vault was closed: that what is known of segments could not be kept then does not take
 * its place.
 *
 * Method: a file system in memory that has become read-only by then. */
#include <string.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = 80, TOKENS = 20 };

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, kvh_memfs_io(fs));
    for (int i = 0; i < N; i++) CHECK(kvh_write_first(&v, (uint64_t)i, TOKENS, NULL) == RT_OK);
    kvh_memfs_read_only(fs);
    CHECK(rt_fail(RT_EPEER, "rank 1 is gone") == RT_EPEER);
    kvh_vault_close(&v);
    CHECK(kvh_memfs_count(fs, "segments.known") == 0);
    CHECK(strcmp(rt_error_text(), "rank 1 is gone") == 0);
    kvh_memfs_free(fs);
    return 0;
}
