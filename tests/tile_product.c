/* Compiled with AMX and without it, as attention/attn_amx.c is. */
#include "tile_product.h"

#include "runtime/base/amx_tiles.h"

void SIMD_NAME(tile_product)(tile_operands *operands) {
    const unsigned mode = amx_begin();
    amx_load(0, operands->c, TILE_STRIDE * AMX_LINE_BYTES);
    amx_load(1, operands->a, TILE_STRIDE * AMX_LINE_BYTES);
    amx_load(2, operands->b, AMX_LINE_BYTES);
    amx_multiply(0, 1, 2);
    amx_zero(1);
    amx_store(0, operands->c, TILE_STRIDE * AMX_LINE_BYTES);
    amx_end(mode);
}
