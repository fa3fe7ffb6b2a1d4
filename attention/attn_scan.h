/* What every kernel does with a split: which keys are seen, an empty state, states folded. Included only by attn_simd.c and
 * attn_amx.c. */
#ifndef ATTN_SCAN_H
#define ATTN_SCAN_H

#include "attn_stored.h"
#include "runtime/base/simd.h"

/* The page's keys that any row sees: rows differ, the largest limit decides. */
static int64_t visible_keys(
        const attn_split *split, const attn_scratch *scratch, int64_t page_pos) {
    int64_t limit = 0;
    for (int64_t r = 0; r < split->n_rows; r++) limit = rt_max64(limit, scratch->limit[r]);
    const int64_t end = rt_min64(limit, split->first_pos + split->n_tokens);
    return rt_min64(end - page_pos, ATTN_PAGE_TOKENS);
}

static void clear_part(const attn_split *split, attn_scratch *scratch) {
    const int64_t n_out = split->n_rows * split->shape->head_dim;
    for (int64_t r = 0; r < split->n_rows; r++) scratch->part_max[r] = -INFINITY;
    memset(scratch->part_sum, 0, (size_t)split->n_rows * sizeof(float));
    memset(scratch->part_out, 0, (size_t)n_out * sizeof(float));
}

/* ---- folding partial states ------------------------------------------------------------------ */

RT_TOLD static void fold(float *acc_max, float *acc_sum, float *acc_out, const float *part_max,
        const float *part_sum, const float *part_out, int64_t n_rows, int32_t head_dim) {
    rt_writes(acc_max, n_rows * (int64_t)sizeof *acc_max);
    rt_writes(acc_sum, n_rows * (int64_t)sizeof *acc_sum);
    rt_reads(part_max, n_rows * (int64_t)sizeof *part_max);
    rt_reads(part_sum, n_rows * (int64_t)sizeof *part_sum);
    rt_reads(part_out, n_rows * head_dim * (int64_t)sizeof *part_out);
    for (int64_t r = 0; r < n_rows; r++) {
        if (part_max[r] == -INFINITY) continue; /* also: both empty would be (-inf) - (-inf) */
        const float max = acc_max[r] > part_max[r] ? acc_max[r] : part_max[r];
        const float w_acc = simd_exp2_one(acc_max[r] - max);
        const float w_part = simd_exp2_one(part_max[r] - max);
        acc_max[r] = max;
        acc_sum[r] = simd_fma(
                simd_set(acc_sum[r]), simd_set(w_acc), simd_set(part_sum[r]) * simd_set(w_part))[0];
        float *out = acc_out + r * head_dim;
        rt_writes(out, head_dim * (int64_t)sizeof *out);
        const float *part = part_out + r * head_dim;
        for (int32_t d = 0; d < head_dim; d += SIMD_LANES)
            simd_store(out + d, simd_fma(simd_load(out + d), simd_set(w_acc),
                                        simd_load(part + d) * simd_set(w_part)));
    }
}

#endif
