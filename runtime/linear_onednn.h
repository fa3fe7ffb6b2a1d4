/* Linear layers of bf16 weights by oneDNN: rows are rounded to bf16, the weights are stored once, in the layout
 * that oneDNN multiplies. Behind ops.h. */
#ifndef GLM_LINEAR_ONEDNN_H
#define GLM_LINEAR_ONEDNN_H

#include "onednn.h"
#include "ops.h"

typedef struct glm_linear_onednn glm_linear_onednn;

/* For rows of these widths. Errors: glm_onednn_open */
RT_MUST_CHECK rt_status glm_linear_onednn_open(
        const int64_t *widths, int n_widths, int n_threads, glm_linear_onednn **out);
void glm_linear_onednn_close(glm_linear_onednn *onednn); /* accepts NULL */

/* Memory that it takes, for the plan; and a matrix. */
int64_t glm_linear_onednn_scratch_bytes(const int64_t *widths, int n_widths, int n_threads);
int64_t glm_linear_onednn_bytes(int64_t n_out, int64_t n_in);

/* glm_ops.pack and .linear of a matrix that is oneDNN's. */
void glm_linear_onednn_pack(
        const glm_linear *linear, int64_t row, int64_t n_rows, const uint16_t *rows);
void glm_linear_onednn_multiply(const glm_ops *ops, const glm_linear *weight, const float *bias,
        int64_t first_out, int64_t n_outs, glm_rows x, int64_t n, glm_rows y);

#endif
