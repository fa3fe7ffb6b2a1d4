/* Linear layers by AMX's tiles (base/amx_product.h): rows of fp32 times bf16 weights, n_in even.
 *
 * Weights lie in panels of 16 outputs as elsewhere, two inputs side by side, [n_in / 2][16][2]: a tile of 32 inputs is a
 * kilobyte, and is read where it is; of what is left of a panel a copy, zeros behind. Rows become halves for some inputs at a
 * time; sums wait in y meanwhile, the same fp32 as in tiles, so that it does not show where they are cut. One row or two are
 * ops_rows_amx.c's. */
#include "ops_amx.h"

enum {
    ROWS_AT_ONCE = 192,
    SCRATCH_HALVES = GLM_WIDE_FLOATS * 2,
    STRIP = 384, /* inputs; of two panels 24 KiB, half of the first-level cache */
    TILE_ROWS = 2 * SIMD_PANEL,
    AHEAD = 4 /* steps, of 2 KiB */
};
_Static_assert(ROWS_AT_ONCE *AMX_STEP * 2 <= SCRATCH_HALVES, "some inputs of all rows at once fit");

/* Inputs [k, k + n_k) of rows [row, row + n) of a block. */
typedef struct piece {
    const glm_block *block;
    int64_t row;
    int64_t n;
    int64_t k;
    int64_t n_k;
    const uint16_t *halves; /* [n / 16][n_k / 32][high, low][16][32], rounded up */
} piece;

/* ---- halves ---------------------------------------------------------------------------------- */

/* Of 16 rows. */
static int64_t panel_halves(int64_t n_k) {
    return amx_panel_halves(rt_round_up(n_k, AMX_STEP));
}

/* Up to 16 rows, a step of all of them at a time, so that what is written lies together. Inputs behind the last one are 0. */
static void split_panel(glm_rows x, int64_t n, int64_t k, int64_t n_k, uint16_t *to) {
    float last[AMX_STEP] = {0};
    for (int64_t i = 0; i < n_k; i += AMX_STEP, to += 2 * AMX_TILE_HALVES)
        for (int64_t r = 0; r < n; r++) {
            const float *row = x.data + r * x.stride + k + i;
            if (n_k - i < AMX_STEP) row = memcpy(last, row, (size_t)(n_k - i) * sizeof *row);
            amx_split_row(row, AMX_STEP, 1.0f, to + r * AMX_STEP);
        }
}

static void split_rows(glm_rows x, int64_t n, int64_t k, int64_t n_k, uint16_t *to) {
    const int64_t of_panel = panel_halves(n_k);
    for (int64_t row = 0; row < n; row += SIMD_PANEL, to += of_panel) {
        const int64_t n_rows = rt_min64(n - row, SIMD_PANEL);
        if (n_rows < SIMD_PANEL) memset(to, 0, (size_t)of_panel * sizeof *to);
        split_panel((glm_rows){x.data + row * x.stride, x.stride}, n_rows, k, n_k, to);
    }
}

/* ---- 32 rows by 32 outputs, or fewer --------------------------------------------------------- */

/* Some inputs of a piece's, [k, k + n_k), by two panels; `last` is what is left of them behind whole steps. */
typedef struct strip {
    const piece *piece;
    int64_t panel;
    int64_t k;
    int64_t n_k;
    const uint16_t *last;
} strip;

static bool is_begin(const strip *c) {
    return c->piece->k + c->k == 0;
}

/* NULL unless these are the last inputs. */
static const float *bias_of(const strip *c) {
    const glm_block *block = c->piece->block;
    const bool is_end = c->piece->k + c->k + c->n_k == block->n_in;
    return is_end && block->bias ? block->bias + c->panel * SIMD_PANEL : NULL;
}

/* From the first panel to the other. */
static int64_t panel_numbers(const strip *c) {
    return c->piece->block->n_in * SIMD_PANEL;
}

static const uint16_t *weights_of(const strip *c) {
    return (const uint16_t *)c->piece->block->panels + c->panel * panel_numbers(c) +
           (c->piece->k + c->k) * SIMD_PANEL;
}

static float *y_of(const strip *c, int64_t row) {
    const glm_rows y = c->piece->block->y;
    return y.data + (c->piece->row + row) * y.stride + c->panel * SIMD_PANEL;
}

static amx_step step_of(const strip *c, int64_t row, bool has_other) {
    const int64_t of_panel = panel_halves(c->piece->n_k);
    return (amx_step){.a = c->piece->halves + row / SIMD_PANEL * of_panel + amx_panel_halves(c->k),
            .a_stride = AMX_LINE_BYTES,
            .other_at = of_panel,
            .low_at = AMX_TILE_HALVES,
            .b = weights_of(c),
            .other_b_at = has_other ? panel_numbers(c) : 0};
}

static void add_bias(float *y, int64_t stride, int64_t n_rows, int64_t n_outs, const float *bias) {
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t i = 0; i < n_outs; i += SIMD_LANES)
            simd_store(y + r * stride + i, simd_load(y + r * stride + i) + simd_load(bias + i));
}

/* ---- where rows or outputs are fewer */

/* Their sums are in a copy between y and tiles. */
typedef struct sums {
    float *y;
    int64_t stride;
    int64_t n_rows;
    int64_t n_outs;
    bool is_whole;
    float copy[2 * SIMD_PANEL * 2 * SIMD_PANEL] __attribute__((aligned(AMX_LINE_BYTES)));
} sums;

static void copy_rows(
        float *to, int64_t to_stride, const float *from, int64_t from_stride, const sums *s) {
    for (int64_t r = 0; r < s->n_rows; r++)
        memcpy(to + r * to_stride, from + r * from_stride, (size_t)s->n_outs * sizeof *to);
}

SIMD_INLINE void begin_sums(sums *s, bool is_two, bool is_first) {
    enum { COPY_STRIDE = 2 * SIMD_PANEL };
    const int64_t float_bytes = (int64_t)sizeof(float);
    if (is_first) {
        amx_clear_sums(is_two);
    } else if (s->is_whole) {
        amx_load_sums(is_two, s->y, s->stride * float_bytes, SIMD_PANEL * s->stride);
    } else {
        copy_rows(s->copy, COPY_STRIDE, s->y, s->stride, s);
        amx_load_sums(is_two, s->copy, COPY_STRIDE * float_bytes, SIMD_PANEL * COPY_STRIDE);
    }
}

SIMD_INLINE void end_sums(sums *s, bool is_two) {
    enum { COPY_STRIDE = 2 * SIMD_PANEL };
    const int64_t float_bytes = (int64_t)sizeof(float);
    if (s->is_whole) {
        amx_store_sums(is_two, s->y, s->stride * float_bytes, SIMD_PANEL * s->stride);
        return;
    }
    amx_store_sums(is_two, s->copy, COPY_STRIDE * float_bytes, SIMD_PANEL * COPY_STRIDE);
    copy_rows(s->y, s->stride, s->copy, COPY_STRIDE, s);
}

/* The weights of a step that comes later, of these panels or the next ones, which lie behind them. */
SIMD_INLINE void ask_ahead(const uint16_t *weights, int64_t numbers, int64_t n_k, int64_t k) {
    const int64_t later = k + AHEAD * AMX_STEP;
    const uint16_t *from = later < n_k ? weights + later * SIMD_PANEL
                                       : weights + 2 * numbers + (later - n_k) * SIMD_PANEL;
    for (int64_t line = 0; line < AMX_LINES; line++) {
        __builtin_prefetch(from + line * AMX_LINE_BYTES / 2);
        __builtin_prefetch(from + numbers + line * AMX_LINE_BYTES / 2);
    }
}

SIMD_TILE void multiply_part(const strip *c, int64_t row) {
    const int64_t n_panels = rt_min64(c->piece->block->n_panels - c->panel, 2);
    sums s = {.y = y_of(c, row),
            .stride = c->piece->block->y.stride,
            .n_rows = rt_min64(c->piece->n - row, TILE_ROWS),
            .n_outs = n_panels * SIMD_PANEL};
    s.is_whole = n_panels == 2 && s.n_rows % SIMD_PANEL == 0;
    const bool is_two = s.n_rows > SIMD_PANEL;
    const int64_t n_k = c->n_k;
    amx_step step = step_of(c, row, n_panels == 2);
    const uint16_t *weights = step.b;
    begin_sums(&s, is_two, is_begin(c));
    int64_t k = 0;
    for (; k + AMX_STEP <= n_k; k += AMX_STEP) {
        if (row == 0) ask_ahead(weights, step.other_b_at, n_k, k);
        amx_multiply_step(&step, is_two);
        step.a += 2 * AMX_TILE_HALVES;
        step.b += AMX_TILE_HALVES;
    }
    if (k < n_k) {
        step.b = c->last;
        step.other_b_at = n_panels == 2 ? AMX_TILE_HALVES : 0;
        amx_multiply_step(&step, is_two);
    }
    end_sums(&s, is_two);
    if (bias_of(c)) add_bias(s.y, s.stride, s.n_rows, s.n_outs, bias_of(c));
}

/* ---- whole ones, many of them ----
 *
 * Weights, 24 KiB, are read again for each 32 rows, which are read once each time and leave the first-level cache to them.
 * Sums of 32 by 32 are on their way to y while the next ones' products have begun: */

typedef struct waiting {
    float *y; /* NULL: none */
    const float *bias;
} waiting;

/* What will be needed, a part of it with each step: the next sums, and the weights of the next strip, of which every row
 * asks for a share. */
typedef struct ahead {
    const float *y;
    const uint16_t *weights;
    int64_t rows;  /* of y, a step */
    int64_t lines; /* of either panel, a step */
} ahead;

/* Where sums come from and go to, beside a tile's first step. */
typedef struct change {
    float *from; /* NULL: nowhere */
    const float *to;
    int64_t stride;
    bool is_first; /* they begin at 0 */
} change;

#define CHANGE_SUMS(tile, c, at, bytes)                          \
    do {                                                         \
        if ((c)->from) amx_store(tile, (c)->from + (at), bytes); \
        if ((c)->is_first)                                       \
            amx_zero(tile);                                      \
        else                                                     \
            amx_load(tile, (c)->to + (at), bytes);               \
    } while (0)

SIMD_INLINE void multiply_step(const amx_step *s, const change *c) {
    const int64_t bytes = c ? c->stride * (int64_t)sizeof(float) : 0;
    const int64_t other = c ? c->stride * SIMD_PANEL : 0;
    amx_load(4, s->b, AMX_LINE_BYTES);
    amx_load(5, s->b + s->other_b_at, AMX_LINE_BYTES);
    amx_load_once(6, s->a, AMX_LINE_BYTES);
    if (c) CHANGE_SUMS(0, c, 0, bytes);
    amx_multiply(0, 6, 4);
    if (c) CHANGE_SUMS(1, c, SIMD_PANEL, bytes);
    amx_multiply(1, 6, 5);
    amx_load_once(7, s->a + s->low_at, AMX_LINE_BYTES);
    amx_multiply(0, 7, 4);
    amx_multiply(1, 7, 5);
    amx_load_once(6, s->a + s->other_at, AMX_LINE_BYTES);
    if (c) CHANGE_SUMS(2, c, other, bytes);
    amx_multiply(2, 6, 4);
    if (c) CHANGE_SUMS(3, c, other + SIMD_PANEL, bytes);
    amx_multiply(3, 6, 5);
    amx_load_once(7, s->a + s->other_at + s->low_at, AMX_LINE_BYTES);
    amx_multiply(2, 7, 4);
    amx_multiply(3, 7, 5);
}

SIMD_INLINE void ask(ahead *a, int64_t stride, int64_t numbers) {
    for (int64_t r = 0; r < a->rows; r++, a->y += stride) {
        __builtin_prefetch(a->y, 1);
        __builtin_prefetch(a->y + SIMD_PANEL, 1);
    }
    for (int64_t line = 0; line < a->lines; line++, a->weights += AMX_LINE_BYTES / 2) {
        __builtin_prefetch(a->weights, 0, 2);
        __builtin_prefetch(a->weights + numbers, 0, 2);
    }
}

/* The strip that follows: of the same panels, or of the next ones. */
static strip behind(const strip *c) {
    strip next = *c;
    next.k += c->n_k;
    if (next.k < c->piece->n_k) return next;
    next.k = 0;
    next.panel += 2;
    return next;
}

static ahead ahead_of(const strip *c, int64_t row) {
    const int64_t n_asks = rt_max64(c->n_k / AMX_STEP - 1, 1);
    const int64_t n_shares = rt_div_up(c->piece->n, TILE_ROWS), share = row / TILE_ROWS;
    const int64_t lines = rt_div_up(c->n_k / 2, n_asks * n_shares);
    const strip next = behind(c);
    const bool is_last = row + TILE_ROWS >= c->piece->n;
    return (ahead){.y = is_last ? y_of(&next, 0) : y_of(c, row + TILE_ROWS),
            .weights = weights_of(&next) + share * n_asks * lines * (AMX_LINE_BYTES / 2),
            .rows = rt_div_up(TILE_ROWS, n_asks),
            .lines = lines};
}

SIMD_INLINE void finish(waiting *w, int64_t stride) {
    if (w->y && w->bias) add_bias(w->y, stride, TILE_ROWS, TILE_ROWS, w->bias);
    w->y = NULL;
}

SIMD_TILE void multiply_whole(const strip *c, int64_t row, waiting *w) {
    const int64_t stride = c->piece->block->y.stride, numbers = panel_numbers(c);
    float *y = y_of(c, row);
    ahead a = ahead_of(c, row);
    amx_step step = step_of(c, row, true);
    const change begin = {w->y, y, stride, is_begin(c)};
    multiply_step(&step, &begin);
    finish(w, stride);
    int64_t k = AMX_STEP;
    for (; k + AMX_STEP <= c->n_k; k += AMX_STEP) {
        step.a += 2 * AMX_TILE_HALVES;
        step.b += AMX_TILE_HALVES;
        ask(&a, stride, numbers);
        multiply_step(&step, NULL);
    }
    if (k < c->n_k) {
        step.a += 2 * AMX_TILE_HALVES;
        step.b = c->last;
        step.other_b_at = AMX_TILE_HALVES;
        multiply_step(&step, NULL);
    }
    *w = (waiting){y, bias_of(c)};
}

SIMD_TILE void store_waiting(waiting *w, int64_t stride) {
    if (!w->y) return;
    amx_store_sums(true, w->y, stride * (int64_t)sizeof(float), SIMD_PANEL * stride);
    finish(w, stride);
}

/* ---- a block --------------------------------------------------------------------------------- */

/* What is left of two panels behind whole steps, zeros behind it. */
static void copy_last(const piece *p, int64_t panel, uint16_t *to) {
    const int64_t n_k = p->n_k % AMX_STEP;
    const int64_t end = p->k + p->n_k - n_k;
    const uint16_t *panels = (const uint16_t *)p->block->panels;
    for (int64_t i = panel; n_k > 0 && i < rt_min64(panel + 2, p->block->n_panels); i++)
        glm_copy_last(to + (i - panel) * AMX_TILE_HALVES,
                panels + (i * p->block->n_in + end) * SIMD_PANEL, n_k);
}

/* Where rows are fewer, weights are read once or twice, and there is nothing to gain. */
static bool has_strips(const piece *p) {
    return p->n >= 2 * TILE_ROWS;
}

static void multiply_strip(const strip *c, waiting *w) {
    const piece *p = c->piece;
    const bool can_be_whole =
            has_strips(p) && c->panel + 2 <= p->block->n_panels && c->n_k >= AMX_STEP;
    for (int64_t row = 0; row < p->n; row += TILE_ROWS) {
        if (can_be_whole && row + TILE_ROWS <= p->n) {
            multiply_whole(c, row, w);
        } else {
            store_waiting(w, p->block->y.stride);
            multiply_part(c, row);
        }
    }
}

/* As long ones as fit, and alike. */
static int64_t strip_inputs(const piece *p) {
    if (!has_strips(p)) return p->n_k;
    return rt_round_up(rt_div_up(p->n_k, rt_div_up(p->n_k, STRIP)), AMX_STEP);
}

/* Panels outermost: two stay in the first-level cache while the rows pass. */
static void multiply_piece(const piece *p) {
    uint16_t last[2 * AMX_TILE_HALVES] __attribute__((aligned(AMX_LINE_BYTES))) = {0};
    const int64_t n_k = strip_inputs(p);
    waiting w = {NULL, NULL};
    for (int64_t panel = 0; panel < p->block->n_panels; panel += 2) {
        copy_last(p, panel, last);
        for (int64_t k = 0; k < p->n_k; k += n_k) {
            const strip c = {.piece = p,
                    .panel = panel,
                    .k = k,
                    .n_k = rt_min64(n_k, p->n_k - k),
                    .last = last};
            multiply_strip(&c, &w);
        }
    }
    store_waiting(&w, p->block->y.stride);
}

/* What a block touches that other threads may; weights do not change. */
static void tell_read(glm_rows x, int64_t n, int64_t k, int64_t n_k) {
    for (int64_t row = 0; row < n; row++)
        rt_reads(x.data + row * x.stride + k, n_k * (int64_t)sizeof(float));
}

static void tell_written(const glm_block *block) {
    for (int64_t row = 0; row < block->n; row++)
        rt_writes(block->y.data + row * block->y.stride,
                block->n_panels * SIMD_PANEL * (int64_t)sizeof(float));
}

/* ---- what others call ------------------------------------------------------------------------ */

void SIMD_NAME(glm_tiles_split)(glm_rows x, int64_t n, int64_t k, int64_t n_k, uint16_t *halves) {
    tell_read(x, n, k, n_k);
    const unsigned mode = amx_flush_small();
    split_rows(x, n, k, n_k, halves);
    amx_heed_small(mode);
    rt_writes(halves, rt_div_up(n, SIMD_PANEL) * panel_halves(n_k) * (int64_t)sizeof *halves);
}

void SIMD_NAME(glm_tiles_multiply)(
        const glm_block *block, const uint16_t *halves, int64_t k, int64_t n_k) {
    const piece p = {.block = block, .n = block->n, .k = k, .n_k = n_k, .halves = halves};
    rt_reads(halves, rt_div_up(block->n, SIMD_PANEL) * panel_halves(n_k) * (int64_t)sizeof *halves);
    tell_written(block);
    const unsigned mode = amx_begin();
    multiply_piece(&p);
    amx_end(mode);
}

/* As many inputs as the scratch has room for. */
static int64_t inputs_at_once(int64_t n_rows) {
    return SCRATCH_HALVES / (rt_round_up(n_rows, SIMD_PANEL) * 2) / AMX_STEP * AMX_STEP;
}

void SIMD_NAME(glm_linear_block)(const glm_block *block);
void SIMD_NAME(glm_linear_block)(const glm_block *block) {
    tell_read(block->x, block->n, 0, block->n_in);
    tell_written(block);
    if (block->n <= GLM_ROWS_BY_VECTORS) {
        SIMD_NAME(glm_linear_rows)(block);
        return;
    }
    const unsigned mode = amx_begin();
    for (int64_t row = 0; row < block->n; row += ROWS_AT_ONCE) {
        const int64_t n = rt_min64(block->n - row, ROWS_AT_ONCE);
        for (int64_t k = 0; k < block->n_in; k += inputs_at_once(n)) {
            uint16_t *halves = (uint16_t *)block->wide;
            const piece p = {.block = block,
                    .row = row,
                    .n = n,
                    .k = k,
                    .n_k = rt_min64(inputs_at_once(n), block->n_in - k),
                    .halves = halves};
            const glm_rows x = {block->x.data + row * block->x.stride, block->x.stride};
            split_rows(x, n, k, p.n_k, halves);
            multiply_piece(&p);
        }
    }
    amx_end(mode);
}
