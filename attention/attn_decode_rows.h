/* How the decode kernels share query rows between blocks, and what scratch they want for it. A row is a query
 * head of a KV head's group in a query token. */
#ifndef ATTN_DECODE_ROWS_H
#define ATTN_DECODE_ROWS_H

#include <stdbool.h>

#include "attn_cuda.h"

enum {
    ATTN_SM90_ROWS = 128 /* of a block, at most */
};

static inline int64_t attn_n_splits(int64_t n_tokens) {
    return (n_tokens + ATTN_SPLIT_TOKENS - 1) / ATTN_SPLIT_TOKENS;
}

/* sm_80: rows of a block that is to have some of n_rows; the kernels there are. With e4m3 the registers do for
 * fewer. */
static inline int32_t attn_sm80_block_rows(int32_t n_rows, bool is_fp8) {
    if (n_rows <= 32) return n_rows <= 8 ? 8 : n_rows <= 16 ? 16 : 32;
    return is_fp8 ? 32 : 64;
}
static inline int32_t attn_sm80_row_blocks(int32_t n_rows, bool is_fp8) {
    const int32_t block_rows = attn_sm80_block_rows(n_rows, is_fp8);
    return (n_rows + block_rows - 1) / block_rows;
}

/* Hopper: the rows of a block that have a state in scratch. */
static inline int32_t attn_sm90_block_rows(int32_t n_rows) {
    return n_rows < ATTN_SM90_ROWS ? (n_rows + 7) / 8 * 8 : ATTN_SM90_ROWS;
}
static inline int32_t attn_sm90_row_blocks(int32_t n_rows) {
    return (n_rows + ATTN_SM90_ROWS - 1) / ATTN_SM90_ROWS;
}

#endif
