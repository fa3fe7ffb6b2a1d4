/* The emulation notices every bug that can be planted in the prefill kernel for Hopper at a call of
 * a primitive: a barrier, wait, fence, arrival or copy left out, a wrong parity, byte count,
 * swizzle or stride.
 *
 * Method: help_cuda_mutants.h, over a causal prefill of two segments, the second longer than the
 * ring of stages, with a partial last page, two and three tiles a block; and rows that see no key at
 * all. */
#include "emu/ptx.h"

#include "attention/attn_prefill_sm90.cu"

#define PREFILL attn_cuda_prefill_sm90
#include "help_cuda_mutants.h"
#include "help_cuda_prefill.h"

int main() {
    const auto work = [] {
        emu_seed(0);
        prefill_of_nothing();
        return prefill_try({5, 1, 100, 650, {128}}, 1) <= 1.0 &&
               prefill_try({3, 1, 1, 70, {}}, 2) <= 1.0;
    };
    const std::vector<harmless_bug> harmless = {{EMU_BUG_ZERO_FILL_MISSING, "ptx_cp_async(q",
            "rows past the last are computed and not stored"}};
    CHECK(mutants_survive(work, harmless) == 0);
    return prefill_numbers_tell();
}
