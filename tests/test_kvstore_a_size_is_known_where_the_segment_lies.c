/* How large a segment is, is kept in its own directory: whoever has only some of the directories, lets it go there and
 * writes it again in another size, leaves nobody who has more of them with the size from before.
 *
 * Method: over a file system in memory, a vault of two directories is filled densely and closed; one of its second
 * directory alone lets all go by gc and writes them again plainly; then what the first counts and what there is are
 * compared, by one opened before and one opened after. */
#include <stdlib.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"
#include "kvstore/vault_inside.h"

enum { N = 140, TOKENS = 512 };

static kvh_vault open_in(
        kvh_memfs *fs, const char *const *dirs, int32_t n_dirs, kv_packing packing) {
    kvh_vault v = kvh_vault_in_memory();
    v.n_dirs = n_dirs;
    for (int32_t i = 0; i < n_dirs; i++) (void)snprintf(v.dirs[i], sizeof v.dirs[i], "%s", dirs[i]);
    kvh_vault_open(&v, kvh_memfs_io(fs));
    kv_codec_pack(v.codec, packing);
    return v;
}

static void write_all(kvh_vault *v) {
    for (int i = 0; i < N; i++) CHECK(kvh_write_first(v, (uint64_t)i, TOKENS, NULL) == RT_OK);
}

static void let_all_go(kvh_memfs *fs, const char *dir) {
    kv_books *books = NULL;
    kv_gc_report report;
    kv_io *io = kvh_memfs_io(fs);
    CHECK(kv_books_open_on(io, &dir, 1, &books) == RT_OK);
    CHECK(kv_books_gc(books, 0, &report) == RT_OK);
    kv_books_close(books);
    CHECK(kv_io_close(io) == RT_OK);
}

static void check_counted(kvh_vault *v, kvh_memfs *fs) {
    CHECK(kv_dirs_lock(&v->vault->dirs) == RT_OK);
    CHECK(kv_vault_make_room(v->vault, 0) == RT_OK);
    kv_dirs_unlock(&v->vault->dirs);
    const int64_t n_bytes = kv_vault_stats_of(v->vault).bytes_used;
    (void)printf("%ld bytes, and %ld are counted\n", (long)kvh_memfs_bytes(fs), (long)n_bytes);
    CHECK(n_bytes == kvh_memfs_bytes(fs));
}

int main(void) {
    const char *const both[] = {"/kv", "/kv2"};
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault all = open_in(fs, both, 2, KV_PACK_DENSE);
    write_all(&all);
    kvh_vault_close(&all);
    CHECK(kvh_memfs_count(fs, "segments.known") == 2);
    kvh_vault old = open_in(fs, both, 2, KV_PACK_DENSE);
    let_all_go(fs, both[1]);
    CHECK(kvh_memfs_count(fs, ".kvs") < N);
    kvh_vault some = open_in(fs, &both[1], 1, KV_PACK_PLAIN);
    write_all(&some);
    CHECK(kvh_memfs_count(fs, ".kvs") > N);
    check_counted(&old, fs);
    kvh_vault_close(&some);
    check_counted(&old, fs);
    kvh_vault_close(&old);
    kvh_vault after = open_in(fs, both, 2, KV_PACK_DENSE);
    check_counted(&after, fs);
    kvh_vault_close(&after);
    kvh_memfs_free(fs);
    return 0;
}
