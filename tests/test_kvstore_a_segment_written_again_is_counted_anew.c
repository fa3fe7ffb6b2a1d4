/* A segment that made way and is written again may take other room than before, as the other packing does: what is known of
 * its size from before is not believed, neither by who opens the vault next nor by who had it open meanwhile, and the cap
 * holds.
 *
 * Method: vaults over one file system in memory. Segments are written densely; some are let go by gc, and written again
 * plainly; then what is counted and what there is are compared, after a crash at any moment, too, and where any call fails
 * before it is tried once more. */
#include <errno.h>
#include <stdlib.h>

#include "help_kv_memfs.h"
#include "help_kv_vault.h"
#include "kvstore/vault_inside.h"

enum { MANY = 70, FEW = 40, TOKENS = 512 };

static kvh_vault open_one(kvh_memfs *fs, kv_packing packing) {
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, kvh_memfs_io(fs));
    kv_codec_pack(v.codec, packing);
    return v;
}

/* All that are not there. */
static void write_all(kvh_vault *v, int n) {
    for (int i = 0; i < n; i++) {
        int32_t *ids = kvh_ids((uint64_t)i, TOKENS);
        CHECK(kvh_write_segment(v, kv_vault_root(v->vault), 0, ids, TOKENS, NULL) == RT_OK);
        free(ids);
    }
}

/* All but so many bytes. */
static void let_go(kvh_memfs *fs, int64_t bytes_max) {
    const char *const dirs[] = {"/kv"};
    const int64_t n_before = kvh_memfs_count(fs, ".kvs");
    kv_books *books = NULL;
    kv_gc_report report;
    kv_io *io = kvh_memfs_io(fs);
    CHECK(kv_books_open_on(io, dirs, 1, &books) == RT_OK);
    CHECK(kv_books_gc(books, bytes_max, &report) == RT_OK);
    kv_books_close(books);
    CHECK(kv_io_close(io) == RT_OK);
    CHECK(kvh_memfs_count(fs, ".kvs") < n_before);
}

static void check_counted(kvh_memfs *fs) {
    const int64_t n_there = kvh_memfs_bytes(fs);
    kvh_vault v = open_one(fs, KV_PACK_DENSE);
    const int64_t n_bytes = kv_vault_stats_of(v.vault).bytes_used;
    if (n_bytes != n_there)
        (void)printf("%ld bytes, and %ld are counted\n", (long)n_there, (long)n_bytes);
    CHECK(n_bytes == n_there);
    kvh_vault_close(&v);
}

/* By a vault that is open, when it makes room. */
static void check_counted_by(kvh_vault *v, kvh_memfs *fs) {
    CHECK(kv_dirs_lock(&v->vault->dirs) == RT_OK);
    CHECK(kv_vault_make_room(v->vault, 0) == RT_OK);
    kv_dirs_unlock(&v->vault->dirs);
    CHECK(kv_vault_stats_of(v->vault).bytes_used == kvh_memfs_bytes(fs));
}

/* Of many segments what is known is kept; of few it is in the memory of whoever has them open. */
static void check(int n) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault dense = open_one(fs, KV_PACK_DENSE);
    write_all(&dense, n);
    kvh_vault_close(&dense);
    kvh_vault old = open_one(fs, KV_PACK_DENSE);
    let_go(fs, kvh_memfs_bytes(fs) * 31 / 32);
    kvh_vault plain = open_one(fs, KV_PACK_PLAIN);
    write_all(&plain, n);
    CHECK(kvh_memfs_count(fs, ".kvs") == n);
    check_counted_by(&old, fs);
    kvh_vault_close(&plain);
    CHECK(kvh_memfs_count(fs, "segments.known") == (n == MANY));
    check_counted_by(&old, fs);
    kvh_vault_close(&old);
    check_counted(fs);
    kvh_memfs_free(fs);
}

/* From every moment while `n` are written again. */
static void check_crashes(bool all_go, int n) {
    uint64_t seed = 7;
    int64_t n_disks = 0;
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = open_one(fs, KV_PACK_DENSE);
    write_all(&v, MANY);
    kvh_vault_close(&v);
    let_go(fs, all_go ? 0 : kvh_memfs_bytes(fs) * 31 / 32);
    v = open_one(fs, KV_PACK_PLAIN);
    const int64_t from = kvh_memfs_n_effects(fs);
    write_all(&v, n);
    for (int64_t k = from; k <= kvh_memfs_n_effects(fs); k++)
        for (kvh_crash crash = KVH_CRASH_ALL; crash <= KVH_CRASH_RANDOM; crash++, n_disks++) {
            kvh_memfs *disk = kvh_memfs_crash(fs, k, crash, &seed);
            kvh_vault after = open_one(disk, KV_PACK_DENSE); /* which removes temporaries */
            kvh_vault_close(&after);
            check_counted(disk);
            kvh_memfs_free(disk);
        }
    (void)printf("%ld disks\n", (long)n_disks);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
}

/* The first that is not there. */
static int gone(kvh_vault *v) {
    for (int i = 0; i < MANY; i++) {
        int32_t *ids = kvh_ids((uint64_t)i, TOKENS);
        const int64_t n_found = kvh_find(v, ids, TOKENS, NULL);
        free(ids);
        if (n_found == 0) return i;
    }
    return MANY;
}

/* One is written again; call number `at` of that fails, and it is tried once more. False: there were not so many. */
static bool check_failure(const kvh_memfs *fs, int64_t at) {
    uint64_t seed = 7;
    kvh_memfs *disk = kvh_memfs_crash(fs, kvh_memfs_n_effects(fs), KVH_CRASH_ALL, &seed);
    kvh_vault v = open_one(disk, KV_PACK_PLAIN);
    const int i = gone(&v);
    const int64_t first = kvh_memfs_n_calls(disk);
    CHECK(i < MANY);
    kvh_memfs_fail(disk, first + at, EIO, false);
    const rt_status ignored = kvh_write_first(&v, (uint64_t)i, TOKENS, NULL);
    (void)ignored;
    const bool was_there = kvh_memfs_n_calls(disk) > first + at;
    kvh_memfs_fail(disk, 0, 0, false);
    const rt_status again = kvh_write_first(&v, (uint64_t)i, TOKENS, NULL);
    CHECK(again == RT_OK);
    check_counted_by(&v, disk);
    kvh_vault_close(&v);
    check_counted(disk);
    kvh_memfs_free(disk);
    return was_there;
}

static void check_failures(void) {
    int64_t n = 0;
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = open_one(fs, KV_PACK_DENSE);
    write_all(&v, MANY);
    kvh_vault_close(&v);
    let_go(fs, kvh_memfs_bytes(fs) * 31 / 32);
    while (check_failure(fs, n)) n++;
    (void)printf("%ld calls\n", (long)n);
    CHECK(n > 10);
    kvh_memfs_free(fs);
}

int main(void) {
    check(MANY);
    check(FEW);
    check_crashes(false, MANY);
    check_crashes(true, 2);
    check_failures();
    return 0;
}
