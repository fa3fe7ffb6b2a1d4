/* Fuzzing can fail: with a tile's plane sizes taken on trust, the driver runs into a guard page.
 *
 * Method: this program has the tile codec built in with that one check gone, in place of the
 * library's; the driver runs in a child process, which must not survive. */
#define KV_MUTANT_UNBOUNDED 1
#include "kvstore/codec_tile.c"

#include "help_kv_codec.h"

static void fuzz(void) {
    kvh_fuzz_drive(1, 20000);
}

int main(void) {
    CHECK(!kvh_survives(fuzz));
    return 0;
}
