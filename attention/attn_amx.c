/* Attention of one piece by tiles of bf16 (amx_tiles.h): up to ATTN_ROWS_MAX rows of one KV head against the pages of one
 * split, which are bf16.
 *
 * What is fp32, queries times their scale and weights, is two bf16: the nearest, and what is left of it, to 2^-17 of
 * the number. That costs products twice, and is what fp32 sums of 128 numbers may lose: scores, maxima, exponentials,
 * sums and the state are fp32 as everywhere (attn_simd.c).
 *
 *   scores   S[16 rows][16 keys] += Q [16][32 dims]  K [32 dims][16 keys]      32 dims after one another, high, then low
 *   output   O[16 rows][16 dims] += P [16][32 keys]  V [32 keys][16 dims]      32 keys after one another, high, then low
 *
 * Pages lie as tiles want them (attn_page.h), and are read where they are: a tile of keys or values is a kilobyte.
 *
 * A row's numbers meet no other row's, and a page is the same blocks of 32 whoever sees how much of it: what a row
 * comes to does not depend on what it shares a pass with. Keys that no row sees count as 0, whatever their bytes say. */
#include "attn_simd.h"

#include "amx_tiles.h"
#include "attn_effect.h"
#include "attn_scan.h"
#include "attn_stored.h"

enum {
    PAGE = ATTN_PAGE_TOKENS,
    PANEL = SIMD_PANEL,
    STEP = 32,                        /* dims or keys of a product */
    TILE_HALVES = AMX_TILE_BYTES / 2, /* numbers of bf16 */
    ROWS = 2 * PANEL,                 /* at a time */
    SCORE_BYTES = PAGE * (int)sizeof(float),
    WEIGHT_BYTES = PAGE * (int)sizeof(uint16_t)
};

/* ---- two halves of a number ------------------------------------------------------------------ */

/* To the nearest bf16, ties away from zero; what is not finite stays so. */
SIMD_INLINE vfloat high_half(vfloat x) {
    return (vfloat)(((vuint)x + 0x8000u) & 0xffff0000u);
}

/* Of numbers that may be anything: none becomes infinite, and what is has nothing left over. */
SIMD_INLINE vfloat high_half_of_any(vfloat x) {
    const vfloat near = high_half(x);
    const vint is_finite = ((vuint)near & 0x7f800000u) != 0x7f800000u;
    return choose(is_finite, near, (vfloat)((vuint)x & 0xffff0000u));
}

SIMD_INLINE vfloat low_half_of_any(vfloat x, vfloat high) {
    const vint is_finite = ((vuint)high & 0x7f800000u) != 0x7f800000u;
    return high_half(choose(is_finite, x - high, (vfloat){0}));
}

/* 2 LANES numbers that are bf16 already. */
SIMD_INLINE void store_halves(uint16_t *to, vfloat first, vfloat second) {
#if defined(__AVX512F__)
    static const uint16_t odd[32] = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33,
            35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    _mm512_storeu_si512(to,
            _mm512_permutex2var_epi16((__m512i)first, _mm512_loadu_si512(odd), (__m512i)second));
#else
    const vhalf halves[2] = {__builtin_convertvector((vuint)first >> 16, vhalf),
            __builtin_convertvector((vuint)second >> 16, vhalf)};
    memcpy(to, halves, sizeof halves);
#endif
}

/* ---- queries --------------------------------------------------------------------------------- */

/* Of a panel of 16 rows: [head_dim / 32][high, low][16 rows][32 dims]. */
static int64_t panel_halves(int32_t head_dim) {
    return (int64_t)head_dim / STEP * 2 * TILE_HALVES;
}

SIMD_INLINE void load_query(const float *row, int32_t head_dim, float scale, uint16_t *to) {
    for (int32_t d = 0; d < head_dim; d += 2 * SIMD_LANES) {
        vfloat high[2], low[2];
        for (int i = 0; i < 2; i++) {
            const vfloat x = simd_load(row + d + i * SIMD_LANES) * simd_set(scale);
            high[i] = high_half_of_any(x);
            low[i] = low_half_of_any(x, high[i]);
        }
        uint16_t *at = to + d / STEP * 2 * TILE_HALVES + d % STEP;
        store_halves(at, high[0], high[1]);
        store_halves(at + TILE_HALVES, low[0], low[1]);
    }
}

RT_TOLD static void load_queries(
        const float *const *rows, int64_t n_rows, int32_t head_dim, float scale, float *panels) {
    uint16_t *to = (uint16_t *)panels;
    memset(to, 0, (size_t)(rt_div_up(n_rows, PANEL) * panel_halves(head_dim)) * sizeof *to);
    for (int64_t r = 0; r < n_rows; r++) {
        rt_reads(rows[r], head_dim * (int64_t)sizeof(float));
        load_query(rows[r], head_dim, scale,
                to + r / PANEL * panel_halves(head_dim) + r % PANEL * STEP);
    }
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
    const uint16_t *
            a; /* [16 rows][32], lines of a_stride bytes; the other panel of rows, and their low halves, behind it */
    int64_t other_at;
    int64_t low_at;
    int64_t a_stride;
    const uint16_t *b; /* [16][32]; the other panel of columns behind it */
    int64_t other_b_at;
} step;

/* A quarter of a step of two panels of rows. */
SIMD_INLINE void quarter_of_two(const step *s, const int quarter) {
    if (quarter == 0) {
        amx_load(4, s->b, AMX_LINE_BYTES);
        amx_load(5, s->b + s->other_b_at, AMX_LINE_BYTES);
        amx_load(6, s->a, s->a_stride);
    }
    if (quarter == 1) amx_load(7, s->a + s->other_at, s->a_stride);
    if (quarter == 2) amx_load(6, s->a + s->low_at, s->a_stride);
    if (quarter == 3) amx_load(7, s->a + s->other_at + s->low_at, s->a_stride);
    if (quarter % 2 == 0) {
        amx_multiply(0, 6, 4);
        amx_multiply(1, 6, 5);
    } else {
        amx_multiply(2, 7, 4);
        amx_multiply(3, 7, 5);
    }
}

SIMD_INLINE void multiply_one(const step *s) {
    amx_load(4, s->b, AMX_LINE_BYTES);
    amx_load(5, s->b + s->other_b_at, AMX_LINE_BYTES);
    amx_load(6, s->a, s->a_stride);
    amx_multiply(0, 6, 4);
    amx_multiply(1, 6, 5);
    amx_load(7, s->a + s->low_at, s->a_stride);
    amx_multiply(0, 7, 4);
    amx_multiply(1, 7, 5);
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
        if (w->is_two) {
            quarter_of_two(&s, 0);
            quarter_of_two(&s, 1);
            quarter_of_two(&s, 2);
            quarter_of_two(&s, 3);
        } else {
            multiply_one(&s);
        }
        end_step(w);
    }
}

/* All that is left. */
static void do_rest(beside *w) {
    do_steps(w, w->n_left);
    pay(w, ROWS);
}

/* ---- weights --------------------------------------------------------------------------------- */

/* LANES vectors -> one: lane i has what operation makes of the lanes of rows[i]. */
SIMD_INLINE vfloat lanes_of(vfloat *rows, const bool is_max) {
#pragma GCC unroll 4
    for (int n = SIMD_LANES / 2; n > 0; n /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            const vfloat low = RIFFLE_LOW(rows[i], rows[i + n]);
            const vfloat high = RIFFLE_HIGH(rows[i], rows[i + n]);
            rows[i] = is_max ? simd_max(low, high) : low + high;
        }
    return rows[0];
}

/* Scores that a row does not see become -inf. */
SIMD_INLINE void hide_scores(float *scores, int64_t n_visible, int64_t n_end) {
    for (int64_t key = rt_max64(n_visible, 0); key < n_end; key++) scores[key] = -INFINITY;
}

SIMD_INLINE vfloat largest_of_row(const float *scores, int64_t n_end) {
    vfloat largest = simd_load(scores);
    for (int64_t key = SIMD_LANES; key < n_end; key += SIMD_LANES)
        largest = simd_max(simd_load(scores + key), largest);
    return simd_max(largest, simd_set(-INFINITY)); /* the first one may have been NaN */
}

/* NaN in the lanes of rows with a score that is none, or with both infinities. Only of rows that would be left out as they
 * are, it matters. */
SIMD_OUTLINE vfloat spoilt_rows(const float *scores, int64_t n_rows, int64_t n_end) {
    vfloat sums[SIMD_LANES] = {{0}};
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t key = 0; key < n_end; key += SIMD_LANES)
            sums[i] += simd_load(scores + i * PAGE + key);
    return lanes_of(sums, false);
}

/* Weights of 32 keys as two halves, where their scores were, and what they come to. */
SIMD_INLINE vfloat weigh_keys(float *scores, vfloat shift) {
    enum { VECTORS = STEP / SIMD_LANES };
    uint16_t *weights = (uint16_t *)scores;
    vfloat sum = {0}, weight[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++)
        weight[v] = simd_exp2(simd_load(scores + v * SIMD_LANES) - shift);
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v += 2) {
        vfloat high[2], low[2];
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            high[i] = high_half(weight[v + i]);
            low[i] = high_half(weight[v + i] - high[i]);
            sum += high[i] + low[i];
        }
        store_halves(weights + v * SIMD_LANES, high[0], high[1]);
        store_halves(weights + LOW_AT + v * SIMD_LANES, low[0], low[1]);
    }
    return sum;
}

SIMD_INLINE vfloat weigh_row(float *scores, int64_t n_end, float shift) {
    vfloat sum = {0};
    for (int64_t key = 0; key < n_end; key += STEP)
        sum += weigh_keys(scores + key, simd_set(shift));
    return sum;
}

/* A row of a whole page, and a step of two panels in quarters between. */
SIMD_INLINE vfloat weigh_row_beside(float *scores, float shift, const step *s) {
    vfloat sum = {0};
#pragma GCC unroll 4
    for (int quarter = 0; quarter < PAGE / STEP; quarter++) {
        sum += weigh_keys(scores + quarter * STEP, simd_set(shift));
        quarter_of_two(s, quarter);
    }
    return sum;
}

/* Rows [row, row + n) of the block, a vector of them at most; `steps` beside each. Returns whether any is seen. */
SIMD_INLINE bool weigh_rows(
        const attn_scratch *scratch, block *b, int64_t row, beside *work, int64_t steps) {
    const int64_t n = rt_min64(b->n_rows - row, SIMD_LANES);
    float *scores = b->scores + row * PAGE;
    vfloat rows[SIMD_LANES];
    for (int64_t i = 0; i < SIMD_LANES; i++) {
        rows[i] = (vfloat){0};
        if (i >= n) continue;
        const int64_t n_visible =
                rt_min64(scratch->limit[b->first + row + i] - b->page_pos, b->n_keys);
        if (n_visible < b->n_end) hide_scores(scores + i * PAGE, n_visible, b->n_end);
        rows[i] = largest_of_row(scores + i * PAGE, b->n_end);
    }
    page_max page = {lanes_of(rows, true), {0}};
    page_effect effect;
    float *max = scratch->part_max + b->first + row;
    vfloat earlier = {0};
    memcpy(&earlier, max, (size_t)n * sizeof(float));
    if (is_any(is_left_out(page.largest, earlier))) page.spoilt = spoilt_rows(scores, n, b->n_end);
    float shift[SIMD_LANES];
    simd_store(shift, meet_page(page, 0, (size_t)n, max, &effect));
    memcpy(b->alpha + row, effect.alpha, sizeof(vfloat));
    for (int64_t i = 0; i < SIMD_LANES; i++) rows[i] = (vfloat){0};
    for (int64_t i = 0; i < n; i++) {
        step s;
        if (!effect.is_seen[i]) {
            memset(scores + i * PAGE, 0, (size_t)b->n_end * sizeof *scores);
            do_steps(work, steps);
        } else if (b->n_end == PAGE && work->is_two && begin_step(work, &s)) {
            rows[i] = weigh_row_beside(scores + i * PAGE, shift[i], &s);
            end_step(work);
        } else {
            rows[i] = weigh_row(scores + i * PAGE, b->n_end, shift[i]);
            do_steps(work, steps);
        }
    }
    vfloat sum = {0};
    float *sums = scratch->part_sum + b->first + row;
    memcpy(&sum, sums, (size_t)n * sizeof(float));
    sum = simd_fma(sum, simd_load(effect.alpha), lanes_of(rows, false));
    memcpy(sums, &sum, (size_t)n * sizeof(float));
    return is_tile_seen(&effect, 0, n);
}

/* Whether any row of the block is seen. */
SIMD_TILE bool weigh_block(const attn_scratch *scratch, block *b, beside *work) {
    bool is_any_seen = false;
    const int64_t steps = rt_div_up(work->n_left, b->n_rows);
    for (int64_t row = 0; row < b->n_rows; row += SIMD_LANES)
        is_any_seen |= weigh_rows(scratch, b, row, work, steps);
    do_rest(work);
    return is_any_seen;
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* The values of n_keys keys, up to whole steps. Of a step that ends before its page does a copy, of which the rest is 0: it
 * meets weights of 0, and may be anything. */
static const uint16_t *whole_values(
        const attn_split *split, source from, int64_t n_keys, float *to) {
    const int64_t n_panels = split->shape->head_dim / PANEL;
    const stored values = stored_values(split, from);
    tell_panels(values.base, RT_BF16, n_panels, PAGE, n_keys);
    if (n_keys % STEP == 0) return (const uint16_t *)(const void *)values.base;
    uint16_t *copy = (uint16_t *)to;
    for (int64_t at = 0; at < n_panels * PAGE * PANEL; at += PAGE * PANEL) {
        memcpy(copy + at, (const uint16_t *)(const void *)values.base + at,
                (size_t)(rt_round_up(n_keys, STEP) * PANEL) * sizeof *copy);
        for (int64_t key = n_keys; key < rt_round_up(n_keys, STEP); key++)
            for (int64_t d = 0; d < PANEL; d++)
                copy[at + attn_panel_index(split->shape, key, d)] = 0;
    }
    return copy;
}

static const uint16_t *told_keys(const attn_split *split, source from, int64_t n_keys) {
    const int32_t head_dim = split->shape->head_dim;
    const stored keys = stored_keys(split, from);
    tell_panels(keys.base, RT_BF16, rt_div_up(n_keys, PANEL), head_dim, head_dim);
    return (const uint16_t *)(const void *)keys.base;
}

/* Blocks against a split's pages. All blocks see some pages, then some more: so long a block's queries and sums stay in the
 * first-level cache, and the pages in the second. */
typedef struct walk {
    const attn_split *split;
    attn_scratch *scratch;
    int64_t n_pages; /* of which any row sees a key */
    int64_t n_blocks;
    int64_t begin, end; /* the pages that are seen by all, now */
    int64_t page, block;
    int64_t n_begun;
} walk;

enum { PAGES_AT_ONCE = 4 };

static walk walk_of(const attn_split *split, attn_scratch *scratch) {
    walk w = {.split = split, .scratch = scratch, .n_blocks = rt_div_up(split->n_rows, ROWS)};
    const int64_t n_pages = rt_div_up(split->n_tokens, PAGE);
    while (w.n_pages < n_pages &&
            visible_keys(split, scratch, split->first_pos + w.n_pages * PAGE) > 0)
        w.n_pages++;
    w.end = rt_min64(w.n_pages, PAGES_AT_ONCE);
    return w;
}

/* A block's share of numbers that all of them will read, asked for in n_steps. */
static ahead share_of(const walk *w, const stored *numbers, int64_t n_steps) {
    const int64_t n_lines = rt_div_up(numbers->n_bytes / CACHE_LINE, n_steps * w->n_blocks);
    return (ahead){numbers->base + w->block * n_steps * n_lines * CACHE_LINE, n_lines};
}

/* What is asked for meanwhile: the page that takes this one's place in the next round. */
static void look_ahead(const walk *w, block *b) {
    const int64_t page = w->page + PAGES_AT_ONCE;
    if (page >= w->n_pages) return;
    const source from = source_of(w->split, w->split->first_pos + page * PAGE);
    const stored keys = stored_keys(w->split, from), values = stored_values(w->split, from);
    const int64_t n_steps = steps_of(b, w->split->shape->head_dim);
    b->after_scores = share_of(w, &keys, n_steps);
    b->after_output = share_of(w, &values, n_steps);
}

/* The next block and page; false at the end. Scores of a block stay until the one after the next has begun. */
static bool next_block(walk *w, block *b) {
    if (w->begin == w->n_pages) return false;
    const int32_t head_dim = w->split->shape->head_dim;
    const int64_t pos = w->split->first_pos + w->page * PAGE, first = w->block * ROWS;
    const int64_t n_keys = visible_keys(w->split, w->scratch, pos);
    *b = (block){.first = first,
            .n_rows = rt_min64(w->split->n_rows - first, ROWS),
            .page_pos = pos,
            .n_keys = n_keys,
            .n_end = rt_round_up(n_keys, STEP),
            .q = (const uint16_t *)w->scratch->q + first / PANEL * panel_halves(head_dim),
            .keys = told_keys(w->split, source_of(w->split, pos), n_keys),
            .scores = w->scratch->scores + w->n_begun++ % 2 * ROWS * PAGE};
    look_ahead(w, b);
    if (++w->page < w->end) return true;
    w->page = w->begin;
    if (++w->block < w->n_blocks) return true;
    w->block = 0;
    w->page = w->begin = w->end;
    w->end = rt_min64(w->n_pages, w->begin + PAGES_AT_ONCE);
    return true;
}

static bool scan(const attn_split *split, attn_scratch *scratch) {
    walk w = walk_of(split, scratch);
    block blocks[3], *before = NULL;
    bool is_any_seen = split->is_continued;
    rt_writes(scratch->part_out, split->n_rows * split->shape->head_dim * (int64_t)sizeof(float));
    if (!split->is_continued) clear_part(split, scratch);
    if (!next_block(&w, &blocks[0])) return is_any_seen;
    amx_begin();
    beside work = beside_of(NULL, &blocks[0], split, scratch);
    do_rest(&work);
    for (int64_t i = 0, has_next = true; has_next; i++) {
        block *own = &blocks[i % 3], *next = &blocks[(i + 1) % 3];
        has_next = next_block(&w, next);
        work = beside_of(before, has_next ? next : NULL, split, scratch);
        tell_weighed(split, scratch);
        if (weigh_block(scratch, own, &work)) {
            own->values = whole_values(
                    split, source_of(split, own->page_pos), own->n_keys, scratch->values);
            is_any_seen = true;
        }
        before = own;
    }
    work = beside_of(before, NULL, split, scratch);
    do_rest(&work);
    amx_end();
    return is_any_seen;
}

extern const attn_kernels SIMD_NAME(attn_kernels);
const attn_kernels SIMD_NAME(attn_kernels) = {load_queries, scan, fold};
