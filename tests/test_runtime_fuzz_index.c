/* Any bytes at all: an index is refused, or tells the truth.
 *
 * Method: the fuzz target of fuzz_index.c over its corpus and mutations of it. More:
 * `test_runtime_fuzz_index SEED N`. */
#include "fuzz_index.c"

int main(int argc, char **argv) {
    return fuzz_main(argc, argv, 15000);
}
