/* The fuzz target of fuzz_tokenizer_model.c can fail: it finds a bug when there is one.
 *
 * Method: this program has tokenizer_model.c built in with the bits that padding leaves over unread, in
 * place of the library's. The corpus alone must not show it. */
#define GLM_MUTANT_BITS 1
#include "runtime/tokenizer_model.c"

#include "fuzz_tokenizer_model.c"

int main(void) {
    return fuzz_main_finds(6000);
}
