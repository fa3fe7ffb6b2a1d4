/* The tests can fail: with the checksum unread, damage goes unnoticed and the flip test says so.
 *
 * Method: this program has the run codec built in with that one check gone, in place of the
 * library's. */
#define KV_MUTANT_UNCHECKED 1
#include "kvstore/codec.c"

#include "help_kv_codec.h"

int main(void) {
    kv_codec *codec = NULL;
    CHECK(kv_codec_create(rt_machine_isa(), &codec) == RT_OK);
    CHECK(kvh_undetected_flips(codec, 10000, 1) > 1000);
    kv_codec_free(codec);
    return 0;
}
