/* Products of bf16 rows and bf16 weights by oneDNN, which uses AMX where there is one.
 *
 * oneDNN promises no order of sums, and may choose another kernel for another number of rows. So it is given
 * blocks of four sizes only, always the same 64 outputs wide, and opening proves, on every width of the model,
 * that a row has the same bits in each of them, wherever it stands and whatever stands beside it; a size that
 * does not agree with the largest is not used. Thus a row's result depends on that row alone, as with our own
 * kernels (ops.h).
 *
 * Long rows are multiplied in parts, and the parts' sums added in ascending order: with AMX, 2.6.3 gives a row of
 * more than 5,120 numbers other bits in blocks of 64 rows than in blocks of 16.
 *
 * The threads are ours: oneDNN computes on the thread that calls it. */
#ifndef GLM_ONEDNN_H
#define GLM_ONEDNN_H

#include <stdint.h>

#include "base/size.h"
#include "base/status.h"

enum {
    GLM_ONEDNN_OUTS = 64,   /* outputs of a panel */
    GLM_ONEDNN_INS = 32,    /* widths are padded with zeros to a multiple of this */
    GLM_ONEDNN_PART = 4096, /* numbers of a row that one product takes, a multiple of that */
    GLM_ONEDNN_ROWS = 64,   /* of the largest block */
    GLM_ONEDNN_WIDTHS_MAX = 4
};

typedef struct glm_onednn glm_onednn;

/* Rows of bf16 in parts: [parts][n][glm_onednn_part()]; those from `first` on are meant. */
typedef struct glm_onednn_rows_in {
    const uint16_t *data;
    int64_t n;
    int64_t first;
} glm_onednn_rows_in;

/* How many numbers the part has that begins at number `from` of a row. */
static inline int64_t glm_onednn_part(int64_t width, int64_t from) {
    return rt_min64(GLM_ONEDNN_PART, width - from);
}

/* Open the library for rows of these widths (any order, repeats allowed) and prove what is said above.
 *
 *   n_threads  that will call glm_onednn_multiply, numbered from 0
 *
 * Errors: RT_EUNSUPPORTED  not installed, no fast kernel on this CPU, or rows whose bits depend on others;
 *                          RT_ENOMEM */
RT_MUST_CHECK rt_status glm_onednn_open(
        const int64_t *widths, int n_widths, int n_threads, glm_onednn **out);
void glm_onednn_close(glm_onednn *onednn); /* accepts NULL */

/* Memory that it takes for so many threads, for the plan; and what of the library itself becomes resident. */
int64_t glm_onednn_bytes(int n_threads);
int64_t glm_onednn_library_bytes(void);

/* "oneDNN 2.6.3, brg:avx512_core_amx_bf16, blocks of 64 and 16 rows"; whether that is AMX. */
const char *glm_onednn_text(const glm_onednn *onednn);
bool glm_onednn_has_amx(const glm_onednn *onednn);

/* How many of `n` rows that are left the next call takes. */
int64_t glm_onednn_rows(const glm_onednn *onednn, int64_t n);

/* x W^T for the next glm_onednn_rows(n_rows) rows and one panel.
 *
 *   thread  the caller's number
 *   x       of the width padded; up to GLM_ONEDNN_ROWS rows are read, what is in those past the last does not
 *           matter
 *   panel   bf16 [width padded / 2][64][2], 64-byte aligned
 *
 * Returns fp32 [rows][64], the thread's own until its next call. */
const float *glm_onednn_multiply(glm_onednn *onednn, int thread, glm_onednn_rows_in x,
        int64_t n_rows, int64_t width, const uint16_t *panel);

#endif
