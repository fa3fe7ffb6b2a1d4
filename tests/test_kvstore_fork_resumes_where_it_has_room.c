/* A span of a fork that was stopped in its middle goes on in a later process, from a fork too: where there is memory for the
 * pages that it shared, as it begins anew in the middle of a segment. Where there is none it is computed again, and fits.
 *
 * Method: a fork inside the first segment, stopped in its second layer. The later process has all pages that the fork may
 * have, and none more; or as many more as it shares. */
#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum {
    LAYERS = 3,
    N = KV_SEGMENT_TOKENS,
    FORKED = N / 2,
    PARENT = FORKED + 512,
    TEXT = 2 * N + 100
};
enum { PAGES_SHARED = FORKED / KVH_PAGE_TOKENS * LAYERS };
enum { PAGES = (PARENT + TEXT) / KVH_PAGE_TOKENS * LAYERS - PAGES_SHARED, HIDDEN = 5000 };

static int32_t ids[TEXT];
static char hidden[HIDDEN];
static const uint64_t value = 1 << 30;

/* Its sequence is the parent, which holds what it is to hold. */
static kvh_kept begin(kvh_memfs *fs, int64_t n_pages, kv_seq **fork) {
    kvh_kept p = kvh_kept_begin_beyond(kvh_memfs_io(fs), LAYERS, PARENT, n_pages);
    CHECK(kv_span_begin(p.seq, ids, PARENT) == RT_OK);
    kvh_write(p.store, p.seq, LAYERS, 0, PARENT, value);
    kv_span_commit(p.seq);
    CHECK(kv_seq_fork(p.seq, FORKED, TEXT, fork) == RT_OK && kv_seq_is_in_memory(*fork));
    return p;
}

static void end(kvh_kept *p, kv_seq *fork) {
    kv_seq_free(fork);
    kvh_kept_end(p);
}

static void stop(kvh_memfs *fs) {
    const kv_suspension s = {.n_ids = TEXT,
            .begin = FORKED,
            .end = TEXT,
            .layer = 1,
            .layer_end = N + 300,
            .hidden = hidden,
            .hidden_bytes = HIDDEN};
    kv_seq *fork = NULL;
    kvh_kept p = begin(fs, PAGES, &fork);
    CHECK(kv_span_begin(fork, ids + FORKED, TEXT - FORKED) == RT_OK);
    CHECK(kvh_try_write(p.store, fork, 0, FORKED, TEXT - FORKED, value) == RT_OK);
    CHECK(kvh_try_write(p.store, fork, 1, FORKED, s.layer_end - FORKED, value) == RT_OK);
    CHECK(kvh_suspend(p.store, fork, LAYERS, ids, &s) == RT_OK);
    end(&p, fork);
    CHECK(kvh_memfs_count(fs, ".state") == 1 && kvh_memfs_count(fs, ".part") == 2);
}

static void go_on(kvh_memfs *fs, bool has_room) {
    kv_seq *fork = NULL;
    kv_suspension s;
    bool is_there = false;
    kvh_kept p = begin(fs, PAGES + (has_room ? PAGES_SHARED : 0), &fork);
    CHECK(kv_resume_span(fork, ids, TEXT, &s, &is_there) == RT_OK);
    CHECK(is_there == has_room && !s.waits);
    if (has_room) {
        CHECK(s.begin == FORKED && s.end == TEXT && s.layer == 1 && s.layer_end == N + 300);
        kv_resume_leave(fork);
    } else {
        CHECK(kv_seq_length(fork) == FORKED);
        CHECK(kv_span_begin(fork, ids + FORKED, TEXT - FORKED) == RT_OK);
        kvh_write(p.store, fork, LAYERS, FORKED, TEXT - FORKED, value);
        kv_span_commit(fork);
        CHECK(kvh_holds(p.store, fork, LAYERS, 0, TEXT, value) && kv_seq_kept(fork) == 2 * N);
    }
    end(&p, fork);
    CHECK(kvh_memfs_count(fs, ".state") == 1 && kvh_memfs_count(fs, ".tmp") == 0);
}

int main(void) {
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    kvh_memfs *fs = kvh_memfs_new();
    stop(fs);
    go_on(fs, true);
    go_on(fs, true); /* it was left as it was */
    go_on(fs, false);
    kvh_memfs_free(fs);
    return 0;
}
