/* Decode for Hopper over pages of e4m3 (attn_fp8.h): a page's codes become operands in registers.
 *
 * Keys are the rows of S^T = K Q^T and dims those of O^T = V^T P^T, and query rows, up to 64, are columns of both: so
 * codes are operand A. A lane reads its own from shared memory, and one instruction makes two e4m3 two f16, which
 * hold every e4m3. Nothing widened is stored. Two consumer warpgroups, even and odd pages of a split, each with a
 * state of its own, which are added behind the last page: whatever a row's neighbours, its pages are the same one's,
 * in order. More than 64 rows are several tiles, whose blocks meet in L2. A page of a warpgroup:
 *
 *   K codes -> registers   beside O^T += V^T P^T of its page before
 *   S^T = K Q^T
 *   V codes -> registers   the stage is given back
 *   P = 2^(S - base)       -> shared memory, f16, a query row's keys as a row   barrier of the warpgroup, which asks whether a
 *                          score has risen too far for f16: then bases rise, and P is made anew
 *   O^T += V^T P^T         queued
 *
 * What f16 holds, and where powers of two go that it does not:
 *   queries   a row times a power of two, its greatest number in [2^14, 2^15): bf16 numbers down to 2^-29 of it as
 *             they are, smaller ones to 2^-40 of it, which fp32 sums do not see (of rows below 2^-32, to 2^-71)
 *   weights   up to 2^15, relative to a base; it rises where a score is beyond, so that the score's weight is 2^11.
 *             To 2^-11 of themselves down to 2^-25 of that score's, absolutely to 2^-36 of it below: of 4096
 *             keys 2^-24
 *   codes     as they are. A page's scale of keys goes into the scores, in fp32; that of values into the weights,
 *             as a part of the state's own `unit`, 1 to 2^-4: smaller weights, whose errors meet smaller values.
 *             The unit follows the scales; values below 2^-64 of the greatest in a split's even, or odd, pages
 *             may count as 0
 * All else is fp32. The one or two open pages, in which the query tokens lie, are bf16, and so are queries and weights
 * there.
 *
 * Dims and keys that a lane reads side by side are not those that wgmma has side by side: a sum over 16 of them may
 * take them in any order, so queries are stored in that of the lanes, and rows of S^T are keys in that order.
 *
 *   full    the bytes are there   one expectation + the copies   -> the consumer whose page it is
 *   empty   its 4 warps have read a lane of each                 -> the warp that copies
 *
 * A wait names a phase by its parity, which tells it from the one before to who knows that this is over: so a stage is
 * one consumer's throughout a tile. What the other had of it in tiles before is over by the barrier of both.
 *
 * For a page of 32 KiB an SM's share of an H200's memory takes 1800 cycles. At 32 and at 64 columns, rows that are not
 * there included: products 512 and 1024, shared memory 830 and 1150, a scheduler's issue slots 560 and 770,
 * exponentials 256 and 512; a consumer has 3600 for a page. Its chain took 2450 and 4140 on an H200 as it was before the two barriers
 * of a page became one. Behind a tile's last page memory goes on until all stages are full. */
#ifndef ATTN_CODES_SM90_CUH
#define ATTN_CODES_SM90_CUH

#include "attn_decode_tiles_sm90.cuh"
#include "attn_fp8.h"

enum {
    CODES_ROWS = 64, /* of a tile, at most */
    CODES_TURNS = 2, /* consumers: even and odd pages */
    SCALES_BYTES = 16,
    QUERIES_AT_ONCE = 32,
    GROUP_WARPS = GROUP / WARP
};

/* A base before the first key, finite: 2^(-inf - base) is 0. */
#define CODES_NO_BASE -1e30f

/* Of a tile of up to N rows. A stage has keys and values of a page of e4m3, or either of an open one. */
template <int N> struct codes_block {
    enum {
        COLUMNS = N,
        N_CONSUMERS = CODES_TURNS,
        CONSUMER_THREADS = N_CONSUMERS * GROUP,
        LOADS_EARLY = N < CODES_ROWS, /* values beside the softmax, where there are registers for both */
        N_STAGES = LOADS_EARLY ? 6 : 4, /* a multiple of the turns: see `full` */
        COPIER = CONSUMER_THREADS,
        THREADS = COPIER + GROUP,
        CONSUMER_REGISTERS = 240,
        COPIER_REGISTERS = 24,

        ALL = 1, /* named barriers: of all consumers; of each alone */
        WITHIN = 2,

        COLUMN_HALF_BYTES = COLUMNS * ROW_BYTES, /* tiles of queries and of weights: two halves, as of keys */
        COLUMN_TILE_BYTES = 2 * COLUMN_HALF_BYTES,
        TOPS_BYTES = GROUP_WARPS * COLUMNS * 4,

        STAGES_AT = 0,
        QUERIES_AT = STAGES_AT + N_STAGES * TILE_BYTES,
        WEIGHTS_AT = QUERIES_AT + COLUMN_TILE_BYTES,               /* of each consumer: */
        COLUMNS_AT = WEIGHTS_AT + N_CONSUMERS * COLUMN_TILE_BYTES, /* fp32 factor of scores, base [COLUMNS] */
        TOPS_AT = COLUMNS_AT + N_CONSUMERS * COLUMNS * 8,          /* maxima, then sums, of its warps [4][COLUMNS] */
        PLACES_AT = TOPS_AT + N_CONSUMERS * TOPS_BYTES, /* of a row that is stored: where, fp32 1 / sum, 4 bytes [N] */
        SEEN_AT = PLACES_AT + N * 16,                   /* keys of the split that a row sees [N] */
        CURSOR_AT = SEEN_AT + N * 4, /* the tile's */
        SCALES_AT = CURSOR_AT + 16,
        FULL_AT = SCALES_AT + N_STAGES * SCALES_BYTES,
        EMPTY_AT = FULL_AT + N_STAGES * 8,
        SMEM_BYTES = EMPTY_AT + N_STAGES * 8
    };
    static_assert(N_STAGES % CODES_TURNS == 0, "no stage has pages of both turns in a tile");
};

/* Found out anew in each place, rather than kept in registers. */
PTX_DEVICE int lane_g() {
    return (int)ptx_here((uint32_t)ptx_thread()) % WARP / 4;
}
PTX_DEVICE int lane_q() {
    return (int)ptx_here((uint32_t)ptx_thread()) % 4;
}
PTX_DEVICE int group_warp() {
    return (int)ptx_here((uint32_t)ptx_thread()) % GROUP / WARP;
}

template <class BLOCK> PTX_DEVICE uint32_t slot_on(uint32_t slot, int n) {
    return (slot + (uint32_t)n) % (2 * BLOCK::N_STAGES);
}
template <class BLOCK> PTX_DEVICE ptx_smem codes_bar(ptx_smem smem, int at, uint32_t slot) {
    return smem + (ptx_smem)at + stage_of<BLOCK>(slot) * 8;
}
template <class BLOCK> PTX_DEVICE ptx_smem codes_stage(ptx_smem smem, uint32_t slot) {
    return smem + BLOCK::STAGES_AT + stage_of<BLOCK>(slot) * TILE_BYTES;
}
/* What a consumer has for itself. */
template <class BLOCK> PTX_DEVICE ptx_smem weights_of(ptx_smem smem, int consumer) {
    return smem + (ptx_smem)(BLOCK::WEIGHTS_AT + consumer * BLOCK::COLUMN_TILE_BYTES);
}
template <class BLOCK> PTX_DEVICE ptx_smem columns_of(ptx_smem smem, int consumer) {
    return smem + (ptx_smem)(BLOCK::COLUMNS_AT + consumer * BLOCK::COLUMNS * 8);
}
template <class BLOCK> PTX_DEVICE ptx_smem tops_of(ptx_smem smem, int consumer) {
    return smem + (ptx_smem)(BLOCK::TOPS_AT + consumer * BLOCK::TOPS_BYTES);
}
PTX_DEVICE float lds_float(ptx_smem at) {
    return ptx_bits_float(ptx_lds32(at));
}
PTX_DEVICE void sts_float(ptx_smem at, float v) {
    ptx_sts32(at, ptx_float_bits(v));
}

template <class BLOCK> PTX_DEVICE void init_codes_barriers(ptx_smem smem) {
    for (int stage = 0; stage < BLOCK::N_STAGES; stage++) {
        ptx_mbar_init(smem + BLOCK::FULL_AT + stage * 8, OF_A_WARP);
        ptx_mbar_init(smem + BLOCK::EMPTY_AT + stage * 8, GROUP_WARPS * OF_A_WARP);
    }
    ptx_fence_mbar_init();
}

/* ---- the producer: one warp ------------------------------------------------------------------ */

/* A KV head of a page of e4m3. Where it begins within a cache line, each 128 bytes of a copy are of two. */
static_assert(ATTN_FP8_PLACE_BYTES % 128 == 0, "a head begins with a cache line");
template <class BLOCK>
PTX_DEVICE void fetch_codes(const void *page, int kv_head, ptx_smem smem, uint32_t slot) {
    const ptx_smem full = codes_bar<BLOCK>(smem, BLOCK::FULL_AT, slot);
    const char *from = (const char *)page + (int64_t)kv_head * ATTN_FP8_PLACE_BYTES;
    wait_until_empty<BLOCK>(codes_bar<BLOCK>(smem, BLOCK::EMPTY_AT, slot), slot);
    copy_as_warp(full, ATTN_FP8_SCALES_AT + SCALES_BYTES, [&] {
        ptx_bulk_load(codes_stage<BLOCK>(smem, slot), from, ATTN_FP8_SCALES_AT, full);
        ptx_bulk_load(smem + BLOCK::SCALES_AT + stage_of<BLOCK>(slot) * SCALES_BYTES,
                from + ATTN_FP8_SCALES_AT, SCALES_BYTES, full);
    });
}

/* Keys, then values, of an open page. */
template <class BLOCK>
PTX_DEVICE void fetch_open(const page_walk &w, int step, ptx_smem smem, uint32_t slot) {
    const char *keys = tile_of_keys(w.open_pages[step - w.n_closed], w.kv_head);
    const int n_rows = rows_of_page(w, page_of_step(step, w.n_closed, w.first_open));
    for (int i = 0; i < 2; i++)
        fetch<BLOCK>(smem, BLOCK::FULL_AT, BLOCK::EMPTY_AT, BLOCK::STAGES_AT,
                slot_on<BLOCK>(slot, i), keys + i * TILE_BYTES, n_rows);
}

template <class BLOCK> PTX_DEVICE void copy_pages(const page_walk &w, ptx_smem smem, uint32_t &slot) {
    for (int step = 0; step < w.n_closed; step++, slot = slot_after<BLOCK>(slot))
        fetch_codes<BLOCK>(w.pages[step], w.kv_head, smem, slot);
    for (int step = w.n_closed; step < w.n_steps; step++, slot = slot_on<BLOCK>(slot, 2))
        fetch_open<BLOCK>(w, step, smem, slot);
}

/* ---- queries: both consumers ------------------------------------------------------------------ */

/* Of a tile row that is there. */
PTX_DEVICE const uint16_t *query_of(const decode_params &p, const decode_tile &t, int row) {
    return query_of(p, place_of_row(p, t, row), t.kv_head);
}

/* The greatest of eight bf16 in size. */
PTX_DEVICE float greatest_size(const uint4 &x) {
    float top = 0.0f;
    const uint32_t pairs[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; i++)
        top = fmaxf(top, fmaxf(fabsf(ptx_bf16_low(pairs[i])), fabsf(ptx_bf16_high(pairs[i]))));
    return top;
}

/* Dims 8 chunk and on of a row, where step 4 u + x of 16 has dims 32 q + 16 u + 4 x + 2 i + h at 8 i + 2 q + h. */
template <class BLOCK>
PTX_DEVICE void store_query(ptx_smem queries, int row, int chunk, const uint4 &x, float by) {
    const uint32_t pairs[4] = {x.x, x.y, x.z, x.w};
    const int step = chunk / 2 % 2 * 4 + chunk % 2 * 2;
#pragma unroll
    for (int i = 0; i < 4; i++)
        ptx_sts32(queries + tile_at(row, 2 * (step + i / 2) + i % 2, BLOCK::COLUMN_HALF_BYTES) +
                          (ptx_smem)(chunk / 4 * 4),
                ptx_pack_f16(ptx_bf16_low(pairs[i]) * by, ptx_bf16_high(pairs[i]) * by));
}

/* Rows from `first` on, QUERIES_AT_ONCE of them, 16 lanes each, as f16 times 2^(141 - e), e the biased exponent of the greatest.
 * Rows past the last are 0. What else a row begins with: factors of scores, no base yet, and how many keys it sees. */
template <class BLOCK>
PTX_DEVICE void load_scaled_rows(const decode_params &p, const decode_tile &t, int first, ptx_smem smem) {
    enum { N_LOADS = QUERIES_AT_ONCE * 16 / BLOCK::CONSUMER_THREADS };
    const int chunk = (int)ptx_here((uint32_t)ptx_thread()) % 16;
    uint4 loaded[N_LOADS]; /* all on their way at once */
#pragma unroll
    for (int i = 0; i < N_LOADS; i++) {
        const int row = first + ptx_thread() / 16 + i * (BLOCK::CONSUMER_THREADS / 16);
        loaded[i] = make_uint4(0, 0, 0, 0);
        if (row < t.n_rows) loaded[i] = *((const uint4 *)query_of(p, t, row) + chunk);
    }
#pragma unroll
    for (int i = 0; i < N_LOADS; i++) {
        const int row = first + ptx_thread() / 16 + i * (BLOCK::CONSUMER_THREADS / 16);
        float top = greatest_size(loaded[i]);
#pragma unroll
        for (int lanes = 1; lanes < 16; lanes *= 2) top = fmaxf(top, ptx_shfl_xor(top, lanes));
        const uint32_t exponent = ptx_float_bits(top) >> 23;
        const uint32_t e = exponent < 95 ? 95 : exponent > 254 ? 254 : exponent;
        store_query<BLOCK>(smem + BLOCK::QUERIES_AT, row, chunk, loaded[i], ptx_bits_float((268 - e) << 23));
        if (chunk != 0) continue;
        for (int consumer = 0; consumer < CODES_TURNS; consumer++) {
            const ptx_smem at = columns_of<BLOCK>(smem, consumer) + (ptx_smem)(row * 8);
            sts_float(at, p.scale * ptx_bits_float((e - 14) << 23));
            sts_float(at + 4, CODES_NO_BASE);
        }
        ptx_sts32(smem + BLOCK::SEEN_AT + row * 4,
                (uint32_t)(t.first_seen + token_of(p, t, row)));
    }
}

/* The tile's. */
template <class BLOCK>
PTX_DEVICE void load_scaled_queries(const decode_params &p, const decode_tile &t, ptx_smem smem) {
#pragma unroll 1
    for (int first = 0; first < BLOCK::COLUMNS; first += QUERIES_AT_ONCE)
        load_scaled_rows<BLOCK>(p, t, first, smem);
    ptx_fence_async(); /* wgmma will read them */
}

/* The rows as they are, for open pages. */
template <class BLOCK>
PTX_DEVICE void load_plain_queries(const decode_params &p, const decode_tile &t, ptx_smem smem) {
    for (int i = (int)ptx_here((uint32_t)ptx_thread()); i < BLOCK::COLUMNS * 16; i += BLOCK::CONSUMER_THREADS) {
        const int row = i / 16, chunk = i % 16;
        const bool is_row = row < t.n_rows;
        const uint16_t *from = query_of(p, t, is_row ? row : 0) + chunk * CHUNK_NUMBERS;
        const ptx_smem to = smem + BLOCK::QUERIES_AT + tile_at(row, chunk, BLOCK::COLUMN_HALF_BYTES);
        ptx_cp_async(to, from, is_row ? 16 : 0);
    }
    wait_for_queries();
    ptx_fence_async();
}

#endif
