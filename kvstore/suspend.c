/* A span that was stopped in its middle. On disk it is
 *
 *   its segments, suspended                 what whole extents of the layers done hold
 *   one state, named after them and removed before they go on: it alone says that there is something. Its records:
 *     one per layer and head                rows of the unfinished extent, as they are
 *     another, where pages are sealed       rows of the page that is not full
 *     one of the caller's bytes
 *     the numbers, as its note
 *
 * the state under a key made from the ids of the whole text. On a slow disk it is the syncs that take time: the state
 * has two, whatever the layers and heads are, and the segments' files are synced side by side, and then their names.
 * The span is resumed from the start of the extent it begins in, so that nothing of what was in memory is missing. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/memory.h"
#include "store_impl.h"
#include "vault_dirs.h"

/* Earlier versions had a state per layer and head, under other numbers, and one under this that is of another format: it
 * is no suspended span here. */
enum { KEY_SPAN = -1 };

/* What is saved of a kv_suspension. */
typedef struct numbers {
    int64_t n_ids, begin, end, layer, layer_end, is_whole, hidden_bytes;
} numbers;

/* ---- keys ------------------------------------------------------------------------------------ */

/* Of a text, and numbers that say what of it. */
static rt_status make_key(const kv_seq *seq, const int32_t *ids, int64_t n_ids, const int32_t *what,
        int32_t n_what, kv_hash *key) {
    kv_hash text;
    RT_TRY(kv_chain_next(kv_vault_root(seq->store->vault), ids, (int32_t)n_ids, &text));
    return kv_chain_next(&text, what, n_what, key);
}

static rt_status span_key(const kv_seq *seq, const int32_t *ids, int64_t n_ids, kv_hash *key) {
    const int32_t what = KEY_SPAN;
    return make_key(seq, ids, n_ids, &what, 1, key);
}

/* Of what is beside a text: another key than any of a suspended span, whose last link is one number. */
static rt_status beside_key(
        const kv_seq *seq, const int32_t *ids, int64_t n_ids, int32_t what, kv_hash *key) {
    const int32_t twice[] = {what, what};
    return make_key(seq, ids, n_ids, twice, 2, key);
}

static int64_t extent_start(int64_t pos) {
    return pos / KV_SEGMENT_TOKENS * KV_SEGMENT_TOKENS;
}

/* ---- rows ------------------------------------------------------------------------------------ */

kv_rows kv_seq_tail_rows(kv_seq *seq, int32_t layer, int32_t kv_head) {
    const int64_t first = extent_start(seq->filled[layer]);
    const int64_t page = first / seq->store->config.shape.page_tokens;
    const int64_t held = kv_held_tokens(&seq->store->config, seq->filled[layer]);
    const kv_stored like = {.n_tokens = (int32_t)(held - first)};
    if (like.n_tokens == 0) return (kv_rows){.kv_head = kv_head}; /* an extent ends here */
    kv_rows rows = kv_staging_rows(&seq->store->staging, &like, kv_head, 0);
    rows.pages = kv_page_slot(seq, layer, page);
    rt_assert(rows.pages[0]);
    return rows;
}

/* In the buffer that sealed pages pass through, too: one page of rows is less than an extent of those. */
kv_rows kv_seq_open_rows(kv_seq *seq, int32_t layer, int32_t kv_head) {
    const kv_shape *shape = &seq->store->config.shape;
    if (!seq->open || !seq->open[layer]) return (kv_rows){.kv_head = kv_head};
    const kv_run_shape like = {.dtype = RT_BF16,
            .head_dim = shape->head_dim,
            .n_tokens = (int32_t)(seq->filled[layer] % shape->page_tokens)};
    rt_assert(like.n_tokens > 0);
    kv_rows rows = kv_staging_rows_like(&seq->store->staging, &like, kv_head, 0);
    rows.pages = &seq->open[layer];
    rows.is_open = true;
    return rows;
}

static kv_part part_of(const kv_seq *seq, const kv_rows *rows) {
    const kv_shape *shape = &seq->store->config.shape;
    const kv_run_shape like = {.dtype = rows->is_open ? RT_BF16 : shape->dtype,
            .head_dim = shape->head_dim,
            .n_tokens = rows->n_tokens};
    return (kv_part){.bytes = rows->k, .n_bytes = kv_run_raw_bytes(&like)};
}

void kv_suspend_rows(kv_seq *seq, const kv_rows *rows) {
    const kv_part part = part_of(seq, rows);
    rt_assert(seq->records);
    kv_records_add(seq->records, part.bytes, part.n_bytes);
}

rt_status kv_resume_rows(kv_seq *seq, kv_rows *rows, bool *is_there) {
    const kv_part part = part_of(seq, rows);
    rt_assert(seq->records);
    return kv_records_read(seq->records, part.bytes, part.n_bytes, is_there);
}

/* Of a layer: what kv_seq_tail_rows and kv_seq_open_rows give of all its heads. */
static int64_t layer_bytes(const kv_seq *seq, int32_t layer) {
    const kv_config *config = &seq->store->config;
    const int64_t filled = seq->filled[layer];
    const int64_t n_tail = kv_held_tokens(config, filled) - extent_start(filled);
    const kv_rows tail = {.n_tokens = (int32_t)n_tail};
    const kv_rows open = {
            .n_tokens = (int32_t)(filled % config->shape.page_tokens), .is_open = true};
    int64_t n_bytes = 0;
    if (tail.n_tokens > 0) n_bytes += kv_record_bytes(part_of(seq, &tail).n_bytes);
    if (seq->open && open.n_tokens > 0) n_bytes += kv_record_bytes(part_of(seq, &open).n_bytes);
    return config->shape.n_kv_heads * n_bytes;
}

/* ---- suspending ------------------------------------------------------------------------------ */

/* Nobody would find the span again without all segments before it. */
static rt_status check_before(const kv_seq *seq) {
    const int64_t before = extent_start(seq->length);
    const int64_t kept = kv_seq_kept(seq);
    if (kept >= before) return RT_OK;
    return rt_fail(RT_EIO,
            "kvstore: of %" PRId64 " tokens that were kept those from %" PRId64
            " on are on disk no longer",
            before, kept);
}

rt_status kv_suspend_begin(kv_seq *seq, const int32_t *ids, const kv_suspension *s) {
    rt_assert(seq->span > 0 && !seq->is_walked && !seq->records);
    RT_TRY(kv_persist_check(seq));
    RT_TRY(check_before(seq));
    kv_hash key;
    int64_t n_bytes = kv_record_bytes(s->hidden_bytes);
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        n_bytes += layer_bytes(seq, layer);
    RT_TRY(span_key(seq, ids, s->n_ids, &key));
    return kv_records_begin(seq->store->vault, &key, n_bytes, &seq->records);
}

void kv_suspend_end(kv_seq *seq) {
    kv_records_end(seq->records);
    seq->records = NULL;
}

/* The writers' files take their other name, all at once; what is in them is not this sequence's any more. One in which
 * nothing is yet is as well begun again. has_written: what was written is to be on disk; otherwise all was there before. */
static rt_status suspend_writers(kv_seq *seq, bool has_written) {
    rt_status status = RT_OK;
    int32_t n = 0;
    kv_writer **writers = NULL;
    RT_TRY(rt_calloc(seq->n_extents, sizeof(kv_writer *), "suspended segments", &writers));
    for (int64_t e = 0; e < seq->n_extents; e++) {
        kv_writer *writer = seq->writers[e];
        if (!writer) continue;
        kv_staging_settle_file(&seq->store->staging, kv_writer_file(writer));
        kv_persist_lose(seq, e);
        seq->writers[e] = NULL;
        if (status == RT_OK && has_written) status = kv_staging_check(&seq->store->staging);
        if (status == RT_OK && kv_writer_n_layers(writer) > 0)
            writers[n++] = writer;
        else
            kv_writer_abort(writer);
    }
    status = kv_writers_suspend(writers, n, status);
    free(writers);
    return status;
}

rt_status kv_suspend_span(kv_seq *seq, const kv_suspension *s) {
    rt_assert(seq->records && !seq->is_walked);
    const numbers n = {
            s->n_ids, s->begin, s->end, s->layer, s->layer_end, s->is_whole, s->hidden_bytes};
    kv_records_add(seq->records, s->hidden, s->hidden_bytes);
    rt_status status = suspend_writers(seq, true);
    if (status == RT_OK) {
        status = kv_records_finish(seq->records, &n, sizeof n);
        seq->records = NULL;
    }
    kv_span_abort(seq);
    return status;
}

/* ---- resuming -------------------------------------------------------------------------------- */

static bool is_possible(const kv_seq *seq, int64_t n_ids, const numbers *n) {
    return n->n_ids == n_ids && n->begin >= 0 && n->begin < n->end && n->end <= n_ids &&
           n->layer >= 0 && n->layer <= seq->store->config.n_layers && n->layer_end >= n->begin &&
           n->layer_end <= n->end && seq->length >= extent_start(n->begin) &&
           seq->length <= n->begin;
}

static rt_status open_records(
        kv_seq *seq, const int32_t *ids, int64_t n_ids, numbers *n, kv_records **out) {
    kv_hash key;
    RT_TRY(span_key(seq, ids, n_ids, &key));
    RT_TRY(kv_records_open(seq->store->vault, &key, n, sizeof *n, out));
    if (!*out || is_possible(seq, n_ids, n)) return RT_OK;
    kv_records_end(*out);
    *out = NULL;
    return RT_OK;
}

static int64_t filled_of(const numbers *n, int32_t layer) {
    if (layer == n->layer) return n->layer_end;
    return layer < n->layer ? n->end : n->begin;
}

/* A whole extent of a layer, from the writer that was suspended with it. */
static rt_status find_layer(kv_seq *seq, int64_t extent, int32_t layer, bool *is_there) {
    kv_writer *writer = seq->writers[extent];
    kv_stored **place = kv_stored_slot(seq, layer, extent);
    *is_there = *place || (writer && kv_writer_has_layer(writer, layer));
    if (*place || !*is_there) return RT_OK;
    const int64_t of_extent = kv_pages_of_extent(seq->store);
    RT_TRY(kv_stored_reopen(&seq->store->staging, writer, layer, place));
    kv_seq_drop_pages(seq, layer, extent * of_extent, (extent + 1) * of_extent);
    return RT_OK;
}

/* A segment that was suspended later than the state, by a process that did not come to name its own: it has what is yet to
 * be computed here, and a layer is placed once. */
static bool is_ahead(const kv_seq *seq, const numbers *n, int32_t layer) {
    for (int64_t e = filled_of(n, layer) / KV_SEGMENT_TOKENS; e < n->end / KV_SEGMENT_TOKENS; e++)
        if (seq->writers[e] && kv_writer_has_layer(seq->writers[e], layer)) return true;
    return false;
}

static rt_status find_layers(kv_seq *seq, const numbers *n, bool *is_there) {
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        const int64_t filled = filled_of(n, layer);
        *is_there = !is_ahead(seq, n, layer);
        if (!*is_there) return RT_OK;
        for (int64_t e = seq->length / KV_SEGMENT_TOKENS; e < filled / KV_SEGMENT_TOKENS; e++) {
            RT_TRY(find_layer(seq, e, layer, is_there));
            if (!*is_there) return RT_OK;
        }
        seq->filled[layer] = filled;
        RT_TRY(kv_open_take(seq, layer));
    }
    return RT_OK;
}

void kv_resume_leave(kv_seq *seq) {
    char why[KV_WHY_BYTES]; /* it is left, mostly, for something that has failed: that is what is told */
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    if (seq->writers && suspend_writers(seq, false) != RT_OK) {
        const rt_status restored = rt_fail(RT_EIO, "%s", why);
        (void)restored;
    }
    kv_span_abort(seq);
    kv_suspend_end(seq); /* where the span did not even begin, too */
}

/* To begin at `start` a fork gives up pages that it shares, and needs as many of its own: they may not be there. */
static bool has_room_from(const kv_seq *seq, int64_t start) {
    const kv_store *store = seq->store;
    int64_t n_shared = 0;
    if (seq->kind != KV_SEQ_IN_MEMORY) return true; /* it takes them walk by walk */
    for (int32_t layer = 0; layer < store->config.n_layers; layer++)
        for (int64_t i = start / store->config.shape.page_tokens; i < seq->n_pages; i++) {
            const void *page = *kv_page_slot(seq, layer, i);
            n_shared += page && kv_pool_is_shared(&store->pool, page);
        }
    return n_shared <= kv_pool_room(&store->pool);
}

/* What does not fit together is of no use; but what cannot be had, as on a full disk, waits for another day, whole. */
static rt_status begin_again(kv_seq *seq, const int32_t *ids, const numbers *n, bool *is_there) {
    const int64_t start = extent_start(n->begin);
    kv_seq_truncate(seq, start);
    seq->resumes = true;
    rt_status status = kv_span_begin(seq, ids + start, n->end - start);
    seq->resumes = false;
    *is_there = seq->is_persisted; /* or what is in writers' files would be lost at the commit */
    if (status == RT_OK && *is_there) status = find_layers(seq, n, is_there);
    if (status != RT_OK || !seq->is_persisted)
        kv_resume_leave(seq);
    else if (!*is_there)
        kv_span_abort(seq);
    return status;
}

rt_status kv_resume_span(
        kv_seq *seq, const int32_t *ids, int64_t n_ids, kv_suspension *out, bool *is_there) {
    *is_there = false;
    *out = (kv_suspension){0};
    if (!seq->chains || n_ids > INT32_MAX) return RT_OK;
    numbers n;
    kv_records *records = NULL;
    rt_status status = RT_OK;
    RT_TRY(open_records(seq, ids, n_ids, &n, &records));
    if (!records) return RT_OK;
    seq->records = records;
    if (seq->is_persisted && has_room_from(seq, extent_start(n.begin)))
        status = begin_again(seq, ids, &n, is_there);
    else
        kv_suspend_end(seq);
    *out = (kv_suspension){.n_ids = n_ids,
            .begin = n.begin,
            .end = n.end,
            .layer = (int32_t)n.layer,
            .layer_end = n.layer_end,
            .is_whole = n.is_whole != 0,
            .waits = !seq->is_persisted,
            .hidden_bytes = n.hidden_bytes};
    return status;
}

rt_status kv_resume_layer(kv_seq *seq, int32_t layer) {
    const int64_t filled = seq->filled[layer];
    return kv_seq_take_pages(seq, layer, extent_start(filled), filled);
}

rt_status kv_resume_hidden(kv_seq *seq, const kv_suspension *s, bool *is_there) {
    rt_assert(seq->records);
    return kv_records_read(seq->records, s->hidden, s->hidden_bytes, is_there);
}

void kv_resume_end(kv_seq *seq) {
    rt_assert(seq->records);
    kv_records_drop(seq->records);
    seq->records = NULL;
}

/* ---- beside a text --------------------------------------------------------------------------- */

rt_status kv_seq_save_beside(const kv_seq *seq, const int32_t *ids, int64_t n_ids, int32_t what,
        void *bytes, int64_t n_bytes) {
    kv_hash key;
    const kv_part part = {.bytes = bytes, .n_bytes = n_bytes};
    if (!seq->is_persisted || n_ids > INT32_MAX)
        return rt_fail(RT_EUSAGE, "kvstore: the sequence is not kept on disk");
    RT_TRY(beside_key(seq, ids, n_ids, what, &key));
    return kv_vault_save_state(seq->store->vault, &key, &part, 1);
}

rt_status kv_seq_load_beside(const kv_seq *seq, const int32_t *ids, int64_t n_ids, int32_t what,
        void *bytes, int64_t n_bytes, bool *is_there) {
    kv_hash key;
    const kv_part part = {.bytes = bytes, .n_bytes = n_bytes};
    *is_there = false;
    if (!seq->is_persisted || n_ids > INT32_MAX) return RT_OK;
    RT_TRY(beside_key(seq, ids, n_ids, what, &key));
    return kv_vault_load_state(seq->store->vault, &key, &part, 1, is_there);
}
