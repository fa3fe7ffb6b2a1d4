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

/* y = x W^T + bias: x bf16 [n][n_in], y bf16 [n][n_out], or fp32 where is_f32; fp32 sums, rounded once. Queued.
 * Which of cuBLASLt's kernels does it depends on the shapes alone, n among them, and on whether y is aligned to 256
 * bytes; none adds in an order that may vary. Weights, bias and x are aligned so. */
RT_MUST_CHECK rt_status glm_cuda_linear(glm_cublas *cublas, const glm_cuda_matrix *weight,
        const uint16_t *x, int64_t n, void *y, bool is_f32, rt_stream stream);

#endif
