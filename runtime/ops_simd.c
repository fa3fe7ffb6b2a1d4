/* The arithmetic of a layer outside attention, compiled once per instruction set. */
#include "ops_simd.h"

#include "base/simd.h"

/* With this many rows or fewer the weights are read once, as stored; with more they are widened to
 * fp32 first and reused. The bits are the same. */
enum { ROWS_WORTH_WIDENING = 2 * SIMD_ROWS };

/* ---- linear ---------------------------------------------------------------------------------- */

/* y[rows][panels x 16] (+)= x[rows][n_k] W; starts from y unless is_first, adds bias where given. */
SIMD_INLINE void linear_tile(const int rows, const int panels, const rt_dtype dtype, const float *x,
        int64_t x_stride, const void *weights, int64_t panel_stride, int64_t n_k, bool is_first,
        const float *bias, float *y, int64_t y_stride) {
    const int across = panels * SIMD_VECTORS;
    vfloat acc[SIMD_TILE_VECTORS] = {0};
    if (!is_first)
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
            for (int v = 0; v < across; v++)
                acc[r * across + v] = simd_load(y + r * y_stride + v * SIMD_LANES);
    simd_tile(rows, panels, dtype, x, x_stride, weights, panel_stride, n_k, acc);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < across; v++) {
            vfloat sum = acc[r * across + v];
            if (bias) sum += simd_load(bias + v * SIMD_LANES);
            simd_store(y + r * y_stride + v * SIMD_LANES, sum);
        }
}

/* Inputs [k, k + n_k) of a block; panels at `weights`, panel_stride elements apart. */
typedef struct slice {
    const void *weights;
    int64_t panel_stride;
    int64_t k;
    int64_t n_k;
    bool is_first;
    bool is_last;
} slice;

SIMD_INLINE void slice_tiles(const int rows, const int panels, const rt_dtype dtype,
        const glm_block *block, const slice *s, int64_t row, int64_t panel) {
    const char *weights =
            (const char *)s->weights + panel * s->panel_stride * rt_dtype_bytes(dtype);
    const float *bias = s->is_last && block->bias ? block->bias + panel * SIMD_PANEL : NULL;
    linear_tile(rows, panels, dtype, block->x.data + row * block->x.stride + s->k, block->x.stride,
            weights, s->panel_stride, s->n_k, s->is_first, bias,
            block->y.data + row * block->y.stride + panel * SIMD_PANEL, block->y.stride);
}

/* One row at a time: many panels at once keep the memory busy. */
SIMD_INLINE void slice_single_rows(
        const rt_dtype dtype, const glm_block *block, const slice *s, int64_t row) {
    for (; row < block->n; row++) {
        int64_t panel = 0;
        for (; panel + SIMD_GEMV_PANELS <= block->n_panels; panel += SIMD_GEMV_PANELS)
            slice_tiles(1, SIMD_GEMV_PANELS, dtype, block, s, row, panel);
        for (; panel < block->n_panels; panel++) slice_tiles(1, 1, dtype, block, s, row, panel);
    }
}

SIMD_INLINE void slice_rows(
        const int rows, const rt_dtype dtype, const glm_block *block, const slice *s, int64_t row) {
    int64_t panel = 0;
    for (; panel + SIMD_PANELS <= block->n_panels; panel += SIMD_PANELS)
        slice_tiles(rows, SIMD_PANELS, dtype, block, s, row, panel);
    for (; panel < block->n_panels; panel++) slice_tiles(rows, 1, dtype, block, s, row, panel);
}

SIMD_INLINE void run_slice(const rt_dtype dtype, const glm_block *block, const slice *s) {
    int64_t row = 0;
    for (; row + SIMD_ROWS <= block->n; row += SIMD_ROWS)
        slice_rows(SIMD_ROWS, dtype, block, s, row);
    for (; SIMD_ROWS > 4 && row + 4 <= block->n; row += 4) slice_rows(4, dtype, block, s, row);
    slice_single_rows(dtype, block, s, row);
}

static void widen_slice(const glm_block *block, slice *s) {
    for (int64_t panel = 0; panel < block->n_panels; panel++) {
        const int64_t from = panel * s->panel_stride;
        float *to = block->wide + panel * s->n_k * SIMD_PANEL;
        const char *weights = (const char *)s->weights + from * rt_dtype_bytes(block->dtype);
        if (block->dtype == RT_BF16)
            simd_widen(to, weights, s->n_k * SIMD_PANEL, RT_BF16);
        else
            simd_widen(to, weights, s->n_k * SIMD_PANEL, RT_F16);
    }
    s->weights = block->wide;
    s->panel_stride = s->n_k * SIMD_PANEL;
}

static void linear_block(const glm_block *block) {
    const int64_t element = rt_dtype_bytes(block->dtype);
    for (int64_t k = 0; k < block->n_in; k += GLM_BLOCK_INPUTS) {
        const int64_t n_k = rt_min64(GLM_BLOCK_INPUTS, block->n_in - k);
        slice s = {.weights = (const char *)block->panels + k * SIMD_PANEL * element,
                .panel_stride = block->n_in * SIMD_PANEL,
                .k = k,
                .n_k = n_k,
                .is_first = k == 0,
                .is_last = k + n_k == block->n_in};
        if (block->dtype != RT_F32 && block->n > ROWS_WORTH_WIDENING) {
            widen_slice(block, &s);
            run_slice(RT_F32, block, &s);
        } else if (block->dtype == RT_F32) {
            run_slice(RT_F32, block, &s);
        } else if (block->dtype == RT_BF16) {
            run_slice(RT_BF16, block, &s);
        } else {
            run_slice(RT_F16, block, &s);
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

SIMD_INLINE float sum_of(vfloat value) {
    float sum = 0.0f;
    for (int i = 0; i < SIMD_LANES; i++) sum += value[i];
    return sum;
}

SIMD_INLINE float square_sum(const void *row, const rt_dtype dtype, int64_t width) {
    vfloat even = {0};
    vfloat odd = {0};
    int64_t i = 0;
    for (; i + 2 * SIMD_LANES <= width; i += 2 * SIMD_LANES) {
        const vfloat a = simd_load_as(row, i, dtype);
        const vfloat b = simd_load_as(row, i + SIMD_LANES, dtype);
        even += a * a;
        odd += b * b;
    }
    float sum = sum_of(even + odd);
    for (; i < width; i++) {
        const float a = rt_load_float(row, i, dtype);
        sum += a * a;
    }
    return sum;
}

SIMD_INLINE void norm_row_as(const void *row, const rt_dtype dtype, const float *weight, float eps,
        int64_t width, float *out) {
    const float mean = square_sum(row, dtype, width) / (float)width;
    const float scale = 1.0f / sqrtf(mean + eps);
    int64_t i = 0;
    for (; i + SIMD_LANES <= width; i += SIMD_LANES)
        simd_store(out + i, simd_load_as(row, i, dtype) * simd_set(scale) * simd_load(weight + i));
    for (; i < width; i++) out[i] = rt_load_float(row, i, dtype) * scale * weight[i];
}

static void norm_row(const void *row, rt_dtype dtype, const float *weight, float eps, int64_t width,
        float *out) {
    if (dtype == RT_F32)
        norm_row_as(row, RT_F32, weight, eps, width, out);
    else
        norm_row_as(row, RT_BF16, weight, eps, width, out);
}

/* x sigmoid(x) u, the sigmoid through e = 2^(-|x| log2 e) <= 1, which cannot overflow. */
SIMD_INLINE vfloat swiglu(vfloat x, vfloat u) {
    const vint is_negative = x < 0.0f;
    const vfloat magnitude = (vfloat)((vint)x & 0x7fffffff);
    const vfloat e = simd_exp2(magnitude * -1.44269504f);
    const vint top = ((vint)e & is_negative) | ((vint)simd_set(1.0f) & ~is_negative);
    return x * ((vfloat)top / (e + 1.0f)) * u;
}

/* `width` is padded: rows have room for whole vectors. */
static void swiglu_row(float *gate, const float *up, int64_t width) {
    for (int64_t i = 0; i < width; i += SIMD_LANES)
        simd_store(gate + i, swiglu(simd_load(gate + i), simd_load(up + i)));
}

static void add_row(void *hidden, rt_dtype dtype, const float *y, int64_t width) {
    int64_t i = 0;
    if (dtype == RT_F32) {
        float *row = hidden;
        for (; i < width; i++) row[i] += y[i];
        return;
    }
    uint16_t *row = hidden;
    for (; i + SIMD_LANES <= width; i += SIMD_LANES)
        simd_store_bf16(row + i, simd_load_bf16(row + i) + simd_load(y + i));
    for (; i < width; i++) row[i] = rt_float_to_bf16(rt_bf16_to_float(row[i]) + y[i]);
}

extern const glm_kernels SIMD_NAME(glm_kernels);
const glm_kernels SIMD_NAME(glm_kernels) = {linear_block, norm_row, swiglu_row, add_row};
