/* The fuzz target can fail: with the check that no segment is there twice gone, mutations find it.
 *
 * Method: this program has the reader built in with that one check gone, in place of the library's. */
#define KV_MUTANT_BOOK 1
#include "kvstore/book_format.c"

#include "help_kv_codec.h"
#include "help_kv_vault_fuzz.h"

static void work(void) {
    kvh_fuzz_book_drive(1, 20000);
}

int main(void) {
    CHECK(!kvh_survives(work));
    return 0;
}
