/* What is known of segments is read once by whoever has a vault open: of many of them a commit reads no more than the
 * beginning of that file, twice, as long as nobody has replaced it; once somebody has, the new one.
 *
 * Method: vaults over a file system in memory that counts the bytes read while one segment is written, beside none and
 * beside many; the file is replaced by a second vault, which one more segment and its close make keep it. */
#include <inttypes.h>

#include "help_kv_counts.h"
#include "help_kv_vault.h"
#include "kvstore/vault_inside.h"

enum { MANY = 640, MORE = 64, TOKENS = 20, BEGINNING = KV_IO_ALIGN };

static kvh_vault open_one(kvh_memfs *fs) {
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, kvh_counting_io(fs));
    return v;
}

static int64_t bytes_read_by(kvh_vault *v, int i) {
    kvh_begin_counting(".kvs");
    CHECK(kvh_write_first(v, (uint64_t)i, TOKENS, NULL) == RT_OK);
    return kvh_counted().bytes_read;
}

static void fill(kvh_memfs *fs, int from, int to) {
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, kvh_memfs_io(fs));
    for (int i = from; i < to; i++) CHECK(kvh_write_first(&v, (uint64_t)i, TOKENS, NULL) == RT_OK);
    kvh_vault_close(&v);
}

int main(void) {
    kvh_memfs *empty = kvh_memfs_new(), *fs = kvh_memfs_new();
    kvh_vault alone = open_one(empty);
    const int64_t least = bytes_read_by(&alone, 0);
    kvh_vault_close(&alone);

    fill(fs, 0, MANY);
    kvh_vault v = open_one(fs);
    const int64_t n_file = MANY * (int64_t)sizeof(kv_brief);
    const int64_t first = bytes_read_by(&v, MANY);
    fill(fs, MANY + 1, MANY + 1 + MORE);
    const int64_t replaced = bytes_read_by(&v, MANY + 1 + MORE);
    const int64_t again = bytes_read_by(&v, MANY + 2 + MORE);
    (void)printf("%" PRId64 " bytes alone; %" PRId64 ", %" PRId64 ", %" PRId64 " beside %" PRId64
                 "\n",
            least, first, replaced, again, n_file);
    CHECK(first <= least + 2 * BEGINNING && again <= least + 2 * BEGINNING);
    CHECK(replaced > least + n_file && replaced < least + 2 * n_file);
    kvh_vault_close(&v);
    kvh_memfs_free(empty);
    kvh_memfs_free(fs);
    return 0;
}
