/* The CPU's ops equal their definitions, and a row's result depends on that row alone.
 *
 * Method: every instruction set of this machine, every weight type, odd shapes, against fp64.
 *
 * The tolerance of a product is in help_linear.h. The norm: width roundings in the sum of
 * squares halve under the root, plus 4; silu: exp2 is within 1.2 x 2^-24, its argument
 * |g| log2(e) carries two roundings, which the exponential turns into 2 |g| 2^-24, plus a handful. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "help_linear.h"
#include "runtime/ops.h"

enum { N_ROWS = 5, WIDTH_MAX = 160 };

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

static void check_linear(const glm_ops *ops) {
    static const rt_dtype dtypes[] = {RT_BF16, RT_F16, RT_F32};
    static const int64_t shapes[][3] = {{16, 1, 1}, {1, 7, 3}, {33, 512, 27}, {64, 513, 13},
            {100, 1025, 12}, {150, 1100, 25}, {149, 64, 26}, {80, 600, 4}, {128, 511, 6},
            {112, 65, 2}, {144, 70, 5}, {112, 66, 9}, {150, 41, 16}, {150, 800, 17}, {150, 800, 20},
            {80, 500, 96}, {50, 390, 97}, {33, 400, 200}, {33, 1056, 193}, {48, 6176, 3}};
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            const help_linear_shape shape = {.dtype = dtypes[d],
                    .n_out = shapes[i][0],
                    .n_in = shapes[i][1],
                    .n_rows = shapes[i][2],
                    .has_bias = i % 2 == 0};
            n_failed += help_linear_failures(ops, &shape);
        }
}

/* So large that two threads take it in three rounds of ranges, and one item has more than a block of rows. */
static void check_ranges(const glm_ops *ops) {
    const help_linear_shape few = {
            .dtype = RT_F32, .n_out = 1990, .n_in = 1057, .n_rows = 1, .has_bias = true};
    n_failed += help_linear_failures(ops, &few);
    const help_linear_shape many = {.dtype = RT_BF16, .n_out = 1990, .n_in = 70, .n_rows = 200};
    n_failed += help_linear_failures(ops, &many);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static float stored[WIDTH_MAX];
static uint32_t packed_rows[N_ROWS * WIDTH_MAX]; /* room for any type */
static float x[2 * WIDTH_MAX];
static float y[N_ROWS * WIDTH_MAX];
static float bias[WIDTH_MAX];

static void check_norm(const glm_ops *ops, rt_dtype dtype, int64_t width) {
    for (int64_t i = 0; i < N_ROWS * width; i++) {
        const float value = uniform() * (i < width ? 1e-4f : 3.0f); /* eps matters in row 0 */
        if (dtype == RT_F32)
            ((float *)packed_rows)[i] = value;
        else
            ((uint16_t *)packed_rows)[i] = rt_float_to_bf16(value);
    }
    for (int64_t i = 0; i < width; i++) bias[i] = uniform();
    const float eps = 1.5625e-07f;
    ops->norm(ops, packed_rows, dtype, bias, eps, N_ROWS, width, (glm_rows){y, width});
    for (int64_t row = 0; row < N_ROWS; row++) {
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

/* A table's rows, rounded once where hidden states are bf16. */
static void check_embed(
        const glm_ops *ops, rt_dtype table_dtype, rt_dtype hidden_dtype, int64_t width) {
    static float table[N_ROWS * WIDTH_MAX];
    static uint32_t hidden[N_ROWS * WIDTH_MAX]; /* room for any type */
    const int32_t ids[] = {4, 0, 4, 1};
    for (int64_t i = 0; i < N_ROWS * width; i++) {
        const float value = uniform();
        if (table_dtype == RT_F32)
            table[i] = value;
        else
            ((uint16_t *)table)[i] =
                    table_dtype == RT_F16 ? rt_float_to_f16(value) : rt_float_to_bf16(value);
    }
    ops->embed(ops, table, table_dtype, ids, 4, width, hidden, hidden_dtype);
    for (int64_t i = 0; i < 4 * width; i++) {
        const float number = rt_load_float(table, ids[i / width] * width + i % width, table_dtype);
        const float want =
                hidden_dtype == RT_F32 ? number : rt_bf16_to_float(rt_float_to_bf16(number));
        if (rt_load_float(hidden, i, hidden_dtype) != want)
            fail("embed", ops->isa, (double)rt_load_float(hidden, i, hidden_dtype), (double)want,
                    0);
    }
}

static void check_isa(rt_isa isa, rt_pool *pool) {
    const attn_shape shape = {.n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .kv_dtype = RT_BF16};
    glm_ops ops;
    if (glm_ops_cpu_create(&shape, isa, pool, &ops) != RT_OK) exit(1);
    check_linear(&ops);
    check_ranges(&ops);
    static const int64_t widths[] = {1, 16, 37, 64, 100, 150};
    for (int w = 0; w < 6; w++) {
        check_norm(&ops, RT_BF16, widths[w]);
        check_norm(&ops, RT_F32, widths[w]);
        check_swiglu(&ops, widths[w]);
        check_add(&ops, widths[w]);
        check_embed(&ops, RT_BF16, RT_BF16, widths[w]);
        check_embed(&ops, RT_F16, RT_BF16, widths[w]);
        check_embed(&ops, RT_F32, RT_F32, widths[w]);
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
