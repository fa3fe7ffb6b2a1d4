/* The fuzz target of fuzz_config.c can fail: it finds a bug when there is one.
 *
 * Method: this program has config.c built in with indivisible heads let through, in
 * place of the library's. The corpus alone must not show it. */
#define GLM_MUTANT_GROUPS 1
#include "runtime/config.c"

#include "fuzz_config.c"

int main(void) {
    return fuzz_main_finds(40000);
}
