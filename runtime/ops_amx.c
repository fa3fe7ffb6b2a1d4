/* Linear layers by AMX's tiles (base/amx_product.h): rows of fp32 times bf16 weights, n_in even.
 *
 * Weights lie in panels of 16 outputs as elsewhere, two inputs side by side, [n_in / 2][16][2]: a tile of 32 inputs is a
 * kilobyte, and is read where it is; of what is left of a panel a copy, zeros behind. Rows become halves for some inputs at a
 * time, in the thread's scratch; sums wait in y meanwhile, the same fp32 as in tiles, so that it does not show where they are
 * cut. One row or two are ops_rows_amx.c's. */
#include "ops_amx.h"

enum {
    ROWS_AT_ONCE = 192,
    SCRATCH_HALVES = GLM_WIDE_FLOATS * 2,
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

/* As many inputs as the scratch has room for. */
static int64_t inputs_at_once(int64_t n_rows) {
    return SCRATCH_HALVES / (rt_round_up(n_rows, SIMD_PANEL) * 2) / AMX_STEP * AMX_STEP;
}

/* Of 16 rows. */
static int64_t panel_halves_of(const piece *p) {
    return amx_panel_halves(rt_round_up(p->n_k, AMX_STEP));
}

/* Inputs behind the last one are 0. */
static void split_row(const float *row, int64_t n_k, uint16_t *to) {
    const int64_t whole = n_k / AMX_STEP * AMX_STEP;
    float last[AMX_STEP] = {0};
    amx_split_row(row, whole, 1.0f, to);
    if (whole == n_k) return;
    memcpy(last, row + whole, (size_t)(n_k - whole) * sizeof *last);
    amx_split_row(last, AMX_STEP, 1.0f, to + amx_panel_halves(whole));
}

static void split_rows(const piece *p) {
    const glm_rows x = p->block->x;
    uint16_t *to = (uint16_t *)p->block->wide;
    const int64_t panel_halves = panel_halves_of(p);
    memset(to + p->n / SIMD_PANEL * panel_halves, 0,
            p->n % SIMD_PANEL ? (size_t)panel_halves * sizeof *to : 0);
    for (int64_t r = 0; r < p->n; r++)
        split_row(x.data + (p->row + r) * x.stride + p->k, p->n_k,
                to + r / SIMD_PANEL * panel_halves + r % SIMD_PANEL * AMX_STEP);
}

/* ---- 32 rows by 32 outputs ------------------------------------------------------------------- */

/* Where the sums of a tile are: y itself, or, where rows or outputs are fewer, a copy. */
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

static void add_bias(const sums *s, const float *bias) {
    for (int64_t r = 0; r < s->n_rows; r++)
        for (int64_t i = 0; i < s->n_outs; i += SIMD_LANES)
            simd_store(s->y + r * s->stride + i,
                    simd_load(s->y + r * s->stride + i) + simd_load(bias + i));
}

/* The weights of a step that comes later, of this tile or the next one's, which lie behind it. */
SIMD_INLINE void ask_ahead(const uint16_t *weights, int64_t panel_numbers, int64_t n_k, int64_t k) {
    const int64_t later = k + AHEAD * AMX_STEP;
    const uint16_t *from = later < n_k ? weights + later * SIMD_PANEL
                                       : weights + 2 * panel_numbers + (later - n_k) * SIMD_PANEL;
    for (int64_t line = 0; line < AMX_LINES; line++) {
        __builtin_prefetch(from + line * AMX_LINE_BYTES / 2);
        __builtin_prefetch(from + panel_numbers + line * AMX_LINE_BYTES / 2);
    }
}

/* Up to 32 rows from `row` of the piece on by two panels of outputs, or one; `last` is what is left of them behind whole
 * steps. */
SIMD_TILE void multiply_tile(const piece *p, int64_t row, int64_t panel, const uint16_t *last) {
    const glm_block *block = p->block;
    const int64_t panel_numbers = block->n_in * SIMD_PANEL;
    const uint16_t *weights =
            (const uint16_t *)block->panels + panel * panel_numbers + p->k * SIMD_PANEL;
    const int64_t n_panels = rt_min64(block->n_panels - panel, 2);
    sums s = {.y = block->y.data + (p->row + row) * block->y.stride + panel * SIMD_PANEL,
            .stride = block->y.stride,
            .n_rows = rt_min64(p->n - row, 2 * SIMD_PANEL),
            .n_outs = n_panels * SIMD_PANEL};
    s.is_whole = n_panels == 2 && s.n_rows % SIMD_PANEL == 0;
    const bool is_two = s.n_rows > SIMD_PANEL;
    amx_step step = {.a = p->halves + row / SIMD_PANEL * panel_halves_of(p),
            .a_stride = AMX_LINE_BYTES,
            .other_at = panel_halves_of(p),
            .low_at = AMX_TILE_HALVES,
            .b = weights,
            .other_b_at = n_panels == 2 ? panel_numbers : 0};
    begin_sums(&s, is_two, p->k == 0);
    int64_t k = 0;
    for (; k + AMX_STEP <= p->n_k; k += AMX_STEP) {
        if (row == 0) ask_ahead(weights, step.other_b_at, p->n_k, k);
        amx_multiply_step(&step, is_two);
        step.a += 2 * AMX_TILE_HALVES;
        step.b += AMX_TILE_HALVES;
    }
    if (k < p->n_k) {
        step.b = last;
        step.other_b_at = n_panels == 2 ? AMX_TILE_HALVES : 0;
        amx_multiply_step(&step, is_two);
    }
    end_sums(&s, is_two);
    if (p->k + p->n_k == block->n_in && block->bias) add_bias(&s, block->bias + panel * SIMD_PANEL);
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

/* Panels outermost: two stay in the first-level cache while the rows pass. */
static void multiply_piece(const piece *p) {
    uint16_t last[2 * AMX_TILE_HALVES] __attribute__((aligned(AMX_LINE_BYTES))) = {0};
    for (int64_t panel = 0; panel < p->block->n_panels; panel += 2) {
        copy_last(p, panel, last);
        for (int64_t row = 0; row < p->n; row += 2 * SIMD_PANEL) multiply_tile(p, row, panel, last);
    }
}

/* What a block touches that other threads may; weights do not change. */
static void tell(const glm_block *block) {
    const int64_t float_bytes = (int64_t)sizeof(float);
    for (int64_t row = 0; row < block->n; row++) {
        rt_reads(block->x.data + row * block->x.stride, block->n_in * float_bytes);
        rt_writes(
                block->y.data + row * block->y.stride, block->n_panels * SIMD_PANEL * float_bytes);
    }
}

void SIMD_NAME(glm_linear_block)(const glm_block *block);
void SIMD_NAME(glm_linear_block)(const glm_block *block) {
    tell(block);
    if (block->n <= GLM_ROWS_BY_VECTORS) {
        SIMD_NAME(glm_linear_rows)(block);
        return;
    }
    const unsigned mode = amx_begin();
    for (int64_t row = 0; row < block->n; row += ROWS_AT_ONCE) {
        const int64_t n = rt_min64(block->n - row, ROWS_AT_ONCE);
        for (int64_t k = 0; k < block->n_in; k += inputs_at_once(n)) {
            const piece p = {.block = block,
                    .row = row,
                    .n = n,
                    .k = k,
                    .n_k = rt_min64(inputs_at_once(n), block->n_in - k),
                    .halves = (const uint16_t *)block->wide};
            split_rows(&p);
            multiply_piece(&p);
        }
    }
    amx_end(mode);
}
