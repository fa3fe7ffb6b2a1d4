/* The fuzz target of fuzz_safetensors.c can fail: it finds a bug when there is one.
 *
 * Method: this program has safetensors_header.c built in with overlapping tensors let through, in
 * place of the library's. The corpus alone must not show it. */
#define GLM_MUTANT_OVERLAP 1
#include "runtime/safetensors_header.c"

#include "fuzz_safetensors.c"

int main(void) {
    return fuzz_main_finds(200000);
}
