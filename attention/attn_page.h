/* Inside a page: where the numbers of a KV head lie. See attn_page_bytes in attention.h. */
#ifndef ATTN_PAGE_H
#define ATTN_PAGE_H

#include "attention.h"

enum { ATTN_PANEL = 16 }; /* keys, or dims of values, stored together */

/* Element index of K[token][d] and V[token][d]. */
static inline int64_t attn_key_index(
        const attn_shape *shape, int32_t kv_head, int64_t token, int32_t d) {
    const int64_t head = 2 * (int64_t)kv_head * ATTN_PAGE_TOKENS * shape->head_dim;
    return head + (token / ATTN_PANEL * shape->head_dim + d) * ATTN_PANEL + token % ATTN_PANEL;
}

static inline int64_t attn_value_index(
        const attn_shape *shape, int32_t kv_head, int64_t token, int32_t d) {
    const int64_t head = (2 * (int64_t)kv_head + 1) * ATTN_PAGE_TOKENS * shape->head_dim;
    return head + ((int64_t)(d / ATTN_PANEL) * ATTN_PAGE_TOKENS + token) * ATTN_PANEL +
           d % ATTN_PANEL;
}

/* Tokens of one KV head of a page, all in one panel of keys: what is worked on at a time, so that
 * rows stay in the first-level cache while each panel of values adds its 16 numbers to them. */
typedef struct attn_page_tokens {
    const attn_shape *shape;
    int32_t kv_head;
    int64_t token; /* the first, in the page */
    int64_t n;
} attn_page_tokens;

/* k and v: rows of these tokens. */
typedef struct attn_page_kernels {
    void (*unpack)(const attn_page_tokens *tokens, const void *page, void *k, void *v);
    void (*pack)(const attn_page_tokens *tokens, void *page, const void *k, const void *v);
} attn_page_kernels;

extern const attn_page_kernels attn_page_kernels_portable;
#if defined(__x86_64__)
extern const attn_page_kernels attn_page_kernels_avx2;
extern const attn_page_kernels attn_page_kernels_avx512;
#endif

#endif
