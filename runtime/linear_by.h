/* Who multiplies matrices. */
#ifndef GLM_LINEAR_BY_H
#define GLM_LINEAR_BY_H

#include "base/float16.h"

/* On the CPU our kernels, which take fp32 rows, or oneDNN, which takes bf16 weights, and rows rounded to bf16; on a
 * GPU cuBLASLt, of bf16 too; by rows: it has not let a kernel be taken for some number of rows, so that a row's bits may
 * depend on how many there are. */
typedef enum glm_linear_by {
    GLM_LINEAR_OWN,
    GLM_LINEAR_ONEDNN,
    GLM_LINEAR_CUBLASLT,
    GLM_LINEAR_CUBLASLT_BY_ROWS
} glm_linear_by;

/* Who on the CPU multiplies a matrix of that type, where it is `by` for bf16. */
static inline glm_linear_by glm_linear_by_of(glm_linear_by by, rt_dtype dtype) {
    return dtype == RT_BF16 ? by : GLM_LINEAR_OWN;
}

#endif
