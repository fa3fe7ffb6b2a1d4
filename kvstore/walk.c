/* A walk over one layer. Its windows are listed when it begins (walk_steps.c), and reading starts;
 * then, for every window:
 *
 *   kv_walk_next    pages for what is not in memory; waits for what is to be loaded into them
 *   kv_walk_loaded  the staging is free again; more is read
 *   kv_walk_leave   finished extents go out, and the pages of what is not to stay are free (walk_stores.c) */
#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "segment.h"
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
    free(walk->lent);
    free(walk->outcomes);
    free(walk->jobs);
    *walk = (kv_walk){0};
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
    if (!walk->lent) /* it is there where what follows found no memory */
        RT_TRY(rt_calloc(store->n_window, sizeof *walk->lent, "a walk's lent pages", &walk->lent));
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

static void enter(kv_walk *walk) {
    for (int32_t i = 0; i < walk->n_seqs; i++) {
        kv_seq *seq = walk->seqs[i];
        rt_assert(seq->store == walk->store && !seq->is_walked);
        rt_assert(walk->ends[i] <= seq->length + seq->span);
        seq->is_walked = true;
    }
}

static bool has_unstored_tail(const kv_walk *walk, int32_t i) {
    const int64_t extent = kv_walk_tail_extent(walk, i);
    if (extent >= kv_walk_n_extents(walk, i)) return false;
    return !*kv_stored_slot(walk->seqs[i], walk->layer, extent);
}

/* Tails that are parked or saved are stored each time, others when they become whole. */
static bool may_store(const kv_walk *walk) {
    if (walk->extent == KV_WALK_SAVE) return true;
    for (int32_t i = 0; i < walk->n_seqs; i++) {
        const kv_seq *seq = walk->seqs[i];
        const int64_t filled = seq->filled[walk->layer];
        const int64_t tokens = kv_walk_extent_tokens(walk);
        if (seq->parks && has_unstored_tail(walk, i)) return true;
        if (walk->ends[i] <= filled) continue;
        if (seq->parks || walk->ends[i] / tokens > filled / tokens) return true;
    }
    return false;
}

static rt_status start(kv_walk *walk) {
    kv_store *store = walk->store;
    RT_TRY(make_room(walk, walk->n_seqs));
    for (int32_t i = 0; i < walk->n_seqs; i++) walk->open_at[i] = -1;
    if (store->has_overflow) {
        kv_staging_poll(&store->staging);
        RT_TRY(kv_staging_check(&store->staging));
        for (int32_t i = 0; i < walk->n_seqs; i++) kv_seq_release(walk->seqs[i]);
        top_up_work(store);
        for (int32_t i = 0; i < walk->n_seqs; i++) kv_seq_settle(walk->seqs[i]);
        walk->may_store = may_store(walk);
    }
    for (int32_t i = 0; i < walk->n_seqs; i++) RT_TRY(kv_open_begin(walk, i));
    for (int32_t i = 0; i < walk->n_seqs; i++) RT_TRY(kv_walk_grow_tail(walk, i));
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
    walk->n_jobs = walk->job = walk->n_batch = walk->n_open = walk->n_lent = 0;
    walk->next_layer = -1;
    walk->next_extent = 0;
    walk->is_left = true;
    walk->is_loading = false;
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
    return rt_min64(e * kv_walk_extent_tokens(walk), walk->ends[i]);
}

static void fill_part(kv_walk *walk, const kv_step *step, int32_t i, kv_window_part *part) {
    const int64_t first = step->extent * kv_walk_extent_tokens(walk);
    int64_t end = walk->ends[i];
    const int64_t filled = walk->seqs[i]->filled[walk->layer];
    if (step->kind == KV_STEP_RESIDENT)
        end = resident_end(walk, i, step->extent);
    else
        end = rt_min64(end, first + step->n_extents * kv_walk_extent_tokens(walk));
    *part = (kv_window_part){.seq = i,
            .pages = step->kind == KV_STEP_STREAMED && !step->is_kept
                             ? walk->store->window
                             : pages_at(walk, i, step->extent),
            .first_pos = first,
            .n_tokens = end - first,
            .n_new = rt_max64(end - filled, 0),
            .is_last = end == walk->ends[i]};
    rt_assert(part->n_new <= part->n_tokens);
    if (part->n_new == 0 || walk->open_at[i] < 0) return;
    const int32_t page_tokens = walk->store->config.shape.page_tokens;
    part->open_pages = walk->open_pages + walk->open_at[i];
    part->open_pos = filled / page_tokens * page_tokens;
}

static rt_status wait_for_loads(kv_walk *walk, const kv_step *step) {
    for (int64_t i = 0; i < step->n_loads; i++) {
        kv_load *load = &walk->loads[step->first_load + i];
        if (kv_stored_is_lasting(load->stored, load->slot)) continue;
        const rt_status status = kv_staging_wait(&walk->store->staging, load->stored, &load->slot);
        if (status != RT_OK) {
            load->stored->is_lost = true;
            return status;
        }
        if (load->member < 0) kv_stored_want_copy(&walk->store->staging, load->stored);
        kv_walk_read_ahead(walk);
    }
    return RT_OK;
}

static rt_status enter_step(kv_walk *walk, const kv_step *step) {
    rt_status status = RT_OK;
    kv_walk_take_back(walk);
    if (kv_step_has_pages(step)) status = kv_walk_take_pages(walk, step);
    if (status == RT_OK) status = wait_for_loads(walk, step);
    if (status != RT_OK && kv_step_has_pages(step)) kv_walk_drop_pages(walk, step);
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
    walk->is_loading = step->n_loads > 0;
    for (int32_t i = 0; i < step->n_members; i++)
        fill_part(walk, step, kv_walk_member(walk, step, i), &walk->parts[i]);
    *out = (kv_window){.parts = walk->parts,
            .n_parts = step->n_members,
            .is_last = walk->step == walk->n_steps,
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
    const kv_step *step = kv_walk_step(walk);
    const int32_t n_heads = walk->store->config.shape.n_kv_heads;
    const int64_t i = load / n_heads;
    const kv_load *from = &walk->loads[step->first_load + i];
    kv_outcome *outcome = &walk->outcomes[load];
    outcome->status = RT_OK;
    if (first >= from->n_tokens) return false;
    if (!from->slot) {
        *rows = kv_stored_rows(&walk->store->staging, from->stored, (int32_t)(load % n_heads),
                (int32_t)from->n_tokens);
        rows->pages = pages_of_load(walk, step, i);
        return true;
    }
    outcome->status = kv_staging_decode(&walk->store->staging, from->slot,
            (int32_t)(load % n_heads), thread, (int32_t)first, rows);
    if (outcome->status != RT_OK) {
        (void)snprintf(outcome->text, sizeof outcome->text, "%s", rt_error_text());
        return false;
    }
    kv_stored_copy_rows(&walk->store->staging, from->stored, rows, (int32_t)first);
    rows->n_tokens = (int32_t)rt_min64(rows->n_tokens, from->n_tokens - first);
    rows->pages = pages_of_load(walk, step, i) + first / walk->store->config.shape.page_tokens;
    return true;
}

bool kv_walk_is_lasting(const kv_walk *walk) {
    const kv_step *step = kv_walk_step(walk);
    for (int64_t i = 0; i < step->n_loads; i++)
        if (walk->loads[step->first_load + i].slot) return false;
    return true;
}

int64_t kv_walk_rows_forgotten(const kv_walk *walk) {
    return kv_scratch_host_given(walk->store->staging.scratch);
}

/* The first failure among the loads, in their order; what it concerns is lost. */
static rt_status check_outcomes(kv_walk *walk, const kv_step *step) {
    const int32_t n_heads = walk->store->config.shape.n_kv_heads;
    const kv_outcome *first = NULL;
    const char *path = NULL; /* of a file, where they were in one with a name */
    bool is_aside = false;
    for (int64_t i = 0; i < step->n_loads * n_heads; i++) {
        if (walk->outcomes[i].status == RT_OK) continue;
        if (!first) first = &walk->outcomes[i];
        kv_stored *stored = walk->loads[step->first_load + i / n_heads].stored;
        stored->is_lost = true;
        if (!stored->segment) continue;
        const bool is_gone =
                kv_segment_quarantine(stored->segment->segment, walk->outcomes[i].text);
        if (path) continue;
        path = kv_file_path(kv_segment_file(stored->segment->segment));
        is_aside = is_gone;
    }
    if (!first) return RT_OK;
    if (!path) return rt_fail(first->status, "%s", first->text);
    return rt_fail(first->status, "%s: %s; %s", path, first->text, kv_aside_text(is_aside));
}

rt_status kv_walk_loaded(kv_walk *walk) {
    const kv_step *step = kv_walk_step(walk);
    if (step->n_loads == 0) return RT_OK;
    walk->is_loading = false;
    const rt_status status = check_outcomes(walk, step);
    if (status != RT_OK && kv_step_has_pages(step)) kv_walk_drop_pages(walk, step);
    for (int64_t i = 0; i < step->n_loads; i++) {
        const kv_load *load = &walk->loads[step->first_load + i];
        if (!load->slot) continue;
        if (status == RT_OK && load->n_tokens == load->stored->n_tokens)
            kv_stored_has_copy(&walk->store->staging, load->stored);
        kv_staging_free_slot(load->slot);
    }
    kv_walk_read_ahead(walk);
    return status;
}

/* ---- end ------------------------------------------------------------------------------------- */

void kv_walk_end(kv_walk *walk) {
    rt_assert(walk->is_open);
    if (walk->is_loading && kv_step_has_pages(kv_walk_step(walk)))
        kv_walk_drop_pages(walk, kv_walk_step(walk)); /* a device has failed on the way */
    if (walk->store->has_overflow) {
        kv_walk_drop_stores(walk);
        kv_staging_forget_reads(&walk->store->staging);
        kv_staging_poll(&walk->store->staging);
    }
    kv_walk_take_back(walk);
    kv_open_drop(walk);
    for (int32_t i = 0; i < walk->n_seqs; i++) {
        walk->seqs[i]->is_walked = false;
        kv_seq_release(walk->seqs[i]);
    }
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
