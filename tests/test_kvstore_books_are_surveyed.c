/* After a survey books are read without a look at their segments, and say the same of themselves: how much disk they take,
 * and how many segments are missing.
 *
 * Method: an engine before a file system in memory, which counts. A book of many segments, and one of the same that has
 * lost its third segment; read as they are, and after a survey. */
#include <stdlib.h>

#include "help_kv_counts.h"
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, SEGMENTS = 5 };

typedef struct seen {
    int64_t bytes[2];
    int32_t n_missing[2];
} seen;

static seen read_both(kv_books *books, kvh_counts *counts) {
    static const char *const names[] = {"one", "two"};
    seen s;
    kvh_begin_counting(".kvs");
    for (int i = 0; i < 2; i++) {
        kv_book book;
        CHECK(kv_books_read(books, names[i], &book) == RT_OK);
        CHECK(book.n_segments == SEGMENTS && *book.fingerprint_text);
        s.bytes[i] = book.stored_bytes;
        s.n_missing[i] = book.n_missing;
        kv_book_free(&book);
    }
    *counts = kvh_counted();
    return s;
}

static void write_book(kvh_vault *v, const char *name, uint64_t seed, int32_t lost) {
    kv_hash chains[SEGMENTS];
    int32_t *ids = kvh_ids(seed, SEGMENTS * N);
    CHECK(kvh_write_prefix(v, ids, SEGMENTS * N, chains) == SEGMENTS);
    CHECK(kv_vault_write_book(v->vault, name, chains, SEGMENTS, SEGMENTS * N, "source=x") == RT_OK);
    if (lost >= 0) {
        const kv_path path = kv_vault_path(v->vault, 0, &chains[lost], ".kvs");
        CHECK(kv_path_unlink(v->io, path.text) == RT_OK);
    }
    free(ids);
}

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    const char *const dirs[] = {v.dirs[0]};
    kv_books *books = NULL;
    kvh_counts before, after;
    int64_t n_bytes = 0;
    kvh_vault_open(&v, kvh_counting_io(fs));
    write_book(&v, "one", 1, -1);
    write_book(&v, "two", 2, 2);
    CHECK(kv_books_open_on(v.io, dirs, 1, &books) == RT_OK);
    const seen as_it_is = read_both(books, &before);
    CHECK(kv_books_survey(books, &n_bytes) == RT_OK);
    const seen surveyed = read_both(books, &after);
    (void)printf("looks: %ld, after a survey %ld\n", (long)before.n_looks, (long)after.n_looks);
    CHECK(before.n_looks >= 2 * SEGMENTS && after.n_looks <= before.n_looks - 2 * SEGMENTS);
    CHECK(after.n_opens == 2); /* the manifests */
    for (int i = 0; i < 2; i++) {
        CHECK(as_it_is.bytes[i] > 0 && surveyed.bytes[i] == as_it_is.bytes[i]);
        CHECK(as_it_is.n_missing[i] == i && surveyed.n_missing[i] == i);
    }
    CHECK(n_bytes >= surveyed.bytes[0] + surveyed.bytes[1]);
    kv_books_close(books);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
    return 0;
}
