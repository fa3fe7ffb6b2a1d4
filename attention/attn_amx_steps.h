/* Attention by tiles: a block's products, a step at a time. Included only by attn_amx.c. */
#ifndef ATTN_AMX_STEPS_H
#define ATTN_AMX_STEPS_H

#include "attn_amx_codes.h"
#include "attn_amx_infinite.h"

/* ---- tiles, a step at a time ----------------------------------------------------------------- */

/* As amx_multiply_quarter does, but that keys and values go past the first-level cache, where what is read several times, queries
 * and weights, has hardly room. */
SIMD_INLINE void multiply_quarter(const amx_step *s, const int quarter) {
    if (quarter > 0) {
        amx_multiply_quarter(s, quarter);
        return;
    }
    amx_load_once(4, s->b, AMX_LINE_BYTES);
    amx_load_once(5, s->b + s->other_b_at, AMX_LINE_BYTES);
    amx_load(6, s->a, s->a_stride);
    amx_multiply(0, 6, 4);
    amx_multiply(1, 6, 5);
}

/* One panel of rows, to the other two sums. */
SIMD_INLINE void multiply_other(const amx_step *s) {
    amx_load_once(4, s->b, AMX_LINE_BYTES);
    amx_load_once(5, s->b + s->other_b_at, AMX_LINE_BYTES);
    amx_load(6, s->a, s->a_stride);
    amx_multiply(2, 6, 4);
    amx_multiply(3, 6, 5);
    amx_load(7, s->a + s->low_at, s->a_stride);
    amx_multiply(2, 7, 4);
    amx_multiply(3, 7, 5);
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
 * tiles. What a round of outputs has summed is added to the state during the next one. Of a page that only these rows meet,
 * codes are made numbers a step before tiles take them. */
typedef struct beside {
    block *own; /* whose turn it is; NULL: nothing is left to multiply */
    block *output;
    block *score;
    bool is_output;
    bool is_two;        /* of own: panels of rows */
    int64_t n_at_once;  /* rounds, whose steps take turns: two sums wait for themselves */
    int64_t round_b_at; /* from one of them to the other */
    int32_t head_dim;
    amx_step next;
    int64_t n_lines;              /* that products are summed over */
    int64_t in_round, n_in_round; /* steps */
    int64_t round, n_rounds;
    int64_t n_left;   /* steps */
    uint16_t *halves; /* of rows, where they are made for a group of keys or dims */
    float *begin;     /* [32 rows][16] what sums begin with */
    bool has_begin;
    int64_t a_step;     /* from the halves of a step to the next one's */
    const coded *codes; /* that keys or values are made of; NULL: they are there */
    uint16_t *made;     /* of two steps, two tiles each */
    float *sums;        /* [32 rows][32 dims] of a round */
    float *out;         /* [rows][head_dim] of the split */
    bool is_owed;       /* sums of rows [owed_row, n_rows) of the output are not added yet */
    int64_t owed_round, n_owed;
    int64_t owed_row;
} beside;

/* 32 rows' halves: behind the scores of two blocks; queries' of a larger head_dim behind a copy of keys, which has room for
 * two, of which pages of int8 and int4 have one. */
static uint16_t *place_of_halves(const attn_split *split, const attn_scratch *scratch) {
    const int32_t head_dim = split->shape->head_dim;
    return head_dim > PAGE ? (uint16_t *)scratch->keys + (int64_t)head_dim * PAGE
                           : (uint16_t *)(scratch->scores + 2 * ROWS * PAGE);
}

static int64_t steps_of(const block *b, int32_t head_dim) {
    return head_dim / AMX_STEP * (b->n_end / AMX_STEP);
}

/* Whether halves are made of rows of fp32, for each group or for all. */
static bool is_made(const beside *w) {
    return w->is_output ? w->own->value_scales.scale != NULL : w->own->q == NULL;
}

/* The round's group begins: its halves, and what its sums begin with. */
RT_TOLD static void make_halves(beside *w) {
    const block *b = w->own;
    const line_scales *by = w->is_output ? &b->value_scales : &b->key_scales;
    const int64_t at = w->round * AMX_STEP / ATTN_SEAL_GROUP * by->n_lines;
    const scaled_rows from = {.rows = w->is_output ? b->scores : b->q_rows,
            .stride = w->is_output ? PAGE : w->head_dim,
            .n_rows = b->n_rows,
            .width = w->n_lines,
            .scale = by->scale ? by->scale + at : NULL,
            .middle = by->scale ? by->middle + at : NULL};
    if (w->round > 0 && (!by->scale || w->round * AMX_STEP % ATTN_SEAL_GROUP != 0)) return;
    scale_rows(&from, w->halves, w->begin);
    w->has_begin = by->scale != NULL;
}

enum { MADE = 2 * AMX_TILE_HALVES };

/* Columns of two panels, 32 lines. */
static void make_step(const beside *w, int64_t in_round) {
    const int64_t n_lines = w->codes->n_lines;
    const int64_t line =
            2 * (w->round + in_round % w->n_at_once) * n_lines + in_round / w->n_at_once * AMX_STEP;
    uint16_t *to = w->made + in_round % 2 * MADE;
    halves_of_lines(w->codes, line, AMX_STEP * PANEL, to);
    halves_of_lines(w->codes, line + n_lines, AMX_STEP * PANEL, to + AMX_TILE_HALVES);
}

RT_TOLD static void begin_round(beside *w) {
    const block *b = w->own;
    w->in_round = 0;
    w->n_at_once = !w->is_two && w->round + 1 < w->n_rounds ? 2 : 1;
    w->n_in_round = w->n_at_once * w->n_lines / AMX_STEP;
    if (is_made(w)) make_halves(w);
    w->next.a = is_made(w) ? w->halves : w->is_output ? (const uint16_t *)b->scores : b->q;
    if (w->codes) {
        make_step(w, 0);
        w->next.b = w->made;
    } else if (w->is_output) {
        w->next.b = b->values + w->round * AMX_STEP * PAGE;
    } else {
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
    w->n_lines = is_output ? own->n_end : w->head_dim;
    w->has_begin = false;
    const bool is_in_rows = is_output && !is_made(w);
    w->next.other_at = is_in_rows ? PANEL * PAGE * 2 : amx_panel_halves(w->n_lines);
    w->next.low_at = is_in_rows ? LOW_AT : AMX_TILE_HALVES;
    w->next.a_stride = is_in_rows ? PAGE * sizeof(float) : AMX_LINE_BYTES;
    w->a_step = is_in_rows ? 2 * AMX_STEP : 2 * AMX_TILE_HALVES;
    w->codes = is_output ? own->value_codes : own->key_codes;
    w->next.other_b_at =
            w->codes ? (int64_t)AMX_TILE_HALVES : (is_output ? PAGE : w->head_dim) * PANEL;
    w->round_b_at = 2 * w->next.other_b_at;
    begin_round(w);
}

/* What is not there, or has no row that sees a key, is left out. */
RT_TOLD static beside beside_of(
        block *output, block *score, const attn_split *split, const attn_scratch *scratch) {
    if (output && !output->values && !output->value_codes) output = NULL;
    beside w = {.output = output,
            .score = score,
            .head_dim = split->shape->head_dim,
            .halves = place_of_halves(split, scratch),
            .begin = scratch->scores + 3 * ROWS * PAGE,
            .sums = scratch->scores + 3 * ROWS * PAGE + ROWS * PANEL,
            .made = (uint16_t *)(scratch->scores + 3 * ROWS * PAGE + ROWS * (PANEL + AMX_STEP)),
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
    const int64_t end = rt_min64(w->owed_row + n, b->n_rows);
    for (int64_t i = 0; i < w->n_owed; i++) {
        float *sums = w->sums + i * PANEL * AMX_STEP;
        const int64_t first_dim = (w->owed_round + i) * AMX_STEP;
        if (w->owed_row == 0) sum_what_is_infinite(b, first_dim, sums);
        add_sums(b, sums, w->owed_row, end, w->head_dim,
                w->out + b->first * w->head_dim + first_dim);
    }
    w->owed_row = end;
    w->is_owed = end < b->n_rows;
}

/* Of 16 columns and the next 16. */
SIMD_INLINE void begin_sums(const beside *w) {
    const bool is_all = w->is_two || w->n_at_once == 2;
    if (!w->has_begin) {
        amx_clear_sums(is_all);
        return;
    }
    const float *other = w->begin + (w->is_two ? PANEL * PANEL : 0);
    amx_load(0, w->begin, AMX_LINE_BYTES);
    amx_load(1, w->begin, AMX_LINE_BYTES);
    if (!is_all) return;
    amx_load(2, other, AMX_LINE_BYTES);
    amx_load(3, other, AMX_LINE_BYTES);
}

/* What to multiply; false: nothing is left. */
SIMD_INLINE bool begin_step(beside *w, amx_step *s) {
    if (!w->own) return false;
    ask_ahead(w->is_output ? &w->own->after_output : &w->own->after_scores);
    if (w->in_round == 0) begin_sums(w);
    if (w->codes && w->in_round + 1 < w->n_in_round) make_step(w, w->in_round + 1);
    *s = w->next;
    return true;
}

/* A round ends: its sums are scores, or are owed to the output. */
SIMD_TILE void end_round(beside *w) {
    const bool is_all = w->is_two || w->n_at_once == 2;
    if (w->is_output) {
        pay(w, ROWS);
        amx_store_sums(is_all, w->sums, AMX_STEP * sizeof(float), PANEL * AMX_STEP);
        w->is_owed = true;
        w->n_owed = w->n_at_once;
        w->owed_round = w->round;
        w->owed_row = 0;
    } else {
        amx_store_sums(is_all, w->own->scores + w->round * AMX_STEP, PAGE * sizeof(float),
                w->is_two ? PANEL * PAGE : AMX_STEP);
    }
    w->round += w->n_at_once;
    if (w->round < w->n_rounds)
        begin_round(w);
    else
        begin_turn(w, w->is_output ? w->score : NULL, false);
}

SIMD_INLINE void end_step(beside *w) {
    enum { PAID = ROWS / (PAGE / AMX_STEP) };
    w->n_left--;
    const bool is_next = ++w->in_round % w->n_at_once == 0;
    if (is_next) w->next.a += w->a_step;
    if (w->codes)
        w->next.b = w->made + w->in_round % 2 * MADE;
    else
        w->next.b +=
                is_next ? AMX_STEP * PANEL - (w->n_at_once - 1) * w->round_b_at : w->round_b_at;
    pay(w, PAID);
    if (w->in_round == w->n_in_round) end_round(w);
}

SIMD_TILE void do_steps(beside *w, int64_t n) {
    amx_step s;
    for (; n > 0 && begin_step(w, &s); n--) {
        if (w->in_round % w->n_at_once == 1) {
            multiply_other(&s);
        } else {
            multiply_quarter(&s, 0);
            multiply_quarter(&s, 1);
        }
        if (w->is_two) {
            multiply_quarter(&s, 2);
            multiply_quarter(&s, 3);
        }
        end_step(w);
    }
}

/* All that is left. */
RT_TOLD static void do_rest(beside *w) {
    do_steps(w, w->n_left);
    pay(w, ROWS);
}

#endif
