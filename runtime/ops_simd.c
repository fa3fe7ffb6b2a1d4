/* The arithmetic of a layer outside attention, compiled once per instruction set. */
#include "ops_simd.h"

#include "base/simd.h"

/* ---- linear ---------------------------------------------------------------------------------- */

/* Inputs [k, k + n_k) of a block: its weights, panels `panel_stride` elements apart. */
typedef struct slice {
    const glm_block *block;
    const void *weights;
    int64_t panel_stride;
    int64_t k;
    int64_t n_k;
} slice;

/* y[rows][panels x 16] += x[rows][n_k] W: starts from 0 in the first slice and from y in later
 * ones, adds the bias in the last. Sums in registers or stored between slices: the same fp32. */
SIMD_INLINE void linear_tile(const int rows, const int panels, const rt_dtype dtype, const slice *s,
        int64_t row, int64_t panel) {
    const glm_block *block = s->block;
    const int across = panels * SIMD_VECTORS;
    const int64_t y_stride = block->y.stride;
    const float *x = block->x.data + row * block->x.stride + s->k;
    float *y = block->y.data + row * y_stride + panel * SIMD_PANEL;
    const char *weights =
            (const char *)s->weights + panel * s->panel_stride * rt_dtype_bytes(dtype);
    vfloat acc[SIMD_TILE_VECTORS] = {0};
    if (s->k > 0)
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
            for (int v = 0; v < across; v++)
                acc[r * across + v] = simd_load(y + r * y_stride + v * SIMD_LANES);
    simd_tile(rows, panels, dtype, x, block->x.stride, weights, s->panel_stride, s->n_k, acc);
    const bool is_last = s->k + s->n_k == block->n_in;
    const float *bias = is_last && block->bias ? block->bias + panel * SIMD_PANEL : NULL;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < across; v++) {
            vfloat sum = acc[r * across + v];
            if (bias) sum += simd_load(bias + v * SIMD_LANES);
            simd_store(y + r * y_stride + v * SIMD_LANES, sum);
        }
}

/* ---- few rows: the weights pass once, as stored ---- */

SIMD_INLINE void stream_rows(
        const int rows, const int panels, const rt_dtype dtype, const slice *s, int64_t row) {
    int64_t panel = 0;
    for (; panel + panels <= s->block->n_panels; panel += panels)
        linear_tile(rows, panels, dtype, s, row, panel);
    for (; panel < s->block->n_panels; panel++) linear_tile(rows, 1, dtype, s, row, panel);
}

SIMD_INLINE void stream_slice(const rt_dtype dtype, const slice *s) {
    const int64_t n = s->block->n;
    int64_t row = 0;
    for (; row + SIMD_ROWS <= n; row += SIMD_ROWS)
        stream_rows(SIMD_ROWS, SIMD_PANELS, dtype, s, row);
    for (; SIMD_ROWS > 4 && row + 4 <= n; row += 4) stream_rows(4, SIMD_PANELS, dtype, s, row);
    for (; row < n; row++) stream_rows(1, SIMD_GEMV_PANELS, dtype, s, row);
}

/* Functions of their own: in a larger one the accumulators do not stay in registers. */
SIMD_OUTLINE void stream_bf16(const slice *s) {
    stream_slice(RT_BF16, s);
}

SIMD_OUTLINE void stream_f16(const slice *s) {
    stream_slice(RT_F16, s);
}

SIMD_OUTLINE void stream_f32(const slice *s) {
    stream_slice(RT_F32, s);
}

/* ---- many rows: widened weights ---- */

static void widen_slice(slice *s) {
    const glm_block *block = s->block;
    const int64_t n = s->n_k * SIMD_PANEL;
    for (int64_t panel = 0; panel < block->n_panels; panel++) {
        const char *from =
                (const char *)s->weights + panel * s->panel_stride * rt_dtype_bytes(block->dtype);
        float *to = block->wide + panel * n;
        if (block->dtype == RT_BF16)
            simd_widen(to, from, n, RT_BF16);
        else
            simd_widen(to, from, n, RT_F16);
    }
    s->weights = block->wide;
    s->panel_stride = n;
}

/* Panels outermost: one stays in the first-level cache while the rows pass. */
SIMD_OUTLINE void many_rows(const slice *s, int64_t row, int64_t end) {
    const int64_t n_panels = s->block->n_panels;
    int64_t panel = 0;
    for (; panel + SIMD_PANELS <= n_panels; panel += SIMD_PANELS)
        for (int64_t r = row; r < end; r += SIMD_ROWS)
            linear_tile(SIMD_ROWS, SIMD_PANELS, RT_F32, s, r, panel);
    for (; panel < n_panels; panel++)
        for (int64_t r = row; r < end; r += SIMD_ROWS)
            linear_tile(SIMD_ROWS, 1, RT_F32, s, r, panel);
}

/* Blocks of rows that the second-level cache holds, then the rows past the last whole tile. */
static void multiply_slice(const slice *s) {
    const int64_t whole = s->block->n / SIMD_ROWS * SIMD_ROWS;
    for (int64_t row = 0; row < whole; row += GLM_BLOCK_ROWS)
        many_rows(s, row, rt_min64(row + GLM_BLOCK_ROWS, whole));
    if (whole == s->block->n) return;
    const glm_block *block = s->block;
    glm_block rest = *block;
    rest.x.data += whole * block->x.stride;
    rest.y.data += whole * block->y.stride;
    rest.n -= whole;
    slice rest_slice = *s;
    rest_slice.block = &rest;
    stream_f32(&rest_slice);
}

static void linear_block(const glm_block *block) {
    const int64_t element = rt_dtype_bytes(block->dtype);
    for (int64_t k = 0; k < block->n_in; k += GLM_BLOCK_INPUTS) {
        slice s = {.block = block,
                .weights = (const char *)block->panels + k * SIMD_PANEL * element,
                .panel_stride = block->n_in * SIMD_PANEL,
                .k = k,
                .n_k = rt_min64(GLM_BLOCK_INPUTS, block->n_in - k)};
        if (block->n > GLM_FEW_ROWS) {
            if (block->dtype != RT_F32) widen_slice(&s);
            multiply_slice(&s);
        } else if (block->dtype == RT_BF16) {
            stream_bf16(&s);
        } else if (block->dtype == RT_F16) {
            stream_f16(&s);
        } else {
            stream_f32(&s);
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
