/* Attention by tiles: up to 32 rows against a page. Included only by attn_amx.c, and what it includes. */
#ifndef ATTN_AMX_BLOCK_H
#define ATTN_AMX_BLOCK_H

#include "attn_simd.h"
#include "attn_tile.h"
#include "runtime/base/amx_product.h"

enum {
    PAGE = ATTN_PAGE_TOKENS,
    PANEL = SIMD_PANEL,
    ROWS = 2 * PANEL /* at a time */
};

/* ---- memory ahead ---------------------------------------------------------------------------- */

/* What is read next, asked for by so many lines a step. */
typedef struct ahead {
    const char *from;
    int64_t n_lines;
} ahead;

SIMD_INLINE void ask_ahead(ahead *next) {
    for (int64_t i = 0; i < next->n_lines; i++)
        __builtin_prefetch(next->from + i * CACHE_LINE, 0, 2);
    next->from += next->n_lines * CACHE_LINE;
}

/* ---- a block --------------------------------------------------------------------------------- */

/* Up to 32 rows against a page, and where a thread has its numbers. */
typedef struct block {
    int64_t first; /* of the split's rows */
    int64_t n_rows;
    int64_t page_pos;
    int64_t n_keys; /* that any of the split's rows sees */
    int64_t n_end;  /* up to whole steps */
    const uint16_t *q;
    const uint16_t *keys;
    const uint16_t *values; /* NULL: no row of it sees a key */
    float *scores; /* [32 rows][128 keys]; then weights, [32 rows][4][high, low][32 keys], in their place */
    float alpha[ROWS];
    int32_t n_visible[ROWS]; /* keys that a row sees; 0: it leaves the page out */
    ahead after_scores;      /* what to ask for while scores, and while outputs are summed */
    ahead after_output;
} block;

enum { LOW_AT = AMX_STEP };

#endif
