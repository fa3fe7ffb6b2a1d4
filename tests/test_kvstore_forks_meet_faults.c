/* Whatever call to the disk fails while forks are kept, once or from there on for ever, what they hold is right, and so is what
 * another process finds of them afterwards; where nothing failed on the way it finds all.
 *
 * Method: a file system in memory. A parent, two forks of it that part inside its first segment and behind it, each beyond
 * two segments; in memory, or with none but for windows. Each call in turn is refused, with EIO or ENOSPC. */
#include <errno.h>
#include <inttypes.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum {
    LAYERS = 2,
    N = KV_SEGMENT_TOKENS,
    PARENT = N + 200,
    TEXT = 2 * N + 100,
    FORKS = 2,
    TRIES = 20
};

static const int64_t fork_at[FORKS] = {N / 2, PARENT};
static int32_t ids[FORKS + 1][TEXT];

typedef struct run {
    kvh_memfs *fs;
    bool is_parked;
    bool has_failed;
} run;

static uint64_t value_of(int text) {
    return (uint64_t)(text + 1) << 30;
}

static kvh_kept begin(const run *r) {
    const int64_t pages = 3 * (TEXT / KVH_PAGE_TOKENS) * LAYERS;
    return kvh_kept_begin_beyond(kvh_memfs_io(r->fs), LAYERS, TEXT, r->is_parked ? 0 : pages);
}

static bool went_well(run *r, rt_status status) {
    CHECK(status == RT_OK || status == RT_EIO || status == RT_ENOFIT || status == RT_ECORRUPT);
    r->has_failed |= status != RT_OK;
    return status == RT_OK;
}

static bool write_span(run *r, kv_store *store, kv_seq *seq, int text, int64_t end) {
    const int64_t first = kv_seq_length(seq);
    if (!went_well(r, kv_span_begin(seq, ids[text] + first, end - first))) return false;
    for (int32_t layer = 0; layer < LAYERS; layer++)
        if (!went_well(r, kvh_try_write(store, seq, layer, first, end - first, value_of(text)))) {
            kv_span_abort(seq);
            const int64_t bad = kv_walk_bad_pos(store, seq);
            if (bad >= 0) kv_seq_truncate(seq, bad);
            return false;
        }
    kv_span_commit(seq);
    return true;
}

/* Of the parent's, and its own: what of it the disk has lost is written again. False: it never works. */
static bool append(run *r, kv_store *store, kv_seq *seq, int text, int64_t end) {
    const int64_t parted = text < FORKS ? fork_at[text] : TEXT;
    for (int i = 0; i < TRIES && kv_seq_length(seq) < end; i++) {
        const bool is_parents = kv_seq_length(seq) < parted;
        (void)write_span(
                r, store, seq, is_parents ? FORKS : text, is_parents ? rt_min64(parted, end) : end);
    }
    return kv_seq_length(seq) == end;
}

/* What it holds is right; where that cannot be read it is cut there. A write that failed is told by whoever reads next. */
static void check_holds(kv_store *store, kv_seq *seq, int text) {
    static uint64_t seen[TEXT];
    for (int32_t layer = 0; layer < LAYERS && kv_seq_length(seq) > 0; layer++) {
        rt_status status = RT_EIO;
        for (int i = 0; i < TRIES && status != RT_OK && kv_seq_length(seq) > 0; i++) {
            status = kvh_try_read(store, seq, layer, seen);
            const int64_t bad = kv_walk_bad_pos(store, seq);
            if (bad >= 0) kv_seq_truncate(seq, bad);
        }
        CHECK(status == RT_OK || kv_seq_length(seq) == 0);
        for (int64_t i = 0; i < kv_seq_length(seq); i++)
            CHECK(seen[i] == value_of(i < fork_at[text] ? FORKS : text) + (uint64_t)i);
    }
}

/* The disk fails from its next call number `at` on, or then once; afterwards it works. */
static void write_all(run *r, int64_t at, bool for_ever) {
    kv_seq *forks[FORKS] = {NULL};
    kvh_kept p = begin(r);
    kvh_memfs_fail(r->fs, kvh_memfs_n_calls(r->fs) + at, at % 2 ? EIO : ENOSPC, for_ever);
    if (append(r, p.store, p.seq, FORKS, PARENT))
        for (int text = 0; text < FORKS; text++) {
            if (!went_well(r, kv_seq_fork(p.seq, fork_at[text], TEXT, &forks[text]))) continue;
            (void)append(r, p.store, forks[text], text, N + 700);
            (void)append(r, p.store, forks[text], text, TEXT);
        }
    r->has_failed |= kvh_memfs_n_calls(r->fs) >= at && *kv_store_keep_failure(p.store);
    kvh_memfs_fail(r->fs, 0, 0, false);
    for (int text = 0; text < FORKS; text++) {
        if (forks[text]) check_holds(p.store, forks[text], text);
        kv_seq_free(forks[text]);
    }
    kvh_kept_end(&p);
}

static void find_all(run *r) {
    for (int text = 0; text < FORKS; text++) {
        kvh_kept p = begin(r);
        kv_found found;
        CHECK(kv_seq_find(p.seq, ids[text], TEXT, &found) == RT_OK);
        CHECK(r->has_failed || found.n_tokens == 2 * N);
        check_holds(p.store, p.seq, text);
        CHECK(kv_seq_length(p.seq) == found.n_tokens);
        kvh_kept_end(&p);
    }
}

/* Whether the disk was asked so often. */
static bool is_reached(int64_t at, bool for_ever, bool is_parked) {
    run r = {.fs = kvh_memfs_new(), .is_parked = is_parked};
    const int64_t before = kvh_memfs_n_calls(r.fs);
    write_all(&r, at, for_ever);
    const bool is_reached = kvh_memfs_n_calls(r.fs) - before >= at;
    find_all(&r);
    CHECK(kvh_memfs_count(r.fs, ".tmp") == 0);
    kvh_memfs_free(r.fs);
    return is_reached;
}

int main(void) {
    const int64_t stride = getenv("GLM_TEST_FAST") ? 23 : 3;
    for (int text = 0; text <= FORKS; text++)
        for (int64_t i = 0; i < TEXT; i++)
            ids[text][i] = (int32_t)(i % 1000) +
                           (text < FORKS && i >= fork_at[text] ? 1000 * (text + 1) : 0);
    for (int way = 0; way < 4; way++) {
        int64_t at = 1 + way;
        while (is_reached(at, way & 1, way & 2)) at += stride;
        (void)printf("%s, %s: up to call %" PRId64 "\n", way & 2 ? "parked" : "in memory",
                way & 1 ? "for ever" : "once", at);
    }
    return 0;
}
