/* Whatever the model says, and however it is cut into tokens: text and calls come out as reply.h
 * defines them, each byte as soon as it is decided.
 *
 * Method: the fuzz target of fuzz_toolcall.c, the definition as regular expressions, over its corpus
 * and mutations of it. More: `test_runtime_fuzz_toolcall SEED N`. */
#include "fuzz_toolcall.c"

int main(int argc, char **argv) {
    return fuzz_main(argc, argv, 400000);
}
