/* Any bytes at all: a config is refused, or every number is in its range.
 *
 * Method: the fuzz target of fuzz_config.c over its corpus and mutations of it. More:
 * `test_runtime_fuzz_config SEED N`. */
#include "fuzz_config.c"

int main(int argc, char **argv) {
    return fuzz_main(argc, argv, 40000);
}
