/* What a layer is made of, for one device: a struct of function pointers, filled by ops_cpu.c.
 *
 * Activations are fp32 rows on the CPU. Row widths are padded: a matrix with n_out outputs writes
 * rows of glm_pad(n_out) floats, the padding zero. Hidden states (the residual stream) are stored
 * in bf16 for 16-bit checkpoints and in f32 for f32 ones, unpadded. Everything blocks until done.
 *
 * A row's result depends on that row alone, not on how many it is computed with: every output is
 * summed over the inputs in one order, ascending (base/simd.h) or that of tiles (base/amx_tiles.h), or oneDNN has shown that it
 * is so (onednn.h). */
#ifndef GLM_OPS_H
#define GLM_OPS_H

#include "attention/attention.h"
#include "base/float16.h"
#include "base/pool.h"
#include "base/size.h"
#include "base/status.h"
#include "linear_by.h"

enum { GLM_PANEL = 16 };

static inline int64_t glm_pad(int64_t n) {
    return rt_round_up(n, GLM_PANEL);
}

/* A weight matrix [n_out, n_in] as the device holds it: y = x W^T. On the CPU in panels of 16
 * outputs, [n_out / 16][n_in][16], of the stored dtype, rows past n_out zero; for tiles of AMX, bf16 and n_in even,
 * [n_out / 16][n_in / 2][16][2]; for oneDNN in panels of 64,
 * [n_out / 64][n_in / 2][64][2], n_in padded with zeros to a multiple of 32. */
typedef struct glm_linear {
    void *panels;
    int64_t n_out;
    int64_t n_in;
    rt_dtype dtype;
    glm_linear_by by;
} glm_linear;

/* Whether kernels of `isa` multiply bf16 weights, n_in even, by tiles of AMX, or with their bits. */
bool glm_ops_has_tiles(rt_isa isa);

/* Of `panels`, for the plan. */
int64_t glm_linear_bytes(int64_t n_out, int64_t n_in, rt_dtype dtype, glm_linear_by by);

/* Rows of activations: row i at data + i * stride floats. */
typedef struct glm_rows {
    float *data;
    int64_t stride;
} glm_rows;

/* The stride for rows of `width` numbers: whole panels, and so far from multiples of 4 KiB that the
 * rows of a tile, 1 KiB each at a time, do not fall into the same sets of the first-level cache. */
static inline int64_t glm_row_stride(int64_t width) {
    const int64_t stride = glm_pad(width);
    const int64_t rest = stride % 1024;
    if (rest < 256) return stride + 256 - rest;
    return rest > 768 ? stride + 1280 - rest : stride;
}

typedef struct glm_ops glm_ops;
struct glm_ops {
    rt_pool *pool;
    rt_isa isa;
    attn_cpu *attention;
    void *scratch; /* widened panels, one block per thread, or halves of rows (ops_simd.h) */
    int64_t scratch_bytes;
    struct glm_linear_onednn *onednn; /* linear_onednn.h; NULL: all matrices are our kernels' */

    /* Put rows [row, row + n_rows) of the checkpoint's matrix, [n_rows][n_in] of `dtype`, in their
     * place; row is a multiple of 16. Safe from several threads for different rows. */
    void (*pack)(const glm_linear *linear, int64_t row, int64_t n_rows, const void *rows,
            rt_dtype dtype);

    /* hidden[i] = table[ids[i]]; table [vocab][width] of table_dtype. */
    void (*embed)(const glm_ops *ops, const void *table, rt_dtype table_dtype, const int32_t *ids,
            int64_t n, int64_t width, void *hidden, rt_dtype hidden_dtype);

    /* out = hidden / rms(hidden) * weight, rms over `width`, eps inside the root; fp32 throughout.
     * Source: Zhang & Sennrich 2019, arXiv:1910.07467. */
    void (*norm)(const glm_ops *ops, const void *hidden, rt_dtype hidden_dtype, const float *weight,
            float eps, int64_t n, int64_t width, glm_rows out);

    /* y = x W^T + bias for outputs [first_out, first_out + n_outs), both multiples of 16 or the
     * end; y's column 0 is output first_out. bias NULL: none; it is indexed by output. */
    void (*linear)(const glm_ops *ops, const glm_linear *weight, const float *bias,
            int64_t first_out, int64_t n_outs, glm_rows x, int64_t n, glm_rows y);

    /* gate = silu(gate) * up, `width` columns. */
    void (*swiglu)(const glm_ops *ops, glm_rows gate, glm_rows up, int64_t n, int64_t width);

    /* hidden += y, rounded to hidden_dtype once. */
    void (*add)(const glm_ops *ops, void *hidden, rt_dtype hidden_dtype, glm_rows y, int64_t n,
            int64_t width);

    /* y = y / rms(y) * weight in place: the 0414 models' norms on sub-layer outputs. */
    void (*norm_rows)(const glm_ops *ops, glm_rows y, const float *weight, float eps, int64_t n,
            int64_t width);
};

/* The CPU's ops: kernels of `isa`, the pool borrowed. Errors: RT_ENOMEM, RT_EUSAGE (shape). */
RT_MUST_CHECK rt_status glm_ops_cpu_create(
        const attn_shape *shape, rt_isa isa, rt_pool *pool, glm_ops *out);
/* The pool stays. */
void glm_ops_free(glm_ops *ops);

/* Matrices that are oneDNN's can be multiplied from here on, by rows of these widths. Errors: glm_onednn_open */
RT_MUST_CHECK rt_status glm_ops_add_onednn(glm_ops *ops, const int64_t *widths, int n_widths);

/* Memory glm_ops_cpu_create takes, for the plan. */
int64_t glm_ops_cpu_bytes(const attn_shape *shape, rt_isa isa, int n_threads);

#endif
