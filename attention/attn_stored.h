/* Where a page stores what a split's rows read. Included only by attn_simd.c and attn_amx.c, and what they include. */
#ifndef ATTN_STORED_H
#define ATTN_STORED_H

#include "attn_simd.h"
#include "runtime/base/simd.h"

static int64_t panel_bytes(rt_dtype dtype, int64_t n_lines) {
    return n_lines * SIMD_PANEL * rt_dtype_bits(dtype) / 8;
}

/* Panels of keys or values that are read, n_read lines of each: the first one, and a line of all others. Each token has
 * numbers there, and whoever writes a token writes all of its numbers: other threads that do are met in every page. */
static void tell_panels(
        const void *base, rt_dtype dtype, int64_t n_panels, int64_t n_lines, int64_t n_read) {
    rt_reads(base, panel_bytes(dtype, n_read));
    for (int64_t panel = 1; panel < n_panels; panel++)
        rt_reads((const char *)base + panel * panel_bytes(dtype, n_lines), panel_bytes(dtype, 1));
}

/* The page at page_pos as the split's rows read it. */
typedef struct source {
    const void *page;
    bool is_sealed;
} source;

static source source_of(const attn_split *split, int64_t page_pos) {
    if (split->open_page && page_pos == split->open_pos) return (source){split->open_page, false};
    return (source){split->pages[(page_pos - split->first_pos) / ATTN_PAGE_TOKENS],
            attn_is_lossy(split->shape)};
}

/* One head's K or V where the page stores it. */
typedef struct stored {
    const char *base;
    int64_t n_bytes;
    int64_t n_lines;    /* of a panel */
    attn_sealed sealed; /* n_panels 0: it is not; base is the page, where its places count from */
} stored;

static stored stored_open(const attn_split *split, source from, int64_t index, int64_t n_lines) {
    const int64_t number_bytes = rt_dtype_bytes(attn_open_dtype(split->shape));
    return (stored){.base = (const char *)from.page + index * number_bytes,
            .n_bytes = (int64_t)ATTN_PAGE_TOKENS * split->shape->head_dim * number_bytes,
            .n_lines = n_lines};
}

static stored stored_sealed(source from, attn_sealed sealed) {
    return (stored){.base = from.page,
            .n_bytes =
                    sealed.dtype == RT_FP8 ? attn_code_bytes(&sealed) : sealed.end - sealed.codes,
            .n_lines = sealed.n_lines,
            .sealed = sealed};
}

static stored stored_keys(const attn_split *split, source from) {
    if (from.is_sealed) return stored_sealed(from, attn_sealed_keys(split->shape, split->kv_head));
    return stored_open(split, from, attn_key_index(split->shape, split->kv_head, 0, 0),
            split->shape->head_dim);
}

static stored stored_values(const attn_split *split, source from) {
    if (from.is_sealed)
        return stored_sealed(from, attn_sealed_values(split->shape, split->kv_head));
    return stored_open(
            split, from, attn_value_index(split->shape, split->kv_head, 0, 0), ATTN_PAGE_TOKENS);
}

#endif
