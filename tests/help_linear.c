#include "help_linear.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"

enum {
    ROWS_MAX = HELP_LINEAR_ROWS_MAX,
    IN_MAX = HELP_LINEAR_IN_MAX,
    OUT_MAX = HELP_LINEAR_OUT_MAX,
    WEIGHTS_MAX = HELP_LINEAR_WEIGHTS_MAX,
    OUT_ROOM = OUT_MAX + 16
};

static uint64_t random_state = 42;
static float stored[WEIGHTS_MAX];         /* the weights as their type holds them */
static uint32_t packed_rows[WEIGHTS_MAX]; /* room for any type */
static float x[ROWS_MAX * IN_MAX];
static float y[ROWS_MAX * OUT_ROOM];
static float y_alone[OUT_ROOM];
static float bias[OUT_ROOM];

static float uniform(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(random_state >> 11) * 0x1p-52 - 1.0);
}

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

static int fail(
        const help_linear_shape *s, const char *what, double got, double want, double tolerance) {
    static int n_told;
    if (n_told++ < 10)
        printf("FAIL %s (%s, %s, %d x %d, %d rows): got %.9g, want %.9g, tolerance %.3g\n", what,
                s->by == GLM_LINEAR_ONEDNN ? "oneDNN" : "ours", rt_dtype_name(s->dtype),
                (int)s->n_out, (int)s->n_in, (int)s->n_rows, got, want, tolerance);
    return 1;
}

/* What is multiplied of a number in a row. */
static double taken(const help_linear_shape *s, float value) {
    if (s->by == GLM_LINEAR_OWN) return (double)value;
    return (double)rt_bf16_to_float(rt_float_to_bf16(value));
}

static int check_row(
        const glm_ops *ops, const help_linear_shape *s, const float *x_row, const float *y_row) {
    const bool has_halves = s->by == GLM_LINEAR_OWN && s->dtype == RT_BF16 && s->n_in % 2 == 0 &&
                            glm_ops_has_tiles(ops->isa);
    const double of_halves = has_halves ? 0x1p-17 : 0.0;
    int n_failed = 0;
    for (int64_t o = 0; o < s->n_out; o++) {
        double sum = s->has_bias ? (double)bias[o] : 0.0;
        double magnitude = 0.0;
        for (int64_t k = 0; k < s->n_in; k++) {
            const double term = taken(s, x_row[k]) * (double)stored[o * s->n_in + k];
            sum += term;
            magnitude += fabs(term);
        }
        const double tolerance =
                (((double)s->n_in + 2) * 0x1p-24 + of_halves) * magnitude + 0x1p-23 * fabs(sum);
        if (!(fabs((double)y_row[o] - sum) <= tolerance))
            n_failed += fail(s, "linear", (double)y_row[o], sum, tolerance);
    }
    return n_failed;
}

static int check_rows(const glm_ops *ops, const help_linear_shape *s, const glm_linear *weight) {
    const glm_rows rows = {x, s->n_in};
    const glm_rows out = {y, glm_pad(s->n_out)};
    const glm_rows alone = {y_alone, out.stride};
    const float *b = s->has_bias ? bias : NULL;
    int n_failed = 0;
    ops->linear(ops, weight, b, 0, s->n_out, rows, s->n_rows, out);
    for (int64_t i = 0; i < s->n_rows; i++) {
        n_failed += check_row(ops, s, x + i * s->n_in, y + i * out.stride);
        ops->linear(ops, weight, b, 0, s->n_out, (glm_rows){x + i * s->n_in, s->n_in}, 1, alone);
        if (memcmp(y_alone, y + i * out.stride, (size_t)s->n_out * 4) != 0)
            n_failed += fail(s, "a row alone and among others", (double)i, (double)s->n_rows, 0);
    }
    if (s->n_out <= 32) return n_failed;
    ops->linear(ops, weight, b, 16, s->n_out - 16, rows, 1, alone);
    if (memcmp(y_alone, y + 16, (size_t)(s->n_out - 16) * 4) != 0)
        n_failed += fail(s, "outputs from the 16th on", (double)s->n_out, (double)s->n_in, 0);
    ops->linear(ops, weight, b, 16, 16, rows, 1, alone);
    if (memcmp(y_alone, y + 16, 16 * 4) != 0)
        n_failed += fail(s, "16 outputs", (double)s->n_out, (double)s->n_in, 0);
    return n_failed;
}

int help_linear_failures(const glm_ops *ops, const help_linear_shape *s) {
    rt_assert(s->n_rows <= ROWS_MAX && s->n_in <= IN_MAX && s->n_out <= OUT_MAX);
    rt_assert(s->n_out * s->n_in <= WEIGHTS_MAX);
    make_weights(s->n_out * s->n_in, s->dtype);
    glm_linear weight = {.n_out = s->n_out, .n_in = s->n_in, .dtype = s->dtype, .by = s->by};
    const int64_t bytes = glm_linear_bytes(s->n_out, s->n_in, s->dtype, s->by);
    if (rt_mem_alloc(bytes, "weights", &weight.panels) != RT_OK) exit(1);
    ops->pack(&weight, 0, s->n_out, packed_rows, s->dtype);
    for (int64_t i = 0; i < s->n_rows * s->n_in; i++) x[i] = uniform();
    for (int64_t i = 0; i < OUT_MAX; i++) bias[i] = uniform();
    const int n_failed = check_rows(ops, s, &weight);
    rt_mem_free(weight.panels, bytes);
    return n_failed;
}
