/* What the kernels for Hopper share: how a block is made up, and how a tile of query rows walks over pages.
 *
 * A block is one or two consumer warpgroups of 64 rows each, and a warpgroup of which one warp brings the pages.
 * It stays on its SM and takes one tile after the other; a page j of a tile:
 *
 *   turn   S = Q K(j)^T   O += P V(j-1)   other's turn   |   maxima of S, or the first P, behind P V(j-1)   |   P
 *
 * Both products of a step are queued at once. While they run, the other warpgroup computes its softmax,
 * and each its own maxima, or its weights, which lie where those of the products before are done with: the tensor
 * cores have work as long as a softmax takes less than the products of both. The turns, two named barriers, keep the two warpgroups half a step apart; numbers
 * do not depend on them. A single one has no turns.
 *
 *   full_k, full_v    the bytes are there       producer's expectation + the copies   -> consumers
 *   empty_k, empty_v  the warpgroups have read  one thread of each, past its wait     -> producer
 *
 * Stages are counted on from tile to tile, so the next tile's first pages come while this one's rows
 * are stored. A page's tiles are the operands as they lie: K is K-major (N keys, K dims), V is MN-major
 * (N dims, K keys), both with the 128-byte swizzle; no tensor maps. P goes from accumulators to operand
 * registers by packing alone.
 *
 * A row's keys are folded into its state a page at a time, pages ascending: its bits depend neither on
 * the rows beside it nor on where it lies among them. */
#ifndef ATTN_SM90_CUH
#define ATTN_SM90_CUH

#include "attn_block_sm90.cuh"
#include "attn_softmax_sm90.cuh"

/* Barriers: of the warpgroup's own threads; of whose turn it is to queue products. */
template <class BLOCK> PTX_DEVICE int within() {
    return BLOCK::WITHIN + warpgroup();
}
template <class BLOCK> PTX_DEVICE int my_turn() {
    return BLOCK::TURN + warpgroup();
}
template <class BLOCK> PTX_DEVICE int other_turn() {
    return BLOCK::TURN + (warpgroup() ^ 1);
}

template <class BLOCK> PTX_DEVICE void give_turn() {
    ptx_bar_arrive<BLOCK::CONSUMER_THREADS>(other_turn<BLOCK>());
}

/* Before the first tile, and after the last. */
template <class BLOCK> PTX_DEVICE void begin_turns() {
    if (warpgroup() == 1) give_turn<BLOCK>(); /* the first begins */
}
template <class BLOCK> PTX_DEVICE void end_turns() {
    if (BLOCK::HAS_TURNS && warpgroup() == 0) /* the last one given */
        ptx_bar_sync<BLOCK::CONSUMER_THREADS>(my_turn<BLOCK>());
}

/* This warpgroup's queries in shared memory: two halves of 64 rows. */
template <class BLOCK> PTX_DEVICE ptx_smem queries_of(ptx_smem smem) {
    return smem + BLOCK::Q_AT + (ptx_smem)(warpgroup() * Q_GROUP_BYTES);
}

/* Copies of queries are complete; a barrier must follow. */
PTX_DEVICE void wait_for_queries() {
    ptx_cp_async_commit();
    ptx_cp_async_wait<0>();
}

/* A warpgroup's queries as operand A, 16 dims each. */
typedef uint32_t held_queries[HEAD_DIM / 16][4];

PTX_DEVICE void hold_queries(ptx_smem q, held_queries &held) {
    const int thread = (int)ptx_here((uint32_t)ptx_thread()); /* or eight addresses are kept through every walk */
    const int lane = thread % WARP;
    const int row = thread % GROUP / WARP * 16 + lane % 16;
#pragma unroll
    for (int dims = 0; dims < HEAD_DIM / 16; dims++)
        ptx_ldmatrix(held[dims], q + tile_at(row, 2 * dims + lane / 16, Q_HALF_BYTES));
}

/* Queued: s = Q K^T, not scaled. */
template <class BLOCK>
PTX_DEVICE void queue_keys(ptx_smem q, const held_queries &held, ptx_smem k, float (&s)[64]) {
    const uint64_t desc_q = ptx_desc(q, 16);
    const uint64_t desc_k = ptx_desc(k, 16);
    ptx_wgmma_fence();
#pragma unroll
    for (int dims = 0; dims < HEAD_DIM / 16; dims++) { /* 32 bytes of a row on, or the other half */
        const int half = dims / 4, at = dims % 4 * 32;
        const uint64_t b = ptx_desc_after(desc_k, half * TILE_HALF_BYTES + at);
        if constexpr (BLOCK::HOLDS_QUERIES)
            ptx_wgmma_pv<true>(s, held[dims], b, dims > 0);
        else
            ptx_wgmma_qk(s, ptx_desc_after(desc_q, half * Q_HALF_BYTES + at), b, dims > 0);
    }
    ptx_wgmma_commit();
}

/* Groups of wgmma that O += P V is, and the keys of the first of two. */
template <class BLOCK> struct value_groups {
    enum { N = BLOCK::VALUES_FIRST > 0 ? 2 : 1, KEYS_FIRST = BLOCK::VALUES_FIRST * 16 };
};

/* Queued: out += P V. ENDS_TURN: it is the other's behind that, or with the last products. */
template <class BLOCK, bool ENDS_TURN>
PTX_DEVICE void queue_values(ptx_smem v, const packed_weights &weights, float (&out)[64]) {
    enum { PRODUCTS = KEYS / 16 };
    const uint64_t desc_v = ptx_desc(v, TILE_HALF_BYTES);
#pragma unroll
    for (int keys = 0; keys < PRODUCTS; keys++) {
        if (keys == 0 || keys == BLOCK::VALUES_FIRST) ptx_wgmma_fence();
        if (ENDS_TURN && keys == PRODUCTS - BLOCK::TURN_AHEAD) give_turn<BLOCK>();
        ptx_wgmma_pv(out, weights[keys], ptx_desc_after(desc_v, keys * 16 * ROW_BYTES));
        if (keys + 1 == PRODUCTS || keys + 1 == BLOCK::VALUES_FIRST) ptx_wgmma_commit();
    }
    if (ENDS_TURN && BLOCK::TURN_AHEAD == 0) give_turn<BLOCK>();
}

/* One thread for its warpgroup, which is past its wait. */
PTX_DEVICE void release(ptx_smem empty) {
    if (EVERY_LANE || ptx_thread() % GROUP == 0) ptx_mbar_arrive(empty);
}

/* What a warpgroup takes from page to page: the page whose keys come next is in slot `here`; of the one `before`, the
 * weights, and what they add to the sums, have not met its values yet. */
struct walking {
    float s[64];
    packed_weights weights;
    held_queries held;
    float sums[2];
    uint32_t here, before;
};

/* The mbarrier, or the tile, of a slot. */
template <class BLOCK> PTX_DEVICE ptx_smem bar_of(ptx_smem smem, int at, uint32_t slot) {
    return smem + (ptx_smem)at + stage_of<BLOCK>(slot) * 8;
}
template <class BLOCK> PTX_DEVICE ptx_smem tile_of_slot(ptx_smem smem, int at, uint32_t slot) {
    return smem + (ptx_smem)at + stage_of<BLOCK>(slot) * TILE_BYTES;
}
template <class BLOCK> PTX_DEVICE void wait_for_keys(ptx_smem smem, uint32_t slot) {
    ptx_mbar_wait(bar_of<BLOCK>(smem, BLOCK::FULL_K_AT, slot), parity_of<BLOCK>(slot));
}
template <class BLOCK> PTX_DEVICE void wait_for_values(ptx_smem smem, uint32_t slot) {
    ptx_mbar_wait(bar_of<BLOCK>(smem, BLOCK::FULL_V_AT, slot), parity_of<BLOCK>(slot));
}

/* s of a walk's first page -> weights. */
template <class BLOCK>
PTX_DEVICE void begin_weights(const row_tops &tops, float scale, walking &on, row_state &state) {
    if (BLOCK::HAS_CEILINGS) {
        row_shares shares;
        set_ceilings(tops, state);
        weigh_keys<0, KEYS>(on.s, state, scale, on.weights, shares);
        sum_shares(shares, on.sums);
        keep_below(on.s, scale, state, on.weights, on.sums);
    } else {
        const row_rise rise = raise(tops, state);
        if (rise.is_risen) rescale(state, rise);
        weigh(on.s, state, scale, on.weights, on.sums);
    }
}

/* A walk's first page, with nothing before it. Its queries are there once all threads of the warpgroup have come
 * here, or are held. */
template <class BLOCK, class LIMITS>
PTX_DEVICE void first_step(const page_walk &w, const LIMITS &limits, float scale, ptx_smem smem,
        walking &on, row_state &state) {
    wait_for_keys<BLOCK>(smem, on.here);
    if (!BLOCK::HAS_TURNS) ptx_bar_sync<GROUP>(within<BLOCK>()); /* the queries are here */
    if (BLOCK::HAS_TURNS) ptx_bar_sync<BLOCK::CONSUMER_THREADS>(my_turn<BLOCK>()); /* likewise */
    queue_keys<BLOCK>(queries_of<BLOCK>(smem), on.held, tile_of_slot<BLOCK>(smem, BLOCK::K_AT, on.here), on.s);
    if (BLOCK::HAS_TURNS) give_turn<BLOCK>();
    ptx_wgmma_wait<0>();
    release(bar_of<BLOCK>(smem, BLOCK::EMPTY_K_AT, on.here));
    mask_step(limits, 0, on.s);
    begin_weights<BLOCK>(tops_of(on.s, scale), scale, on, state);
    on.before = on.here, on.here = slot_after<BLOCK>(on.here);
    if (w.n_steps > 1) wait_for_keys<BLOCK>(smem, on.here);
}

/* A walk's first page, behind the last one of another: as any step, but O, once complete, is another tile's. Which walk
 * this is says `arrange`, while the products are computed: it sets w and limits. `change` makes `state` the new
 * tile's. The queries are held. */
template <class BLOCK, class LIMITS, class ARRANGE, class CHANGE>
PTX_DEVICE void first_step_behind(const page_walk &w, const LIMITS &limits, float scale, ptx_smem smem,
        walking &on, row_state &state, const ARRANGE &arrange, const CHANGE &change) {
    static_assert(BLOCK::HAS_TURNS && BLOCK::HOLDS_QUERIES, "the queries change while products are computed");
    wait_for_keys<BLOCK>(smem, on.here);
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(my_turn<BLOCK>());
    queue_keys<BLOCK>(queries_of<BLOCK>(smem), on.held, tile_of_slot<BLOCK>(smem, BLOCK::K_AT, on.here), on.s);
    wait_for_values<BLOCK>(smem, on.before);
    queue_values<BLOCK, true>(tile_of_slot<BLOCK>(smem, BLOCK::V_AT, on.before), on.weights, state.out);
    add_sums(state, on.sums);
    arrange();
    ptx_wgmma_wait<value_groups<BLOCK>::N>(); /* s */
    release(bar_of<BLOCK>(smem, BLOCK::EMPTY_K_AT, on.here));
    mask_step(limits, 0, on.s);
    const row_tops tops = tops_of(on.s, scale);
    const ptx_smem v_is_read = bar_of<BLOCK>(smem, BLOCK::EMPTY_V_AT, on.before);
    on.before = on.here, on.here = slot_after<BLOCK>(on.here);
    /* No score is above the greatest, which ptxas does not know: as in weigh_step(). */
    const bool is_above = on.s[0] * scale > tops.of[0] || on.s[2] * scale > tops.of[1];
    if (w.n_steps > 1 && !is_above) wait_for_keys<BLOCK>(smem, on.here);
    ptx_wgmma_wait<0>(); /* out */
    release(v_is_read);
    change();
    begin_weights<BLOCK>(tops, scale, on, state);
}

/* s -> weights, behind S and while O += P V is computed; is_more: a page comes behind this one. Goes on to it. */
template <class BLOCK>
PTX_DEVICE void weigh_step(bool is_more, float scale, ptx_smem smem, walking &on, row_state &state) {
    const row_rise rise = raise(tops_of(on.s, scale), state);
    const ptx_smem v_is_read = bar_of<BLOCK>(smem, BLOCK::EMPTY_V_AT, on.before);
    on.before = on.here, on.here = slot_after<BLOCK>(on.here);
    /* One warpgroup has nobody's products beside its exponentials but its own. */
    if (BLOCK::WEIGHS_EARLY) weigh<false>(on.s, state, scale, on.weights, on.sums);
    /* Nothing falls and no sum is negative, which ptxas does not know: so it has them here, and the next wait
     * behind them. */
    const bool falls = BLOCK::WEIGHS_EARLY ? on.sums[0] < 0.0f || on.sums[1] < 0.0f
                                           : state.max[0] < rise.from[0] || state.max[1] < rise.from[1];
    if (is_more && !falls) wait_for_keys<BLOCK>(smem, on.here);
    ptx_wgmma_wait<0>(); /* out; the weights have been read */
    release(v_is_read);
    if (rise.is_risen) rescale(state, rise);
    if (BLOCK::WEIGHS_EARLY)
        pack(on.s, on.weights);
    else
        weigh(on.s, state, scale, on.weights, on.sums);
}

/* The same with ceilings. With two groups of values the first weights are computed beside the second group's products, and as
 * long as these take; the wait for keys in between, a loop, is what keeps ptxas from having both waits first. */
template <class BLOCK>
PTX_DEVICE void weigh_below(bool is_more, float scale, ptx_smem smem, walking &on, row_state &state) {
    enum { KEYS_FIRST = value_groups<BLOCK>::KEYS_FIRST };
    const ptx_smem v_is_read = bar_of<BLOCK>(smem, BLOCK::EMPTY_V_AT, on.before);
    on.before = on.here, on.here = slot_after<BLOCK>(on.here);
    row_shares shares;
    if (KEYS_FIRST > 0) {
        ptx_wgmma_wait<1>(); /* the first weights have been read */
        weigh_keys<0, KEYS_FIRST>(on.s, state, scale, on.weights, shares);
    }
    if (is_more) wait_for_keys<BLOCK>(smem, on.here);
    ptx_wgmma_wait<0>(); /* out; all weights have been read */
    release(v_is_read);
    weigh_keys<KEYS_FIRST, KEYS>(on.s, state, scale, on.weights, shares);
    sum_shares(shares, on.sums);
    keep_below(on.s, scale, state, on.weights, on.sums);
}

/* A walk's other pages. */
template <class BLOCK, class LIMITS>
PTX_DEVICE void other_steps(const page_walk &w, const LIMITS &limits, float scale, ptx_smem smem,
        walking &on, row_state &state) {
    const ptx_smem q = queries_of<BLOCK>(smem);
    for (int step = 1; step < w.n_steps; step++) {
        if (BLOCK::HAS_TURNS) ptx_bar_sync<BLOCK::CONSUMER_THREADS>(my_turn<BLOCK>());
        queue_keys<BLOCK>(q, on.held, tile_of_slot<BLOCK>(smem, BLOCK::K_AT, on.here), on.s);
        wait_for_values<BLOCK>(smem, on.before);
        queue_values<BLOCK, BLOCK::HAS_TURNS>(
                tile_of_slot<BLOCK>(smem, BLOCK::V_AT, on.before), on.weights, state.out);
        ptx_wgmma_wait<value_groups<BLOCK>::N>(); /* s */
        release(bar_of<BLOCK>(smem, BLOCK::EMPTY_K_AT, on.here));
        mask_step(limits, step, on.s);
        add_sums(state, on.sums); /* of the page before: its shuffles are beside O */
        if constexpr (BLOCK::HAS_CEILINGS)
            weigh_below<BLOCK>(step + 1 < w.n_steps, scale, smem, on, state);
        else
            weigh_step<BLOCK>(step + 1 < w.n_steps, scale, smem, on, state);
    }
}

/* The values of the last page, with nothing behind them. */
template <class BLOCK> PTX_DEVICE void last_values(ptx_smem smem, walking &on, row_state &state) {
    wait_for_values<BLOCK>(smem, on.before);
    queue_values<BLOCK, false>(tile_of_slot<BLOCK>(smem, BLOCK::V_AT, on.before), on.weights, state.out);
    add_sums(state, on.sums);
    ptx_wgmma_wait<0>();
    release(bar_of<BLOCK>(smem, BLOCK::EMPTY_V_AT, on.before));
}

/* Every step of the tile, at least one, also one that only the rows of the other warpgroup see: both take
 * as many turns. The pages are in `slot` and on, which is moved behind them; the queries are there, once
 * all threads of the warpgroup have come here. */
template <class BLOCK>
PTX_DEVICE void attend(const page_walk &w, const row_limits &limits, float scale, ptx_smem smem,
        uint32_t &slot, row_state &state) {
    static_assert(!BLOCK::HOLDS_QUERIES, "nobody holds them here");
    walking on;
    on.here = slot;
    first_step<BLOCK>(w, limits, scale, smem, on, state);
    other_steps<BLOCK>(w, limits, scale, smem, on, state);
    last_values<BLOCK>(smem, on, state);
    slot = on.here;
}

#endif
