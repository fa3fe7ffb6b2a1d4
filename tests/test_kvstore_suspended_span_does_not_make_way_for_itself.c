/* To go on with a suspended span takes room, in the disk's budget and on the disk, for which its own segments do not make
 * way: where there is too little it waits, whole, and where there is enough, what nobody uses makes way.
 *
 * Method: a file system in memory, and a span of three segments, stopped in its second layer, or in its first, where nothing
 * is in the last segment yet; beside it two segments of another text. Larger and larger budgets, or more and more room on
 * the disk, until it can be resumed; each time before, all of it is there for a budget, or a disk, that is large. */
#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 3, TEXT = 3 * N + 900, N_OTHER = 2 };
enum { LARGE = 1 << 26 };

static int32_t ids[TEXT], other[N_OTHER * N];

typedef struct stop {
    int32_t layer;
    int64_t layer_end;
    int n_parts;
} stop;

static void keep_other(kvh_memfs *fs) {
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, N_OTHER * N);
    CHECK(kv_span_begin(p.seq, other, N_OTHER * N) == RT_OK);
    for (int32_t layer = 0; layer < LAYERS; layer++)
        CHECK(kvh_try_write(p.store, p.seq, layer, 0, N_OTHER * N, 77) == RT_OK);
    kv_span_commit(p.seq);
    kvh_kept_end(&p);
    CHECK(kvh_memfs_count(fs, ".kvs") == N_OTHER);
}

static void suspend(kvh_memfs *fs, const stop *where) {
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, TEXT);
    const kv_suspension s = kvh_stopped_at(TEXT, where->layer, where->layer_end);
    CHECK(kvh_kept_stop(&p, ids, &s) == RT_OK);
    CHECK(kvh_memfs_count(fs, ".state") == 1 && kvh_memfs_count(fs, ".part") == where->n_parts);
}

/* Whether the span is there within so many bytes, or with so many that are left on the disk; then it is given up. */
static bool finds(kvh_memfs *fs, const stop *where, bool is_disk, int64_t n_bytes) {
    kvh_kept p = kvh_kept_begin_within(kvh_memfs_io(fs), LAYERS, TEXT, is_disk ? LARGE : n_bytes);
    kv_suspension s = {0};
    bool is_there = false;
    if (is_disk) kvh_memfs_limit(fs, kvh_memfs_bytes(fs) + n_bytes);
    CHECK(kv_resume_span(p.seq, ids, TEXT, &s, &is_there) == RT_OK);
    CHECK(!is_there || (s.layer == where->layer && s.layer_end == where->layer_end));
    CHECK(!is_there || kv_store_check_kept(p.store) == RT_OK);
    if (is_there) kv_span_abort(p.seq);
    kvh_kept_end(&p);
    kvh_memfs_limit(fs, 0);
    return is_there;
}

/* Whether so much is enough. */
static bool is_enough(const stop *where, bool is_disk, int64_t n_bytes) {
    kvh_memfs *fs = kvh_memfs_new();
    keep_other(fs);
    suspend(fs, where);
    const bool is_there = finds(fs, where, is_disk, n_bytes);
    if (is_there)
        CHECK(kvh_memfs_count(fs, ".kvs") < N_OTHER);
    else
        CHECK(kvh_memfs_count(fs, ".part") == where->n_parts && finds(fs, where, false, LARGE));
    CHECK(kvh_memfs_count(fs, ".bad") == 0 && kvh_memfs_count(fs, ".tmp") == 0);
    kvh_memfs_free(fs);
    return is_there;
}

int main(void) {
    static const stop stops[] = {{1, 300, 3}, {0, 2 * N + 300, 2}};
    const int64_t step = (getenv("GLM_TEST_FAST") ? 32 : 12) * KV_IO_ALIGN;
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    for (int32_t i = 0; i < N_OTHER * N; i++) other[i] = i * 5 % 149;
    for (int i = 0; i < 4; i++) {
        const stop *where = &stops[i % 2];
        const bool is_disk = i >= 2;
        int64_t n_bytes = step;
        while (!is_enough(where, is_disk, n_bytes)) n_bytes += step;
        (void)printf("layer %d: %d KiB %s are enough\n", where->layer, (int)(n_bytes >> 10),
                is_disk ? "left on the disk" : "of budget");
        CHECK(n_bytes > 2 * step);
    }
    return 0;
}
