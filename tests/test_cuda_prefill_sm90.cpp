/* The prefill kernel for Hopper, run thread by thread on the CPU: what it writes is the
 * definition's, within a derived bound, and how calls are cut changes no bit. With open pages a query's own page is
 * that one, and every earlier one as `pages` has it.
 *
 * Method: tests/emu runs the kernel's own text. Pages lie in random order, their unused rows hold
 * NaN, every buffer is exactly as long as it must be. Tails 1..127 are the rows of one call. */
#include "help_cuda_machine.h"

#include "attention/attn_prefill_sm90.cu"

#define PREFILL attn_cuda_prefill_sm90
#include "help_cuda_offsets.h"
#include "help_cuda_prefill.h"

/* More tiles than any GPU has SMs: a block's next tile comes where its last one's rows are being read. */
static void several_tiles() {
    const double worst = prefill_try({140, 2, 20, 100, {}}, 3);
    printf("several tiles a block: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

int main() {
    if (prefill_behaves() != 0) return 1;
    if (cuda_is_least()) several_tiles();
    if (cuda_is_least() || (CUDA_ON_GPU && cuda_is_fast()))
        return 0; /* there all of the 35 GB are written */
    return prefill_beyond_2_32(128);
}
