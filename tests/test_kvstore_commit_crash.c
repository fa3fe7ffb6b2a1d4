/* After a crash at any moment of the commit of a span, each of its segments is whole or not there, what was kept before is,
 * and once the commit has returned all of them are. Whatever is missing is written again beside the rest.
 *
 * Method: a span of several extents after one that was committed, over a file system in memory that remembers every
 * effect. From every moment of the second commit disks are made as a crash could have left them (test_kvstore_vault_crash
 * says how), and a process that finds what there is, and one that goes on from there, look at them. The same of a disk
 * that ignores syncs must be noticed. `test_kvstore_commit_crash SEED N`: N random disks at each moment. */
#include <stdlib.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 2, BEFORE = 1, EXTENTS = 4, PER_MOMENT = 3 };

static int32_t ids[EXTENTS * N];

static void append(kvh_kept *p, int64_t n_extents) {
    const int64_t first = kv_seq_length(p->seq), n = n_extents * N - first;
    if (n == 0) return;
    CHECK(kv_span_begin(p->seq, ids + first, n) == RT_OK);
    kvh_write(p->store, p->seq, LAYERS, first, n, 77);
    kv_span_commit(p->seq);
}

/* Whether all tokens of the sequence are there, and right. */
static bool is_whole(kvh_kept *p) {
    uint64_t *values = calloc(EXTENTS * N + 1, sizeof *values);
    rt_status status = RT_OK;
    CHECK(values);
    for (int32_t layer = 0; layer < LAYERS && status == RT_OK; layer++) {
        status = kvh_try_read(p->store, p->seq, layer, values);
        for (int64_t i = 0; i < kv_seq_length(p->seq) && status == RT_OK; i++)
            CHECK(values[i] == 77 + (uint64_t)i);
    }
    free(values);
    return status == RT_OK;
}

/* A process that finds what there is, and goes on from there; how many extents it has found, -1: and one that is not
 * whole, or a file that nobody will need. */
static int64_t look(kvh_memfs *disk) {
    kv_found found = {0};
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(disk), LAYERS, EXTENTS * N);
    CHECK(kv_seq_find(p.seq, ids, EXTENTS * N, &found) == RT_OK);
    CHECK(found.n_tokens % N == 0);
    const bool is_good = is_whole(&p) && kv_vault_stats_of(p.store->vault).n_quarantined == 0;
    if (is_good) append(&p, EXTENTS);
    kvh_kept_end(&p);
    return is_good && kvh_memfs_count(disk, ".tmp") == 0 ? found.n_tokens / N : -1;
}

/* Disks on which less is found than was promised, or something in part. */
static int64_t crash(const kvh_memfs *fs, int64_t k, int64_t promised, int n_random, uint64_t *seed,
        int64_t *n_between) {
    int64_t n_broken = 0;
    for (int i = 0; i < n_random + 3; i++) {
        const kvh_crash how =
                i < 3 ? (kvh_crash[]){KVH_CRASH_ALL, KVH_CRASH_NONE, KVH_CRASH_HOLES}[i]
                      : KVH_CRASH_RANDOM;
        kvh_memfs *disk = kvh_memfs_crash(fs, k, how, seed);
        const int64_t n_found = look(disk);
        n_broken += n_found < promised;
        *n_between += n_found > BEFORE && n_found < EXTENTS;
        if (n_found >= promised) CHECK(look(disk) == EXTENTS);
        kvh_memfs_free(disk);
    }
    return n_broken;
}

static int64_t run(bool is_lying, int n_random, uint64_t seed, int64_t *n_between) {
    kvh_memfs *fs = kvh_memfs_new();
    if (is_lying) kvh_memfs_lie(fs);
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, EXTENTS * N);
    append(&p, BEFORE);
    CHECK(kv_span_begin(p.seq, ids + BEFORE * N, (EXTENTS - BEFORE) * N) == RT_OK);
    kvh_write(p.store, p.seq, LAYERS, BEFORE * N, (EXTENTS - BEFORE) * N, 77);
    const int64_t first = kvh_memfs_n_effects(fs);
    kv_span_commit(p.seq);
    const int64_t last = kvh_memfs_n_effects(fs);
    CHECK(kv_seq_kept(p.seq) == EXTENTS * N && last - first >= 6 * (EXTENTS - BEFORE));
    kvh_kept_end(&p);
    int64_t n_broken = 0;
    for (int64_t k = first; k <= last; k++)
        n_broken += crash(fs, k, k == last ? EXTENTS : BEFORE, n_random, &seed, n_between);
    kvh_memfs_free(fs);
    return n_broken;
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const int n_random = argc > 2 ? atoi(argv[2]) : getenv("GLM_TEST_FAST") ? 2 : PER_MOMENT;
    int64_t n_between = 0;
    for (int64_t i = 0; i < EXTENTS * N; i++) ids[i] = (int32_t)(i * 2654435761u % 151000);
    CHECK(run(false, n_random, seed, &n_between) == 0);
    CHECK(n_between > 0);
    CHECK(run(true, 1, seed, &n_between) > 10);
    return 0;
}
