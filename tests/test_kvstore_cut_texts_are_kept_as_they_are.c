/* A sequence that is cut and goes on as another text, and its forks, are kept and found as what they hold then.
 *
 * Method: two segments of one text, cut inside the first one, and two more of another, in two spans; then a fork of that,
 * which is cut and goes on as a third. Another process looks for all of them. */
#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { LAYERS = 2, N = KV_SEGMENT_TOKENS, CUT = N / 2, TEXT = 2 * N + 100, TEXTS = 3 };

static const int64_t parted[TEXTS] = {0, CUT, N}; /* from the text before it */
static int32_t ids[TEXTS][TEXT];

static void append(kvh_kept *p, kv_seq *seq, int text, int64_t end) {
    const int64_t first = kv_seq_length(seq);
    CHECK(kv_span_begin(seq, ids[text] + first, end - first) == RT_OK);
    kvh_write(p->store, seq, LAYERS, first, end - first, (uint64_t)(text + 1) << 30);
    kv_span_commit(seq);
}

static kvh_kept begin(kvh_memfs *fs) {
    return kvh_kept_begin_beyond(
            kvh_memfs_io(fs), LAYERS, TEXT, 2 * (TEXT / KVH_PAGE_TOKENS + 1) * LAYERS);
}

int main(void) {
    for (int text = 0; text < TEXTS; text++)
        for (int64_t i = 0; i < TEXT; i++)
            ids[text][i] = (int32_t)(i % 1000 + 1000 * (i < parted[text] ? text - 1 : text));
    for (int64_t i = 0; i < CUT; i++) ids[2][i] = ids[0][i];
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = begin(fs);
    kv_seq *fork = NULL;
    append(&p, p.seq, 0, TEXT);
    kv_seq_truncate(p.seq, CUT);
    append(&p, p.seq, 1, N + 10);
    append(&p, p.seq, 1, TEXT);
    CHECK(kv_seq_fork(p.seq, TEXT, TEXT, &fork) == RT_OK);
    kv_seq_truncate(fork, N);
    append(&p, fork, 2, N + 10);
    append(&p, fork, 2, TEXT);
    CHECK(*kv_store_keep_failure(p.store) == 0);
    kv_seq_free(fork);
    kvh_kept_end(&p);

    for (int text = 0; text < TEXTS; text++) {
        kv_found found;
        p = begin(fs);
        CHECK(kv_seq_find(p.seq, ids[text], TEXT, &found) == RT_OK && found.n_tokens == 2 * N);
        CHECK(kvh_holds(p.store, p.seq, LAYERS, parted[text], 2 * N - parted[text],
                (uint64_t)(text + 1) << 30));
        kvh_kept_end(&p);
    }
    CHECK(kvh_memfs_count(fs, ".kvs") == 5);
    kvh_memfs_free(fs);
    return 0;
}
