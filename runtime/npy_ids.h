/* Token ids of a NumPy .npy file. */
#ifndef GLM_NPY_IDS_H
#define GLM_NPY_IDS_H

#include <stdbool.h>

#include "tokenizer.h"

/* Whether these bytes begin as such a file. */
bool glm_npy_is(const char *bytes, int64_t n_bytes);

/* Append the ids of its n_bytes to `out`: integers of any width, in either byte order, of one dimension, or of two where the
 * first is 1, as tokenizers return them.
 *
 * Errors: RT_EUSAGE  it is not whole, holds something else, or an id that is not in [0, vocab): the message says what;
 *                    RT_ENOMEM */
RT_MUST_CHECK rt_status glm_npy_read_ids(
        const char *path, const char *bytes, int64_t n_bytes, int64_t vocab, glm_ids *out);

#endif
