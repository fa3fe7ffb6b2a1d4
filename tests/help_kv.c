#include "help_kv.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "kvstore/store_impl.h"

kv_config kvh_config(int32_t n_layers, int64_t n_pages) {
    return (kv_config){.shape = {.dtype = RT_BF16,
                               .n_kv_heads = 1,
                               .head_dim = 4,
                               .page_tokens = KVH_PAGE_TOKENS},
            .n_layers = n_layers,
            .page_bytes = KVH_PAGE_BYTES,
            .host_bytes_max = n_pages * KVH_PAGE_BYTES};
}

kv_store *kvh_open(int32_t n_layers, int64_t n_pages) {
    const kv_config config = kvh_config(n_layers, n_pages);
    kv_store *store = NULL;
    CHECK(kv_store_open(&config, &store) == RT_OK);
    return store;
}

kv_seq *kvh_seq(kv_store *store, int64_t max_tokens) {
    kv_seq *seq = NULL;
    CHECK(kv_seq_create(store, max_tokens, &seq) == RT_OK);
    return seq;
}

static char directory[64];

static void remove_directory(void) {
    (void)rmdir(directory);
}

const char *kvh_directory(void) {
    if (directory[0]) return directory;
    (void)snprintf(directory, sizeof directory, "/tmp/kv-XXXXXX");
    CHECK(mkdtemp(directory));
    (void)atexit(remove_directory);
    return directory;
}

kv_config kvh_overflow_config(int32_t n_layers, int64_t n_pages, int64_t n_cells) {
    static const char *dirs[1];
    dirs[0] = kvh_directory();
    kv_config config = kvh_config(n_layers, n_pages);
    config.overflow = (kv_overflow){.dirs = dirs,
            .n_dirs = 1,
            .extent_tokens = 2 * KVH_PAGE_TOKENS,
            .window_extents = 2,
            .append_tokens = 40,
            .appends_by_windows = true,
            .n_threads = 1};
    const int64_t none = kv_overflow_disk_bytes(&config, 0);
    const int64_t cell = (kv_overflow_disk_bytes(&config, 1) - none) / n_layers;
    config.overflow.bytes_max = none + n_cells * cell;
    config.host_bytes_max += kv_overflow_bytes(&config);
    return config;
}

enum { TOGETHER_MAX = 8 };

/* ---- tokens ---------------------------------------------------------------------------------- */

static uint64_t layer_word(uint64_t value, int32_t layer) {
    return ~value * 31 + (uint64_t)layer;
}

static char *token_at(const kv_window_part *part, int64_t pos) {
    char *page = part->pages[(pos - part->first_pos) / KVH_PAGE_TOKENS];
    return page + pos % KVH_PAGE_TOKENS * KVH_TOKEN_BYTES;
}

static char *row_in_page(const kv_rows *rows, int32_t t) {
    return (char *)rows->pages[t / KVH_PAGE_TOKENS] + t % KVH_PAGE_TOKENS * KVH_TOKEN_BYTES;
}

void kvh_rows_to_pages(const kv_rows *rows) {
    for (int32_t t = 0; t < rows->n_tokens; t++) {
        char *token = row_in_page(rows, t);
        memcpy(token, (const char *)rows->k + t * KVH_ROW_BYTES, KVH_ROW_BYTES);
        memcpy(token + KVH_ROW_BYTES, (const char *)rows->v + t * KVH_ROW_BYTES, KVH_ROW_BYTES);
    }
}

void kvh_pages_to_rows(const kv_rows *rows) {
    for (int32_t t = 0; t < rows->n_tokens; t++) {
        const char *token = row_in_page(rows, t);
        memcpy((char *)rows->k + t * KVH_ROW_BYTES, token, KVH_ROW_BYTES);
        memcpy((char *)rows->v + t * KVH_ROW_BYTES, token + KVH_ROW_BYTES, KVH_ROW_BYTES);
    }
}

static void load(kv_walk *walk, int64_t n_loads) {
    for (int64_t i = 0; i < n_loads; i++) {
        kv_rows rows;
        for (int64_t row = 0; kv_walk_load(walk, i, row, 0, &rows); row += rows.n_tokens)
            kvh_rows_to_pages(&rows);
    }
}

static rt_status leave(kv_walk *walk) {
    int64_t n_stores = 0;
    for (;;) {
        RT_TRY(kv_walk_leave(walk, &n_stores));
        if (n_stores == 0) return RT_OK;
        for (int64_t i = 0; i < n_stores; i++) {
            for (int64_t piece = kv_walk_pieces(walk) - 1; piece >= 0; piece--) {
                const int64_t first = piece * KV_PIECE_TOKENS;
                const kv_rows rows = kv_walk_piece(walk, i, first, 0);
                kvh_pages_to_rows(&rows);
                if (rows.n_tokens > 0) kv_walk_store(walk, i, &rows, first, 0);
            }
        }
    }
}

typedef void visit(void *context, const kv_window_part *part);

static rt_status visit_windows(kv_walk *walk, visit *on_part, void *context) {
    for (;;) {
        kv_window window;
        RT_TRY(kv_walk_next(walk, &window));
        if (window.n_parts == 0) return RT_OK;
        load(walk, window.n_loads);
        RT_TRY(kv_walk_loaded(walk));
        for (int32_t i = 0; i < window.n_parts; i++) on_part(context, &window.parts[i]);
        RT_TRY(leave(walk));
    }
}

static rt_status walk_together(kv_store *store, kv_seq *const *seqs, const int64_t *ends,
        int32_t n_seqs, int32_t layer, kv_walk_extent extent, visit *on_part, void *context) {
    kv_walk *walk = NULL;
    RT_TRY(kv_walk_begin(store, layer, seqs, ends, n_seqs, extent, &walk));
    kv_walk_then(walk, (layer + 1) % store->config.n_layers); /* which may come or not */
    const rt_status status = visit_windows(walk, on_part, context);
    kv_walk_end(walk);
    return status;
}

static rt_status walk_layer(
        kv_store *store, kv_seq *seq, int32_t layer, int64_t end, visit *on_part, void *context) {
    if (end == 0) return RT_OK;
    return walk_together(store, &seq, &end, 1, layer, KV_WALK_ALL, on_part, context);
}

typedef struct write_job {
    int32_t layer;
    int64_t first, n_tokens;
    uint64_t value;
} write_job;

static void write_part(void *context, const kv_window_part *part) {
    const write_job *job = context;
    const int64_t end = part->first_pos + part->n_tokens;
    CHECK(part->n_new == 0 ||
            (end - part->n_new >= job->first && end <= job->first + job->n_tokens));
    for (int64_t pos = end - part->n_new; pos < end; pos++) {
        const uint64_t word = job->value + (uint64_t)pos;
        const uint64_t words[2] = {word, layer_word(word, job->layer)};
        memcpy(token_at(part, pos), words, sizeof words);
    }
}

rt_status kvh_try_write(kv_store *store, kv_seq *seq, int32_t layer, int64_t first,
        int64_t n_tokens, uint64_t value) {
    write_job job = {layer, first, n_tokens, value};
    return walk_layer(store, seq, layer, first + n_tokens, write_part, &job);
}

static void write_part_of(void *context, const kv_window_part *part) {
    write_job *jobs = context;
    write_part(&jobs[part->seq], part);
}

rt_status kvh_try_write_together(kv_store *store, kv_seq *const *seqs, int32_t n_seqs,
        int32_t layer, const int64_t *n_tokens, uint64_t value) {
    write_job jobs[TOGETHER_MAX];
    int64_t ends[TOGETHER_MAX] = {0};
    CHECK(n_seqs <= TOGETHER_MAX);
    for (int32_t i = 0; i < n_seqs; i++) {
        jobs[i] = (write_job){layer, kv_seq_length(seqs[i]), n_tokens[i], value};
        ends[i] = kv_seq_length(seqs[i]) + n_tokens[i];
    }
    return walk_together(store, seqs, ends, n_seqs, layer, KV_WALK_ALL, write_part_of, jobs);
}

void kvh_write(kv_store *store, kv_seq *seq, int32_t n_layers, int64_t first, int64_t n_tokens,
        uint64_t value) {
    for (int32_t layer = 0; layer < n_layers; layer++)
        CHECK(kvh_try_write(store, seq, layer, first, n_tokens, value) == RT_OK);
}

typedef struct read_job {
    int32_t layer;
    int64_t next; /* windows come in order and cover everything once */
    uint64_t *values;
} read_job;

static void read_part(void *context, const kv_window_part *part) {
    read_job *job = context;
    CHECK(part->first_pos == job->next && part->n_tokens > 0);
    for (; job->next < part->first_pos + part->n_tokens; job->next++) {
        uint64_t words[2];
        memcpy(words, token_at(part, job->next), sizeof words);
        CHECK(words[1] == layer_word(words[0], job->layer));
        job->values[job->next] = words[0];
    }
}

rt_status kvh_try_read(kv_store *store, kv_seq *seq, int32_t layer, uint64_t *values) {
    read_job job = {.layer = layer, .values = values};
    RT_TRY(walk_layer(store, seq, layer, kv_seq_length(seq), read_part, &job));
    CHECK(job.next == kv_seq_length(seq));
    return RT_OK;
}

static void read_part_of(void *context, const kv_window_part *part) {
    read_job *jobs = context;
    read_part(&jobs[part->seq], part);
}

rt_status kvh_try_read_together(
        kv_store *store, kv_seq *const *seqs, int32_t n_seqs, int32_t layer, uint64_t **values) {
    read_job jobs[TOGETHER_MAX];
    int64_t ends[TOGETHER_MAX] = {0};
    CHECK(n_seqs <= TOGETHER_MAX);
    for (int32_t i = 0; i < n_seqs; i++) {
        jobs[i] = (read_job){.layer = layer, .values = values[i]};
        ends[i] = kv_seq_length(seqs[i]);
    }
    RT_TRY(walk_together(store, seqs, ends, n_seqs, layer, KV_WALK_ALL, read_part_of, jobs));
    for (int32_t i = 0; i < n_seqs; i++) CHECK(jobs[i].next == ends[i]);
    return RT_OK;
}

void kvh_read_all(kv_store *store, kv_seq *seq, int32_t layer, uint64_t *values) {
    CHECK(kvh_try_read(store, seq, layer, values) == RT_OK);
}

static void look_away(void *context, const kv_window_part *part) {
    (void)context, (void)part;
}

rt_status kvh_try_save(kv_store *store, kv_seq *seq, int32_t layer) {
    const int64_t end = kv_seq_length(seq);
    return walk_together(store, &seq, &end, 1, layer, KV_WALK_SAVE, look_away, NULL);
}

typedef struct end_job {
    kvh_visit *at_end;
    void *context;
    rt_status status;
} end_job;

static void visit_end(void *context, const kv_window_part *part) {
    end_job *job = context;
    CHECK(part->is_last);
    if (job->at_end) job->status = job->at_end(job->context);
}

rt_status kvh_try_walk_end(
        kv_store *store, kv_seq *seq, int32_t layer, kvh_visit *at_end, void *context) {
    const int64_t end = kv_seq_filled(seq, layer);
    end_job job = {.at_end = at_end, .context = context};
    if (end == 0) return RT_OK;
    RT_TRY(walk_together(store, &seq, &end, 1, layer, KV_WALK_LAST, visit_end, &job));
    return job.status;
}

typedef struct find_job {
    int64_t pos;
    const void *page;
} find_job;

static void find_page(void *context, const kv_window_part *part) {
    find_job *job = context;
    if (job->pos >= part->first_pos && job->pos < part->first_pos + part->n_tokens)
        job->page = part->pages[(job->pos - part->first_pos) / KVH_PAGE_TOKENS];
}

const void *kvh_page(kv_store *store, kv_seq *seq, int32_t layer, int64_t pos) {
    find_job job = {.pos = pos};
    CHECK(walk_layer(store, seq, layer, kv_seq_length(seq), find_page, &job) == RT_OK);
    CHECK(job.page);
    return job.page;
}

bool kvh_holds(kv_store *store, kv_seq *seq, int32_t n_layers, int64_t first, int64_t n_tokens,
        uint64_t value) {
    uint64_t *values = calloc((size_t)kv_seq_length(seq) + 1, sizeof *values);
    CHECK(values);
    bool is_same = true;
    for (int32_t layer = 0; layer < n_layers; layer++) {
        kvh_read_all(store, seq, layer, values);
        for (int64_t pos = first; pos < first + n_tokens; pos++)
            is_same = is_same && values[pos] == value + (uint64_t)pos;
    }
    free(values);
    return is_same;
}

void kvh_append(kv_store *store, kv_seq *seq, int32_t n_layers, int64_t n_tokens, uint64_t value) {
    const int64_t length = kv_seq_length(seq);
    CHECK(kv_span_begin(seq, NULL, n_tokens) == RT_OK);
    kvh_write(store, seq, n_layers, length, n_tokens, value);
    kv_span_commit(seq);
    CHECK(kv_seq_length(seq) == length + n_tokens);
}

void kvh_run_seeds(int argc, char **argv, uint64_t n, void (*run)(uint64_t seed)) {
    const uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (argc > 1 ? 1 : n); seed++) {
        (void)printf("seed %" PRIu64 "\n", seed);
        (void)fflush(stdout);
        run(seed);
    }
}
