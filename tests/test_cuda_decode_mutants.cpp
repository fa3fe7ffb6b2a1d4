/* The emulation notices every bug that can be planted in the decode kernel at a call of a
 * primitive.
 *
 * Method: help_cuda_mutants.h, over two splits that are merged by the block that comes last, a
 * sequence of a few keys, a list, two warps a class, and e4m3 pages with queries on both sides of a page's end. */
#include "emu/ptx.h"

#include "attention/attn_decode.cu"

#define DECODE_SPLITS 9
#define DECODE        attn_cuda_decode_sm80
#include "help_cuda_fp8.h"
#include "help_cuda_mutants.h"

int main() {
    const auto work = [] {
        emu_seed(0);
        return decode_try(8, 1, 1, {4100, 37}, 1) <= 1.0 &&
               decode_try(8, 1, 5, {270}, 2, true) <= 1.0 && fp8_try(8, 1, 2, 257, 3, false) <= 1.0;
    };
    CHECK(mutants_survive(work, {}) == 0);
    return 0;
}
