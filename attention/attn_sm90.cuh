/* What the kernels for Hopper share: how a block is made up, and how a tile of query rows walks over pages.
 *
 * A block is one or two consumer warpgroups of 64 rows each, and a warpgroup of which one warp brings the pages.
 * It stays on its SM and takes one tile after the other; a page j of a tile:
 *
 *   turn   S = Q K(j)^T   O += P V(j-1)   other's turn   |   maxima of S, or signs, behind P V(j-1)   |   P
 *
 * Both products of a step are queued at once. While they run, the other warpgroup computes its softmax,
 * and each its own maxima: the tensor cores have work as long as a softmax takes less than the
 * products of both. The turns, two named barriers, keep the two warpgroups half a step apart; numbers
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

#include "ptx_sm90.cuh"

#include "attn_quad.cuh"
#include "attn_tile.cuh"

#include <float.h>
#include <math.h>

enum {
    GROUP = 4 * WARP,
    GROUP_ROWS = 64,
    KEYS = PAGE,
    Q_HALF_BYTES = GROUP_ROWS * ROW_BYTES,
    Q_GROUP_BYTES = 2 * Q_HALF_BYTES
};

/* A block's threads, named barriers and shared memory. WRITERS arrive for a stage to be full: one thread that expects
 * a copy, or each warp of a warpgroup that may have written it. WIDENED: pages are of e4m3 (attn_widen_sm90.cuh). */
template <int CONSUMERS, int STAGES, int WRITERS = 1, bool WIDENED = false> struct sm90_block {
    enum {
        N_CONSUMERS = CONSUMERS,
        N_WRITERS = WRITERS,
        IS_TWICE = WIDENED,
        VALUES_BY_DIM = WIDENED,
        HOLDS_QUERIES = false, /* in registers, instead of reading them again for every page */
        HAS_CEILINGS = false,  /* a row sees the walk's first key, or none: its max is a ceiling (lower()) */
        HAS_TURNS = CONSUMERS > 1,
        N_STAGES = STAGES,
        CONSUMER_THREADS = CONSUMERS * GROUP,
        THREADS = CONSUMER_THREADS + GROUP,
        ROWS = CONSUMERS * GROUP_ROWS,

        TURN = 1,                  /* one a consumer warpgroup: it may queue its products; */
        WITHIN = TURN + CONSUMERS, /* its threads alone */

        Q_AT = 0,
        K_AT = Q_AT + CONSUMERS * Q_GROUP_BYTES,
        V_AT = K_AT + STAGES * TILE_BYTES,
        FULL_K_AT = V_AT + STAGES * TILE_BYTES,
        FULL_V_AT = FULL_K_AT + STAGES * 8,
        EMPTY_K_AT = FULL_V_AT + STAGES * 8,
        EMPTY_V_AT = EMPTY_K_AT + STAGES * 8,
        END_AT = EMPTY_V_AT + STAGES * 8
    };
};

/* The pages that a tile walks over, ascending. With open pages, in which the query tokens lie, a row reads its own
 * page there, and pages before it in `pages`. Where BLOCK::IS_TWICE, rows may lie in two different pages; then the first
 * of those is in both, and two steps. */
struct page_walk {
    void *const *pages;      /* from the walk's first key on; n_closed of them */
    void *const *open_pages; /* the steps behind those */
    int kv_head;
    int n_keys; /* from the first page on: rows behind them are not there */
    int n_closed;
    int first_open; /* page of the first open step */
    int n_steps;
};

PTX_DEVICE int page_of_step(int step, int n_closed, int first_open) {
    return step < n_closed ? step : first_open + step - n_closed;
}

/* What a thread's rows h = 0, 1 see: that many keys from the walk's first on. */
struct row_limits {
    int seen[2];
    int least; /* of the warpgroup's rows */
};

/* A thread's rows g and g + 8 of its warp's 16: h = 0, 1; columns 8j + 2q, + 1 at out[4j + 2h], +
 * 1. */
struct row_state {
    float max[2];
    float sum[2];
    float out[64];
};

PTX_DEVICE int warpgroup() {
    return ptx_thread() / GROUP;
}

/* The thread's row h, counted in the tile. */
PTX_DEVICE int row_of(int h) {
    return ptx_thread() / WARP * 16 + ptx_thread() % WARP / 4 + 8 * h;
}

/* A slot is a stage and the parity of its phase: stage s is slot s in even phases, N_STAGES + s in odd ones. A
 * block's pages take one after the other, over all its tiles. */
template <class BLOCK> PTX_DEVICE uint32_t stage_of(uint32_t slot) {
    return slot < BLOCK::N_STAGES ? slot : slot - BLOCK::N_STAGES;
}
template <class BLOCK> PTX_DEVICE uint32_t parity_of(uint32_t slot) {
    return slot >= BLOCK::N_STAGES;
}
template <class BLOCK> PTX_DEVICE uint32_t slot_after(uint32_t slot) {
    return slot == 2 * BLOCK::N_STAGES - 1 ? 0 : slot + 1;
}

/* One thread of the block; a barrier of all must follow. */
template <class BLOCK> PTX_DEVICE void init_barriers(ptx_smem smem) {
    for (int stage = 0; stage < BLOCK::N_STAGES; stage++) {
        ptx_mbar_init(smem + BLOCK::FULL_K_AT + stage * 8, BLOCK::N_WRITERS);
        ptx_mbar_init(smem + BLOCK::FULL_V_AT + stage * 8, BLOCK::N_WRITERS);
        ptx_mbar_init(smem + BLOCK::EMPTY_K_AT + stage * 8, BLOCK::N_CONSUMERS);
        ptx_mbar_init(smem + BLOCK::EMPTY_V_AT + stage * 8, BLOCK::N_CONSUMERS);
    }
    ptx_fence_mbar_init();
}

/* ---- the producer: one warp ------------------------------------------------------------------ */

/* Rows of a tile past the first n_rows -> 0, for 0 x NaN is NaN. */
PTX_DEVICE void clear_rows(ptx_smem tile, int n_rows) {
    for (int half = 0; half < 2; half++)
        for (int at = n_rows * ROW_BYTES + ptx_thread() % WARP * 16; at < TILE_HALF_BYTES;
                at += WARP * 16)
            ptx_sts128(tile + (ptx_smem)(half * TILE_HALF_BYTES + at), make_uint4(0, 0, 0, 0));
    ptx_fence_async(); /* wgmma will read what was stored the ordinary way */
    ptx_syncwarp();
}

/* The first n_rows rows of a tile. */
template <class BLOCK>
PTX_DEVICE void fetch(ptx_smem smem, int full_at, int empty_at, int tiles_at, uint32_t slot,
        const char *from, int n_rows) {
    const uint32_t stage = stage_of<BLOCK>(slot);
    const ptx_smem full = smem + full_at + stage * 8;
    const ptx_smem tile = smem + tiles_at + stage * TILE_BYTES;
    ptx_mbar_wait(smem + empty_at + stage * 8, parity_of<BLOCK>(slot) ^ 1u);
    if (BLOCK::N_WRITERS > 1 && ptx_thread() / WARP % BLOCK::N_WRITERS != 0) {
        if (ptx_thread() % WARP == 0)
            ptx_mbar_arrive(full); /* the first warp alone has something to do */
        return;
    }
    if (n_rows < KEYS) clear_rows(tile, n_rows);
    if (ptx_thread() % WARP != 0) return;
    ptx_mbar_arrive_expect(full, 2 * n_rows * ROW_BYTES);
    for (int half = 0; half < 2; half++)
        ptx_bulk_load(tile + half * TILE_HALF_BYTES, from + half * TILE_HALF_BYTES,
                n_rows * ROW_BYTES, full);
}

PTX_DEVICE int rows_of_page(const page_walk &w, int page) {
    const int left = w.n_keys - page * KEYS;
    return left < KEYS ? left : KEYS;
}

/* Keys, or values where a tile's rows are tokens, of a bf16 page of a walk into `slot`. */
template <class BLOCK>
PTX_DEVICE void fetch_keys(
        const page_walk &w, const void *from, int page, ptx_smem smem, uint32_t slot) {
    fetch<BLOCK>(smem, BLOCK::FULL_K_AT, BLOCK::EMPTY_K_AT, BLOCK::K_AT, slot,
            tile_of_keys(from, w.kv_head), rows_of_page(w, page));
}
template <class BLOCK>
PTX_DEVICE void fetch_values(
        const page_walk &w, const void *from, int page, ptx_smem smem, uint32_t slot) {
    fetch<BLOCK>(smem, BLOCK::FULL_V_AT, BLOCK::EMPTY_V_AT, BLOCK::V_AT, slot,
            tile_of_keys(from, w.kv_head) + TILE_BYTES, rows_of_page(w, page));
}

/* All pages of a walk, bf16, from `slot` on; moves it behind them. */
template <class BLOCK>
PTX_DEVICE void fetch_pages(const page_walk &w, ptx_smem smem, uint32_t &slot) {
    for (int step = 0; step < w.n_steps; step++) {
        const void *from = step < w.n_closed ? w.pages[step] : w.open_pages[step - w.n_closed];
        const int page = page_of_step(step, w.n_closed, w.first_open);
        fetch_keys<BLOCK>(w, from, page, smem, slot);
        fetch_values<BLOCK>(w, from, page, smem, slot);
        slot = slot_after<BLOCK>(slot);
    }
}

/* ---- the consumers --------------------------------------------------------------------------- */

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

/* Before the first tile, and after the last. */
template <class BLOCK> PTX_DEVICE void begin_turns() {
    if (warpgroup() == 1) /* the first begins */
        ptx_bar_arrive<BLOCK::CONSUMER_THREADS>(other_turn<BLOCK>());
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

PTX_DEVICE void clear_state(row_state &state) {
#pragma unroll
    for (int i = 0; i < 64; i++) state.out[i] = 0.0f;
    state.max[0] = state.max[1] = -INFINITY;
    state.sum[0] = state.sum[1] = 0.0f;
}

/* A warpgroup's queries as operand A, 16 dims each. */
typedef uint32_t held_queries[HEAD_DIM / 16][4];

PTX_DEVICE void hold_queries(ptx_smem q, held_queries &held) {
    const int lane = ptx_thread() % WARP;
    const int row = ptx_thread() % GROUP / WARP * 16 + lane % 16;
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

typedef uint32_t packed_weights[KEYS / 16][4];

/* Queued: out += P V, the rows of V's tile tokens or, as of K's, dims. */
template <class BLOCK>
PTX_DEVICE void queue_values(ptx_smem v, const packed_weights &weights, float (&out)[64]) {
    const uint64_t desc_v = ptx_desc(v, BLOCK::VALUES_BY_DIM ? 16 : (int)TILE_HALF_BYTES);
    ptx_wgmma_fence();
#pragma unroll
    for (int keys = 0; keys < KEYS / 16; keys++)
        ptx_wgmma_pv<BLOCK::VALUES_BY_DIM != 0>(out, weights[keys],
                ptx_desc_after(desc_v, BLOCK::VALUES_BY_DIM ? keys / 4 * TILE_HALF_BYTES + keys % 4 * 32
                                                            : keys * 16 * ROW_BYTES));
    ptx_wgmma_commit();
}

/* Keys that a row does not see: -inf. Of the page's, the thread's row h sees the first n_seen[h]. */
PTX_DEVICE void mask(float (&s)[64], const int (&n_seen)[2]) {
    const int first = ptx_thread() % 4 * 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int limit = n_seen[h] - first;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int c = 0; c < 2; c++)
                if (8 * j + c >= limit) s[4 * j + 2 * h + c] = -INFINITY;
    }
}

/* The greatest of the thread's s of row h, by four chains: one would be its latency and nothing else. */
PTX_DEVICE float greatest(const float (&s)[64], int h) {
    float top[4];
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++) {
        const float pair = fmaxf(s[4 * j + 2 * h], s[4 * j + 2 * h + 1]);
        top[j % 4] = j < 4 ? pair : fmaxf(top[j % 4], pair);
    }
    return fmaxf(fmaxf(top[0], top[1]), fmaxf(top[2], top[3]));
}

/* A row's maximum may lag behind by so much: its weights are then up to 2^8, as exact as any, and what was summed needs
 * no factor. Maxima that always rise would rescale most pages of a short walk. */
#define MAX_LAG 8.0f

/* Maxima of the thread's two rows, from what they were; is_risen: not the same for some row of the warp. */
struct row_rise {
    float from[2];
    bool is_risen;
};

/* The greatest scores of the thread's two rows. */
struct row_tops {
    float of[2];
};
PTX_DEVICE row_tops tops_of(const float (&s)[64], float scale) {
    row_tops tops;
#pragma unroll
    for (int h = 0; h < 2; h++) tops.of[h] = max_of_row(greatest(s, h)) * scale;
    return tops;
}

/* The rows' maxima over those as well, where that is more than MAX_LAG. */
PTX_DEVICE row_rise raise(const row_tops &tops, row_state &state) {
    row_rise rise;
    bool is_risen = false;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        rise.from[h] = state.max[h];
        if (tops.of[h] > state.max[h] + MAX_LAG) is_risen = true, state.max[h] = tops.of[h];
    }
    rise.is_risen = ptx_any(is_risen);
    return rise;
}

/* What was summed so far, after a rise. */
PTX_DEVICE void rescale(row_state &state, const row_rise &rise) {
    float factor[2];
#pragma unroll
    for (int h = 0; h < 2; h++) /* -inf - (-inf) is NaN */
        factor[h] = state.max[h] > rise.from[h] ? ptx_exp2(rise.from[h] - state.max[h]) : 1.0f;
#pragma unroll
    for (int i = 0; i < 64; i++) state.out[i] *= factor[i / 2 % 2];
#pragma unroll
    for (int h = 0; h < 2; h++) state.sum[h] *= factor[h];
}

/* Ceilings: a row's max is MAX_LAG above the greatest score of when it was set. A page with no score above it needs no
 * maxima: the signs of what the weights are computed from tell, two of them an instruction. */

/* A row that has seen no key has its first ones. */
PTX_DEVICE void set_ceilings(const row_tops &tops, row_state &state) {
#pragma unroll
    for (int h = 0; h < 2; h++)
        if (state.max[h] == -INFINITY) state.max[h] = tops.of[h] + MAX_LAG;
}

/* s -> scale s - ceiling; whether that is above 0, or 0 or NaN, for some row of the warp. */
PTX_DEVICE bool lower(float (&s)[64], const row_state &state, float scale) {
    uint32_t signs[4]; /* as greatest(): chains */
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float ceiling = fmaxf(state.max[h], -FLT_MAX); /* -inf - (-inf) is NaN */
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
            float *const pair = &s[4 * j + 2 * h];
            pair[0] = fmaf(pair[0], scale, -ceiling);
            pair[1] = fmaf(pair[1], scale, -ceiling);
            const uint32_t both = ptx_float_bits(pair[0]) & ptx_float_bits(pair[1]);
            signs[j % 4] = h == 0 && j < 4 ? both : signs[j % 4] & both;
        }
    }
    return ptx_any((int32_t)(signs[0] & signs[1] & signs[2] & signs[3]) >= 0);
}

/* Ceilings above the scores again, and s lowered by as much; those of the warp's rows that were are left alone. */
PTX_DEVICE row_rise lift(float (&s)[64], row_state &state) {
    row_rise rise = {{state.max[0], state.max[1]}, true};
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float top = max_of_row(greatest(s, h));
        if (top > 0.0f) state.max[h] += top + MAX_LAG;
        const float by = top > 0.0f ? state.max[h] - rise.from[h] : 0.0f;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) s[4 * j + 2 * h] -= by, s[4 * j + 2 * h + 1] -= by;
    }
    return rise;
}

/* Two weights each, where operand A wants them. */
PTX_DEVICE void pack_pair(const float (&s)[64], int j, int h, packed_weights &weights) {
    weights[j / 2][j % 2 * 2 + h] = ptx_pack_bf16(s[4 * j + 2 * h], s[4 * j + 2 * h + 1]);
}
PTX_DEVICE void pack(const float (&s)[64], packed_weights &weights) {
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int h = 0; h < 2; h++) pack_pair(s, j, h, weights);
}

/* s -> weights 2^(scale s - max), and what they add to the thread's share of its rows' sums. Packed at once, where
 * nothing reads the last ones any more: they are operand A of what comes next. */
template <bool IS_PACKED = true, bool IS_LOWERED = false>
PTX_DEVICE void weigh(float (&s)[64], const row_state &state, float scale, packed_weights &weights, float (&sums)[2]) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float base = state.max[h] == -INFINITY ? 0.0f : state.max[h]; /* no key so far */
        float sum[2];
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float *weight = &s[4 * j + 2 * h + c];
                *weight = ptx_exp2(IS_LOWERED ? *weight : fmaf(*weight, scale, -base));
                sum[c] = j == 0 ? *weight : sum[c] + *weight;
            }
            if (IS_PACKED) pack_pair(s, j, h, weights);
        }
        sums[h] = sum[0] + sum[1];
    }
}

/* A page at a time, so that a row's sum does not depend on where a call ends. */
PTX_DEVICE void add_sums(row_state &state, const float (&sums)[2]) {
#pragma unroll
    for (int h = 0; h < 2; h++) state.sum[h] += sum_of_row(sums[h]);
}

/* One thread for its warpgroup, which is past its wait. */
PTX_DEVICE void release(ptx_smem empty) {
    if (ptx_thread() % GROUP == 0) ptx_mbar_arrive(empty);
}

/* Mask the page of a step where some row of the warpgroup does not see all of it. */
template <class BLOCK>
PTX_DEVICE void mask_step(const row_limits &limits, const page_walk &w, int step, float (&s)[64]) {
    const int page = BLOCK::IS_TWICE ? page_of_step(step, w.n_closed, w.first_open) : step;
    if (BLOCK::IS_TWICE ? step < w.first_open : limits.least - page * KEYS >= KEYS) return;
    int n_seen[2] = {limits.seen[0] - page * KEYS, limits.seen[1] - page * KEYS};
    const bool is_closed = step < w.n_closed;
#pragma unroll
    for (int h = 0; h < 2;
            h++) /* closed: if the row's own page is behind it; open: if it is its own */
        if (BLOCK::IS_TWICE && is_closed != (n_seen[h] > KEYS)) n_seen[h] = 0;
    mask(s, n_seen);
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
        set_ceilings(tops, state);
        if (lower(on.s, state, scale)) rescale(state, lift(on.s, state));
    } else {
        const row_rise rise = raise(tops, state);
        if (rise.is_risen) rescale(state, rise);
    }
    weigh<true, BLOCK::HAS_CEILINGS>(on.s, state, scale, on.weights, on.sums);
}

/* A walk's first page, with nothing before it. Its queries are there once all threads of the warpgroup have come
 * here, or are held. */
template <class BLOCK>
PTX_DEVICE void first_step(const page_walk &w, const row_limits &limits, float scale, ptx_smem smem,
        walking &on, row_state &state) {
    wait_for_keys<BLOCK>(smem, on.here);
    if (!BLOCK::HAS_TURNS) ptx_bar_sync<GROUP>(within<BLOCK>()); /* the queries are here */
    if (BLOCK::HAS_TURNS) ptx_bar_sync<BLOCK::CONSUMER_THREADS>(my_turn<BLOCK>()); /* likewise */
    queue_keys<BLOCK>(queries_of<BLOCK>(smem), on.held, tile_of_slot<BLOCK>(smem, BLOCK::K_AT, on.here), on.s);
    if (BLOCK::HAS_TURNS) ptx_bar_arrive<BLOCK::CONSUMER_THREADS>(other_turn<BLOCK>());
    ptx_wgmma_wait<0>();
    release(bar_of<BLOCK>(smem, BLOCK::EMPTY_K_AT, on.here));
    mask_step<BLOCK>(limits, w, 0, on.s);
    begin_weights<BLOCK>(tops_of(on.s, scale), scale, on, state);
    on.before = on.here, on.here = slot_after<BLOCK>(on.here);
    if (w.n_steps > 1) wait_for_keys<BLOCK>(smem, on.here);
}

/* A walk's first page, behind the last one of another: as any step, but O, once complete, is another tile's. Which walk
 * this is says `arrange`, while the products are computed: it sets w and limits. `change` makes `state` the new
 * tile's. The queries are held. */
template <class BLOCK, class ARRANGE, class CHANGE>
PTX_DEVICE void first_step_behind(const page_walk &w, const row_limits &limits, float scale, ptx_smem smem,
        walking &on, row_state &state, const ARRANGE &arrange, const CHANGE &change) {
    static_assert(BLOCK::HAS_TURNS && BLOCK::HOLDS_QUERIES, "the queries change while products are computed");
    wait_for_keys<BLOCK>(smem, on.here);
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(my_turn<BLOCK>());
    queue_keys<BLOCK>(queries_of<BLOCK>(smem), on.held, tile_of_slot<BLOCK>(smem, BLOCK::K_AT, on.here), on.s);
    wait_for_values<BLOCK>(smem, on.before);
    queue_values<BLOCK>(tile_of_slot<BLOCK>(smem, BLOCK::V_AT, on.before), on.weights, state.out);
    ptx_bar_arrive<BLOCK::CONSUMER_THREADS>(other_turn<BLOCK>());
    add_sums(state, on.sums);
    arrange();
    ptx_wgmma_wait<1>(); /* s */
    release(bar_of<BLOCK>(smem, BLOCK::EMPTY_K_AT, on.here));
    mask_step<BLOCK>(limits, w, 0, on.s);
    const row_tops tops = tops_of(on.s, scale);
    const ptx_smem v_is_read = bar_of<BLOCK>(smem, BLOCK::EMPTY_V_AT, on.before);
    on.before = on.here, on.here = slot_after<BLOCK>(on.here);
    /* No score is above the greatest, which ptxas does not know: as in other_steps(). */
    const bool is_above = on.s[0] * scale > tops.of[0] || on.s[2] * scale > tops.of[1];
    if (w.n_steps > 1 && !is_above) wait_for_keys<BLOCK>(smem, on.here);
    ptx_wgmma_wait<0>(); /* out */
    release(v_is_read);
    change();
    begin_weights<BLOCK>(tops, scale, on, state);
}

/* A walk's other pages. */
template <class BLOCK>
PTX_DEVICE void other_steps(const page_walk &w, const row_limits &limits, float scale, ptx_smem smem,
        walking &on, row_state &state) {
    const ptx_smem q = queries_of<BLOCK>(smem);
    for (int step = 1; step < w.n_steps; step++) {
        if (BLOCK::HAS_TURNS) ptx_bar_sync<BLOCK::CONSUMER_THREADS>(my_turn<BLOCK>());
        queue_keys<BLOCK>(q, on.held, tile_of_slot<BLOCK>(smem, BLOCK::K_AT, on.here), on.s);
        wait_for_values<BLOCK>(smem, on.before);
        queue_values<BLOCK>(tile_of_slot<BLOCK>(smem, BLOCK::V_AT, on.before), on.weights, state.out);
        if (BLOCK::HAS_TURNS) ptx_bar_arrive<BLOCK::CONSUMER_THREADS>(other_turn<BLOCK>());
        ptx_wgmma_wait<1>(); /* s */
        release(bar_of<BLOCK>(smem, BLOCK::EMPTY_K_AT, on.here));
        mask_step<BLOCK>(limits, w, step, on.s);
        add_sums(state, on.sums); /* of the page before: its shuffles are beside the maxima */
        row_rise rise;
        if constexpr (BLOCK::HAS_CEILINGS)
            rise = {{}, lower(on.s, state, scale)};
        else
            rise = raise(tops_of(on.s, scale), state);
        if (BLOCK::HAS_CEILINGS && rise.is_risen) rise = lift(on.s, state);
        const ptx_smem v_is_read = bar_of<BLOCK>(smem, BLOCK::EMPTY_V_AT, on.before);
        on.before = on.here, on.here = slot_after<BLOCK>(on.here);
        /* One warpgroup has nobody's products beside its exponentials but its own. */
        if (!BLOCK::HAS_TURNS) weigh<false>(on.s, state, scale, on.weights, on.sums);
        /* Nothing falls and no sum is negative, which ptxas does not know: so it has them here, and the next wait
         * behind them. */
        const bool falls = BLOCK::HAS_CEILINGS ? false /* the branch to lift() has the signs */
                           : BLOCK::HAS_TURNS
                                   ? state.max[0] < rise.from[0] || state.max[1] < rise.from[1]
                                   : on.sums[0] < 0.0f || on.sums[1] < 0.0f;
        if (step + 1 < w.n_steps && !falls) wait_for_keys<BLOCK>(smem, on.here);
        ptx_wgmma_wait<0>(); /* out; the weights have been read */
        release(v_is_read);
        if (rise.is_risen) rescale(state, rise);
        if (BLOCK::HAS_TURNS)
            weigh<true, BLOCK::HAS_CEILINGS>(on.s, state, scale, on.weights, on.sums);
        else
            pack(on.s, on.weights);
    }
}

/* The values of the last page, with nothing behind them. */
template <class BLOCK> PTX_DEVICE void last_values(ptx_smem smem, walking &on, row_state &state) {
    wait_for_values<BLOCK>(smem, on.before);
    queue_values<BLOCK>(tile_of_slot<BLOCK>(smem, BLOCK::V_AT, on.before), on.weights, state.out);
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

/* The same, to the last bit, with registers for S or P but not for both: a turn is O += P V(j-1), then S = Q K(j)^T,
 * and the softmax is behind the other warpgroup's turn alone. */
template <class BLOCK>
PTX_DEVICE void attend_by_turns(const page_walk &w, const row_limits &limits, float scale,
        ptx_smem smem, uint32_t &slot, row_state &state) {
    static_assert(BLOCK::HAS_TURNS && !BLOCK::HOLDS_QUERIES, "a turn is another's time");
    const ptx_smem q = queries_of<BLOCK>(smem);
    packed_weights weights;
    held_queries held;
    uint32_t here = slot, before = slot;
    const auto bar = [=](int at, uint32_t of) {
        return smem + (ptx_smem)at + stage_of<BLOCK>(of) * 8;
    };
    const auto tile = [=](int at, uint32_t of) {
        return smem + (ptx_smem)at + stage_of<BLOCK>(of) * TILE_BYTES;
    };
    for (int step = 0; step < w.n_steps; step++) {
        float s[64]; /* here, so that s is nobody's before its first product */
        ptx_mbar_wait(bar(BLOCK::FULL_K_AT, here), parity_of<BLOCK>(here));
        if (step > 0) ptx_mbar_wait(bar(BLOCK::FULL_V_AT, before), parity_of<BLOCK>(before));
        ptx_bar_sync<BLOCK::CONSUMER_THREADS>(my_turn<BLOCK>()); /* and the queries are here */
        if (step > 0) {
            queue_values<BLOCK>(tile(BLOCK::V_AT, before), weights, state.out);
            ptx_wgmma_wait<0>();
            release(bar(BLOCK::EMPTY_V_AT, before));
        }
        queue_keys<BLOCK>(q, held, tile(BLOCK::K_AT, here), s);
        ptx_wgmma_wait<0>();
        ptx_bar_arrive<BLOCK::CONSUMER_THREADS>(other_turn<BLOCK>());
        release(bar(BLOCK::EMPTY_K_AT, here));
        mask_step<BLOCK>(limits, w, step, s);
        const row_rise rise = raise(tops_of(s, scale), state);
        if (rise.is_risen) rescale(state, rise);
        float sums[2];
        weigh(s, state, scale, weights, sums);
        add_sums(state, sums);
        before = here, here = slot_after<BLOCK>(here);
    }
    ptx_mbar_wait(bar(BLOCK::FULL_V_AT, before), parity_of<BLOCK>(before));
    queue_values<BLOCK>(tile(BLOCK::V_AT, before), weights, state.out);
    ptx_wgmma_wait<0>();
    release(bar(BLOCK::EMPTY_V_AT, before));
    slot = here;
}

#endif
