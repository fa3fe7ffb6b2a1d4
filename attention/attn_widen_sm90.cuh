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
 * A page and warp: 16 loads of 16 bytes a lane, 5 operations for two numbers, stores of 16 bytes (keys) and of 4
 * (values, which lie dim by dim and become rows): 830 issue slots, and no two lanes on one bank. One warp has a
 * scheduler of the SM to itself, and what a load or an operation takes to give its result is not hidden by another:
 * so all loads of a unit come first. */
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
template <class BLOCK> PTX_DEVICE void copy_units(const page_walk &w, ptx_smem smem, uint32_t &slot) {
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

PTX_DEVICE int widener() {
    return ptx_thread() / WARP % N_WIDENERS;
}

/* A unit's codes, 128 a lane; as they are widened. */
enum { LANE_LOADS = UNIT_BYTES / (N_WIDENERS * WARP) / 16 };
typedef uint4 lane_codes[LANE_LOADS];

/* Keys: a lane has the same row of each 8 of its warp's 32, and 16 codes of either half of it. */
PTX_DEVICE int key_row() {
    return widener() * WARP + ptx_thread() % 8;
}
PTX_DEVICE int key_chunk() {
    return ptx_thread() % WARP / 8;
}
PTX_DEVICE void load_keys(ptx_smem from, lane_codes &codes) {
#pragma unroll
    for (int i = 0; i < LANE_LOADS; i++)
        codes[i] = ptx_lds128(from + tile_chunk(key_row() + i / 2 * 8, key_chunk() + i % 2 * 4));
}

template <bool IS_LARGE>
PTX_DEVICE void widen_keys(const lane_codes &codes, ptx_smem tile, const widen_factors &by) {
#pragma unroll
    for (int i = 0; i < LANE_LOADS; i++) {
        const uint4 x = codes[i];
        const int row = key_row() + i / 2 * 8;
        const ptx_smem to = tile + (ptx_smem)(i % 2 * TILE_HALF_BYTES);
        ptx_sts128(to + tile_chunk(row, 2 * key_chunk()),
                make_uint4(widen_low<IS_LARGE>(x.x, by), widen_high<IS_LARGE>(x.x, by),
                        widen_low<IS_LARGE>(x.y, by), widen_high<IS_LARGE>(x.y, by)));
        ptx_sts128(to + tile_chunk(row, 2 * key_chunk() + 1),
                make_uint4(widen_low<IS_LARGE>(x.z, by), widen_high<IS_LARGE>(x.z, by),
                        widen_low<IS_LARGE>(x.w, by), widen_high<IS_LARGE>(x.w, by)));
    }
}

/* Values: a warp has 64 tokens of a half of the dims; a lane two dims of them, 16 tokens at a time, of which it reads
 * the odd one first in every other quad: so eight lanes are on all banks. */
PTX_DEVICE uint32_t is_odd_first() {
    return (uint32_t)ptx_thread() / 4 % 2;
}
PTX_DEVICE int value_token() {
    return widener() / 2 * 64;
}
PTX_DEVICE void load_values(ptx_smem from, lane_codes &codes) {
    const int dim = widener() % 2 * 64 + ptx_thread() % WARP * 2;
    const ptx_smem at = from + (ptx_smem)(value_token() * HEAD_DIM + dim * 16);
#pragma unroll
    for (int i = 0; i < LANE_LOADS; i++)
        codes[i] = ptx_lds128(at + (ptx_smem)(i / 2 * 16 * HEAD_DIM) +
                              (i % 2 ? 16 - is_odd_first() * 16 : is_odd_first() * 16));
}

template <bool IS_LARGE>
PTX_DEVICE void widen_values(const lane_codes &codes, ptx_smem tile, const widen_factors &by) {
    const int lane = ptx_thread() % WARP;
    /* Token 0's codes into bytes 1 and 3; token i: + i 0x1010. */
    const uint32_t both = is_odd_first() ? 0x0040u : 0x4000u;
    const ptx_smem to = tile + (ptx_smem)(widener() % 2 * TILE_HALF_BYTES + lane % 4 * 4);
#pragma unroll
    for (int i = 0; i < LANE_LOADS / 2; i++) {
        const uint4 x = codes[2 * i], y = codes[2 * i + 1];
        const uint32_t words[4][2] = {{x.x, y.x}, {x.y, y.y}, {x.z, y.z}, {x.w, y.w}};
#pragma unroll
        for (int t = 0; t < 16; t++)
            ptx_sts32(to + tile_chunk(value_token() + 16 * i + t, lane / 4),
                    widen<IS_LARGE>(ptx_bytes(words[t / 4][0], words[t / 4][1],
                                            both + (uint32_t)(t % 4) * 0x1010u),
                            by));
    }
}

template <bool IS_LARGE>
PTX_DEVICE void widen_codes(
        const lane_codes &codes, ptx_smem tile, const widen_factors &by, bool is_values) {
    if (is_values)
        widen_values<IS_LARGE>(codes, tile, by);
    else
        widen_keys<IS_LARGE>(codes, tile, by);
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
    lane_codes codes;
    ptx_mbar_wait(smem + BLOCK::UNIT_FULL_AT + unit * 8, parity_of<unit_ring<BLOCK>>(unit_slot));
    const widen_factors by = factors_of(ptx_bits_float(ptx_lds32(
            smem + BLOCK::SCALES_AT + unit * SCALES_BYTES + (is_values ? 4u : 0u))));
    if (is_values)
        load_values(from, codes);
    else
        load_keys(from, codes);
    ptx_syncwarp();
    if (ptx_thread() % WARP == 0) ptx_mbar_arrive(smem + BLOCK::UNIT_EMPTY_AT + unit * 8);
    ptx_mbar_wait(empty, parity_of<BLOCK>(slot) ^ 1u);
    if (by.second == 0x3f803f80u)
        widen_codes<false>(codes, tile, by, is_values);
    else
        widen_codes<true>(codes, tile, by, is_values);
    ptx_fence_async(); /* wgmma will read what was stored the ordinary way */
    ptx_syncwarp();
    if (ptx_thread() % WARP != 0) return;
    ptx_mbar_arrive(smem + (ptx_smem)(is_values ? BLOCK::FULL_V_AT : BLOCK::FULL_K_AT) + stage * 8);
}

#endif
