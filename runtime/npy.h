/* A NumPy .npy file of fp32 rows, written row by row; it appears only when it is complete. */
#ifndef GLM_NPY_H
#define GLM_NPY_H

#include "base/new_file.h"

typedef struct glm_npy {
    char *path; /* where it will be */
    rt_new_file file;
    int64_t n_rows;
    int64_t n_cols;
    int64_t rows_written;
} glm_npy;

/* Begin a C-ordered little-endian float32 array [n_rows, n_cols] that will be `path`.
 * glm_npy_close() is due after success only. RT_EIO, also where something else than a file is there; RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_npy_create(
        const char *path, int64_t n_rows, int64_t n_cols, glm_npy *npy);

/* The next n_rows rows. RT_EIO. */
RT_MUST_CHECK rt_status glm_npy_append(glm_npy *npy, const float *rows, int64_t n_rows);

/* All rows are there: sync, and replace `path`. glm_npy_close() is still due. RT_EIO. */
RT_MUST_CHECK rt_status glm_npy_finish(glm_npy *npy);

/* Give everything back; without a successful finish nothing is left behind. */
void glm_npy_close(glm_npy *npy);

#endif
