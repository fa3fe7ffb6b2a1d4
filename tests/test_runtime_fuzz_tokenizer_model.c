/* Any bytes at all: tokenizer.model is refused, or is the one way to write its table.
 *
 * Method: the fuzz target of fuzz_tokenizer_model.c over its corpus and mutations of it. More:
 * `test_runtime_fuzz_tokenizer_model SEED N`. */
#include "fuzz_tokenizer_model.c"

int main(int argc, char **argv) {
    return fuzz_main(argc, argv, 6000);
}
