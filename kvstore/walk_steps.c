/* Which windows a walk has. Each sequence is followed extent by extent:
 *
 *   resident   pages in memory: taken whole as far as they go, all sequences in one step
 *   streamed   stored, not in memory, never written again: window by window; sequences that share
 *              the stored extents share the step
 *   tail       what may still be written and is not in memory, or grows only now: to the sequence's end or as
 *              much as a window holds, as many sequences in one step as the pages for it allow */
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "store_impl.h"

typedef enum sort { SORT_NONE, SORT_RESIDENT, SORT_STREAMED, SORT_TAIL } sort;

/* ---- what lies where ------------------------------------------------------------------------- */

int64_t kv_walk_tail_extent(const kv_walk *walk, int32_t seq) {
    return walk->seqs[seq]->filled[walk->layer] / kv_walk_extent_tokens(walk);
}

int64_t kv_walk_n_extents(const kv_walk *walk, int32_t seq) {
    return rt_div_up(walk->ends[seq], kv_walk_extent_tokens(walk));
}

bool kv_walk_goes(const kv_walk *walk, int32_t i, int64_t extent) {
    const kv_seq *seq = walk->seqs[i];
    const bool is_whole = walk->ends[i] >= (extent + 1) * kv_walk_extent_tokens(walk);
    return seq->parks || (seq->kind == KV_SEQ_OVERFLOWS && is_whole && extent >= seq->n_pinned);
}

/* Also the tail that has no page yet, where pages are only had when they are full. */
bool kv_walk_is_resident(const kv_walk *walk, int32_t i, int64_t extent) {
    const kv_seq *seq = walk->seqs[i];
    const int64_t page = extent * kv_pages_of_extent(walk->store);
    if (seq->grows_late && extent >= kv_walk_tail_extent(walk, i)) return false;
    if (page < seq->n_slots && *kv_page_slot(seq, walk->layer, page)) return true;
    return seq->open && seq->kind != KV_SEQ_PARKS && extent >= kv_walk_tail_extent(walk, i) &&
           kv_held_pages(&walk->store->config, seq->filled[walk->layer]) <= page;
}

static sort sort_of(const kv_walk *walk, int32_t seq, int64_t extent) {
    if (extent >= kv_walk_n_extents(walk, seq)) return SORT_NONE;
    if (kv_walk_is_resident(walk, seq, extent)) return SORT_RESIDENT;
    return extent < kv_walk_tail_extent(walk, seq) ? SORT_STREAMED : SORT_TAIL;
}

static kv_stored *stored_of(const kv_walk *walk, int32_t seq, int64_t extent) {
    return *kv_stored_slot(walk->seqs[seq], walk->layer, extent);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static rt_status add_step(kv_walk *walk, kv_step_kind kind, int64_t extent, kv_step **out) {
    RT_TRY(rt_make_room(&walk->steps, sizeof *walk->steps, walk->n_steps, &walk->steps_room,
            "windows of a walk"));
    kv_step *step = &walk->steps[walk->n_steps++];
    *step = (kv_step){.kind = kind,
            .extent = extent,
            .members_at = walk->n_members,
            .first_load = walk->n_loads};
    *out = step;
    return RT_OK;
}

static rt_status add_member(kv_walk *walk, kv_step *step, int32_t seq) {
    RT_TRY(rt_make_room(&walk->members, sizeof *walk->members, walk->n_members, &walk->members_room,
            "sequences of windows"));
    walk->members[walk->n_members++] = seq;
    step->n_members++;
    return RT_OK;
}

static rt_status add_load(
        kv_walk *walk, kv_step *step, int32_t member, int64_t extent, int64_t n_tokens) {
    RT_TRY(rt_make_room(&walk->loads, sizeof *walk->loads, walk->n_loads, &walk->loads_room,
            "loads of a walk"));
    const int32_t seq = kv_walk_member(walk, step, 0);
    walk->loads[walk->n_loads++] =
            (kv_load){.stored = stored_of(walk, member < 0 ? seq : member, extent),
                    .member = member,
                    .extent = extent,
                    .n_tokens = n_tokens};
    step->n_loads++;
    return RT_OK;
}

/* ---- the three kinds ------------------------------------------------------------------------- */

static bool is_at(const kv_walk *walk, int32_t seq, int64_t extent, sort kind) {
    return walk->cursors[seq] == extent && sort_of(walk, seq, extent) == kind;
}

static rt_status add_resident(kv_walk *walk, int64_t extent) {
    kv_step *step = NULL;
    for (int32_t i = 0; i < walk->n_seqs; i++) {
        if (!is_at(walk, i, extent, SORT_RESIDENT)) continue;
        if (!step) RT_TRY(add_step(walk, KV_STEP_RESIDENT, extent, &step));
        RT_TRY(add_member(walk, step, i));
        while (sort_of(walk, i, walk->cursors[i]) == SORT_RESIDENT) walk->cursors[i]++;
    }
    return RT_OK;
}

/* Whether every member has `leader`'s extent next, too. */
static bool goes_on(const kv_walk *walk, const kv_step *step, int64_t extent) {
    const int32_t *members = walk->members + step->members_at;
    const int32_t leader = members[0];
    if (kv_seq_keeps(walk->seqs[leader], extent) != step->is_kept) return false;
    for (int32_t i = 0; i < step->n_members; i++)
        if (sort_of(walk, members[i], extent) != SORT_STREAMED ||
                stored_of(walk, members[i], extent) != stored_of(walk, leader, extent))
            return false;
    return true;
}

static rt_status add_streamed_from(kv_walk *walk, int32_t leader, int64_t extent) {
    kv_step *step = NULL;
    kv_stored *stored = stored_of(walk, leader, extent);
    rt_assert(stored);
    RT_TRY(add_step(walk, KV_STEP_STREAMED, extent, &step));
    step->is_kept = kv_seq_keeps(walk->seqs[leader], extent);
    for (int32_t i = leader; i < (step->is_kept ? leader + 1 : walk->n_seqs); i++)
        if (is_at(walk, i, extent, SORT_STREAMED) && stored_of(walk, i, extent) == stored)
            RT_TRY(add_member(walk, step, i));
    while (step->n_extents < walk->store->config.overflow.window_extents &&
            goes_on(walk, step, extent + step->n_extents)) {
        RT_TRY(add_load(walk, step, step->is_kept ? leader : -1, extent + step->n_extents,
                kv_walk_extent_tokens(walk)));
        step->n_extents++;
    }
    for (int32_t i = 0; i < step->n_members; i++)
        walk->cursors[kv_walk_member(walk, step, i)] += step->n_extents;
    return RT_OK;
}

static rt_status add_streamed(kv_walk *walk, int64_t extent) {
    for (int32_t i = 0; i < walk->n_seqs; i++)
        if (is_at(walk, i, extent, SORT_STREAMED)) RT_TRY(add_streamed_from(walk, i, extent));
    return RT_OK;
}

static rt_status add_tail(kv_walk *walk, kv_step *step, int32_t seq) {
    const int64_t extent = step->extent;
    const int64_t filled = rt_min64(walk->seqs[seq]->filled[walk->layer], walk->ends[seq]);
    const int64_t n_old =
            kv_held_tokens(&walk->store->config, filled) - extent * kv_walk_extent_tokens(walk);
    RT_TRY(add_member(walk, step, seq));
    walk->cursors[seq] = rt_min64(extent + step->n_extents, kv_walk_n_extents(walk, seq));
    if (n_old <= 0 || walk->seqs[seq]->grows_late) return RT_OK;
    const kv_stored *stored = stored_of(walk, seq, extent);
    rt_assert(stored && stored->n_tokens >= n_old);
    return add_load(walk, step, seq, extent, n_old);
}

/* Of a tail, in one step: what stays in memory and what does not come apart, so that the pages of the one are free
 * for the other. */
static int64_t tail_extents(const kv_walk *walk, int32_t seq, int64_t extent) {
    const kv_overflow *to = &walk->store->config.overflow;
    if (!to->appends_by_windows) return INT32_MAX;
    const int64_t most = rt_min64(kv_walk_n_extents(walk, seq) - extent, to->window_extents);
    const bool goes = kv_walk_goes(walk, seq, extent);
    int64_t n = 1;
    while (n < most && kv_walk_goes(walk, seq, extent + n) == goes) n++;
    return n;
}

static bool is_full(const kv_walk *walk, const kv_step *step, kv_lacks lacks) {
    return lacks.n_taken > walk->store->n_work || lacks.n_lent > walk->store->n_window ||
           step->n_loads == walk->store->config.overflow.window_extents;
}

static rt_status add_tails(kv_walk *walk, int64_t extent) {
    kv_step *step = NULL;
    kv_lacks all = {0};
    for (int32_t i = 0; i < walk->n_seqs; i++) {
        if (!is_at(walk, i, extent, SORT_TAIL)) continue;
        const int64_t n_extents = tail_extents(walk, i, extent);
        const kv_lacks lacks = kv_walk_tail_lacks(walk, i, extent, n_extents);
        all.n_lent += lacks.n_lent;
        all.n_taken += lacks.n_taken;
        if (!step || step->n_extents != n_extents || is_full(walk, step, all)) {
            RT_TRY(add_step(walk, KV_STEP_TAILS, extent, &step));
            step->n_extents = n_extents;
            all = lacks;
        }
        RT_TRY(add_tail(walk, step, i));
    }
    return RT_OK;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int64_t next_extent(const kv_walk *walk) {
    int64_t next = INT64_MAX;
    for (int32_t i = 0; i < walk->n_seqs; i++)
        if (walk->cursors[i] < kv_walk_n_extents(walk, i)) next = rt_min64(next, walk->cursors[i]);
    return next;
}

rt_status kv_walk_list_steps(kv_walk *walk) {
    walk->n_steps = walk->n_members = walk->n_loads = 0;
    for (int32_t i = 0; i < walk->n_seqs; i++)
        walk->cursors[i] = walk->extent == KV_WALK_ALL ? 0 : kv_walk_tail_extent(walk, i);
    for (int64_t e = next_extent(walk); e != INT64_MAX; e = next_extent(walk)) {
        RT_TRY(add_resident(walk, e));
        RT_TRY(add_streamed(walk, e));
        RT_TRY(add_tails(walk, e));
    }
    return RT_OK;
}
