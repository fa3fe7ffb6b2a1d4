#include <cublasLt.h>

#include "cublaslt_cuda.h"

#include <dlfcn.h>
#include <string.h>

/* Either, whichever headers this was built with: what is used of them is the same in both. First that of these headers'
 * CUDA, for which the driver is new enough. */
_Static_assert(CUBLASLT_MATMUL_DESC_TRANSA == 3 && CUBLASLT_MATMUL_DESC_EPILOGUE == 7 &&
                       CUBLASLT_MATMUL_DESC_BIAS_POINTER == 8 && CUBLASLT_EPILOGUE_BIAS == 4 &&
                       CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES == 1 &&
                       CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK == 3 &&
                       CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES == 6 &&
                       CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES == 7 &&
                       CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES == 8 &&
                       sizeof(cublasLtMatmulAlgo_t) == 64 &&
                       sizeof(cublasLtMatmulHeuristicResult_t) == 96,
        "as in cuBLASLt 12 and 13");
static const char *const names[] = {
#if CUBLAS_VER_MAJOR >= 13
        "libcublasLt.so.13", "libcublasLt.so.12"
#else
        "libcublasLt.so.12", "libcublasLt.so.13"
#endif
};

/* POSIX lets a data pointer hold a function's address. */
static rt_status find(const cublaslt_library *library, const char *symbol, void *function) {
    void *address = dlsym(library->handle, symbol);
    memcpy(function, &address, sizeof address);
    return address ? RT_OK : rt_fail(RT_EUNSUPPORTED, "cuda: %s lacks %s", library->name, symbol);
}

#define FIND(function) RT_TRY(find(out, "cublasLt" #function, (void *)&out->function))

static rt_status find_all(cublaslt_library *out) {
    FIND(Create);
    FIND(Destroy);
    FIND(MatmulDescCreate);
    FIND(MatmulDescDestroy);
    FIND(MatmulDescSetAttribute);
    FIND(MatrixLayoutCreate);
    FIND(MatrixLayoutDestroy);
    FIND(MatmulPreferenceCreate);
    FIND(MatmulPreferenceDestroy);
    FIND(MatmulPreferenceSetAttribute);
    FIND(MatmulAlgoGetHeuristic);
    FIND(MatmulAlgoCheck);
    FIND(Matmul);
    return RT_OK;
}

void cublaslt_library_close(cublaslt_library *library) {
    if (library->handle) (void)dlclose(library->handle);
    *library = (cublaslt_library){0};
}

/* Once loaded it stays, as NCCL does: nothing says that a library which has registered kernels with the driver, and its own
 * threads' data with the system, may be unloaded; and who asks whether it is there opens it again soon after. */
rt_status cublaslt_library_open(cublaslt_library *out) {
    *out = (cublaslt_library){0};
    for (int i = 0; i < 2 && !out->handle; i++) {
        out->name = names[i];
        out->handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    }
    if (!out->handle)
        return rt_fail(RT_EUNSUPPORTED,
                "cuda: neither %s nor %s is installed; linear layers on a GPU need one (cuBLASLt, "
                "of the CUDA toolkit)",
                names[0], names[1]);
    const rt_status status = find_all(out);
    if (status != RT_OK) cublaslt_library_close(out);
    return status;
}
