/* What multiplies by tiles of AMX, or with their bits. */
#ifndef GLM_OPS_AMX_H
#define GLM_OPS_AMX_H

#include "base/amx_product.h"
#include "ops_simd.h"

/* Of the last step of a panel the n_k inputs that there are, to where 0 lies behind them: behind the panel is another one, or
 * nothing, and 0 times what is no number is none. */
static inline void glm_copy_last(uint16_t *to, const uint16_t *weights, int64_t n_k) {
    memcpy(to, weights, (size_t)(n_k * SIMD_PANEL) * sizeof *to);
}

#endif
