/* What is not shipped of decode for Hopper over e4m3 pages, but what a GPU is to be asked about (bench/cuda_variants.sh), is
 * right: four consumers a tile of 64 rows (CODES_BAND). Within the derived bound, and a row's bits are those of the kernel with
 * two consumers.
 *
 * Method: the kernel's text with that constant changed, run thread by thread on the CPU, blocks in random order. Tokens
 * together have four consumers, and each alone, 8 rows, the two that are shipped. Bands that are full, in part and not there; more
 * pages than stages, one that not all rows see, open ones on both sides of a page's end, splits of two KV heads. */
#define CODES_BAND_TRIED 32
#include "help_cuda_machine.h"

#include "attention/attn_decode_sm90.cu"

#define DECODE        attn_cuda_decode_sm90
#define DECODE_SPLITS 9
#include "help_cuda_decode.h"
#include "help_cuda_fp8.h"

static_assert(
        codes_block<CODES_ROWS>::N_CONSUMERS == 4 && codes_block<CODES_ROWS / 2>::N_CONSUMERS == 2,
        "tiles of 64 rows, and of 32");

int main() {
    emu_seed(0);
    double worst = fp8_try(8, 1, 8, 1029, 1, true);
    worst = fmax(worst, fp8_try(8, 1, 5, 258, 2, true)); /* three in a page, two in the next */
    worst = fmax(worst, fp8_try(8, 1, 9, 200, 3, true)); /* a tile of 64 rows, one of 8 */
    emu_seed(3);
    const bool is_alone = !cuda_is_fast(); /* on both sides of a split's end: */
    worst = fmax(worst, fp8_try(16, 2, 6, 4099, 4, is_alone));
    printf("e4m3, as tried: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
    return 0;
}
