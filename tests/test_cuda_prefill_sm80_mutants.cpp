/* The emulation notices every bug that can be planted in the prefill kernel for sm_80 at a call of
 * a primitive: a barrier, wait, commit, copy or shuffle left out, a wrong swizzle or transposition.
 *
 * Method: help_cuda_mutants.h, over a causal prefill of two segments with a partial last page, and
 * rows that see no key at all. */
#include "emu/ptx.h"

#include "attention/attn_prefill_sm80.cu"

#define PREFILL attn_cuda_prefill_sm80
#include "help_cuda_mutants.h"
#include "help_cuda_prefill.h"

int main() {
    const auto work = [] {
        emu_seed(0);
        prefill_of_nothing();
        return prefill_try({1, 1, 100, 150, {128}}, 1) <= 1.0 &&
               prefill_try({1, 1, 1, 70, {}}, 2) <= 1.0;
    };
    CHECK(mutants_survive(work, {{EMU_BUG_ZERO_FILL_MISSING, "smem + Q_AT",
                                        "rows past the last are computed and not stored"}}) == 0);
    return prefill_numbers_tell();
}
