/* A suspended span that a full disk has no room to go on with is not lost: it goes on once there is, whichever of its
 * segments it was that found none.
 *
 * Method: a file system in memory, and a span of two segments. More and more room is left, until it can be resumed; each
 * time before, all of it can as soon as there is room. */
#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 3, TEXT = 2 * N + 900, STOPPED = 300, HIDDEN = 5000 };

static int32_t ids[TEXT];
static char hidden[HIDDEN];

static void suspend(kvh_memfs *fs) {
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, TEXT);
    const kv_suspension s = {.n_ids = TEXT,
            .end = TEXT,
            .layer = 1,
            .layer_end = STOPPED,
            .hidden = hidden,
            .hidden_bytes = HIDDEN};
    kvh_kept_write(&p, ids, &s);
    CHECK(kvh_suspend(p.store, p.seq, 2, ids, &s) == RT_OK);
    kvh_kept_end(&p);
    CHECK(kvh_memfs_count(fs, ".state") == 1 && kvh_memfs_count(fs, ".part") == 2);
}

/* Whether the span is there on a disk so large, 0: without a limit; then it is given up. */
static bool finds(kvh_memfs *fs, int64_t n_bytes) {
    kvh_kept p = kvh_kept_begin(kvh_memfs_io(fs), LAYERS, TEXT);
    kv_suspension s = {0};
    bool is_there = false;
    kvh_memfs_limit(fs, n_bytes);
    CHECK(kv_resume_span(p.seq, ids, TEXT, &s, &is_there) == RT_OK);
    CHECK(!is_there || (s.layer == 1 && s.layer_end == STOPPED && s.hidden_bytes == HIDDEN));
    if (is_there) kv_span_abort(p.seq);
    kvh_kept_end(&p);
    kvh_memfs_limit(fs, 0);
    return is_there;
}

/* Whether so much more is enough, with what the store has beside it. */
static bool is_enough(int64_t n_left) {
    kvh_memfs *fs = kvh_memfs_new();
    suspend(fs);
    const bool is_there = finds(fs, kvh_memfs_bytes(fs) + n_left);
    if (!is_there) CHECK(kvh_memfs_count(fs, ".part") == 2 && finds(fs, 0));
    CHECK(kvh_memfs_count(fs, ".bad") == 0 && kvh_memfs_count(fs, ".tmp") == 0);
    kvh_memfs_free(fs);
    return is_there;
}

int main(void) {
    int64_t n_left = 0;
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    while (!is_enough(n_left)) n_left += 8 * KV_IO_ALIGN;
    (void)printf("%d KiB are enough\n", (int)(n_left >> 10));
    CHECK(n_left > 16 * KV_IO_ALIGN);
    return 0;
}
