/* Decode for Hopper over pages of e4m3 (attn_fp8.h): a page's codes become operands in registers.
 *
 * Keys are the rows of S^T = K Q^T and dims those of O^T = V^T P^T, and query rows, up to 64, are columns of both: so
 * codes are operand A. A lane reads its own from shared memory, and one instruction makes two e4m3 two f16, which
 * hold every e4m3. Nothing widened is stored. Two consumer warpgroups, even and odd pages of a split, each with a
 * state of its own, which are added behind the last page: whatever a row's neighbours, its pages are the same one's,
 * in order. More than 64 rows are several tiles, whose blocks meet in L2. A page of a warpgroup:
 *
 *   K codes -> registers   of up to 32 rows beside O^T += V^T P^T of its page before
 *   S^T = K Q^T
 *   V codes -> registers   half of them, of up to 32 rows all
 *   P = 2^(S - base)       -> shared memory, f16, a query row's keys as a row   barrier of the warpgroup, which asks whether a
 *                          score has risen too far for f16: then bases rise, and P is made anew
 *   O^T += V^T P^T         queued; once all codes are in registers the stage is given back
 *
 * What f16 holds, and where powers of two go that it does not:
 *   queries   a row times a power of two, its greatest number in [2^14, 2^15): bf16 numbers down to 2^-29 of it as
 *             they are, smaller ones to 2^-40 of it, which fp32 sums do not see (of rows below 2^-32, to 2^-71)
 *   weights   up to 2^15, relative to a base, a whole number; it rises where four keys of a thread come to more, so that
 *             the greatest weight of those is 2^11, to a half either way in the exponent. To 2^-11 of themselves down to
 *             2^-25 of that score's, absolutely to 2^-36 of it below: of 4096 keys 2^-24
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
 *   full    the bytes are there      one expectation + the copies   -> the consumer whose page it is
 *   empty   its 4 warps have read    a lane of each                 -> the warp that copies
 *   told    what the next tile is    a lane of the warp that finds tiles, ahead   -> both consumers
 *   done    nobody asks any more     a lane of each of their warps  -> the warp that finds tiles
 *
 * A tile of the same rows as the block's last one, in another split, finds their queries where they were.
 *
 * A wait names a phase by its parity, which tells it from the one before to who knows that this is over: so a stage is
 * one consumer's throughout a tile. What the other had of it in tiles before is over by the barrier of both.
 *
 * For a page of 32 KiB an SM's share of an H200's memory takes 1800 cycles. At 32 and at 64 columns, rows that are not
 * there included: products 512 and 1024, shared memory 830 and 1150, a scheduler's issue slots 560 and 770,
 * exponentials 256 and 512; a consumer has 3600 for a page, of 64 columns it took 3880 on an H200, and what lies between two tiles'
 * pages 16700 (bench/SPEED.md, Attention, GPU, 38: both are said to be less now). Behind a tile's last page memory goes on until all
 * stages are full. */
#ifndef ATTN_CODES_SM90_CUH
#define ATTN_CODES_SM90_CUH

#include "attn_decode_tiles_sm90.cuh"
#include "attn_fp8.h"

enum {
    CODES_ROWS = 64, /* of a tile, at most */
    CODES_TURNS = 2, /* consumers: even and odd pages */
    SCALES_BYTES = 16,
    TILES_TOLD = 2, /* that the warp that copies has found, and the consumers have not done with */
    TOLD_BYTES = 48,
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
        /* Keys beside the products of the page before, all values beside the softmax, where there are registers for them. */
        LOADS_EARLY = N < CODES_ROWS,
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
        BASES_AT = TOPS_AT + N_CONSUMERS * TOPS_BYTES,             /* of each: bases that are new, or to be added [COLUMNS], */
        UNIT_AT = BASES_AT + N_CONSUMERS * COLUMNS * 4,            /* and the unit */
        PLACES_AT = UNIT_AT + N_CONSUMERS * 8, /* of a row: where it is stored, its ticket, fp32 1 / sum [N] */
        SEEN_AT = PLACES_AT + N * 16,          /* keys of the split that a row sees [N] */
        TILES_AT = SEEN_AT + N * 4,
        SCALES_AT = TILES_AT + TILES_TOLD * TOLD_BYTES,
        FULL_AT = SCALES_AT + N_STAGES * SCALES_BYTES,
        EMPTY_AT = FULL_AT + N_STAGES * 8,
        TOLD_AT = EMPTY_AT + N_STAGES * 8,
        DONE_AT = TOLD_AT + TILES_TOLD * 8,
        SMEM_BYTES = DONE_AT + TILES_TOLD * 8
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
/* A column's base in a consumer behind its last page, or while it rises. */
template <class BLOCK> PTX_DEVICE ptx_smem base_at(ptx_smem smem, int consumer, int column) {
    return smem + (ptx_smem)(BLOCK::BASES_AT + (consumer * BLOCK::COLUMNS + column) * 4);
}
PTX_DEVICE float lds_float(ptx_smem at) {
    return ptx_bits_float(ptx_lds32(at));
}
PTX_DEVICE void sts_float(ptx_smem at, float v) {
    ptx_sts32(at, ptx_float_bits(v));
}

/* A place for what is told, and the parity of its phase, as slots have stages: of TILES_TOLD. */
PTX_DEVICE uint32_t told_after(uint32_t told) {
    return (told + 1) % (2 * TILES_TOLD);
}
PTX_DEVICE ptx_smem told_at(ptx_smem smem, int at, int bytes, uint32_t told) {
    return smem + (ptx_smem)at + told % TILES_TOLD * (uint32_t)bytes;
}

template <class BLOCK> PTX_DEVICE void init_codes_barriers(ptx_smem smem) {
    for (int stage = 0; stage < BLOCK::N_STAGES; stage++) {
        ptx_mbar_init(smem + BLOCK::FULL_AT + stage * 8, OF_A_WARP);
        ptx_mbar_init(smem + BLOCK::EMPTY_AT + stage * 8, GROUP_WARPS * OF_A_WARP);
    }
    for (int i = 0; i < TILES_TOLD; i++) {
        ptx_mbar_init(smem + BLOCK::TOLD_AT + i * 8, OF_A_WARP);
        ptx_mbar_init(smem + BLOCK::DONE_AT + i * 8, CODES_TURNS * GROUP_WARPS * OF_A_WARP);
    }
    /* No sequence has been told of. */
    const ptx_smem last = told_at(smem, BLOCK::TILES_AT, TOLD_BYTES, TILES_TOLD - 1);
    ptx_sts128(last, make_uint4((uint32_t)-1, 0, 0, 0));
    ptx_sts128(last + 32, make_uint4(0, 0, 0, 0));
    ptx_fence_mbar_init();
}

/* ---- tiles, as one warp tells them to the consumers ------------------------------------------- */

/* Pages as page_walk's; no rows: there is no tile any more. */
struct told_tile : tile_place {
    int32_t n_splits; /* of the first sequence */
    int32_t n_rows;
    int32_t first_seen; /* as decode_tile's */
    int32_t n_closed, first_open, n_steps;
    bool is_same; /* the rows are those of the block's tile before, whose queries are as they were */
};

/* By a lane of each warp, behind what all of its lanes have done. A stage that was read the ordinary way is given back with a
 * ptx_fence_async since: a bulk copy comes over it. */
PTX_DEVICE void arrive_as_warp(ptx_smem bar) {
    ptx_syncwarp();
    if (EVERY_LANE || ptx_thread() % WARP == 0) ptx_mbar_arrive(bar);
}

template <class BLOCK> PTX_DEVICE told_tile tile_told(ptx_smem smem, uint32_t told) {
    const ptx_smem at = told_at(smem, BLOCK::TILES_AT, TOLD_BYTES, told);
    const uint4 x = ptx_lds128(at), y = ptx_lds128(at + 16), z = ptx_lds128(at + 32);
    told_tile t;
    t.first = (int32_t)x.x, t.n_seqs = (int32_t)x.y, t.row_block = (int32_t)x.z, t.kv_head = (int32_t)x.w;
    t.split = (int32_t)y.x, t.n_splits = (int32_t)y.y, t.n_rows = (int32_t)y.z, t.first_seen = (int32_t)y.w;
    t.n_closed = (int32_t)z.x, t.first_open = (int32_t)z.y, t.n_steps = (int32_t)z.z, t.is_same = z.w != 0;
    return t;
}
template <class BLOCK> PTX_DEVICE void wait_until_told(ptx_smem smem, uint32_t told) {
    ptx_mbar_wait(told_at(smem, BLOCK::TOLD_AT, 8, told), told / TILES_TOLD);
}

/* Whether a tile's rows are those of the one told before, and their queries as they were: an open page wants other ones. */
template <class BLOCK> PTX_DEVICE bool is_same_as_before(ptx_smem smem, uint32_t told, const tile_place &t) {
    const ptx_smem at = told_at(smem, BLOCK::TILES_AT, TOLD_BYTES, told + TILES_TOLD - 1);
    const uint4 rows = ptx_lds128(at), pages = ptx_lds128(at + 32);
    return (int32_t)rows.x == t.first && (int32_t)rows.y == t.n_seqs && (int32_t)rows.z == t.row_block &&
           (int32_t)rows.w == t.kv_head && pages.x == pages.z;
}

/* By the warp that tells: the consumers are done with what it has told TILES_TOLD tiles ago. Its lanes meet where it arrives. */
template <class BLOCK> PTX_DEVICE void wait_until_done(ptx_smem smem, uint32_t told) {
    ptx_mbar_wait(told_at(smem, BLOCK::DONE_AT, 8, told), told / TILES_TOLD ^ 1u);
}
template <class BLOCK> PTX_DEVICE void tell(ptx_smem smem, uint32_t told, const decode_tile &t) {
    const ptx_smem at = told_at(smem, BLOCK::TILES_AT, TOLD_BYTES, told);
    wait_until_done<BLOCK>(smem, told);
    if (ptx_thread() % WARP == 0) {
        const uint32_t is_same = is_same_as_before<BLOCK>(smem, told, t);
        ptx_sts128(at, make_uint4((uint32_t)t.first, (uint32_t)t.n_seqs, (uint32_t)t.row_block, (uint32_t)t.kv_head));
        ptx_sts128(at + 16, make_uint4((uint32_t)t.split, (uint32_t)t.n_splits, (uint32_t)t.n_rows, (uint32_t)t.first_seen));
        ptx_sts128(at + 32, make_uint4((uint32_t)t.walk.n_closed, (uint32_t)t.walk.first_open, (uint32_t)t.walk.n_steps, is_same));
    }
    arrive_as_warp(told_at(smem, BLOCK::TOLD_AT, 8, told));
}
template <class BLOCK> PTX_DEVICE void tell_the_end(ptx_smem smem, uint32_t told) {
    wait_until_done<BLOCK>(smem, told);
    if (ptx_thread() % WARP == 0) /* all of it: a block's first tile may be the end */
        for (int at = 0; at < TOLD_BYTES; at += 16)
            ptx_sts128(told_at(smem, BLOCK::TILES_AT, TOLD_BYTES, told) + (ptx_smem)at, make_uint4(0, 0, 0, 0));
    arrive_as_warp(told_at(smem, BLOCK::TOLD_AT, 8, told));
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
PTX_DEVICE const uint16_t *query_of(const decode_params &p, const tile_place &t, int row) {
    return query_of(p, place_of_row(p, t, row), t.kv_head);
}

/* Where a row is stored: of a sequence of one split its result, of others its state in the first split, counted in rows; and its ticket. */
template <class BLOCK> PTX_DEVICE void put_place(const decode_params &p, const told_tile &t, int row, ptx_smem smem) {
    const row_place place = place_of_row(p, t, row < t.n_rows ? row : 0);
    const int64_t at = t.n_splits == 1 ? token_head_of(p, place, t.kv_head) : state_of(p, place, t.kv_head, 0);
    ptx_sts128(smem + BLOCK::PLACES_AT + (ptx_smem)(row * 16),
            make_uint4((uint32_t)at, (uint32_t)((uint64_t)at >> 32), (uint32_t)ticket_of(p, place, t.kv_head), 0));
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

/* Rows from `first` on, QUERIES_AT_ONCE of them, 16 lanes each, as f16 times 2^(141 - e), e the biased exponent of the greatest;
 * factors of their scores. Rows past the last are 0. */
template <class BLOCK>
PTX_DEVICE void load_scaled_rows(const decode_params &p, const told_tile &t, int first, ptx_smem smem) {
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
        if (chunk < CODES_TURNS)
            sts_float(columns_of<BLOCK>(smem, chunk) + (ptx_smem)(row * 8), p.scale * ptx_bits_float((e - 14) << 23));
    }
}

/* The tile's. */
template <class BLOCK>
PTX_DEVICE void load_scaled_queries(const decode_params &p, const told_tile &t, ptx_smem smem) {
    ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL); /* the last tile's rows are stored */
#pragma unroll 1
    for (int first = 0; first < BLOCK::COLUMNS; first += QUERIES_AT_ONCE)
        load_scaled_rows<BLOCK>(p, t, first, smem);
    if (ptx_thread() < BLOCK::COLUMNS) put_place<BLOCK>(p, t, ptx_thread(), smem);
    ptx_fence_async(); /* wgmma will read them */
}

/* What rows begin a tile with: no base in either consumer, and how many keys they see. */
template <class BLOCK>
PTX_DEVICE void begin_rows(const decode_params &p, const told_tile &t, ptx_smem smem, int consumer) {
    const int row = (int)ptx_here((uint32_t)ptx_thread()) % GROUP;
    if (row >= BLOCK::COLUMNS) return;
    sts_float(columns_of<BLOCK>(smem, consumer) + (ptx_smem)(row * 8 + 4), CODES_NO_BASE);
    if (consumer == 0) ptx_sts32(smem + BLOCK::SEEN_AT + row * 4, (uint32_t)(t.first_seen + token_of(p, t, row)));
}

/* The rows as they are, for open pages. */
template <class BLOCK>
PTX_DEVICE void load_plain_queries(const decode_params &p, const told_tile &t, ptx_smem smem) {
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
