/* What is stored of very many texts that begin alike costs a new one that does, too, no more than what is stored of some
 * tens: it finds the common beginning, and not every one of them is looked into. An unfinished segment behind the same
 * beginning, as the end of a book is, is found among any number of them.
 *
 * Method: a file system in memory that counts calls; texts of a whole segment with a quarter in common, first 40 and then
 * 300 of them, and an unfinished one of a half, which is written before all others or after them. */
#include <inttypes.h>
#include <string.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, COMMON = N / 4, UNFINISHED = N / 2, FEW = 40, MANY = 300 };

/* The common beginning, and n - COMMON ids that no other number has. */
static int32_t *ids_of(uint64_t number, int64_t n) {
    int32_t *common = kvh_ids(1, COMMON), *ids = kvh_ids(number, n);
    memcpy(ids, common, COMMON * sizeof *ids);
    free(common);
    return ids;
}

static void write_one(kvh_vault *v, uint64_t number, int32_t n) {
    int32_t *ids = ids_of(number, n);
    CHECK(kvh_write_segment(v, kv_vault_root(v->vault), 0, ids, n, NULL) == RT_OK);
    free(ids);
}

/* Calls that it takes to find n_expected tokens of a text. */
static int64_t calls_of(kvh_vault *v, kvh_memfs *fs, uint64_t number, int64_t n_expected) {
    int32_t *ids = ids_of(number, N - 1);
    kv_prefix prefix;
    const int64_t before = kvh_memfs_n_calls(fs);
    CHECK(kv_vault_find(v->vault, ids, N - 1, &prefix) == RT_OK && prefix.n_tokens == n_expected);
    kv_prefix_free(&prefix);
    free(ids);
    return kvh_memfs_n_calls(fs) - before;
}

static void check(bool is_first) {
    enum { NEW = 2, BOOK = 3, OTHERS = 10 };
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, kvh_memfs_io(fs));
    if (is_first) write_one(&v, BOOK, UNFINISHED);
    for (uint64_t i = 0; i < FEW; i++) write_one(&v, OTHERS + i, N);
    const int64_t n_few = calls_of(&v, fs, NEW, COMMON);
    for (uint64_t i = FEW; i < MANY; i++) write_one(&v, OTHERS + i, N);
    if (!is_first) write_one(&v, BOOK, UNFINISHED);
    const int64_t n_many = calls_of(&v, fs, NEW, COMMON);
    const int64_t n_of_book = calls_of(&v, fs, BOOK, UNFINISHED);
    (void)printf("%" PRId64 " calls among %d, %" PRId64 " among %d, %" PRId64 " for the book\n",
            n_few, FEW, n_many, MANY, n_of_book);
    CHECK(n_many < 2 * n_few && n_of_book < 2 * n_few);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
}

int main(void) {
    check(true);
    check(false);
    return 0;
}
