/* Any bytes at all: a segment's header, index and footer is read as it was written, or called corrupt, and nothing
 * outside the buffers is touched.
 *
 * Method: with GLM_FUZZ (help_fuzz.h) this is a libFuzzer target besides, fuzz/fuzz_kvstore_segment, whose
 * corpus begins with any file of 16 KiB, as two blocks and an index are looked at; by itself it drives
 * the same target with mutations of valid ones, most of them with right checksums.
 * `test_kvstore_segment_fuzz SEED N` runs more. */
#include "help_kv_codec.h"
#include "help_kv_vault_fuzz.h"

#ifdef KVH_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    return kvh_fuzz_segment(data, n_bytes);
}

#else

int main(int argc, char **argv) {
    return kvh_fuzz_main(argc, argv, 40000, kvh_fuzz_segment_drive);
}

#endif
