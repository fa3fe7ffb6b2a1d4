/* In cuBLASLt's terms, which are column-major: x is X^T [n_in, n], the weight W^T [n_in, n_out], and
 * y^T [n_out, n] = (W^T)^T X^T, with the bias along its rows. What it takes to describe that, and which kernel
 * is to do it, is found once a shape and kept. */
#include "linear_cuda.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/attn_cuda_why.h"
#include "base/memory.h"
#include "base/size.h"

enum { N_SHAPES = 128, WORKSPACE_BYTES = 32 << 20, ALIGN_BYTES = 256 };

/* The functions that are called here. */
typedef struct library {
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
    __typeof__(&cublasLtMatmul) Matmul;
} library;

typedef struct shape {
    int64_t n_out;
    int64_t n_in;
    int64_t n;
    uint32_t y_align_bytes;
    bool is_f32;
    bool has_bias;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t weight, x, y;
    cublasLtMatmulAlgo_t algorithm;
} shape;

struct glm_cublas {
    library lib;
    cublasLtHandle_t handle;
    glm_cuda_device *device;
    void *workspace;
    shape shapes[N_SHAPES];
    int32_t n_shapes;
    int32_t next; /* whose place the next new one takes when all are taken */
};

/* ---- the library ----------------------------------------------------------------------------- */

/* Either, whichever headers this was built with: what is used of them is the same in both. First that of these headers'
 * CUDA, for which the driver is new enough. */
_Static_assert(CUBLASLT_MATMUL_DESC_TRANSA == 3 && CUBLASLT_MATMUL_DESC_EPILOGUE == 7 &&
                       CUBLASLT_MATMUL_DESC_BIAS_POINTER == 8 && CUBLASLT_EPILOGUE_BIAS == 4 &&
                       CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES == 1 &&
                       CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK == 3 &&
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
static rt_status find(const library *lib, const char *symbol, void *function) {
    void *address = dlsym(lib->handle, symbol);
    memcpy(function, &address, sizeof address);
    return address ? RT_OK : rt_fail(RT_EUNSUPPORTED, "cuda: %s lacks %s", lib->name, symbol);
}

#define FIND(function) RT_TRY(find(out, "cublasLt" #function, (void *)&out->function))

static rt_status find_all(library *out) {
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
    FIND(Matmul);
    return RT_OK;
}

static void close_library(library *lib) {
    if (lib->handle) (void)dlclose(lib->handle);
    *lib = (library){0};
}

static rt_status open_library(library *out) {
    *out = (library){0};
    for (int i = 0; i < 2 && !out->handle; i++) {
        out->name = names[i];
        out->handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    }
    if (!out->handle)
        return rt_fail(RT_EUNSUPPORTED,
                "cuda: neither %s nor %s is installed; linear layers on a GPU need one (cuBLASLt, "
                "of the CUDA toolkit)",
                names[0], names[1]);
    const rt_status status = find_all(out);
    if (status != RT_OK) close_library(out);
    return status;
}

bool glm_cublas_is_there(char *text, int64_t room) {
    library lib;
    if (open_library(&lib) != RT_OK) {
        (void)snprintf(text, (size_t)room, "%s", rt_error_text());
        return false;
    }
    (void)snprintf(text, (size_t)room, "%s", lib.name);
    close_library(&lib);
    return true;
}

/* ---- open and close -------------------------------------------------------------------------- */

int64_t glm_cublas_bytes(void) {
    return WORKSPACE_BYTES;
}

static rt_status check(cublasStatus_t status, const char *what) {
    const bool is_cuda = status == CUBLAS_STATUS_EXECUTION_FAILED;
    if (status == CUBLAS_STATUS_SUCCESS) return RT_OK;
    return rt_fail(status == CUBLAS_STATUS_ALLOC_FAILED ? RT_ENOMEM : RT_EDEVICE,
            "cuda: cuBLASLt: %s failed with status %d%s", what, (int)status,
            is_cuda ? ", or earlier work has (" ATTN_CUDA_HOW_TO_TELL ")" : "");
}

static rt_status open_into(glm_cublas *cublas) {
    glm_cuda_device *device = cublas->device;
    RT_TRY(open_library(&cublas->lib));
    RT_TRY(check(cublas->lib.Create(&cublas->handle), "opening it"));
    return device->base.alloc(
            &device->base, WORKSPACE_BYTES, "the work of linear layers", &cublas->workspace);
}

rt_status glm_cublas_open(glm_cuda_device *device, glm_cublas **out) {
    RT_TRY(rt_calloc(1, sizeof **out, "cuBLASLt", out));
    (*out)->device = device;
    const rt_status status = open_into(*out);
    if (status == RT_OK) return RT_OK;
    glm_cublas_close(*out);
    *out = NULL;
    return status;
}

static void free_shape(const library *lib, shape *one) {
    if (one->product) (void)lib->MatmulDescDestroy(one->product);
    if (one->weight) (void)lib->MatrixLayoutDestroy(one->weight);
    if (one->x) (void)lib->MatrixLayoutDestroy(one->x);
    if (one->y) (void)lib->MatrixLayoutDestroy(one->y);
    *one = (shape){0};
}

void glm_cublas_close(glm_cublas *cublas) {
    if (!cublas) return;
    for (int32_t i = 0; i < cublas->n_shapes; i++) free_shape(&cublas->lib, &cublas->shapes[i]);
    glm_cuda_free(cublas->device, cublas->workspace);
    if (cublas->handle) (void)cublas->lib.Destroy(cublas->handle);
    close_library(&cublas->lib);
    free(cublas);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static rt_status set_bias(const library *lib, const shape *one, const uint16_t *bias) {
    if (!one->has_bias) return RT_OK;
    return check(lib->MatmulDescSetAttribute(
                         one->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias),
            "a bias");
}

/* `bias` is any of those that are to come: its alignment counts. */
static rt_status describe(const library *lib, shape *one, const uint16_t *bias) {
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    const cudaDataType_t y_type = one->is_f32 ? CUDA_R_32F : CUDA_R_16BF;
    const uint64_t n = (uint64_t)one->n;
    const uint64_t n_in = (uint64_t)one->n_in;
    const uint64_t n_out = (uint64_t)one->n_out;
    RT_TRY(check(
            lib->MatmulDescCreate(&one->product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product"));
    RT_TRY(check(lib->MatmulDescSetAttribute(
                         one->product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
            "transposing"));
    if (one->has_bias)
        RT_TRY(check(lib->MatmulDescSetAttribute(one->product, CUBLASLT_MATMUL_DESC_EPILOGUE,
                             &epilogue, sizeof epilogue),
                "a bias"));
    RT_TRY(set_bias(lib, one, bias));
    RT_TRY(check(lib->MatrixLayoutCreate(&one->weight, CUDA_R_16BF, n_in, n_out, one->n_in),
            "a layout"));
    RT_TRY(check(lib->MatrixLayoutCreate(&one->x, CUDA_R_16BF, n_in, n, one->n_in), "a layout"));
    return check(lib->MatrixLayoutCreate(&one->y, y_type, n_out, n, one->n_out), "a layout");
}

static uint32_t align_of(const void *pointer) {
    uint32_t bytes = ALIGN_BYTES;
    while ((uintptr_t)pointer % bytes != 0) bytes /= 2;
    return bytes;
}

/* Kernels that split the sum, where one is chosen, add the parts in fp32 and in order. What is not said is that pointers
 * are aligned to 256 bytes: weights, x and workspace are; of y a rank's share of the logits may not be. */
static cublasStatus_t prefer(
        const library *lib, const shape *one, cublasLtMatmulPreference_t preference) {
    const uint64_t bytes = WORKSPACE_BYTES;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const uint32_t y_align = one->y_align_bytes;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        const void *value;
        size_t size;
    } wishes[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes},
            {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions},
            {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &y_align, sizeof y_align},
            {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &y_align, sizeof y_align}};
    for (int i = 0; i < 4; i++) {
        const cublasStatus_t status = lib->MatmulPreferenceSetAttribute(
                preference, wishes[i].attribute, wishes[i].value, wishes[i].size);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* The best kernel, whose own state says whether it is one. */
static rt_status choose(glm_cublas *cublas, shape *one) {
    const library *lib = &cublas->lib;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t found;
    int n_found = 0;
    RT_TRY(check(lib->MatmulPreferenceCreate(&preference), "a preference"));
    cublasStatus_t status = prefer(lib, one, preference);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = lib->MatmulAlgoGetHeuristic(cublas->handle, one->product, one->weight, one->x,
                one->y, one->y, preference, 1, &found, &n_found);
    (void)lib->MatmulPreferenceDestroy(preference);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = n_found > 0 ? found.state : CUBLAS_STATUS_NOT_SUPPORTED;
    RT_TRY(check(status, "choosing a kernel"));
    one->algorithm = found.algo;
    return RT_OK;
}

static bool is_like(const shape *a, const shape *b) {
    return a->n == b->n && a->n_out == b->n_out && a->n_in == b->n_in && a->is_f32 == b->is_f32 &&
           a->has_bias == b->has_bias && a->y_align_bytes == b->y_align_bytes;
}

static rt_status shape_of(
        glm_cublas *cublas, const shape *wanted, const uint16_t *bias, shape **out) {
    for (int32_t i = 0; i < cublas->n_shapes; i++) {
        *out = &cublas->shapes[i];
        if (is_like(*out, wanted)) return RT_OK;
    }
    shape one = *wanted;
    rt_status status = describe(&cublas->lib, &one, bias);
    if (status == RT_OK) status = choose(cublas, &one);
    if (status != RT_OK) {
        free_shape(&cublas->lib, &one);
        return rt_fail(status,
                "%s (a product of %" PRId64 " rows, %" PRId64 " to %" PRId64 " numbers)",
                rt_error_text(), wanted->n, wanted->n_in, wanted->n_out);
    }
    const bool is_new = cublas->n_shapes < N_SHAPES;
    *out = &cublas->shapes[is_new ? cublas->n_shapes++ : cublas->next++ % N_SHAPES];
    free_shape(&cublas->lib, *out);
    **out = one;
    return RT_OK;
}

/* ---- the product ----------------------------------------------------------------------------- */

rt_status glm_cuda_linear(glm_cublas *cublas, const glm_cuda_matrix *weight, const uint16_t *x,
        int64_t n, void *y, bool is_f32, rt_stream stream) {
    const library *lib = &cublas->lib;
    const float one = 1.0f;
    const float zero = 0.0f;
    const shape wanted = {.n_out = weight->n_out,
            .n_in = weight->n_in,
            .n = n,
            .y_align_bytes = align_of(y),
            .is_f32 = is_f32,
            .has_bias = weight->bias != NULL};
    shape *as = NULL;
    if (n == 0) return RT_OK;
    RT_TRY(shape_of(cublas, &wanted, weight->bias, &as));
    RT_TRY(set_bias(lib, as, weight->bias));
    return check(lib->Matmul(cublas->handle, as->product, &one, weight->numbers, as->weight, x,
                         as->x, &zero, y, as->y, y, as->y, &as->algorithm, cublas->workspace,
                         WORKSPACE_BYTES, stream),
            "a product");
}
