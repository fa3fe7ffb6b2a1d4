/* libcublasLt, opened at run time: the program starts where it is absent. Behind <cublasLt.h>, which a header may not
 * need. */
#ifndef GLM_CUBLASLT_CUDA_H
#define GLM_CUBLASLT_CUDA_H

#include "base/status.h"

/* The functions that are called here. */
typedef struct cublaslt_library {
    void *handle;
    const char *name;
    __typeof__(&cublasLtCreate) Create;
    __typeof__(&cublasLtDestroy) Destroy;
    __typeof__(&cublasLtMatmulDescCreate) MatmulDescCreate;
    __typeof__(&cublasLtMatmulDescDestroy) MatmulDescDestroy;
    __typeof__(&cublasLtMatmulDescSetAttribute) MatmulDescSetAttribute;
    __typeof__(&cublasLtMatrixLayoutCreate) MatrixLayoutCreate;
    __typeof__(&cublasLtMatrixLayoutDestroy) MatrixLayoutDestroy;
    __typeof__(&cublasLtMatmulPreferenceCreate) MatmulPreferenceCreate;
    __typeof__(&cublasLtMatmulPreferenceDestroy) MatmulPreferenceDestroy;
    __typeof__(&cublasLtMatmulPreferenceSetAttribute) MatmulPreferenceSetAttribute;
    __typeof__(&cublasLtMatmulAlgoGetHeuristic) MatmulAlgoGetHeuristic;
    __typeof__(&cublasLtMatmulAlgoCheck) MatmulAlgoCheck;
    __typeof__(&cublasLtMatmul) Matmul;
} cublaslt_library;

/* RT_EUNSUPPORTED: it is not installed, or lacks a function: its name. */
RT_MUST_CHECK rt_status cublaslt_library_open(cublaslt_library *out);
/* What was not opened, too. */
void cublaslt_library_close(cublaslt_library *library);

#endif
