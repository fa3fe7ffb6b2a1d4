/* The emulation notices every bug that can be planted in the decode kernel at a call of a
 * primitive.
 *
 * Method: help_cuda_mutants.h, over two splits that are merged by the block that comes last, and a
 * sequence of a few keys. */
#include "emu/ptx.h"

#include "attention/attn_decode.cu"

#include "help_cuda_decode.h"
#include "help_cuda_mutants.h"

int main() {
    const auto work = [] {
        emu_seed(0);
        return decode_try(8, 1, 1, {4100, 37}, 1) <= 1.0;
    };
    CHECK(mutants_survive(work, {}) == 0);
    return 0;
}
