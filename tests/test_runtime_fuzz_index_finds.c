/* The fuzz target of fuzz_index.c can fail: it finds a bug when there is one.
 *
 * Method: this program has checkpoint_files.c built in with tensors allowed in another file than it says, in
 * place of the library's. The corpus alone must not show it. */
#define GLM_MUTANT_MAPPED 1
#include "runtime/checkpoint_files.c"

#include "fuzz_index.c"

int main(void) {
    return fuzz_main_finds(15000);
}
