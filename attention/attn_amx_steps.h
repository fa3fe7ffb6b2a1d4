/* Attention by tiles: a block's products, a step at a time. Included only by attn_amx.c. */
#ifndef ATTN_AMX_STEPS_H
#define ATTN_AMX_STEPS_H

#include "attn_amx_infinite.h"

/* ---- tiles, a step at a time ----------------------------------------------------------------- */

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
    int64_t n_left;    /* steps */
    float *sums;       /* [2][32 rows][32 dims], of rounds in turn */
    float *out;        /* [rows][head_dim] of the split */
    const float *owed; /* sums of rows [owed_row, n_rows) of the output, not added yet */
    float *owed_out;
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

/* n rows more of what is owed. */
SIMD_INLINE void pay(beside *w, int64_t n) {
    if (!w->owed) return;
    const int64_t end = rt_min64(w->owed_row + n, w->output->n_rows);
    add_sums(w->output, w->owed, w->owed_row, end, w->head_dim, w->owed_out);
    w->owed_row = end;
    if (end == w->output->n_rows) w->owed = NULL;
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
        float *own = w->sums + w->round % 2 * ROWS * AMX_STEP;
        amx_store_sums(w->is_two, own, AMX_STEP * sizeof(float), PANEL * AMX_STEP);
        if (__builtin_expect(is_any_infinite(own, AMX_STEP), false))
            sum_infinite_values(
                    w->own, w->own->values + w->round * AMX_STEP * PAGE, w->is_two, w->next, own);
        w->owed = own;
        w->owed_out = w->out + w->own->first * w->head_dim + w->round * AMX_STEP;
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
        amx_multiply_step(&s, w->is_two);
        end_step(w);
    }
}

/* All that is left. */
RT_TOLD static void do_rest(beside *w) {
    do_steps(w, w->n_left);
    pay(w, ROWS);
}

#endif
