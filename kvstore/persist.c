/* From live sequences to the vault and back.
 *
 * A span that completes extents has a writer for each of them; the walks write the layers' runs into
 * the writers' files, from where they are also read back until the commit, and after it from the
 * finished segments. Segments of one sequence are finished in order, each one's parent before it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "segment.h"
#include "store_impl.h"
#include "vault_inside.h"

/* ---- the store ------------------------------------------------------------------------------- */

rt_status kv_store_keep(kv_store *store, const kv_keep *keep) {
    rt_assert(store->has_overflow && !store->vault && store->n_seqs == 0);
    rt_assert(store->config.overflow.extent_tokens == KV_SEGMENT_TOKENS);
    kv_vault_config config = {.io = store->staging.io,
            .dirs = keep->dirs,
            .n_dirs = keep->n_dirs,
            .disk_bytes_max = keep->bytes_max,
            .is_on_top = keep->is_on_top,
            .shape = {.dtype = (int32_t)store->config.shape.dtype,
                    .n_layers = store->config.n_layers,
                    .n_kv_heads = store->config.shape.n_kv_heads,
                    .head_dim = store->config.shape.head_dim},
            .heads = {.first = store->config.shape.first_kv_head,
                    .all = store->config.shape.all_kv_heads},
            .other_dirs = keep->other_dirs,
            .n_other_dirs = keep->n_other_dirs,
            .fingerprint_text = keep->fingerprint_text};
    memcpy(config.fingerprint.bytes, keep->fingerprint, sizeof config.fingerprint.bytes);
    store->keeps_forks = keep->keeps_forks;
    return kv_vault_open(&config, &store->vault);
}

void kv_store_keep_nothing(kv_store *store) {
    rt_assert(store->n_seqs == 0);
    kv_vault_close(store->vault);
    store->vault = NULL;
}

const char *kv_store_keep_failure(const kv_store *store) {
    return store->keep_failed;
}

rt_status kv_store_check_kept(const kv_store *store) {
    return store->keep_failed[0] ? rt_fail(store->keep_status, "%s", store->keep_failed) : RT_OK;
}

/* The sequence goes on without: the failure is kept to be told. */
void kv_seq_keep_no_more(kv_seq *seq, rt_status failure) {
    seq->is_persisted = false;
    seq->store->keep_status = failure;
    (void)snprintf(seq->store->keep_failed, sizeof seq->store->keep_failed, "%s", rt_error_text());
}

/* ---- a sequence ------------------------------------------------------------------------------ */

rt_status kv_persist_start(kv_seq *seq) {
    if (!seq->is_persisted) return RT_OK;
    RT_TRY(rt_calloc(seq->n_extents, sizeof *seq->chains, "a sequence's chain", &seq->chains));
    return rt_calloc(seq->n_extents, sizeof(kv_writer *), "a sequence's segments", &seq->writers);
}

void kv_persist_share(kv_seq *seq, const kv_seq *parent) {
    if (!seq->is_persisted) return;
    seq->is_orphan = parent->is_orphan || !parent->is_persisted;
    seq->n_chained = rt_min64(parent->n_chained, seq->length / KV_SEGMENT_TOKENS);
    memcpy(seq->chains, parent->chains, (size_t)seq->n_chained * sizeof *seq->chains);
}

static void abort_last(kv_seq *seq) {
    kv_writer *writer = seq->last;
    seq->last = NULL;
    if (!writer) return;
    kv_staging_settle_file(&seq->store->staging, kv_writer_file(writer));
    kv_writer_abort(writer);
}

void kv_persist_free(kv_seq *seq) {
    abort_last(seq);
    kv_suspend_end(seq);
    free(seq->chains);
    free(seq->writers);
}

static const kv_hash *parent_of(const kv_seq *seq, int64_t extent) {
    return extent > 0 ? &seq->chains[extent - 1] : kv_vault_root(seq->store->vault);
}

/* Those before `end` are chained. */
static rt_status chain_extents(kv_seq *seq, int64_t end) {
    for (; seq->n_chained < end; seq->n_chained++)
        RT_TRY(kv_chain_next(parent_of(seq, seq->n_chained),
                seq->ids + seq->n_chained * KV_SEGMENT_TOKENS, KV_SEGMENT_TOKENS,
                &seq->chains[seq->n_chained]));
    return RT_OK;
}

/* One that is stored already needs no writer. */
static rt_status begin_extents(kv_seq *seq, int64_t first, int64_t end) {
    RT_TRY(chain_extents(seq, end));
    return kv_writers_begin(seq->store->vault, parent_of(seq, first), first * KV_SEGMENT_TOKENS,
            seq->ids + first * KV_SEGMENT_TOKENS, (int32_t)(end - first), &seq->writers[first]);
}

/* The first extent from `first` on that has a writer, or that has none. */
static int64_t next_extent(const kv_seq *seq, int64_t first, int64_t end, bool has_writer) {
    while (first < end && (seq->writers[first] != NULL) != has_writer) first++;
    return first;
}

/* The same, from where suspended ones ended. Those that were not suspended come last: then nothing of the others makes way
 * for them. */
static rt_status resume_extents(kv_seq *seq, int64_t first, int64_t end) {
    RT_TRY(chain_extents(seq, end));
    RT_TRY(kv_writers_resume(seq->store->vault, parent_of(seq, first), first * KV_SEGMENT_TOKENS,
            seq->ids + first * KV_SEGMENT_TOKENS, (int32_t)(end - first), &seq->writers[first]));
    for (int64_t e = next_extent(seq, first, end, false), next; e < end;
            e = next_extent(seq, next, end, false)) {
        next = next_extent(seq, e, end, true);
        RT_TRY(begin_extents(seq, e, next));
    }
    return RT_OK;
}

/* Nothing can follow what its parent could not keep: why that was stays what is told. */
static bool lacks_parent(const kv_seq *seq, int64_t first) {
    const kv_store *store = seq->store;
    return seq->is_orphan && first > 0 && store->keep_failed[0] &&
           !kv_vault_know(store->vault, parent_of(seq, first));
}

void kv_persist_begin(kv_seq *seq) {
    if (!seq->is_persisted) return;
    const int64_t first = seq->length / KV_SEGMENT_TOKENS;
    const int64_t end = (seq->length + seq->span) / KV_SEGMENT_TOKENS;
    if (first == end) return;
    const rt_status status = (seq->resumes ? resume_extents : begin_extents)(seq, first, end);
    if (status == RT_OK) return;
    if (lacks_parent(seq, first))
        seq->is_persisted = false;
    else
        kv_seq_keep_no_more(seq, status);
}

/* ---- commit ---------------------------------------------------------------------------------- */

/* Why not is what the last write that failed said: whoever was told of it may have gone on without. */
static rt_status check_written(const kv_seq *seq, int64_t extent) {
    const char *why = seq->store->staging.failed_text;
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        const kv_stored *stored = *kv_stored_slot(seq, layer, extent);
        if (!stored || stored->is_lost)
            return rt_fail(RT_EIO, "kvstore: tokens from %" PRId64 " were not written whole%s%s",
                    extent * KV_SEGMENT_TOKENS, why[0] ? ": " : "", why);
    }
    return RT_OK;
}

static void move_to(kv_seq *seq, int64_t extent, kv_shared_segment *segment) {
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        kv_stored_move(*kv_stored_slot(seq, layer, extent), segment);
}

/* What was in the writer's file is nowhere: pages in memory do without, others are lost. */
void kv_persist_lose(kv_seq *seq, int64_t extent) {
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++) {
        kv_stored *stored = *kv_stored_slot(seq, layer, extent);
        if (!stored || !stored->writer) continue;
        stored->writer = NULL;
        stored->file = NULL;
        stored->is_lost = true;
        if (*kv_page_slot(seq, layer, extent * kv_pages_of_extent(seq->store)))
            kv_seq_drop_stored(seq, layer, extent);
    }
}

static void abort_extent(kv_seq *seq, int64_t extent) {
    kv_writer *writer = seq->writers[extent];
    kv_persist_lose(seq, extent);
    seq->writers[extent] = NULL;
    kv_writer_abort(writer);
}

/* The extent's writer is gone; NULL: and what it wrote, too. */
static rt_status move_extent(kv_seq *seq, int64_t extent, kv_segment *segment) {
    kv_shared_segment *shared = NULL;
    rt_status status = RT_OK;
    seq->writers[extent] = NULL;
    if (segment) status = kv_shared_segment_create(segment, &shared);
    if (shared)
        move_to(seq, extent, shared);
    else
        kv_persist_lose(seq, extent);
    kv_shared_segment_drop(&seq->store->staging, shared);
    return status;
}

/* Of n extents from `first` on: all, or the first ones and a failure. */
static rt_status finish_extents(kv_seq *seq, int64_t first, int32_t n) {
    int32_t n_written = 0, n_finished = 0;
    kv_segment **segments = NULL;
    rt_status status = RT_OK;
    RT_TRY(rt_calloc(n, sizeof(kv_segment *), "finished segments", &segments));
    while (n_written < n && status == RT_OK) {
        status = check_written(seq, first + n_written);
        n_written += status == RT_OK;
    }
    const rt_status finished =
            kv_writers_finish(seq->writers + first, n_written, segments, &n_finished);
    if (finished != RT_OK) status = finished;
    for (int32_t i = 0; i < n_written; i++) {
        const rt_status moved = move_extent(seq, first + i, segments[i]);
        if (moved != RT_OK) status = moved;
    }
    free(segments);
    return status;
}

/* Those that are stored already have no writer: mostly there are none. */
void kv_persist_commit(kv_seq *seq) {
    if (!seq->writers) return;
    const int64_t end = seq->length / KV_SEGMENT_TOKENS;
    for (int64_t e = 0; e < end; e++)
        if (seq->writers[e])
            kv_staging_settle_file(&seq->store->staging, kv_writer_file(seq->writers[e]));
    for (int64_t e = next_extent(seq, 0, end, true); e < end && seq->is_persisted;
            e = next_extent(seq, e, end, true)) {
        const int64_t n = next_extent(seq, e, end, false) - e;
        const rt_status status = finish_extents(seq, e, (int32_t)n);
        if (status != RT_OK) kv_seq_keep_no_more(seq, status);
    }
    for (int64_t e = 0; e < end; e++)
        if (seq->writers[e]) abort_extent(seq, e);
}

void kv_persist_abort(kv_seq *seq) {
    kv_suspend_end(seq);
    if (!seq->writers) return;
    for (int64_t e = seq->length / KV_SEGMENT_TOKENS; e < seq->n_extents; e++) {
        if (!seq->writers[e]) continue;
        kv_staging_settle_file(&seq->store->staging, kv_writer_file(seq->writers[e]));
        abort_extent(seq, e);
    }
}

/* ---- find ------------------------------------------------------------------------------------ */

static rt_status adopt(kv_seq *seq, kv_segment **from, int64_t extent) {
    kv_segment *segment = *from;
    kv_shared_segment *shared = NULL;
    *from = NULL;
    seq->chains[extent] = kv_segment_header_of(segment)->chain;
    RT_TRY(kv_shared_segment_create(segment, &shared));
    rt_status status = RT_OK;
    for (int32_t layer = 0; layer < seq->store->config.n_layers && status == RT_OK; layer++)
        status = kv_stored_open(
                &seq->store->staging, shared, layer, kv_stored_slot(seq, layer, extent));
    kv_shared_segment_drop(&seq->store->staging, shared);
    return status;
}

/* Rows of a page that was not full are not in the segment, where pages are sealed. */
static int64_t n_found(const kv_seq *seq, const kv_prefix *prefix) {
    return kv_held_tokens(&seq->store->config, prefix->n_tokens);
}

static rt_status adopt_all(kv_seq *seq, const int32_t *ids, const kv_prefix *prefix) {
    const int64_t n_tokens = n_found(seq, prefix);
    const int64_t first = seq->length / KV_SEGMENT_TOKENS;
    for (int32_t i = 0; i < prefix->n_segments; i++)
        RT_TRY(adopt(seq, &prefix->segments[i], first + i));
    memcpy(seq->ids, ids, (size_t)n_tokens * sizeof *ids);
    seq->length = n_tokens;
    seq->n_chained = n_tokens / KV_SEGMENT_TOKENS;
    for (int32_t layer = 0; layer < seq->store->config.n_layers; layer++)
        seq->filled[layer] = n_tokens;
    if (seq->kind == KV_SEQ_IN_MEMORY) seq->n_pages = kv_held_pages(&seq->store->config, n_tokens);
    return RT_OK;
}

rt_status kv_seq_find(kv_seq *seq, const int32_t *ids, int64_t n_ids, kv_found *found) {
    const int64_t n_before = seq->length;
    const int64_t first = n_before / KV_SEGMENT_TOKENS;
    rt_assert(n_before == first * KV_SEGMENT_TOKENS && seq->span == 0);
    rt_assert(n_before <= n_ids && n_ids <= seq->max_tokens);
    *found = (kv_found){.n_tokens = n_before, .reason = "nothing is kept on disk (--kv-disk-dir)"};
    if (!seq->chains) return RT_OK;
    kv_prefix prefix = {0};
    RT_TRY(chain_extents(seq, first));
    RT_TRY(kv_vault_find_after(
            seq->store->vault, parent_of(seq, first), n_before, ids, n_ids, &prefix));
    const rt_status status = adopt_all(seq, ids, &prefix);
    if (status == RT_OK) {
        found->n_tokens = seq->length;
        (void)snprintf(found->reason, sizeof found->reason, "%s",
                prefix.n_tokens < n_ids ? prefix.reason : "");
        found->is_failure = prefix.is_failure && prefix.n_tokens < n_ids;
    }
    kv_prefix_free(&prefix);
    if (status != RT_OK) kv_seq_truncate(seq, n_before);
    return status;
}

rt_status kv_seq_notice(kv_seq *seq, const int32_t *ids, int64_t n_ids) {
    return seq->chains ? kv_vault_notice(seq->store->vault, ids, n_ids) : RT_OK;
}

rt_status kv_seq_find_after(
        kv_seq *seq, int64_t n_shared, const int32_t *ids, int64_t n_ids, int64_t *n_tokens) {
    const int64_t first = n_shared / KV_SEGMENT_TOKENS;
    int64_t n_there = first * KV_SEGMENT_TOKENS;
    *n_tokens = n_there;
    if (!seq->chains) return RT_OK;
    RT_TRY(chain_extents(seq, first));
    RT_TRY(kv_vault_count_after(
            seq->store->vault, parent_of(seq, first), n_there, ids, n_ids, &n_there));
    *n_tokens = kv_held_tokens(&seq->store->config, n_there);
    return RT_OK;
}

/* ---- books ----------------------------------------------------------------------------------- */

static int64_t n_whole(const kv_seq *seq) {
    return seq->length / KV_SEGMENT_TOKENS;
}

int64_t kv_seq_kept(const kv_seq *seq) {
    char why[KV_WHY_BYTES]; /* it is asked for, mostly, when something has failed */
    int64_t n_there = 0;
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    if (!seq->store->vault) return 0;
    if (kv_vault_still_has(seq->store->vault, seq->ids, n_whole(seq), &n_there) == RT_OK)
        return n_there * KV_SEGMENT_TOKENS;
    const rt_status restored = rt_fail(RT_EIO, "%s", why);
    (void)restored;
    return 0;
}

rt_status kv_persist_check(const kv_seq *seq) {
    const kv_store *store = seq->store;
    if (!store->vault)
        return rt_fail(RT_EUSAGE, "kvstore: a book needs a store that keeps what it holds");
    if (!seq->chains)
        return rt_fail(RT_EUSAGE, "kvstore: the text could not be kept: it is a fork");
    if (seq->is_persisted) return RT_OK;
    return rt_fail(
            store->keep_status, "kvstore: the text could not be kept: %s", store->keep_failed);
}

rt_status kv_seq_keep_begin(kv_seq *seq, bool *has_tail) {
    rt_assert(seq->span == 0);
    abort_last(seq);
    *has_tail = false;
    RT_TRY(kv_persist_check(seq));
    const int64_t extent = n_whole(seq);
    RT_TRY(chain_extents(seq, extent));
    const int32_t n_tail = (int32_t)(seq->length % KV_SEGMENT_TOKENS);
    if (n_tail == 0) return RT_OK;
    const int32_t *ids = seq->ids + extent * KV_SEGMENT_TOKENS;
    RT_TRY(kv_writer_begin(seq->store->vault, parent_of(seq, extent), extent * KV_SEGMENT_TOKENS,
            ids, n_tail, &seq->last));
    *has_tail = seq->last != NULL;
    return RT_OK;
}

static rt_status finish_tail(kv_seq *seq) {
    kv_writer *writer = seq->last;
    if (!writer) return RT_OK;
    seq->last = NULL;
    kv_staging_settle_file(&seq->store->staging, kv_writer_file(writer));
    const rt_status status = kv_staging_check(&seq->store->staging);
    if (status == RT_OK) return kv_writer_finish(writer, NULL);
    kv_writer_abort(writer);
    return status;
}

void kv_seq_keep_leave(kv_seq *seq) {
    char why[KV_WHY_BYTES]; /* it is left, mostly, for something that has failed: that is what is told */
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    abort_last(seq);
    const rt_status restored = rt_fail(RT_EIO, "%s", why);
    (void)restored;
}

rt_status kv_seq_keep_end(kv_seq *seq, const char *book, const char *note) {
    RT_TRY(kv_persist_check(seq));
    RT_TRY(finish_tail(seq));
    if (!book) return RT_OK;
    const int64_t extent = n_whole(seq);
    const int32_t n_tail = (int32_t)(seq->length % KV_SEGMENT_TOKENS);
    if (n_tail > 0)
        RT_TRY(kv_chain_next(parent_of(seq, extent), seq->ids + extent * KV_SEGMENT_TOKENS, n_tail,
                &seq->chains[extent]));
    return kv_vault_write_book(seq->store->vault, book, seq->chains,
            (int32_t)(extent + (n_tail > 0)), seq->length, note);
}

rt_status kv_store_lacks(kv_store *store, const int32_t *ids, int64_t n_ids, int32_t *head) {
    *head = -1;
    return store->vault ? kv_vault_lacks(store->vault, ids, n_ids, head) : RT_OK;
}

rt_status kv_store_sees(kv_store *store, const int32_t *ids, int64_t n_ids, int32_t first,
        int32_t n, bool *is_seen) {
    *is_seen = false;
    return store->vault ? kv_vault_sees(store->vault, ids, n_ids, first, n, is_seen) : RT_OK;
}
