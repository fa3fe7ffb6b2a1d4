/* Some hundred rows at a time: rounded once, by all threads; then panels of 64 outputs by blocks of rows, a few
 * panels an item, so that a block of rows stays in the second-level cache for them. */
#include "linear_onednn.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/told.h"
#include "ops_simd.h"

enum { SLAB_ROWS = 512, ROUND_ROWS = 16 };

static const int64_t item_bytes_max = RT_MIB; /* of weights */

struct glm_linear_onednn {
    glm_onednn *library;
    void *slab; /* bf16, in parts, of SLAB_ROWS rows of the width padded */
    int64_t slab_bytes;
};

static int64_t padded(int64_t width) {
    return rt_round_up(width, GLM_ONEDNN_INS);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int64_t slab_bytes(const int64_t *widths, int n_widths) {
    int64_t width = 0;
    for (int i = 0; i < n_widths; i++) width = rt_max64(width, padded(widths[i]));
    return SLAB_ROWS * width * (int64_t)sizeof(uint16_t);
}

int64_t glm_linear_onednn_scratch_bytes(const int64_t *widths, int n_widths, int n_threads) {
    return rt_mem_cost(slab_bytes(widths, n_widths)) + rt_mem_cost(glm_onednn_bytes(n_threads));
}

int64_t glm_linear_onednn_bytes(int64_t n_out, int64_t n_in) {
    return rt_round_up(n_out, GLM_ONEDNN_OUTS) * padded(n_in) * (int64_t)sizeof(uint16_t);
}

rt_status glm_linear_onednn_open(
        const int64_t *widths, int n_widths, int n_threads, glm_linear_onednn **out) {
    glm_linear_onednn *made = NULL;
    *out = NULL;
    RT_TRY(rt_calloc(1, sizeof *made, "oneDNN's linear layers", &made));
    made->slab_bytes = slab_bytes(widths, n_widths);
    rt_status status = rt_mem_alloc(made->slab_bytes, "rows for oneDNN", &made->slab);
    if (status == RT_OK) status = glm_onednn_open(widths, n_widths, n_threads, &made->library);
    if (status == RT_OK)
        *out = made;
    else
        glm_linear_onednn_close(made);
    return status;
}

void glm_linear_onednn_close(glm_linear_onednn *onednn) {
    if (!onednn) return;
    glm_onednn_close(onednn->library);
    rt_mem_free(onednn->slab, onednn->slab_bytes);
    free(onednn);
}

/* ---- weights --------------------------------------------------------------------------------- */

/* 16 outputs of two inputs, a cache line, at a time. */
RT_TOLD static void pack_lines(uint16_t *to, int64_t n_in, int64_t n_rows, const uint16_t *rows) {
    rt_reads(rows, n_rows * n_in * (int64_t)sizeof *rows);
    for (int64_t k = 0; k < n_in; k += 2)
        rt_writes(to + k * GLM_ONEDNN_OUTS, n_rows * 2 * (int64_t)sizeof *to);
    for (int64_t k = 0; k + 2 <= n_in; k += 2)
        for (int64_t r = 0; r < n_rows; r++)
            memcpy(to + k * GLM_ONEDNN_OUTS + 2 * r, rows + r * n_in + k, 2 * sizeof *rows);
    for (int64_t r = 0; r < n_rows && n_in % 2; r++)
        to[(n_in - 1) * GLM_ONEDNN_OUTS + 2 * r] = rows[r * n_in + n_in - 1];
}

/* Two inputs of an output lie side by side. What is past the last output and input stays as it is (zero). */
void glm_linear_onednn_pack(
        const glm_linear *linear, int64_t row, int64_t n_rows, const uint16_t *rows) {
    rt_assert(row % GLM_PANEL == 0 && row + n_rows <= linear->n_out && linear->dtype == RT_BF16);
    const int64_t n_in = linear->n_in;
    for (int64_t done = 0; done < n_rows; done += GLM_PANEL) {
        const int64_t out = row + done;
        const int64_t panel = out / GLM_ONEDNN_OUTS * GLM_ONEDNN_OUTS * padded(n_in);
        uint16_t *to = (uint16_t *)linear->panels + panel + out % GLM_ONEDNN_OUTS * 2;
        pack_lines(to, n_in, rt_min64(GLM_PANEL, n_rows - done), rows + done * n_in);
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* A slab of rows times some panels. */
typedef struct job {
    const glm_ops *ops;
    const glm_linear *weight;
    const float *bias;
    int64_t width; /* padded */
    int64_t first_out;
    int64_t end_out; /* padded to whole vectors of y */
    glm_rows x;
    int64_t n;
    glm_rows y; /* column 0 is first_out */
    int64_t item_panels;
    int64_t n_blocks; /* items across the outputs */
    int64_t block_rows;
} job;

static void round_item(void *context, int64_t item, int thread) {
    (void)thread;
    const job *j = context;
    const int64_t end = rt_min64((item + 1) * ROUND_ROWS, j->n);
    uint16_t *slab = j->ops->onednn->slab;
    for (int64_t from = 0; from < j->width; from += GLM_ONEDNN_PART) {
        const int64_t n = glm_onednn_part(j->width, from);
        const int64_t n_in = rt_min64(n, j->weight->n_in - from);
        for (int64_t row = item * ROUND_ROWS; row < end; row++)
            glm_ops_kernels(j->ops)->round_row(j->x.data + row * j->x.stride + from, n_in, n,
                    slab + from * SLAB_ROWS + row * n);
    }
}

/* Rows of a tile that begins at output `out` -> y, with the bias; only the outputs that are asked for. */
RT_TOLD static void put_tile(
        const job *j, const float *tile, int64_t out, int64_t row, int64_t n_rows) {
    const int64_t begin = rt_max64(out, j->first_out);
    const int64_t end = rt_min64(out + GLM_ONEDNN_OUTS, j->end_out);
    for (int64_t r = 0; r < n_rows; r++) {
        const float *from = tile + r * GLM_ONEDNN_OUTS + (begin - out);
        float *to = j->y.data + (row + r) * j->y.stride + (begin - j->first_out);
        rt_writes(to, (end - begin) * (int64_t)sizeof *to);
        for (int64_t i = 0; i < end - begin; i++)
            to[i] = j->bias ? from[i] + j->bias[begin + i] : from[i];
    }
}

static int64_t multiply_block(
        const job *j, int thread, int64_t panel, int64_t end_panel, int64_t row, int64_t end_row) {
    glm_onednn *library = j->ops->onednn->library;
    const glm_onednn_rows_in x = {j->ops->onednn->slab, SLAB_ROWS, row};
    const int64_t n = glm_onednn_rows(library, end_row - row);
    for (int64_t p = panel; p < end_panel; p++) {
        const uint16_t *weights =
                (const uint16_t *)j->weight->panels + p * GLM_ONEDNN_OUTS * j->width;
        const float *tile =
                glm_onednn_multiply(library, thread, x, end_row - row, j->width, weights);
        put_tile(j, tile, p * GLM_ONEDNN_OUTS, row, n);
    }
    return n;
}

static void multiply_item(void *context, int64_t item, int thread) {
    const job *j = context;
    const int64_t first = j->first_out / GLM_ONEDNN_OUTS;
    const int64_t end = rt_div_up(j->end_out, GLM_ONEDNN_OUTS);
    const int64_t panel = first + item % j->n_blocks * j->item_panels;
    const int64_t end_panel = rt_min64(panel + j->item_panels, end);
    const int64_t row = item / j->n_blocks * j->block_rows;
    const int64_t end_row = rt_min64(row + j->block_rows, j->n);
    for (int64_t at = row; at < end_row;)
        at += multiply_block(j, thread, panel, end_panel, at, end_row);
}

/* Where rows are few, a panel an item: finer shares for the threads. Where the matrix is narrow, rows are cut, too. */
static void cut(job *j) {
    const int64_t panel_bytes = GLM_ONEDNN_OUTS * j->width * (int64_t)sizeof(uint16_t);
    const int64_t n_panels =
            rt_div_up(j->end_out, GLM_ONEDNN_OUTS) - j->first_out / GLM_ONEDNN_OUTS;
    const int64_t wanted = 4 * (int64_t)rt_pool_threads(j->ops->pool);
    const bool is_few = j->n <= GLM_ONEDNN_ROWS;
    j->item_panels = is_few ? 1 : rt_max64(item_bytes_max / panel_bytes, 1);
    j->n_blocks = rt_div_up(n_panels, j->item_panels);
    const int64_t parts = is_few ? 1 : rt_div_up(wanted, j->n_blocks);
    j->block_rows = rt_round_up(rt_div_up(j->n, parts), GLM_ONEDNN_ROWS);
}

static void multiply_slab(job *j) {
    cut(j);
    glm_ops_run(j->ops, rt_div_up(j->n, ROUND_ROWS), 8 * j->n * j->width, round_item, j);
    glm_ops_run(j->ops, j->n_blocks * rt_div_up(j->n, j->block_rows),
            2 * j->n * (j->end_out - j->first_out) * j->width, multiply_item, j);
}

void glm_linear_onednn_multiply(const glm_ops *ops, const glm_linear *weight, const float *bias,
        int64_t first_out, int64_t n_outs, glm_rows x, int64_t n, glm_rows y) {
    rt_assert(ops->onednn && weight->dtype == RT_BF16);
    for (int64_t row = 0; row < n; row += SLAB_ROWS) {
        job j = {.ops = ops,
                .weight = weight,
                .bias = bias,
                .width = padded(weight->n_in),
                .first_out = first_out,
                .end_out = first_out + glm_pad(n_outs),
                .x = {x.data + row * x.stride, x.stride},
                .n = rt_min64(SLAB_ROWS, n - row),
                .y = {y.data + row * y.stride, y.stride}};
        multiply_slab(&j);
    }
}
