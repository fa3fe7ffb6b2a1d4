/* What plays libcublasLt.so in tests without a GPU: bf16 products with fp32 sums, in the one form that
 * runtime/linear_cuda.c asks for. Anything else ends the process with exit code 3. */
#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "standin_cuda.h"

namespace {

struct product {
    cublasOperation_t transposed_a = CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const uint16_t *bias = NULL;
};

struct layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t stride;
};

/* What a heuristic has chosen, inside cublasLtMatmulAlgo_t. */
struct chosen {
    uint64_t n_out, n_in, n;
};

struct work {
    const uint16_t *weight, *x, *bias;
    void *y;
    int64_t n_out, n_in, n;
    bool is_f32;
};

void require(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "standin_cublaslt: %s\n", what);
    _Exit(STANDIN_EXIT_FOUND);
}

float number(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float v;
    memcpy(&v, &wide, 4);
    return v;
}

uint16_t rounded(float v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* Eight sums side by side: an order of its own, as a matrix unit has. */
float dot(const float *a, const uint16_t *b, int64_t n) {
    float sum[8] = {};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) sum[k] += a[i + k] * number(b[i + k]);
    for (; i < n; i++) sum[i % 8] += a[i] * number(b[i]);
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

void multiply(void *context) {
    const work *w = (const work *)context;
    std::vector<float> row((size_t)w->n_in);
    for (int64_t out = 0; out < w->n_out; out++) {
        for (int64_t k = 0; k < w->n_in; k++) row[(size_t)k] = number(w->weight[out * w->n_in + k]);
        for (int64_t i = 0; i < w->n; i++) {
            const float y = dot(row.data(), w->x + i * w->n_in, w->n_in) +
                            (w->bias ? number(w->bias[out]) : 0.0f);
            if (w->is_f32)
                ((float *)w->y)[i * w->n_out + out] = y;
            else
                ((uint16_t *)w->y)[i * w->n_out + out] = rounded(y);
        }
    }
}

int handle;

} // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out) {
    *out = (cublasLtHandle_t)(void *)&handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t) {
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(
        cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType_t scale) {
    require(compute == CUBLAS_COMPUTE_32F && scale == CUDA_R_32F, "sums that are not fp32");
    *out = (cublasLtMatmulDesc_t)(void *)new product;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
    delete (product *)(void *)desc;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
        cublasLtMatmulDescAttributes_t attribute, const void *value, size_t bytes) {
    product *p = (product *)(void *)desc;
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSA && bytes == sizeof p->transposed_a)
        memcpy(&p->transposed_a, value, bytes);
    else if (attribute == CUBLASLT_MATMUL_DESC_EPILOGUE && bytes == sizeof p->epilogue)
        memcpy(&p->epilogue, value, bytes);
    else if (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER && bytes == sizeof p->bias)
        memcpy(&p->bias, value, bytes);
    else
        require(false, "an attribute of a product that is not known");
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
        uint64_t rows, uint64_t cols, int64_t stride) {
    *out = (cublasLtMatrixLayout_t)(void *)new layout{type, rows, cols, stride};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t desc) {
    delete (layout *)(void *)desc;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
    *out = (cublasLtMatmulPreference_t)calloc(1, 1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    free(preference);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
        cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void *, size_t) {
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
        cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t,
        cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int wanted,
        cublasLtMatmulHeuristicResult_t *results, int *n_found) {
    const layout *weight = (const layout *)(void *)a, *x = (const layout *)(void *)b;
    const chosen one = {weight->cols, weight->rows, x->cols};
    require(wanted == 1, "several kernels are asked for");
    memset(results, 0, sizeof *results);
    memcpy(&results->algo, &one, sizeof one);
    *n_found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha,
        const void *a, cublasLtMatrixLayout_t a_desc, const void *b, cublasLtMatrixLayout_t b_desc,
        const void *beta, const void *c, cublasLtMatrixLayout_t, void *d,
        cublasLtMatrixLayout_t d_desc, const cublasLtMatmulAlgo_t *algo, void *workspace,
        size_t workspace_bytes, cudaStream_t stream) {
    const product *p = (const product *)(void *)desc;
    const layout *weight = (const layout *)(void *)a_desc, *x = (const layout *)(void *)b_desc,
                 *y = (const layout *)(void *)d_desc;
    chosen one;
    memcpy(&one, algo, sizeof one);
    require(p->transposed_a == CUBLAS_OP_T, "a weight that is not transposed");
    require(*(const float *)alpha == 1.0f && *(const float *)beta == 0.0f && c == d, "a sum");
    require(weight->type == CUDA_R_16BF && x->type == CUDA_R_16BF, "operands that are not bf16");
    require(weight->rows == x->rows && weight->cols == y->rows && x->cols == y->cols, "shapes");
    require(weight->stride == (int64_t)weight->rows && x->stride == (int64_t)x->rows &&
                    y->stride == (int64_t)y->rows,
            "rows that do not follow one another");
    require(one.n_out == y->rows && one.n_in == x->rows && one.n == x->cols,
            "a kernel that was chosen for another shape");
    require(workspace && workspace_bytes > 0, "no workspace");
    const bool has_bias = p->epilogue == CUBLASLT_EPILOGUE_BIAS;
    require(has_bias || p->epilogue == CUBLASLT_EPILOGUE_DEFAULT, "an epilogue");
    work *w = (work *)malloc(sizeof *w);
    *w = work{(const uint16_t *)a, (const uint16_t *)b, has_bias ? p->bias : NULL, d,
            (int64_t)y->rows, (int64_t)x->rows, (int64_t)x->cols, y->type == CUDA_R_32F};
    bool (*queue)(void *, const char *, void (*)(void *), void *) = NULL;
    void *address = dlsym(RTLD_DEFAULT, "standin_cuda_queue");
    memcpy(&queue, &address, sizeof address);
    require(queue, "the program does not export standin_cuda_queue");
    return queue(stream, "a product", multiply, w) ? CUBLAS_STATUS_SUCCESS
                                                   : CUBLAS_STATUS_EXECUTION_FAILED;
}

} // extern "C"
