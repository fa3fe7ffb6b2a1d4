/* A walk over one layer. Its windows are listed when it begins (walk_steps.c), and reading starts;
 * then, for every window:
 *
 *   kv_walk_next    pages for what is not in memory; waits for what is to be loaded into them
 *   kv_walk_loaded  the staging is free again; more is read
 *   kv_walk_leave   finished extents go out, and the pages of what is not to stay are free */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packing.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "store_impl.h"

void kv_walk_free(kv_walk *walk) {
    free(walk->steps);
    free(walk->members);
    free(walk->loads);
    free(walk->cursors);
    free(walk->parts);
    free(walk->open_at);
    free(walk->open_n);
    free(walk->open_pages);
    free(walk->outcomes);
    free(walk->jobs);
    *walk = (kv_walk){0};
}

static int64_t extent_tokens(const kv_walk *walk) {
    return walk->store->config.overflow.extent_tokens;
}

static const kv_step *window_of(const kv_walk *walk) {
    return &walk->steps[walk->step - 1];
}

static int32_t member(const kv_walk *walk, const kv_step *step, int32_t i) {
    return walk->members[step->members_at + i];
}

/* ---- begin ----------------------------------------------------------------------------------- */

/* Room for a walk over n sequences, kept from walk to walk. */
static rt_status make_room(kv_walk *walk, int32_t n_seqs) {
    const kv_store *store = walk->store;
    if (n_seqs > walk->seqs_room) {
        free(walk->cursors);
        free(walk->parts);
        free(walk->open_at);
        free(walk->open_n);
        walk->cursors = walk->open_at = walk->open_n = NULL;
        walk->parts = NULL;
        walk->seqs_room = 0;
        RT_TRY(rt_calloc(n_seqs, sizeof *walk->open_at, "a walk's open pages", &walk->open_at));
        RT_TRY(rt_calloc(n_seqs, sizeof *walk->open_n, "a walk's open pages", &walk->open_n));
        RT_TRY(rt_calloc(n_seqs, sizeof *walk->cursors, "a walk", &walk->cursors));
        RT_TRY(rt_calloc(n_seqs, sizeof *walk->parts, "a walk's window", &walk->parts));
        walk->seqs_room = n_seqs;
    }
    if (walk->outcomes || !store->has_overflow) return RT_OK;
    const int64_t n_loads = store->config.overflow.window_extents;
    return rt_calloc(n_loads * store->config.shape.n_kv_heads, sizeof *walk->outcomes,
            "a walk's loads", &walk->outcomes);
}

/* Pages that were lent for good, to be shared with forks, are made up for where there is room. */
static void top_up_work(kv_store *store) {
    const int64_t n = rt_min64(store->n_work_max - store->n_work, kv_pool_room(&store->pool));
    kv_pool_promise(&store->pool, n);
    store->n_work += n;
}

/* The page that new tokens share with old ones must be this sequence's alone. */
static rt_status own_last_page(kv_seq *seq, int32_t layer) {
    const int64_t filled = seq->filled[layer];
    const int32_t page_tokens = seq->store->config.shape.page_tokens;
    if (seq->open || filled % page_tokens == 0) return RT_OK;
    void **last = kv_page_slot(seq, layer, filled / page_tokens);
    if (!*last || !kv_pool_is_shared(&seq->store->pool, *last)) return RT_OK;
    void *copy = NULL;
    RT_TRY(kv_seq_take(seq, &copy));
    kv_pool_copy(&seq->store->pool, copy, *last);
    seq->store->n_copied++;
    kv_seq_drop(seq, *last);
    *last = copy;
    return RT_OK;
}

static rt_status take_pages(kv_seq *seq, int32_t layer, int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
        void **slot = kv_page_slot(seq, layer, i);
        if (!*slot) RT_TRY(kv_seq_take(seq, slot));
    }
    return RT_OK;
}

static int64_t first_tail_page(const kv_walk *walk, int32_t seq) {
    return kv_walk_tail_extent(walk, seq) * kv_pages_of_extent(walk->store);
}

static int64_t n_pages_at_end(const kv_walk *walk, int32_t seq) {
    return kv_held_pages(&walk->store->config, walk->ends[seq]);
}

/* A tail that is in memory grows now; one that has yet to be loaded does in its window. */
static rt_status grow_tail(kv_walk *walk, int32_t i) {
    kv_seq *seq = walk->seqs[i];
    const int64_t filled = seq->filled[walk->layer];
    if (walk->ends[i] <= filled || seq->kind == KV_SEQ_IN_MEMORY) return RT_OK;
    const int64_t first = first_tail_page(walk, i);
    const bool is_resident = filled % extent_tokens(walk)
                                     ? kv_walk_is_resident(walk, i, kv_walk_tail_extent(walk, i))
                                     : seq->kind == KV_SEQ_OVERFLOWS;
    if (!is_resident) return RT_OK;
    RT_TRY(own_last_page(seq, walk->layer));
    return take_pages(seq, walk->layer, first, n_pages_at_end(walk, i));
}

static void enter(kv_walk *walk) {
    for (int32_t i = 0; i < walk->n_seqs; i++) {
        kv_seq *seq = walk->seqs[i];
        rt_assert(seq->store == walk->store && !seq->is_walked);
        rt_assert(walk->ends[i] <= seq->length + seq->span);
        seq->is_walked = true;
    }
}

static rt_status start(kv_walk *walk) {
    kv_store *store = walk->store;
    RT_TRY(make_room(walk, walk->n_seqs));
    for (int32_t i = 0; i < walk->n_seqs; i++) walk->open_at[i] = -1;
    if (store->has_overflow) {
        kv_staging_poll(&store->staging);
        RT_TRY(kv_staging_check(&store->staging));
        top_up_work(store);
    }
    for (int32_t i = 0; i < walk->n_seqs; i++) RT_TRY(kv_open_begin(walk, i));
    for (int32_t i = 0; i < walk->n_seqs; i++) RT_TRY(grow_tail(walk, i));
    RT_TRY(kv_walk_list_steps(walk));
    kv_walk_begin_reads(walk);
    return RT_OK;
}

rt_status kv_walk_begin(kv_store *store, int32_t layer, kv_seq *const *seqs, const int64_t *ends,
        int32_t n_seqs, kv_walk_extent extent, kv_walk **out) {
    kv_walk *walk = &store->walk;
    rt_assert(!walk->is_open && layer >= 0 && layer < store->config.n_layers && n_seqs > 0);
    walk->layer = layer;
    walk->seqs = seqs;
    walk->ends = ends;
    walk->n_seqs = n_seqs;
    walk->extent = extent;
    walk->step = walk->next_read = walk->n_steps = walk->n_loads = 0;
    walk->n_jobs = walk->job = walk->n_batch = walk->n_open = 0;
    walk->next_layer = -1;
    walk->next_extent = 0;
    walk->is_left = true;
    walk->is_open = true;
    enter(walk);
    const rt_status status = start(walk);
    if (status != RT_OK) kv_walk_end(walk);
    *out = walk;
    return status;
}

/* ---- the next window ------------------------------------------------------------------------- */

static void *const *pages_at(const kv_walk *walk, int32_t i, int64_t extent) {
    return kv_page_slot(walk->seqs[i], walk->layer, extent * kv_pages_of_extent(walk->store));
}

/* Where a resident part of a sequence ends. */
static int64_t resident_end(const kv_walk *walk, int32_t i, int64_t extent) {
    int64_t e = extent;
    while (e < kv_walk_n_extents(walk, i) && kv_walk_is_resident(walk, i, e)) e++;
    return rt_min64(e * extent_tokens(walk), walk->ends[i]);
}

static void fill_part(kv_walk *walk, const kv_step *step, int32_t i, kv_window_part *part) {
    const int64_t first = step->extent * extent_tokens(walk);
    int64_t end = walk->ends[i];
    if (step->kind == KV_STEP_RESIDENT) end = resident_end(walk, i, step->extent);
    if (step->kind == KV_STEP_STREAMED)
        end = rt_min64(end, first + step->n_extents * extent_tokens(walk));
    *part = (kv_window_part){.seq = i,
            .pages = step->kind == KV_STEP_STREAMED && !step->is_kept
                             ? walk->store->window
                             : pages_at(walk, i, step->extent),
            .first_pos = first,
            .n_tokens = end - first,
            .is_last = end == walk->ends[i]};
    if (!part->is_last || walk->open_at[i] < 0) return;
    const int32_t page_tokens = walk->store->config.shape.page_tokens;
    part->open_pages = walk->open_pages + walk->open_at[i];
    part->open_pos = walk->seqs[i]->filled[walk->layer] / page_tokens * page_tokens;
}

/* Pages of the step that belong to a member, of positions it holds or is about to. */
static int64_t first_own_page(const kv_walk *walk, const kv_step *step, int32_t seq) {
    if (step->kind == KV_STEP_TAILS) return first_tail_page(walk, seq);
    return step->extent * kv_pages_of_extent(walk->store);
}

static int64_t end_of_own_pages(const kv_walk *walk, const kv_step *step, int32_t seq) {
    if (step->kind == KV_STEP_TAILS) return n_pages_at_end(walk, seq);
    return (step->extent + step->n_extents) * kv_pages_of_extent(walk->store);
}

static bool has_own_pages(const kv_step *step) {
    return step->kind == KV_STEP_TAILS || step->is_kept;
}

static rt_status take_own_pages(kv_walk *walk, const kv_step *step) {
    for (int32_t i = 0; i < step->n_members; i++) {
        const int32_t seq = member(walk, step, i);
        RT_TRY(take_pages(walk->seqs[seq], walk->layer, first_own_page(walk, step, seq),
                end_of_own_pages(walk, step, seq)));
    }
    return RT_OK;
}

/* Give back pages that were not loaded: what they hold is not what was stored. */
static void drop_own_pages(kv_walk *walk, const kv_step *step) {
    for (int32_t i = 0; i < step->n_members; i++) {
        const int32_t seq = member(walk, step, i);
        kv_seq_drop_pages(walk->seqs[seq], walk->layer, first_own_page(walk, step, seq),
                end_of_own_pages(walk, step, seq));
    }
}

static rt_status wait_for_loads(kv_walk *walk, const kv_step *step) {
    for (int64_t i = 0; i < step->n_loads; i++) {
        kv_load *load = &walk->loads[step->first_load + i];
        const rt_status status = kv_staging_wait(&walk->store->staging, load->stored, &load->slot);
        if (status != RT_OK) {
            load->stored->is_lost = true;
            return status;
        }
        kv_walk_read_ahead(walk);
    }
    return RT_OK;
}

static rt_status enter_step(kv_walk *walk, const kv_step *step) {
    rt_status status = RT_OK;
    if (has_own_pages(step)) status = take_own_pages(walk, step);
    if (status == RT_OK) status = wait_for_loads(walk, step);
    if (status != RT_OK && has_own_pages(step)) drop_own_pages(walk, step);
    return status;
}

rt_status kv_walk_next(kv_walk *walk, kv_window *out) {
    rt_assert(walk->is_open && walk->is_left && walk->job == walk->n_jobs);
    *out = (kv_window){0};
    if (walk->step == walk->n_steps) return RT_OK;
    const kv_step *step = &walk->steps[walk->step];
    RT_TRY(enter_step(walk, step));
    walk->step++;
    walk->is_left = false;
    for (int32_t i = 0; i < step->n_members; i++)
        fill_part(walk, step, member(walk, step, i), &walk->parts[i]);
    *out = (kv_window){.parts = walk->parts,
            .n_parts = step->n_members,
            .n_loads = step->n_loads * walk->store->config.shape.n_kv_heads};
    return RT_OK;
}

/* ---- loads ----------------------------------------------------------------------------------- */

static void *const *pages_of_load(const kv_walk *walk, const kv_step *step, int64_t i) {
    const kv_load *load = &walk->loads[step->first_load + i];
    if (load->member < 0) return walk->store->window + i * kv_pages_of_extent(walk->store);
    return pages_at(walk, load->member, load->extent);
}

bool kv_walk_load(kv_walk *walk, int64_t load, int64_t first, int thread, kv_rows *rows) {
    const kv_step *step = window_of(walk);
    const int32_t n_heads = walk->store->config.shape.n_kv_heads;
    const int64_t i = load / n_heads;
    const kv_load *from = &walk->loads[step->first_load + i];
    kv_outcome *outcome = &walk->outcomes[load];
    outcome->status = RT_OK;
    if (first >= from->n_tokens) return false;
    outcome->status = kv_staging_decode(&walk->store->staging, from->slot,
            (int32_t)(load % n_heads), thread, (int32_t)first, rows);
    if (outcome->status != RT_OK) {
        (void)snprintf(outcome->text, sizeof outcome->text, "%s", rt_error_text());
        return false;
    }
    rows->n_tokens = (int32_t)rt_min64(rows->n_tokens, from->n_tokens - first);
    rows->pages = pages_of_load(walk, step, i) + first / walk->store->config.shape.page_tokens;
    return true;
}

/* The first failure among the loads, in their order; what it concerns is lost. */
static rt_status check_outcomes(kv_walk *walk, const kv_step *step) {
    const int32_t n_heads = walk->store->config.shape.n_kv_heads;
    const kv_outcome *first = NULL;
    for (int64_t i = 0; i < step->n_loads * n_heads; i++) {
        if (walk->outcomes[i].status == RT_OK) continue;
        if (!first) first = &walk->outcomes[i];
        kv_stored *stored = walk->loads[step->first_load + i / n_heads].stored;
        stored->is_lost = true;
        if (stored->segment)
            kv_segment_quarantine(stored->segment->segment, walk->outcomes[i].text);
    }
    return first ? rt_fail(first->status, "%s", first->text) : RT_OK;
}

rt_status kv_walk_loaded(kv_walk *walk) {
    const kv_step *step = window_of(walk);
    if (step->n_loads == 0) return RT_OK;
    const rt_status status = check_outcomes(walk, step);
    if (status != RT_OK && has_own_pages(step)) drop_own_pages(walk, step);
    for (int64_t i = 0; i < step->n_loads; i++)
        kv_staging_free_slot(walk->loads[step->first_load + i].slot);
    kv_walk_read_ahead(walk);
    return status;
}

/* ---- what a window leaves behind ------------------------------------------------------------- */

static rt_status add_job(kv_walk *walk, kv_seq *seq, int64_t extent, int64_t n_tokens, bool goes) {
    if (walk->n_jobs == walk->jobs_room) {
        const int64_t room = rt_max64(16, 2 * walk->jobs_room);
        kv_store_job *jobs = realloc(walk->jobs, (size_t)room * sizeof *jobs);
        if (!jobs) return rt_fail(RT_ENOMEM, "kvstore: no memory to list what is stored");
        walk->jobs = jobs;
        walk->jobs_room = room;
    }
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
    const int64_t tokens = extent_tokens(walk);
    const int64_t n_tokens = rt_min64(walk->ends[i] - extent * tokens, tokens);
    const int64_t n_held = kv_held_tokens(&walk->store->config, n_tokens);
    const bool is_whole = n_tokens == tokens;
    const bool goes = seq->kind == KV_SEQ_PARKS ||
                      (seq->kind == KV_SEQ_OVERFLOWS && is_whole && extent >= seq->n_pinned);
    if (walk->extent == KV_WALK_SAVE)
        return add_job(walk, seq, extent, n_tokens, seq->kind == KV_SEQ_PARKS);
    if (!is_changed) {
        if (goes && *kv_stored_slot(seq, walk->layer, extent)) evict(walk, seq, extent);
        return RT_OK;
    }
    const bool is_kept = is_whole && seq->writers && seq->writers[extent];
    if (n_held == 0) return RT_OK;
    if (goes || is_kept) return add_job(walk, seq, extent, n_held, goes);
    if (seq->stored) kv_seq_drop_stored(seq, walk->layer, extent); /* of fewer tokens, not needed */
    return RT_OK;
}

static rt_status leave_part(kv_walk *walk, const kv_window_part *part) {
    kv_seq *seq = walk->seqs[part->seq];
    const bool is_changed = walk->ends[part->seq] > seq->filled[walk->layer];
    for (int64_t e = kv_walk_tail_extent(walk, part->seq); e < kv_walk_n_extents(walk, part->seq);
            e++)
        RT_TRY(leave_extent(walk, part->seq, e, is_changed));
    if (is_changed) kv_open_end(walk, part->seq);
    if (is_changed) seq->filled[walk->layer] = walk->ends[part->seq];
    return RT_OK;
}

static rt_status list_jobs(kv_walk *walk) {
    walk->n_jobs = walk->job = walk->n_batch = 0;
    walk->is_left = true;
    const kv_step *step = window_of(walk);
    for (int32_t i = 0; i < step->n_members; i++)
        if (walk->parts[i].is_last) RT_TRY(leave_part(walk, &walk->parts[i]));
    return RT_OK;
}

/* A tail that is parked goes to a cell, and to its segment once it is whole. */
static kv_writer *writer_for(const kv_walk *walk, const kv_store_job *job) {
    if (walk->extent == KV_WALK_SAVE) return job->seq->last;
    if (job->n_tokens < extent_tokens(walk)) return NULL;
    return job->seq->writers ? job->seq->writers[job->extent] : NULL;
}

/* A slot and a place. What was stored there before, of fewer tokens, goes: the pages have it all. */
static rt_status start_job(kv_walk *walk, kv_store_job *job) {
    kv_staging *staging = &walk->store->staging;
    kv_writer *writer = writer_for(walk, job);
    RT_TRY(kv_staging_take(staging, &job->slot));
    if (walk->extent != KV_WALK_SAVE) kv_seq_drop_stored(job->seq, walk->layer, job->extent);
    rt_status status = writer ? RT_OK : kv_seq_take_cell(job->seq);
    if (status == RT_OK) {
        status = kv_stored_create(staging, walk->layer, job->extent * extent_tokens(walk),
                job->n_tokens, writer, job->slot, &job->stored);
        if (status != RT_OK) job->seq->n_cells += !writer;
    }
    if (status != RT_OK) kv_staging_free_slot(job->slot);
    return status;
}

/* As many jobs as there is staging: one waits for it, the others take what is free. */
static rt_status start_batch(kv_walk *walk) {
    while (walk->job + walk->n_batch < walk->n_jobs &&
            walk->n_batch < walk->store->config.overflow.window_extents) {
        if (walk->n_batch > 0 && !kv_staging_has_free(&walk->store->staging)) break;
        RT_TRY(start_job(walk, &walk->jobs[walk->job + walk->n_batch]));
        walk->n_batch++;
    }
    return RT_OK;
}

/* The first whole extents that are stored decide how those after them are packed; and are, too. */
static void choose_packing(kv_walk *walk) {
    kv_staging *staging = &walk->store->staging;
    const kv_store_job *first = &walk->jobs[walk->job];
    if (walk->n_batch == 0 || first->n_tokens < extent_tokens(walk)) return;
    if (!kv_staging_has_free(staging)) return;
    kv_staging_choose_packing(staging, first->slot);
    for (int64_t i = 0; i < walk->n_batch; i++) kv_staging_repack(staging, first[i].slot);
}

static void finish_batch(kv_walk *walk) {
    if (walk->store->staging.chooses_packing) choose_packing(walk);
    for (; walk->n_batch > 0; walk->n_batch--) {
        const kv_store_job *job = &walk->jobs[walk->job++];
        kv_staging_write(&walk->store->staging, job->slot);
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
    kv_rows rows = kv_staging_rows(
            &walk->store->staging, job->slot->stored, (int32_t)(store % n_heads), thread);
    rows.pages = kv_page_slot(job->seq, walk->layer, job->extent * kv_pages_of_extent(walk->store));
    return rows;
}

void kv_walk_store(kv_walk *walk, int64_t store, int thread) {
    const int32_t n_heads = walk->store->config.shape.n_kv_heads;
    const kv_store_job *job = &walk->jobs[walk->job + store / n_heads];
    kv_staging_encode(&walk->store->staging, job->slot, (int32_t)(store % n_heads), thread);
}

/* ---- end ------------------------------------------------------------------------------------- */

/* Slots taken for stores that never came. */
static void drop_batch(kv_walk *walk) {
    for (int64_t i = 0; i < walk->n_batch; i++) {
        kv_store_job *job = &walk->jobs[walk->job + i];
        job->seq->n_cells += job->stored->cell >= 0;
        kv_staging_forget_write(&walk->store->staging, job->slot);
    }
    walk->n_batch = 0;
}

void kv_walk_end(kv_walk *walk) {
    rt_assert(walk->is_open);
    if (walk->store->has_overflow) {
        drop_batch(walk);
        kv_staging_forget_reads(&walk->store->staging);
        kv_staging_poll(&walk->store->staging);
    }
    kv_open_drop(walk);
    for (int32_t i = 0; i < walk->n_seqs; i++) walk->seqs[i]->is_walked = false;
    walk->is_open = false;
}

/* ---- losses ---------------------------------------------------------------------------------- */

int64_t kv_walk_bad_pos(const kv_store *store, const kv_seq *seq) {
    if (!seq->stored) return -1;
    for (int64_t e = 0; e < seq->n_extents; e++)
        for (int32_t layer = 0; layer < store->config.n_layers; layer++) {
            const kv_stored *stored = *kv_stored_slot(seq, layer, e);
            if (stored && stored->is_lost) return e * store->config.overflow.extent_tokens;
        }
    return -1;
}
