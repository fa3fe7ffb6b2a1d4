/* Pages of e4m3 (attn_fp8.h) become the bf16 tiles that wgmma reads, in shared memory.
 *
 * Codes come by bulk copies of one thread, the keys or the values of a page a unit of 16 KiB, into a ring of their
 * own. A warpgroup widens them into the stages that bf16 pages would come to, a number times the page's scale, a
 * power of two: exactly. So the consumers' loop is that of bf16 pages, and so are the bits. Beside one consumer, one
 * warpgroup has the keys and another the values; beside two, registers do for one that has both.
 *
 *   full of a unit    the bytes are there      one expectation + the copies     -> the warps that widen
 *   empty of a unit   4 warps have read        a lane of each                   -> the thread that copies
 *   full of a stage   4 warps have written     a lane of each, behind a fence   -> consumers
 *
 * Keys lie row by row and values dim by dim, 16 tokens of a dim side by side: so here the tile of values is one of
 * dims, K-major as that of keys, and both are widened alike, a row a lane, 16 bytes at a time and no two lanes on one
 * bank. Values of an open page, bf16 rows of tokens, are turned into that.
 *
 * A unit and warp: 8 loads of 16 bytes a lane, 5 operations for two numbers, 16 stores of 16 bytes: 350 issue slots. One
 * warp has little beside it on its scheduler, and what a load or an operation takes to give its result is hardly
 * hidden: so all loads of a unit come first. */
#ifndef ATTN_WIDEN_SM90_CUH
#define ATTN_WIDEN_SM90_CUH

#include "attn_fp8.h"
#include "attn_sm90.cuh"

enum {
    UNIT_BYTES = ATTN_FP8_TILE_BYTES,
    SCALES_BYTES = 16,
    N_WIDENERS = 4 /* warps of a warpgroup */
};

/* Consumers, then warpgroups that widen, then one of which a thread copies units. Shared memory behind the stages:
 * units, their scales and barriers. */
template <int CONSUMERS> struct widened_block : sm90_block<CONSUMERS, 2, N_WIDENERS, true> {
    typedef sm90_block<CONSUMERS, 2, N_WIDENERS, true> base;
    enum {
        N_WIDENER_GROUPS = CONSUMERS == 1 ? 2 : 1,
        N_UNITS = CONSUMERS == 1 ? 5 : 4,
        COPIER = base::CONSUMER_THREADS + N_WIDENER_GROUPS * GROUP,
        THREADS = COPIER + GROUP,

        UNITS_AT = base::END_AT,
        SCALES_AT = UNITS_AT + N_UNITS * UNIT_BYTES,
        UNIT_FULL_AT = SCALES_AT + N_UNITS * SCALES_BYTES,
        UNIT_EMPTY_AT = UNIT_FULL_AT + N_UNITS * 8,
        END_AT = UNIT_EMPTY_AT + N_UNITS * 8
    };
    static_assert(UNITS_AT % 16 == 0, "copies are of 16 bytes");
};

/* A unit's slot is as a stage's. */
template <class BLOCK> struct unit_ring {
    enum { N_STAGES = BLOCK::N_UNITS };
};

/* As init_barriers, before it. */
template <class BLOCK> PTX_DEVICE void init_unit_barriers(ptx_smem smem) {
    for (int i = 0; i < BLOCK::N_UNITS; i++) {
        ptx_mbar_init(smem + BLOCK::UNIT_FULL_AT + i * 8, 1);
        ptx_mbar_init(smem + BLOCK::UNIT_EMPTY_AT + i * 8, N_WIDENERS);
    }
}

/* One thread: keys or values of a head of a page into a unit, and its scales. */
template <class BLOCK>
PTX_DEVICE void copy_unit(ptx_smem smem, uint32_t slot, const char *head, bool is_values) {
    const uint32_t unit = stage_of<unit_ring<BLOCK>>(slot);
    const ptx_smem full = smem + BLOCK::UNIT_FULL_AT + unit * 8;
    ptx_mbar_wait(smem + BLOCK::UNIT_EMPTY_AT + unit * 8, parity_of<unit_ring<BLOCK>>(slot) ^ 1u);
    ptx_mbar_arrive_expect(full, UNIT_BYTES + SCALES_BYTES);
    ptx_bulk_load(smem + BLOCK::UNITS_AT + unit * UNIT_BYTES,
            head + (is_values ? ATTN_FP8_TILE_BYTES : 0), UNIT_BYTES, full);
    ptx_bulk_load(smem + BLOCK::SCALES_AT + unit * SCALES_BYTES, head + ATTN_FP8_SCALES_AT,
            SCALES_BYTES, full);
}

/* The pages of a walk before the open ones, keys and values by turns, from `slot` on. */
template <class BLOCK>
PTX_DEVICE void copy_units(const page_walk &w, ptx_smem smem, uint32_t &slot) {
    for (int step = 0; step < w.n_closed; step++) {
        const char *head = (const char *)w.pages[step] + (int64_t)w.kv_head * ATTN_FP8_HEAD_BYTES;
        for (int i = 0; i < 2; i++) {
            copy_unit<BLOCK>(smem, slot, head, i != 0);
            slot = slot_after<unit_ring<BLOCK>>(slot);
        }
    }
}

/* ---- widening: four warps -------------------------------------------------------------------- */

/* What codes are multiplied with, besides 2^-120: two bf16 each. The second is 1 for all but enormous scales. */
struct widen_factors {
    uint32_t first;
    uint32_t second;
};

PTX_DEVICE widen_factors factors_of(float scale) {
    const bool is_large = scale > 128.0f; /* of NaN not, and the first is NaN */
    const float first = (is_large ? 128.0f : scale) * 0x1p120f;
    const float second = is_large ? scale * 0x1p-7f : 1.0f;
    return {ptx_pack_bf16(first, first), ptx_pack_bf16(second, second)};
}

template <bool IS_LARGE> PTX_DEVICE uint32_t widen(uint32_t codes, const widen_factors &by) {
    const uint32_t numbers = ptx_e4m3_times(codes, by.first);
    return IS_LARGE ? ptx_mul_bf16(numbers, by.second) : numbers;
}

template <bool IS_LARGE> PTX_DEVICE uint32_t widen_low(uint32_t codes, const widen_factors &by) {
    return widen<IS_LARGE>(ptx_bytes(codes, codes, 0x1000), by);
}
template <bool IS_LARGE> PTX_DEVICE uint32_t widen_high(uint32_t codes, const widen_factors &by) {
    return widen<IS_LARGE>(ptx_bytes(codes, codes, 0x3020), by);
}

/* Of a unit, the codes of a lane's row (token or dim) of 128; as they are widened. */
enum { ROW_LOADS = HEAD_DIM / 16 };
typedef uint4 row_codes[ROW_LOADS];
static_assert(N_WIDENERS * WARP == HEAD_DIM && PAGE == HEAD_DIM, "a row a lane");

PTX_DEVICE int widened_row() {
    return ptx_thread() % GROUP;
}

PTX_DEVICE void load_codes(ptx_smem from, bool is_values, row_codes &codes) {
    const int row = widened_row();
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++)
        codes[i] = ptx_lds128(
                from + (is_values ? (ptx_smem)(i * 16 * HEAD_DIM + row * 16) : tile_chunk(row, i)));
}

template <bool IS_LARGE>
PTX_DEVICE void widen_row(const row_codes &codes, ptx_smem tile, const widen_factors &by) {
    const int row = widened_row();
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++) {
        const uint4 x = codes[i];
        ptx_sts128(tile + tile_at(row, 2 * i, TILE_HALF_BYTES),
                make_uint4(widen_low<IS_LARGE>(x.x, by), widen_high<IS_LARGE>(x.x, by),
                        widen_low<IS_LARGE>(x.y, by), widen_high<IS_LARGE>(x.y, by)));
        ptx_sts128(tile + tile_at(row, 2 * i + 1, TILE_HALF_BYTES),
                make_uint4(widen_low<IS_LARGE>(x.z, by), widen_high<IS_LARGE>(x.z, by),
                        widen_low<IS_LARGE>(x.w, by), widen_high<IS_LARGE>(x.w, by)));
    }
}

/* This warp has written its rows of a stage, which wgmma will read. */
PTX_DEVICE void warp_has_written(ptx_smem full) {
    ptx_fence_async();
    ptx_syncwarp();
    if (ptx_thread() % WARP == 0) ptx_mbar_arrive(full);
}

/* A unit into the stage of `slot`. It is free again as soon as its codes are in registers. */
template <class BLOCK>
PTX_DEVICE void widen_unit(ptx_smem smem, uint32_t unit_slot, uint32_t slot, bool is_values) {
    const uint32_t unit = stage_of<unit_ring<BLOCK>>(unit_slot), stage = stage_of<BLOCK>(slot);
    const ptx_smem from = smem + BLOCK::UNITS_AT + unit * UNIT_BYTES;
    const ptx_smem tile =
            smem + (ptx_smem)(is_values ? BLOCK::V_AT : BLOCK::K_AT) + stage * TILE_BYTES;
    const ptx_smem empty =
            smem + (ptx_smem)(is_values ? BLOCK::EMPTY_V_AT : BLOCK::EMPTY_K_AT) + stage * 8;
    row_codes codes;
    ptx_mbar_wait(smem + BLOCK::UNIT_FULL_AT + unit * 8, parity_of<unit_ring<BLOCK>>(unit_slot));
    const widen_factors by = factors_of(ptx_bits_float(
            ptx_lds32(smem + BLOCK::SCALES_AT + unit * SCALES_BYTES + (is_values ? 4u : 0u))));
    load_codes(from, is_values, codes);
    ptx_syncwarp();
    if (ptx_thread() % WARP == 0) ptx_mbar_arrive(smem + BLOCK::UNIT_EMPTY_AT + unit * 8);
    ptx_mbar_wait(empty, parity_of<BLOCK>(slot) ^ 1u);
    if (by.second == 0x3f803f80u)
        widen_row<false>(codes, tile, by);
    else
        widen_row<true>(codes, tile, by);
    warp_has_written(
            smem + (ptx_smem)(is_values ? BLOCK::FULL_V_AT : BLOCK::FULL_K_AT) + stage * 8);
}

/* The number of a token and a dim of a bf16 tile in global memory; of tokens past the first n, 0. */
PTX_DEVICE uint32_t number_of(const char *tile, int token, int dim, int n) {
    if (token >= n) return 0;
    return *(const uint16_t *)(tile + tile_at(token, dim / CHUNK_NUMBERS, TILE_HALF_BYTES) +
                               dim % CHUNK_NUMBERS * 2);
}

/* The values of a bf16 page of a walk into the stage of `slot`, its rows dims. */
template <class BLOCK>
PTX_DEVICE void turn_values(
        const page_walk &w, const void *from, int page, ptx_smem smem, uint32_t slot) {
    const uint32_t stage = stage_of<BLOCK>(slot);
    const char *values = tile_of_keys(from, w.kv_head) + TILE_BYTES;
    const ptx_smem tile = smem + (ptx_smem)BLOCK::V_AT + stage * TILE_BYTES;
    const int n_rows = rows_of_page(w, page), dim = widened_row();
    ptx_mbar_wait(smem + BLOCK::EMPTY_V_AT + stage * 8, parity_of<BLOCK>(slot) ^ 1u);
#pragma unroll 1
    for (int chunk = 0; chunk < PAGE / CHUNK_NUMBERS; chunk++) {
        uint32_t pairs[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int token = chunk * CHUNK_NUMBERS + 2 * i;
            pairs[i] = number_of(values, token, dim, n_rows) |
                       number_of(values, token + 1, dim, n_rows) << 16;
        }
        ptx_sts128(tile + tile_at(dim, chunk, TILE_HALF_BYTES),
                make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]));
    }
    warp_has_written(smem + BLOCK::FULL_V_AT + stage * 8);
}

#endif
