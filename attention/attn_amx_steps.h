/* Attention by tiles: a block's products, a step at a time. Included only by attn_amx.c. */
#ifndef ATTN_AMX_STEPS_H
#define ATTN_AMX_STEPS_H

#include "attn_amx_infinite.h"

/* ---- tiles, a step at a time ----------------------------------------------------------------- */

/* As amx_multiply_quarter does, but that keys and values go past the first-level cache, where what is read several times, queries
 * and weights, has hardly room. */
#if defined(__AMX_BF16__)
#define LOAD_ONCE(tile, from)                           \
    do {                                                \
        AMX_MEMORY();                                   \
        _tile_stream_loadd(tile, from, AMX_LINE_BYTES); \
    } while (0)
#else
#define LOAD_ONCE(tile, from) amx_load(tile, from, AMX_LINE_BYTES)
#endif
SIMD_INLINE void multiply_quarter(const amx_step *s, const int quarter) {
    if (quarter > 0) {
        amx_multiply_quarter(s, quarter);
        return;
    }
    LOAD_ONCE(4, s->b);
    LOAD_ONCE(5, s->b + s->other_b_at);
    amx_load(6, s->a, s->a_stride);
    amx_multiply(0, 6, 4);
    amx_multiply(1, 6, 5);
}

SIMD_INLINE void multiply_step(const amx_step *s, bool is_two) {
    multiply_quarter(s, 0);
    multiply_quarter(s, 1);
    if (!is_two) return;
    multiply_quarter(s, 2);
    multiply_quarter(s, 3);
}

/* out = out alpha + sums, rows [row, end) of [rows][32 dims]. */
SIMD_INLINE void add_sums(
        const block *b, const float *sums, int64_t row, int64_t end, int32_t head_dim, float *out) {
    for (; row < end; row++) {
        const vfloat by = simd_set(b->alpha[row]);
#pragma GCC unroll 8
        for (int v = 0; v < 2 * SIMD_VECTORS; v++) {
            float *to = out + row * head_dim + v * SIMD_LANES;
            simd_store(to,
                    simd_fma(simd_load(to), by, simd_load(sums + row * AMX_STEP + v * SIMD_LANES)));
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
    amx_step next;
    int64_t in_round, n_in_round;
    int64_t round, n_rounds;
    int64_t n_left; /* steps */
    float *sums;    /* [32 rows][32 dims] of a round */
    float *out;     /* [rows][head_dim] of the split */
    bool is_owed;   /* sums of rows [owed_row, n_rows) of the output are not added yet */
    int64_t owed_round;
    int64_t owed_row;
} beside;

static int64_t steps_of(const block *b, int32_t head_dim) {
    return head_dim / AMX_STEP * (b->n_end / AMX_STEP);
}

RT_TOLD static void begin_round(beside *w) {
    const block *b = w->own;
    w->in_round = 0;
    if (w->is_output) {
        w->next.a = (const uint16_t *)b->scores;
        w->next.b = b->values + w->round * AMX_STEP * PAGE;
    } else {
        w->next.a = b->q;
        w->next.b = b->keys + w->round * AMX_STEP * w->head_dim;
    }
}

RT_TOLD static void begin_turn(beside *w, block *own, bool is_output) {
    w->own = own;
    w->is_output = is_output;
    if (!own) return;
    w->is_two = own->n_rows > PANEL;
    w->round = 0;
    w->n_rounds = (is_output ? w->head_dim : own->n_end) / AMX_STEP;
    w->n_in_round = (is_output ? own->n_end : w->head_dim) / AMX_STEP;
    w->next.other_at = is_output ? PANEL * PAGE * 2 : amx_panel_halves(w->head_dim);
    w->next.low_at = is_output ? LOW_AT : AMX_TILE_HALVES;
    w->next.a_stride = is_output ? PAGE * sizeof(float) : AMX_LINE_BYTES;
    w->next.other_b_at = (is_output ? PAGE : w->head_dim) * PANEL;
    begin_round(w);
}

/* What is not there, or has no row that sees a key, is left out. */
RT_TOLD static beside beside_of(
        block *output, block *score, const attn_split *split, const attn_scratch *scratch) {
    if (output && !output->values) output = NULL;
    beside w = {.output = output,
            .score = score,
            .head_dim = split->shape->head_dim,
            .sums = scratch->scores + 2 * ROWS * PAGE, /* behind those of two blocks */
            .out = scratch->part_out};
    if (output) w.n_left += steps_of(output, w.head_dim);
    if (score) w.n_left += steps_of(score, w.head_dim);
    begin_turn(&w, output ? output : score, output != NULL);
    return w;
}

/* n rows more of what is owed. It is looked at when it is paid: before, it is on its way from the tiles. */
SIMD_INLINE void pay(beside *w, int64_t n) {
    if (!w->is_owed) return;
    const block *b = w->output;
    const int64_t end = rt_min64(w->owed_row + n, b->n_rows), first_dim = w->owed_round * AMX_STEP;
    if (w->owed_row == 0 && __builtin_expect(is_any_infinite(w->sums, AMX_STEP), false))
        sum_infinite_values(b, b->values + first_dim * PAGE, w->sums);
    add_sums(
            b, w->sums, w->owed_row, end, w->head_dim, w->out + b->first * w->head_dim + first_dim);
    w->owed_row = end;
    w->is_owed = end < b->n_rows;
}

/* What to multiply; false: nothing is left. */
SIMD_INLINE bool begin_step(beside *w, amx_step *s) {
    if (!w->own) return false;
    ask_ahead(w->is_output ? &w->own->after_output : &w->own->after_scores);
    if (w->in_round == 0) amx_clear_sums(w->is_two);
    *s = w->next;
    return true;
}

/* A round ends: its sums are scores, or are owed to the output. */
SIMD_TILE void end_round(beside *w) {
    if (w->is_output) {
        pay(w, ROWS);
        amx_store_sums(w->is_two, w->sums, AMX_STEP * sizeof(float), PANEL * AMX_STEP);
        w->is_owed = true;
        w->owed_round = w->round;
        w->owed_row = 0;
    } else {
        amx_store_sums(w->is_two, w->own->scores + w->round * AMX_STEP, PAGE * sizeof(float),
                PANEL * PAGE);
    }
    if (++w->round < w->n_rounds)
        begin_round(w);
    else
        begin_turn(w, w->is_output ? w->score : NULL, false);
}

SIMD_INLINE void end_step(beside *w) {
    enum { PAID = ROWS / (PAGE / AMX_STEP) };
    w->n_left--;
    w->next.a += w->is_output ? 2 * AMX_STEP : 2 * AMX_TILE_HALVES;
    w->next.b += AMX_STEP * PANEL;
    pay(w, PAID);
    if (++w->in_round == w->n_in_round) end_round(w);
}

SIMD_TILE void do_steps(beside *w, int64_t n) {
    amx_step s;
    for (; n > 0 && begin_step(w, &s); n--) {
        multiply_step(&s, w->is_two);
        end_step(w);
    }
}

/* All that is left. */
RT_TOLD static void do_rest(beside *w) {
    do_steps(w, w->n_left);
    pay(w, ROWS);
}

#endif
