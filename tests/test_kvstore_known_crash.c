/* After a crash at any moment while it is written down what is known of segments, every segment is found, with its bytes, and
 * as many bytes are counted as the disk has: what is known is what was known before, or is known now, or nothing.
 *
 * Method: over a file system in memory that remembers every effect, a vault is filled and closed, which writes
 * segments.known; then filled further and closed, which replaces it. From every moment of either close disks are made as a
 * crash could have left them (test_kvstore_vault_crash says how); vaults that are opened there, and again, are compared
 * with a scan that knows nothing. `test_kvstore_known_crash SEED N`: N random disks at each moment. */
#include <stdlib.h>

#include "help_kv_counts.h"
#include "help_kv_vault.h"

enum {
    FIRST = 66,
    ALL = 2 * FIRST,
    TOKENS = 20,
    PER_MOMENT = 3,

    OTHERS = 7 /* files */
};

typedef struct world {
    kvh_memfs *fs;
    kvh_vault v;
} world;

static void write_some(world *w, int from, int to) {
    for (int i = from; i < to; i++)
        CHECK(kvh_write_first(&w->v, (uint64_t)i, TOKENS, NULL) == RT_OK);
}

/* Of a scan that looks at every file. */
static int64_t counted(kvh_vault *v) {
    const char *const dirs[] = {v->dirs[0]};
    kv_listing listing;
    kv_dirs d;
    CHECK(kv_dirs_open(v->io, dirs, 1, &d) == RT_OK);
    d.ignores_known = true;
    CHECK(kv_dirs_scan(&d, &listing) == RT_OK);
    const int64_t n_bytes = listing.bytes;
    kv_listing_free(&listing);
    kv_dirs_close(&d);
    return n_bytes;
}

/* Of how many it was known: the others' files were opened. */
static int64_t look(kvh_memfs *disk, int n) {
    world w = {.fs = disk, .v = kvh_vault_in_memory()};
    kv_io *io = kvh_counting_io(disk);
    kvh_begin_counting(".kvs");
    kvh_vault_open(&w.v, io);
    const int64_t n_known = rt_max64(n - rt_max64(kvh_counted().n_opens - OTHERS, 0), 0);
    const kv_vault_stats stats = kv_vault_stats_of(w.v.vault);
    CHECK(stats.n_segments == n && stats.n_strays == 0 && stats.n_quarantined == 0);
    if (n_known == n) CHECK(stats.bytes_used == counted(&w.v));
    for (int i = 0; i < n; i++) {
        int32_t *ids = kvh_ids((uint64_t)i, TOKENS);
        CHECK(kvh_find(&w.v, ids, TOKENS, NULL) == TOKENS);
        free(ids);
    }
    kvh_vault_close(&w.v);
    CHECK(kvh_memfs_count(disk, ".tmp") == 0);
    return n_known;
}

/* How many disks say what is known, of so many segments before and after the close. */
typedef struct outcomes {
    int64_t nothing, before, after;
} outcomes;

static void crash_all(const kvh_memfs *fs, int64_t from, int64_t to, int n, int n_random,
        uint64_t *seed, outcomes *o) {
    for (int64_t k = from; k <= to; k++)
        for (int i = 0; i < n_random + 3; i++) {
            const kvh_crash how =
                    i < 3 ? (kvh_crash[]){KVH_CRASH_ALL, KVH_CRASH_NONE, KVH_CRASH_HOLES}[i]
                          : KVH_CRASH_RANDOM;
            kvh_memfs *disk = kvh_memfs_crash(fs, k, how, seed);
            const int64_t n_known = look(disk, n);
            CHECK(n_known <= n);
            o->nothing += n_known < 8;
            o->before += n_known >= 8 && n_known < n;
            o->after += n_known == n;
            kvh_memfs_free(disk);
        }
}

/* Filled up to n and closed; the disks that a crash in the close could have left. */
static void fill_and_crash(
        kvh_memfs *fs, int from, int n, int n_random, uint64_t *seed, outcomes *o) {
    world w = {.fs = fs, .v = kvh_vault_in_memory()};
    kvh_vault_open(&w.v, kvh_memfs_io(fs));
    write_some(&w, from, n);
    const int64_t first = kvh_memfs_n_effects(fs);
    kvh_vault_close(&w.v);
    CHECK(kvh_memfs_n_effects(fs) >= first + 3);
    const int64_t last = kvh_memfs_n_effects(fs);
    crash_all(fs, first, last, n, n_random, seed, o);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const int n_random = argc > 2 ? atoi(argv[2]) : getenv("GLM_TEST_FAST") ? 1 : PER_MOMENT;
    kvh_memfs *fs = kvh_memfs_new();
    outcomes made = {0}, replaced = {0};
    fill_and_crash(fs, 0, FIRST, n_random, &seed, &made);
    CHECK(made.nothing > 0 && made.before == 0 && made.after > 0);
    fill_and_crash(fs, FIRST, ALL, n_random, &seed, &replaced);
    CHECK(replaced.nothing == 0 && replaced.before > 0 && replaced.after > 0);
    kvh_memfs_free(fs);
    return 0;
}
