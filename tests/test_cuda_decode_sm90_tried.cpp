/* What is not shipped of decode for Hopper over e4m3 pages, but what a GPU is to be asked about (bench/cuda_variants.sh), is
 * right: four consumers a tile of 64 rows (CODES_BAND), and tiles with open pages dealt first (CODES_LONGEST_FIRST). Within the
 * derived bound, and a row's bits are those of the kernel with two consumers.
 *
 * Method: the kernel's text with those constants changed, run thread by thread on the CPU, blocks in random order. Tokens
 * together have four consumers, and each alone, 8 rows, the two that are shipped. Bands that are full, in part and not there; more
 * pages than stages, one that not all rows see, open ones on both sides of a page's end, splits of two KV heads. */
#define CODES_BAND_TRIED          32
#define CODES_LONGEST_FIRST_TRIED true
#include "help_cuda_machine.h"

#include "attention/attn_decode_sm90.cu"

#define DECODE        attn_cuda_decode_sm90
#define DECODE_SPLITS 9
#include "help_cuda_decode.h"
#include "help_cuda_fp8.h"

static_assert(
        codes_block<CODES_ROWS>::N_CONSUMERS == 4 && codes_block<CODES_ROWS / 2>::N_CONSUMERS == 2,
        "tiles of 64 rows, and of 32");

/* Of 64 splits of 4 KV heads on 132 SMs each is taken once, and by who has the last one nothing else. */
static void last_split_is_alone() {
    enum { N_BLOCKS = 132, N_HEADS = 4, N_SPLITS = 64 };
    int n_taken[N_SPLITS][N_HEADS] = {};
    for (int block = 0; block < N_BLOCKS; block++) {
        int n_tiles = 0, n_last = 0;
        for (int at = block; at < N_SPLITS * N_HEADS;
                at = next_codes_tile(at, N_BLOCKS), n_tiles++) {
            const int split = split_in_turn({0, 1, 0, N_SPLITS}, N_SPLITS * SPLIT, at / N_HEADS);
            n_taken[split][at % N_HEADS]++;
            n_last += split == N_SPLITS - 1;
        }
        CHECK(n_last == 0 || n_tiles == 1);
    }
    for (int i = 0; i < N_SPLITS * N_HEADS; i++) CHECK(n_taken[i / N_HEADS][i % N_HEADS] == 1);
    CHECK(split_in_turn({0, 1, 0, 3}, 2 * SPLIT + 100, 0) ==
            0); /* a short one is last on the list */
}

int main() {
    last_split_is_alone();
    emu_seed(0);
    double worst = fp8_try(8, 1, 8, 1029, 1, true);
    worst = fmax(worst, fp8_try(8, 1, 5, 258, 2, true)); /* three in a page, two in the next */
    worst = fmax(worst, fp8_try(8, 1, 9, 200, 3, true)); /* a tile of 64 rows, one of 8 */
    emu_seed(3);
    const bool is_alone = !cuda_is_fast(); /* on both sides of a split's end: */
    worst = fmax(worst, fp8_try(16, 2, 6, 4099, 4, is_alone));
    if (is_alone) worst = fmax(worst, fp8_try(8, 1, 6, 8190, 5, false)); /* the last one first */
    printf("e4m3, as tried: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
    return 0;
}
