/* Blocks of the kernels for Hopper: how threads, barriers and shared memory are dealt out, which pages a tile walks over,
 * and the warp that brings them. attn_sm90.cuh says what for. */
#ifndef ATTN_BLOCK_SM90_CUH
#define ATTN_BLOCK_SM90_CUH

#include "ptx_sm90.cuh"

#include "attn_quad.cuh"
#include "attn_tile.cuh"

enum {
    GROUP = 4 * WARP,
    GROUP_ROWS = 64,
    KEYS = PAGE,
    Q_HALF_BYTES = GROUP_ROWS * ROW_BYTES,
    Q_GROUP_BYTES = 2 * Q_HALF_BYTES
};

/* Who arrives at an mbarrier: one lane for its warp behind __syncwarp, or one thread for its warpgroup behind a wait for products; and
 * who copies, before it copies. Or, which computes the same, each thread for itself, and who copies behind it: so racecheck is
 * asked (tests/gpu_races.sh). */
#ifdef EVERY_LANE_TRIED
enum { EVERY_LANE = EVERY_LANE_TRIED };
#else
enum {
    EVERY_LANE = false,
};
#endif
enum { OF_A_WARP = EVERY_LANE ? WARP : 1, OF_A_GROUP = EVERY_LANE ? GROUP : 1 }; /* arrivals */

/* A block's threads, named barriers and shared memory. */
template <int CONSUMERS, int STAGES> struct sm90_block {
    enum {
        N_CONSUMERS = CONSUMERS,
        HOLDS_QUERIES = false, /* in registers, instead of reading them again for every page */
        HAS_CEILINGS = false,  /* a row sees the walk's first key, or none: its max is a ceiling (attn_softmax_sm90.cuh) */
        KEYS_AHEAD = false,    /* a page's keys are fetched in front of the values of the page before */
        VALUES_FIRST = 0,      /* of the 8 products of O += P V so many can be waited for by themselves */
        TURN_AHEAD = 0,        /* products that a warpgroup has still to queue when the turn is the other's */
        HAS_TURNS = CONSUMERS > 1,
        WEIGHS_EARLY = !HAS_TURNS, /* exponentials in front of the wait for O, not behind it */
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
 * page there, and pages before it in `pages`. In decode rows may lie in two different pages; then the first of
 * those is in both, and two steps. */
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
        ptx_mbar_init(smem + BLOCK::FULL_K_AT + stage * 8, OF_A_WARP);
        ptx_mbar_init(smem + BLOCK::FULL_V_AT + stage * 8, OF_A_WARP);
        ptx_mbar_init(smem + BLOCK::EMPTY_K_AT + stage * 8, BLOCK::N_CONSUMERS * OF_A_GROUP);
        ptx_mbar_init(smem + BLOCK::EMPTY_V_AT + stage * 8, BLOCK::N_CONSUMERS * OF_A_GROUP);
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

/* By all lanes: one that came two rounds late would find the same parity again, and wait for ever. */
template <class BLOCK> PTX_DEVICE void wait_until_empty(ptx_smem empty, uint32_t slot) {
    ptx_mbar_wait(empty, parity_of<BLOCK>(slot) ^ 1u);
    ptx_syncwarp();
}

/* What a lane copies, `bytes` in all, is awaited at `full`. */
template <class COPIES> PTX_DEVICE void copy_as_warp(ptx_smem full, int bytes, const COPIES &copies) {
    if (ptx_thread() % WARP != 0) {
        if (EVERY_LANE) ptx_mbar_arrive(full);
        return;
    }
    if (!EVERY_LANE) ptx_mbar_arrive_expect(full, bytes);
    copies();
    if (EVERY_LANE) ptx_mbar_arrive_expect(full, bytes);
}

/* The first n_rows rows of a tile. */
template <class BLOCK>
PTX_DEVICE void fetch(ptx_smem smem, int full_at, int empty_at, int tiles_at, uint32_t slot,
        const char *from, int n_rows) {
    const uint32_t stage = stage_of<BLOCK>(slot);
    const ptx_smem full = smem + full_at + stage * 8;
    const ptx_smem tile = smem + tiles_at + stage * TILE_BYTES;
    wait_until_empty<BLOCK>(smem + empty_at + stage * 8, slot);
    if (n_rows < KEYS) clear_rows(tile, n_rows);
    copy_as_warp(full, 2 * n_rows * ROW_BYTES, [&] {
        for (int half = 0; half < 2; half++)
            ptx_bulk_load(tile + half * TILE_HALF_BYTES, from + half * TILE_HALF_BYTES,
                    n_rows * ROW_BYTES, full);
    });
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

PTX_DEVICE const void *bytes_of_step(const page_walk &w, int step) {
    return step < w.n_closed ? w.pages[step] : w.open_pages[step - w.n_closed];
}
template <class BLOCK>
PTX_DEVICE void fetch_keys_of_step(const page_walk &w, int step, ptx_smem smem, uint32_t slot) {
    fetch_keys<BLOCK>(w, bytes_of_step(w, step), page_of_step(step, w.n_closed, w.first_open), smem, slot);
}

/* All pages of a walk, bf16, from `slot` on; moves it behind them. KEYS_AHEAD: a page's values find their stage free half
 * a step later than the next one's keys, which are wanted half a step earlier. */
template <class BLOCK>
PTX_DEVICE void fetch_pages(const page_walk &w, ptx_smem smem, uint32_t &slot) {
    if (BLOCK::KEYS_AHEAD && w.n_steps > 0) fetch_keys_of_step<BLOCK>(w, 0, smem, slot);
    for (int step = 0; step < w.n_steps; step++) {
        const void *from = bytes_of_step(w, step);
        const int page = page_of_step(step, w.n_closed, w.first_open);
        if (!BLOCK::KEYS_AHEAD) fetch_keys<BLOCK>(w, from, page, smem, slot);
        if (BLOCK::KEYS_AHEAD && step + 1 < w.n_steps)
            fetch_keys_of_step<BLOCK>(w, step + 1, smem, slot_after<BLOCK>(slot));
        fetch_values<BLOCK>(w, from, page, smem, slot);
        slot = slot_after<BLOCK>(slot);
    }
}

#endif
