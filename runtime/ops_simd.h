/* Between ops_cpu.c and linear_onednn.c (who does what) and ops_simd.c (the arithmetic of one piece). */
#ifndef GLM_OPS_SIMD_H
#define GLM_OPS_SIMD_H

#include "ops.h"

/* A block of weights widened to fp32 and a block of rows share the second-level cache: 384 + 144 KiB
 * where vectors have 512 bits (such cores have 1 MiB and more), 256 + 96 KiB elsewhere. Panels of the
 * first, 32 KiB for a tile, stay near while the rows pass. */
enum {
    GLM_BLOCK_PANELS = 16,      /* 256 outputs at a time, many rows */
    GLM_BLOCK_INPUTS_MAX = 384, /* inputs at a time */
    GLM_BLOCK_ROWS = 96         /* a multiple of every tile height */
};

/* By tiles of AMX: more rows than FEW share halves (base/amx_product.h) that all threads make. An item's, ROWS x INPUTS of 4
 * bytes, are a megabyte, which stays in a second-level cache of 2. All that there are at once are those of four times the rows, or
 * of as many as the threads' scratch has room for: 4 MiB are the least that is given in huge pages, and in others a megabyte
 * does not stay (a fifth of the speed, or not, as it happens). */
enum {
    GLM_TILES_FEW = 32,
    GLM_TILES_ROWS = 256,
    GLM_TILES_INPUTS = 1024,
    GLM_TILES_PANELS = 64,
    GLM_TILES_FLOATS = 4 * GLM_TILES_ROWS * GLM_TILES_INPUTS
};

/* Scratch of one thread, floats. */
enum { GLM_WIDE_FLOATS = GLM_BLOCK_PANELS * GLM_PANEL * GLM_BLOCK_INPUTS_MAX };

/* Neighbouring panels of a matrix times n rows: up to GLM_BLOCK_PANELS with many rows, any number with few, or by tiles. bias
 * may be NULL; y's column 0 is the first panel's first output. */
typedef struct glm_block {
    const void *panels;
    rt_dtype dtype;
    int64_t n_panels;
    int64_t n_in;
    const float *bias;
    glm_rows x;
    int64_t n;
    glm_rows y;
    float *wide; /* [GLM_WIDE_FLOATS] */
} glm_block;

/* Few rows take up to so many panels at once. */
enum { GLM_STREAMS_MAX = 4 };

typedef struct glm_kernels {
    /* With this many rows or fewer the weights are taken as stored; with more they are widened to fp32 first and
     * reused. The bits are the same. */
    int64_t few_rows;
    void (*linear_block)(const glm_block *block);
    void (*norm_row)(const void *row, rt_dtype dtype, const float *weight, float eps, int64_t width,
            float *out);
    void (*swiglu_row)(float *gate, const float *up, int64_t width);
    void (*add_row)(void *hidden, rt_dtype dtype, const float *y, int64_t width);
    /* out[n_out] = row[n] rounded to bf16, zeros behind. */
    void (*round_row)(const float *row, int64_t n, int64_t n_out, uint16_t *out);
} glm_kernels;

/* Of the ops' instruction set; and items on the threads of the ops' pool, where the work is worth them. */
const glm_kernels *glm_ops_kernels(const glm_ops *ops);
void glm_ops_run(const glm_ops *ops, int64_t n_items, int64_t flop, rt_pool_work *work, void *job);

extern const glm_kernels glm_kernels_portable;
#if defined(__x86_64__)
extern const glm_kernels glm_kernels_avx2;
extern const glm_kernels glm_kernels_avx512;
/* By tiles of AMX, or by vectors with the same bits, of bf16 weights, n_in even; needs `wide`, for few rows, too. */
void glm_linear_block_amx(const glm_block *block);
/* Inputs [k, k + n_k) of n rows, k a multiple of 32, as halves: [n / 16][n_k / 32][high, low][16][32], both rounded up. */
void glm_tiles_split_amx(glm_rows x, int64_t n, int64_t k, int64_t n_k, uint16_t *halves);
/* A block's rows by those inputs: y = products for k = 0, y += products for others. Its x and `wide` are not looked at. */
void glm_tiles_multiply_amx(const glm_block *block, const uint16_t *halves, int64_t k, int64_t n_k);
#endif

#endif
