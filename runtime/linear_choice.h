/* Who multiplies on the CPU: our kernels, or oneDNN.
 *
 * oneDNN multiplies rows that are rounded to bf16, as a GPU does, so that answers are others than our kernels',
 * which multiply fp32 rows: by itself it is taken only where it has AMX and our kernels, as they were compiled, do not. */
#ifndef GLM_LINEAR_CHOICE_H
#define GLM_LINEAR_CHOICE_H

#include "config.h"
#include "linear_by.h"

typedef struct glm_linear_choice {
    glm_linear_by by;
    char why[320]; /* a line: "oneDNN 2.6.3, brg:avx512_core_amx_bf16, ...", "our kernels: no AMX here" */
} glm_linear_choice;

/* By `asked`: "auto" (or NULL), "own", "onednn". `config`: the model; NULL: some model of bf16 weights.
 *
 * Errors: RT_EUSAGE        no such choice
 *         RT_EUNSUPPORTED  oneDNN is asked for and cannot be had, or not for these weights: why */
RT_MUST_CHECK rt_status glm_linear_choose(
        const char *asked, const glm_config *config, glm_linear_choice *out);

/* What of oneDNN this machine has, a line for reports; whether it can be used. */
bool glm_linear_describe_onednn(char *text, int64_t room);

/* "own", "onednn", "cublaslt". */
const char *glm_linear_by_name(glm_linear_by by);

/* The widths of the rows that a model, or a rank's part of one, multiplies. */
enum { GLM_LINEAR_WIDTHS = 3 };
void glm_linear_widths(const glm_config *part, int64_t widths[GLM_LINEAR_WIDTHS]);

#endif
