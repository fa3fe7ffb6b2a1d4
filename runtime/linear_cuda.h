/* Linear layers on a GPU, by cuBLASLt, which is opened at run time: the program starts where it is absent. */
#ifndef GLM_LINEAR_CUDA_H
#define GLM_LINEAR_CUDA_H

#include "device_cuda.h"

/* A weight matrix in device memory, bf16 [n_out][n_in] as in the checkpoint; bias [n_out] or NULL. Rows are
 * 16-byte aligned: n_in is a multiple of 8. */
typedef struct glm_cuda_matrix {
    uint16_t *numbers;
    uint16_t *bias;
    int64_t n_out;
    int64_t n_in;
} glm_cuda_matrix;

typedef struct glm_cublas glm_cublas;

/* Device memory that it takes, for the plan. */
int64_t glm_cublas_bytes(void);

/* What was found, or what is missing. */
bool glm_cublas_is_there(char *text, int64_t room);

/* RT_EUNSUPPORTED: the library is not installed, its name. RT_EDEVICE, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cublas_open(glm_cuda_device *device, glm_cublas **out);
void glm_cublas_close(glm_cublas *cublas); /* accepts NULL */

/* Rows of a pass: first those of decode steps, then those of a prefill. Each row's bits are those that it has alone: each
 * kind has kernels of its own (linear_cuda.c), which depend on the matrix and not on the number of rows. Where there are
 * both, the weights are read twice. */
typedef struct glm_cuda_rows {
    int64_t n_decoded;
    int64_t n; /* of both kinds */
} glm_cuda_rows;
static inline glm_cuda_rows glm_cuda_decoded(int64_t n) {
    return (glm_cuda_rows){.n_decoded = n, .n = n};
}
static inline glm_cuda_rows glm_cuda_prefilled(int64_t n) {
    return (glm_cuda_rows){.n_decoded = 0, .n = n};
}

/* y = x W^T + bias: x bf16 [rows.n][n_in], y bf16 [rows.n][n_out], or fp32 where is_f32; fp32 sums, rounded once. Queued.
 * Weights and bias are aligned to 256 bytes, x and y to what their rows are, up to 256. */
RT_MUST_CHECK rt_status glm_cuda_linear(glm_cublas *cublas, const glm_cuda_matrix *weight,
        const uint16_t *x, glm_cuda_rows rows, void *y, bool is_f32, rt_stream stream);

/* Up to how many rows of decode, at most n_max, have the bits that each has alone: those that the matrix's kernel may be taken
 * for. Asks, and launches nothing. RT_EDEVICE, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_cublas_rows_alike(glm_cublas *cublas, const glm_cuda_matrix *weight,
        bool is_f32, int64_t n_max, int64_t *n_alike);

/* How often so far cuBLASLt did not let a kernel be taken for another number of rows than the one it was chosen as for, or
 * refused the product: 0, and a row's bits depend on no other rows. */
int64_t glm_cublas_refused(const glm_cublas *cublas);
/* The fewest rows for which that was, of decode or of a prefill; INT64_MAX: it never was. */
int64_t glm_cublas_fewest_refused(const glm_cublas *cublas, bool is_decode);

#endif
