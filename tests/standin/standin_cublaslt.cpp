/* What plays libcublasLt.so in tests without a GPU: bf16 products with fp32 sums, in the one form that
 * runtime/linear_cuda.c asks for. Anything else ends the process with exit code 3, and so does what cublasLt.h does not
 * allow: pointers less aligned than the kernel was chosen for (256 bytes, where nothing else was asked for).
 *
 * In which order a row's products are added depends on the kernel, and which kernel that is on the number of rows it is asked
 * for: on nearly each another one. What sums in parts, where that is allowed, is of two kinds: for few rows in a number of
 * parts that is the kernel's, for many in one that depends on the rows that are multiplied, as where work is dealt to
 * blocks in equal shares (stream-K). A kernel does other numbers of rows where it was asked whether it may. */
#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <set>
#include <tuple>
#include <vector>

#include "standin_cuda.h"

namespace {

/* A program without a stand-in for CUDA may look whether there is a library, too. */
#pragma weak standin_cuda_begin_call
#pragma weak standin_cuda_begin_unsafe_call
#pragma weak standin_cuda_fails
#pragma weak standin_cuda_get
#pragma weak standin_cuda_is_on_device
#pragma weak standin_cuda_queue

struct product {
    cublasOperation_t transposed_a = CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const uint16_t *bias = NULL;
    bool has_bias() const {
        return epilogue == CUBLASLT_EPILOGUE_BIAS;
    }
};

struct layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t stride;
    int64_t bytes() const {
        return (int64_t)(rows * cols) * (type == CUDA_R_32F ? 4 : 2);
    }
};

enum { A, B, C, D, N_MATRICES, ALIGN_USUAL = 256 };

struct preference {
    uint64_t workspace_bytes = 0;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
    uint32_t align_bytes[N_MATRICES] = {ALIGN_USUAL, ALIGN_USUAL, ALIGN_USUAL, ALIGN_USUAL};
};

/* What a heuristic has chosen, inside cublasLtMatmulAlgo_t: a kernel for this shape, and for pointers so aligned. */
struct chosen {
    uint64_t n_out, n_in, n;
    uint16_t align_bytes[N_MATRICES];
    uint16_t bias_align_bytes; /* 0: no bias */
    uint16_t y_type;
    uint16_t block; /* of so many products a sum is made of */
    uint16_t
            n_parts; /* which are added to one another in so many; 0: as many as the rows make it */
    bool operator<(const chosen &other) const {
        return memcmp(this, &other, sizeof other) < 0;
    }
};
static_assert(sizeof(chosen) <= sizeof(cublasLtMatmulAlgo_t), "it fits");

enum { FEW_ROWS = 64, N_BLOCKS = 5 };

/* Every one of some numbers of rows that follow one another has another. */
chosen kernel_for(uint64_t n, bool sums_in_parts) {
    chosen one = {};
    one.n = n;
    one.block = (uint16_t)(8 * (1 + n % N_BLOCKS));
    one.n_parts = !sums_in_parts ? 1 : n <= FEW_ROWS ? 2 : 0;
    return one;
}

uint64_t parts_of(const chosen &one, uint64_t n) {
    return one.n_parts > 0 ? one.n_parts : 1 + n % 3;
}

/* The parts, in fp32. */
uint64_t workspace_of(const chosen &one, uint64_t n) {
    const uint64_t n_parts = parts_of(one, n);
    return n_parts > 1 ? n_parts * n * one.n_out * 4 : 0;
}

struct work {
    const uint16_t *weight, *x, *bias;
    void *y;
    int64_t n_out, n_in, n;
    int64_t block, n_parts;
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

/* To 16 bits: so that another order of sums shows in results of 8. */
float coarse(float v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    if ((bits & 0x7fffffffu) < 0x7f800000u) bits = (bits + 0x7fu + (bits >> 8 & 1u)) & ~0xffu;
    memcpy(&v, &bits, 4);
    return v;
}

/* Blocks of [begin, end) one after another. */
float sum_of_blocks(const float *a, const uint16_t *b, int64_t begin, int64_t end, int64_t block) {
    float sum = 0.0f;
    for (int64_t k = begin; k < end; k += block)
        sum += coarse(dot(a + k, b + k, k + block < end ? block : end - k));
    return sum;
}

/* Parts of whole blocks, as equal as may be. */
float sum_of_parts(const float *a, const uint16_t *b, const work &w) {
    const int64_t n_blocks = (w.n_in + w.block - 1) / w.block;
    float sum = 0.0f;
    for (int64_t part = 0; part < w.n_parts; part++) {
        const int64_t begin = n_blocks * part / w.n_parts * w.block;
        const int64_t end = n_blocks * (part + 1) / w.n_parts * w.block;
        sum += sum_of_blocks(a, b, begin, end < w.n_in ? end : w.n_in, w.block);
    }
    return sum;
}

void multiply(void *context) {
    const work *w = (const work *)context;
    std::vector<float> row((size_t)w->n_in);
    for (int64_t out = 0; out < w->n_out; out++) {
        for (int64_t k = 0; k < w->n_in; k++) row[(size_t)k] = number(w->weight[out * w->n_in + k]);
        for (int64_t i = 0; i < w->n; i++) {
            const float y = sum_of_parts(row.data(), w->x + i * w->n_in, *w) +
                            (w->bias ? number(w->bias[out]) : 0.0f);
            if (w->is_f32)
                ((float *)w->y)[i * w->n_out + out] = y;
            else
                ((uint16_t *)w->y)[i * w->n_out + out] = rounded(y);
        }
    }
}

/* ---- handles --------------------------------------------------------------------------------- */

std::set<const void *> live; /* descriptions of all kinds */

template <typename T, typename HANDLE> cublasStatus_t make(HANDLE *out, T *one) {
    if (standin_cuda_fails()) {
        delete one;
        return CUBLAS_STATUS_ALLOC_FAILED;
    }
    live.insert(one);
    *out = (HANDLE)(void *)one;
    return CUBLAS_STATUS_SUCCESS;
}

template <typename T> T *at(const void *handle) {
    require(live.count(handle), "a description that is not there");
    return (T *)(void *)(uintptr_t)handle;
}

template <typename T> cublasStatus_t destroy(void *handle) {
    T *one = at<T>(handle);
    live.erase(one);
    delete one;
    return CUBLAS_STATUS_SUCCESS;
}

/* An attribute that is a T; the size that is given must be its own. */
template <typename T> cublasStatus_t set(T *to, const void *value, size_t bytes) {
    require(bytes == sizeof *to, "an attribute of another size");
    if (standin_cuda_fails()) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- what is multiplied ---------------------------------------------------------------------- */

void require_shapes(const product &p, const layout &weight, const layout &x, const layout &y) {
    require(p.transposed_a == CUBLAS_OP_T, "a weight that is not transposed");
    require(p.has_bias() || p.epilogue == CUBLASLT_EPILOGUE_DEFAULT, "an epilogue");
    require(weight.type == CUDA_R_16BF && x.type == CUDA_R_16BF, "operands that are not bf16");
    require(y.type == CUDA_R_16BF || (y.type == CUDA_R_32F && !p.has_bias()),
            "a bias is of the result's type");
    require(weight.rows == x.rows && weight.cols == y.rows && x.cols == y.cols, "shapes");
    for (const layout *m : {&weight, &x, &y}) {
        require(m->stride == (int64_t)m->rows, "rows that do not follow one another");
        require(m->bytes() / (int64_t)m->cols % 16 == 0, "rows that are not whole 16 bytes");
    }
}

uint16_t align_of(const void *pointer) {
    const uintptr_t bits = (uintptr_t)pointer | ALIGN_USUAL;
    return (uint16_t)(bits & (~bits + 1));
}

void require_memory(const void *pointer, int64_t bytes, int64_t align_bytes, const char *what) {
    if (standin_cuda_is_on_device(pointer, bytes) && align_of(pointer) >= align_bytes) return;
    fprintf(stderr, "standin_cublaslt: %s at %p: not %lld bytes of the device, aligned to %lld\n",
            what, pointer, (long long)bytes, (long long)align_bytes);
    _Exit(STANDIN_EXIT_FOUND);
}

bool overlap(const void *a, int64_t a_bytes, const void *b, int64_t b_bytes) {
    return (uintptr_t)a < (uintptr_t)b + (uint64_t)b_bytes &&
           (uintptr_t)b < (uintptr_t)a + (uint64_t)a_bytes;
}

std::set<const void *> handles;
std::set<std::tuple<chosen, uint64_t>>
        allowed; /* kernels, and other numbers of rows that they may be taken for */

void begin(const char *name, cublasLtHandle_t of) {
    require(handles.count(of), "a handle that is not there");
    standin_cuda_begin_call(name);
}

/* cuBLAS, "cublasLtMatmulAlgoGetHeuristic()": it "may load some kernels", by the driver. */
void begin_unsafe(const char *name, cublasLtHandle_t of) {
    require(handles.count(of), "a handle that is not there");
    standin_cuda_begin_unsafe_call(name);
}

} // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out) {
    require(standin_cuda_queue, "the program does not export what the stand-in for CUDA is asked");
    standin_cuda_begin_unsafe_call("cublasLtCreate");
    if (standin_cuda_fails()) return CUBLAS_STATUS_NOT_INITIALIZED;
    *out = (cublasLtHandle_t)(void *)new char;
    handles.insert(*out);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t of) {
    begin_unsafe("cublasLtDestroy", of);
    handles.erase(of);
    delete (char *)(void *)of;
    require(!handles.empty() || live.empty(), "descriptions are left");
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(
        cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType_t scale) {
    require(compute == CUBLAS_COMPUTE_32F && scale == CUDA_R_32F, "sums that are not fp32");
    return make(out, new product);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
    return destroy<product>(desc);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
        cublasLtMatmulDescAttributes_t attribute, const void *value, size_t bytes) {
    product *p = at<product>(desc);
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return set(&p->transposed_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return set(&p->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return set(&p->bias, value, bytes);
    default:
        require(false, "an attribute of a product that is not known");
        return CUBLAS_STATUS_INVALID_VALUE;
    }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
        uint64_t rows, uint64_t cols, int64_t stride) {
    require(rows > 0 && cols > 0, "a matrix of nothing");
    return make(out, new layout{type, rows, cols, stride});
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t desc) {
    return destroy<layout>(desc);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
    return make(out, new preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref) {
    return destroy<preference>(pref);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
        cublasLtMatmulPreferenceAttributes_t attribute, const void *value, size_t bytes) {
    preference *p = at<preference>(pref);
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return set(&p->workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return set(&p->reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return set(&p->align_bytes[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value,
                bytes);
    default:
        require(false, "a preference that is not known");
        return CUBLAS_STATUS_INVALID_VALUE;
    }
}

/* There are three ways to say that there is no kernel. */
static cublasStatus_t found_none(cublasLtMatmulHeuristicResult_t *result, int *n_found) {
    static int n;
    *n_found = n % 3 == 1;
    result->state = CUBLAS_STATUS_NOT_SUPPORTED;
    return n++ % 3 == 2 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

/* It does not look at the pointers, but for the bias's, of which it takes the alignment. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t of, cublasLtMatmulDesc_t desc,
        cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
        cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t pref, int wanted,
        cublasLtMatmulHeuristicResult_t *results, int *n_found) {
    begin_unsafe("cublasLtMatmulAlgoGetHeuristic", of);
    const product *p = at<product>(desc);
    const layout *weight = at<layout>(a), *x = at<layout>(b), *y = at<layout>(d);
    const preference *like = at<preference>(pref);
    require(wanted == 1, "several kernels are asked for");
    require(c == d, "a sum");
    require_shapes(*p, *weight, *x, *y);
    require(!p->has_bias() || p->bias, "a kernel is chosen before the bias is known");
    require(!(like->reductions & CUBLASLT_REDUCTION_SCHEME_INPLACE),
            "sums in an order that varies");
    memset(results, 0xff, sizeof *results);
    if (standin_cuda_fails()) return found_none(results, n_found);
    chosen one = kernel_for(x->cols, like->reductions & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    one.n_out = weight->cols;
    one.n_in = weight->rows;
    one.y_type = (uint16_t)y->type;
    if (workspace_of(one, one.n) > like->workspace_bytes) one.n_parts = 1;
    for (int i = 0; i < N_MATRICES; i++) one.align_bytes[i] = (uint16_t)like->align_bytes[i];
    if (p->has_bias()) one.bias_align_bytes = align_of(p->bias);
    memcpy(&results->algo, &one, sizeof one);
    results->workspaceSize = workspace_of(one, one.n);
    results->state = CUBLAS_STATUS_SUCCESS;
    *n_found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

/* There are four ways to say that a kernel may not be taken: it would, for more room than anybody has. */
static cublasStatus_t refuse(cublasLtMatmulHeuristicResult_t *result) {
    static const cublasStatus_t statuses[] = {CUBLAS_STATUS_NOT_SUPPORTED,
            CUBLAS_STATUS_INVALID_VALUE, CUBLAS_STATUS_ARCH_MISMATCH, CUBLAS_STATUS_SUCCESS};
    static int n;
    result->workspaceSize = (size_t)1 << 40;
    return statuses[n++ % 4];
}

/* It looks at no pointers. */
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t of, cublasLtMatmulDesc_t desc,
        cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
        cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t *algo,
        cublasLtMatmulHeuristicResult_t *result) {
    begin("cublasLtMatmulAlgoCheck", of);
    const product *p = at<product>(desc);
    const layout *weight = at<layout>(a), *x = at<layout>(b), *y = at<layout>(d);
    chosen one;
    memcpy(&one, algo, sizeof one);
    require(c == d, "a sum");
    require_shapes(*p, *weight, *x, *y);
    if (standin_cuda_fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
    if ((int64_t)x->cols == standin_cuda_get()->refused_rows) return refuse(result);
    if (one.n_out != y->rows || one.n_in != x->rows || one.y_type != (uint16_t)y->type ||
            p->has_bias() != (one.bias_align_bytes > 0))
        return CUBLAS_STATUS_INVALID_VALUE;
    result->workspaceSize = workspace_of(one, x->cols);
    allowed.insert(std::make_tuple(one, x->cols));
    return CUBLAS_STATUS_SUCCESS;
}

/* cublasLt.h, of that: it "doesn't fully guarantee algo will run". */
static cublasStatus_t refuse_product() {
    static const cublasStatus_t statuses[] = {
            CUBLAS_STATUS_NOT_SUPPORTED, CUBLAS_STATUS_INVALID_VALUE, CUBLAS_STATUS_ARCH_MISMATCH};
    return statuses[standin_cuda_get()->n_refused_products++ % 3];
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t of, cublasLtMatmulDesc_t desc, const void *alpha,
        const void *a, cublasLtMatrixLayout_t a_desc, const void *b, cublasLtMatrixLayout_t b_desc,
        const void *beta, const void *c, cublasLtMatrixLayout_t c_desc, void *d,
        cublasLtMatrixLayout_t d_desc, const cublasLtMatmulAlgo_t *algo, void *workspace,
        size_t workspace_bytes, cudaStream_t stream) {
    begin("cublasLtMatmul", of);
    const product *p = at<product>(desc);
    const layout *weight = at<layout>(a_desc), *x = at<layout>(b_desc), *y = at<layout>(d_desc);
    chosen one;
    memcpy(&one, algo, sizeof one);
    require_shapes(*p, *weight, *x, *y);
    require(*(const float *)alpha == 1.0f && *(const float *)beta == 0.0f && c == d &&
                    c_desc == d_desc,
            "a sum");
    require(one.n_out == y->rows && one.n_in == x->rows && one.y_type == (uint16_t)y->type &&
                    p->has_bias() == (one.bias_align_bytes > 0),
            "a kernel that was chosen for another product");
    require(one.n == x->cols || allowed.count(std::make_tuple(one, x->cols)),
            "a kernel for other rows, and it was not asked whether it may");
    require(workspace_bytes >= workspace_of(one, x->cols), "less room for the work than it takes");
    require_memory(workspace, (int64_t)workspace_bytes, ALIGN_USUAL, "a product's workspace");
    require_memory(a, weight->bytes(), one.align_bytes[A], "a weight");
    require_memory(b, x->bytes(), one.align_bytes[B], "what is multiplied");
    require_memory(d, y->bytes(), one.align_bytes[C], "a result, as C,");
    require_memory(d, y->bytes(), one.align_bytes[D], "a result");
    if (p->has_bias())
        require_memory(p->bias, (int64_t)y->rows * 2, one.bias_align_bytes, "a bias");
    require(!overlap(d, y->bytes(), a, weight->bytes()) && !overlap(d, y->bytes(), b, x->bytes()),
            "a result where what is multiplied lies");
    if ((int64_t)x->cols == standin_cuda_get()->refused_products && one.n != x->cols)
        return refuse_product();
    work *w = (work *)malloc(sizeof *w);
    require(w, "no memory");
    *w = work{(const uint16_t *)a, (const uint16_t *)b, p->has_bias() ? p->bias : NULL, d,
            (int64_t)y->rows, (int64_t)x->rows, (int64_t)x->cols, one.block,
            (int64_t)parts_of(one, x->cols), y->type == CUDA_R_32F};
    return standin_cuda_queue(stream, {"a product", multiply, w, free})
                   ? CUBLAS_STATUS_SUCCESS
                   : CUBLAS_STATUS_EXECUTION_FAILED;
}

} // extern "C"
