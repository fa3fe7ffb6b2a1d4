/* Where gc has let every segment go, what was known of them goes with them; where some stay, it does.
 *
 * Method: a file system in memory; segments of no book, and then of one. */
#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = 80, TOKENS = 20 };

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    for (int has_book = 1; has_book >= 0; has_book--) {
        kvh_vault v = kvh_vault_in_memory();
        const char *const dirs[] = {v.dirs[0]};
        kv_books *books = NULL;
        kv_gc_report report;
        kv_hash chain;
        kvh_vault_open(&v, kvh_memfs_io(fs));
        for (int i = 0; i < N; i++)
            CHECK(kvh_write_first(&v, (uint64_t)i, TOKENS, &chain) == RT_OK);
        if (has_book)
            CHECK(kv_vault_write_book(v.vault, "one", &chain, 1, TOKENS, "source=x") == RT_OK);
        kvh_vault_close(&v);
        CHECK(kvh_memfs_count(fs, "segments.known") == 1);
        kv_io *io = kvh_memfs_io(fs);
        CHECK(kv_books_open_on(io, dirs, 1, &books) == RT_OK);
        CHECK(kv_books_gc(books, 0, &report) == RT_OK);
        CHECK(kvh_memfs_count(fs, ".kvs") == has_book);
        CHECK(kvh_memfs_count(fs, "segments.known") == has_book);
        CHECK(report.bytes_after == kvh_memfs_bytes(fs));
        if (has_book) CHECK(kv_books_remove(books, "one") == RT_OK);
        kv_books_close(books);
        CHECK(kv_io_close(io) == RT_OK);
    }
    kvh_memfs_free(fs);
    return 0;
}
