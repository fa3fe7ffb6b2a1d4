/* The fuzz target can fail: with the check that layers lie one after another gone, mutations find it.
 *
 * Method: this program has the reader built in with that one check gone, in place of the library's. */
#define KV_MUTANT_SEGMENT 2
#include "kvstore/segment_format.c"

#include "help_kv_codec.h"
#include "help_kv_vault_fuzz.h"

static void work(void) {
    kvh_fuzz_segment_drive(1, 20000);
}

int main(void) {
    CHECK(!kvh_survives(work));
    return 0;
}
