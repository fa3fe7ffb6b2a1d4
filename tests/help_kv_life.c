#include "help_kv_life.h"

#include <inttypes.h>
#include <string.h>

#include "help_kv_memfs.h"
#include "kvstore/store_impl.h"

enum { LAYERS = 2, TEXTS = 4, TOKENS = 64, TRIES = 6, PATIENCE = 3 };

typedef struct text {
    kv_seq *seq; /* NULL: not there */
    uint64_t tokens[TOKENS];
    int64_t length;
} text;

typedef struct run {
    kv_store *store;
    text texts[TEXTS];
    uint64_t next_value;
    bool for_ever;
    int64_t n_failed;
} run;

/* ---- failures -------------------------------------------------------------------------------- */

static bool went_well(run *r, rt_status status) {
    CHECK(status == RT_OK || status == RT_EIO || status == RT_ENOFIT || status == RT_ECORRUPT);
    r->n_failed += status != RT_OK;
    return status == RT_OK;
}

/* With every operation failing, the script is not played to its end. */
static bool is_over(const run *r) {
    return r->for_ever && r->n_failed >= PATIENCE;
}

static void cut(text *t, int64_t length) {
    if (!t->seq || length >= t->length) return;
    kv_seq_truncate(t->seq, length);
    t->length = length;
}

/* What is lost is cut off, wherever it is shared. */
static void recover(run *r) {
    for (int i = 0; i < TEXTS; i++) {
        text *t = &r->texts[i];
        if (!t->seq) continue;
        const int64_t bad = kv_walk_bad_pos(r->store, t->seq);
        if (bad >= 0) cut(t, bad);
        CHECK(kv_walk_bad_pos(r->store, t->seq) == -1);
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void create(run *r, int i, int64_t max_tokens) {
    text *t = &r->texts[i];
    t->length = 0;
    if (!went_well(r, kv_seq_create(r->store, max_tokens, &t->seq))) t->seq = NULL;
}

static void fork_text(run *r, int i, int parent, int64_t n_tokens, int64_t max_tokens) {
    const text *from = &r->texts[parent];
    text *t = &r->texts[i];
    if (!from->seq) return;
    const int64_t n = rt_min64(n_tokens, from->length);
    *t = *from;
    t->length = n;
    if (!went_well(r, kv_seq_fork(from->seq, n, max_tokens, &t->seq))) t->seq = NULL;
}

static void drop(run *r, int i) {
    kv_seq_free(r->texts[i].seq);
    r->texts[i].seq = NULL;
}

static rt_status write_layers(run *r, text *t, int64_t n_tokens, int32_t n_layers) {
    for (int32_t layer = 0; layer < n_layers; layer++)
        for (int64_t done = 0, piece; done < n_tokens; done += piece) {
            piece = rt_min64(9, n_tokens - done);
            RT_TRY(kvh_try_write(r->store, t->seq, layer, t->length + done, piece, r->next_value));
        }
    return RT_OK;
}

static bool try_append(run *r, text *t, int64_t n_tokens, int32_t n_layers) {
    r->next_value += 1u << 20;
    if (!went_well(r, kv_span_begin(t->seq, NULL, n_tokens))) return false;
    const bool is_written = went_well(r, write_layers(r, t, n_tokens, n_layers));
    if (!is_written || n_layers < LAYERS) {
        kv_span_abort(t->seq);
        return is_written;
    }
    kv_span_commit(t->seq);
    for (int64_t i = t->length; i < t->length + n_tokens; i++)
        t->tokens[i] = r->next_value + (uint64_t)i;
    t->length += n_tokens;
    return true;
}

/* Until it works: something that went wrong once cannot go wrong for ever. */
static void append(run *r, int i, int64_t n_tokens, int32_t n_layers) {
    text *t = &r->texts[i];
    if (!t->seq || t->length + n_tokens > kv_seq_max_tokens(t->seq)) return;
    for (int tries = 0; !try_append(r, t, n_tokens, n_layers); tries++) {
        CHECK(r->for_ever || tries < TRIES);
        recover(r);
        if (is_over(r)) return;
    }
}

/* Whatever was seen, before a failure too, is what was written there. */
static bool try_read(run *r, int first, int last, int32_t layer) {
    kv_seq *seqs[TEXTS];
    uint64_t seen[TEXTS][TOKENS], *values[TEXTS];
    int at[TEXTS];
    int32_t n = 0;
    for (int i = first; i <= last; i++) {
        const text *t = &r->texts[i];
        if (!t->seq || t->length == 0) continue;
        memcpy(seen[n], t->tokens, sizeof seen[n]);
        values[n] = seen[n];
        seqs[n] = t->seq;
        at[n++] = i;
    }
    if (n == 0) return true;
    const bool is_read = went_well(r, kvh_try_read_together(r->store, seqs, n, layer, values));
    for (int32_t i = 0; i < n; i++) {
        const text *t = &r->texts[at[i]];
        CHECK(kv_seq_length(t->seq) == t->length);
        CHECK(memcmp(seen[i], t->tokens, (size_t)t->length * sizeof *t->tokens) == 0);
    }
    return is_read;
}

static void read_texts(run *r, int first, int last) {
    for (int32_t layer = 0; layer < LAYERS; layer++)
        for (int tries = 0; !is_over(r) && !try_read(r, first, last, layer); tries++) {
            CHECK(r->for_ever || tries < TRIES);
            recover(r);
        }
}

/* ---- the script ------------------------------------------------------------------------------ */

static void play(run *r) {
    create(r, 0, 64);
    append(r, 0, 20, LAYERS);
    append(r, 0, 13, LAYERS);
    read_texts(r, 0, 0);
    fork_text(r, 1, 0, 20, 48); /* inside an extent */
    append(r, 1, 10, LAYERS);
    fork_text(r, 2, 0, 32, 64); /* between two */
    append(r, 2, 9, LAYERS);
    if (is_over(r)) return;
    cut(&r->texts[2], 17);
    append(r, 2, 12, LAYERS);
    append(r, 0, 14, 1); /* given up; the next is written to the same cells */
    append(r, 0, 14, LAYERS);
    read_texts(r, 0, 2);
    if (is_over(r)) return;
    create(r, 3, 30);
    append(r, 3, 25, LAYERS);
    cut(&r->texts[0], 11);
    append(r, 0, 18, LAYERS);
    drop(r, 1);
    read_texts(r, 0, 3);
    if (is_over(r)) return;
    fork_text(r, 1, 2, 29, 40);
    append(r, 1, 11, LAYERS);
    drop(r, 2);
    read_texts(r, 0, 3);
}

static void answer_all(run *r) {
    const int64_t end = 1;
    kv_walk *walk = NULL;
    kv_seq *seq = NULL;
    CHECK(kv_seq_create(r->store, end, &seq) == RT_OK);
    for (int i = 0; i < TRIES; i++) {
        CHECK(kv_span_begin(seq, NULL, end) == RT_OK);
        if (kv_walk_begin(r->store, 0, &seq, &end, 1, KV_WALK_ALL, &walk) == RT_OK)
            kv_walk_end(walk);
        kv_span_abort(seq);
    }
    kv_seq_free(seq);
}

/* The disk works again: so does everything else. */
static void finish(run *r, const kv_stats *before) {
    r->for_ever = false;
    answer_all(r); /* failures from before are told */
    recover(r);
    read_texts(r, 0, TEXTS - 1);
    for (int i = 0; i < TEXTS; i++) append(r, i, 8, LAYERS);
    read_texts(r, 0, TEXTS - 1);
    for (int i = 0; i < TEXTS; i++) drop(r, i);
    answer_all(r);
    const kv_stats after = kv_store_stats(r->store);
    CHECK(after.pages_used == before->pages_used);
    CHECK(after.pages_reserved == before->pages_reserved);
    CHECK(after.disk_bytes == 0 && after.disk_bytes_reserved == before->disk_bytes_reserved);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static kv_config config_of(int budget) {
    static const char *dirs[] = {"/"};
    static const int64_t n_pages[KVH_LIFE_BUDGETS] = {0, 9, 30};
    kv_config config = kvh_overflow_config(LAYERS, n_pages[budget], 400);
    config.overflow.dirs = dirs;
    config.overflow.pinned_tokens = budget == 2 ? 16 : 0;
    config.overflow.host_bytes = budget == 1 ? 3 * kv_overflow_rows_bytes(&config) : 0;
    return config;
}

static run play_over(
        kvh_memfs *fs, kvh_fault fault, int64_t at, bool for_ever, int budget, int64_t *n_events) {
    /* Silence is waited for no longer than this; nothing else may be taken for it. */
    const kv_io_config io_config = {.timeout_s = kvh_is_silent(fault, for_ever) ? 0.001 : 30};
    const kv_config config = config_of(budget);
    run r = {.for_ever = for_ever};
    kvh_faults *faults = NULL;
    kv_io *io = NULL;
    const kv_io_engine engine = kvh_inject(kvh_memfs_engine(fs), fault, at, for_ever, &faults);
    CHECK(kv_io_create_on(engine, &io_config, &io) == RT_OK);
    if (went_well(&r, kv_store_open_over(&config, io, &r.store))) {
        const kv_stats before = kv_store_stats(r.store);
        play(&r);
        *n_events = kvh_faults_events(faults);
        CHECK(fault == KVH_NONE || at == INT64_MAX || kvh_faults_injected(faults) > 0);
        kvh_faults_release(faults);
        const int64_t n_failed = r.n_failed;
        finish(&r, &before);
        r.n_failed = n_failed;
        kv_store_close(r.store);
    }
    return r;
}

kvh_life kvh_play_life(kvh_fault fault, int64_t at, bool for_ever, int budget) {
    kvh_life life = {0};
    kvh_memfs *fs = kvh_memfs_new();
    life.n_failed = play_over(fs, fault, at, for_ever, budget, &life.n_events).n_failed;
    kvh_memfs_free(fs);
    return life;
}
