/* Reading the arrays that golden scripts write. */
#ifndef HELP_NPY_H
#define HELP_NPY_H

#include <stdint.h>

/* A float32 .npy file, format 1.0, C order, two dimensions; for free(). Prints and exits on
 * anything else: a golden that cannot be read is a broken test. */
float *help_npy_read(const char *path, int64_t *n_rows, int64_t *n_cols);

#endif
