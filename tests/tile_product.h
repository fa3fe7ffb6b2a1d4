/* One product of tiles: c += a b, by the machine's tiles and by those in plain C. */
#ifndef TILE_PRODUCT_H
#define TILE_PRODUCT_H

#include <stdint.h>

enum { TILE_LINES = 16, TILE_HALVES_OF_A_LINE = 32, TILE_STRIDE = 3 /* lines; of a and c */ };

/* Where the tiles lie; b's lines one after the other. */
typedef struct tile_operands {
    uint16_t a[TILE_LINES][TILE_STRIDE][TILE_HALVES_OF_A_LINE];
    uint16_t b[TILE_LINES][TILE_HALVES_OF_A_LINE];
    float c[TILE_LINES][TILE_STRIDE][TILE_LINES];
} tile_operands;

/* The first exists where the compiler knows AMX (GLM_WITH_AMX), and runs where the machine has it. */
void tile_product_amx(tile_operands *operands);
void tile_product_amx_emulated(tile_operands *operands);

#endif
