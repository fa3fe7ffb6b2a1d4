/* One row, or two, times bf16 weights by vectors, in the order and with the roundings of tiles (base/amx_tiles.h): the same bits.
 * A tile takes as long for them as for 16.
 *
 * Weights are pairs of inputs, of which a shift and a mask make two vectors of 16 outputs. 32 inputs are four chains of 16 FMAs:
 * even and odd inputs by high halves, and by low ones. Two panels side by side are chains enough that none waits for itself; they
 * come from two long streams, each its own part of the block from end to end, as memory likes it (ops_simd.c). */
#include "ops_amx.h"

enum {
    STREAMS = 2,
    CHAINS = 4,  /* high even, high odd, low even, low odd */
    AHEAD = 128, /* inputs, 4 KiB, in each stream */
    SUMS_MAX = GLM_ROWS_BY_VECTORS * STREAMS * SIMD_VECTORS,
    ROW_NUMBERS = 2 * AMX_STEP /* of a step: a row's high halves, then its low ones, fp32 */
};
_Static_assert(GLM_ROWS_BY_VECTORS *ROW_NUMBERS <= GLM_WIDE_FLOATS, "a step of all rows fits");

/* Inputs [k, k + n_k) of a block, n_panels in each stream. */
typedef struct piece {
    const glm_block *block;
    const float *halves; /* [n_k / 32, rounded up][n rows][high, low][32] */
    int64_t k;
    int64_t n_k;
    int64_t n_panels;
} piece;

/* ---- halves ---------------------------------------------------------------------------------- */

static int64_t inputs_at_once(int64_t n_rows) {
    return GLM_WIDE_FLOATS / (n_rows * ROW_NUMBERS) * AMX_STEP;
}

/* Inputs behind the last one are 0. */
static void split_row(const float *row, int64_t n_k, int64_t n_rows, float *to) {
    float last[AMX_STEP] = {0};
    for (int64_t k = 0; k < n_k; k += AMX_STEP, to += n_rows * ROW_NUMBERS) {
        const float *from = row + k;
        if (n_k - k < AMX_STEP) from = memcpy(last, from, (size_t)(n_k - k) * sizeof *from);
        amx_split_wide(from, AMX_STEP, to, to + AMX_STEP);
    }
}

/* ---- products -------------------------------------------------------------------------------- */

/* 32 inputs of panels that are `apart` numbers from one to the next. */
typedef struct step {
    const float *halves;
    const uint16_t *weights;
    int64_t apart;
} step;

/* Of row r, vector v of a panel. */
SIMD_INLINE int sum_of(const int rows, const int panel, const int r, const int v) {
    return (panel * rows + r) * SIMD_VECTORS + v;
}

/* A line of each panel: chains += both halves of every row times 16 pairs. */
SIMD_INLINE void add_line(
        const int rows, const int panels, const step *s, int pair, vfloat (*chains)[CHAINS]) {
    const int across = panels * SIMD_VECTORS;
    vuint pairs[STREAMS * SIMD_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < across; i++) {
        const uint16_t *line = s->weights + i / SIMD_VECTORS * s->apart + pair * 2 * SIMD_PANEL;
        memcpy(&pairs[i], line + i % SIMD_VECTORS * 2 * SIMD_LANES, sizeof pairs[i]);
        if (i % SIMD_VECTORS == 0) __builtin_prefetch(line + AHEAD * SIMD_PANEL);
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int chain = 0; chain < CHAINS; chain++) {
            const int odd = chain % 2;
            const vfloat half =
                    simd_set(s->halves[r * ROW_NUMBERS + chain / 2 * AMX_STEP + 2 * pair + odd]);
#pragma GCC unroll 8
            for (int i = 0; i < across; i++) {
                vfloat *to = &chains[sum_of(rows, i / SIMD_VECTORS, r, i % SIMD_VECTORS)][chain];
                *to = amx_add_product(half, amx_widened(pairs[i], odd), *to);
            }
        }
}

SIMD_INLINE void add_step(const int rows, const int panels, const step *s, vfloat *sums) {
    vfloat chains[SUMS_MAX][CHAINS] = {{{0}}};
#pragma GCC unroll 4
    for (int pair = 0; pair < AMX_LINES; pair++) add_line(rows, panels, s, pair, chains);
#pragma GCC unroll 32
    for (int i = 0; i < rows * panels * SIMD_VECTORS; i++) {
        sums[i] = amx_add_sums(sums[i], chains[i][0], chains[i][1]);
        sums[i] = amx_add_sums(sums[i], chains[i][2], chains[i][3]);
    }
}

/* ---- panels ---------------------------------------------------------------------------------- */

/* Where the sums of row r, vector v of a stream's panel are in y. */
SIMD_INLINE int64_t place_of(const piece *p, int64_t panel, int stream, int r, int v) {
    return r * p->block->y.stride + (panel + stream * p->n_panels) * SIMD_PANEL + v * SIMD_LANES;
}

SIMD_INLINE void load_sums(
        const int rows, const int streams, const piece *p, int64_t panel, vfloat *sums) {
#pragma GCC unroll 2
    for (int stream = 0; stream < streams; stream++)
#pragma GCC unroll 2
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < SIMD_VECTORS; v++)
                sums[sum_of(rows, stream, r, v)] =
                        simd_load(p->block->y.data + place_of(p, panel, stream, r, v));
}

/* Sums wait in y between pieces, the same fp32 as in registers; the last piece adds the bias. */
SIMD_INLINE void store_sums(
        const int rows, const int streams, const piece *p, int64_t panel, const vfloat *sums) {
    const bool is_last = p->k + p->n_k == p->block->n_in;
    const float *bias = is_last ? p->block->bias : NULL;
#pragma GCC unroll 2
    for (int stream = 0; stream < streams; stream++)
#pragma GCC unroll 2
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < SIMD_VECTORS; v++) {
                vfloat sum = sums[sum_of(rows, stream, r, v)];
                if (bias) sum += simd_load(bias + place_of(p, panel, stream, 0, v));
                simd_store(p->block->y.data + place_of(p, panel, stream, r, v), sum);
            }
}

/* The inputs behind the last whole step. */
SIMD_INLINE void add_last(const int rows, const int streams, step s, int64_t n_k, vfloat *sums) {
    uint16_t last[STREAMS * AMX_TILE_HALVES] = {0};
    for (int stream = 0; stream < streams; stream++)
        glm_copy_last(last + stream * AMX_TILE_HALVES, s.weights + stream * s.apart, n_k);
    s.weights = last;
    s.apart = AMX_TILE_HALVES;
    add_step(rows, streams, &s, sums);
}

/* One panel of each stream. */
SIMD_INLINE void multiply_panel(const int rows, const int streams, const piece *p, int64_t panel) {
    const int64_t panel_numbers = p->block->n_in * SIMD_PANEL;
    const uint16_t *weights = (const uint16_t *)p->block->panels + panel * panel_numbers;
    step s = {.halves = p->halves,
            .weights = weights + p->k * SIMD_PANEL,
            .apart = p->n_panels * panel_numbers};
    vfloat sums[SUMS_MAX] = {{0}};
    if (p->k > 0) load_sums(rows, streams, p, panel, sums);
    int64_t k = 0;
    for (; k + AMX_STEP <= p->n_k; k += AMX_STEP) {
        add_step(rows, streams, &s, sums);
        s.halves += rows * ROW_NUMBERS;
        s.weights += AMX_TILE_HALVES;
    }
    if (k < p->n_k) add_last(rows, streams, s, p->n_k - k, sums);
    store_sums(rows, streams, p, panel, sums);
}

/* Each a function of its own: in a larger one sums do not stay in registers. */
#define DEFINE_ROWS(rows)                                               \
    SIMD_TILE void both_streams_##rows(const piece *p, int64_t panel) { \
        multiply_panel((rows), STREAMS, p, panel);                      \
    }                                                                   \
    SIMD_TILE void one_stream_##rows(const piece *p, int64_t panel) {   \
        multiply_panel((rows), 1, p, panel);                            \
    }
DEFINE_ROWS(1)
DEFINE_ROWS(2)

/* The first and the second half of the panels side by side, then the one left over. */
static void multiply_piece(const piece *whole) {
    typedef void multiply(const piece *p, int64_t panel);
    const bool is_one = whole->block->n == 1;
    multiply *const both = is_one ? both_streams_1 : both_streams_2;
    multiply *const one = is_one ? one_stream_1 : one_stream_2;
    piece p = *whole;
    p.n_panels /= STREAMS;
    for (int64_t panel = 0; panel < p.n_panels; panel++) both(&p, panel);
    if (whole->n_panels % STREAMS) one(whole, whole->n_panels - 1);
}

void SIMD_NAME(glm_linear_rows)(const glm_block *block) {
    rt_assert(block->n >= 1 && block->n <= GLM_ROWS_BY_VECTORS);
    const unsigned mode = amx_flush_small();
    for (int64_t k = 0; k < block->n_in; k += inputs_at_once(block->n)) {
        const piece p = {.block = block,
                .halves = block->wide,
                .k = k,
                .n_k = rt_min64(inputs_at_once(block->n), block->n_in - k),
                .n_panels = block->n_panels};
        for (int64_t r = 0; r < block->n; r++)
            split_row(block->x.data + r * block->x.stride + k, p.n_k, block->n,
                    block->wide + r * ROW_NUMBERS);
        multiply_piece(&p);
    }
    amx_heed_small(mode);
}
