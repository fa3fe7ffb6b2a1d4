/* The decode kernel, run thread by thread on the CPU: what it writes is the definition's, within a
 * derived bound, and neither the batch, nor the longest length, nor the number of tokens changes a bit of a
 * row.
 *
 * Method: tests/emu runs the kernel's own text, blocks in random order. Pages lie in random order,
 * their unused rows hold NaN. Lengths are all tails 1..127 and what crosses the splits of 4096. */
#include "help_cuda_machine.h"

#include "attention/attn_decode.cu"

#define DECODE        attn_cuda_decode_sm80
#define DECODE_SPLITS 32
#include "help_cuda_decode.h"

int main() {
    return decode_behaves();
}
