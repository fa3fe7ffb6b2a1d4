/* In cuBLASLt's terms, which are column-major: x is X^T [n_in, n], the weight W^T [n_in, n_out], and
 * y^T [n_out, n] = (W^T)^T X^T, with the bias along its rows. What it takes to describe that is found once a shape and kept.
 *
 * Which kernel does it is chosen by what the rows are of, and not by how many there are: a row's bits are then the same
 * beside any others. cuBLASLt is asked once for each matrix and each of the two, as for a usual number of rows; what it
 * answers is a kernel and its settings (cublasLtMatmulAlgo_t), and those are taken for every number of rows that
 * cublasLtMatmulAlgoCheck lets them be taken for. What a row's sum is then made of:
 *
 *   - of prefill: "dot-product shall be performed in one sequence" (cublasLt.h, CUBLASLT_REDUCTION_SCHEME_NONE). That
 *     leaves no kernel that cuts a sum where the work of so many rows happens to be dealt to the next block (stream-K);
 *   - of decode: one sequence, or CUBLASLT_ALGO_CONFIG_SPLITK_NUM of them, a number inside the settings, which are added
 *     in fp32 "in a separate step" (CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE). There are too few columns to fill a GPU
 *     otherwise: a matrix of 4096 outputs is 32 tiles of 128.
 *
 * The settings name tile, stages, cluster and split; n_in is the product's own. NVIDIA documents no more than that. So it
 * is by construction as far as the documentation goes; for the rest there are a test, test_engine_cuda_chunk_changes_no_bit,
 * and bench_cuda_linear.
 *
 * Where a kernel may not be taken for a number of rows, cuBLASLt is asked for that number: right, with bits that may be
 * others. It is counted, and said once, as a warning. What decode may come to is asked for when the engine is opened
 * (glm_cublas_rows_alike), and drafts are only made where their rows have the bits of one. That a kernel may be taken
 * "doesn't fully guarantee algo will run" (cublasLt.h, cublasLtMatmulAlgoCheck): a product that is refused for what it asks
 * goes the same way, before anything of it is queued; and if drafts were among its rows, they are taken back, and from then
 * on there are fewer (speculate.c). */
#include "linear_cuda.h"

#include <cublasLt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/attn_cuda_why.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/size.h"
#include "cublaslt_cuda.h"

enum { N_SHAPES = 128, N_KERNELS = 32, WORKSPACE_BYTES = 32 << 20, ALIGN_BYTES = 256 };

typedef enum purpose { PREFILL, DECODE } purpose;

/* How a purpose's kernels are asked for. In decode those for 32 rows: 1 to 32 rows take as long as by kernels for just so
 * many, since the weights' reading takes longer, and more rows longer than by those for 64, which lose a tenth where
 * there are few (bench/SPEED.md, A whole model, GPU, 7); what its sums need of the workspace grows with the rows, and there
 * is room for eight times as many. In prefill it is a chunk's kernel. */
typedef struct usual {
    int64_t n;
    uint32_t reductions;
    uint64_t workspace_bytes;
} usual;
static const usual usually[] = {[PREFILL] = {4096, CUBLASLT_REDUCTION_SCHEME_NONE, WORKSPACE_BYTES},
        [DECODE] = {32, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, WORKSPACE_BYTES / 8}};

/* What a kernel is chosen by. */
typedef struct kind {
    int64_t n_out;
    int64_t n_in;
    bool is_f32;
    bool has_bias;
    purpose of;
} kind;

typedef struct kernel {
    kind kind;
    cublasLtMatmulAlgo_t algorithm;
} kernel;

typedef struct shape {
    kind kind;
    int64_t n;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t weight, x, y;
    cublasLtMatmulAlgo_t algorithm;
    bool is_own; /* which was chosen as for n rows */
} shape;

/* Of both tables: `next`, whose place the next new one takes when all are taken. */
struct glm_cublas {
    cublaslt_library lib;
    cublasLtHandle_t handle;
    glm_cuda_device *device;
    void *workspace;
    kernel kernels[N_KERNELS];
    int32_t n_kernels;
    int32_t next_kernel;
    shape shapes[N_SHAPES];
    int32_t n_shapes;
    int32_t next_shape;
    int64_t n_refused;
    int64_t fewest_refused[2]; /* rows, of a purpose; INT64_MAX: none */
};

/* ---- open and close -------------------------------------------------------------------------- */

bool glm_cublas_is_there(char *text, int64_t room) {
    cublaslt_library lib;
    if (cublaslt_library_open(&lib) != RT_OK) {
        (void)snprintf(text, (size_t)room, "%s", rt_error_text());
        return false;
    }
    (void)snprintf(text, (size_t)room, "%s", lib.name);
    cublaslt_library_close(&lib);
    return true;
}

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
    RT_TRY(cublaslt_library_open(&cublas->lib));
    RT_TRY(check(cublas->lib.Create(&cublas->handle), "opening it"));
    return device->base.alloc(
            &device->base, WORKSPACE_BYTES, "the work of linear layers", &cublas->workspace);
}

rt_status glm_cublas_open(glm_cuda_device *device, glm_cublas **out) {
    RT_TRY(rt_calloc(1, sizeof **out, "cuBLASLt", out));
    (*out)->device = device;
    (*out)->fewest_refused[PREFILL] = (*out)->fewest_refused[DECODE] = INT64_MAX;
    const rt_status status = open_into(*out);
    if (status == RT_OK) return RT_OK;
    glm_cublas_close(*out);
    *out = NULL;
    return status;
}

static void free_shape(const cublaslt_library *lib, shape *one) {
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
    cublaslt_library_close(&cublas->lib);
    free(cublas);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static rt_status set_bias(const cublaslt_library *lib, const shape *one, const uint16_t *bias) {
    if (!one->kind.has_bias) return RT_OK;
    return check(lib->MatmulDescSetAttribute(
                         one->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias),
            "a bias");
}

/* A shape that may be like another but for its number of rows. */
static rt_status set_rows(const cublaslt_library *lib, shape *one, int64_t n) {
    const kind *k = &one->kind;
    const cudaDataType_t y_type = k->is_f32 ? CUDA_R_32F : CUDA_R_16BF;
    if (one->x) (void)lib->MatrixLayoutDestroy(one->x);
    if (one->y) (void)lib->MatrixLayoutDestroy(one->y);
    one->x = one->y = NULL;
    one->n = n;
    RT_TRY(check(
            lib->MatrixLayoutCreate(&one->x, CUDA_R_16BF, (uint64_t)k->n_in, (uint64_t)n, k->n_in),
            "a layout"));
    return check(
            lib->MatrixLayoutCreate(&one->y, y_type, (uint64_t)k->n_out, (uint64_t)n, k->n_out),
            "a layout");
}

/* `bias` is any of those that are to come: its alignment counts. */
static rt_status describe(const cublaslt_library *lib, shape *one, const uint16_t *bias) {
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    const kind *k = &one->kind;
    const uint64_t n_in = (uint64_t)k->n_in;
    const uint64_t n_out = (uint64_t)k->n_out;
    RT_TRY(check(
            lib->MatmulDescCreate(&one->product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product"));
    RT_TRY(check(lib->MatmulDescSetAttribute(
                         one->product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
            "transposing"));
    if (k->has_bias)
        RT_TRY(check(lib->MatmulDescSetAttribute(one->product, CUBLASLT_MATMUL_DESC_EPILOGUE,
                             &epilogue, sizeof epilogue),
                "a bias"));
    RT_TRY(set_bias(lib, one, bias));
    RT_TRY(check(
            lib->MatrixLayoutCreate(&one->weight, CUDA_R_16BF, n_in, n_out, k->n_in), "a layout"));
    return set_rows(lib, one, one->n);
}

/* ---- kernels --------------------------------------------------------------------------------- */

/* That any row has, where the first has all that counts. */
static uint32_t row_align(int64_t row_bytes) {
    uint32_t bytes = ALIGN_BYTES;
    while (row_bytes % bytes != 0) bytes /= 2;
    return bytes;
}

/* What is not said is that pointers are aligned to 256 bytes, as weights, biases and workspace are: x and y may begin
 * with any row. */
static cublasStatus_t prefer(
        const cublaslt_library *lib, const kind *k, cublasLtMatmulPreference_t preference) {
    const usual *as = &usually[k->of];
    const uint32_t x_align = row_align(k->n_in * (int64_t)sizeof(uint16_t));
    const uint32_t y_align =
            row_align(k->n_out * (int64_t)(k->is_f32 ? sizeof(float) : sizeof(uint16_t)));
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        const void *value;
        size_t size;
    } wishes[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &as->workspace_bytes,
                          sizeof as->workspace_bytes},
            {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &as->reductions, sizeof as->reductions},
            {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &x_align, sizeof x_align},
            {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &y_align, sizeof y_align},
            {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &y_align, sizeof y_align}};
    for (int i = 0; i < 5; i++) {
        const cublasStatus_t status = lib->MatmulPreferenceSetAttribute(
                preference, wishes[i].attribute, wishes[i].value, wishes[i].size);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* The best kernel for so many rows, whose own state says whether it is one. cuBLASLt may load kernels to find it, which ends
 * a graph that is recorded: there it is an error, and the step is taken as it comes (graphs_cuda.c). */
static rt_status choose(glm_cublas *cublas, const shape *one, cublasLtMatmulAlgo_t *out) {
    const cublaslt_library *lib = &cublas->lib;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t found;
    int n_found = 0;
    RT_TRY(glm_cuda_graph_forbids(cublas->device->compute, "choosing a kernel"));
    RT_TRY(check(lib->MatmulPreferenceCreate(&preference), "a preference"));
    cublasStatus_t status = prefer(lib, &one->kind, preference);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = lib->MatmulAlgoGetHeuristic(cublas->handle, one->product, one->weight, one->x,
                one->y, one->y, preference, 1, &found, &n_found);
    (void)lib->MatmulPreferenceDestroy(preference);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = n_found > 0 ? found.state : CUBLAS_STATUS_NOT_SUPPORTED;
    RT_TRY(check(status, "choosing a kernel"));
    *out = found.algo;
    return RT_OK;
}

static bool is_like(const kind *a, const kind *b) {
    return a->n_out == b->n_out && a->n_in == b->n_in && a->is_f32 == b->is_f32 &&
           a->has_bias == b->has_bias && a->of == b->of;
}

/* The kernel of a kind, chosen as for the usual number of rows. */
static rt_status kernel_of(
        glm_cublas *cublas, const kind *wanted, const uint16_t *bias, cublasLtMatmulAlgo_t *out) {
    shape usual_shape = {.kind = *wanted, .n = usually[wanted->of].n};
    for (int32_t i = 0; i < cublas->n_kernels; i++)
        if (is_like(&cublas->kernels[i].kind, wanted)) {
            *out = cublas->kernels[i].algorithm;
            return RT_OK;
        }
    rt_status status = describe(&cublas->lib, &usual_shape, bias);
    if (status == RT_OK) status = choose(cublas, &usual_shape, out);
    free_shape(&cublas->lib, &usual_shape);
    RT_TRY(status);
    const bool is_new = cublas->n_kernels < N_KERNELS;
    const int32_t at = is_new ? cublas->n_kernels++ : cublas->next_kernel++ % N_KERNELS;
    cublas->kernels[at] = (kernel){.kind = *wanted, .algorithm = *out};
    return RT_OK;
}

/* What cublasLtMatmulAlgoCheck is documented to answer, and cublasLtMatmul, where nothing is wrong but the kernel. */
static bool is_refusal(cublasStatus_t status) {
    return status == CUBLAS_STATUS_INVALID_VALUE || status == CUBLAS_STATUS_NOT_SUPPORTED ||
           status == CUBLAS_STATUS_ARCH_MISMATCH;
}

/* Whether the shape's kernel may be taken for its number of rows. Any other answer is an error. */
static rt_status may_take(glm_cublas *cublas, const shape *one, bool *may) {
    cublasLtMatmulHeuristicResult_t found = {.workspaceSize = 0};
    const cublasStatus_t status = cublas->lib.MatmulAlgoCheck(cublas->handle, one->product,
            one->weight, one->x, one->y, one->y, &one->algorithm, &found);
    *may = !is_refusal(status) && found.workspaceSize <= WORKSPACE_BYTES;
    return is_refusal(status) ? RT_OK : check(status, "asking whether a kernel may be taken");
}

static rt_status count_alike(
        glm_cublas *cublas, shape *one, const uint16_t *bias, int64_t n_max, int64_t *n_alike) {
    bool may = true;
    RT_TRY(describe(&cublas->lib, one, bias));
    RT_TRY(kernel_of(cublas, &one->kind, bias, &one->algorithm));
    for (*n_alike = 0; *n_alike < n_max; ++*n_alike) {
        const int64_t n = *n_alike + 1;
        if (n > 1) RT_TRY(set_rows(&cublas->lib, one, n));
        if (n != usually[DECODE].n) RT_TRY(may_take(cublas, one, &may));
        if (!may) break;
    }
    return RT_OK;
}

rt_status glm_cublas_rows_alike(glm_cublas *cublas, const glm_cuda_matrix *weight, bool is_f32,
        int64_t n_max, int64_t *n_alike) {
    shape one = {.kind = {.n_out = weight->n_out,
                         .n_in = weight->n_in,
                         .is_f32 = is_f32,
                         .has_bias = weight->bias != NULL,
                         .of = DECODE},
            .n = 1};
    const rt_status status = count_alike(cublas, &one, weight->bias, n_max, n_alike);
    free_shape(&cublas->lib, &one);
    return status;
}

static void note_refused(glm_cublas *cublas, const shape *one) {
    int64_t *fewest = &cublas->fewest_refused[one->kind.of];
    *fewest = rt_min64(*fewest, one->n);
    if (cublas->n_refused++ > 0) return;
    rt_log(RT_LOG_WARN, "linear",
            "bits of rows may be others where there are so many: cuBLASLt refuses the kernel of %" PRId64
            " rows for n=%" PRId64 " n_in=%" PRId64 " n_out=%" PRId64,
            usually[one->kind.of].n, one->n, one->kind.n_in, one->kind.n_out);
}

/* Another kernel, as the one that others have is refused. */
static rt_status choose_own(glm_cublas *cublas, shape *one) {
    RT_TRY(choose(cublas, one, &one->algorithm));
    one->is_own = true;
    note_refused(cublas, one);
    return RT_OK;
}

static rt_status find_kernel(glm_cublas *cublas, shape *one, const uint16_t *bias) {
    bool may = true;
    RT_TRY(kernel_of(cublas, &one->kind, bias, &one->algorithm));
    one->is_own = one->n == usually[one->kind.of].n;
    if (!one->is_own) RT_TRY(may_take(cublas, one, &may));
    if (may) return RT_OK;
    return choose_own(cublas, one);
}

static rt_status shape_of(
        glm_cublas *cublas, const kind *wanted, int64_t n, const uint16_t *bias, shape **out) {
    for (int32_t i = 0; i < cublas->n_shapes; i++) {
        *out = &cublas->shapes[i];
        if ((*out)->n == n && is_like(&(*out)->kind, wanted)) return RT_OK;
    }
    shape one = {.kind = *wanted, .n = n};
    rt_status status = describe(&cublas->lib, &one, bias);
    if (status == RT_OK) status = find_kernel(cublas, &one, bias);
    if (status != RT_OK) {
        free_shape(&cublas->lib, &one);
        return rt_fail(status,
                "%s (a product of %" PRId64 " rows, %" PRId64 " to %" PRId64 " numbers)",
                rt_error_text(), n, wanted->n_in, wanted->n_out);
    }
    const bool is_new = cublas->n_shapes < N_SHAPES;
    *out = &cublas->shapes[is_new ? cublas->n_shapes++ : cublas->next_shape++ % N_SHAPES];
    free_shape(&cublas->lib, *out);
    **out = one;
    return RT_OK;
}

int64_t glm_cublas_refused(const glm_cublas *cublas) {
    return cublas->n_refused;
}

int64_t glm_cublas_fewest_refused(const glm_cublas *cublas, bool is_decode) {
    return cublas->fewest_refused[is_decode ? DECODE : PREFILL];
}

/* ---- the product ----------------------------------------------------------------------------- */

static rt_status multiply(glm_cublas *cublas, const glm_cuda_matrix *weight, purpose of,
        const uint16_t *x, int64_t n, void *y, bool is_f32, rt_stream stream) {
    const cublaslt_library *lib = &cublas->lib;
    const float one = 1.0f;
    const float zero = 0.0f;
    const kind wanted = {.n_out = weight->n_out,
            .n_in = weight->n_in,
            .is_f32 = is_f32,
            .has_bias = weight->bias != NULL,
            .of = of};
    shape *as = NULL;
    if (n == 0) return RT_OK;
    RT_TRY(shape_of(cublas, &wanted, n, weight->bias, &as));
    RT_TRY(set_bias(lib, as, weight->bias));
    for (;;) {
        const cublasStatus_t status = lib->Matmul(cublas->handle, as->product, &one,
                weight->numbers, as->weight, x, as->x, &zero, y, as->y, y, as->y, &as->algorithm,
                cublas->workspace, WORKSPACE_BYTES, stream);
        if (as->is_own || !is_refusal(status)) return check(status, "a product");
        RT_TRY(choose_own(cublas, as));
    }
}

rt_status glm_cuda_linear(glm_cublas *cublas, const glm_cuda_matrix *weight, const uint16_t *x,
        glm_cuda_rows rows, void *y, bool is_f32, rt_stream stream) {
    const int64_t n_prefilled = rows.n - rows.n_decoded;
    const int64_t number_bytes = is_f32 ? sizeof(float) : sizeof(uint16_t);
    RT_TRY(multiply(cublas, weight, DECODE, x, rows.n_decoded, y, is_f32, stream));
    return multiply(cublas, weight, PREFILL, x + rows.n_decoded * weight->n_in, n_prefilled,
            (char *)y + rows.n_decoded * weight->n_out * number_bytes, is_f32, stream);
}
