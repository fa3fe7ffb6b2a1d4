/* The emulation notices every bug that can be planted in the decode kernel for Hopper at a call of a
 * primitive.
 *
 * Method: help_cuda_mutants.h, over two splits that are merged by the block that comes last, longer than the ring
 * of stages, with a partial last page; a sequence of a few keys; one and two warpgroups of rows; and over e4m3
 * pages, with tokens in two pages, of 16 rows and of 72. */
#include "emu/ptx.h"

#include "attention/attn_decode_sm90.cu"

#define DECODE        attn_cuda_decode_sm90
#define DECODE_SPLITS 9
#include "help_cuda_fp8.h"
#include "help_cuda_mutants.h"

int main() {
    const auto work = [] {
        /* The short ones first: most bugs need no more. */
        emu_seed(0);
        return fp8_try(8, 1, 1, 5, 6, false) <= 1.0 && /* scores of one warp alone */
               decode_try(8, 1, 1, {700, 37}, 1) <= 1.0 && fp8_try(8, 1, 9, 520, 4, false) <= 1.0 &&
               (emu_seed(2), fp8_try(8, 1, 1, 700, 5, false)) <= 1.0 && /* both consumers at once */
               (emu_seed(0), fp8_try(8, 1, 2, 1025, 3, false)) <= 1.0 &&
               fp8_several(1, {3, 2, 1, 2, 1, 3, 2, 1}) <= 1.0 && decode_try(8, 1, 9, {4100, 30}, 2) <= 1.0;
    };
    const std::vector<harmless_bug> harmless = {
            {EMU_BUG_ZERO_FILL_MISSING, "ptx_cp_async(q",
                    "rows past the last are computed and not stored"},
            {EMU_BUG_BARRIER_WRONG, "within<BLOCK>()); /* the queries are here",
                    "nobody else is at any other"},
            {EMU_BUG_ZERO_FILL_MISSING, "ptx_cp_async(to, from", "likewise"},
            {EMU_BUG_BARRIER_WRONG, "ptx_bar_sync<BLOCK::CONSUMER_THREADS>(BLOCK::ALL)",
                    "all consumers are at the other, and nobody else"},
            {EMU_BUG_WAIT_MISSING, "ptx_wgmma_wait<1>(); /* for nothing", "it waits for nothing"},
            {EMU_BUG_WAIT_WEAK, "ptx_wgmma_wait<1>(); /* for nothing", "likewise"},
            {EMU_BUG_WAIT_MISSING, "ptx_wgmma_wait<1>(); /* room for codes", "it waits for nothing but registers"},
            {EMU_BUG_WAIT_WEAK, "ptx_wgmma_wait<1>(); /* room for codes", "likewise"},
            {EMU_BUG_BARRIER_MISSING, "no weights are read any more",
                    "warps that meet for a product, as PTX does not promise, are none ahead"},
            {EMU_BUG_BARRIER_MISSING, "the queries of the last tile",
                    "warps that meet for a product, as PTX does not promise, are none ahead"}};
    CHECK(mutants_survive(work, harmless) == 0);
    return 0;
}
