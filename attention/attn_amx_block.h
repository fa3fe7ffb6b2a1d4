/* Attention by tiles: up to 32 rows against a page. Included only by attn_amx.c, and what it includes. */
#ifndef ATTN_AMX_BLOCK_H
#define ATTN_AMX_BLOCK_H

#include "attn_stored.h"
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

/* ---- a page's codes -------------------------------------------------------------------------- */

enum { CODES = 128 /* but for their signs */ };

/* The halves of what codes stand for, in two bytes. */
typedef struct code_table {
    uint8_t low[CODES] __attribute__((aligned(AMX_LINE_BYTES)));
    uint8_t high[CODES];
} code_table;

/* One head's K or V of a page that is sealed: [n_panels][n_lines][line_bytes]. */
typedef struct coded {
    rt_dtype dtype;
    const uint8_t *codes;
    int64_t line_bytes;
    int64_t n_lines;
    bool is_finite;   /* whatever they stand for, but for scales of int8 and int4 */
    code_table table; /* fp8 and int8 */
} coded;

/* ---- a page of int8 or int4 ------------------------------------------------------------------ */

/* One head's K or V of it: what its lines' codes are multiplied by and added to (attn_amx_scaled.h), [n_groups][n_lines]. */
typedef struct line_scales {
    const float *scale; /* NULL: it is not such a page */
    const float *middle;
    int64_t n_lines;
    bool is_finite; /* all of them are */
    stored from;
} line_scales;

/* ---- a block --------------------------------------------------------------------------------- */

/* Up to 32 rows against a page, and where a thread has its numbers. */
typedef struct block {
    int64_t first; /* of the split's rows */
    int64_t n_rows;
    int64_t page_pos;
    int64_t n_keys;          /* that any of the split's rows sees */
    int64_t n_end;           /* up to whole steps */
    const uint16_t *q;       /* halves in panels; NULL: */
    const float *q_rows;     /* fp32, [rows][head_dim], where pages are of int8 or int4 */
    const bool *is_infinite; /* those of which a number is Inf; NULL: none */
    const uint16_t *keys;
    const uint16_t *values; /* both NULL, values and their codes: no row of it sees a key */
    const coded *key_codes; /* what keys, or values, are made of, where those are NULL */
    const coded *value_codes;
    line_scales key_scales;
    line_scales value_scales;
    float *scores; /* [32 rows][128 keys]; then weights in their place: of pages of int8 or int4 as they are, or else
                    * [32 rows][4][high, low][32 keys] */
    float alpha[ROWS];
    int32_t n_visible[ROWS]; /* keys that a row sees; 0: it leaves the page out */
    ahead after_scores;      /* what to ask for while scores, and while outputs are summed */
    ahead after_output;
} block;

enum { LOW_AT = AMX_STEP };

#endif
