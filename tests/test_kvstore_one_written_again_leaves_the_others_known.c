/* Where a segment is written again only its own size is known no more: whoever opens the vault next looks into none of the
 * others, nor at their sizes, though the run that wrote it was killed and has kept nothing. And a run that writes very many
 * keeps what it knows meanwhile, as each scan looks at them until then.
 *
 * Method: vaults over a file system in memory that counts. Some of many segments are let go by gc, one is written again, and
 * the disk is taken as it is then. */
#include <stdlib.h>

#include "help_kv_counts.h"
#include "help_kv_vault.h"
#include "kvstore/vault_inside.h"

enum { MANY = 320, TOKENS = 20, OPENS = 2 /* the lock, and what is known */, VERY_MANY = 4096 };

static kvh_vault open_one(kvh_memfs *fs) {
    kvh_vault v = kvh_vault_in_memory();
    kv_io *io = kvh_counting_io(fs);
    kvh_begin_counting(".kvs");
    kvh_vault_open(&v, io);
    return v;
}

static void write_one(kvh_vault *v, int i) {
    CHECK(kvh_write_first(v, (uint64_t)i, TOKENS, NULL) == RT_OK);
}

/* Some of them, by whoever has no model. */
static void let_go(kvh_memfs *fs) {
    const char *const dirs[] = {"/kv"};
    kv_books *books = NULL;
    kv_gc_report report;
    kv_io *io = kvh_memfs_io(fs);
    CHECK(kv_books_open_on(io, dirs, 1, &books) == RT_OK);
    CHECK(kv_books_gc(books, kvh_memfs_bytes(fs) * 15 / 16, &report) == RT_OK);
    kv_books_close(books);
    CHECK(kv_io_close(io) == RT_OK);
}

/* The first of them that is not there. */
static int gone(kvh_vault *v) {
    for (int i = 0; i < MANY; i++) {
        int32_t *ids = kvh_ids((uint64_t)i, TOKENS);
        const int64_t n_found = kvh_find(v, ids, TOKENS, NULL);
        free(ids);
        if (n_found == 0) return i;
    }
    return -1;
}

static kvh_memfs *of_many(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = open_one(fs);
    for (int i = 0; i < MANY; i++) write_one(&v, i);
    kvh_vault_close(&v);
    return fs;
}

static void check_one_again(void) {
    uint64_t seed = 1;
    kvh_memfs *fs = of_many();
    let_go(fs);
    const int64_t n_left = kvh_memfs_count(fs, ".kvs");
    kvh_vault v = open_one(fs);
    const int i = gone(&v);
    CHECK(n_left < MANY && i >= 0);
    const int64_t n_before = kvh_memfs_bytes(fs);
    write_one(&v, i);
    CHECK(kvh_memfs_bytes(fs) > n_before);
    kvh_memfs *disk = kvh_memfs_crash(fs, kvh_memfs_n_effects(fs), KVH_CRASH_ALL, &seed);
    kvh_vault_close(&v);

    kvh_vault after = open_one(disk);
    const kvh_counts counts = kvh_counted();
    (void)printf("%ld segments, 1 written again: %ld opens, %ld looks, %ld lists\n",
            (long)n_left + 1, (long)counts.n_opens, (long)counts.n_looks, (long)counts.n_lists);
    CHECK(counts.n_opens == OPENS && counts.n_looks <= counts.n_lists + 12);
    CHECK(kv_vault_stats_of(after.vault).n_segments == n_left + 1);
    CHECK(kv_vault_stats_of(after.vault).bytes_used == kvh_memfs_bytes(disk));
    kvh_vault_close(&after);
    kvh_memfs_free(disk);
    kvh_memfs_free(fs);
}

/* So many as were written before this one. */
static void check_meanwhile(int64_t n_learned, bool is_kept) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = open_one(fs);
    v.vault->n_learned = n_learned;
    write_one(&v, 0);
    CHECK(kvh_memfs_count(fs, "segments.known") == is_kept);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
}

int main(void) {
    check_one_again();
    check_meanwhile(VERY_MANY - 2, false);
    check_meanwhile(VERY_MANY - 1, true);
    return 0;
}
