/* Any bytes at all: a segment's header, index and footer is read as it was written, or called corrupt, and nothing
 * outside the buffers is touched.
 *
 * Method: built with -fsanitize=fuzzer and -DKVH_LIBFUZZER this is a libFuzzer target; built plainly
 * it drives the same target with mutations of valid ones, most of them with right checksums.
 * `test_kvstore_segment_fuzz SEED N` runs more. */
#include <stdio.h>
#include <stdlib.h>

#include "help_kv_vault_fuzz.h"

#ifdef KVH_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    return kvh_fuzz_segment(data, n_bytes);
}

#else

enum { INPUTS = 40000 };

int main(int argc, char **argv) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const int64_t n = argc > 2                  ? strtoll(argv[2], NULL, 10)
                      : getenv("GLM_TEST_FAST") ? INPUTS / 20
                                                : INPUTS;
    (void)printf("seed %llu\n", (unsigned long long)seed);
    kvh_fuzz_segment_drive(seed, n);
    return 0;
}

#endif
