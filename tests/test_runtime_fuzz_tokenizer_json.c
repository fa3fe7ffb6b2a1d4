/* Any bytes at all: tokenizer.json and tokenizer_config.json are refused, or whole.
 *
 * Method: the fuzz target of fuzz_tokenizer_json.c over its corpus and mutations of it. More:
 * `test_runtime_fuzz_tokenizer_json SEED N`. */
#include "fuzz_tokenizer_json.c"

int main(int argc, char **argv) {
    return fuzz_main(argc, argv, 10000);
}
