/* Random operations on a store that overflows: whatever is in memory, streamed, pinned or parked,
 * every sequence holds its own tokens, and in the end nothing is left over.
 *
 * Method: as test_kvstore_model, against arrays of tokens; budgets from "hardly anything" to "half
 * of it", on one drive and two, with and without pinning and memory in front of the disk, appended to all at once and
 * by windows, so that all kinds of sequences come up, share extents and are cut inside them. Appends, also to all
 * of them together, never fail; some stop at any layer and are aborted. Seeds are printed;
 * `test_kvstore_overflow_model SEED` repeats one. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "help_kv.h"

enum { LAYERS = 2, SEQS = 6, TOKENS = 64, APPEND_TOKENS = 40, OPERATIONS = 1500, SEEDS = 12 };

typedef struct model_seq {
    kv_seq *seq; /* NULL: not there */
    uint64_t tokens[TOKENS];
    int64_t length, max_tokens;
} model_seq;

typedef struct model {
    kv_store *store;
    model_seq seqs[SEQS];
    uint64_t next_value;
    uint64_t random;
    int64_t host_bytes_max;
} model;

static int64_t below(model *m, int64_t n) {
    return (int64_t)(random_next(&m->random) % (uint64_t)n);
}

static void compare(model *m, const model_seq *s) {
    CHECK(kv_seq_length(s->seq) == s->length);
    for (int32_t layer = 0; layer < LAYERS; layer++) {
        uint64_t values[TOKENS];
        kvh_read_all(m->store, s->seq, layer, values);
        CHECK(memcmp(values, s->tokens, (size_t)s->length * sizeof *values) == 0);
    }
}

static void do_create(model *m, model_seq *s) {
    s->max_tokens = 1 + below(m, TOKENS);
    s->length = 0;
    s->seq = NULL;
    if (kv_seq_create(m->store, s->max_tokens, &s->seq) != RT_OK) s->seq = NULL;
}

static void do_fork(model *m, model_seq *s) {
    const model_seq *parent = &m->seqs[below(m, SEQS)];
    if (!parent->seq) return;
    const int64_t length = below(m, parent->length + 1);
    const int64_t max_tokens = rt_max64(length, 1) + below(m, TOKENS - rt_max64(length, 1) + 1);
    kv_seq *seq = NULL;
    if (kv_seq_fork(parent->seq, length, max_tokens, &seq) != RT_OK) return;
    *s = *parent;
    s->seq = seq;
    s->length = length;
    s->max_tokens = max_tokens;
}

static void commit(model *m, model_seq *s, int64_t n) {
    kv_span_commit(s->seq);
    for (int64_t i = s->length; i < s->length + n; i++) s->tokens[i] = m->next_value + (uint64_t)i;
    s->length += n;
}

/* Layer by layer, in pieces, up to a layer and piece where it may be given up. */
static void do_append(model *m, model_seq *s) {
    const int64_t left = s->max_tokens - s->length;
    if (left == 0) return;
    const int64_t n = 1 + below(m, left);
    const bool gives_up = below(m, 4) == 0;
    const int32_t last_layer = gives_up ? (int32_t)below(m, LAYERS) : LAYERS;
    if (kv_span_begin(s->seq, NULL, n) != RT_OK) return;
    m->next_value += 1u << 20;
    for (int32_t layer = 0; layer < LAYERS && layer <= last_layer; layer++) {
        int64_t done = 0;
        while (done < n) {
            const int64_t piece = rt_min64(1 + below(m, 20), n - done);
            if (layer == last_layer && below(m, 2)) break;
            CHECK(kvh_try_write(m->store, s->seq, layer, s->length + done, piece, m->next_value) ==
                    RT_OK);
            done += piece;
        }
    }
    if (gives_up) {
        kv_span_abort(s->seq);
        return;
    }
    commit(m, s, n);
}

/* A few tokens each to all that have room, in one walk a layer, as answers are decoded. */
static void do_append_together(model *m) {
    model_seq *some[SEQS];
    kv_seq *seqs[SEQS];
    int64_t n_tokens[SEQS];
    int32_t n = 0;
    for (int i = 0; i < SEQS; i++) {
        model_seq *s = &m->seqs[i];
        if (!s->seq || s->length == s->max_tokens) continue;
        n_tokens[n] = 1 + below(m, rt_min64(APPEND_TOKENS / SEQS, s->max_tokens - s->length));
        if (kv_span_begin(s->seq, NULL, n_tokens[n]) != RT_OK) continue;
        some[n] = s;
        seqs[n++] = s->seq;
    }
    if (n == 0) return;
    m->next_value += 1u << 20;
    for (int32_t layer = 0; layer < LAYERS; layer++)
        CHECK(kvh_try_write_together(m->store, seqs, n, layer, n_tokens, m->next_value) == RT_OK);
    for (int32_t i = 0; i < n; i++) commit(m, some[i], n_tokens[i]);
}

static void step(model *m) {
    model_seq *s = &m->seqs[below(m, SEQS)];
    const int64_t dice = below(m, 100);
    if (!s->seq) {
        if (dice < 40)
            do_create(m, s);
        else
            do_fork(m, s);
    } else if (dice < 10) {
        kv_seq_free(s->seq);
        s->seq = NULL;
    } else if (dice < 70) {
        do_append(m, s);
    } else if (dice < 80) {
        s->length = below(m, s->length + 1);
        kv_seq_truncate(s->seq, s->length);
    } else if (dice < 90) {
        do_append_together(m);
    }
    const kv_stats stats = kv_store_stats(m->store);
    CHECK(stats.pages_reserved <= stats.pages_total);
    CHECK(stats.disk_bytes <= stats.disk_bytes_reserved);
    m->host_bytes_max = rt_max64(m->host_bytes_max, stats.host_bytes);
    for (int i = 0; i < SEQS; i++)
        if (m->seqs[i].seq && (&m->seqs[i] == s || (dice >= 80 && dice < 90)))
            compare(m, &m->seqs[i]);
}

/* What the store holds when all that was being written has been; answers are fetched by the next walk. */
static kv_stats rest(kv_store *store, int64_t disk_bytes) {
    const int64_t end = 8;
    for (int tries = 0;; tries++) {
        kv_walk *walk = NULL;
        kv_seq *seq = NULL;
        CHECK(kv_seq_create(store, end, &seq) == RT_OK && kv_span_begin(seq, NULL, end) == RT_OK);
        CHECK(kv_walk_begin(store, 0, &seq, &end, 1, KV_WALK_ALL, &walk) == RT_OK);
        kv_walk_end(walk);
        kv_seq_free(seq);
        const kv_stats stats = kv_store_stats(store);
        if (stats.disk_bytes_reserved == disk_bytes || tries == 10000) return stats;
        (void)usleep(10000);
    }
}

static void run(uint64_t seed) {
    const char *dirs[] = {kvh_directory(), "/tmp"}; /* files in them have no names */
    model m = {.random = seed};
    kv_config config = kvh_overflow_config(LAYERS, 0, 400);
    const int64_t n_pages = below(&m, 40);
    config.overflow.dirs = dirs;
    config.overflow.n_dirs = 1 + (int32_t)(seed / 2 % 2);
    config.overflow.pinned_tokens = below(&m, 3) * 8;
    config.overflow.append_tokens = APPEND_TOKENS;
    config.overflow.window_extents = 1 + (int32_t)below(&m, 3);
    config.overflow.appends_by_windows = seed / 3 % 2;
    config.overflow.io = seed % 2 ? KV_IO_CHOOSE : KV_IO_ONLY_PREAD;
    config.overflow.host_bytes = (int64_t)(seed % 3) * 20 * kv_overflow_rows_bytes(&config);
    config.host_bytes_max = kv_overflow_bytes(&config) + n_pages * KVH_PAGE_BYTES;
    CHECK(kv_store_open(&config, &m.store) == RT_OK);
    const kv_stats before = kv_store_stats(m.store);
    for (int i = 0; i < (getenv("GLM_TEST_FAST") ? OPERATIONS / 5 : OPERATIONS); i++) step(&m);
    for (int i = 0; i < SEQS; i++) kv_seq_free(m.seqs[i].seq);
    const kv_stats after = rest(m.store, before.disk_bytes_reserved);
    (void)printf("seed %" PRIu64 ": %" PRId64 " bytes written, %" PRId64 " read, at most %" PRId64
                 " in memory\n",
            seed, after.bytes_written, after.bytes_read, m.host_bytes_max);
    CHECK(after.pages_used == before.pages_used && after.pages_reserved == before.pages_reserved);
    CHECK(after.disk_bytes_reserved == before.disk_bytes_reserved && after.host_bytes == 0);
    kv_store_close(m.store);
}

int main(int argc, char **argv) {
    kvh_run_seeds(argc, argv, SEEDS, run);
    return 0;
}
