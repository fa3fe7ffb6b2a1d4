/* Any bytes at all: the run decoder says corrupt, and touches nothing outside its buffers.
 *
 * Method: with GLM_FUZZ (help_fuzz.h) this is a libFuzzer target besides, fuzz/fuzz_kvstore_codec; by itself
 * it drives the same target with mutations of valid runs, most of them sealed with a right
 * checksum so that they get past it. `test_kvstore_codec_fuzz SEED N` runs more. */
#include "help_kv_codec.h"

#ifdef KVH_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    return kvh_fuzz_one(data, n_bytes);
}

#else

/* The smallest inputs, which the driver does not make. */
static void check_short(void) {
    uint8_t data[64] = {0};
    for (int first = 0; first < 256; first++)
        for (size_t n = 0; n < sizeof data; n += 21) {
            data[0] = (uint8_t)first;
            CHECK(kvh_fuzz_one(data, n) == 0);
        }
}

int main(int argc, char **argv) {
    check_short();
    return kvh_fuzz_main(argc, argv, 100000, kvh_fuzz_drive);
}

#endif
