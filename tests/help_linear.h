/* A linear layer against its definition, whoever multiplies.
 *
 * Tolerance of a product of n terms: each term adds at most one rounding (fused) or two, and the
 * partial sums n more, each 2^-24 relative to a partial sum, which sum |x w| bounds; so
 * |error| <= (n + 2) 2^-24 sum |x_i w_i| + 2^-24 |bias|. Where oneDNN multiplies, x are the rows rounded to
 * bf16: products of two bf16 are exact, and the bound is the same. Where tiles of AMX do, of x two halves, which leave at
 * most 2^-17 of it: as much of the sum more. Low halves' products are as many terms again, of 2^-8 at most. */
#ifndef HELP_LINEAR_H
#define HELP_LINEAR_H

#include "runtime/ops.h"

enum {
    HELP_LINEAR_ROWS_MAX = 208,
    HELP_LINEAR_IN_MAX = 13696,
    HELP_LINEAR_OUT_MAX = 2000,
    HELP_LINEAR_WEIGHTS_MAX = 2200000
};

typedef struct help_linear_shape {
    rt_dtype dtype;
    glm_linear_by by;
    int64_t n_out;
    int64_t n_in;
    int64_t n_rows;
    bool has_bias;
} help_linear_shape;

/* Random weights and rows of that shape: every output within the tolerance, the bits of each row the same alone
 * as among the others, and those of a range of outputs the same as among all. How often it is not so. */
int help_linear_failures(const glm_ops *ops, const help_linear_shape *shape);

#endif
