/* Attention by tiles: a block of rows against a page, and its products a step at a time. Included only by attn_amx.c. */
#ifndef ATTN_AMX_STEPS_H
#define ATTN_AMX_STEPS_H

#include "amx_tiles.h"
#include "attn_simd.h"
#include "attn_tile.h"

enum {
    PAGE = ATTN_PAGE_TOKENS,
    PANEL = SIMD_PANEL,
    STEP = 32,                        /* dims or keys of a product */
    TILE_HALVES = AMX_TILE_BYTES / 2, /* numbers of bf16 */
    ROWS = 2 * PANEL,                 /* at a time */
    SCORE_BYTES = PAGE * (int)sizeof(float),
    WEIGHT_BYTES = PAGE * (int)sizeof(uint16_t)
};

/* Of a panel of 16 rows: [head_dim / 32][high, low][16 rows][32 dims]. */
static int64_t panel_halves(int32_t head_dim) {
    return (int64_t)head_dim / STEP * 2 * TILE_HALVES;
}

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
    ahead after_scores; /* what to ask for while scores, and while outputs are summed */
    ahead after_output;
} block;

enum { LOW_AT = STEP };

/* ---- tiles, a step at a time ----------------------------------------------------------------- */

/* What a step multiplies: one panel of rows, or two, by two panels of columns. Scores of 32 keys with 32 dims more are a
 * step, so are outputs of 32 dims with 32 keys more; those that follow one another add to the same tiles. */
typedef struct step {
    const uint16_t *a; /* [16 rows][32], lines of a_stride bytes */
    int64_t a_stride;
    int64_t other_at;  /* the other panel of rows, */
    int64_t low_at;    /* and low halves, behind a */
    const uint16_t *b; /* [16 pairs][16 columns][2] */
    int64_t other_b_at;
} step;

/* The first two quarters of a step are one panel of rows, high and low; the others are the other panel. */
SIMD_INLINE void multiply_quarter(const step *s, const int quarter) {
    if (quarter == 0) {
        amx_load(4, s->b, AMX_LINE_BYTES);
        amx_load(5, s->b + s->other_b_at, AMX_LINE_BYTES);
        amx_load(6, s->a, s->a_stride);
        amx_multiply(0, 6, 4);
        amx_multiply(1, 6, 5);
    }
    if (quarter == 1) {
        amx_load(7, s->a + s->low_at, s->a_stride);
        amx_multiply(0, 7, 4);
        amx_multiply(1, 7, 5);
    }
    if (quarter == 2) {
        amx_load(6, s->a + s->other_at, s->a_stride);
        amx_multiply(2, 6, 4);
        amx_multiply(3, 6, 5);
    }
    if (quarter == 3) {
        amx_load(7, s->a + s->other_at + s->low_at, s->a_stride);
        amx_multiply(2, 7, 4);
        amx_multiply(3, 7, 5);
    }
}

SIMD_INLINE void multiply(const step *s, bool is_two) {
    multiply_quarter(s, 0);
    multiply_quarter(s, 1);
    if (!is_two) return;
    multiply_quarter(s, 2);
    multiply_quarter(s, 3);
}

SIMD_INLINE void clear_sums(bool is_two) {
    amx_zero(0);
    amx_zero(1);
    if (!is_two) return;
    amx_zero(2);
    amx_zero(3);
}

/* 32 columns, of one panel of rows or two, which are `apart` numbers. */
SIMD_INLINE void store_sums(bool is_two, float *to, int64_t stride, int64_t apart) {
    amx_store(0, to, stride);
    amx_store(1, to + PANEL, stride);
    if (!is_two) return;
    amx_store(2, to + apart, stride);
    amx_store(3, to + apart + PANEL, stride);
}

/* out = out alpha + sums, rows [row, end) of [rows][32 dims]. */
SIMD_INLINE void add_sums(
        const block *b, const float *sums, int64_t row, int64_t end, int32_t head_dim, float *out) {
    for (; row < end; row++) {
        const vfloat by = simd_set(b->alpha[row]);
#pragma GCC unroll 8
        for (int v = 0; v < 2 * SIMD_VECTORS; v++) {
            float *to = out + row * head_dim + v * SIMD_LANES;
            simd_store(
                    to, simd_fma(simd_load(to), by, simd_load(sums + row * STEP + v * SIMD_LANES)));
        }
    }
}

/* ---- steps beside weights -------------------------------------------------------------------- */

/* Tiles are busy for as long as weights take the other units: so the block before is output, and the next one scored, in
 * steps between the rows that are weighed. Of scores a round is 32 keys, of outputs 32 dims: steps that add to the same
 * tiles. What a round of outputs has summed is added to the state during the next one. */
typedef struct beside {
    block *own; /* whose turn it is; NULL: nothing is left to multiply */
    block *output;
    block *score;
    bool is_output;
    bool is_two; /* of own */
    int32_t head_dim;
    step next;
    int64_t in_round, n_in_round;
    int64_t round, n_rounds;
    int64_t n_left;    /* steps */
    float *sums;       /* [2][32 rows][32 dims], of rounds in turn */
    float *out;        /* [rows][head_dim] of the split */
    const float *owed; /* sums of rows [owed_row, n_rows) of the output, not added yet */
    float *owed_out;
    int64_t owed_row;
} beside;

static int64_t steps_of(const block *b, int32_t head_dim) {
    return head_dim / STEP * (b->n_end / STEP);
}

static void begin_round(beside *w) {
    const block *b = w->own;
    w->in_round = 0;
    if (w->is_output) {
        w->next.a = (const uint16_t *)b->scores;
        w->next.b = b->values + w->round * STEP * PAGE;
    } else {
        w->next.a = b->q;
        w->next.b = b->keys + w->round * STEP * w->head_dim;
    }
}

static void begin_turn(beside *w, block *own, bool is_output) {
    w->own = own;
    w->is_output = is_output;
    if (!own) return;
    w->is_two = own->n_rows > PANEL;
    w->round = 0;
    w->n_rounds = (is_output ? w->head_dim : own->n_end) / STEP;
    w->n_in_round = (is_output ? own->n_end : w->head_dim) / STEP;
    w->next.other_at = is_output ? PANEL * PAGE * 2 : panel_halves(w->head_dim);
    w->next.low_at = is_output ? LOW_AT : TILE_HALVES;
    w->next.a_stride = is_output ? PAGE * sizeof(float) : AMX_LINE_BYTES;
    w->next.other_b_at = (is_output ? PAGE : w->head_dim) * PANEL;
    begin_round(w);
}

/* What is not there, or has no row that sees a key, is left out. */
static beside beside_of(
        block *output, block *score, const attn_split *split, const attn_scratch *scratch) {
    if (output && !output->values) output = NULL;
    beside w = {.output = output,
            .score = score,
            .head_dim = split->shape->head_dim,
            .sums = scratch->keys,
            .out = scratch->part_out};
    if (output) w.n_left += steps_of(output, w.head_dim);
    if (score) w.n_left += steps_of(score, w.head_dim);
    begin_turn(&w, output ? output : score, output != NULL);
    return w;
}

/* n rows more of what is owed. */
SIMD_INLINE void pay(beside *w, int64_t n) {
    if (!w->owed) return;
    const int64_t end = rt_min64(w->owed_row + n, w->output->n_rows);
    add_sums(w->output, w->owed, w->owed_row, end, w->head_dim, w->owed_out);
    w->owed_row = end;
    if (end == w->output->n_rows) w->owed = NULL;
}

/* What to multiply; false: nothing is left. */
SIMD_INLINE bool begin_step(beside *w, step *s) {
    if (!w->own) return false;
    ask_ahead(w->is_output ? &w->own->after_output : &w->own->after_scores);
    if (w->in_round == 0) clear_sums(w->is_two);
    *s = w->next;
    return true;
}

/* A round ends: its sums are scores, or are owed to the output. */
SIMD_TILE void end_round(beside *w) {
    if (w->is_output) {
        pay(w, ROWS);
        float *own = w->sums + w->round % 2 * ROWS * STEP;
        store_sums(w->is_two, own, STEP * sizeof(float), PANEL * STEP);
        w->owed = own;
        w->owed_out = w->out + w->own->first * w->head_dim + w->round * STEP;
        w->owed_row = 0;
    } else {
        store_sums(w->is_two, w->own->scores + w->round * STEP, PAGE * sizeof(float), PANEL * PAGE);
    }
    if (++w->round < w->n_rounds)
        begin_round(w);
    else
        begin_turn(w, w->is_output ? w->score : NULL, false);
}

SIMD_INLINE void end_step(beside *w) {
    enum { PAID = ROWS / (PAGE / STEP) };
    w->n_left--;
    w->next.a += w->is_output ? 2 * STEP : 2 * TILE_HALVES;
    w->next.b += STEP * PANEL;
    pay(w, PAID);
    if (++w->in_round == w->n_in_round) end_round(w);
}

SIMD_TILE void do_steps(beside *w, int64_t n) {
    step s;
    for (; n > 0 && begin_step(w, &s); n--) {
        multiply(&s, w->is_two);
        end_step(w);
    }
}

/* All that is left. */
static void do_rest(beside *w) {
    do_steps(w, w->n_left);
    pay(w, ROWS);
}

#endif
