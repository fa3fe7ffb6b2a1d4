/* Decode for Hopper: the states of a row's splits, how they lie in scratch, and the kernel that merges them.
 *
 * A launch of its own behind the one that makes them, for a block that merged would be late for all of its other
 * tiles. A block has a row at a time, a warp eight splits of each 64, a lane four dims: split 64 c + 8 w + i is child
 * i of step c of warp w, whatever the row and however many splits there are, and who has none adds an exact 0. So a
 * row's bits depend on no other row. */
#ifndef ATTN_MERGE_SM90_CUH
#define ATTN_MERGE_SM90_CUH

#include "ptx_sm90.cuh"

#include "attn_decode_tiles.cuh"

#include <math.h>

enum {
    MERGE_WARPS = 8,
    MERGE_CHILDREN = 8,
    MERGE_STEP = MERGE_WARPS * MERGE_CHILDREN, /* splits */
    /* Launched while the states are made, so that its beginning is not behind their end. */
    MERGE_IS_EARLY = true,
    MERGE_OUT_BYTES = MERGE_WARPS * HEAD_DIM * 4,
    MERGE_SMEM_BYTES = MERGE_OUT_BYTES + MERGE_WARPS * 2 * 4
};

/* A row's state, `out` of four of its dims. */
struct merged_row {
    float max;
    float sum;
    float4 out;
};

/* What a state counts beside others: nothing where it has seen no key, and where none has. NaN stays what it is: it has no
 * maximum either. */
PTX_DEVICE float weight_of(float max, float most) {
    return most == -INFINITY ? 0.0f : ptx_exp2(max - most); /* (-inf) - (-inf) is NaN */
}

PTX_DEVICE float inverse_of(float sum) {
    return sum > 0.0f ? 1.0f / sum : 0.0f;
}

PTX_DEVICE void store_lse(const decode_params &p, int64_t place, float max, float sum) {
    if (p.a.lse) p.a.lse[place] = (max + ptx_log2(sum)) * 0.6931471805599453f;
}

/* The first n children's states, in order. */
PTX_DEVICE merged_row merge_states(const float (&max)[MERGE_CHILDREN],
        const float (&sum)[MERGE_CHILDREN], const float4 (&out)[MERGE_CHILDREN], int n) {
    merged_row m = {-INFINITY, 0.0f, {0.0f, 0.0f, 0.0f, 0.0f}};
#pragma unroll
    for (int i = 0; i < MERGE_CHILDREN; i++)
        if (i < n) m.max = fmaxf(m.max, max[i]);
#pragma unroll
    for (int i = 0; i < MERGE_CHILDREN; i++) {
        if (i >= n) continue;
        const float weight = weight_of(max[i], m.max);
        m.sum = fmaf(weight, sum[i], m.sum);
        m.out = make_float4(fmaf(weight, out[i].x, m.out.x), fmaf(weight, out[i].y, m.out.y),
                fmaf(weight, out[i].z, m.out.z), fmaf(weight, out[i].w, m.out.w));
    }
    return m;
}

/* The states of n splits, `first` the first one's row in scratch; all loads are in flight at once. */
PTX_DEVICE merged_row merge_splits(const decode_params &p, int64_t first, int n, int dim) {
    float max[MERGE_CHILDREN], sum[MERGE_CHILDREN];
    float4 out[MERGE_CHILDREN];
#pragma unroll
    for (int i = 0; i < MERGE_CHILDREN; i++) {
        const int64_t at = first + (int64_t)i * p.n_block_rows;
        if (i >= n) continue;
        max[i] = ptx_load_shared_float(p.part_max + at);
        sum[i] = ptx_load_shared_float(p.part_sum + at);
        out[i] = ptx_load_shared_float4(p.part_out + at * HEAD_DIM + dim);
    }
    return merge_states(max, sum, out, n);
}

/* m goes on by what comes behind it. */
PTX_DEVICE void merge_on(merged_row &m, const merged_row &next) {
    const float max = fmaxf(m.max, next.max);
    const float before = weight_of(m.max, max), weight = weight_of(next.max, max);
    m.max = max;
    m.sum = fmaf(weight, next.sum, ptx_mul(m.sum, before));
    m.out = make_float4(fmaf(weight, next.out.x, ptx_mul(m.out.x, before)),
            fmaf(weight, next.out.y, ptx_mul(m.out.y, before)),
            fmaf(weight, next.out.z, ptx_mul(m.out.z, before)),
            fmaf(weight, next.out.w, ptx_mul(m.out.w, before)));
}

/* A warp's share of the splits, `row` the first one's row in scratch -> shared memory. */
PTX_DEVICE void merge_share(const decode_params &p, int64_t row, int n_splits, ptx_smem smem) {
    const int warp = ptx_thread() / WARP, lane = ptx_thread() % WARP;
    merged_row m = {-INFINITY, 0.0f, {0.0f, 0.0f, 0.0f, 0.0f}};
#pragma unroll 1
    for (int split = warp * MERGE_CHILDREN; split < n_splits; split += MERGE_STEP) {
        const int left = n_splits - split;
        merge_on(m, merge_splits(p, row + (int64_t)split * p.n_block_rows,
                            left < MERGE_CHILDREN ? left : MERGE_CHILDREN, lane * 4));
    }
    ptx_sts128(smem + (ptx_smem)((warp * WARP + lane) * 16),
            make_uint4(ptx_float_bits(m.out.x), ptx_float_bits(m.out.y), ptx_float_bits(m.out.z),
                    ptx_float_bits(m.out.w)));
    if (lane != 0) return;
    ptx_sts32(smem + (ptx_smem)(MERGE_OUT_BYTES + warp * 8), ptx_float_bits(m.max));
    ptx_sts32(smem + (ptx_smem)(MERGE_OUT_BYTES + warp * 8 + 4), ptx_float_bits(m.sum));
}

/* The warps' shares. */
PTX_DEVICE merged_row merge_shares(ptx_smem smem, int lane) {
    float max[MERGE_WARPS], sum[MERGE_WARPS];
    float4 out[MERGE_WARPS];
    static_assert(MERGE_WARPS == MERGE_CHILDREN, "shares are merged as splits are");
#pragma unroll
    for (int i = 0; i < MERGE_WARPS; i++) {
        max[i] = ptx_bits_float(ptx_lds32(smem + (ptx_smem)(MERGE_OUT_BYTES + i * 8)));
        sum[i] = ptx_bits_float(ptx_lds32(smem + (ptx_smem)(MERGE_OUT_BYTES + i * 8 + 4)));
        const uint4 v = ptx_lds128(smem + (ptx_smem)((i * WARP + lane) * 16));
        out[i] = make_float4(
                ptx_bits_float(v.x), ptx_bits_float(v.y), ptx_bits_float(v.z), ptx_bits_float(v.w));
    }
    return merge_states(max, sum, out, MERGE_WARPS);
}

/* Four dims of a result. */
PTX_DEVICE void store_row(const decode_params &p, int64_t place, int lane, const merged_row &m) {
    const float inverse = inverse_of(m.sum);
    uint32_t *to = (uint32_t *)(p.a.attended + place * HEAD_DIM + lane * 4);
    to[0] = ptx_pack_bf16(m.out.x * inverse, m.out.y * inverse);
    to[1] = ptx_pack_bf16(m.out.z * inverse, m.out.w * inverse);
    if (lane == 0) store_lse(p, place, m.max, m.sum);
}

/* Rows of sequences of several splits, all of which are stored; their tickets are then 0 again, for the next step. */
static __global__ void __launch_bounds__(MERGE_WARPS *WARP, 3)
        attn_decode_merge_kernel(const decode_params p) {
    const ptx_smem smem = ptx_smem_base();
    const int64_t n_rows = (int64_t)p.a.n_seqs * p.n_kv_heads * p.n_rows;
    ptx_wait_for_kernels();
    for (int64_t at = ptx_block_x(); at < n_rows; at += p.n_merge_blocks) {
        const int row = (int)(at % p.n_rows);
        const int64_t head = at / p.n_rows;
        const int seq = (int)(head / p.n_kv_heads);
        const uint32_t n_stored = p.tickets[at];
        const int n_splits = splits_of_length(p.a.lengths[seq]);
        if (n_splits <= 1 || n_stored != (uint32_t)n_splits) continue;
        const row_place place = {seq, row};
        const int kv_head = (int)(head % p.n_kv_heads);
        merge_share(p, state_of(p, place, kv_head, 0), n_splits, smem);
        ptx_syncthreads();
        if (ptx_thread() == 0) p.tickets[at] = 0;
        if (ptx_thread() < WARP)
            store_row(p, token_head_of(p, place, kv_head), ptx_thread(),
                    merge_shares(smem, ptx_thread()));
        ptx_syncthreads();
    }
}

#endif
