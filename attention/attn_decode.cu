/* Decode attention, sm_80 and later: a few query tokens of each sequence against all of its keys.
 *
 * A block is a tile (attn_decode_tiles.cuh): one KV head, one split of 4096 keys and up to 64 query rows of the KV head: the
 * (8 or 16) query heads of each query token, of a sequence or of several that hold the same pages, so that keys and values
 * are read once for all of them. The
 * products are transposed, S^T = K Q^T and O^T = V^T P^T: the keys fill the rows of the matrix
 * instruction, and the query rows its n = 8 columns, without padding where the group is 8.
 *
 * 4 classes of keys (16 at a time, every fourth 16 of the split), each with its own ring of stages. A
 * class is one warp, or two of 32 rows each that share what they copy; it waits for no other until
 * the end of the split. 24 KiB of cp.async in flight or in use a class, 96 KiB a block. The classes'
 * states are folded in order; so are the splits', by the block of a (sequence, KV head, rows) that comes
 * last, of each of its sequences. So a row's additions have the same order whatever it shares a pass with.
 *
 * Pages are bf16, or e4m3 (attn_fp8.h) up to the first query's, whose page is bf16. A query that lies a
 * page further reads that page as e4m3, so its steps are taken twice, once for either. Codes become bf16 in
 * registers, which is exact; the keys' scale goes into the scores', the values' into the weights. Which
 * of the 16 keys of a step is row m of the products, and which dims a lane has, is then chosen so that
 * codes are read 16 and 4 bytes at a time without a step across lanes.
 *
 * 512 bytes (256 of e4m3) and 4 x 128 x rows FLOP a key: bound by memory up to about 32 rows; more than 64
 * are several blocks, which find what they read in L2. */
#include <math.h>

#include "attn_decode_tiles.cuh"
#include "attn_fp8.h"

namespace {

enum {
    N_CLASSES = 4,
    CLASS_KEYS = 16, /* a step of a class */
    STEP_KEYS = N_CLASSES * CLASS_KEYS,
    N_DIM_TILES = HEAD_DIM / 16,
    N_STAGES = 3,
    HALF_BYTES = CLASS_KEYS * ROW_BYTES,
    OPERAND_BYTES = 2 * HALF_BYTES,
    STAGE_BYTES = 2 * OPERAND_BYTES, /* keys, values */
    FP8_OPERAND_BYTES = CLASS_KEYS * HEAD_DIM, /* a stage of e4m3: keys, values, scales */
    FP8_SCALES_AT = 2 * FP8_OPERAND_BYTES,

    /* At the end of a split the stages give way to the classes' states of 32 rows, fp32: */
    GROUP_ROWS = 32,
    OUT_STRIDE = HEAD_DIM + 4,                        /* numbers a row; no bank conflicts */
    MAX_AT = N_CLASSES * GROUP_ROWS * OUT_STRIDE * 4, /* [class][row] */
    SUM_AT = MAX_AT + N_CLASSES * GROUP_ROWS * 4,
    TICKETS_AT = SUM_AT + N_CLASSES * GROUP_ROWS * 4, /* [sequence of the tile] */
    TILE_SEQS_MAX = 2 * GROUP_ROWS,

    /* Behind the stages, to be read again rather than kept in registers: lists of pages, KV head, the first row's token. */
    PAGES_AT = N_CLASSES * N_STAGES * STAGE_BYTES,
    KV_HEAD_AT = PAGES_AT + 16,
    FIRST_ROW_AT = KV_HEAD_AT + 4,
    SMEM_BYTES = KV_HEAD_AT + 16
};
static_assert(TICKETS_AT + TILE_SEQS_MAX * 4 <= PAGES_AT, "the states fit where the stages were");

/* What this block has to do. Keys are counted from the start of the split, and as the first sequence sees them: where
 * there are others, all see all of them. */
struct decode_work : tile_place {
    int32_t n_splits; /* of that sequence */
    int32_t n_rows;
    int32_t n_keys;
    int32_t first_seen; /* keys that query token 0 sees, clipped to 2 SPLIT; each later one sees one more */
    int32_t open_key; /* e4m3: where the page of query token 0 begins, clipped likewise */
    bool is_twice;    /* e4m3: and that page is in this split, and another query lies behind it */
    void *const *pages; /* of the split; and open ones from that page on */
    void *const *open_pages;
};

/* A lane's part of a warp's state, n-tile n: rows 8n + 2q, + 1; dims 16j + g, + 8. `sum` is of this
 * lane's keys alone. */
template <int NT> struct decode_state {
    float max[NT][2];
    float sum[NT][2];
    float out[NT][N_DIM_TILES][4];
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

PTX_DEVICE int32_t clip(int64_t key) {
    return key < -SPLIT ? -SPLIT : key < 2 * SPLIT ? (int32_t)key : 2 * SPLIT;
}

PTX_DEVICE decode_work work_of_tile(const decode_params &p, const tile_cursor &c) {
    decode_work w;
    static_cast<tile_place &>(w) = place_of_tile(p, c);
    const int32_t seq = seq_of(p, w.first);
    const int64_t length = p.a.lengths[seq];
    const int64_t first = (int64_t)w.split * SPLIT;
    w.n_rows = rows_of_tile(p, w);
    w.n_splits = splits_of_length(length);
    w.n_keys = length - first < SPLIT ? (int32_t)(length - first) : SPLIT;
    w.first_seen = clip(length - first - p.a.n_queries + 1);
    const int64_t open_page = (length - p.a.n_queries) / PAGE;
    w.open_key = clip(open_page * PAGE - first);
    w.is_twice = (length - 1) / PAGE > open_page && w.open_key >= 0 && w.open_key < w.n_keys;
    w.pages = p.a.pages[seq] + (int64_t)w.split * (SPLIT / PAGE);
    w.open_pages = p.a.open_pages ? p.a.open_pages[seq] : NULL;
    return w;
}

/* One thread; a barrier of all must follow. */
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
    const char *from = (const char *)page + (int64_t)kv_head * ATTN_FP8_HEAD_BYTES;
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

template <int GROUPS, bool IS_FP8>
PTX_DEVICE void copy_step(const decode_work &w, decode_step step, ptx_smem smem, ptx_smem to) {
    const uint4 lists = ptx_lds128(smem + PAGES_AT);
    const int kv_head = (int)ptx_lds32(smem + KV_HEAD_AT), page = step.key / PAGE;
    if (IS_FP8 && step.is_open)
        copy_rows<GROUPS>(w, pointer_of(lists.z, lists.w)[page - w.open_key / PAGE], kv_head,
                step.key, to);
    else if (IS_FP8)
        copy_codes<GROUPS>(pointer_of(lists.x, lists.y)[page], kv_head, step.key, to);
    else
        copy_rows<GROUPS>(w, pointer_of(lists.x, lists.y)[page], kv_head, step.key, to);
}

/* ---- which numbers are where ----------------------------------------------------------------- *
 *
 * Row m of the products' 16 is key m for bf16 pages; with e4m3 it is key 4 (m / 2 % 4) + m % 2 + 2 (m / 8),
 * so that the four keys of a lane as operand A are one behind the other. Dims 16k + 2q, + 1, + 8, + 9
 * of step k are those for bf16 pages; with e4m3 dims 32q + 4k, + 1, + 2, + 3. */

template <bool IS_FP8> PTX_DEVICE int key_of_row(int m) {
    return IS_FP8 ? 4 * (m / 2 % 4) + m % 2 + 2 * (m / 8) : m;
}

/* Q^T as operand B: row g of each n-tile. Rows that are not there are 0. */
template <int NT, bool IS_FP8>
PTX_DEVICE void load_queries(const decode_params &p, const decode_work &w, int first_row,
        uint32_t (&b)[NT][HEAD_DIM / 16][2]) {
    const int lane = lane_of();
#pragma unroll
    for (int n = 0; n < NT; n++) {
        const int row = first_row + 8 * n + lane / 4;
        const bool is_row = row < w.n_rows;
        const uint16_t *q = query_of(p, place_of_row(p, w, is_row ? row : 0), w.kv_head);
#pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; k++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int dim = IS_FP8 ? lane % 4 * 32 + 4 * k + 2 * half
                                       : 16 * k + lane % 4 * 2 + 8 * half;
                b[n][k][half] = is_row ? *(const uint32_t *)(q + dim) : 0u;
            }
    }
}

/* ---- one step -------------------------------------------------------------------------------- */

template <int NT>
PTX_DEVICE void multiply_keys(
        ptx_smem keys, const uint32_t (&b)[NT][HEAD_DIM / 16][2], float (&s)[NT][4]) {
    const uint32_t lane = tile_lane_rows16(lane_of());
#pragma unroll
    for (int k = 0; k < HEAD_DIM / 16; k++) {
        uint32_t a[4];
        ptx_ldmatrix(a, keys + tile_step(lane, k, HALF_BYTES));
#pragma unroll
        for (int n = 0; n < NT; n++) ptx_mma(s[n], a, b[n][k][0], b[n][k][1]);
    }
}

/* The same of a bf16 page among e4m3 ones: a lane's 32 dims of two keys, 16 bytes at a time. */
template <int NT>
PTX_DEVICE void multiply_open_keys(
        ptx_smem keys, const uint32_t (&b)[NT][HEAD_DIM / 16][2], float (&s)[NT][4]) {
    const int low = key_of_row<true>(lane_of() / 4), high = key_of_row<true>(lane_of() / 4 + 8);
#pragma unroll
    for (int chunk = 0; chunk < 4; chunk++) { /* of 8 dims: two steps */
        const int of_row = lane_of() % 4 * 4 + chunk;
        const uint4 x = ptx_lds128(keys + tile_at(low, of_row, HALF_BYTES));
        const uint4 y = ptx_lds128(keys + tile_at(high, of_row, HALF_BYTES));
        const uint32_t a[2][4] = {{x.x, y.x, x.y, y.y}, {x.z, y.z, x.w, y.w}};
#pragma unroll
        for (int k = 0; k < 2; k++)
#pragma unroll
            for (int n = 0; n < NT; n++)
                ptx_mma(s[n], a[k], b[n][2 * chunk + k][0], b[n][2 * chunk + k][1]);
    }
}

/* Codes of two keys, or dims, four each -> operand A. */
PTX_DEVICE void widen(uint32_t low, uint32_t high, uint32_t (&a)[4]) {
    a[0] = ptx_e4m3_low(low);
    a[1] = ptx_e4m3_low(high);
    a[2] = ptx_e4m3_high(low);
    a[3] = ptx_e4m3_high(high);
}

template <int NT>
PTX_DEVICE void multiply_key_codes(
        ptx_smem keys, const uint32_t (&b)[NT][HEAD_DIM / 16][2], float (&s)[NT][4]) {
    const int low = key_of_row<true>(lane_of() / 4), high = key_of_row<true>(lane_of() / 4 + 8);
#pragma unroll
    for (int chunk = 0; chunk < 2; chunk++) { /* of 16 dims: four steps */
        const int of_row = lane_of() % 4 * 2 + chunk;
        const uint4 x = ptx_lds128(keys + tile_chunk(low, of_row));
        const uint4 y = ptx_lds128(keys + tile_chunk(high, of_row));
        const uint32_t codes[4][2] = {{x.x, y.x}, {x.y, y.y}, {x.z, y.z}, {x.w, y.w}};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t a[4];
            widen(codes[k][0], codes[k][1], a);
#pragma unroll
            for (int n = 0; n < NT; n++)
                ptx_mma(s[n], a, b[n][4 * chunk + k][0], b[n][4 * chunk + k][1]);
        }
    }
}

/* Keys that a row does not see: -inf. s[n][c] is row g + 8 (c / 2) of the products, query row 8n + 2q +
 * c % 2. A query sees what lies before it; of two forms of a page, bf16 where it lies in it. */
template <int NT, bool IS_FP8>
PTX_DEVICE void mask(const decode_params &p, const decode_work &w, decode_step step, ptx_smem smem,
        float (&s)[NT][4]) {
    const int lane = lane_of();
    const int first_row = (int)ptx_lds32(smem + FIRST_ROW_AT) + row_group_of() * 8 * NT;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const int row = first_row + 8 * n + lane % 4 * 2 + c % 2;
            const int key = step.key + key_of_row<IS_FP8>(lane / 4 + c / 2 * 8);
            const int n_seen = w.first_seen + row / p.group;
            bool is_seen = key < n_seen;
            if (IS_FP8) {
                const bool is_own_page = key >= ((n_seen - 1) & ~(PAGE - 1));
                is_seen = is_seen && is_own_page == step.is_open;
            }
            if (!is_seen) s[n][c] = -INFINITY;
        }
}

/* Over the eight lanes that share a row. */
PTX_DEVICE float max_of_row(float v) {
    v = fmaxf(v, ptx_shfl_xor(v, 4));
    v = fmaxf(v, ptx_shfl_xor(v, 8));
    return fmaxf(v, ptx_shfl_xor(v, 16));
}
PTX_DEVICE float sum_of_row(float v) {
    v += ptx_shfl_xor(v, 4);
    v += ptx_shfl_xor(v, 8);
    return v + ptx_shfl_xor(v, 16);
}

template <int NT> PTX_DEVICE void weigh(float (&s)[NT][4], decode_state<NT> &state, float scale) {
    float factor[NT][2];
    bool is_risen = false;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const float max =
                    fmaxf(state.max[n][c], max_of_row(fmaxf(s[n][c], s[n][c + 2])) * scale);
            const float base = max == -INFINITY ? 0.0f : max;
            is_risen = is_risen || max > state.max[n][c];
            factor[n][c] = ptx_exp2(state.max[n][c] - base);
            state.max[n][c] = max;
            s[n][c] = ptx_exp2(fmaf(s[n][c], scale, -base));
            s[n][c + 2] = ptx_exp2(fmaf(s[n][c + 2], scale, -base));
            state.sum[n][c] = fmaf(state.sum[n][c], factor[n][c], s[n][c] + s[n][c + 2]);
        }
    if (!ptx_any(is_risen)) return;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) state.out[n][j][c] *= factor[n][c % 2];
}

/* Weights as operand B, times the values' scale. */
template <int NT> PTX_DEVICE void pack(const float (&s)[NT][4], float scale, uint32_t (&b)[NT][2]) {
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            b[n][half] = ptx_movmatrix_trans(
                    ptx_pack_bf16(s[n][2 * half] * scale, s[n][2 * half + 1] * scale));
}

/* V^T as operand A, its rows in the products' order. Of the one bf16 page among e4m3 ones two fall on the same
 * banks. */
template <int NT, bool IS_FP8>
PTX_DEVICE void multiply_values(
        ptx_smem values, const uint32_t (&b)[NT][2], decode_state<NT> &state) {
    const int m = (lane_of() & 7) + 8 * (lane_of() >> 4);
    const uint32_t lane = tile_chunk(key_of_row<IS_FP8>(m), lane_of() >> 3 & 1);
#pragma unroll
    for (int j = 0; j < N_DIM_TILES; j++) {
        uint32_t a[4];
        ptx_ldmatrix_trans(a, values + tile_step(lane, j, HALF_BYTES));
#pragma unroll
        for (int n = 0; n < NT; n++) ptx_mma(state.out[n][j], a, b[n][0], b[n][1]);
    }
}

template <int NT>
PTX_DEVICE void multiply_value_codes(
        ptx_smem values, const uint32_t (&b)[NT][2], decode_state<NT> &state) {
    const ptx_smem at = values + (ptx_smem)(lane_of() / 4 * CLASS_KEYS + lane_of() % 4 * 4);
#pragma unroll
    for (int j = 0; j < N_DIM_TILES; j++) { /* dims 16j + g, + 8 */
        uint32_t a[4];
        widen(ptx_lds32(at + 16 * j * CLASS_KEYS), ptx_lds32(at + (16 * j + 8) * CLASS_KEYS), a);
#pragma unroll
        for (int n = 0; n < NT; n++) ptx_mma(state.out[n][j], a, b[n][0], b[n][1]);
    }
}

template <int NT> PTX_DEVICE void clear(float (&s)[NT][4]) {
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 4; c++) s[n][c] = 0.0f;
}

/* A step over a bf16 page. */
template <int NT, bool IS_FP8>
PTX_DEVICE void fold_rows(const decode_params &p, const decode_work &w, decode_step step,
        ptx_smem smem, ptx_smem stage, const uint32_t (&q)[NT][HEAD_DIM / 16][2],
        decode_state<NT> &state) {
    float s[NT][4];
    uint32_t weights[NT][2];
    clear<NT>(s);
    if (IS_FP8)
        multiply_open_keys<NT>(stage, q, s);
    else
        multiply_keys<NT>(stage, q, s);
    if (IS_FP8 || step.key + CLASS_KEYS > w.first_seen) mask<NT, IS_FP8>(p, w, step, smem, s);
    weigh<NT>(s, state, p.scale);
    pack<NT>(s, 1.0f, weights);
    multiply_values<NT, IS_FP8>(stage + OPERAND_BYTES, weights, state);
}

/* A step over an e4m3 page. */
template <int NT>
PTX_DEVICE void fold_codes(const decode_params &p, const decode_work &w, decode_step step,
        ptx_smem smem, ptx_smem stage, const uint32_t (&q)[NT][HEAD_DIM / 16][2],
        decode_state<NT> &state) {
    float s[NT][4];
    uint32_t weights[NT][2];
    const float key_scale = ptx_bits_float(ptx_lds32(stage + FP8_SCALES_AT));
    const float value_scale = ptx_bits_float(ptx_lds32(stage + FP8_SCALES_AT + 4));
    clear<NT>(s);
    multiply_key_codes<NT>(stage, q, s);
    if (step.key >= w.open_key) mask<NT, true>(p, w, step, smem, s);
    weigh<NT>(s, state, p.scale * key_scale);
    pack<NT>(s, value_scale, weights);
    multiply_value_codes<NT>(stage + FP8_OPERAND_BYTES, weights, state);
}

/* What the warps of a class have copied is there for all of them, and what they have read may go. */
template <int GROUPS> PTX_DEVICE void meet() {
    if (GROUPS == 1)
        ptx_syncwarp();
    else
        ptx_bar_sync<GROUPS * WARP>(1 + class_of());
}

/* A class's keys of the split. */
template <int NT, int GROUPS, bool IS_FP8>
PTX_DEVICE void walk(
        const decode_params &p, const decode_work &w, ptx_smem smem, decode_state<NT> &state) {
    const ptx_smem ring = smem + (ptx_smem)(class_of() * N_STAGES * STAGE_BYTES);
    const int first_row = row_group_of() * 8 * NT;
    uint32_t q[NT][HEAD_DIM / 16][2];
#pragma unroll
    for (int i = 0; i < N_STAGES - 1; i++) {
        const decode_step step = step_of<IS_FP8>(w, i);
        if (step.key < w.n_keys) copy_step<GROUPS, IS_FP8>(w, step, smem, ring + i * STAGE_BYTES);
        ptx_cp_async_commit();
    }
    load_queries<NT, IS_FP8>(p, w, first_row, q);
    int stage = 0;
    for (int i = 0;; i++) {
        const decode_step step = step_of<IS_FP8>(w, i);
        if (step.key >= w.n_keys) break;
        ptx_cp_async_wait<N_STAGES - 2>();
        meet<GROUPS>(); /* this stage is here; the one before has been read */
        const decode_step next = step_of<IS_FP8>(w, i + N_STAGES - 1);
        const int next_stage = stage == 0 ? N_STAGES - 1 : stage - 1;
        if (next.key < w.n_keys)
            copy_step<GROUPS, IS_FP8>(w, next, smem, ring + (ptx_smem)(next_stage * STAGE_BYTES));
        ptx_cp_async_commit();
        const ptx_smem here = ring + (ptx_smem)(stage * STAGE_BYTES);
        if (!IS_FP8 || step.is_open)
            fold_rows<NT, IS_FP8>(p, w, step, smem, here, q, state);
        else
            fold_codes<NT>(p, w, step, smem, here, q, state);
        stage = stage == N_STAGES - 1 ? 0 : stage + 1;
    } /* every copy has been waited for: what was committed since is empty */
}

/* ---- states: classes, splits ----------------------------------------------------------------- */

PTX_DEVICE float weight_of(float max, float base) {
    return base == -INFINITY ? 0.0f : ptx_exp2(max - base);
}

/* Each warp's state to shared memory. */
template <int NT> PTX_DEVICE void put_state(ptx_smem smem, const decode_state<NT> &state) {
    const int lane = lane_of();
    const int class_row = class_of() * 8 * NT;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const int row = class_row + 8 * n + lane % 4 * 2 + c;
            const float sum = sum_of_row(state.sum[n][c]);
            if (lane / 4 == 0) {
                ptx_sts32(smem + MAX_AT + row * 4, ptx_float_bits(state.max[n][c]));
                ptx_sts32(smem + SUM_AT + row * 4, ptx_float_bits(sum));
            }
#pragma unroll
            for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    ptx_sts32(smem + (row * OUT_STRIDE + 16 * j + 8 * half + lane / 4) * 4,
                            ptx_float_bits(state.out[n][j][2 * half + c]));
        }
}

struct merged_row {
    float max;
    float sum;
    float out; /* of this thread's dim */
};

/* The four classes' state of a row, in order. */
PTX_DEVICE merged_row merge_classes(ptx_smem smem, int row, int n_rows, int dim) {
    float max[N_CLASSES];
    merged_row m = {-INFINITY, 0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < N_CLASSES; i++) {
        max[i] = ptx_bits_float(ptx_lds32(smem + MAX_AT + (i * n_rows + row) * 4));
        m.max = fmaxf(m.max, max[i]);
    }
#pragma unroll
    for (int i = 0; i < N_CLASSES; i++) {
        const int at = i * n_rows + row;
        const float weight = weight_of(max[i], m.max);
        m.sum = fmaf(weight, ptx_bits_float(ptx_lds32(smem + SUM_AT + at * 4)), m.sum);
        m.out = fmaf(weight, ptx_bits_float(ptx_lds32(smem + (at * OUT_STRIDE + dim) * 4)), m.out);
    }
    return m;
}

PTX_DEVICE void store_row(const decode_params &p, const row_place &row, int kv_head, int dim,
        const merged_row &m) {
    const int64_t at = token_head_of(p, row, kv_head);
    const float inverse = m.sum > 0.0f ? 1.0f / m.sum : 0.0f;
    p.a.attended[at * HEAD_DIM + dim] = (uint16_t)ptx_pack_bf16(m.out * inverse, 0.0f);
    if (p.a.lse && dim == 0) p.a.lse[at] = (m.max + ptx_log2(m.sum)) * 0.6931471805599453f;
}

/* The splits' states of 8 rows of a sequence, in order; the loads of several splits are in flight. */
PTX_DEVICE void merge_splits(
        const decode_params &p, row_place place, int kv_head, int n_splits, int dim) {
    merged_row m[8];
    const int64_t first = state_of(p, place, kv_head, 0);
#pragma unroll
    for (int r = 0; r < 8; r++) m[r] = {-INFINITY, 0.0f, 0.0f};
#pragma unroll 4
    for (int split = 0; split < n_splits; split++)
#pragma unroll
        for (int r = 0; r < 8; r++)
            m[r].max = fmaxf(m[r].max,
                    ptx_load_shared_float(p.part_max + first + (int64_t)split * p.n_block_rows + r));
#pragma unroll 4
    for (int split = 0; split < n_splits; split++)
#pragma unroll
        for (int r = 0; r < 8; r++) {
            const int64_t at = first + (int64_t)split * p.n_block_rows + r;
            const float weight = weight_of(ptx_load_shared_float(p.part_max + at), m[r].max);
            m[r].sum = fmaf(weight, ptx_load_shared_float(p.part_sum + at), m[r].sum);
            m[r].out =
                    fmaf(weight, ptx_load_shared_float(p.part_out + at * HEAD_DIM + dim), m[r].out);
        }
#pragma unroll
    for (int r = 0; r < 8; r++)
        if (place.row + r < p.n_rows) store_row(p, {place.seq, place.row + r}, kv_head, dim, m[r]);
}

/* A state of the tile's split, to be merged, and as often as there are no rows behind the sequence's last: 8 are merged
 * at a time. */
PTX_DEVICE void store_part(const decode_params &p, const decode_work &w, const row_place &row,
        int dim, const merged_row &m) {
    int64_t at = state_of(p, row, w.kv_head, w.split);
    const int64_t end = row.row == p.n_rows - 1 ? at + (7 - row.row % 8) : at;
    for (; at <= end; at++) {
        ptx_store_shared_float(p.part_out + at * HEAD_DIM + dim, m.out);
        if (dim != 0) continue;
        ptx_store_shared_float(p.part_max + at, m.max);
        ptx_store_shared_float(p.part_sum + at, m.sum);
    }
}

/* Of one group of rows, whose states are in shared memory: to the result, or to be merged. */
template <int NT, int GROUPS>
PTX_DEVICE void store_states(
        const decode_params &p, const decode_work &w, ptx_smem smem, int group) {
    const int dim = ptx_thread() % HEAD_DIM;
    for (int i = ptx_thread() / HEAD_DIM; i < 8 * NT; i += GROUPS) {
        if (group * 8 * NT + i >= w.n_rows) break;
        const row_place row = place_of_row(p, w, group * 8 * NT + i);
        const merged_row m = merge_classes(smem, i, 8 * NT, dim);
        if (w.n_splits == 1)
            store_row(p, row, w.kv_head, dim, m);
        else
            store_part(p, w, row, dim, m);
    }
}

/* Each sequence of the tile takes a ticket, a thread each; of those whose splits are now all stored the tile's rows are
 * merged here. */
template <int NT, int GROUPS>
PTX_DEVICE void merge_complete(const decode_params &p, const decode_work &w, ptx_smem smem) {
    const int mine = ptx_thread();
    ptx_syncthreads(); /* the partial states are stored */
    if (mine < w.n_seqs) {
        const int32_t seq = seq_of(p, w.first + mine);
        const int64_t rows = ((int64_t)seq * p.n_kv_heads + w.kv_head) * p.n_row_blocks;
        uint32_t *ticket = p.tickets + rows + w.row_block;
        const uint32_t n_before = ptx_ticket(ticket);
        const bool is_last = n_before == (uint32_t)splits_of_length(p.a.lengths[seq]) - 1;
        if (is_last) *ticket = 0; /* for the next step */
        ptx_sts32(smem + TICKETS_AT + mine * 4, is_last);
    }
    ptx_syncthreads();
    for (int i = 0; i < w.n_seqs; i++) {
        if (!ptx_lds32(smem + TICKETS_AT + i * 4)) continue;
        const int32_t seq = seq_of(p, w.first + i);
        const int first_row = w.row_block * p.tile_rows;
        const int end = first_row + (w.n_rows < p.n_rows ? w.n_rows : p.n_rows);
        for (int row = first_row + ptx_thread() / HEAD_DIM * 8; row < end; row += 8 * GROUPS)
            merge_splits(p, {seq, row}, w.kv_head, splits_of_length(p.a.lengths[seq]),
                    ptx_thread() % HEAD_DIM);
    }
}

/* ---- the kernel ------------------------------------------------------------------------------ */

template <int NT, int GROUPS, bool IS_FP8>
static __global__ void __launch_bounds__(WARP *N_CLASSES *GROUPS)
        attn_decode_kernel(const decode_params p) {
    static_assert(NT * 8 <= GROUP_ROWS && GROUPS <= 2, "states of a group fit in shared memory");
    const ptx_smem smem = ptx_smem_base();
    tile_cursor c = first_tile();
    if (!find_tile(p, c)) return;
    decode_work w = work_of_tile(p, c);
    if (ptx_thread() == 0) put_work(p, w, smem);
    ptx_syncthreads();
    decode_state<NT> state;
#pragma unroll
    for (int n = 0; n < NT; n++) {
        state.max[n][0] = state.max[n][1] = -INFINITY;
        state.sum[n][0] = state.sum[n][1] = 0.0f;
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) state.out[n][j][i] = 0.0f;
    }
    walk<NT, GROUPS, IS_FP8>(p, w, smem, state);
    c = here_again(first_tile()); /* found out once more, rather than kept in registers all the while */
    if (!find_tile(p, c)) return;
    w = work_of_tile(p, c);
    for (int group = 0; group < GROUPS; group++) {
        ptx_syncthreads(); /* all stages, or the states before, have been read */
        if (row_group_of() == group) put_state<NT>(smem, state);
        ptx_syncthreads();
        store_states<NT, GROUPS>(p, w, smem, group);
    }
    if (w.n_splits > 1) merge_complete<NT, GROUPS>(p, w, smem);
}

template <int NT, int GROUPS, bool IS_FP8>
const char *launch(ptx_grid grid, rt_stream stream, const decode_params &params) {
    grid.threads = WARP * N_CLASSES * GROUPS;
    return ptx_launch(attn_decode_kernel<NT, GROUPS, IS_FP8>, grid, stream, params);
}

const char *launch_for(ptx_grid grid, rt_stream stream, const decode_params &params) {
    const bool is_fp8 = params.a.open_pages != NULL;
    switch (params.tile_rows) {
    case 8:
        return (is_fp8 ? launch<1, 1, true> : launch<1, 1, false>)(grid, stream, params);
    case 16:
        return (is_fp8 ? launch<2, 1, true> : launch<2, 1, false>)(grid, stream, params);
    case 32:
        return (is_fp8 ? launch<2, 2, true> : launch<4, 1, false>)(grid, stream, params);
    default:
        return launch<4, 2, false>(grid, stream, params);
    }
}

} // namespace

rt_status attn_cuda_decode_sm80(
        const attn_shape *shape, const attn_cuda_decode_args *args, rt_stream stream) {
    if (args->n_seqs == 0) return RT_OK;
    const bool is_fp8 = args->open_pages != NULL;
    const int32_t n_rows = args->n_queries * (shape->n_heads / shape->n_kv_heads);
    decode_params params = {};
    set_params(shape, args, attn_sm80_block_rows(rows_together(shape, args), is_fp8),
            attn_sm80_row_blocks(n_rows, is_fp8), attn_sm80_block_rows(n_rows, is_fp8), &params);
    const ptx_grid grid = {tiles_max(params), 1, 0, SMEM_BYTES};
    const char *why = launch_for(grid, stream, params);
    if (why)
        return rt_fail(RT_EDEVICE, "attention: decode of %d sequences over up to %lld keys: %s",
                (int)args->n_seqs, (long long)args->max_tokens, why);
    return RT_OK;
}
