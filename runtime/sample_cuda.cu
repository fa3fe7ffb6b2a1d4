/* Choosing the next token on a GPU: as glm_sample does, without sorting.
 *
 * A candidate's rank is a 52-bit number: its logit's bits so that they order as logits do, then its
 * id, the lower the better. What sorting is for, the rank at which weights added up in descending
 * order pass a number, is found digit by digit: 13 passes over the row, each of which settles 4
 * bits. top_k and min_p are that search with weights of 1, top_p one with the softmax weights, the draw
 * another. Sums have one fixed order, so the choice is the same every time.
 *
 * One block a row, 1 to 44 passes over it; a row of 151552 logits is 592 KiB, in L2. */
#include "attention/ptx.cuh"

#include "ops_cuda.h"

#include <float.h>
#include <math.h>

namespace {

enum {
    THREADS = 512,
    WARP = 32,
    N_WARPS = THREADS / WARP,
    ID_BITS = 20,
    RANK_BITS = 32 + ID_BITS,
    DIGIT_BITS = 4,
    N_DIGITS = 1 << DIGIT_BITS,
    SMEM_BYTES = N_WARPS * N_DIGITS * 4
};

struct row_view {
    const float *logits;
    int n;
    float max;
    float scale;         /* log2(e) / temperature, but finite: 0 times infinity is NaN */
    uint64_t worst_rank; /* of the candidates */
};

PTX_DEVICE uint64_t rank_of(float logit, int id) {
    const uint32_t bits = ptx_float_bits(logit + 0.0f); /* -0 is 0 */
    const uint32_t key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)key << ID_BITS | (uint64_t)((1 << ID_BITS) - 1 - id);
}

PTX_DEVICE int id_of(uint64_t rank) {
    return (1 << ID_BITS) - 1 - (int)(rank & ((1 << ID_BITS) - 1));
}

PTX_DEVICE float weight_of(const row_view &row, float logit, bool is_count) {
    return is_count ? 1.0f : ptx_exp2((logit - row.max) * row.scale);
}

/* A warp's sums are added to v, four at a time where they are many. */
PTX_DEVICE void add_sums(float (&v)[1], ptx_smem at) {
    v[0] += ptx_bits_float(ptx_lds32(at));
}
template <int N> PTX_DEVICE void add_sums(float (&v)[N], ptx_smem at) {
    static_assert(N % 4 == 0, "whole 16 bytes");
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        const uint4 sums = ptx_lds128(at + (ptx_smem)(i * 4));
        v[i] += ptx_bits_float(sums.x);
        v[i + 1] += ptx_bits_float(sums.y);
        v[i + 2] += ptx_bits_float(sums.z);
        v[i + 3] += ptx_bits_float(sums.w);
    }
}

/* v[i] summed over the block, for all i; every thread gets all of them. */
template <int N> PTX_DEVICE void sum_of_block(float (&v)[N], ptx_smem smem) {
    ptx_syncthreads(); /* whoever used the shared memory before has read it */
    for (int i = 0; i < N; i++) {
        for (int step = 1; step < WARP; step *= 2) v[i] += ptx_shfl_xor(v[i], step);
        if (ptx_thread() % WARP == 0)
            ptx_sts32(smem + (ptx_smem)((ptx_thread() / WARP * N + i) * 4), ptx_float_bits(v[i]));
    }
    ptx_syncthreads();
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = 0.0f;
    for (int warp = 0; warp < N_WARPS; warp++) add_sums(v, smem + (ptx_smem)(warp * N * 4));
}

/* Of all candidates. */
PTX_DEVICE float sum_of_weights(const row_view &row, ptx_smem smem) {
    float sum[1] = {0.0f};
    for (int id = ptx_thread(); id < row.n; id += THREADS)
        if (rank_of(row.logits[id], id) >= row.worst_rank)
            sum[0] += weight_of(row, row.logits[id], false);
    sum_of_block(sum, smem);
    return sum[0];
}

/* The best rank from which on the weights are at least `wanted` (is_strict: more); the worst
 * candidate's where all are not. */
PTX_DEVICE uint64_t search(
        const row_view &row, float wanted, bool is_strict, bool is_count, ptx_smem smem) {
    uint64_t found = 0;
    for (int shift = RANK_BITS - DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        float sums[N_DIGITS]; /* [d]: ranks >= found + (d << shift) */
        for (int d = 0; d < N_DIGITS; d++) sums[d] = 0.0f;
        for (int id = ptx_thread(); id < row.n; id += THREADS) {
            const uint64_t rank = rank_of(row.logits[id], id);
            if (rank < found || rank < row.worst_rank) continue;
            const float weight = weight_of(row, row.logits[id], is_count);
            const uint64_t above = (rank - found) >> shift;
#pragma unroll
            for (int d = 0; d < N_DIGITS; d++)
                if (above >= (uint64_t)d) sums[d] += weight;
        }
        sum_of_block(sums, smem);
        int digit = 0;
#pragma unroll
        for (int d = 1; d < N_DIGITS; d++)
            if (is_strict ? sums[d] > wanted : sums[d] >= wanted) digit = d;
        found += (uint64_t)digit << shift;
    }
    return found > row.worst_rank ? found : row.worst_rank;
}

/* How many of the best top_k and min_p leave; a float holds each number of ids. */
PTX_DEVICE float number_kept(const row_view &row, const glm_cuda_draw &draw, ptx_smem smem) {
    const float n_most = draw.top_k > 0 && draw.top_k < row.n ? (float)draw.top_k : (float)row.n;
    const float least = row.max + draw.margin;
    float n_likely[1] = {0.0f};
    if (draw.margin == -INFINITY) return n_most;
    for (int id = ptx_thread(); id < row.n; id += THREADS)
        if (row.logits[id] >= least) n_likely[0] += 1.0f;
    sum_of_block(n_likely, smem);
    return fminf(n_most, n_likely[0]);
}

PTX_DEVICE uint64_t better(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

PTX_DEVICE uint64_t shuffle(uint64_t v, int lane_mask) {
    const float high = ptx_shfl_xor(ptx_bits_float((uint32_t)(v >> 32)), lane_mask);
    const float low = ptx_shfl_xor(ptx_bits_float((uint32_t)v), lane_mask);
    return (uint64_t)ptx_float_bits(high) << 32 | ptx_float_bits(low);
}

/* Best and worst rank of the row; 0 where a logit is not finite. */
PTX_DEVICE uint64_t best_of_row(row_view &row, ptx_smem smem) {
    uint64_t best = 0, worst = ~(uint64_t)0;
    float bad[1] = {0.0f};
    for (int id = ptx_thread(); id < row.n; id += THREADS) {
        const float logit = row.logits[id];
        if (!(fabsf(logit) < INFINITY)) bad[0] = 1.0f;
        best = better(best, rank_of(logit, id));
        worst = ~better(~worst, ~rank_of(logit, id));
    }
    for (int step = 1; step < WARP; step *= 2) {
        best = better(best, shuffle(best, step));
        worst = ~better(~worst, shuffle(~worst, step));
    }
    sum_of_block(bad, smem);
    ptx_syncthreads();
    if (ptx_thread() % WARP == 0)
        ptx_sts128(smem + (ptx_smem)(ptx_thread() / WARP * 16),
                make_uint4((uint32_t)best, (uint32_t)(best >> 32), (uint32_t)worst,
                        (uint32_t)(worst >> 32)));
    ptx_syncthreads();
    for (int warp = 0; warp < N_WARPS; warp++) {
        const uint4 v = ptx_lds128(smem + (ptx_smem)(warp * 16));
        best = better(best, (uint64_t)v.y << 32 | v.x);
        worst = ~better(~worst, ~((uint64_t)v.w << 32 | v.z));
    }
    row.worst_rank = worst;
    return bad[0] > 0.0f ? 0 : best;
}

static __global__ void __launch_bounds__(THREADS) glm_sample_kernel(const glm_cuda_sample_args p) {
    const ptx_smem smem = ptx_smem_base();
    const int64_t r = ptx_block_x();
    const glm_cuda_draw draw = p.draws[r];
    row_view row = {p.logits + r * p.stride, draw.n_valid, 0.0f, 0.0f, 0};
    if (draw.n_valid == 0) return;
    uint64_t choice = best_of_row(row, smem);
    const bool is_finite = choice != 0;
    if (is_finite && draw.temperature > 0.0f) {
        row.max = row.logits[id_of(choice)];
        row.scale = fminf(1.4426950408889634f / draw.temperature, FLT_MAX);
        const float n_kept = number_kept(row, draw, smem);
        if (n_kept < (float)row.n) row.worst_rank = search(row, n_kept, false, true, smem);
        if (draw.top_p < 1.0f) /* of 0 the best is left */
            row.worst_rank = search(row, fmaxf(draw.top_p * sum_of_weights(row, smem), FLT_MIN),
                    false, false, smem);
        choice = search(row, draw.at * sum_of_weights(row, smem), true, false, smem);
    }
    if (ptx_thread() == 0) p.ids[r] = is_finite ? id_of(choice) : -1;
}

} // namespace

rt_status glm_cuda_sample(const glm_cuda_sample_args *args, rt_stream stream) {
    if (args->n == 0) return RT_OK;
    const char *why =
            ptx_launch(glm_sample_kernel, {args->n, 1, THREADS, SMEM_BYTES}, stream, *args);
    if (why) return rt_fail(RT_EDEVICE, "sampling of %lld rows: %s", (long long)args->n, why);
    return RT_OK;
}
