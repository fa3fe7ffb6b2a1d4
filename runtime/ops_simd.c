/* The arithmetic of a layer outside attention, compiled once per instruction set. */
#include "ops_simd.h"

#include "base/simd.h"

enum { BLOCK_INPUTS = SIMD_LANES == 16 ? GLM_BLOCK_INPUTS_MAX : 256 };

/* Widening a vector of weights costs 2 instructions beside the FMAs of a tile's rows. Tiles of 6 and 12 rows hide that,
 * and to widen first pays only where many tiles share it; those of 2 rows do not. */
enum { FEW_ROWS = SIMD_LANES >= 8 ? GLM_BLOCK_ROWS : 16 };

/* ---- linear ---------------------------------------------------------------------------------- */

/* Inputs [k, k + n_k) of a block: its weights, panels `panel_stride` elements apart. Few rows take panels side by
 * side, one of each of n_streams: n_panels of a stream, `step` panels from one to the next; the streams are
 * `apart` panels from each other. */
typedef struct slice {
    const glm_block *block;
    const void *weights;
    int64_t panel_stride;
    int64_t k;
    int64_t n_k;
    int64_t n_panels;
    int64_t n_streams;
    int64_t step;
    int64_t apart;
} slice;

/* Up to this many rows wait for memory, which is fastest in a few long streams, each its own part of the block
 * from end to end; more rows wait for FMAs, too, and take neighbours side by side. */
enum { LONG_STREAM_ROWS = 6 };

/* Where vector v of a tile is in a row of y: panels of 16 outputs, `apart` panels from one to the next. */
SIMD_INLINE int64_t column(const int v, const int64_t apart) {
    return v / SIMD_VECTORS * apart * SIMD_PANEL + v % SIMD_VECTORS * SIMD_LANES;
}

/* What a tile starts from: 0 in the first slice, y in later ones. */
SIMD_INLINE void load_sums(const int rows, const int panels, const slice *s, int64_t row,
        int64_t panel, const int64_t apart, vfloat *acc) {
    const int across = panels * SIMD_VECTORS;
    const int64_t stride = s->block->y.stride;
    const float *y = s->block->y.data + row * stride + panel * SIMD_PANEL;
    if (s->k == 0) return;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < across; v++)
            acc[r * across + v] = simd_load(y + r * stride + column(v, apart));
}

/* Sums wait in y between slices, the same fp32 as in registers; the last slice adds the bias. */
SIMD_INLINE void store_sums(const int rows, const int panels, const slice *s, int64_t row,
        int64_t panel, const int64_t apart, const vfloat *acc) {
    const glm_block *block = s->block;
    const int across = panels * SIMD_VECTORS;
    float *y = block->y.data + row * block->y.stride + panel * SIMD_PANEL;
    const bool is_last = s->k + s->n_k == block->n_in;
    const float *bias = is_last && block->bias ? block->bias + panel * SIMD_PANEL : NULL;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < across; v++) {
            vfloat sum = acc[r * across + v];
            if (bias) sum += simd_load(bias + column(v, apart));
            simd_store(y + r * block->y.stride + column(v, apart), sum);
        }
}

/* y[rows][panels x 16] += x[rows][n_k] W */
SIMD_INLINE void linear_tile(const int rows, const int panels, const rt_dtype dtype, const slice *s,
        int64_t row, int64_t panel) {
    const glm_block *block = s->block;
    const float *x = block->x.data + row * block->x.stride + s->k;
    const char *weights =
            (const char *)s->weights + panel * s->panel_stride * rt_dtype_bytes(dtype);
    vfloat acc[SIMD_TILE_VECTORS] = {0};
    load_sums(rows, panels, s, row, panel, 1, acc);
    simd_tile(rows, panels, dtype, x, block->x.stride, weights, s->panel_stride, s->n_k, acc);
    store_sums(rows, panels, s, row, panel, 1, acc);
}

/* ---- few rows: the weights pass once, as stored ---- */

/* The same, where weights come from memory, as many panels side by side as there are streams: what is some KiB
 * further on in each of them is asked for, across the ends of panels. The processor's own prefetching stops at
 * pages and does not look far enough where 8 rows and more keep it busy. */
SIMD_INLINE void stream_tile(const int rows, const int streams, const rt_dtype dtype,
        const slice *s, int64_t row, int64_t panel) {
    enum { STEP = 4, LINE = 64 };
    const glm_block *block = s->block;
    const int64_t input_bytes = SIMD_PANEL * rt_dtype_bytes(dtype);
    const int64_t ahead = (streams == 4 ? 2048 : rows <= 3 ? 4096 : 6144) / input_bytes;
    const int64_t panel_bytes = s->panel_stride * rt_dtype_bytes(dtype);
    const int64_t apart_bytes = s->apart * panel_bytes;
    const float *x = block->x.data + row * block->x.stride + s->k;
    const char *weights = (const char *)s->weights + panel * panel_bytes;
    const char *next = weights + s->step * panel_bytes;
    vfloat acc[SIMD_TILE_VECTORS] = {0};
    load_sums(rows, streams, s, row, panel, s->apart, acc);
    int64_t k = 0;
    for (; k + STEP <= s->n_k; k += STEP) {
        const int64_t later = k + ahead;
        const char *wanted = later < s->n_k ? weights + later * input_bytes
                                            : next + (later - s->n_k) * input_bytes;
#pragma GCC unroll 8
        for (int p = 0; p < streams; p++)
#pragma GCC unroll 4
            for (int line = 0; line < STEP * input_bytes / LINE; line++)
                __builtin_prefetch(wanted + p * apart_bytes + line * LINE);
        simd_tile(rows, streams, dtype, x + k, block->x.stride, weights + k * input_bytes,
                s->apart * s->panel_stride, STEP, acc);
    }
    simd_tile(rows, streams, dtype, x + k, block->x.stride, weights + k * input_bytes,
            s->apart * s->panel_stride, s->n_k - k, acc);
    store_sums(rows, streams, s, row, panel, s->apart, acc);
}

/* Streams whose sums fit into registers, for a tile of `rows`. */
SIMD_INLINE int most_streams(const int rows) {
    return SIMD_ROWS * SIMD_PANELS / rows;
}

/* For n rows, by the highest of their tiles: the memory likes two best, but a few more rows need the independent
 * sums of four. */
static int64_t streams_for(int64_t n) {
    const int rows = (int)rt_div_up(n, rt_div_up(n, SIMD_ROWS));
    const int most = most_streams(rows);
    if (most < 2) return 1;
    return most >= 4 && rows > 3 ? 4 : 2;
}

SIMD_INLINE void stream_panels(
        const int rows, const int streams, const rt_dtype dtype, const slice *s, int64_t row) {
    for (int64_t i = 0; i < s->n_panels; i++)
        stream_tile(rows, streams, dtype, s, row, i * s->step);
}

SIMD_INLINE void stream_tiles(const int rows, const rt_dtype dtype, const slice *s, int64_t row) {
    const int64_t n_streams = s->n_streams;
    if (rows > 3 && most_streams(rows) >= 4 && n_streams == 4)
        stream_panels(rows, 4, dtype, s, row);
    else if (most_streams(rows) >= 2 && n_streams == 2)
        stream_panels(rows, 2, dtype, s, row);
    else
        stream_panels(rows, 1, dtype, s, row);
}

/* Rows in tiles of nearly equal height, each a function of its own: in a larger one the accumulators
 * do not stay in registers. */
#define DEFINE_STREAM(rows, type, dtype)                                 \
    SIMD_TILE void stream_##type##_##rows(const slice *s, int64_t row) { \
        if ((rows) <= SIMD_ROWS) stream_tiles((rows), (dtype), s, row);  \
    }
#define DEFINE_STREAMS(type, dtype)                                                         \
    DEFINE_STREAM(1, type, dtype)                                                           \
    DEFINE_STREAM(2, type, dtype)                                                           \
    DEFINE_STREAM(3, type, dtype)                                                           \
    DEFINE_STREAM(4, type, dtype)                                                           \
    DEFINE_STREAM(5, type, dtype)                                                           \
    DEFINE_STREAM(6, type, dtype)                                                           \
    DEFINE_STREAM(7, type, dtype)                                                           \
    DEFINE_STREAM(8, type, dtype)                                                           \
    DEFINE_STREAM(9, type, dtype)                                                           \
    DEFINE_STREAM(10, type, dtype)                                                          \
    DEFINE_STREAM(11, type, dtype)                                                          \
    DEFINE_STREAM(12, type, dtype)                                                          \
    static void stream_##type(const slice *s) {                                             \
        static void (*const tiles[])(const slice *, int64_t) = {stream_##type##_1,          \
                stream_##type##_2, stream_##type##_3, stream_##type##_4, stream_##type##_5, \
                stream_##type##_6, stream_##type##_7, stream_##type##_8, stream_##type##_9, \
                stream_##type##_10, stream_##type##_11, stream_##type##_12};                \
        const int64_t n = s->block->n;                                                      \
        const int64_t n_tiles = rt_div_up(n, SIMD_ROWS);                                    \
        for (int64_t tile = 0; tile < n_tiles; tile++) {                                    \
            const int64_t row = n * tile / n_tiles;                                         \
            tiles[n * (tile + 1) / n_tiles - row - 1](s, row);                              \
        }                                                                                   \
    }
DEFINE_STREAMS(bf16, RT_BF16)
DEFINE_STREAMS(f16, RT_F16)
DEFINE_STREAMS(f32, RT_F32)

static void stream(const slice *s, rt_dtype dtype) {
    if (dtype == RT_BF16)
        stream_bf16(s);
    else if (dtype == RT_F16)
        stream_f16(s);
    else
        stream_f32(s);
}

/* A slice's panels from `first` on, n_panels in each of n_streams, times `rows`; weights of dtype. */
static void stream_some(const slice *s, const glm_block *rows, rt_dtype dtype, int64_t first,
        int64_t n_panels, int64_t n_streams) {
    const bool is_long = rows->n <= LONG_STREAM_ROWS;
    glm_block block = *rows;
    slice some = *s;
    block.y.data += first * SIMD_PANEL;
    if (block.bias) block.bias += first * SIMD_PANEL;
    some.block = &block;
    some.weights = (const char *)s->weights + first * s->panel_stride * rt_dtype_bytes(dtype);
    some.n_panels = n_panels;
    some.n_streams = n_streams;
    some.step = is_long ? 1 : n_streams;
    some.apart = is_long ? n_panels : 1;
    stream(&some, dtype);
}

/* Panels [first, first + n): as many streams as are best, then the panels left over. */
static void stream_piece(
        const slice *s, const glm_block *rows, rt_dtype dtype, int64_t first, int64_t n) {
    const int64_t n_streams = streams_for(rows->n);
    const int64_t length = n / n_streams;
    const int64_t whole = n_streams * length;
    stream_some(s, rows, dtype, first, length, n_streams);
    stream_some(s, rows, dtype, first + whole, n - whole, 1);
}

/* All of them: at once, or, where rows pass in more than one tile, so many that they stay near meanwhile. */
static void stream_all(const slice *s, const glm_block *rows, rt_dtype dtype) {
    enum { NEAR_PANELS = 4 };
    const int64_t n_panels = rows->n_panels;
    const int64_t at_once = rows->n <= SIMD_ROWS ? n_panels : NEAR_PANELS;
    for (int64_t first = 0; first < n_panels; first += at_once)
        stream_piece(s, rows, dtype, first, rt_min64(at_once, n_panels - first));
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
SIMD_TILE void many_rows(const slice *s, int64_t row, int64_t end) {
    const int64_t n_panels = s->block->n_panels;
    int64_t panel = 0;
    for (; panel + SIMD_PANELS <= n_panels; panel += SIMD_PANELS)
        for (int64_t r = row; r < end; r += SIMD_ROWS)
            linear_tile(SIMD_ROWS, SIMD_PANELS, RT_F32, s, r, panel);
    for (; panel < n_panels; panel++)
        for (int64_t r = row; r < end; r += SIMD_ROWS)
            linear_tile(SIMD_ROWS, 1, RT_F32, s, r, panel);
}

/* The rows past the last whole tile. */
static void multiply_rest(const slice *s, int64_t first_row) {
    glm_block rest = *s->block;
    rest.x.data += first_row * rest.x.stride;
    rest.y.data += first_row * rest.y.stride;
    rest.n -= first_row;
    stream_all(s, &rest, RT_F32);
}

/* Blocks of rows that the second-level cache holds, then the rows past the last whole tile. */
static void multiply_slice(const slice *s) {
    const int64_t whole = s->block->n / SIMD_ROWS * SIMD_ROWS;
    for (int64_t row = 0; row < whole; row += GLM_BLOCK_ROWS)
        many_rows(s, row, rt_min64(row + GLM_BLOCK_ROWS, whole));
    if (whole < s->block->n) multiply_rest(s, whole);
}

/* Weights as stored. */
static void multiply_few(const glm_block *block) {
    const slice s = {.block = block,
            .weights = block->panels,
            .panel_stride = block->n_in * SIMD_PANEL,
            .n_k = block->n_in};
    stream_all(&s, block, block->dtype);
}

/* What a block touches that other threads may; weights do not change. */
static void tell(const glm_block *block) {
    const int64_t n_out = block->n_panels * SIMD_PANEL;
    const int64_t float_bytes = (int64_t)sizeof(float);
    for (int64_t row = 0; row < block->n; row++) {
        rt_reads(block->x.data + row * block->x.stride, block->n_in * float_bytes);
        rt_writes(block->y.data + row * block->y.stride, n_out * float_bytes);
    }
}

static void linear_block(const glm_block *block) {
    tell(block);
    if (block->n <= FEW_ROWS) {
        multiply_few(block);
        return;
    }
    const int64_t element = rt_dtype_bytes(block->dtype);
    for (int64_t k = 0; k < block->n_in; k += BLOCK_INPUTS) {
        slice s = {.block = block,
                .weights = (const char *)block->panels + k * SIMD_PANEL * element,
                .panel_stride = block->n_in * SIMD_PANEL,
                .k = k,
                .n_k = rt_min64(BLOCK_INPUTS, block->n_in - k)};
        if (block->dtype != RT_F32) widen_slice(&s);
        multiply_slice(&s);
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

RT_TOLD static void norm_row(const void *row, rt_dtype dtype, const float *weight, float eps,
        int64_t width, float *out) {
    rt_reads(row, width * rt_dtype_bytes(dtype));
    rt_writes(out, width * (int64_t)sizeof *out);
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
RT_TOLD static void swiglu_row(float *gate, const float *up, int64_t width) {
    rt_writes(gate, width * (int64_t)sizeof *gate);
    rt_reads(up, width * (int64_t)sizeof *up);
    for (int64_t i = 0; i < width; i += SIMD_LANES)
        simd_store(gate + i, swiglu(simd_load(gate + i), simd_load(up + i)));
}

RT_TOLD static void add_row(void *hidden, rt_dtype dtype, const float *y, int64_t width) {
    rt_writes(hidden, width * rt_dtype_bytes(dtype));
    rt_reads(y, width * (int64_t)sizeof *y);
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

RT_TOLD static void round_row(const float *row, int64_t n, int64_t n_out, uint16_t *out) {
    rt_reads(row, n * (int64_t)sizeof *row);
    rt_writes(out, n_out * (int64_t)sizeof *out);
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) simd_store_bf16(out + i, simd_load(row + i));
    for (; i < n; i++) out[i] = rt_float_to_bf16(row[i]);
    for (; i < n_out; i++) out[i] = 0;
}

extern const glm_kernels SIMD_NAME(glm_kernels);
const glm_kernels SIMD_NAME(glm_kernels) = {
        FEW_ROWS, linear_block, norm_row, swiglu_row, add_row, round_row};
