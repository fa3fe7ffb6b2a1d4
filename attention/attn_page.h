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

#endif
