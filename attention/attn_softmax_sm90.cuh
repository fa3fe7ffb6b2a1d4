/* Scores of a page -> weights, in the registers that wgmma leaves them in: masks, maxima or ceilings, exponentials, sums. */
#ifndef ATTN_SOFTMAX_SM90_CUH
#define ATTN_SOFTMAX_SM90_CUH

#include "attn_block_sm90.cuh"

#include <float.h>
#include <math.h>

/* What a thread's rows h = 0, 1 see: that many keys from the walk's first on. */
struct row_limits {
    int seen[2];
    int least; /* of the warpgroup's rows */
};
PTX_DEVICE int seen_by(const row_limits &limits, int h) {
    return limits.seen[h];
}

/* A thread's rows g and g + 8 of its warp's 16: h = 0, 1; columns 8j + 2q, + 1 at out[4j + 2h], +
 * 1. */
struct row_state {
    float max[2];
    float sum[2];
    float out[64];
};

PTX_DEVICE void clear_state(row_state &state) {
#pragma unroll
    for (int i = 0; i < 64; i++) state.out[i] = 0.0f;
    state.max[0] = state.max[1] = -INFINITY;
    state.sum[0] = state.sum[1] = 0.0f;
}

typedef uint32_t packed_weights[KEYS / 16][4];

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

/* Maxima of the thread's two rows, from what they were; is_risen: not the same for some row of the warp. */
struct row_rise {
    float from[2];
    bool is_risen;
};

/* The greatest scores of the thread's two rows: rounded here, so that no compiler adds to them unrounded in one place and
 * rounded in another. */
struct row_tops {
    float of[2];
};
PTX_DEVICE row_tops tops_of(const float (&s)[64], float scale) {
    row_tops tops;
#pragma unroll
    for (int h = 0; h < 2; h++) tops.of[h] = ptx_mul(max_of_row(greatest(s, h)), scale);
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
template <bool IS_PACKED = true>
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
                *weight = ptx_exp2(fmaf(*weight, scale, -base));
                sum[c] = j == 0 ? *weight : sum[c] + *weight;
            }
            if (IS_PACKED) pack_pair(s, j, h, weights);
        }
        sums[h] = sum[0] + sum[1];
    }
}

/* Ceilings: a row's max is MAX_LAG above the greatest score of when it was set. A page needs no maxima while no thread's
 * share of a row's weights, 32 of them, is more than if all were at the ceiling. The scores are left as they are
 * until that is known, however great a weight has become. */
#define SHARE_MOST ((float)(KEYS / 4))

/* A row that has seen no key has its first ones. */
PTX_DEVICE void set_ceilings(const row_tops &tops, row_state &state) {
#pragma unroll
    for (int h = 0; h < 2; h++)
        if (state.max[h] == -INFINITY) state.max[h] = tops.of[h] + MAX_LAG;
}

/* The thread's shares while they are added up: of row h, of even and odd columns. */
typedef float row_shares[2][2];

/* Weights of the page's keys FROM to UP_TO - 1, packed, and added to the shares. */
template <int FROM, int UP_TO>
PTX_DEVICE void weigh_keys(const float (&s)[64], const row_state &state, float scale, packed_weights &weights,
        row_shares &shares) {
    const float base[2] = {fmaxf(state.max[0], -FLT_MAX), fmaxf(state.max[1], -FLT_MAX)}; /* -inf - (-inf) is NaN */
#pragma unroll
    for (int j = FROM / 8; j < UP_TO / 8; j++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float pair[2];
#pragma unroll
            for (int c = 0; c < 2; c++) {
                pair[c] = ptx_exp2(fmaf(s[4 * j + 2 * h + c], scale, -base[h]));
                shares[h][c] = j == 0 ? pair[c] : shares[h][c] + pair[c];
            }
            weights[j / 2][j % 2 * 2 + h] = ptx_pack_bf16(pair[0], pair[1]);
        }
}
PTX_DEVICE void sum_shares(const row_shares &shares, float (&sums)[2]) {
#pragma unroll
    for (int h = 0; h < 2; h++) sums[h] = shares[h][0] + shares[h][1];
}

/* Ceilings above the scores again, of those rows alone of which some thread's share is too much (or NaN). */
PTX_DEVICE row_rise lift(const float (&s)[64], float scale, const float (&sums)[2], row_state &state) {
    row_rise rise = {{state.max[0], state.max[1]}, true};
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const bool is_above = max_of_row(sums[h] <= SHARE_MOST ? 0.0f : 1.0f) > 0.0f;
        const float top = max_of_row(greatest(s, h)) * scale;
        if (is_above && top > state.max[h]) state.max[h] = top + MAX_LAG;
    }
    return rise;
}

/* Weights that are below their rows' ceilings, of any that are not: so the latter rise, with what was summed so far. */
PTX_DEVICE void keep_below(const float (&s)[64], float scale, row_state &state, packed_weights &weights, float (&sums)[2]) {
    if (!ptx_any(!(sums[0] <= SHARE_MOST) || !(sums[1] <= SHARE_MOST))) return;
    rescale(state, lift(s, scale, sums, state));
    row_shares shares;
    weigh_keys<0, KEYS>(s, state, scale, weights, shares);
    sum_shares(shares, sums);
}

/* A page at a time, so that a row's sum does not depend on where a call ends. */
PTX_DEVICE void add_sums(row_state &state, const float (&sums)[2]) {
#pragma unroll
    for (int h = 0; h < 2; h++) state.sum[h] += sum_of_row(sums[h]);
}

/* Mask the page of a step where some row of the warpgroup does not see all of it. LIMITS: row_limits, or what has
 * `least` and seen_by() as they have. */
template <class LIMITS> PTX_DEVICE void mask_step(const LIMITS &limits, int step, float (&s)[64]) {
    if (limits.least - step * KEYS >= KEYS) return;
    const int n_seen[2] = {seen_by(limits, 0) - step * KEYS, seen_by(limits, 1) - step * KEYS};
    mask(s, n_seen);
}

#endif
