/* Between ops_cpu.c (who does what) and ops_simd.c (the arithmetic of one piece). */
#ifndef GLM_OPS_SIMD_H
#define GLM_OPS_SIMD_H

#include "ops.h"

enum {
    GLM_BLOCK_PANELS = 4,  /* 64 outputs at a time */
    GLM_BLOCK_INPUTS = 512 /* inputs at a time: 128 KiB of widened weights, in the L2 cache */
};

/* Up to GLM_BLOCK_PANELS panels of a matrix times n rows. `wide` is the thread's scratch,
 * GLM_BLOCK_PANELS * 16 * GLM_BLOCK_INPUTS floats. bias may be NULL; y's column 0 is the first
 * panel's first output. */
typedef struct glm_block {
    const void *panels;
    rt_dtype dtype;
    int64_t n_panels;
    int64_t n_in;
    const float *bias;
    glm_rows x;
    int64_t n;
    glm_rows y;
    float *wide;
} glm_block;

typedef struct glm_kernels {
    void (*linear_block)(const glm_block *block);
    void (*norm_row)(const void *row, rt_dtype dtype, const float *weight, float eps, int64_t width,
            float *out);
    void (*swiglu_row)(float *gate, const float *up, int64_t width);
    void (*add_row)(void *hidden, rt_dtype dtype, const float *y, int64_t width);
} glm_kernels;

extern const glm_kernels glm_kernels_portable;
#if defined(__x86_64__)
extern const glm_kernels glm_kernels_avx2;
extern const glm_kernels glm_kernels_avx512;
#endif

#endif
