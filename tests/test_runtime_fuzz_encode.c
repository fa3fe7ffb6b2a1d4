/* Any text at all: its ids' bytes are the text again.
 *
 * Method: the fuzz target of fuzz_encode.c over its corpus and mutations of it. More:
 * `test_runtime_fuzz_encode SEED N`. */
#include "fuzz_encode.c"

int main(int argc, char **argv) {
    return fuzz_main(argc, argv, 60000);
}
