#include "help_kv_kept.h"

enum { LARGE = 1 << 26 };

static kv_config config_for(int32_t n_layers, int64_t max_tokens) {
    static const char *scratch[] = {"/"};
    kv_config config = kvh_overflow_config(n_layers, 0, 0);
    config.overflow.dirs = scratch;
    config.overflow.extent_tokens = KV_SEGMENT_TOKENS;
    config.overflow.append_tokens = max_tokens;
    config.overflow.bytes_max = kv_overflow_disk_bytes(&config, max_tokens);
    return config;
}

static kvh_kept begin(
        kv_io *io, kv_config config, int64_t max_tokens, int64_t n_pages, int64_t bytes_max) {
    static const char *dirs[] = {"/disk"};
    kvh_kept p = {.n_layers = config.n_layers};
    config.host_bytes_max = kv_overflow_bytes(&config) + n_pages * KVH_PAGE_BYTES;
    const kv_keep keep = {.fingerprint = (const uint8_t[32]){1, 2, 3},
            .fingerprint_text = "kv=bf16\n",
            .dirs = dirs,
            .n_dirs = 1,
            .bytes_max = bytes_max,
            .keeps_forks = true};
    CHECK(kv_store_open_over(&config, io, &p.store) == RT_OK);
    CHECK(kv_store_keep(p.store, &keep) == RT_OK);
    CHECK(kv_seq_create(p.store, max_tokens, &p.seq) == RT_OK);
    return p;
}

kvh_kept kvh_kept_begin_within(kv_io *io, int32_t n_layers, int64_t max_tokens, int64_t bytes_max) {
    const kv_config config = config_for(n_layers, max_tokens);
    return begin(io, config, max_tokens, kv_pages_for(&config, max_tokens), bytes_max);
}

kvh_kept kvh_kept_begin(kv_io *io, int32_t n_layers, int64_t max_tokens) {
    return kvh_kept_begin_within(io, n_layers, max_tokens, LARGE);
}

kvh_kept kvh_kept_begin_beyond(kv_io *io, int32_t n_layers, int64_t max_tokens, int64_t n_pages) {
    return begin(io, config_for(n_layers, max_tokens), max_tokens, n_pages, LARGE);
}

void kvh_kept_end(kvh_kept *p) {
    kv_seq_free(p->seq);
    kv_store_close(p->store);
}

void kvh_kept_write(kvh_kept *p, const int32_t *ids, const kv_suspension *s) {
    CHECK(kv_span_begin(p->seq, ids, s->end) == RT_OK);
    for (int32_t layer = 0; layer < p->n_layers && layer <= s->layer; layer++) {
        const int64_t end = layer < s->layer ? s->end : s->layer_end;
        CHECK(kvh_try_write(p->store, p->seq, layer, 0, end, 77) == RT_OK);
    }
}

typedef struct save_job {
    kv_seq *seq;
    int32_t layer;
} save_job;

static rt_status save_tail(void *context) {
    const save_job *job = context;
    const kv_rows rows = kv_seq_tail_rows(job->seq, job->layer, 0);
    CHECK(rows.n_tokens > 0);
    kvh_pages_to_rows(&rows);
    kv_suspend_rows(job->seq, &rows);
    return RT_OK;
}

rt_status kvh_suspend(kv_store *store, kv_seq *seq, int32_t n_layers, const int32_t *ids,
        const kv_suspension *s) {
    RT_TRY(kv_suspend_begin(seq, ids, s));
    for (int32_t layer = 0; layer < n_layers; layer++) {
        save_job job = {seq, layer};
        RT_TRY(kvh_try_walk_end(store, seq, layer, save_tail, &job));
    }
    return kv_suspend_span(seq, s);
}

kv_suspension kvh_stopped_at(int64_t n_ids, int32_t layer, int64_t layer_end) {
    static char hidden[KVH_HIDDEN];
    for (int i = 0; i < KVH_HIDDEN; i++) hidden[i] = (char)(i * 5 + (i >> 6));
    return (kv_suspension){.n_ids = n_ids,
            .end = n_ids,
            .layer = layer,
            .layer_end = layer_end,
            .hidden = hidden,
            .hidden_bytes = KVH_HIDDEN};
}

rt_status kvh_kept_stop(kvh_kept *p, const int32_t *ids, const kv_suspension *s) {
    kvh_kept_write(p, ids, s);
    const rt_status status = kvh_suspend(p->store, p->seq, s->layer + 1, ids, s);
    kvh_kept_end(p);
    return status;
}
