/* Pages as panels: what the matrix kernel reads. Included only by attn_simd.c.
 *
 * Where enough rows share the work a page is widened to fp32 first; fewer rows read it as it is stored. */
#ifndef ATTN_WIDEN_H
#define ATTN_WIDEN_H

#include "attn_stored.h"
#include "attn_tile.h"

/* Up to so many rows read pages as they are; for more, pages are widened once and reused. */
enum { ROWS_FEW = 32 };

/* One head's K or V of a page as the tile kernel reads it. Codes of int8 and int4 have a scale and a zero a line, the
 * same for ATTN_GROUP_PANELS panels; those of fp8 one scale. */
typedef struct page_panels {
    const char *base;
    rt_dtype dtype;
    int64_t n_lines;    /* of a panel */
    const float *scale; /* [n_groups][n_lines] */
    const float *zero;
} page_panels;

/* A group's panels [n_panels][n_lines][16]: zero + scale code. */
SIMD_INLINE void widen_group(const uint8_t *codes, int64_t n_panels, int64_t n_lines,
        const float *scale, const float *zero, float *wide, const int64_t line_bytes) {
    for (int64_t panel = 0; panel < n_panels; panel++)
        for (int64_t line = 0; line < n_lines; line++) {
            const vline code = load_codes(codes, line_bytes);
#pragma GCC unroll 4
            for (int v = 0; v < SIMD_VECTORS; v++) {
                const vfloat steps = simd_load_u8((const uint8_t *)&code + v * SIMD_LANES);
                simd_store(wide + v * SIMD_LANES,
                        simd_fma(steps, simd_set(scale[line]), simd_set(zero[line])));
            }
            codes += line_bytes;
            wide += SIMD_PANEL;
        }
}

SIMD_INLINE void widen_lines(
        const attn_sealed *sealed, const char *page, float *wide, const int64_t line_bytes) {
    _Static_assert((int)ATTN_HEAD_DIM_MAX >= (int)ATTN_PAGE_TOKENS, "values have a line a token");
    float scale[ATTN_HEAD_DIM_MAX];
    float zero[ATTN_HEAD_DIM_MAX];
    const int64_t n_lines = sealed->n_lines;
    for (int64_t first = 0; first < sealed->n_panels; first += ATTN_GROUP_PANELS) {
        const int64_t n_panels = rt_min64(ATTN_GROUP_PANELS, sealed->n_panels - first);
        const int64_t at = first / ATTN_GROUP_PANELS * n_lines * 2;
        simd_widen(scale, page + sealed->scales + at, n_lines, RT_BF16);
        simd_widen(zero, page + sealed->zeros + at, n_lines, RT_BF16);
        widen_group((const uint8_t *)page + sealed->codes + first * n_lines * line_bytes, n_panels,
                n_lines, scale, zero, wide + first * n_lines * SIMD_PANEL, line_bytes);
    }
}

SIMD_INLINE float fp8_scale(const attn_sealed *sealed, const char *page) {
    float scale;
    memcpy(&scale, page + sealed->scales, sizeof scale);
    return scale * ATTN_FP8_UNIT;
}

SIMD_INLINE void widen_fp8(const attn_sealed *sealed, const char *page, float *wide) {
    const vfloat scale = simd_set(fp8_scale(sealed, page));
    const uint8_t *codes = (const uint8_t *)page + sealed->codes;
    const int64_t n = attn_code_bytes(sealed);
    for (int64_t i = 0; i < n; i += SIMD_LANES)
        simd_store(wide + i, simd_load_e4m3(codes + i) * scale);
}

static rt_dtype stored_dtype(const attn_split *split, const stored *from) {
    return from->sealed.n_panels > 0 ? split->shape->kv_dtype : attn_open_dtype(split->shape);
}

/* The scales and zeros of what is read next: up to a kilobyte that tiles do not ask for. */
static void ask_for_scales(const stored *next) {
    const attn_sealed *sealed = &next->sealed;
    for (int64_t at = sealed->scales; at < sealed->end; at += CACHE_LINE)
        __builtin_prefetch(next->base + at);
}

/* As it is stored; `wide` is where a sealed one's scales and zeros are widened. */
static page_panels panels_as_stored(const attn_split *split, const stored *from, float *wide) {
    const attn_sealed *sealed = &from->sealed;
    if (sealed->n_panels > 0 && sealed->dtype == RT_FP8) {
        wide[0] = fp8_scale(sealed, from->base);
        return (page_panels){from->base + sealed->codes, RT_FP8, from->n_lines, wide, NULL};
    }
    const int64_t n_scales = rt_div_up(sealed->n_panels, ATTN_GROUP_PANELS) * from->n_lines;
    if (n_scales > 0) {
        simd_widen(wide, from->base + sealed->scales, n_scales, RT_BF16);
        simd_widen(wide + n_scales, from->base + sealed->zeros, n_scales, RT_BF16);
    }
    return (page_panels){from->base + sealed->codes, stored_dtype(split, from), from->n_lines, wide,
            wide + n_scales};
}

/* What widening touches; of `wide`, which is the thread's own, a line stands for all. */
static void tell_widened(const attn_split *split, const stored *from, float *wide) {
    const attn_sealed *sealed = &from->sealed;
    const rt_dtype dtype = stored_dtype(split, from);
    const int64_t n_numbers = (int64_t)ATTN_PAGE_TOKENS * split->shape->head_dim;
    tell_panels(from->base + sealed->codes, dtype, n_numbers / (from->n_lines * SIMD_PANEL),
            from->n_lines, from->n_lines);
    rt_reads(from->base + sealed->scales, sealed->end - sealed->scales);
    rt_writes(wide, CACHE_LINE);
}

SIMD_INLINE void widen_pairs(const uint16_t *pairs, int64_t n_numbers, float *wide) {
    for (int64_t line = 0; line < n_numbers / SIMD_PANEL; line += 2)
#pragma GCC unroll 8
        for (int v = 0; v < 2 * SIMD_VECTORS; v++)
            simd_store(wide + line * SIMD_PANEL + v * SIMD_LANES,
                    load_of_pairs(pairs + line * SIMD_PANEL, v / SIMD_VECTORS, v % SIMD_VECTORS));
}

/* In fp32; `wide` is where it is widened, if it is. */
RT_TOLD static const float *panels_widened(
        const attn_split *split, const stored *from, float *wide) {
    if (from->sealed.n_panels == 0 && split->shape->kv_dtype == RT_F32)
        return (const float *)(const void *)from->base;
    tell_widened(split, from, wide);
    if (from->sealed.n_panels > 0 && from->sealed.dtype == RT_FP8)
        widen_fp8(&from->sealed, from->base, wide);
    else if (from->sealed.line_bytes == SIMD_PANEL)
        widen_lines(&from->sealed, from->base, wide, SIMD_PANEL);
    else if (from->sealed.n_panels > 0)
        widen_lines(&from->sealed, from->base, wide, SIMD_PANEL / 2);
    else
        widen_pairs((const uint16_t *)(const void *)from->base,
                (int64_t)ATTN_PAGE_TOKENS * split->shape->head_dim, wide);
    return wide;
}

#endif
