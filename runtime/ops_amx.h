/* What multiplies by tiles of AMX, or with their bits: between ops_amx.c and ops_rows_amx.c. */
#ifndef GLM_OPS_AMX_H
#define GLM_OPS_AMX_H

#include "base/amx_product.h"
#include "ops_simd.h"

/* Up to so many rows are multiplied by vectors; three take longer than in tiles. */
enum { GLM_ROWS_BY_VECTORS = 2 };

/* Of the last step of a panel the n_k inputs that there are, to where 0 lies behind them: behind the panel is another one, or
 * nothing, and 0 times what is no number is none. */
SIMD_INLINE void glm_copy_last(uint16_t *to, const uint16_t *weights, int64_t n_k) {
    memcpy(to, weights, (size_t)(n_k * SIMD_PANEL) * sizeof *to);
}

void SIMD_NAME(glm_tiles_split)(glm_rows x, int64_t n, int64_t k, int64_t n_k, uint16_t *halves);
void SIMD_NAME(glm_tiles_multiply)(
        const glm_block *block, const uint16_t *halves, int64_t k, int64_t n_k);

/* A block of so many rows, with the bits that tiles give. */
void SIMD_NAME(glm_linear_rows)(const glm_block *block);

#endif
