/* The CPU's ops equal their definitions, and a row's result depends on that row alone.
 *
 * Method: every instruction set of this machine, every weight type, odd shapes, against fp64.
 *
 * Tolerance of a product of n terms: each term adds at most one rounding (fused) or two, and the
 * partial sums n more, each 2^-24 relative to a partial sum, which sum |x w| bounds; so
 * |error| <= (n + 2) 2^-24 sum |x_i w_i| + 2^-24 |bias|. The norm: width roundings in the sum of
 * squares halve under the root, plus 4; silu: exp2 is within 1.2 x 2^-24, its argument
 * |g| log2(e) carries two roundings, which the exponential turns into 2 |g| 2^-24, plus a handful. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/ops.h"

enum { ROWS_MAX = 27, IN_MAX = 1100, OUT_MAX = 150 };

static int n_failed;
static uint64_t random_state = 42;

static float uniform(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(random_state >> 11) * 0x1p-52 - 1.0);
}

static void fail(const char *what, rt_isa isa, double got, double want, double tolerance) {
    if (n_failed++ < 10)
        printf("FAIL %s (%s): got %.9g, want %.9g, tolerance %.3g\n", what, rt_isa_name(isa), got,
                want, tolerance);
}

static void expect(const char *what, rt_isa isa, double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail(what, isa, got, want, tolerance);
}

/* ---- linear ---------------------------------------------------------------------------------- */

static float stored[OUT_MAX * IN_MAX];         /* the weights as their type holds them */
static uint32_t packed_rows[OUT_MAX * IN_MAX]; /* room for any type */
static float x[ROWS_MAX * IN_MAX];
static float y[ROWS_MAX * (OUT_MAX + 16)];
static float y_alone[OUT_MAX + 16];
static float bias[OUT_MAX + 16];

/* Weights of a type: their stored form in packed_rows, their value in `stored`. f16 is made from
 * short mantissas, exact in both directions. */
static void make_weights(int64_t n, rt_dtype dtype) {
    for (int64_t i = 0; i < n; i++) {
        const float value = uniform();
        if (dtype == RT_F32) {
            ((float *)packed_rows)[i] = value;
        } else if (dtype == RT_BF16) {
            ((uint16_t *)packed_rows)[i] = rt_float_to_bf16(value);
        } else {
            const uint16_t exponent = (uint16_t)(10 + (i % 6));
            const uint16_t mantissa = (uint16_t)(rt_float_bits(value) >> 13 & 0x3ffu);
            ((uint16_t *)packed_rows)[i] =
                    (uint16_t)((value < 0 ? 0x8000u : 0u) | (exponent << 10) | mantissa);
        }
        stored[i] = rt_load_float(packed_rows, i, dtype);
    }
}

static void check_row(rt_isa isa, int64_t n_in, int64_t n_out, const float *x_row,
        const float *y_row, bool has_bias) {
    for (int64_t o = 0; o < n_out; o++) {
        double sum = has_bias ? (double)bias[o] : 0.0;
        double magnitude = 0.0;
        for (int64_t k = 0; k < n_in; k++) {
            const double term = (double)x_row[k] * (double)stored[o * n_in + k];
            sum += term;
            magnitude += fabs(term);
        }
        expect("linear", isa, (double)y_row[o], sum,
                ((double)n_in + 2) * 0x1p-24 * magnitude + 0x1p-23 * fabs(sum));
    }
}

static void check_linear(
        const glm_ops *ops, rt_dtype dtype, int64_t n_out, int64_t n_in, int64_t n, bool has_bias) {
    make_weights(n_out * n_in, dtype);
    glm_linear weight = {.n_out = n_out, .n_in = n_in, .dtype = dtype};
    const int64_t bytes = glm_linear_bytes(n_out, n_in, dtype);
    if (rt_mem_alloc(bytes, "weights", &weight.panels) != RT_OK) exit(1);
    ops->pack(&weight, 0, n_out, packed_rows, dtype);
    for (int64_t i = 0; i < n * n_in; i++) x[i] = uniform();
    for (int64_t i = 0; i < OUT_MAX; i++) bias[i] = uniform();
    const glm_rows rows = {x, n_in};
    const glm_rows out = {y, glm_pad(n_out)};
    const float *b = has_bias ? bias : NULL;
    ops->linear(ops, &weight, b, 0, n_out, rows, n, out);
    for (int64_t i = 0; i < n; i++) {
        check_row(ops->isa, n_in, n_out, x + i * n_in, y + i * out.stride, has_bias);
        const glm_rows alone = {y_alone, out.stride};
        ops->linear(ops, &weight, b, 0, n_out, (glm_rows){x + i * n_in, n_in}, 1, alone);
        if (memcmp(y_alone, y + i * out.stride, (size_t)n_out * 4) != 0)
            fail("a row alone and among others", ops->isa, (double)i, (double)n, 0);
    }
    /* A range of outputs is the same outputs. */
    if (n_out > 32) {
        ops->linear(ops, &weight, b, 16, n_out - 16, rows, 1, (glm_rows){y_alone, out.stride});
        if (memcmp(y_alone, y + 16, (size_t)(n_out - 16) * 4) != 0)
            fail("a range of outputs", ops->isa, (double)n_out, (double)n_in, 0);
    }
    rt_mem_free(weight.panels, bytes);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void check_norm(const glm_ops *ops, rt_dtype dtype, int64_t width) {
    enum { N = 5 };
    for (int64_t i = 0; i < N * width; i++) {
        const float value = uniform() * (i < width ? 1e-4f : 3.0f); /* eps matters in row 0 */
        if (dtype == RT_F32)
            ((float *)packed_rows)[i] = value;
        else
            ((uint16_t *)packed_rows)[i] = rt_float_to_bf16(value);
    }
    for (int64_t i = 0; i < width; i++) bias[i] = uniform();
    const float eps = 1.5625e-07f;
    ops->norm(ops, packed_rows, dtype, bias, eps, N, width, (glm_rows){y, width});
    for (int64_t row = 0; row < N; row++) {
        double squares = 0.0;
        for (int64_t i = 0; i < width; i++) {
            const double v = (double)rt_load_float(packed_rows, row * width + i, dtype);
            squares += v * v;
        }
        const double scale = 1.0 / sqrt(squares / (double)width + (double)eps);
        for (int64_t i = 0; i < width; i++) {
            const double v = (double)rt_load_float(packed_rows, row * width + i, dtype);
            const double want = v * scale * (double)bias[i];
            expect("norm", ops->isa, (double)y[row * width + i], want,
                    ((double)width / 2 + 6) * 0x1p-24 * fabs(want));
        }
    }
}

static void check_swiglu(const glm_ops *ops, int64_t width) {
    static const float edges[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 88.0f, -88.0f, 200.0f, -200.0f};
    const int64_t padded = glm_pad(width);
    for (int64_t i = 0; i < padded; i++) {
        x[i] = i < 8 ? edges[i] : 20.0f * uniform();
        x[padded + i] = uniform();
        y[i] = x[i];
    }
    ops->swiglu(ops, (glm_rows){y, padded}, (glm_rows){x + padded, padded}, 1, width);
    for (int64_t i = 0; i < width; i++) {
        const double g = (double)x[i];
        const double want = g / (1.0 + exp(-g)) * (double)x[padded + i];
        /* Below 2^-126 the exponential is 0 by definition here; want is then that small too. */
        expect("swiglu", ops->isa, (double)y[i], want,
                (8 + 2 * fabs(g)) * 0x1p-24 * fabs(want) + 200 * 0x1p-126);
    }
}

static void check_add(const glm_ops *ops, int64_t width) {
    uint16_t *hidden = (uint16_t *)packed_rows;
    for (int64_t i = 0; i < width; i++) {
        hidden[i] = rt_float_to_bf16(uniform());
        x[i] = uniform();
        stored[i] = rt_bf16_to_float(hidden[i]);
    }
    ops->add(ops, hidden, RT_BF16, (glm_rows){x, width}, 1, width);
    for (int64_t i = 0; i < width; i++)
        if (hidden[i] != rt_float_to_bf16(stored[i] + x[i]))
            fail("add", ops->isa, (double)rt_bf16_to_float(hidden[i]), (double)(stored[i] + x[i]),
                    0);
}

static void check_isa(rt_isa isa, rt_pool *pool) {
    const attn_shape shape = {.n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .kv_dtype = RT_BF16};
    glm_ops ops;
    if (glm_ops_cpu_create(&shape, isa, pool, &ops) != RT_OK) exit(1);
    static const rt_dtype dtypes[] = {RT_BF16, RT_F16, RT_F32};
    static const int64_t shapes[][3] = {{16, 1, 1}, {1, 7, 3}, {33, 512, 27}, {64, 513, 13},
            {100, 1025, 12}, {150, 1100, 25}, {149, 64, 26}, {80, 600, 4}, {128, 511, 6}};
    for (int d = 0; d < 3; d++)
        for (int s = 0; s < 9; s++)
            check_linear(&ops, dtypes[d], shapes[s][0], shapes[s][1], shapes[s][2], s % 2 == 0);
    static const int64_t widths[] = {1, 16, 37, 64, 100, 150};
    for (int w = 0; w < 6; w++) {
        check_norm(&ops, RT_BF16, widths[w]);
        check_norm(&ops, RT_F32, widths[w]);
        check_swiglu(&ops, widths[w]);
        check_add(&ops, widths[w]);
    }
    glm_ops_free(&ops);
}

int main(void) {
    rt_pool *pool = NULL;
    if (rt_pool_create(2, &pool) != RT_OK) return 1;
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa(); isa++) check_isa(isa, pool);
    rt_pool_free(pool);
    return n_failed ? 1 : 0;
}
