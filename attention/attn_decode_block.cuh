/* Decode on sm_80: a block's tile (attn_decode_tiles.cuh), its threads and its shared memory; which keys a step of a class has,
 * and how they are copied. */
#ifndef ATTN_DECODE_BLOCK_CUH
#define ATTN_DECODE_BLOCK_CUH

#include "attn_decode_tiles.cuh"
#include "attn_fp8.h"

enum {
    N_CLASSES = 4,
    CLASS_KEYS = 16, /* a step of a class */
    STEP_KEYS = N_CLASSES * CLASS_KEYS,
    N_DIM_TILES = HEAD_DIM / 16,
    N_STAGES = 3,
    HALF_BYTES = CLASS_KEYS * ROW_BYTES,
    OPERAND_BYTES = 2 * HALF_BYTES,
    STAGE_BYTES = 2 * OPERAND_BYTES,           /* keys, values */
    FP8_OPERAND_BYTES = CLASS_KEYS * HEAD_DIM, /* a stage of e4m3: keys, values, scales */
    FP8_SCALES_AT = 2 * FP8_OPERAND_BYTES,

    /* At the end of a split the stages give way to the classes' states of 32 rows, fp32: */
    GROUP_ROWS = 32,
    OUT_STRIDE = HEAD_DIM + 4,                        /* numbers a row; no bank conflicts */
    MAX_AT = N_CLASSES * GROUP_ROWS * OUT_STRIDE * 4, /* [class][row] */
    SUM_AT = MAX_AT + N_CLASSES * GROUP_ROWS * 4,
    TICKETS_AT = SUM_AT + N_CLASSES * GROUP_ROWS * 4, /* [sequence of the tile] */
    TILE_SEQS_MAX = 2 * GROUP_ROWS,

    /* Behind the stages where tiles are listed, to be read again rather than kept in registers: lists of pages, KV head,
     * the tile's first row. */
    PAGES_AT = N_CLASSES * N_STAGES * STAGE_BYTES,
    KV_HEAD_AT = PAGES_AT + 16,
    FIRST_ROW_AT = KV_HEAD_AT + 4,
    LISTED_SMEM_BYTES = KV_HEAD_AT + 16
};
static_assert(TICKETS_AT + TILE_SEQS_MAX * 4 <= PAGES_AT, "the states fit where the stages were");

/* What this block has to do. Keys are counted from the start of the split, and as the first sequence sees them: where
 * there are others, all see all of them. */
struct decode_work : tile_place {
    int32_t n_splits; /* of that sequence */
    int32_t n_rows;
    int32_t n_keys;
    int32_t first_seen; /* keys that query token 0 sees, clipped to 2 SPLIT; each later one sees one more */
    int32_t open_key;   /* e4m3: where the page of query token 0 begins, clipped likewise */
    bool is_twice;      /* e4m3: and that page is in this split, and another query lies behind it */
    void *const *pages; /* of the split; and open ones from that page on */
    void *const *open_pages;
};

PTX_DEVICE int lane_of() {
    return ptx_thread() % WARP;
}
PTX_DEVICE int class_of() {
    return ptx_thread() / WARP % N_CLASSES;
}
/* Of 32 rows, in the block's. */
PTX_DEVICE int row_group_of() {
    return ptx_thread() / (WARP * N_CLASSES);
}

/* What a launch says, with what a kernel without a list knows of it. */
template <int N_ROWS, bool IS_LISTED>
PTX_DEVICE decode_params params_of(const decode_params &said) {
    decode_params p = said;
    if (IS_LISTED) return p;
    p.tile_rows = N_ROWS;
    p.n_passes = 0;
    p.tile_seqs = 1;
    p.tile_blocks = p.n_row_blocks;
    p.n_block_rows = N_ROWS;
    return p;
}

/* Without a list: the block's tile, or one behind its sequence's splits. Divided in 64 bits, which takes a call: 32 are
 * divided so easily that ptxas does it again at every step. */
PTX_DEVICE tile_place place_in_grid(const decode_params &p) {
    const int64_t x = ptx_block_x(), y = ptx_block_y();
    return {(int32_t)(y / p.n_kv_heads), 1, (int32_t)(x % p.n_row_blocks),
            (int32_t)(y % p.n_kv_heads), (int32_t)(x / p.n_row_blocks)};
}

PTX_DEVICE decode_work work_of(const decode_params &p, const tile_place &place) {
    decode_work w;
    static_cast<tile_place &>(w) = place;
    const int32_t seq = seq_of(p, w.first);
    const int64_t length = p.a.lengths[seq];
    const int64_t first = (int64_t)w.split * SPLIT;
    w.n_rows = rows_of_tile(p, w);
    w.n_splits = splits_of_length(length);
    w.n_keys = length - first < SPLIT ? (int32_t)(length - first) : SPLIT;
    w.first_seen = clip_to_split(length - first - p.a.n_queries + 1);
    const int64_t open_page = (length - p.a.n_queries) / PAGE;
    w.open_key = clip_to_split(open_page * PAGE - first);
    w.is_twice = (length - 1) / PAGE > open_page && w.open_key >= 0 && w.open_key < w.n_keys;
    w.pages = p.a.pages[seq] + (int64_t)w.split * (SPLIT / PAGE);
    w.open_pages = p.a.open_pages ? p.a.open_pages[seq] : NULL;
    return w;
}

/* This block's work; whether it has any. */
template <bool IS_LISTED>
PTX_DEVICE bool find_work(const decode_params &p, tile_cursor c, decode_work &w) {
    if (IS_LISTED && !find_tile(p, c)) return false;
    w = work_of(p, IS_LISTED ? place_of_tile(p, c) : place_in_grid(p));
    return IS_LISTED || w.split < w.n_splits;
}

/* Of a list, what the steps read again. One thread; a barrier of all must follow. */
PTX_DEVICE void put_work(const decode_params &p, const decode_work &w, ptx_smem smem) {
    const uint64_t pages = (uint64_t)(uintptr_t)w.pages, open = (uint64_t)(uintptr_t)w.open_pages;
    ptx_sts128(smem + PAGES_AT, make_uint4((uint32_t)pages, (uint32_t)(pages >> 32), (uint32_t)open,
                                        (uint32_t)(open >> 32)));
    ptx_sts32(smem + KV_HEAD_AT, (uint32_t)w.kv_head);
    ptx_sts32(smem + FIRST_ROW_AT, (uint32_t)(w.row_block * p.tile_rows));
}

PTX_DEVICE void *const *pointer_of(uint32_t low, uint32_t high) {
    return (void *const *)(uintptr_t)((uint64_t)high << 32 | low);
}

/* The tile's first row, counted in its sequence's. */
template <bool IS_LISTED>
PTX_DEVICE int first_row_of(const decode_params &p, const decode_work &w, ptx_smem smem) {
    return IS_LISTED ? (int)ptx_lds32(smem + FIRST_ROW_AT) : w.row_block * p.tile_rows;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Step i of this class: its first key, and whether the page is read as bf16. */
struct decode_step {
    int32_t key;
    bool is_open;
};

template <bool IS_FP8> PTX_DEVICE decode_step step_of(const decode_work &w, int i) {
    decode_step step;
    step.is_open = true;
    const int page_steps = PAGE / STEP_KEYS;
    const int first_twice = w.open_key / STEP_KEYS;
    if (IS_FP8 && w.is_twice && i >= first_twice) {
        const int extra = i - first_twice;
        step.is_open = extra >= 2 * page_steps || extra % 2 == 0;
        i = extra < 2 * page_steps ? first_twice + extra / 2 : i - page_steps;
    }
    step.key = i * STEP_KEYS + class_of() * CLASS_KEYS;
    if (IS_FP8) step.is_open = step.is_open && step.key >= w.open_key;
    return step;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* 16 keys of a bf16 page, K and V; rows past the last key are zero. Two warps of a class share the work. */
template <int GROUPS>
PTX_DEVICE void copy_rows(
        const decode_work &w, const void *page, int kv_head, int key, ptx_smem to) {
    const int offset = lane_of() * 16;
    const int n_keys = w.n_keys - key - offset / ROW_BYTES;
    const char *from = tile_of_keys(page, kv_head) + key % PAGE * ROW_BYTES + offset;
#pragma unroll
    for (int operand = 0; operand < 2; operand++) {
        if (GROUPS == 2 && row_group_of() != operand) continue;
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int row = 0; row < CLASS_KEYS; row += WARP * 16 / ROW_BYTES)
                ptx_cp_async(
                        to + offset + operand * OPERAND_BYTES + half * HALF_BYTES + row * ROW_BYTES,
                        from + operand * TILE_BYTES + half * TILE_HALF_BYTES + row * ROW_BYTES,
                        row < n_keys ? 16 : 0);
    }
}

/* 16 keys of an e4m3 page, and its scales. */
template <int GROUPS>
PTX_DEVICE void copy_codes(const void *page, int kv_head, int key, ptx_smem to) {
    const char *from = (const char *)page + (int64_t)kv_head * ATTN_FP8_PLACE_BYTES;
    const int at = key % PAGE * HEAD_DIM; /* of keys and of values: both lie 16 keys by 16 */
#pragma unroll
    for (int operand = 0; operand < 2; operand++) {
        if (GROUPS == 2 && row_group_of() != operand) continue;
#pragma unroll
        for (int i = 0; i < FP8_OPERAND_BYTES; i += WARP * 16)
            ptx_cp_async(to + operand * FP8_OPERAND_BYTES + i + lane_of() * 16,
                    from + operand * ATTN_FP8_TILE_BYTES + at + i + lane_of() * 16, 16);
    }
    if (ptx_thread() / WARP == class_of() && lane_of() == 0)
        ptx_cp_async(to + FP8_SCALES_AT, from + ATTN_FP8_SCALES_AT, 16);
}

template <int GROUPS, bool IS_FP8, bool IS_LISTED>
PTX_DEVICE void copy_step(const decode_params &p, const decode_work &w, decode_step step,
        ptx_smem smem, ptx_smem to) {
    const int page = step.key / PAGE;
    if (!IS_LISTED) {
        const int64_t of_all = (int64_t)w.split * (SPLIT / PAGE) + page;
        if (IS_FP8 && step.is_open)
            copy_rows<GROUPS>(
                    w, p.a.open_pages[w.first][page - w.open_key / PAGE], w.kv_head, step.key, to);
        else if (IS_FP8)
            copy_codes<GROUPS>(p.a.pages[w.first][of_all], w.kv_head, step.key, to);
        else
            copy_rows<GROUPS>(w, p.a.pages[w.first][of_all], w.kv_head, step.key, to);
        return;
    }
    const uint4 lists = ptx_lds128(smem + PAGES_AT);
    const int kv_head = (int)ptx_lds32(smem + KV_HEAD_AT);
    if (IS_FP8 && step.is_open)
        copy_rows<GROUPS>(
                w, pointer_of(lists.z, lists.w)[page - w.open_key / PAGE], kv_head, step.key, to);
    else if (IS_FP8)
        copy_codes<GROUPS>(pointer_of(lists.x, lists.y)[page], kv_head, step.key, to);
    else
        copy_rows<GROUPS>(w, pointer_of(lists.x, lists.y)[page], kv_head, step.key, to);
}

#endif
