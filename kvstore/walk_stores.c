/* What a window of a walk leaves behind: extents that it appended to and that became whole, or that do not
 * stay in memory, go out, as many at a time as there is staging; then their pages are free. */
#include "packing.h"
#include "runtime/base/memory.h"
#include "store_impl.h"

_Static_assert((int)KV_PIECE_TOKENS == (int)KV_TILE_TOKENS, "tiles are encoded independently");

/* ---- which extents go ------------------------------------------------------------------------ */

static rt_status add_job(kv_walk *walk, kv_seq *seq, int64_t extent, int64_t n_tokens, bool goes) {
    RT_TRY(rt_make_room(
            &walk->jobs, sizeof *walk->jobs, walk->n_jobs, &walk->jobs_room, "stores of a window"));
    walk->jobs[walk->n_jobs++] = (kv_store_job){
            .seq = seq, .extent = extent, .n_tokens = (int32_t)n_tokens, .goes = goes};
    return RT_OK;
}

static void evict(kv_walk *walk, kv_seq *seq, int64_t extent) {
    const int64_t n = kv_pages_of_extent(walk->store);
    kv_seq_drop_pages(seq, walk->layer, extent * n, (extent + 1) * n);
}

/* An extent that this walk appended to, or brought in to look at. */
static rt_status leave_extent(kv_walk *walk, int32_t i, int64_t extent, bool is_changed) {
    kv_seq *seq = walk->seqs[i];
    const int64_t tokens = kv_walk_extent_tokens(walk);
    const int64_t n_tokens = rt_min64(walk->ends[i] - extent * tokens, tokens);
    const int64_t n_held = kv_held_tokens(&walk->store->config, n_tokens);
    const bool is_whole = n_tokens == tokens;
    const bool goes = kv_walk_goes(walk, i, extent);
    const bool is_stored = seq->stored && *kv_stored_slot(seq, walk->layer, extent);
    if (walk->extent == KV_WALK_SAVE)
        return add_job(walk, seq, extent, n_tokens, seq->parks && is_stored);
    const bool is_kept = is_whole && seq->writers && seq->writers[extent];
    if (n_held == 0) return RT_OK;
    if (!is_changed && goes && is_stored) evict(walk, seq, extent);
    if (!is_changed && (!goes || is_stored)) return RT_OK;
    if (goes || is_kept) return add_job(walk, seq, extent, n_held, goes);
    if (seq->stored) kv_seq_drop_stored(seq, walk->layer, extent); /* of fewer tokens, not needed */
    return RT_OK;
}

static rt_status leave_part(kv_walk *walk, const kv_window_part *part) {
    kv_seq *seq = walk->seqs[part->seq];
    const int64_t tokens = kv_walk_extent_tokens(walk);
    const int64_t end = part->first_pos + part->n_tokens;
    for (int64_t e = rt_max64(kv_walk_tail_extent(walk, part->seq), part->first_pos / tokens);
            e < rt_div_up(end, tokens); e++)
        RT_TRY(leave_extent(walk, part->seq, e, part->n_new > 0));
    if (part->n_new == 0) return RT_OK;
    kv_open_end(walk, part->seq, end);
    seq->filled[walk->layer] = end;
    return RT_OK;
}

static rt_status list_jobs(kv_walk *walk) {
    walk->n_jobs = walk->job = walk->n_batch = 0;
    walk->is_left = true;
    const kv_step *step = kv_walk_step(walk);
    for (int32_t i = 0; i < step->n_members; i++)
        if (walk->parts[i].is_last || walk->parts[i].n_new > 0)
            RT_TRY(leave_part(walk, &walk->parts[i]));
    return RT_OK;
}

/* ---- on their way ---------------------------------------------------------------------------- */

/* A tail that is parked goes to a cell, and to its segment once it is whole. */
static kv_writer *writer_for(const kv_walk *walk, const kv_store_job *job) {
    if (walk->extent == KV_WALK_SAVE) return job->seq->last;
    if (job->n_tokens < kv_walk_extent_tokens(walk)) return NULL;
    return job->seq->writers ? job->seq->writers[job->extent] : NULL;
}

/* A slot and a place; what stays in the host's memory passes through none. What was stored there before, of fewer
 * tokens, goes: the pages have it all. */
static rt_status start_job(kv_walk *walk, kv_store_job *job) {
    kv_staging *staging = &walk->store->staging;
    kv_writer *writer = writer_for(walk, job);
    rt_assert(walk->may_store);
    if (writer || !kv_scratch_has_host(staging->scratch))
        RT_TRY(kv_staging_take(staging, &job->slot));
    rt_status status = RT_OK;
    rt_assert(writer || walk->extent != KV_WALK_SAVE);
    if (!writer)
        status = kv_seq_replace_stored(job->seq, walk->layer, job->extent);
    else if (walk->extent != KV_WALK_SAVE)
        kv_seq_drop_stored(job->seq, walk->layer, job->extent);
    if (!writer && job->slot && kv_scratch_has_host(staging->scratch)) {
        kv_staging_free_slot(job->slot);
        job->slot = NULL;
    }
    if (status == RT_OK) {
        status = kv_stored_create(staging, walk->layer, job->extent * kv_walk_extent_tokens(walk),
                job->n_tokens, writer, job->slot, &job->stored);
        if (status != RT_OK) job->seq->n_cells += !writer;
    }
    if (status != RT_OK && job->slot) kv_staging_free_slot(job->slot);
    if (status == RT_OK && writer && job->goes && walk->extent != KV_WALK_SAVE)
        kv_stored_want_copy(staging, job->stored);
    return status;
}

/* As many jobs as there is staging: one waits for it, the others take what is free. Where one fails, those before it are
 * made, as what was stored of them before is gone; and it is asked for again. */
static rt_status start_batch(kv_walk *walk) {
    while (walk->job + walk->n_batch < walk->n_jobs &&
            walk->n_batch < walk->store->config.overflow.window_extents) {
        if (walk->n_batch > 0 && !kv_staging_has_free(&walk->store->staging)) break;
        const rt_status status = start_job(walk, &walk->jobs[walk->job + walk->n_batch]);
        if (status != RT_OK && walk->n_batch == 0) return status;
        if (status != RT_OK) break;
        walk->n_batch++;
    }
    return RT_OK;
}

/* The first whole extents that are stored decide how those after them are packed; and are, too. */
static void choose_packing(kv_walk *walk) {
    kv_staging *staging = &walk->store->staging;
    const kv_store_job *first = &walk->jobs[walk->job];
    if (walk->n_batch == 0 || !first->slot || first->n_tokens < kv_walk_extent_tokens(walk)) return;
    if (!kv_staging_has_free(staging)) return;
    kv_staging_choose_packing(staging, first->slot);
    for (int64_t i = 0; i < walk->n_batch; i++)
        if (first[i].slot) kv_staging_repack(staging, first[i].slot);
}

static void finish_batch(kv_walk *walk) {
    if (walk->store->staging.chooses_packing) choose_packing(walk);
    for (; walk->n_batch > 0; walk->n_batch--) {
        const kv_store_job *job = &walk->jobs[walk->job++];
        if (job->slot) kv_staging_write(&walk->store->staging, job->slot);
        kv_stored_has_copy(&walk->store->staging, job->stored);
        if (walk->extent == KV_WALK_SAVE)
            (void)kv_stored_drop(&walk->store->staging, job->stored);
        else
            *kv_stored_slot(job->seq, walk->layer, job->extent) = job->stored;
        if (job->goes) evict(walk, job->seq, job->extent);
    }
    if (walk->n_jobs > 0) kv_staging_poll(&walk->store->staging);
}

rt_status kv_walk_leave(kv_walk *walk, int64_t *n_stores) {
    *n_stores = 0;
    if (!walk->is_left) RT_TRY(list_jobs(walk));
    finish_batch(walk);
    if (walk->job == walk->n_jobs) return RT_OK;
    RT_TRY(start_batch(walk));
    *n_stores = walk->n_batch * walk->store->config.shape.n_kv_heads;
    return RT_OK;
}

kv_rows kv_walk_rows(kv_walk *walk, int64_t store, int thread) {
    const int32_t n_heads = walk->store->config.shape.n_kv_heads;
    const kv_store_job *job = &walk->jobs[walk->job + store / n_heads];
    const int32_t head = (int32_t)(store % n_heads);
    kv_rows rows =
            job->slot ? kv_staging_rows(&walk->store->staging, job->stored, head, thread)
                      : kv_stored_rows(&walk->store->staging, job->stored, head, job->n_tokens);
    rows.pages = kv_page_slot(job->seq, walk->layer, job->extent * kv_pages_of_extent(walk->store));
    return rows;
}

int64_t kv_walk_pieces(const kv_walk *walk) {
    return rt_div_up(kv_walk_extent_tokens(walk), KV_PIECE_TOKENS);
}

kv_rows kv_walk_piece(kv_walk *walk, int64_t store, int64_t first, int thread) {
    const int32_t n_heads = walk->store->config.shape.n_kv_heads;
    const kv_store_job *job = &walk->jobs[walk->job + store / n_heads];
    const int32_t head = (int32_t)(store % n_heads);
    if (!job->slot) return first == 0 ? kv_walk_rows(walk, store, thread) : (kv_rows){0};
    kv_rows rows =
            kv_staging_piece(&walk->store->staging, job->stored, head, (int32_t)first, thread);
    const int64_t page = job->extent * kv_pages_of_extent(walk->store);
    rows.pages = kv_page_slot(
            job->seq, walk->layer, page + first / walk->store->config.shape.page_tokens);
    return rows;
}

void kv_walk_store(kv_walk *walk, int64_t store, const kv_rows *piece, int64_t first, int thread) {
    const kv_store_job *job = &walk->jobs[walk->job + store / walk->store->config.shape.n_kv_heads];
    kv_staging *staging = &walk->store->staging;
    if (!job->slot) return;
    kv_stored_copy_rows(staging, job->stored, piece, (int32_t)first);
    kv_staging_encode_piece(staging, job->slot, piece, (int32_t)first, thread);
}

/* Slots taken for stores that never came. */
void kv_walk_drop_stores(kv_walk *walk) {
    for (int64_t i = 0; i < walk->n_batch; i++) {
        kv_store_job *job = &walk->jobs[walk->job + i];
        job->seq->n_cells += job->stored->cell >= 0;
        kv_staging_forget_write(&walk->store->staging, job->slot, job->stored);
    }
    walk->n_batch = 0;
}
