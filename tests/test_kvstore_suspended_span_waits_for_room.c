/* A suspended span that a full disk has no room to go on with is not lost: it goes on once there is, whichever of its
 * segments it was that found none, and all of it can be kept then.
 *
 * Method: a file system in memory, and a span of two segments, stopped in its second layer, or in its first, where nothing
 * is in the second segment yet. More and more room is left, until it can be resumed; each time before, all of it can as soon
 * as there is room. */
#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 3, TEXT = 2 * N + 900 };

static int32_t ids[TEXT];

typedef struct stop {
    int32_t layer;
    int64_t layer_end;
    int n_parts;
} stop;

static void suspend(kvh_memfs *fs, const stop *where) {
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, TEXT);
    const kv_suspension s = kvh_stopped_at(TEXT, where->layer, where->layer_end);
    CHECK(kvh_kept_stop(&p, ids, &s) == RT_OK);
    CHECK(kvh_memfs_count(fs, ".state") == 1 && kvh_memfs_count(fs, ".part") == where->n_parts);
}

/* Whether the span is there on a disk so large, 0: without a limit; then it is given up. */
static bool finds(kvh_memfs *fs, const stop *where, int64_t n_bytes) {
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, TEXT);
    kv_suspension s = {0};
    bool is_there = false;
    kvh_memfs_limit(fs, n_bytes);
    CHECK(kv_resume_span(p.seq, ids, TEXT, &s, &is_there) == RT_OK);
    CHECK(!is_there || (s.layer == where->layer && s.layer_end == where->layer_end &&
                               s.hidden_bytes == KVH_HIDDEN));
    CHECK(!is_there || kv_store_check_kept(p.store) == RT_OK);
    if (is_there) kv_span_abort(p.seq);
    kvh_kept_end(&p);
    kvh_memfs_limit(fs, 0);
    return is_there;
}

/* Whether so much more is enough, with what the store has beside it. */
static bool is_enough(const stop *where, int64_t n_left) {
    kvh_memfs *fs = kvh_memfs_new();
    suspend(fs, where);
    const bool is_there = finds(fs, where, kvh_memfs_bytes(fs) + n_left);
    if (!is_there) CHECK(kvh_memfs_count(fs, ".part") == where->n_parts && finds(fs, where, 0));
    CHECK(kvh_memfs_count(fs, ".bad") == 0 && kvh_memfs_count(fs, ".tmp") == 0);
    kvh_memfs_free(fs);
    return is_there;
}

int main(void) {
    static const stop stops[] = {{1, 300, 2}, {0, N + 300, 1}};
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    for (int i = 0; i < 2; i++) {
        int64_t n_left = 0;
        while (!is_enough(&stops[i], n_left)) n_left += 8 * KV_IO_ALIGN;
        (void)printf("layer %d: %d KiB are enough\n", stops[i].layer, (int)(n_left >> 10));
        CHECK(n_left > 16 * KV_IO_ALIGN);
    }
    return 0;
}
