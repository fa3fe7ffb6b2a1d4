/* A disk that is smaller than the budget: older segments make way there too, and where nothing may go, or
 * space cannot be reserved and runs out in the middle, the segment is given up and nothing else is lost.
 * What is on a read-only one is found, and no more. A volume that is full and says nothing loses what it had no
 * room for, and no wrong byte is read.
 *
 * Method: file systems in memory with a limit, with and without fallocate; two writers that reserve
 * more than the budget together; a volume that drops one sector, whichever. */
#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, SLACK = 32 << 10 };

static kvh_vault small_vault(void) {
    kvh_vault v = kvh_vault_in_memory();
    v.shape = (kv_segment_shape){RT_BF16, 2, 1, 2};
    return v;
}

static int64_t segment_bytes(const kvh_vault *v) {
    return kv_segment_bytes_max(&v->shape, N) + SLACK;
}

static rt_status write_one(kvh_vault *v, uint64_t seed, kv_hash *chain) {
    int32_t *ids = kvh_ids(seed, N);
    const rt_status status = kvh_write_segment(v, kv_vault_root(v->vault), 0, ids, N, chain);
    if (status == RT_OK) CHECK(kvh_find(v, ids, N, NULL) == N);
    free(ids);
    return status;
}

static void check_makes_way(void) {
    kvh_vault v = small_vault();
    kvh_memfs *fs = kvh_memfs_new();
    kvh_memfs_limit(fs, 3 * segment_bytes(&v));
    kvh_vault_open(&v, kvh_memfs_io(fs));
    for (uint64_t seed = 1; seed < 12; seed++) CHECK(write_one(&v, seed, NULL) == RT_OK);
    CHECK(kv_vault_stats_of(v.vault).n_evicted > 5);
    CHECK(kvh_memfs_count(fs, ".kvs") >= 2 && kvh_memfs_count(fs, ".tmp") == 0);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
}

static void check_pinned(void) {
    kvh_vault v = small_vault();
    kvh_memfs *fs = kvh_memfs_new();
    kv_hash chain;
    kvh_vault_open(&v, kvh_memfs_io(fs));
    CHECK(write_one(&v, 1, &chain) == RT_OK);
    CHECK(kv_vault_write_book(v.vault, "kept", &chain, 1, N, NULL) == RT_OK);
    kvh_memfs_limit(fs, kvh_memfs_bytes(fs) + segment_bytes(&v) / 2);
    CHECK(write_one(&v, 2, NULL) == RT_ENOFIT);
    CHECK(kvh_memfs_count(fs, ".kvs") == 1 && kvh_memfs_count(fs, ".tmp") == 0);
    int32_t *ids = kvh_ids(1, N);
    CHECK(kvh_find(&v, ids, N, NULL) == N);
    free(ids);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
}

/* Without fallocate space runs out while runs are written; what was promised by name still counts. */
static void check_no_fallocate(void) {
    kvh_vault v = small_vault();
    kvh_memfs *fs = kvh_memfs_new();
    kv_writer *first;
    int32_t *ids = kvh_ids(1, N), *others = kvh_ids(2, N);
    kvh_memfs_cannot_reserve(fs);
    v.bytes_max = 2 * segment_bytes(&v) - SLACK - 1;
    kvh_vault_open(&v, kvh_memfs_io(fs));
    const kv_hash *root = kv_vault_root(v.vault);
    CHECK(kv_writer_begin(v.vault, root, 0, ids, N, &first) == RT_OK);
    kv_writer *second = NULL;
    CHECK(kv_writer_begin(v.vault, root, 0, others, N, &second) == RT_ENOFIT && !second);
    kvh_memfs_limit(fs, kvh_memfs_bytes(fs) + 16384);
    CHECK(kvh_fill_segment(&v, first, 2) == RT_ENOFIT);
    kv_writer_abort(first);
    CHECK(kvh_memfs_count(fs, ".tmp") == 0 && kvh_find(&v, ids, N, NULL) == 0);
    kvh_memfs_limit(fs, 0);
    CHECK(write_one(&v, 2, NULL) == RT_OK);
    free(ids);
    free(others);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
}

static void check_read_only(void) {
    kvh_vault v = small_vault();
    kvh_memfs *fs = kvh_memfs_new();
    int32_t *ids = kvh_ids(1, N);
    kvh_vault_open(&v, kvh_memfs_io(fs));
    CHECK(write_one(&v, 1, NULL) == RT_OK);
    kvh_vault_close(&v);
    kvh_memfs_read_only(fs);
    const int64_t n_effects = kvh_memfs_n_effects(fs);
    kvh_vault_open(&v, kvh_memfs_io(fs));
    CHECK(kvh_find(&v, ids, N, NULL) == N);
    CHECK(write_one(&v, 2, NULL) == RT_EIO);
    CHECK(kvh_find(&v, ids, N, NULL) == N);
    CHECK(kvh_memfs_n_effects(fs) == n_effects);
    kvh_vault_close(&v);
    free(ids);
    kvh_memfs_free(fs);
}

/* Wrong bytes stop the test where they are read (kvh_find). */
static void check_thin(void) {
    int32_t *ids = kvh_ids(1, N);
    int64_t n_lost = 0, n_written = 0;
    for (int64_t at = KV_IO_ALIGN; n_written == 0 || at < n_written; at += 512) {
        kvh_vault v = small_vault();
        kvh_memfs *fs = kvh_memfs_new();
        kvh_memfs_thin(fs, at);
        kvh_vault_open(&v, kvh_memfs_io(fs));
        CHECK(kvh_write_segment(&v, kv_vault_root(v.vault), 0, ids, N, NULL) == RT_OK);
        kvh_vault_close(&v);
        n_written = kvh_memfs_bytes(fs);
        kvh_vault_open(&v, kvh_memfs_io(fs));
        const int64_t n_found = kvh_find(&v, ids, N, NULL);
        CHECK(n_found == 0 || n_found == N);
        n_lost += n_found == 0;
        kvh_vault_close(&v);
        kvh_memfs_free(fs);
    }
    (void)printf("thin: %lld losses of a sector noticed\n", (long long)n_lost);
    CHECK(n_lost > 40);
    free(ids);
}

int main(void) {
    check_makes_way();
    check_pinned();
    check_no_fallocate();
    check_read_only();
    check_thin();
    return 0;
}
