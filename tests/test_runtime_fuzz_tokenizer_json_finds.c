/* The fuzz target of fuzz_tokenizer_json.c can fail: it finds a bug when there is one.
 *
 * Method: this program has tokenizer_json.c built in with two tokens allowed to share an id, in
 * place of the library's. The corpus alone must not show it. */
#define GLM_MUTANT_SAME_ID 1
#include "runtime/tokenizer_json.c"

#include "fuzz_tokenizer_json.c"

int main(void) {
    return fuzz_main_finds(10000);
}
