/* Any bytes at all: a safetensors file is refused with its code, or means what it says.
 *
 * Method: the fuzz target of fuzz_safetensors.c over its corpus and mutations of it. More:
 * `test_runtime_fuzz_safetensors SEED N`. */
#include "fuzz_safetensors.c"

int main(int argc, char **argv) {
    return fuzz_main(argc, argv, 200000);
}
